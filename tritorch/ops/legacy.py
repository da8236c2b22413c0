"""What old programs use: typed constructors, `new`, storage changed in place, copying views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..device import CPU, device as Device, set_default_device
from ..dtypes import DType
from ..formats import strided
from ..tensor import Size, Tensor
from .api import PUBLIC, attach, with_out
from .arguments import explained, renamed
from .create import allocate, empty_strided, tensor
from .interop import TYPE_NAMES
from .storages import TypedStorage, UntypedStorage
from .strided import as_strided, storage_size, unfold
from .view import ints

# -- torch.FloatTensor and its like --------------------------------------------------------------


class _TypedTensor(type):
    """The type of `FloatTensor` and its like: `isinstance` asks for dtype and device."""

    dtype: dtypes.DType
    device: Device

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, Tensor)
            and instance.dtype is cls.dtype
            and instance.device.type == cls.device.type
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        return make_typed(cls.dtype, cls.device, args)

    def __repr__(cls) -> str:
        return f"<class 'tritorch.{cls.__name__}'>"


def make_typed(dtype: dtypes.DType, device: Device, args: tuple) -> Tensor:
    """`FloatTensor(2, 3)` or of a Size without contents, or `FloatTensor([1, 2])` with them."""
    if len(args) == 1 and isinstance(args[0], Size):
        return allocate(tuple(args[0]), dtype, device, None)
    if len(args) == 1 and isinstance(args[0], list | tuple | np.ndarray | range):
        return tensor(args[0], dtype=dtype, device=device)
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0].detach().to(device, dtype)  # type: ignore[attr-defined]
    return allocate(ints("Tensor", args) if args else (0,), dtype, device, None)


def typed(dtype: dtypes.DType, device: Device = CPU) -> type:
    """The class of tensors of one dtype on one device."""
    name = f"{TYPE_NAMES[dtype.name]}Tensor"
    doc = f"Tensors of {dtype} on {device.type}: makes them, and `isinstance` finds them."
    return _TypedTensor(name, (), {"dtype": dtype, "device": device, "__doc__": doc})


def set_default_tensor_type(t: Any) -> None:
    """Make a typed tensor's dtype, and its device where that is a GPU, the default; deprecated."""
    errors.deprecated(
        "set_default_tensor_type", "torch.set_default_dtype() and torch.set_default_device()"
    )
    if isinstance(t, str):
        place, _, short = t.removeprefix("torch.").rpartition(".")
        names = {v: k for k, v in TYPE_NAMES.items()}
        if short.removesuffix("Tensor") not in names or place not in ("", "cuda"):
            raise TypeError(f"set_default_tensor_type: invalid type object: {t}")
        dtype = dtypes.of(np.dtype(names[short.removesuffix("Tensor")]))
        t = typed(dtype, Device(place or "cpu"))
    if not isinstance(t, _TypedTensor):
        raise TypeError(f"set_default_tensor_type: invalid type object: {t!r}")
    dtypes.set_default_dtype(t.dtype)
    set_default_device(None if t.device == CPU else t.device)


PUBLIC["set_default_tensor_type"] = set_default_tensor_type
for _name, _short in TYPE_NAMES.items():
    if not _short.startswith("Complex"):
        PUBLIC[f"{_short}Tensor"] = typed(getattr(dtypes, "bool_" if _name == "bool" else _name))


