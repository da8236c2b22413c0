"""Convolution of NumPy arrays (N, C, H, W): as matrix products over unfolded windows.

The windows of a block of images, (C * R * S) rows by (P * Q) columns, are copied into a buffer that
stays in a core's cache, and multiplied with the filters by BLAS; blocks go over the threads. A 1x1
filter multiplies the image itself, and a filter for each channel (depthwise) is a sum of shifted
products. The gradient of the input is a convolution with the flipped filters at stride 1, and at
larger strides the windows' products added back where they came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..runtime import host, parallel
from . import conv_last
from .conv_depthwise import Pair, Window, depthwise, depthwise_weight
from .conv_last import over_threads
from .matmul_host import product

BLOCK = 1 << 21  # bytes of windows that stay in a core's second-level cache
SMALL = 1 << 18  # bytes of windows that are not worth a second thread
EXACT = 1 << 17  # products up to which sums are kept in float64: that is less than a call takes
FEW = 128  # pixels of an output below which several images share one product


class Blocks:
    """The pieces of work of one convolution: some images, or some rows of one."""

    def __init__(self, x: np.ndarray, kernel: Pair, out: Pair, window: Window) -> None:
        self.x, self.kernel, self.window = x, kernel, window
        self.rows, self.columns = out
        n, c = x.shape[:2]
        row = c * kernel[0] * kernel[1] * self.columns * x.itemsize
        self.joined = self.rows * self.columns < FEW
        limit = 4 * BLOCK if self.joined else BLOCK
        many = 2 if self.joined else 4  # calls of NumPy are what joined images save
        pieces = many if n * row * self.rows > SMALL else 1
        self.images = max(1, min(limit // (row * self.rows), -(-n // pieces)))
        chunks = 1
        if self.images == 1:
            least = 4 // n if row * self.rows > SMALL else 1  # work for all threads
            chunks = min(max(-(-row * self.rows // BLOCK), least, 1), self.rows)
        self.height = -(-self.rows // chunks)

    def __len__(self) -> int:
        return -(-self.x.shape[0] // self.images) * -(-self.rows // self.height)

    def tasks(self) -> list[tuple[int, int, int, int]]:
        """(first image, last, first row of the output, last)."""
        n = self.x.shape[0]
        return [
            (i, min(i + self.images, n), r, min(r + self.height, self.rows))
            for i in range(0, n, self.images)
            for r in range(0, self.rows, self.height)
        ]

    def unfold(
        self, tasks: list[tuple[int, int, int, int]], ones: int = 0
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """For each task its images, its rows, and the windows as a matrix for each group.

        (images, groups, K, pixels), or where images are joined (1, groups, K, pixels * images):
        their few pixels would make short runs of memory. With `ones`, a last row of ones. The
        matrix is valid until the next one.
        """
        kh, kw = self.kernel
        c, groups = self.x.shape[1], self.window.groups
        k = c // groups * kh * kw + ones
        buffer = host.empty((self.images * groups * k * self.height * self.columns,), self.x.dtype)
        padded = self._buffer()
        for first, last, top, bottom in tasks:
            count, pixels = last - first, (bottom - top) * self.columns
            view = self._windows(padded, first, last, top, bottom)
            if self.joined:
                matrix = buffer[: count * groups * k * pixels].reshape(1, groups, k, pixels * count)
                inner = matrix[0, :, : k - ones].reshape(groups, c // groups, *view.shape[1:])
                np.copyto(inner, view.reshape(inner.shape))
            else:
                matrix = buffer[: count * groups * k * pixels].reshape(count, groups, k, pixels)
                inner = matrix[:, :, : k - ones].reshape(
                    count, groups, c // groups, *view.shape[2:]
                )
                np.copyto(inner, view.reshape(inner.shape))
            matrix[:, :, k - ones :] = 1
            yield slice(first, last), slice(top, bottom), matrix

    def _buffer(self) -> np.ndarray | None:
        """A block of images with a border of zeros; None where the windows read `x` itself.

        Joined images lie innermost: (C, rows, columns, images).
        """
        if self.window.padding == (0, 0) and not self.joined:
            return None
        (sh, _), (_, pw), (dh, _) = self.window.stride, self.window.padding, self.window.dilation
        high = (self.height - 1) * sh + dh * (self.kernel[0] - 1) + 1
        c, w = self.x.shape[1], self.x.shape[3] + 2 * pw
        shape = (c, high, w, self.images) if self.joined else (self.images, c, high, w)
        return host.zeros(shape, self.x.dtype)

    def _windows(
        self, padded: np.ndarray | None, first: int, last: int, top: int, bottom: int
    ) -> np.ndarray:
        """A view (images, C, R, S, rows, columns) of what the filter sees; or images last."""
        (sh, sw), (ph, _), (dh, dw), _ = self.window
        low = top * sh - ph
        high = (bottom - 1) * sh - ph + dh * (self.kernel[0] - 1) + 1
        if padded is None:
            source = self.x[first:last, :, low:high]
        elif self.joined:
            source = padded[:, : high - low, :, : last - first]
            self._fill(source, self.x[first:last].transpose(1, 2, 3, 0), low, 1)
        else:
            source = padded[: last - first, :, : high - low]
            self._fill(source, self.x[first:last], low, 2)
        *lead, y, x = source.strides[:-1] if self.joined else source.strides
        tail = source.strides[-1:] if self.joined else ()
        n = source.shape[-1:] if self.joined else ()
        shape = (*source.shape[: len(lead)], *self.kernel, bottom - top, self.columns, *n)
        return np.lib.stride_tricks.as_strided(
            source, shape, (*lead, dh * y, dw * x, sh * y, sw * x, *tail)
        )

    def _fill(self, source: np.ndarray, x: np.ndarray, low: int, axis: int) -> None:
        """Rows of `x` into the block that begins at row `low`; dimension `axis` counts the rows."""
        h, w = x.shape[axis : axis + 2]
        before, pw = (slice(None),) * axis, self.window.padding[1]
        a = max(low, 0)
        b = max(min(low + source.shape[axis], h), a)
        if self.height < self.rows:  # the border moves from block to block
            source[(*before, slice(0, max(a - low, 0)))] = 0
            source[(*before, slice(max(b - low, 0), None))] = 0
        source[(*before, slice(a - low, b - low), slice(pw, pw + w))] = x[(*before, slice(a, b))]


def forward(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window) -> np.ndarray:
    """`x` (N, C, H, W) with filters (O, C / groups, R, S) -> (N, O, P, Q)."""
    n, o = x.shape[0], w.shape[0]
    kernel = w.shape[2:]
    p, q = window.output(x.shape[2:], kernel)
    if not n * o * p * q:
        return np.empty((n, o, p, q), x.dtype)
    if not x.shape[1]:
        out = np.zeros((n, o, p, q), x.dtype)
        return out if bias is None else out + bias[:, None, None]
    if conv_last.served(x, w, window):
        return conv_last.forward(x, w, bias, window, (p, q))
    if kernel == (1, 1) and window.padding == (0, 0) and window.groups == 1:
        out = _pointwise(x[:, :, :: window.stride[0], :: window.stride[1]], w[:, :, 0, 0])
        return out if bias is None else _biased(out, bias)
    if window.groups == x.shape[1] == o and x.dtype.kind == "f":
        return depthwise(x, w[:, 0], bias, window, (p, q))
    if _exact(x, n * p * q * w.size):
        out = _by_blocks(_double(x), _double(w), _double(bias), window, (p, q))
        return out.astype(np.float32)
    return _by_blocks(x, w, bias, window, (p, q))


def _exact(x: np.ndarray, products: int) -> bool:
    """Whether float32 is carried out in float64."""
    return x.dtype == np.float32 and products <= EXACT


def _double(x: np.ndarray | None) -> Any:
    return None if x is None else x.astype(np.float64)


def _biased(out: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return parallel.elementwise(np.add, out, out, bias[:, None, None])


def _pointwise(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    n, c, h, width = x.shape
    return product(w[None], x.reshape(n, c, h * width)).reshape(n, w.shape[0], h, width)


def _by_blocks(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, size: Pair
) -> np.ndarray:
    n, o, groups = x.shape[0], w.shape[0], window.groups
    p, q = size
    out = host.empty((n, o, p, q), x.dtype)
    target = out.reshape(n, groups, o // groups, p, q)
    filters = w.reshape(groups, o // groups, math.prod(w.shape[1:]))
    if bias is not None:  # one more row of the windows, of ones
        column = bias.reshape(groups, o // groups, 1)
        filters = np.concatenate([filters, column], 2)
    blocks = Blocks(x, w.shape[2:], size, window)  # type: ignore[arg-type]
    tasks = blocks.tasks()

    def body(start: int, stop: int) -> None:
        buffer = None
        for images, rows, matrix in blocks.unfold(tasks[start:stop], int(bias is not None)):
            part = target[images, :, :, rows]
            if blocks.joined:
                count, _, _, r, _ = part.shape
                if buffer is None or buffer.shape[2] != matrix.shape[3]:
                    buffer = host.empty((groups, o // groups, matrix.shape[3]), x.dtype)
                got = np.matmul(filters, matrix[0], out=buffer)
                got = got.reshape(groups, o // groups, r, q, count)
                np.copyto(part, got.transpose(4, 0, 1, 2, 3))
            else:
                np.matmul(filters, matrix, out=part.reshape(*part.shape[:3], part.shape[3] * q))

    over_threads(body, len(tasks), out.size * filters.shape[2])
    return out


def input_gradient(g: np.ndarray, w: np.ndarray, size: Pair, window: Window) -> np.ndarray:
    """What the output's gradient (N, O, P, Q) gives the input (N, C, *size)."""
    o, groups = w.shape[0], window.groups
    channels, kernel = w.shape[1] * groups, w.shape[2:]
    if not g.size or not channels:
        return np.zeros((g.shape[0], channels, *size), g.dtype)
    back = window.transposed(kernel)
    if window.stride == (1, 1) and min(back.padding) >= 0 and 3 * channels >= o:
        turned = w.reshape(groups, o // groups, *w.shape[1:])[..., ::-1, ::-1]
        turned = turned.transpose(0, 2, 1, 3, 4).reshape(channels, o // groups, *kernel)
        return forward(g, turned, None, back)
    if groups == channels == o and min(back.padding) >= 0 and g.dtype.kind == "f":
        return depthwise(g, w[:, 0, ::-1, ::-1], None, back, size, window.stride)
    if kernel == (1, 1) and window.padding == (0, 0) and groups == 1:
        out = host.zeros((g.shape[0], channels, *size), g.dtype)
        out[:, :, :: window.stride[0], :: window.stride[1]] = _pointwise(g, w[:, :, 0, 0].T)
        return out
    if _exact(g, g.size * math.prod(w.shape[1:])):
        return _add_back(_double(g), _double(w), size, window).astype(np.float32)
    return _add_back(g, w, size, window)


def _add_back(g: np.ndarray, w: np.ndarray, size: Pair, window: Window) -> np.ndarray:
    """The products of all windows, added where the windows lie."""
    n, o, p, q = g.shape
    groups, (kh, kw), (ph, pw) = window.groups, w.shape[2:], window.padding
    channels, k = w.shape[1] * groups, math.prod(w.shape[1:])
    out = host.empty((n, channels, *size), g.dtype)
    filters = w.reshape(groups, o // groups, k).transpose(0, 2, 1)
    gradient = g.reshape(n, groups, o // groups, p * q)
    images = max(1, min(BLOCK // (channels * kh * kw * p * q * g.itemsize), -(-n // 4)))

    def body(start: int, stop: int) -> None:
        padded = host.empty((images, channels, size[0] + 2 * ph, size[1] + 2 * pw), g.dtype)
        buffer = host.empty((images, groups, k, p * q), g.dtype)
        for i in range(start * images, min(stop * images, n), images):
            count = min(images, n - i)
            matrix = np.matmul(filters, gradient[i : i + count], out=buffer[:count])
            _add_taps(padded[:count], matrix.reshape(count, channels, kh, kw, p, q), window)
            np.copyto(out[i : i + count], padded[:count, :, ph : ph + size[0], pw : pw + size[1]])

    over_threads(body, -(-n // images), g.size * k)
    return out


def _add_taps(target: np.ndarray, matrix: np.ndarray, window: Window) -> None:
    """What each tap gave (images, C, R, S, P, Q), added to the images where the tap looks."""
    _, _, kh, kw, p, q = matrix.shape
    (sh, sw), _, (dh, dw), _ = window
    target.fill(0)
    for r in range(kh):
        rows = slice(r * dh, r * dh + sh * (p - 1) + 1, sh)
        for s in range(kw):
            columns = slice(s * dw, s * dw + sw * (q - 1) + 1, sw)
            target[:, :, rows, columns] += matrix[:, :, r, s]


def weight_gradient(g: np.ndarray, x: np.ndarray, kernel: Pair, window: Window) -> np.ndarray:
    """What the output's gradient (N, O, P, Q) and the input give the filters."""
    o, groups, c = g.shape[1], window.groups, x.shape[1]
    shape = (o, c // groups, *kernel)
    if not g.size or not x.size:
        return np.zeros(shape, g.dtype)
    if groups == c == o and g.dtype.kind == "f":
        return depthwise_weight(g, x, kernel, window).reshape(shape)
    if conv_last.served(x, g, window):
        return conv_last.weight_gradient(g, x, kernel, window)
    if _exact(g, g.size * math.prod(shape[1:])):
        return weight_gradient(_double(g), _double(x), kernel, window).astype(np.float32)
    blocks = Blocks(x, kernel, g.shape[2:], window)  # type: ignore[arg-type]
    tasks = blocks.tasks()
    gradient = g.reshape(g.shape[0], groups, o // groups, *g.shape[2:])
    parts: dict[int, np.ndarray] = {}

    wide = o // groups > 64  # the smaller side first makes the faster product

    def body(start: int, stop: int) -> None:
        total = None
        for images, rows, matrix in blocks.unfold(tasks[start:stop]):
            part = gradient[images, :, :, rows]
            if blocks.joined:
                part = part.transpose(1, 2, 3, 4, 0)
                part = part.reshape(1, groups, o // groups, matrix.shape[3])
            else:
                part = part.reshape(*part.shape[:3], matrix.shape[3])
            a, b = (part, matrix) if wide else (matrix, part)
            many = np.matmul(a, b.transpose(0, 1, 3, 2))
            got = many[0] if len(many) == 1 else np.add.reduce(many, 0)
            total = got if total is None else np.add(total, got, out=total)
        parts[start] = total  # type: ignore[assignment]

    over_threads(body, len(tasks), g.size * math.prod(shape[1:]))
    total = parts.pop(0)
    for start in sorted(parts):
        total += parts[start]
    total = total if wide else np.ascontiguousarray(total.transpose(0, 2, 1))
    return total.reshape(shape)
