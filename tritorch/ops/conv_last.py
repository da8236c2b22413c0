"""Convolution of NumPy arrays (N, C, H, W) whose channels come last in memory.

A window's elements (R, S, C) are runs of memory and become a row of a matrix; its product with the
filters (R * S * C, O) is a row of the result, whose channels come last too: nothing is transposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ..runtime import blas, host, layout, parallel
from .conv_depthwise import Pair, Window

PIECE = 1 << 21  # bytes of windows that stay in a core's second-level cache


def served(x: np.ndarray, other: np.ndarray, window: Window) -> bool:
    """Whether the channels of one of both come last, and all filters see all of them."""
    both = layout.channels_last(x) or layout.channels_last(other)
    return both is not None and window.groups == 1


class Rows:
    """The windows of `x` as rows of a matrix, block by block."""

    def __init__(self, x: np.ndarray, kernel: Pair, out: Pair, window: Window) -> None:
        self.x, self.kernel, self.out, self.window = x.transpose(0, 2, 3, 1), kernel, out, window
        self.width = math.prod(kernel) * x.shape[1]
        row = max(out[1] * self.width * x.itemsize, 1)
        self.images = max(1, min(PIECE // (row * out[0]), -(-x.shape[0] // 4)))
        self.high = out[0] if self.images > 1 else max(1, min(out[0], PIECE // row))
        plain = kernel == window.stride == (1, 1) and window.padding == (0, 0)
        self.whole = plain and self.x.flags.c_contiguous

    def tasks(self) -> list[tuple[slice, slice]]:
        """Images, and rows of the result."""
        n, p = self.x.shape[0], self.out[0]
        return [
            (slice(i, min(i + self.images, n)), slice(r, min(r + self.high, p)))
            for i in range(0, n, self.images)
            for r in range(0, p, self.high)
        ]

    def matrices(
        self, tasks: list[tuple[slice, slice]]
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Each task with its matrix (windows, R * S * C), which is valid until the next one."""
        if self.whole:
            for task in tasks:
                yield task, self.x[task].reshape(-1, self.width)
            return
        buffer = host.empty((self.images * self.high * self.out[1], self.width), self.x.dtype)
        for task in tasks:
            windows = self._windows(*task)
            matrix = buffer[: math.prod(windows.shape[:3])]
            np.copyto(matrix.reshape(windows.shape), windows)
            yield task, matrix

    def _windows(self, images: slice, rows: slice) -> np.ndarray:
        """A view (images, rows, columns, R, S, C), of zeros where it passes the border."""
        (sh, sw), (ph, pw), (dh, dw), _ = self.window
        low = rows.start * sh - ph
        high = (rows.stop - 1) * sh - ph + dh * (self.kernel[0] - 1) + 1
        part = self.x[images]
        n, h, w, c = part.shape
        if (ph, pw) == (0, 0):
            part = part[:, low:high]
        else:
            a, b = max(low, 0), min(high, h)
            padded = host.zeros((n, high - low, w + 2 * pw, c), part.dtype)
            if b > a:
                padded[:, a - low : b - low, pw : pw + w] = part[:, a:b]
            part = padded
        s_n, s_y, s_x, s_c = part.strides
        shape = (n, rows.stop - rows.start, self.out[1], *self.kernel, c)
        strides = (s_n, sh * s_y, sw * s_x, dh * s_y, dw * s_x, s_c)
        return np.lib.stride_tricks.as_strided(part, shape, strides)


def over_threads(body: Callable[[int, int], object], tasks: int, work: int) -> None:
    """The tasks over the threads, in at most eight pieces; at once where they are little work."""
    with blas.single:
        if work < 1 << 18:
            body(0, tasks)
        else:
            parallel.run(body, tasks, -(-tasks // 8))


def forward(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, size: Pair
) -> np.ndarray:
    """`x` (N, C, H, W) with filters (O, C, R, S) -> (N, O, P, Q), channels last."""
    o = w.shape[0]
    out = host.empty((x.shape[0], *size, o), x.dtype)
    rows = Rows(x, w.shape[2:], size, window)  # type: ignore[arg-type]
    filters = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(rows.width, o)
    tasks = rows.tasks()

    def body(start: int, stop: int) -> None:
        for task, matrix in rows.matrices(tasks[start:stop]):
            target = out[task].reshape(-1, o)
            np.matmul(matrix, filters, out=target)
            if bias is not None:
                np.add(target, bias, out=target)

    over_threads(body, len(tasks), out.size * rows.width)
    return out.transpose(0, 3, 1, 2)


def weight_gradient(g: np.ndarray, x: np.ndarray, kernel: Pair, window: Window) -> np.ndarray:
    """What the output's gradient (N, O, P, Q) and the input give the filters (O, C, R, S)."""
    rows = Rows(x, kernel, g.shape[2:], window)  # type: ignore[arg-type]
    gradient, o, tasks = g.transpose(0, 2, 3, 1), g.shape[1], rows.tasks()
    parts: dict[int, np.ndarray] = {}

    def body(start: int, stop: int) -> None:
        total = np.zeros((o, rows.width), g.dtype)
        for task, matrix in rows.matrices(tasks[start:stop]):
            total += gradient[task].reshape(-1, o).T @ matrix
        parts[start] = total

    over_threads(body, len(tasks), g.size * rows.width)
    total = sum((parts[k] for k in sorted(parts)), np.zeros((o, rows.width), g.dtype))
    return total.reshape(o, *kernel, x.shape[1]).transpose(0, 3, 1, 2)
