"""What tests of operators need: samples, tolerances, comparisons. Public: test your own with it.

A sample is one call of an operator record: arrays, numbers or None as inputs, and parameters. An
operator declares a function of a `Sampler` that yields them; the elementwise family derives
its own from the operator's domain.

    samples=lambda s: [s((3, 4), dim=0), s(s.ints(5, (2, 3)), dim=1)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import dtypes
from .dtypes import DType
from .op import REGISTRY, Op
from .tensor import Tensor, wrap

# PyTorch's default tolerances (relative, absolute) of `torch.testing.assert_close`.
TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


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
    if op.samples is None:
        raise ValueError(f"{op.name}: declares no samples")
    return list(op.samples(Sampler(seed)))


def _tensor(x: Any, dtype: DType | None, device: str, layout: Callable | None) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype == np.float64 and dtype is not None:
        x = x.astype(dtype.np)
    x = x.copy() if layout is None else layout(x)
    t = wrap(x, dtypes.of(x.dtype))
    return t if device == "cpu" else t.to(device)  # type: ignore[attr-defined]


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


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | None = None,
) -> None:
    """Raise AssertionError unless tensors, or sequences of them, agree as PyTorch's does.

    Example:
        >>> import tritorch as torch
        >>> torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
    """
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            raise AssertionError(f"expected a sequence of {len(expected)}, got {actual!r}")
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype)
        return
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    if tuple(a.shape) != tuple(e.shape):
        raise AssertionError(
            f"The values for attribute 'shape' do not match: {a.shape} != {e.shape}."
        )
    if check_dtype and a.dtype is not e.dtype:
        raise AssertionError(
            f"The values for attribute 'dtype' do not match: {a.dtype} != {e.dtype}."
        )
    wide = dtypes.promote_types(a.dtype, e.dtype)
    default = max(TOLERANCES.get(a.dtype.name, (0, 0)), TOLERANCES.get(e.dtype.name, (0, 0)))
    r, t = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    work = np.complex128 if wide.is_complex else np.float64 if wide.category == 2 else wide.np
    x, y = (v.detach().cpu()._data.astype(work) for v in (a, e))  # type: ignore[attr-defined]
    with np.errstate(all="ignore"):
        close = np.isclose(x, y, r, t, equal_nan=equal_nan) if wide.category > 1 else x == y
    if not np.all(close):
        raise AssertionError(msg or _difference(x, y, close, r, t))


def _from(x: Any) -> Tensor:
    array = np.asarray(x)
    return wrap(array, dtypes.of(array.dtype))


def _difference(x: np.ndarray, y: np.ndarray, close: np.ndarray, r: float, t: float) -> str:
    bad = np.atleast_1d(~close)
    with np.errstate(all="ignore"):
        gap = np.atleast_1d(np.abs(x.astype(np.complex128) - y.astype(np.complex128)))
    worst = np.unravel_index(np.nanargmax(np.where(bad, gap, -1)), gap.shape)
    at = tuple(int(i) for i in worst) if x.ndim else ()
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {int(bad.sum())} / {bad.size}\n"
        f"Greatest absolute difference: {gap[worst]} at index {at}: {x[at]!r} against {y[at]!r} "
        f"(tolerances: {r} relative, {t} absolute)"
    )


def operators() -> list[Op]:
    """All operator records, in order of their names."""
    return [REGISTRY[name] for name in sorted(REGISTRY)]


@dataclass
class Bad:
    """A call that must raise: which error, and what its message holds."""

    sample: Sample
    error: type[Exception]
    says: str
