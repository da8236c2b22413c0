"""Data that is made up from a seed, where no package ships what a notebook needs."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom
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


def scenes(
    images: np.ndarray, labels: np.ndarray, count: int, *, size: int = 40, seed: int = 0
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Noisy pictures with one to four digits of 9 to 15 pixels, whose boxes do not overlap.

    Pictures (count, 1, size, size); for each the boxes (n, 4) as x0, y0, x1, y1 around the ink, and
    the labels (n,); and of each pixel its label plus one, or zero: (count, size, size).
    """
    random = np.random.default_rng(seed)
    pictures = np.zeros((count, 1, size, size), np.float32)
    masks = np.zeros((count, size, size), np.int64)
    all_boxes, all_labels = [], []
    for picture, mask in zip(pictures[:, 0], masks):
        boxes: list[list[int]] = []
        found = []
        for _ in range(12):
            if len(boxes) == 1 + len(all_boxes) % 4:
                break
            which = int(random.integers(len(images)))
            digit = zoom(images[which, 0], random.uniform(1.1, 1.9), order=1)
            ink = digit > 0.3
            rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
            digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            ink = digit > 0.3
            h, w = digit.shape
            y, x = random.integers(size - h), random.integers(size - w)
            if any(x < b[2] and b[0] < x + w and y < b[3] and b[1] < y + h for b in boxes):
                continue
            place = slice(y, y + h), slice(x, x + w)
            picture[place] = np.maximum(picture[place], digit * random.uniform(0.6, 1))
            mask[place][ink] = labels[which] + 1
            boxes.append([x, y, x + w, y + h])
            found.append(int(labels[which]))
        all_boxes.append(np.array(boxes, np.float32))
        all_labels.append(np.array(found, np.int64))
    slope = np.linspace(-1, 1, size, dtype=np.float32)
    tilt = random.normal(0, 0.08, (2, count, 1, 1, 1)).astype(np.float32)
    pictures += tilt[0] * slope + tilt[1] * slope[:, None]
    pictures += random.normal(0, 0.06, pictures.shape).astype(np.float32)
    return pictures, all_boxes, all_labels, masks
