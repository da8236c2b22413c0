"""What tests of operators need: samples, tolerances, comparisons. Public: test your own with it.

A sample is one call of an operator record: arrays, numbers or None as inputs, and parameters. An
operator declares a function of a `Sampler` that yields them; the elementwise family derives
its own from the operator's domain.

    samples=lambda s: [s((3, 4), dim=0), s(s.ints(5, (2, 3)), dim=1)]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import dtypes
from .dtypes import DType
from .op import REGISTRY, Op
from .ops.api import PUBLIC
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
    allow_subclasses: bool = True,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless tensors, or sequences and mappings of them, agree.

    Without `rtol` and `atol` the tolerances are those of the dtypes. `msg` replaces the message, or
    makes another of it.

    Example:
        >>> import tritorch as torch
        >>> torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol must both be specified or both unspecified")
    options: dict[str, Any] = {
        "rtol": rtol,
        "atol": atol,
        "equal_nan": equal_nan,
        "check_device": check_device,
        "check_dtype": check_dtype,
        "check_stride": check_stride,
    }
    try:
        _compare(actual, expected, **options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


def _compare(actual: Any, expected: Any, **options: Any) -> None:
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or actual.keys() != expected.keys():
            raise AssertionError(f"expected a mapping of {list(expected)}, got {actual!r}")
        for key in expected:
            _compare(actual[key], expected[key], **options)
        return
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            raise AssertionError(f"expected a sequence of {len(expected)}, got {actual!r}")
        for a, e in zip(actual, expected, strict=True):
            _compare(a, e, **options)
        return
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    _compare_tensors(a, e, **options)


def _compare_tensors(
    a: Any,
    e: Any,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_device: bool,
    check_dtype: bool,
    check_stride: bool,
) -> None:
    same = {"shape": True, "dtype": check_dtype, "device": check_device}
    for name, asked in same.items():
        x, y = getattr(a, name), getattr(e, name)
        if asked and x != y:
            raise AssertionError(f"The values for attribute '{name}' do not match: {x} != {y}.")
    if check_stride and a.stride() != e.stride():
        raise AssertionError(
            f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}."
        )
    wide = dtypes.promote_types(a.dtype, e.dtype)
    default = max(TOLERANCES.get(a.dtype.name, (0, 0)), TOLERANCES.get(e.dtype.name, (0, 0)))
    r, t = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    work = np.complex128 if wide.is_complex else np.float64 if wide.category == 2 else wide.np
    x, y = (v.detach().cpu()._data.astype(work) for v in (a, e))
    with np.errstate(all="ignore"):
        whole = wide.category < 2 and not (r or t)
        close = x == y if whole else np.isclose(x, y, r, t, equal_nan=equal_nan)
    if not np.all(close):
        raise AssertionError(_difference(x, y, close, r, t))


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """`assert_close` of values only; deprecated in PyTorch too."""
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    assert_close(
        a,
        e,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=False,
        check_dtype=False,
        msg=msg or None,
    )


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


def serves(op: Op, dtype: DType) -> bool:
    """Whether an operator takes a dtype: elementwise ones may name some that they refuse."""
    return dtype.name not in getattr(op, "deny", ())


@dataclass
class Bad:
    """A call that must raise: which error, and what its message holds."""

    sample: Sample
    error: type[Exception]
    says: str
