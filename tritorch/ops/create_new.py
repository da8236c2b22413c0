"""Methods that make tensors of this one's dtype and device: `new_zeros` and its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import DType
from ..tensor import Tensor
from .api import attach
from .create import allocate, full, tensor
from .view import ints


def _new(name: str, value: Any) -> None:
    def make(
        self: Tensor,
        *size: Any,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
        **_: Any,
    ) -> Tensor:
        return allocate(
            ints(name, size), dtype or self.dtype, device or self.device, value, requires_grad
        )

    make.__name__ = name
    make.__doc__ = f"`{name[4:]}` with this tensor's dtype and device."
    attach(name, make)


for _name, _value in (("new_empty", None), ("new_zeros", 0), ("new_ones", 1)):
    _new(_name, _value)


def new_full(
    self: Tensor,
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """`full` with this tensor's dtype and device."""
    return full(
        size,
        fill_value,
        dtype=dtype or self.dtype,
        device=device or self.device,
        requires_grad=requires_grad,
    )


def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`tensor(data)` on this tensor's device, in its dtype."""
    return tensor(
        data,
        dtype=dtype or self.dtype,
        device=device or self.device,
        requires_grad=requires_grad,
    )


attach("new_full", new_full)
attach("new_tensor", new_tensor)
