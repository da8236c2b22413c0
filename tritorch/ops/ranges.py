"""Numbers at equal steps, or equal ratios: `arange`, `linspace` and `logspace`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..device import CPU, placed
from ..dtypes import DType
from ..op import primitive
from ..runtime import host, parallel
from ..runtime.quiet import quiet
from ..tensor import Tensor, from_data, wrap
from .api import PUBLIC, write_out
from .create import allocate, finish
from .view import _expand

# -- records -------------------------------------------------------------------------------------


def _sequence(name: str, *samples: dict) -> Callable:
    """An operator whose result has the length and dtype of `x`, and none of its values."""

    def launcher(launch: Any, out: Any, x: Any, **params: Any) -> Any:
        from ..kernels import copy

        return getattr(copy, name)(launch, out, **params)

    return primitive(
        name=name,
        meta=lambda x, **params: (tuple(x._data.shape), x.dtype),
        triton=launcher,
        exact=True,
        vjp=lambda g: g * 0,
        samples=lambda s: [s((n,), **p) for n in (7, 0, 1) for p in samples],
    )


@_sequence("arange", {"start": 3, "step": -2}, {"start": 0.5, "step": 0.25})
def _arange(x: Any, *, start: Any, step: Any) -> Any:
    whole = isinstance(start, int) and isinstance(step, int)
    out, work = host.empty(x.shape, x.dtype), np.int64 if whole else np.float64

    def piece(first: int, last: int) -> None:
        i = np.arange(first, last, dtype=work)
        i *= step
        i += start
        out[first:last] = i

    with quiet():
        parallel.run(piece, len(out), parallel.BIG)
    return out


@_sequence("linspace", {"start": -1.0, "end": 2.0})
def _linspace(x: Any, *, start: Any, end: Any) -> Any:
    return _spaced(start, end, host.empty(x.shape, x.dtype))


def _spaced(start: Any, end: Any, out: np.ndarray) -> np.ndarray:
    """Numbers at equal steps, those of each half counted from its own end."""
    steps, half = len(out), len(out) // 2
    if steps < 2:
        out[...] = start
        return out
    step = (end - start) / (steps - 1)

    def piece(first: int, last: int) -> None:
        cut = min(max(half, first), last)
        out[first:cut] = start + step * np.arange(first, cut)
        out[cut:last] = end - step * np.arange(steps - 1 - cut, steps - 1 - last, -1)

    with quiet():
        parallel.run(piece, steps, parallel.BIG)
    return out


def _made(op: Any, n: int, dtype: DType, device: Any, requires_grad: bool, **params: Any) -> Tensor:
    """A sequence of n numbers, made on the device."""
    place = placed(device)
    with quiet():
        if place == CPU:
            data = op.cpu(np.empty(n, dtype.np), **params)
        else:
            like = _expand(allocate((), dtype, place, None), shape=(n,))
            data = op.compute((like,), params)
    return finish(wrap(data, dtype), place, requires_grad)


# -- published -----------------------------------------------------------------------------------


def arange(
    *args: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from `start` (0) up to, without, `end`, `step` (1) apart.

    int64 where all are integers, else the default dtype.
    """
    values = list(args)
    if len(values) == 1:
        values = [0, values[0]] if end is None else [values[0], end]
    elif not values:
        values = [0 if start is None else start, end]
    values = [
        v.item() if isinstance(v, Tensor) else v
        for v in [  # type: ignore[attr-defined]
            *values,
            *([] if step is None else [step]),
        ]
    ]
    a: Any
    b: Any
    c: Any
    a, b, c = (*values, 1) if len(values) == 2 else values
    if b is None:
        raise TypeError("arange(): missing required argument 'end'")
    if c == 0:
        raise RuntimeError("arange: step must be nonzero")
    if any(isinstance(v, float) and not math.isfinite(v) for v in (a, b)):
        raise RuntimeError(f"arange: unsupported range: {a} -> {b}")
    if (b - a) * c < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: {a} to {b} by {c}"
        )
    whole = all(isinstance(v, int) for v in (a, b, c))
    dtype = (
        dtype
        or (out.dtype if out is not None else None)
        or (dtypes.int64 if whole else dtypes.get_default_dtype())
    )
    if dtype.category == 0 or dtype.is_complex:
        raise NotImplementedError(f'"arange" is not implemented for {dtype.name} tensors')
    if dtype is dtypes.int64 and int(c):  # counted in whole numbers too
        a, b, c, whole = int(a), int(b), int(c), True
    if dtype.category < 2 and not int(c):
        raise ValueError(f"arange: step must be nonzero, and {c} is 0 in {dtype}")
    n = -((a - b) // c) if whole else math.ceil((b - a) / c)
    if not whole and dtype.category < 2:
        a, c = int(a), int(c)
    made = _made(_arange, n, dtype, device, requires_grad, start=a, step=c)
    return made if out is None else write_out("arange", out, made)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` numbers evenly spaced from `start` to `end`, both included."""
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))  # type: ignore[attr-defined]
    if steps < 0:
        raise RuntimeError("linspace: number of steps must be non-negative")
    wide = any(isinstance(v, complex) for v in (start, end))
    default = dtypes.get_default_dtype()
    dtype = (
        dtype
        or (out.dtype if out is not None else None)
        or (default.to_complex() if wide else default)
    )
    start, end = _end(start, dtype, "linspace"), _end(end, dtype, "linspace")
    made = _made(_linspace, steps, dtype, device, requires_grad, start=start, end=end)
    return made if out is None else write_out("linspace", out, made)


def _end(value: Any, dtype: DType, name: str) -> Any:
    """An end of a range as its dtype holds it: cut to a whole number, wrapped where unsigned."""
    if dtype.category == 0:
        raise NotImplementedError(f'{name}: "{name}_cpu" not implemented for {dtype}')
    return value if dtype.category > 1 else dtypes.held(name, value, dtype)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`base` to the powers `linspace(start, end, steps)`."""
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))  # type: ignore[attr-defined]
    if steps < 0:
        raise RuntimeError("logspace: number of steps must be non-negative")
    dtype = dtype or (out.dtype if out is not None else None) or dtypes.get_default_dtype()
    ends = _end(start, dtype, "logspace"), _end(end, dtype, "logspace")
    wide = np.complex128 if any(isinstance(v, complex) for v in ends) else np.float64
    powers = _spaced(*ends, np.empty(steps, wide))
    with quiet():
        data = np.power(float(base), powers).astype(dtype.np)
    made = finish(from_data(data), device, requires_grad)
    return made if out is None else write_out("logspace", out, made)


PUBLIC.update(arange=arange, linspace=linspace, logspace=logspace)
