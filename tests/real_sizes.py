"""Calls of operators with the sizes of real networks, for tests that need no memory for them.

`REAL[name](e)` lists (inputs, parameters); `e(*shape)` makes an array of floats of the dtype under
test, `e.float32(*shape)`, `e.int32(*shape)`, `e.int64(*shape)` and `e.bool(*shape)` of these.
Operators that are not named here get their declared samples with each size multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from tritorch.ops.resample_host import Axis

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
        ((e(8192, 4096), e(8192, 1024), e(1024, 4096)), scales),
    ]


def experts(e: Any) -> list[Case]:
    """A mixture of experts: forward, both gradients, few tokens an expert, columns in groups."""
    ends = e.int32(8)
    return [
        ((e(8192, 1024), e(8, 1024, 4096), ends), {}),
        ((e(8192, 4096), e(8, 1024, 4096).mT, ends), {}),
        ((e(8192, 1024).t(), e(8192, 4096), ends), {}),
        ((e(128, 1024), e(64, 1024, 2048), e.int32(64)), {}),
        ((e(8, 4096, 1024), e(1024, 8192), ends), {}),
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


def orders(e: Any, **params: Any) -> list[Case]:
    """Rows of a vocabulary, short rows, columns, and one long row."""
    sizes = [((64, 50257), 1), ((8192, 64), 1), ((1024, 1000), 0), ((1 << 22,), 0)]
    return [((e(*shape),), {"dim": dim, **params}) for shape, dim in sizes]


def sorts(e: Any) -> list[Case]:
    whole = ((e.int64(4, 5000),), {"dim": 1, "descending": True})
    return [*orders(e, descending=False), whole]


def tops(e: Any) -> list[Case]:
    """A few of each row, and so many that rows are sorted."""
    long, whole = e(64, 50257), e.int64(4, 5000)
    few = [((long,), {"k": k, "dim": 1, "largest": True}) for k in (1, 50, 1000)]
    return [*few, ((whole,), {"k": 5, "dim": 1, "largest": False})]


PLAIN = {"is_causal": False, "scale": 0.125, "dropout": 0.0, "seed": 0, "offset": 0}
CAUSAL = {**PLAIN, "is_causal": True}
# Queries (B, H, L, E), heads and number of keys, mask, parameters: each head size, masks, dropout,
# odd sizes, heads that share keys, and one query for many keys; and several of these at once.
ATTENTIONS = [
    ((8, 12, 1024, 64), 12, 1024, None, CAUSAL),
    ((4, 16, 4096, 128), 4, 4096, None, CAUSAL),
    ((2, 16, 1024, 128), 16, 2048, None, PLAIN),
    ((2, 8, 2048, 256), 8, 2048, None, CAUSAL),
    ((2, 8, 1001, 80), 8, 999, None, CAUSAL),
    ((8, 12, 512, 64), 12, 512, "bool", PLAIN),
    ((8, 12, 512, 64), 12, 512, "float", PLAIN),
    ((8, 12, 1024, 64), 12, 1024, None, {**CAUSAL, "dropout": 0.1, "seed": 3, "offset": 7}),
    ((4, 32, 1, 128), 8, 8192, None, PLAIN),
    ((16, 8, 577, 32), 8, 577, None, PLAIN),
    ((4, 16, 2048, 96), 2, 2048, None, {**CAUSAL, "dropout": 0.1, "seed": 3, "offset": 7}),
    ((2, 16, 1024, 128), 4, 1024, "float", {**PLAIN, "dropout": 0.1, "seed": 3, "offset": 7}),
    ((2, 8, 1024, 192), 1, 1024, "bool", CAUSAL),
    ((2, 8, 1024, 256), 8, 1024, "float", {**PLAIN, "dropout": 0.1, "seed": 3, "offset": 7}),
]


def attentions(e: Any) -> list[Case]:
    found = []
    for (b, h, m, d), heads, n, mask, params in ATTENTIONS:
        inputs = e(b, h, m, d), e(b, heads, n, d), e(b, heads, n, d)
        masks = {None: None, "bool": e.bool(b, 1, 1, n), "float": e(1, h, m, n)}
        found.append(((*inputs, masks[mask]), params))
    return found


def attention_gradients(e: Any) -> list[Case]:
    found = []
    for (q, k, v, mask), params in attentions(e):
        needs = mask is not None and mask.is_floating_point()
        lse = e.float32(*q.shape[:3])
        found.append(((q, q, k, v, mask, q, lse), {**params, "mask_grad": needs}))
    return found


# Queries (T, H, D) of sequences, heads and number of keys, the longest of both, window, and whether
# the keys in use are told: packed training causal and with a sliding window, encoders, odd sizes,
# heads that share keys, and decoding.
PACKED = [
    ((32768, 12, 64), 12, 32768, (4096, 4096), (-1, 0), False),
    ((32768, 32, 128), 8, 32768, (8192, 8192), (-1, 0), False),
    ((16384, 16, 128), 16, 16384, (2048, 2048), (1023, 0), False),
    ((16384, 12, 64), 12, 16384, (512, 512), (-1, -1), False),
    ((10007, 6, 80), 2, 9973, (1001, 999), (100, 100), False),
    ((8192, 8, 256), 4, 8192, (2048, 2048), (-1, 0), False),
    ((16, 32, 128), 8, 65536, (1, 8192), (-1, 0), True),
    ((8192, 16, 64), 4, 8192, (1024, 1024), (255, 0), False),
    ((10007, 6, 80), 6, 10007, (1001, 1001), (-1, 0), False),
    ((4096, 8, 192), 2, 4096, (1024, 1024), (127, 0), False),
]


def packed(e: Any) -> list[Case]:
    found = []
    for (t, h, d), heads, n, (max_q, max_k), (left, right), told in PACKED:
        params = {"max_q": max_q, "max_k": max_k, "left": left, "right": right, "scale": 0.125}
        used = e.int32(16) if told else None
        inputs = e(t, h, d), e(n, heads, d), e(n, heads, d), e.int32(17), e.int32(17), used
        found.append((inputs, params))
    return found


def packed_gradients(e: Any) -> list[Case]:
    found = []
    for (q, k, v, cu_q, cu_k, used), params in packed(e):
        if used is None:
            lse = e.float32(q.shape[1], q.shape[0])
            found.append(((q, q, k, v, cu_q, cu_k, q, lse), params))
    return found


def borders(back: bool) -> Callable:
    """Each mode, around images and around lines."""

    def cases(e: Any) -> list[Case]:
        found = []
        for shape, pad in (
            ((16, 64, 224, 224), ((0, 0), (0, 0), (1, 1), (3, 3))),
            ((64, 80, 1001), ((0, 0), (0, 0), (200, 200))),
        ):
            for mode in ("reflect", "replicate", "circular"):
                params = {"pad": pad, "mode": mode}
                if back:
                    shape_of = [n + a + b for n, (a, b) in zip(shape, pad)]
                    found.append(((e(*shape_of),), {"shape": shape, **params}))
                else:
                    found.append(((e(*shape),), params))
        return found

    return cases


POOL = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1)}


def maxima(e: Any) -> list[Case]:
    return [((array(32, 64, 112, 112),), {"size": (56, 56), **POOL}) for array in (e, last(e))]


def maxima_gradients(e: Any) -> list[Case]:
    g, x = e(32, 64, 56, 56), e(32, 64, 112, 112)
    return [((g, x, g), POOL)]


# Shape of images, sizes asked for, kind: factors of two and others, upwards and downwards.
RESAMPLED = [
    ((16, 64, 56, 56), (112, 112), "nearest"),
    ((16, 64, 56, 56), (112, 112), "linear"),
    ((8, 3, 224, 224), (640, 480), "cubic"),
    ((8, 3, 1024, 768), (224, 224), "linear_aa"),
    ((8, 3, 1024, 768), (224, 224), "cubic_aa"),
    ((8, 3, 1024, 768), (224, 224), "lanczos_aa"),
    ((2, 32, 32, 64, 64), (64, 128, 128), "linear"),
    ((64, 80, 1001), (4004,), "linear"),
]


def resampled(back: bool) -> Callable:
    def cases(e: Any) -> list[Case]:
        found = []
        for shape, sizes, kind in RESAMPLED:
            axes = tuple(Axis(i, o, kind, False, 0.0) for i, o in zip(shape[2:], sizes))
            found.append(((e(*shape[:2], *(sizes if back else shape[2:])),), {"axes": axes}))
        n, c, h, w = RESAMPLED[1][0]
        axes = (Axis(h, 2 * h, "linear", True, 0.0), Axis(w, 2 * w, "linear", True, 0.0))
        size = (2 * h, 2 * w) if back else (h, w)
        return [*found, ((last(e)(n, c, *size),), {"axes": axes})]

    return cases


def sampled(back: bool) -> Callable:
    """Images in each mode and padding, and volumes."""

    def cases(e: Any) -> list[Case]:
        found = []
        for mode, padding in itertools.product(
            ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
        ):
            how = {"mode": mode, "padding": padding, "align": padding == "border"}
            x, grid, g = e(8, 64, 128, 128), e(8, 96, 96, 2), e(8, 64, 96, 96)
            found.append(((g, x, grid) if back else (x, grid), how))
            if mode != "bicubic":
                x, grid, g = e(2, 16, 32, 64, 64), e(2, 32, 64, 64, 3), e(2, 16, 32, 64, 64)
                found.append(((g, x, grid) if back else (x, grid), how))
        return found

    return cases


def recurrences(cell: str, back: bool) -> Callable:
    """Sequences of one length and of several, hidden sizes that are multiples of 16 and not."""

    def cases(e: Any) -> list[Case]:
        found = []
        for sizes, n, p in (
            ((64,) * 3, 512, None),
            ((48, 48, 20), 100, None),
            ((32,) * 2, 256, 64),
        ):
            if p is None or cell == "lstm":
                found.append(_recurrence(e, cell, back, sizes, n, p))
        return found

    return cases


def _recurrence(e: Any, cell: str, back: bool, sizes: tuple, n: int, p: int | None) -> Case:
    rows, batch, gates = sum(sizes), sizes[0], {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    params: dict[str, Any] = {"sizes": sizes, "reverse": False}
    out, h, c = e(rows, p or n), e(batch, p or n), e(batch, n)
    first = (e(rows, gates * n), h)
    if cell == "rnn":
        given, grads, saved = (*first, e(n, n)), (out, h), (out,)
        params["relu"] = False
    elif cell == "lstm":
        given = (*first, c, e(4 * n, p or n), None if p is None else e(p, n))
        grads, saved = (out, h, c), (out, e(rows, 4 * n), e(rows, n))
    else:
        given, grads = (*first, e(3 * n, n), e(3 * n)), (out, h)
        saved = (out, e(rows, 4 * n))
    return ((*grads, *given, *saved) if back else given, params)


def alignments(back: bool) -> Callable:
    """Speech: few classes and long targets; text: many classes."""

    def cases(e: Any) -> list[Case]:
        found = []
        for time, n, classes, places in ((1000, 32, 29, 401), (200, 64, 5000, 101)):
            x, labels, lengths = e(time, n, classes), e.int64(n, places), e.int64(n)
            given = (x, labels, lengths, lengths)
            saved = (e(n), e(time, n, places))
            found.append((((e(n), *given, *saved) if back else given), {}))
        return found

    return cases


def chunked(back: bool) -> Callable:
    """The last layer of language models, with and without biases."""

    def cases(e: Any) -> list[Case]:
        found = []
        for rows, features, classes in ((4096, 768, 50257), (2048, 4096, 32000)):
            bias = e(classes) if classes == 32000 else None
            given = e(rows, features), e(classes, features), e.int64(rows), bias
            params = {"ignore_index": -100, "chunk": 1024}
            inputs = (e(rows), *given, e.float32(rows)) if back else given
            found.append((inputs, params))
        return found

    return cases


# Matrices and rows of each: whole blocks of registers, parts of one, and large matrices.
# What stands on the factors launches the same kernels: one size is enough.
MATRICES = [(8192, 8), (4096, 16), (1000, 29), (1024, 32), (512, 64), (1, 1000)]


def matrices(sizes: list[tuple[int, int]], **params: Any) -> Callable[[Any], list[Case]]:
    return lambda e: [((e(batch, n, n),), params) for batch, n in sizes]


def triangles(e: Any) -> list[Case]:
    """One right-hand side and many."""
    found: list[Case] = []
    for batch, n in MATRICES:
        for k, upper in ((1, True), (n, False)):
            given = e(batch, n, n), e(batch, n, k)
            found.append((given, {"upper": upper, "unit": not upper}))
    return found


REAL: dict[str, Callable[[Any], list[Case]]] = {
    "matmul": products,
    "linear": linears,
    "addmm": sums_of_products,
    "grouped_mm": experts,
    "conv2d": convolutions("forward"),
    "conv2d_input": convolutions("input"),
    "conv2d_weight": convolutions("weight"),
    "attention": attentions,
    "attention_backward": attention_gradients,
    "varlen_attention": packed,
    "varlen_attention_backward": packed_gradients,
    "norm": norms,
    "cholesky_op": matrices(MATRICES),
    "lu_op": matrices(MATRICES),
    "solve_triangular": triangles,
    "inv_ex": matrices(MATRICES[3:4]),
    "det": matrices(MATRICES[3:]),
    "slogdet": matrices(MATRICES[3:]),
    "cholesky_inverse": matrices(MATRICES[3:4], upper=True),
    "cholesky_solve": lambda e: [((e(64, 32, 8), e(64, 32, 32)), {"upper": False})],
    "linalg_solve": lambda e: [((e(64, 32, 32), e(64, 32, 8)), {})],
    "resample": resampled(False),
    "resample_back": resampled(True),
    "grid_sample": sampled(False),
    "grid_sample_backward": sampled(True),
    "rnn_scan": recurrences("rnn", False),
    "rnn_scan_backward": recurrences("rnn", True),
    "lstm_scan": recurrences("lstm", False),
    "lstm_scan_backward": recurrences("lstm", True),
    "gru_scan": recurrences("gru", False),
    "gru_scan_backward": recurrences("gru", True),
    "ctc": alignments(False),
    "ctc_backward": alignments(True),
    "linear_entropy": chunked(False),
    "linear_entropy_backward": chunked(True),
    "pad_borders": borders(False),
    "pad_borders_backward": borders(True),
    "max_pool2d_values": maxima,
    "max_pool2d_values_backward": maxima_gradients,
    "cumsum": scans(reverse=True),
    "cumprod": scans(),
    "logcumsumexp": scans(),
    "cummax": scans(),
    "cummin": scans(),
    "fft_r2c": lambda e: [
        ((e.float32(64, n),), {"dim": 1, "norm": "backward"}) for n in (64, 1000, 4096, 1 << 16)
    ],
    "sort": sorts,
    "topk": tops,
    "kthvalue": lambda e: orders(e, k=7),
    "mode": orders,
    "softmax": rows(1, dim=1),
    "log_softmax": rows(1, dim=1),
    "softmax_backward": rows(2, dim=1),
    "log_softmax_backward": rows(2, dim=1),
    "layer_norm": rows(1, 2, n=1, eps=1e-5),
    "layer_norm_backward": rows(2, 1, 2, n=1, affine=(True, True)),
    "rms_norm": rows(1, 1, n=1, eps=1e-5),
    "rms_norm_backward": rows(2, 1, 1, n=1, affine=(True, False)),
}
