"""Pooling of NumPy arrays: running maxima and sums over the taps of a window.

A tap is one position inside the window; along one dimension it meets every `stride`-th element.
Values are reduced along rows, then along columns. Planes (N * C of them) go over the threads in
pieces that stay in cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..runtime import host, parallel
from ..runtime.layout import channels_last

Pair = tuple[int, int]
PIECE = 1 << 16  # elements of the input in a piece


class Axis(NamedTuple):
    """A window along one dimension: `size` elements, `out` positions."""

    size: int
    out: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def taps(self) -> tuple[tuple[slice, slice], ...]:
        """For each tap the positions at which it lies inside, and the elements it meets there."""
        return _taps(self)

    @property
    def covered(self) -> bool:
        """Whether every tap lies inside at every position."""
        return _covered(self)

    @property
    def disjoint(self) -> bool:
        """Whether no element is met twice."""
        return self.stride > self.dilation * (self.kernel - 1) or self.out <= 1

    @property
    def tiled(self) -> bool:
        """Whether every element is met exactly once."""
        return self.stride == self.kernel and self.out * self.kernel == self.size and self.covered

    def counts(self, include_padding: bool) -> np.ndarray:
        """How many elements each position averages."""
        start = np.arange(self.out) * self.stride - self.padding
        stop = np.minimum(start + self.kernel, self.size + self.padding)
        if include_padding:
            return stop - start
        return np.minimum(stop, self.size) - np.maximum(start, 0)

    def first(self) -> np.ndarray:
        """The first element inside at each position."""
        start = np.arange(self.out) * self.stride - self.padding
        skip = np.maximum(-(start // self.dilation), 0)
        return start + skip * self.dilation


@functools.lru_cache(1024)
def _covered(axis: Axis) -> bool:
    return all(to.start == 0 and to.stop == axis.out for to, _ in _taps(axis))


@functools.lru_cache(1024)
def _taps(axis: Axis) -> tuple[tuple[slice, slice], ...]:
    found = []
    for i in range(axis.kernel):
        start = i * axis.dilation - axis.padding
        first = max(0, -(start // axis.stride))
        last = max(min(axis.out, (axis.size - 1 - start) // axis.stride + 1), first)
        low, high = first * axis.stride + start, (last - 1) * axis.stride + start + 1
        inside = slice(low, high, axis.stride) if last > first else slice(0, 0)
        found.append((slice(first, last), inside))
    return tuple(found)


def output_size(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    """The number of positions; with `ceil` the last window may begin inside and end outside."""
    out = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)) // s + 1
    return out - 1 if ceil and (out - 1) * s >= n + p else out


def axes_of(
    size: tuple[int, ...], out: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> tuple[Axis, Axis]:  # fmt: skip
    h, w = (Axis(*v) for v in zip(size, out, kernel, stride, padding, dilation, strict=True))
    return h, w


def planes(x: np.ndarray, last: bool = False) -> np.ndarray:
    """(N, C, H, W) as (N * C, H, W), or as (N, H, W, C) where channels come last."""
    if last:
        return x.transpose(0, 2, 3, 1)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def apart(v: np.ndarray, last: bool) -> np.ndarray:
    """What each pixel has, (H, W), to be met by `planes`."""
    return v[..., None] if last and v.ndim else v


def by_planes(body: Callable[[slice], None], count: int, pixels: int) -> None:
    """Call `body` on pieces of the planes, over the threads."""
    grain = max(1, PIECE // max(pixels, 1))

    def run(start: int, stop: int) -> None:
        for i in range(start, stop, grain):
            body(slice(i, min(i + grain, stop)))

    pieces = -(-count // grain)
    if count * pixels <= parallel.BIG:
        run(0, count)
    else:
        parallel.run(run, count, grain * -(-pieces // 8))


def lowest(dtype: np.dtype) -> float | int:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _reduce(f: np.ufunc, x: np.ndarray, axis: Axis, initial: float, dim: int) -> np.ndarray:
    """`f` over the taps along dimension `dim` of `planes`."""
    lead = (slice(None),) * dim
    if axis.kernel == 1 and axis.covered:
        return x[(*lead, axis.taps[0][1])]
    taps = [((*lead, to), (*lead, at)) for to, at in axis.taps]
    shape = (*x.shape[:dim], axis.out, *x.shape[dim + 1 :])
    if axis.covered:
        out = f(x[taps[0][1]], x[taps[1][1]])
        rest = taps[2:]
    else:
        out, rest = np.full(shape, initial, x.dtype), taps
    for to, at in rest:
        f(out[to], x[at], out=out[to])
    return out


def max_values(x: np.ndarray, h: Axis, w: Axis) -> np.ndarray:
    """The maxima of all windows; NaN where a window holds one."""
    out = host.images((*x.shape[:2], h.out, w.out), x.dtype, x)
    last = channels_last(x) is not None
    source, target = planes(x, last), planes(out, last)
    low = lowest(x.dtype)

    def body(part: slice) -> None:
        lines = _reduce(np.maximum, source[part], w, low, 2)
        target[part] = _reduce(np.maximum, lines, h, low, 1)

    by_planes(body, source.shape[0], source[:1].size)
    return out


def max_indices(x: np.ndarray, h: Axis, w: Axis) -> tuple[np.ndarray, np.ndarray]:
    """The maxima and where in the plane each lies: the first one, or the last NaN."""
    out = host.images((*x.shape[:2], h.out, w.out), x.dtype, x)
    indices, last = host.images(out.shape, np.dtype(np.int64), x), channels_last(x) is not None
    source, target, where = (planes(a, last) for a in (x, out, indices))
    start = apart(h.first()[:, None] * w.size + w.first(), last)

    def body(part: slice) -> None:
        values, at, block = target[part], where[part], source[part]
        values.fill(lowest(x.dtype))
        at[...] = start
        for i, (rows, y) in enumerate(h.taps):
            for j, (columns, c) in enumerate(w.taps):
                v = block[:, y, c]
                best, place = values[:, rows, columns], at[:, rows, columns]
                better = v > best
                if x.dtype.kind == "f":
                    better |= v != v
                np.copyto(best, v, where=better)
                there = _places(h, w, i, j, rows, columns)
                np.copyto(place, apart(there, last), where=better)

    by_planes(body, source.shape[0], source[:1].size)
    return out, indices


def _places(h: Axis, w: Axis, i: int, j: int, rows: slice, columns: slice) -> np.ndarray:
    """The index in the plane that the tap (i, j) meets at some positions."""
    y = np.arange(rows.start, rows.stop) * h.stride - h.padding + i * h.dilation
    x = np.arange(columns.start, columns.stop) * w.stride - w.padding + j * w.dilation
    return y[:, None] * w.size + x


def scatter(g: np.ndarray, indices: np.ndarray, size: Pair, disjoint: bool) -> np.ndarray:
    """Planes of zeros with `g` added at indices."""
    out = host.zeros((*g.shape[:2], *size), g.dtype)
    pixels, flat = size[0] * size[1], out.reshape(-1)
    count = g.shape[0] * g.shape[1]
    base = np.arange(count)[:, None] * pixels
    at = indices.reshape(count, g.shape[2] * g.shape[3]) + base
    if disjoint:
        flat[at.reshape(-1)] = g.reshape(-1)
    elif g.size:
        sums = np.bincount(at.reshape(-1), g.reshape(-1), minlength=flat.size)
        np.copyto(flat, sums, casting="unsafe")
    return out


def max_backward(g: np.ndarray, x: np.ndarray, out: np.ndarray, h: Axis, w: Axis) -> np.ndarray:
    """The gradient of the maxima, which goes to the first element that equals each.

    The first row that holds the maximum gets it, and in that row the first column.
    """
    result, last = host.images(x.shape, g.dtype, x), channels_last(x) is not None
    source, top, gradient, target = (planes(a, last) for a in (x, out, g, result))
    low = lowest(x.dtype)

    def body(part: slice) -> None:
        lines = _reduce(np.maximum, source[part], w, low, 2)
        into = np.empty(lines.shape, g.dtype)
        _route(gradient[part], lines, top[part], h, 1, into)
        _route(into, source[part], lines, w, 2, target[part])

    by_planes(body, source.shape[0], source[:1].size)
    return result


def _route(
    g: np.ndarray, x: np.ndarray, best: np.ndarray, axis: Axis, dim: int, out: np.ndarray
) -> None:
    """Gradients of maxima along one dimension into the elements that they came from."""
    lead = (slice(None),) * dim
    taps = [((*lead, to), (*lead, at)) for to, at in axis.taps]
    once, last = axis.tiled, len(taps) - 1
    if not once:
        out.fill(0)
    free = None  # positions whose maximum no element has taken yet
    for i, (to, at) in enumerate(taps):
        if i == last and axis.covered and free is not None:
            hit = free
        else:
            hit = np.equal(x[at], best[to])
            if free is not None:
                hit &= free[to]
                free[to] ^= hit
            elif axis.covered:
                free = ~hit
            else:
                free = np.ones(best.shape, np.bool_)
                free[to] ^= hit
        if once:
            np.multiply(g[to], hit, out=out[at])
        else:
            out[at] += g[to] * hit


def average(
    x: np.ndarray, h: Axis, w: Axis, include_padding: bool, divisor: int | None
) -> np.ndarray:
    """The means of all windows, or their sums over `divisor`."""
    out = host.images((*x.shape[:2], h.out, w.out), x.dtype, x)
    last = channels_last(x) is not None
    source, target = planes(x, last), planes(out, last)
    scale = apart(_scale(x.dtype, h, w, include_padding, divisor), last)

    def body(part: slice) -> None:
        rows = _reduce(np.add, source[part], h, 0, 1)
        sums = _reduce(np.add, rows, w, 0, 2)
        if x.dtype.kind in "iu":
            target[part] = np.trunc(sums / scale)
        else:
            np.divide(sums, scale, out=target[part])

    by_planes(body, source.shape[0], source[:1].size)
    return out


@functools.lru_cache(256)
def _scale(
    dtype: np.dtype, h: Axis, w: Axis, include_padding: bool, divisor: int | None
) -> np.ndarray:
    wide = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    if divisor is not None:
        return np.asarray(divisor, wide)
    counts = h.counts(include_padding)[:, None] * w.counts(include_padding)
    if counts.size and (counts == counts[0, 0]).all():
        return counts[0, 0].astype(wide)
    return counts.astype(wide)


def average_backward(
    g: np.ndarray, h: Axis, w: Axis, include_padding: bool, divisor: int | None
) -> np.ndarray:
    """Each mean's gradient spread over its window."""
    result = host.images((*g.shape[:2], h.size, w.size), g.dtype, g)
    last = channels_last(g) is not None
    gradient, target = planes(g, last), planes(result, last)
    scale = apart(_scale(g.dtype, h, w, include_padding, divisor), last)

    def body(part: slice) -> None:
        share = gradient[part] / scale
        wide = np.zeros((share.shape[0], h.out, w.size, *share.shape[3:]), g.dtype)
        for to, at in w.taps:
            wide[:, :, at] += share[:, :, to]
        into = target[part]
        into.fill(0)
        for to, at in h.taps:
            into[:, at] += wide[:, to]

    by_planes(body, gradient.shape[0], target[:1].size)
    return result


