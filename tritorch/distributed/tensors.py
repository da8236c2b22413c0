"""Tensors as what is sent: flat arrays on the host, written back where the result belongs."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..ops.copy import to_array
from ..tensor import Tensor, wrap

__all__ = ["ReduceOp"]


class ReduceOp(enum.Enum):
    """How the values of several processes become one; AVG is their mean."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR = range(8)


_UFUNCS = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}
_BITS = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)
_ORDER = (ReduceOp.MIN, ReduceOp.MAX)


def combining(name: str, op: ReduceOp, t: Tensor) -> Any:
    """The NumPy function of an operation, if it is one for the tensor's dtype."""
    if not isinstance(op, ReduceOp):
        raise TypeError(f"{name}: op must be a ReduceOp, got {op!r}")
    floating = t.dtype.is_floating_point or t.dtype.is_complex
    if (op in _BITS and floating) or (op in _ORDER and t.dtype.is_complex):
        raise RuntimeError(f"{name}: ReduceOp.{op.name} is not defined for {t.dtype}")
    if op is ReduceOp.AVG and not floating:
        raise RuntimeError(f"{name}: the mean of {t.dtype} is not of its dtype; use ReduceOp.SUM")
    return _UFUNCS[op]


def mean(op: ReduceOp, a: np.ndarray, count: int) -> None:
    """For AVG divide the sum, in place."""
    if op is ReduceOp.AVG:
        np.divide(a, a.dtype.type(count), out=a)


def check(name: str, *tensors: Any) -> None:
    """TypeError for what is no tensor, ValueError where dtypes differ."""
    for t in tensors:
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(t).__name__}")
    if len({t.dtype for t in tensors}) > 1:
        kinds = sorted({str(t.dtype) for t in tensors})
        raise ValueError(f"{name}: tensors must have one dtype, got {', '.join(kinds)}")


def flat(t: Tensor) -> np.ndarray:
    """The elements in order: the tensor's own memory where that is contiguous and on the host."""
    return np.ascontiguousarray(to_array(t)).reshape(-1)


def put(name: str, t: Tensor, a: np.ndarray) -> None:
    """Write elements into a tensor, in place."""
    if t.is_cpu and np.may_share_memory(t._data, a):
        t.storage_.bump(name)
        return
    with no_grad():
        t.detach().copy_(wrap(a.reshape(t.shape), t.dtype))


def put_bytes(name: str, t: Tensor, data: Any) -> None:
    """The same of bytes."""
    kind = to_array(t).dtype
    put(name, t, np.frombuffer(data, np.uint8).view(kind))
