"""Convolution of NumPy arrays with one filter for each channel: sums of shifted products.

Images of one channel lie in memory one after the other, each inside its border of zeros, as one
line. A tap of the filter then meets the line itself, shifted, and every loop runs over a whole
line; what positions in the border give is left out at the end, and so are those between strides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..runtime import host, parallel

Pair = tuple[int, int]
PIECE = 1 << 17  # elements of a line, so that three of them stay in a core's cache


class Window(NamedTuple):
    """How a filter moves over an image: `groups` of channels do not see each other."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def output(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> Pair:
        """The number of positions of the filter along both dimensions."""
        h, w = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                size, kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return h, w

    def transposed(self, kernel: tuple[int, ...]) -> Window:
        """The window that takes a gradient at stride 1 back to the input."""
        (ph, pw), (dh, dw) = self.padding, self.dilation
        pads = dh * (kernel[0] - 1) - ph, dw * (kernel[1] - 1) - pw
        return Window((1, 1), pads, self.dilation, self.groups)


class Lines:
    """Some channels of some images as lines; `spread` leaves zeros between the elements."""

    def __init__(
        self, x: np.ndarray, kernel: Pair, window: Window, size: Pair, spread: Pair = (1, 1)
    ) -> None:
        n, c = x.shape[:2]
        (self.top, self.left), (dh, dw) = window.padding, window.dilation
        self.x, self.stride, self.spread, self.size = x, window.stride, spread, size
        self.high, self.wide = (
            max((m - 1) * s + d * (k - 1) + 1, p + (have - 1) * t + 1)
            for m, s, d, k, p, have, t in zip(
                size, window.stride, window.dilation, kernel, window.padding, x.shape[2:], spread,
                strict=True,
            )
        )  # fmt: skip
        pixels = self.high * self.wide
        self.images = max(1, min(n, PIECE // pixels))
        self.channels = max(1, min(c, PIECE // (self.images * pixels)))
        self.length = self.images * pixels
        self.taps = [
            (r, s, r * dh * self.wide + s * dw) for r in range(kernel[0]) for s in range(kernel[1])
        ]
        self.reach = self.length - self.taps[-1][2]

    def tasks(self) -> list[tuple[slice, slice]]:
        """Pieces of the work: images, channels."""
        n, c = self.x.shape[:2]
        return [
            (slice(i, min(i + self.images, n)), slice(j, min(j + self.channels, c)))
            for i in range(0, n, self.images)
            for j in range(0, c, self.channels)
        ]

    def zeros(self) -> np.ndarray:
        return np.zeros((self.channels, self.length), self.x.dtype)

    def _planes(self, line: np.ndarray) -> np.ndarray:
        return line.reshape(self.channels, self.images, self.high, self.wide)

    def load(self, line: np.ndarray, task: tuple[slice, slice]) -> None:
        """Put a piece of the input into a line, inside the border."""
        part = self.x[task].transpose(1, 0, 2, 3)
        c, n, h, w = part.shape
        (sh, sw), (y, x) = self.spread, (self.top, self.left)
        rows, columns = slice(y, y + (h - 1) * sh + 1, sh), slice(x, x + (w - 1) * sw + 1, sw)
        np.copyto(self._planes(line)[:c, :n, rows, columns], part)

    def results(self, line: np.ndarray, c: int, n: int) -> np.ndarray:
        """The elements of a line that are results: (n, c, rows, columns)."""
        (sh, sw), (p, q) = self.stride, self.size
        rows, columns = slice(0, (p - 1) * sh + 1, sh), slice(0, (q - 1) * sw + 1, sw)
        return self._planes(line)[:c, :n, rows, columns].transpose(1, 0, 2, 3)


def depthwise(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    window: Window,
    size: Pair,
    spread: Pair = (1, 1),
) -> np.ndarray:
    """`x` (N, C, H, W) with filters (C, R, S) -> (N, C, *size)."""
    out = host.images((*x.shape[:2], *size), x.dtype, x)
    lines = Lines(x, w.shape[1:], window, size, spread)  # type: ignore[arg-type]
    tasks = lines.tasks()

    def body(start: int, stop: int) -> None:
        source, sums, products = lines.zeros(), lines.zeros(), lines.zeros()
        total, product = sums[:, : lines.reach], products[:, : lines.reach]
        for images, channels in tasks[start:stop]:
            lines.load(source, (images, channels))
            n, c = images.stop - images.start, channels.stop - channels.start
            factors = w[channels]
            for i, (r, s, at) in enumerate(lines.taps):
                into = product[:c] if i else total[:c]
                np.multiply(source[:c, at : at + lines.reach], factors[:, r, s, None], out=into)
                if i:
                    np.add(total[:c], into, out=total[:c])
            target = out[images, channels]
            if bias is None:
                np.copyto(target, lines.results(sums, c, n))
            else:
                np.add(lines.results(sums, c, n), bias[channels, None, None], out=target)

    parallel.run(body, len(tasks), -(-len(tasks) // 8))
    return out


def depthwise_weight(g: np.ndarray, x: np.ndarray, kernel: Pair, window: Window) -> np.ndarray:
    """The gradient of the filters (C, R, S)."""
    lines = Lines(x, kernel, window, g.shape[2:])  # type: ignore[arg-type]
    tasks = lines.tasks()
    parts = np.empty((-(-x.shape[0] // lines.images), x.shape[1], *kernel), g.dtype)

    def body(start: int, stop: int) -> None:
        source, held = lines.zeros(), lines.zeros()
        for images, channels in tasks[start:stop]:
            n, c = images.stop - images.start, channels.stop - channels.start
            if n < lines.images:
                source.fill(0)
                held.fill(0)
            lines.load(source, (images, channels))
            np.copyto(lines.results(held, c, n), g[images, channels])
            part = parts[images.start // lines.images, channels]
            for r, s, at in lines.taps:
                right = source[:c, at : at + lines.reach]
                part[:, r, s] = np.vecdot(held[:c, : lines.reach], right)

    parallel.run(body, len(tasks), -(-len(tasks) // 8))
    return parts.sum(0)
