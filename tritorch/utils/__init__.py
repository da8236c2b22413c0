"""Helpers around training: data loading, checkpoints of activations, TensorBoard."""

import importlib
from typing import Any

from . import data
from ._swapping import swap_tensors

__all__ = ["checkpoint", "data", "swap_tensors", "tensorboard"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in ("checkpoint", "tensorboard"):  # at the first use
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
