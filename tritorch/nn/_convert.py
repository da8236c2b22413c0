"""Casts of modules, and their moves between devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .. import dtypes
from ..autograd.mode import no_grad
from ..dtypes import DType
from ..ops import copy as _copy, create
from ..tensor import Tensor
from .parameter import Parameter

Self = TypeVar("Self", bound="ConvertMethods")


class ConvertMethods:
    """What `Module` offers for changing the dtype or the device of all that it holds."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    children: Callable[[], Iterator[Any]]

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the values of all parameters, their gradients, and buffers by `fn` of them."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                for t in [] if p is None else [p] if p._grad is None else [p, p._grad]:
                    made = fn(t)
                    if made is not t:
                        t.data = made
            for name, b in self._buffers.items():
                if b is not None:
                    self._buffers[name] = fn(b)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device, cast floating-point parameters and buffers to a dtype, or both.

        The forms are those of `Tensor.to`. Changes this module and returns it.
        """
        device, dtype = _copy._target(args, kwargs)
        if dtype is not None and dtype.category < 2:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        if dtype is not None and dtype.category == 3:
            warnings.warn(
                "Complex modules are a new feature under active development whose design may "
                "change, and some modules might not work as expected when using complex tensors "
                "as parameters or buffers.",
                stacklevel=2,
            )
        format = kwargs.get("memory_format")

        def convert(t: Tensor) -> Tensor:
            wanted: list[Any] = [] if device is None else [device]
            if dtype is not None and t.dtype.category > 1:
                wanted.append(dtype)
            keep = {"memory_format": format} if format is not None and t.ndim in (4, 5) else {}
            try:
                return _copy.to(t, *wanted, **keep)
            except NotImplementedError as error:
                raise NotImplementedError(
                    f"{error} Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                ) from None

        return self._apply(convert)

    def _cast(self: Self, dtype: DType) -> Self:
        return self._apply(lambda t: _copy.to(t, dtype) if t.dtype.category == 2 else t)

    def float(self: Self) -> Self:
        """Cast floating-point parameters and buffers to float32."""
        return self._cast(dtypes.float32)

    def double(self: Self) -> Self:
        """Cast floating-point parameters and buffers to float64."""
        return self._cast(dtypes.float64)

    def half(self: Self) -> Self:
        """Cast floating-point parameters and buffers to float16."""
        return self._cast(dtypes.float16)

    def bfloat16(self: Self) -> Self:
        """Cast floating-point parameters and buffers to bfloat16."""
        return self._cast(dtypes.bfloat16)

    def type(self: Self, dst_type: Any) -> Self:
        """Cast all parameters and buffers to a dtype, or one's name as in `torch.DoubleTensor`."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self: Self) -> Self:
        """Move to the CPU."""
        return self._apply(lambda t: _copy.to(t, "cpu"))

    def cuda(self: Self, device: Any = None) -> Self:
        """Move to a GPU: the current one, or the one given."""
        return self._apply(lambda t: _copy.to(t, "cuda" if device is None else device))

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Move to a device without the values."""
        return self._apply(lambda t: create.empty_like(t, device=device), recurse)

    def share_memory(self: Self) -> Self:
        """Move parameters and buffers into memory that processes share, each in place."""
        return self._apply(lambda t: t.share_memory_())  # type: ignore[attr-defined]
