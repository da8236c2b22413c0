"""Samples of operators' calls, in the dtypes and layouts that tests want, and random tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..op import REGISTRY, Op
from ..ops.api import PUBLIC
from ..runtime.memory import meta
from ..tensor import Tensor, wrap


@dataclass
class Sample:
    """One call: `inputs` are NumPy arrays, numbers, None; `params` the keywords of the record.

    `smooth` is False where finite differences fail: at kinks, ties, jumps.
    """

    inputs: tuple
    params: dict = field(default_factory=dict)
    smooth: bool = True

    def tensors(
        self,
        dtype: DType | None = None,
        device: str = "cpu",
        layout: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> list:
        """The inputs as tensors, floating-point ones in `dtype`, laid out by `layout`."""
        return [_tensor(x, dtype, device, layout) for x in self.inputs]

    def __repr__(self) -> str:
        shown = [
            f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)
            for x in self.inputs
        ]
        return ", ".join([*shown, *(f"{k}={v!r}" for k, v in self.params.items())])


class Sampler:
    """Makes the arrays of samples from a seed. Called with shapes it makes a `Sample`."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, *inputs: Any, smooth: bool = True, **params: Any) -> Sample:
        """A sample; a shape among the inputs becomes an array of reals in [-1, 1]."""
        made = tuple(self.reals(x) if isinstance(x, tuple) else x for x in inputs)
        return Sample(made, params, smooth)

    def reals(self, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> np.ndarray:
        return np.asarray(self.rng.uniform(low, high, tuple(shape)))

    def ints(self, high: int, shape: Sequence[int], low: int = 0) -> np.ndarray:
        return np.asarray(self.rng.integers(low, high, tuple(shape)))

    def bools(self, shape: Sequence[int]) -> np.ndarray:
        return np.asarray(self.rng.random(tuple(shape)) < 0.5)

    def distinct(self, shape: Sequence[int]) -> np.ndarray:
        """Reals of which no two are near each other: for maxima, sorting, medians."""
        n = int(np.prod(shape))
        return (self.rng.permutation(n) / max(n, 1) * 2 - 1).reshape(tuple(shape))


def samples_of(op: Op, seed: int = 0) -> list[Sample]:
    """The declared samples of an operator."""
    made: Any = op.samples(Sampler(seed)) if callable(op.samples) else op.samples
    made = list(made) if isinstance(made, Iterable) else made
    if made is None or made == []:
        raise ValueError(f"{op.name}: declares no samples")
    if made.__class__ is not list or not all(isinstance(x, Sample) for x in made):
        raise TypeError(
            f"{op.name}: samples must be a function of a Sampler that returns a list of Samples, "
            f"as in `lambda s: [s((3, 4), dim=1)]`, got {made!r}"
        )
    return made


def _tensor(x: Any, dtype: DType | None, device: str, layout: Callable | None) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype == np.float64 and dtype is not None:
        x = x.astype(dtype.np)
    x = x.copy() if layout is None else layout(x)
    t = wrap(x, dtypes.of(x.dtype))
    return t if device == "cpu" else placed(t, device)


def placed(t: Tensor, device: Any) -> Tensor:
    """The same values with the same strides on a device; `Tensor.to` makes some contiguous."""
    strides = t.stride()
    if t.is_contiguous() or not t.numel() or min(strides) < 0:
        return t.to(device)  # type: ignore[attr-defined]
    span = sum((n - 1) * s for n, s in zip(t.shape, strides, strict=True)) + 1
    flat = PUBLIC["zeros"](span, dtype=t.dtype)
    index = np.zeros(t.shape, np.int64)
    for d, (n, s) in enumerate(zip(t.shape, strides, strict=True)):
        index += (np.arange(n) * s).reshape(-1, *[1] * (t.ndim - d - 1))
    flat._data[index] = t._data
    return flat.to(device).as_strided(tuple(t.shape), strides)


def transposed(x: np.ndarray) -> np.ndarray:
    """The same values with dimensions in the reverse order in memory."""
    return x.copy(order="F")


def gapped(x: np.ndarray) -> np.ndarray:
    """The same values in memory with gaps between them."""
    if not x.ndim:
        return x.copy()
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1] + 1), np.asarray(77).astype(x.dtype), x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


LAYOUTS: dict[str, Callable | None] = {
    "contiguous": None,
    "transposed": transposed,
    "gapped": gapped,
}


def meta_of(t: Tensor) -> Tensor:
    """A tensor of the same shape, strides and dtype without memory."""
    return wrap(meta(tuple(t.shape), t.dtype, t.stride()), t.dtype)


def operators() -> list[Op]:
    """All operator records, in order of their names."""
    return [REGISTRY[name] for name in sorted(REGISTRY)]


def serves(op: Op, dtype: DType) -> bool:
    """Whether an operator takes a dtype: elementwise ones may name some that they refuse."""
    return dtype.name not in getattr(op, "deny", ())


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random elements in [low, high): by default [-9, 9), [0, 10) of uint8, and bools.

    With `noncontiguous` its elements lie two apart; with `exclude_zero` none is zero.
    """
    low, high = _limits_of(dtype, low, high)
    size = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "make_tensor: noncontiguous and memory_format are mutually exclusive, got "
            f"{noncontiguous=} and {memory_format=}"
        )
    out: Any = PUBLIC["empty"](size, dtype=dtype, device=device)
    if dtype.is_complex:
        for part in (out.real, out.imag):
            part.uniform_(low, high)
    elif dtype.category == 2:
        out.copy_(PUBLIC["rand"](size, device=device) * (high - low) + low)
    else:
        out.random_(math.ceil(low), math.ceil(high))
    if exclude_zero:
        out[out == 0] = 1 if dtype.category < 2 else dtypes.finfo(dtype).tiny
    if noncontiguous and out.numel() > 1 and size:
        out = out.repeat_interleave(2, dim=-1)[..., ::2].detach()
    elif memory_format is not None:
        out = out.clone(memory_format=memory_format)
    return out.requires_grad_() if requires_grad else out


def _limits_of(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The limits asked for or the usual ones, within what the dtype holds."""
    if dtype is dtypes.bool_:
        usual: tuple[float, float] = (0, 2)
    elif dtype.category == 1:
        usual = (0 if not dtype.is_signed else -9, 10)
    else:
        usual = (-9.0, 9.0)
    a, b = usual[0] if low is None else low, usual[1] if high is None else high
    if a != a or b != b:
        raise ValueError(f"make_tensor: `low` and `high` cannot be NaN, but got {low=} and {high=}")
    if not a < b:
        raise ValueError(f"make_tensor: `low` must be less than `high`, but got {a} >= {b}")
    if dtype.category == 1:
        info = dtypes.iinfo(dtype)
        a, b = max(a, info.min), min(b, info.max)
    return a, b
