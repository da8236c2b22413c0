"""The operators that a report follows over sizes, by family, with the work that each must do.

`Sweep.points(sizes)` gives cases; the same call runs on tritorch, PyTorch and, where a function of
NumPy says how, on NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .specs import Bools, Case, Ints, Reals, on

WIDTH = 1024  # of rows
Inputs = Callable[[int], Sequence[Any]]


class Point(NamedTuple):
    """A case to measure. `flops` counts multiplications and additions, each as one."""

    family: str
    operator: str
    size: int
    case: Case
    dtype: str = "float32"
    flops: float = 0.0
    numpy: Callable[..., Any] | None = None

    @property
    def shapes(self) -> str:
        return " ".join("x".join(map(str, spec.shape)) or "0-d" for spec in self.case.inputs)

    @property
    def key(self) -> str:
        """Names the point in results."""
        return f"{self.operator} {self.dtype} {self.shapes or self.size}".strip()


class Sweep(NamedTuple):
    """`inputs(size)` are the specs at a size, `flops(size)` the arithmetic; `sizes` names a row of
    `SIZES`."""

    family: str
    operator: str
    inputs: Inputs
    call: Callable[..., Any]
    numpy: Callable[..., Any] | None = None
    flops: Callable[[int], float] = float
    sizes: str = "elements"

    def points(self, device: str, dtypes: Sequence[str]) -> Iterator[Point]:
        for dtype in dtypes:
            for size in SIZES[self.sizes][device]:
                case = Case(self.call, on(*self.inputs(size))(self.call).inputs)
                served = self.numpy if dtype in ("float32", "float64") else None
                work = self.flops(size)
                yield Point(self.family, self.operator, size, case, dtype, work, served)


# What "size" counts, and its values on a CPU and on a GPU.
SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "elements": {
        "cpu": (1 << 10, 1 << 14, 1 << 18, 1 << 22),
        "cuda": (1 << 14, 1 << 18, 1 << 22, 1 << 26),
    },
    "scalars": {"cpu": (1 << 10, 1 << 14, 1 << 20), "cuda": (1 << 14, 1 << 20, 1 << 24)},
    "square": {"cpu": (64, 256, 1024), "cuda": (256, 1024, 4096, 8192)},
    "images": {"cpu": (1, 4, 16), "cuda": (8, 32, 128)},
    "steps": {"cpu": (64, 256, 512), "cuda": (512, 1024, 2048, 4096)},
}


def flat(count: int, low: float = -1.0, high: float = 1.0) -> Inputs:
    return lambda n: [Reals((n,), low, high)] * count


def rows(*vectors: Any) -> Inputs:
    """A matrix of rows of 1024, and what stands beside it."""
    return lambda n: [Reals((max(n // WIDTH, 1), WIDTH)), *vectors]


def times(count: float) -> Callable[[int], float]:
    """So many operations for each element."""
    return lambda n: count * n


def functional(name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    return lambda lib, *xs: getattr(lib.nn.functional, name)(*xs, *args, **kwargs)


def method(name: str, *args: Any) -> Callable[..., Any]:
    return lambda lib, x: getattr(x, name)(*args)


# -- NumPy's side ----------------------------------------------------------------------------------


def np_softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def np_layer_norm(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    y = x - x.mean(-1, keepdims=True)
    return y / np.sqrt((y * y).mean(-1, keepdims=True) + np.float32(1e-5)) * w + b


def np_gelu(x: np.ndarray) -> np.ndarray:
    from scipy import special

    return x * np.float32(0.5) * (1 + special.erf(x * np.float32(math.sqrt(0.5))))


def np_sigmoid(x: np.ndarray) -> np.ndarray:
    from scipy import special

    return special.expit(x)


def np_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np_softmax(q @ k.swapaxes(-1, -2) / np.float32(math.sqrt(q.shape[-1]))) @ v


def np_topk(x: np.ndarray) -> np.ndarray:
    return np.sort(np.partition(x, -8, -1)[..., -8:], -1)[..., ::-1]


# -- the sweeps ------------------------------------------------------------------------------------


def scattered(lib: Any, x: Any, i: Any, y: Any) -> Any:
    return lib.index_add(x, 0, i, y)


def table(n: int) -> list:
    """Rows of 64 of a table, so that `n` elements are picked."""
    return [Reals((1 << 14, 64)), Ints((max(n // 64, 1),), 1 << 14)]


def convolution(kernel: int, groups: int = 1) -> Inputs:
    return lambda n: [Reals((n, 64, 28, 28)), Reals((64, 64 // groups, kernel, kernel))]


def conv_flops(kernel: int, groups: int = 1) -> Callable[[int], float]:
    return lambda n: 2.0 * n * 28 * 28 * 64 * (64 // groups) * kernel * kernel


def heads(n: int) -> list:
    """Four sequences of 8 heads of size 64."""
    return [Reals((4, 8, n, 64))] * 3


SWEEPS: tuple[Sweep, ...] = (
    Sweep("elementwise", "add", flat(2), lambda lib, x, y: x + y, np.add),
    Sweep("elementwise", "mul", flat(2), lambda lib, x, y: x * y, np.multiply),
    Sweep("elementwise", "exp", flat(1), method("exp"), np.exp),
    Sweep("elementwise", "tanh", flat(1), method("tanh"), np.tanh),
    Sweep(
        "elementwise",
        "where",
        lambda n: [Bools((n,)), Reals((n,)), Reals((n,))],
        lambda lib, c, x, y: lib.where(c, x, y),
        np.where,
    ),
    Sweep("elementwise", "add a row", rows(Reals((WIDTH,))), lambda lib, x, y: x + y, np.add),
    Sweep("activation", "relu", flat(1), functional("relu"), lambda x: np.maximum(x, 0)),
    Sweep("activation", "gelu", flat(1), functional("gelu"), np_gelu, times(8)),
    Sweep("activation", "sigmoid", flat(1), method("sigmoid"), np_sigmoid, times(4)),
    Sweep("copy", "clone", flat(1), method("clone"), np.copy, times(0)),
    Sweep(
        "copy",
        "transpose",
        rows(),
        lambda lib, x: x.t().contiguous(),
        lambda x: np.ascontiguousarray(x.T),
        times(0),
    ),
    Sweep(
        "copy",
        "cat",
        flat(2),
        lambda lib, x, y: lib.cat([x, y]),
        lambda x, y: np.concatenate([x, y]),
        times(0),
    ),
    Sweep("reduction", "sum", flat(1), method("sum"), np.sum),
    Sweep("reduction", "sum of rows", rows(), method("sum", 1), lambda x: x.sum(1)),
    Sweep("reduction", "sum of columns", rows(), method("sum", 0), lambda x: x.sum(0)),
    Sweep("reduction", "argmax", rows(), method("argmax", 1), lambda x: x.argmax(1)),
    Sweep("reduction", "var", rows(), method("var", 1), lambda x: x.var(1, ddof=1), times(4)),
    Sweep("scan", "cumsum", rows(), method("cumsum", 1), lambda x: x.cumsum(1)),
    Sweep("softmax", "softmax", rows(), functional("softmax", -1), np_softmax, times(5)),
    Sweep("softmax", "log_softmax", rows(), functional("log_softmax", -1), None, times(5)),
    Sweep(
        "softmax",
        "cross_entropy",
        lambda n: [Reals((max(n // WIDTH, 1), WIDTH)), Ints((max(n // WIDTH, 1),), WIDTH)],
        functional("cross_entropy"),
        None,
        times(5),
    ),
    Sweep(
        "normalisation",
        "layer_norm",
        rows(Reals((WIDTH,)), Reals((WIDTH,))),
        lambda lib, x, w, b: lib.nn.functional.layer_norm(x, (WIDTH,), w, b),
        np_layer_norm,
        times(8),
    ),
    Sweep(
        "normalisation",
        "rms_norm",
        rows(Reals((WIDTH,))),
        lambda lib, x, w: lib.nn.functional.rms_norm(x, (WIDTH,), w),
        None,
        times(4),
    ),
    Sweep(
        "normalisation",
        "batch_norm",
        lambda n: [Reals((n, 64, 28, 28)), Reals((64,)), Reals((64,))],
        lambda lib, x, w, b: lib.nn.functional.batch_norm(x, None, None, w, b, training=True),
        None,
        lambda n: 8.0 * n * 64 * 28 * 28,
        "images",
    ),
    Sweep(
        "product",
        "matmul",
        lambda n: [Reals((n, n))] * 2,
        lambda lib, a, b: a @ b,
        np.matmul,
        lambda n: 2.0 * n**3,
        "square",
    ),
    Sweep(
        "product",
        "linear, 16 rows",
        lambda n: [Reals((16, n)), Reals((n, n)), Reals((n,))],
        functional("linear"),
        lambda x, w, b: x @ w.T + b,
        lambda n: 32.0 * n * n,
        "square",
    ),
    Sweep(
        "product",
        "bmm",
        lambda n: [Reals((n // 4, 64, 64))] * 2,
        lambda lib, a, b: lib.bmm(a, b),
        np.matmul,
        lambda n: 2.0 * (n // 4) * 64**3,
        "square",
    ),
    Sweep(
        "convolution",
        "conv2d 3x3",
        convolution(3),
        functional("conv2d", padding=1),
        None,
        conv_flops(3),
        "images",
    ),
    Sweep(
        "convolution",
        "conv2d 1x1",
        convolution(1),
        functional("conv2d"),
        lambda x, w: np.matmul(w[:, :, 0, 0], x.reshape(*x.shape[:2], -1)).reshape(x.shape),
        conv_flops(1),
        "images",
    ),
    Sweep(
        "convolution",
        "conv2d depthwise",
        convolution(3, 64),
        functional("conv2d", padding=1, groups=64),
        None,
        conv_flops(3, 64),
        "images",
    ),
    Sweep(
        "pooling",
        "max_pool2d",
        lambda n: [Reals((n, 64, 28, 28))],
        functional("max_pool2d", 2),
        lambda x: x.reshape(*x.shape[:2], 14, 2, 14, 2).max((3, 5)),
        lambda n: 1.0 * n * 64 * 28 * 28,
        "images",
    ),
    Sweep(
        "attention",
        "attention",
        heads,
        functional("scaled_dot_product_attention"),
        np_attention,
        lambda n: 4.0 * 4 * 8 * n * n * 64,
        "steps",
    ),
    Sweep(
        "attention",
        "attention, causal",
        heads,
        functional("scaled_dot_product_attention", is_causal=True),
        None,
        lambda n: 2.0 * 4 * 8 * n * n * 64,
        "steps",
    ),
    Sweep(
        "index",
        "embedding",
        table,
        lambda lib, w, i: lib.nn.functional.embedding(i, w),
        lambda w, i: w[i],
        times(0),
    ),
    Sweep(
        "index",
        "index_add",
        lambda n: [*table(n), Reals((max(n // 64, 1), 64))],
        scattered,
        None,
        times(1),
    ),
    Sweep("sorting", "sort", rows(), lambda lib, x: lib.sort(x)[0], np.sort, times(10), "scalars"),
    Sweep(
        "sorting", "topk", rows(), lambda lib, x: lib.topk(x, 8)[0], np_topk, times(1), "scalars"
    ),
    Sweep(
        "random",
        "randn",
        lambda n: [Reals((n,))],
        lambda lib, x: lib.randn_like(x),
        lambda x: GENERATOR.standard_normal(x.shape, np.float32),
        times(0),
        "scalars",
    ),
    Sweep("random", "dropout", flat(1), functional("dropout", 0.5), None, times(0), "scalars"),
)
GENERATOR = np.random.default_rng(0)
RANDOM = frozenset({"randn", "dropout"})  # have no result to compare


def points(device: str, dtypes: Sequence[str]) -> list[Point]:
    """All points of all sweeps on a device of this kind ("cpu" or "cuda")."""
    return [p for sweep in SWEEPS for p in sweep.points(device, dtypes)]
