"""Resampling along dimensions: the taps and weights of each output element, and products with them.

Along one dimension every kind of interpolation is a banded matrix, (out, in). It is multiplied in
dense blocks, so that BLAS does the work: a block of neighbouring outputs reads few inputs. The
derivative is the product with the transpose.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..runtime import blas, host, parallel

BLOCK = 64  # outputs of one dense block
IMAGES = 1 << 19  # elements of one piece of work: with fewer, threads wait for each other


class Axis(NamedTuple):
    """One dimension: sizes, the kind of interpolation, and the factor that the user gave, or 0."""

    source: int
    size: int
    kind: str
    align: bool
    factor: float


def ratio(axis: Axis) -> float:
    """Input elements for one output element."""
    if axis.align:
        return (axis.source - 1) / (axis.size - 1) if axis.size > 1 else 0.0
    return 1 / axis.factor if axis.factor > 0 else axis.source / max(axis.size, 1)


def nearest(axis: Axis) -> np.ndarray:
    """The input element of each output element; in float32, as PyTorch computes it."""
    at = np.arange(axis.size, dtype=np.float32)
    if axis.kind == "nearest":
        if axis.size == axis.source:
            return np.arange(axis.size)
        if axis.size == 2 * axis.source:
            return np.arange(axis.size) >> 1
    step = np.float32(ratio(axis))
    at = at * step if axis.kind == "nearest" else (at + np.float32(0.5)) * step
    return np.minimum(np.floor(at).astype(np.int64), axis.source - 1)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel. Source: Keys, 1981."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


SMOOTH: dict[str, tuple[float, Callable]] = {
    "linear_aa": (1.0, lambda x: np.maximum(1 - np.abs(x), 0)),
    "cubic_aa": (2.0, lambda x: _cubic(x, -0.5)),
    "lanczos_aa": (3.0, _lanczos),
}


def taps(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """The input elements of each output element and their weights, both (size, taps)."""
    last, scale = axis.source - 1, ratio(axis)
    if axis.kind in ("nearest", "nearest-exact"):
        return nearest(axis)[:, None], np.ones((axis.size, 1))
    at = np.arange(axis.size, dtype=np.float64)
    if axis.kind in SMOOTH:
        return _smooth(axis, at, scale)
    at = at * scale if axis.align else (at + 0.5) * scale - 0.5
    if axis.kind == "linear":
        at = np.maximum(at, 0)
        low = np.minimum(np.floor(at).astype(np.int64), last)
        part = np.clip(at - low, 0, 1)
        index = np.stack([low, np.minimum(low + 1, last)], 1)
        return index, np.stack([1 - part, part], 1)
    low = np.floor(at).astype(np.int64)
    offsets = np.arange(-1, 3)
    weights = _cubic((at - low)[:, None] - offsets, -0.75)
    return np.clip(low[:, None] + offsets, 0, last), weights


def _smooth(axis: Axis, at: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernels that grow with the step when an image shrinks."""
    radius, kernel = SMOOTH[axis.kind]
    stretch = max(scale, 1.0)
    centre, reach = scale * (at + 0.5), radius * stretch
    low = np.maximum(np.trunc(centre - reach + 0.5).astype(np.int64), 0)
    high = np.minimum(np.trunc(centre + reach + 0.5).astype(np.int64), axis.source)
    index = low[:, None] + np.arange(max(int((high - low).max(initial=1)), 1))
    weights = kernel((index - centre[:, None] + 0.5) / stretch)
    weights = np.where(index < high[:, None], weights, 0.0)
    total = weights.sum(1, keepdims=True)
    weights = np.where(total != 0, weights / np.where(total, total, 1), weights)
    return np.minimum(index, axis.source - 1), weights


class Band(NamedTuple):
    """Dense blocks of a banded matrix: rows `start:stop` read columns `low:high`."""

    start: int
    stop: int
    low: int
    high: int
    weights: np.ndarray  # (stop - start, high - low)


