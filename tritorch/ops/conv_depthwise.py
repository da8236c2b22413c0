"""Convolution of NumPy arrays with one filter for each channel: sums of shifted products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..runtime import host, parallel

if TYPE_CHECKING:
    from .conv_host import Pair, Window

PIECE = 1 << 14  # elements of a piece that stays in a core's first cache


class Lines:
    """A few channels of an image inside a border of zeros, seen from any tap of the filter.

    At stride 1 a tap sees one line of memory, the columns of the border with it, so that a loop
    runs over a whole channel at once; `out` drops what the border gave.
    """

    def __init__(self, x: np.ndarray, kernel: Pair, window: Window, size: Pair) -> None:
        (sh, sw), (ph, pw), (dh, dw), _ = window
        h, w = x.shape[2:]
        self.x, self.window, self.size = x, window, size
        self.high, self.wide = h + 2 * ph, w + 2 * pw
        self.flat = (sh, sw) == (1, 1)
        self.length = (size[0] - 1) * self.wide + size[1]
        pixels = self.high * self.wide
        self.channels = max(1, min(x.shape[1], PIECE // pixels))
        self.padded = np.zeros((self.channels, pixels), x.dtype)
        self.taps = [(r, s) for r in range(kernel[0]) for s in range(kernel[1])]

    def load(self, image: int, first: int, last: int) -> int:
        """Bring some channels of an image in; how many."""
        (ph, pw), count = self.window.padding, last - first
        h, w = self.x.shape[2:]
        inner = self.padded.reshape(-1, self.high, self.wide)[:count, ph : ph + h, pw : pw + w]
        np.copyto(inner, self.x[image, first:last])
        return count

    def tap(self, r: int, s: int, count: int) -> np.ndarray:
        """What the tap (r, s) meets: (channels, pixels), or (channels, rows, columns)."""
        (sh, sw), _, (dh, dw), _ = self.window
        y, x = r * dh, s * dw
        if self.flat:
            start = y * self.wide + x
            return self.padded[:count, start : start + self.length]
        image = self.padded.reshape(-1, self.high, self.wide)[:count]
        p, q = self.size
        return image[:, y : y + sh * (p - 1) + 1 : sh, x : x + sw * (q - 1) + 1 : sw]

    def buffer(self) -> np.ndarray:
        """Memory for the products of a tap."""
        shape = (self.size[0] * self.wide,) if self.flat else self.size
        return np.zeros((self.channels, *shape), self.x.dtype)

    def line(self, buffer: np.ndarray, count: int) -> np.ndarray:
        """The part of a buffer that a tap covers."""
        return buffer[:count, : self.length] if self.flat else buffer[:count]

    def image(self, buffer: np.ndarray, count: int) -> np.ndarray:
        """A buffer as (channels, rows, columns) without the border's columns."""
        if not self.flat:
            return buffer[:count]
        return buffer[:count].reshape(count, self.size[0], self.wide)[:, :, : self.size[1]]


def depthwise(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, window: Window, size: Pair
) -> np.ndarray:
    """`x` (N, C, H, W) with filters (C, R, S) -> (N, C, P, Q)."""
    n, c = x.shape[:2]
    out = host.empty((n, c, *size), x.dtype)
    width = Lines(x[:0], w.shape[1:], window, size).channels  # type: ignore[arg-type]
    tasks = [(i, j, min(j + width, c)) for i in range(n) for j in range(0, c, width)]

    def body(start: int, stop: int) -> None:
        lines = Lines(x, w.shape[1:], window, size)  # type: ignore[arg-type]
        sums, products = lines.buffer(), lines.buffer()
        for image, first, last in tasks[start:stop]:
            count = lines.load(image, first, last)
            total, product = lines.line(sums, count), lines.line(products, count)
            for i, (r, s) in enumerate(lines.taps):
                factor = w[first:last, r, s].reshape(-1, *(1,) * (total.ndim - 1))
                np.multiply(lines.tap(r, s, count), factor, out=product if i else total)
                if i:
                    np.add(total, product, out=total)
            if bias is not None:
                total += bias[first:last].reshape(-1, *(1,) * (total.ndim - 1))
            np.copyto(out[image, first:last], lines.image(sums, count))

    parallel.run(body, len(tasks), -(-len(tasks) // 8))
    return out


def depthwise_weight(g: np.ndarray, x: np.ndarray, kernel: Pair, window: Window) -> np.ndarray:
    """The gradient of the filters (C, R, S)."""
    n, c = x.shape[:2]
    size: Pair = g.shape[2:]  # type: ignore[assignment]
    width = Lines(x[:0], kernel, window, size).channels
    parts = np.zeros((n, c, *kernel), g.dtype)
    tasks = [(i, j, min(j + width, c)) for i in range(n) for j in range(0, c, width)]

    def body(start: int, stop: int) -> None:
        lines = Lines(x, kernel, window, size)
        held = lines.buffer()
        for image, first, last in tasks[start:stop]:
            count = lines.load(image, first, last)
            np.copyto(lines.image(held, count), g[image, first:last])
            left = lines.line(held, count)
            for r, s in lines.taps:
                right = lines.tap(r, s, count)
                if not lines.flat:
                    parts[image, first:last, r, s] = np.einsum("cpq,cpq->c", left, right)
                    continue
                parts[image, first:last, r, s] = np.vecdot(left, right)

    parallel.run(body, len(tasks), -(-len(tasks) // 8))
    return parts.sum(0)