def bounds(size: int, out: int) -> list[tuple[int, int]]:
    """The windows of adaptive pooling: `out` of them, as equal as can be, covering `size`."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def averaging(size: int, out: int, dtype: np.dtype) -> np.ndarray:
    """The matrix (out, size) of adaptive averaging along one dimension."""
    matrix = np.zeros((out, size), dtype)
    for i, (a, b) in enumerate(bounds(size, out)):
        matrix[i, a:b] = 1 / (b - a)
    return matrix


def adaptive_average(x: np.ndarray, size: Pair) -> np.ndarray:
    """The means of the windows of adaptive pooling."""
    n, c, h, w = x.shape
    p, q = size
    if h % max(p, 1) == 0 and w % max(q, 1) == 0 and p and q and x.dtype.kind == "f":
        windows = x.reshape(n * c, p, h // p, q, w // q)
        return np.mean(windows, axis=(2, 4)).reshape(n, c, p, q)
    rows, columns = averaging(h, p, x.dtype), averaging(w, q, x.dtype)
    return np.matmul(rows, np.matmul(planes(x), columns.T)).reshape(n, c, p, q)


def adaptive_average_backward(g: np.ndarray, size: Pair) -> np.ndarray:
    """Each mean's gradient spread over its window, for images of `size`."""
    rows, columns = (averaging(n, m, g.dtype) for n, m in zip(size, g.shape[2:], strict=True))
    out = np.matmul(rows.T, np.matmul(planes(g), columns))
    return out.reshape(*g.shape[:2], *size)
