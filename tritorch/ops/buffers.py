"""Tensors over memory that is there already, files and buffers, and ranges of numbers."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..formats import check_layout
from ..op import users_level
from ..tensor import Tensor, from_data, wrap
from .api import called, public, write_out
from .create import allocate, finish


@public(method=False)
def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector that shares the memory of an object with Python's buffer protocol.

    `count` elements from byte `offset` on; all that there are for -1.

    Example:
        >>> import tritorch as torch
        >>> torch.frombuffer(bytearray(b"ab"), dtype=torch.uint8)
        tensor([97, 98], dtype=tritorch.uint8)
    """
    memory = memoryview(buffer).cast("B")
    n, item = len(memory), dtype.itemsize
    if not n or not count:
        raise ValueError(f"both buffer length ({n}) and count ({count}) must not be 0")
    if not 0 <= offset < n:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({n} "
            "bytes) minus 1"
        )
    if count < 0 and (n - offset) % item:
        raise ValueError(
            f"buffer length ({n - offset} bytes) after offset ({offset} bytes) must be a multiple "
            f"of element size ({item})"
        )
    many = (n - offset) // item if count < 0 else count
    if offset + many * item > n:
        raise ValueError(
            f"requested buffer length ({count} * {item} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({n} bytes)"
        )
    if memory.readonly:
        warnings.warn(
            "frombuffer: the given buffer is not writable, and writing to the tensor raises: copy "
            "the buffer first, or clone() the tensor",
            stacklevel=users_level(),
        )
    array = np.frombuffer(memory, np.uint8, many * item, offset).view(dtype.np)
    return finish(wrap(array, dtype), "cpu", requires_grad)


@public(method=False)
def from_file(
    filename: str | os.PathLike,
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A vector of `size` elements that is mapped from a file.

    With `shared` what is written goes to the file, which is made longer where it must be; without,
    it stays in the process.
    """
    check_layout("from_file", layout)
    kind = dtype or dtypes.get_default_dtype()
    many = int(size or 0)
    need = many * kind.itemsize
    if shared and (not os.path.exists(filename) or os.path.getsize(filename) < need):
        with open(filename, "ab") as f:
            f.truncate(need)
    if os.path.getsize(filename) < need:
        raise RuntimeError(
            f"from_file: {os.fspath(filename)} has {os.path.getsize(filename)} bytes, fewer than "
            f"the {need} of {many} elements of {kind}"
        )
    if not many:
        return allocate((0,), kind, device, None, requires_grad)
    mapped = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(need,))
    return finish(wrap(mapped.view(np.ndarray).view(kind.np), kind), device, requires_grad)


@public(method=False)
def empty_permuted(
    size: Sequence[int],
    physical_layout: Sequence[int],
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor without contents, its dimensions in memory in the order of `physical_layout`."""
    check_layout("empty_permuted", layout)
    order = tuple(physical_layout)
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size {tuple(size)} must match the "
            f"physical_layout, a permutation of them; got {order}"
        )
    out: Any = allocate(tuple(size[d] for d in order), dtype, device, None)
    out = out.permute(tuple(np.argsort(order).tolist())).detach()
    return out.requires_grad_() if requires_grad else out


@public(method=False)
@called("range")
def closed_range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from `start` to `end`, which is included, `step` apart; of the default dtype.

    Deprecated in PyTorch too: `arange` is like Python's `range`.
    """
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange",
        stacklevel=users_level(),
    )
    check_layout("range", layout)
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))  # type: ignore
    if not step:
        raise RuntimeError("range: step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"range: unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"range: upper bound and lower bound inconsistent with step sign: {start} to {end} by "
            f"{step}"
        )
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    if kind.category == 0 or kind.is_complex:
        raise NotImplementedError(f'"range" is not implemented for {kind.name} tensors')
    n = math.floor((end - start) / step) + 1
    made = finish(from_data((start + step * np.arange(n)).astype(kind.np)), device, requires_grad)
    return made if out is None else write_out("range", out, made)
