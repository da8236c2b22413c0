"""Numbers at equal steps, or equal ratios: `linspace` and `logspace`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..runtime.quiet import quiet
from ..tensor import Tensor, from_data
from .api import PUBLIC, write_out
from .create import finish


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
    data = _spaced(start, end, steps, dtype, "linspace").astype(dtype.np)
    made = finish(from_data(data), device, requires_grad)
    return made if out is None else write_out("linspace", out, made)


def _end(value: Any, dtype: DType, name: str) -> Any:
    """An end of a range as its dtype holds it: cut to a whole number, wrapped where unsigned."""
    if dtype.category == 0:
        raise NotImplementedError(f'{name}: "{name}_cpu" not implemented for {dtype}')
    return value if dtype.category > 1 else dtypes.held(name, value, dtype)


def _spaced(start: Any, end: Any, steps: int, dtype: DType, name: str) -> np.ndarray:
    """Numbers at equal steps, those of each half counted from its own end; not yet cast."""
    start, end = _end(start, dtype, name), _end(end, dtype, name)
    if steps < 2:
        return np.array([start] * steps)
    with quiet():
        step, i = (end - start) / (steps - 1), np.arange(steps)
        return np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i))


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
    powers = _spaced(start, end, steps, dtype, "logspace")
    with quiet():
        data = np.power(float(base), powers).astype(dtype.np)
    made = finish(from_data(data), device, requires_grad)
    return made if out is None else write_out("logspace", out, made)


PUBLIC["linspace"], PUBLIC["logspace"] = linspace, logspace