def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this dtype on this device: of a size without contents, or of data."""
    return make_typed(self.dtype, self.device if device is None else Device(device), args)


# -- storage changed in place --------------------------------------------------------------------


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give the tensor another size; its storage grows where it must, new elements are undefined."""
    shape = ints("resize_", sizes)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_: Trying to create tensor with negative dimension: {shape}")
    if self.requires_grad:
        raise RuntimeError("resize_: cannot resize variables that require grad")
    if tuple(self._data.shape) == shape:
        return self
    steps = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    have, n = storage_size(self), math.prod(shape)
    offset = self.storage_offset()  # type: ignore[attr-defined]
    if offset + n > have:
        grown = allocate((offset + n,), self.dtype, self.device, None)
        kept = as_strided(self.detach(), (have,), (1,), 0)
        grown[:have] = kept
        self._data, self.storage_.owner = grown._data, grown._data
    self._data = as_strided(self.detach(), shape, steps, offset)._data
    self.storage_.bump("resize_")
    return self


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`self.resize_(the_template.shape)`."""
    return resize_(self, tuple(the_template._data.shape))


def set_(
    self: Tensor,
    source: Any = None,
    storage_offset: int = 0,
    size: Any = None,
    stride: Any = None,
) -> Tensor:
    """Share the memory of another tensor or storage, its geometry or another one."""
    if isinstance(source, UntypedStorage):
        source = TypedStorage(source._tensor, dtype=self.dtype).elements
    if source is None:
        source = allocate((0,), self.dtype, self.device, None)
    if not isinstance(source, Tensor):
        raise TypeError(f"set_: expected a Tensor, got {type(source).__name__}")
    if source.dtype is not self.dtype:
        raise RuntimeError(f"set_: expected dtype {self.dtype}, got {source.dtype}")
    view = source.detach()
    if size is not None:
        steps = [math.prod(size[d + 1 :]) for d in range(len(size))] if stride is None else stride
        view = as_strided(view, size, steps, storage_offset)
    self._data, self._storage = view._data, view._storage
    return self


# -- views that are copied -----------------------------------------------------------------------


def _copied(name: str, view: Callable) -> None:
    view = explained(renamed(view, self="input"))

    def copy(*args: Any, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        many = isinstance(found, tuple)
        return tuple(v.clone() for v in found) if many else found.clone()  # type: ignore

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"`{name}`, as a copy."
    PUBLIC[copy.__name__] = with_out(copy)


def _view(self: Tensor, *size: Any) -> Tensor:
    return self.view(*size)  # type: ignore[attr-defined]


for _name in (
    "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "split", "split_with_sizes",
    "unbind", "view_as_real", "view_as_complex", "as_strided", "diagonal", "narrow",
):  # fmt: skip
    if _name in PUBLIC:
        _copied(_name, PUBLIC[_name])


def _slice(
    input: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    d = errors.wrap_dim("slice_copy", dim, input._data.shape)
    return input[(slice(None),) * d + (slice(start, end, step),)]  # type: ignore[index]


_copied("slice", _slice)
_copied("expand", lambda input, *size: input.expand(*size))
_copied("unfold", unfold)
_copied("view", _view)
_copied("alias", lambda input: input.view(input.shape))
_copied("detach", lambda input: input.detach())
attach("narrow_copy", PUBLIC["narrow_copy"])


def new_empty_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`empty_strided` with this tensor's dtype and device."""
    return empty_strided(
        size,
        stride,
        dtype=dtype or self.dtype,
        device=device or self.device,
        requires_grad=requires_grad,
    )


def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the slowest to the fastest in memory.

    `ambiguity_check`: RuntimeError where another order describes the memory as well; unless it is
    a list of memory formats and the tensor has one of them.
    """
    steps = self.stride()  # type: ignore[attr-defined]
    several = len({*steps, 0}) <= len(steps) or 1 in self.shape
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    known = any(self.is_contiguous(memory_format=f) for f in formats)  # type: ignore[attr-defined]
    if ambiguity_check is not False and several and not known:
        raise RuntimeError(
            f"dim_order: the tensor of shape {tuple(self.shape)} does not have unique dim order; "
            f"its strides are {steps}"
        )
    return tuple(sorted(range(self.ndim), key=lambda d: (-steps[d], d)))


Tensor.layout = property(lambda self: strided)  # type: ignore[attr-defined]
for _f in (new, resize_, resize_as_, set_, new_empty_strided, dim_order):
    attach(_f.__name__, _f)
PUBLIC["resize_as_"] = resize_as_
