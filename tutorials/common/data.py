"""Data that is made up from a seed, where no package ships what a notebook needs."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits


def split(count: int, test: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The indices 0 .. count-1 shuffled, in two parts: to train on, and a fraction to test on."""
    order = np.random.default_rng(seed).permutation(count)
    held = round(count * test)
    return order[held:], order[:held]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits: (N, 1, 8, 8) from 0 to 1, and labels (N,)."""
    data = load_digits()
    return (data.images / 16).astype(np.float32)[:, None], data.target.astype(np.int64)
