"""Calls of operators with the sizes of real networks, for tests that need no memory for them.

`REAL[name](e)` lists (inputs, parameters); `e(*shape)` makes an array of floats of the dtype under
test, `e.float32(*shape)` and `e.int64(*shape)` of these. Operators that are not named here get
their declared samples with each size multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Case = tuple[tuple, dict[str, Any]]


def products(e: Any) -> list[Case]:
    """(M, K) @ (K, N): large, transposed, few rows, few outputs and long sums, odd, batched."""
    sizes = [(4096, 4096, 4096), (8192, 1024, 768), (16, 4096, 4096), (256, 256, 16384)]
    cases = [((e(m, k), e(k, n)), {}) for m, n, k in [*sizes, (1000, 1001, 999), (128, 50257, 768)]]
    transposed = [(e(2048, 1024).t(), e(2048, 4096)), (e(4096, 1024), e(512, 1024).t())]
    vectors = [(e(4096, 4096), e(4096, 1)), (e(1, 4096), e(4096, 4096))]
    batched = [(e(96, 512, 64), e(96, 64, 512)), (e(8, 12, 1024, 64), e(8, 12, 64, 1024))]
    return cases + [(pair, {}) for pair in transposed + vectors + batched]


def linears(e: Any) -> list[Case]:
    return [
        ((e(8, 1024, 768), e(3072, 768), e(3072)), {}),
        ((e(8192, 4096), e(4096, 4096), None), {}),
        ((e(1, 768), e(50257, 768), None), {}),
    ]


def sums_of_products(e: Any) -> list[Case]:
    """With a bias a column, and a matrix."""
    scales = {"alpha": 1.0, "beta": 1.0}
    return [
        ((e(1024), e(8192, 512), e(512, 1024)), scales),
        ((e(2048, 2048), e(2048, 512), e(512, 2048)), {"alpha": 2.0, "beta": 0.5}),
    ]


# (N, C, H, W), filters, (R, S), stride, padding, groups: ResNet-50's, one 5x5, depthwise.
CONVOLUTIONS = [
    ((32, 3, 224, 224), 64, (7, 7), 2, 3, 1),
    ((32, 64, 56, 56), 64, (3, 3), 1, 1, 1),
    ((32, 256, 56, 56), 128, (1, 1), 1, 0, 1),
    ((32, 128, 56, 56), 128, (3, 3), 2, 1, 1),
    ((32, 512, 7, 7), 512, (3, 3), 1, 1, 1),
    ((64, 48, 32, 32), 96, (5, 5), 1, 2, 1),
    ((32, 128, 28, 28), 128, (3, 3), 1, 1, 8),
    ((32, 144, 56, 56), 144, (3, 3), 1, 1, 144),
]


def convolutions(of: str) -> Callable[[Any], list[Case]]:
    """Forward, or the gradient of the input or the weight; channels first and last in memory."""

    def cases(e: Any) -> list[Case]:
        found = []
        for image, filters, kernel, stride, padding, groups in CONVOLUTIONS:
            n, c, h, w = image
            p, q = ((s + 2 * padding - k) // stride + 1 for s, k in zip((h, w), kernel))
            steps = {
                "stride": (stride, stride),
                "padding": (padding, padding),
                "dilation": (1, 1),
                "groups": groups,
            }
            for array in (e, last(e)):
                x, g = array(n, c, h, w), array(n, filters, p, q)
                weight, bias = array(filters, c // groups, *kernel), e(filters)
                found.append(
                    {
                        "forward": ((x, weight, bias), steps),
                        "input": ((g, weight), {**steps, "size": (h, w)}),
                        "weight": ((g, x), {**steps, "size": kernel}),
                    }[of]
                )
        return found

    return cases


def last(e: Any) -> Callable:
    """Arrays (N, C, H, W) with the channels last in memory."""
    return lambda n, c, h, w: e(n, h, w, c).permute((0, 3, 1, 2))


def rows(inputs: int, vectors: int = 0, statistics: int = 0, **params: Any) -> Callable:
    """`inputs` arrays of rows of several lengths, `vectors` as long, `statistics` a row."""

    def cases(e: Any) -> list[Case]:
        return [
            (
                (
                    *(e(count, width) for _ in range(inputs)),
                    *(e(width) for _ in range(vectors)),
                    *(e.float32(count) for _ in range(statistics)),
                ),
                params,
            )
            for count, width in ((8192, 768), (4096, 4096), (1000, 1001), (2048, 50257))
        ]

    return cases


def scans(**params: Any) -> Callable:
    """Along rows, along columns, and along one long row, which is cut."""

    def cases(e: Any) -> list[Case]:
        sizes = [((4096, 4096), 1), ((4096, 4096), 0), ((64, 1001, 999), 1), ((1 << 24,), 0)]
        return [((e(*shape),), {"dim": dim, **params}) for shape, dim in sizes]

    return cases


def norms(e: Any) -> list[Case]:
    """Every order along rows; one of them along columns and over everything."""
    orders = [(p, (1,)) for p in (0.0, 0.5, 1.0, 2.0, 3.0, math.inf, -math.inf)]
    along = [*orders, (3.0, (0,)), (3.0, (0, 1))]
    return [((e(4096, 4096),), {"p": p, "dims": dims, "keepdim": False}) for p, dims in along]


REAL: dict[str, Callable[[Any], list[Case]]] = {
    "matmul": products,
    "linear": linears,
    "addmm": sums_of_products,
    "conv2d": convolutions("forward"),
    "conv2d_input": convolutions("input"),
    "conv2d_weight": convolutions("weight"),
    "norm": norms,
    "cumsum": scans(reverse=True),
    "cumprod": scans(),
    "logcumsumexp": scans(),
    "cummax": scans(),
    "cummin": scans(),
    "softmax": rows(1, dim=1),
    "log_softmax": rows(1, dim=1),
    "softmax_backward": rows(2, dim=1),
    "log_softmax_backward": rows(2, dim=1),
    "layer_norm": rows(1, 2, n=1, eps=1e-5),
    "layer_norm_backward": rows(2, 1, 2, n=1, affine=(True, True)),
    "rms_norm": rows(1, 1, n=1, eps=1e-5),
    "rms_norm_backward": rows(2, 1, 1, n=1, affine=(True, False)),
}