def bytes_of(x: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    """`resample` of bytes: weights of 16 bits, each dimension rounded to bytes, as in Pillow."""
    for back in range(1, len(axes) + 1):
        axis, dim = axes[-back], x.ndim - back
        if axis.source == axis.size and _plain(axis):
            continue
        index, weights = taps(axis)
        digits = 0
        while digits < 22 and int(0.5 + weights.max() * (1 << (digits + 1))) < 1 << 15:
            digits += 1
        whole = np.trunc(weights * (1 << digits) + np.copysign(0.5, weights)).astype(np.int32)
        shape = (*x.shape[:dim], axis.size, *x.shape[dim + 1 :])
        total = np.full(shape, 1 << digits >> 1, np.int32)
        for i, w in zip(index.T, whole.T, strict=True):
            total += x.take(i, axis=dim) * w.reshape(-1, *(1,) * (back - 1))
        x = np.clip(total >> digits, 0, 255).astype(np.uint8)
    return x


@functools.lru_cache(256)
def bands(axis: Axis, back: bool, dtype: np.dtype) -> list[Band]:
    """The matrix of `axis`, or its transpose, in blocks of rows."""
    index, weights = taps(axis)
    rows = np.broadcast_to(np.arange(axis.size)[:, None], index.shape).reshape(-1)
    columns, values = index.reshape(-1), weights.reshape(-1)
    n = axis.size
    if back:
        rows, columns, n = columns, rows, axis.source
    order = np.argsort(rows, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    found = []
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        i, j = np.searchsorted(rows, (start, stop))
        low, high = (int(columns[i:j].min()), int(columns[i:j].max()) + 1) if j > i else (0, 0)
        dense = np.zeros((stop - start, high - low))
        np.add.at(dense, (rows[i:j] - start, columns[i:j] - low), values[i:j])
        found.append(Band(start, stop, low, high, dense.astype(dtype)))
    return found


def sparse(axis: Axis, back: bool, dtype: np.dtype) -> Any:
    """The same matrix as one of SciPy: what is not stored is not multiplied."""
    from scipy.sparse import csr_array

    index, weights = taps(axis)
    rows = np.broadcast_to(np.arange(axis.size)[:, None], index.shape).reshape(-1)
    keep = weights.reshape(-1) != 0
    entries = (weights.reshape(-1)[keep], (rows[keep], index.reshape(-1)[keep]))
    m = csr_array(entries, shape=(axis.size, axis.source), dtype=dtype)
    return m.T.tocsr() if back else m


def repeats(axis: Axis) -> int:
    """How many times each element is copied, where that is the same for all; else 0."""
    times = axis.size // axis.source
    whole = axis.kind.startswith("nearest") and axis.size == times * axis.source
    return times if whole and ratio(axis) == axis.source / axis.size else 0


def along(x: np.ndarray, dim: int, axis: Axis, back: bool) -> np.ndarray:
    """The product along dimension `dim` > 0 of images `x`."""
    n = axis.source if back else axis.size
    out = host.empty((*x.shape[:dim], n, *x.shape[dim + 1 :]), x.dtype)
    lead, inner = math.prod(x.shape[:dim]), math.prod(x.shape[dim + 1 :])
    times = repeats(axis) if back else 0
    if times:
        parts, target = x.reshape(lead, n, times, inner), out.reshape(lead, n, inner)
        np.copyto(target, parts[:, :, 0])
        for i in range(1, times):
            target += parts[:, :, i]
    elif inner == 1:
        a, target = x.reshape(lead, -1), out.reshape(lead, n)
        for b in bands(axis, back, x.dtype):
            np.matmul(a[:, b.low : b.high], b.weights.T, out=target[:, b.start : b.stop])
    else:
        a, target = x.reshape(lead, -1, inner), out.reshape(lead, n, inner)
        for b in bands(axis, back, x.dtype):
            np.matmul(b.weights, a[:, b.low : b.high], out=target[:, b.start : b.stop])
    return out


def along_exactly(x: np.ndarray, dim: int, axis: Axis, back: bool) -> np.ndarray:
    """The same where infinities and NaN must not reach elements that do not read them."""
    rows = np.moveaxis(x, dim, 0)
    out = sparse(axis, back, x.dtype) @ rows.reshape(rows.shape[0], -1)
    return np.ascontiguousarray(np.moveaxis(out.reshape(-1, *rows.shape[1:]), 0, dim))


def resample(x: np.ndarray, axes: tuple[Axis, ...], back: bool) -> np.ndarray:
    """The last dimensions of `x` resampled, image by image, on the threads."""
    spatial = len(axes)
    lead, shape = x.shape[: x.ndim - spatial], x.shape[x.ndim - spatial :]
    images = np.ascontiguousarray(x).reshape(math.prod(lead), *shape)
    sizes = tuple(a.source if back else a.size for a in axes)
    out = host.empty((images.shape[0], *sizes), x.dtype)
    if not out.size:
        return out.reshape(*lead, *sizes)
    if not back and all(a.kind.startswith("nearest") for a in axes):
        return _copies(images, axes, out).reshape(*lead, *sizes)
    todo = [(d, a) for d, a in enumerate(axes) if a.source != a.size or not _plain(a)]
    todo.sort(key=lambda t: (_growth(t[1], back), -t[0]))

    def body(start: int, stop: int) -> None:
        part = images[start:stop]
        for d, a in todo:
            part = along(part, d + 1, a, back)
        if not np.isfinite(np.add.reduce(part, axis=None)):
            part = images[start:stop]
            for d, a in todo:
                part = along_exactly(part, d + 1, a, back)
        out[start:stop] = part

    each = max(math.prod(shape), math.prod(sizes), 1)
    if images.size + out.size <= parallel.BIG // 4:
        body(0, images.shape[0])
    else:
        with blas.single:
            parallel.run(body, images.shape[0], max(1, IMAGES // each))
    return out.reshape(*lead, *sizes)


def _plain(a: Axis) -> bool:
    """Whether equal sizes mean equal values."""
    return a.align or a.factor in (0, 1)


def _growth(a: Axis, back: bool) -> float:
    return a.source / max(a.size, 1) if back else a.size / max(a.source, 1)


def _copies(images: np.ndarray, axes: tuple[Axis, ...], out: np.ndarray) -> np.ndarray:
    """Nearest elements are copied: no value is computed with."""
    indices = [nearest(a) for a in axes]
    order = sorted(range(len(axes)), key=lambda d: (_growth(axes[d], False), -d))

    def body(start: int, stop: int) -> None:
        part = images[start:stop]
        for d in order:
            if not (axes[d].size == axes[d].source and _plain(axes[d])):
                part = part.take(indices[d], axis=d + 1, mode="clip")
        out[start:stop] = part

    parallel.run(body, images.shape[0], max(1, IMAGES // max(math.prod(out.shape[1:]), 1)))
    return out
