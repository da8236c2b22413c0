"""Short ways of small elementwise calls: launches done again, results written without checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import state
from ..runtime import parallel, replay
from ..runtime.array import Array
from ..runtime.quiet import enter, leave
from ..tensor import Tensor


def again(op: Any, inputs: Sequence, d: Any, e: Any = None, out: Any = None) -> Any:
    """What the launches of an earlier call like this give, on devices; None where none was.

    `d` and `e` are the data of the inputs, or a number; with `out` the result is written there. The
    key is `replay.kind`'s, made in one piece for an array and an array or number.
    """
    owner = getattr(d.memory, "owner", None)
    if owner is None or owner.replays is None:
        return None
    kind, default = e.__class__, dtypes.get_default_dtype()
    if kind is Array:
        if getattr(e.memory, "owner", None) is not owner:
            return None
        key: tuple = (
            op, d.shape, d.strides, d.dtype, d.ptr & 15, e.shape, e.strides, e.dtype, e.ptr & 15,
            default,
        )  # fmt: skip
        arrays: tuple = (d, e)
    elif e is None and len(inputs) == 1:
        key = (op, d.shape, d.strides, d.dtype, d.ptr & 15, default)
        arrays = (d,)
    elif (kind is float or kind is int) and d.dtype.category == 2:
        key = (op, d.shape, d.strides, d.dtype, d.ptr & 15, kind, default)
        arrays = (d, e)
    else:
        return None
    if out is not None:
        if getattr(out.memory, "owner", None) is not owner:
            return None
        key += (out.shape, out.strides, out.dtype, out.ptr & 15)
    known = owner.replays.get(key)
    if known is None:
        found = op._kind(inputs, out)
        known = None if found is None else owner.replays.get(found[1])
        if known is None:
            return None
        replay.keep(owner, key, known)
    return op._again(known, owner, None if out is None else [out], arrays)[0]


def written(op: Any, out: Tensor, inputs: Sequence) -> bool:
    """Whether the result was written into `out` the short way, without what checks and history
    ask for: as an earlier call did on a device; small arrays of the host in order, of one shape and
    dtype, or floats."""
    if not op.short or state.transforms or "_inference" in out.__dict__:
        return False
    if out._data.__class__ is np.ndarray:
        return _on_host(op, out, inputs)
    datas = []
    for x in inputs:
        if isinstance(x, Tensor):
            if state.grad and (x._edge is not None or x._view is not None):
                return False
            x = x._data
        datas.append(x)
    if len(datas) > 2 or datas[0].__class__ is not Array:
        return False
    return again(op, inputs, *datas, out=out._data) is not None


def _on_host(op: Any, out: Tensor, inputs: Sequence) -> bool:
    data, dtype = out._data, out.dtype
    if (
        data.size > parallel.BIG
        or not data.flags.c_contiguous
        or op.alike().get(dtype) is not dtype
    ):
        return False
    operands: list = []
    for x in inputs:
        if isinstance(x, Tensor):
            d = x._data
            if x.dtype is not dtype or d.__class__ is not np.ndarray or d.shape != data.shape:
                return False
            if not d.flags.c_contiguous:
                return False
            if state.grad and (x._edge is not None or x._view is not None):
                return False
            if x is not out and x._storage is not None and x._storage is out._storage:
                return False
            operands.append(d)
        elif x.__class__ is float and dtype.category == 2:
            operands.append(x)
        else:
            return False
    token = enter()
    try:
        as_number = data.dtype.type
        op.loop(*[as_number(x) if x.__class__ is float else x for x in operands], out=data)
    except (ValueError, OverflowError):  # the long way says what is wrong
        return False
    finally:
        leave(token)
    return True
