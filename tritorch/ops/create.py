"""Making tensors from data, from NumPy, and from a shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..device import CPU, get_default_device, placed
from ..dtypes import DType
from ..formats import check_layout, preserve_format
from ..op import users_level
from ..runtime import host, layout
from ..tensor import Size, Tensor, from_data, new, wrap
from .api import PUBLIC, attach, public, write_out
from .contents import as_array
from .copy import fill_, to
from .elementwise_forms import as_operand
from .interop import from_cuda_array
from .strided import diagonal
from .view import ints


def finish(t: Tensor, device: Any, requires_grad: bool) -> Tensor:
    """Move a new tensor to its device, and begin to record."""
    device = placed(device)
    if device != CPU:
        t = to(t, device)
    if state.inference:
        t._inference = True
    return t.requires_grad_() if requires_grad else t


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with a copy of `data`: a number, nested sequences, a NumPy array or a tensor.

    The dtype is that of the data; the default dtype for Python floats, int64 for ints.

    Example:
        >>> import tritorch as torch
        >>> torch.tensor([[1, 2], [3, 4]]).shape
        tritorch.Size([2, 2])
    """
    if isinstance(data, Tensor):
        errors.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), "
            "rather than tensor(sourceTensor) or new_tensor(sourceTensor)."
        )
        out = data.detach().clone()  # type: ignore[attr-defined]
        out = out if dtype is None else to(out, dtype)
        return finish(
            out if device is None else to(out, device), device or out.device, requires_grad
        )
    if dtype is not None:
        dtype = dtypes.given("tensor", dtype)
    return finish(from_data(as_array(data, dtype, "tensor")), device, requires_grad)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if not ndarray.dtype.isnative:
        raise ValueError(
            f"from_numpy: the array's byte order is not this machine's ({ndarray.dtype.str}); "
            "convert it with array.astype(array.dtype.newbyteorder('='))"
        )
    dtype = dtypes.of(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array with array.copy().)"
        )
    if any(s % ndarray.itemsize for s in ndarray.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy "
            "the numpy array to reallocate the memory."
        )
    if not ndarray.flags.writeable:
        warnings.warn(
            "from_numpy: the array is read-only, and so is the memory of this tensor: changing it "
            "in place is an error. Copy the array first where it is to be changed.",
            stacklevel=users_level(),
        )
    return wrap(ndarray.view(np.ndarray), dtype)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where it is a tensor or array of that dtype and device."""
    if isinstance(data, Tensor):
        if device is None and dtype is None:
            return data
        return to(data, *(a for a in (device, dtype) if a is not None))
    if isinstance(data, np.ndarray):
        try:
            out = from_numpy(data)
        except ValueError:
            out = from_numpy(data.copy())
        return to(out, *(a for a in (device or get_default_device(), dtype) if a is not None))
    if hasattr(data, "__cuda_array_interface__"):
        return to(from_cuda_array(data), *(a for a in (device, dtype) if a is not None))
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """`as_tensor`; `copy` asks for a copy, or refuses one. Without history where `requires_grad`
    is False, and of what is no tensor it is False."""
    shared = isinstance(obj, Tensor | np.ndarray)
    out = as_tensor(obj, dtype, device)
    if copy is False and (not shared or not _same_memory(out, obj)):
        raise ValueError(
            f"asarray: {type(obj).__name__} cannot be a tensor of {out.dtype} on {out.device} "
            "without a copy; leave copy=None"
        )
    if copy and shared and _same_memory(out, obj):
        out = out.clone()  # type: ignore[attr-defined]
    if requires_grad is False and out.requires_grad:
        return out.detach()
    return out.requires_grad_() if requires_grad and not out.requires_grad else out


def _same_memory(t: Tensor, obj: Any) -> bool:
    data = obj._data if isinstance(obj, Tensor) else obj
    return t._data is data or (t.is_cpu and bool(np.shares_memory(t._data, data)))


# -- from a shape -------------------------------------------------------------------------------


def allocate(
    shape: tuple[int, ...], dtype: DType | None, device: Any, fill: Any, requires_grad: bool = False
) -> Tensor:
    """A tensor of a shape; `fill` is a value, or None for undefined contents."""
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    dtype = dtype if dtype.__class__ is DType else dtypes.given("empty", dtype)
    device = placed(device)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
    if device.type == "cpu":
        data: Any = (
            host.empty(shape, dtype.np)
            if fill is None or fill != 0
            else host.zeros(shape, dtype.np)
        )
        if fill is not None and fill != 0:
            data.fill(fill) if dtype.category > 1 else data.__setitem__(
                ..., np.asarray(fill).astype(dtype.np)
            )
    else:
        from ..runtime import accelerator

        meta = device.type == "meta"
        data = accelerator.meta(shape, dtype) if meta else accelerator.empty(shape, dtype, device)
        if fill is not None and not meta:
            accelerator.fill(data, fill)
    return finish(wrap(data, dtype), device, requires_grad)


def given_size(name: str, sizes: tuple, size: Any) -> tuple:
    """The size of a factory's result, by position, `size=` or as its one argument."""
    if size is not None:
        return (size,)
    if not sizes:
        raise TypeError(f"{name}() missing 1 required positional argument: 'size'")
    return sizes


def _factory(name: str, value: Any, doc: str) -> Callable:
    def make(
        *sizes: Any,
        size: Any = None,
        out: Tensor | None = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
        names: Any = None,
    ) -> Tensor:
        check_layout(name, layout)
        made = allocate(
            ints(name, given_size(name, sizes, size)),
            dtype or (out.dtype if out is not None else None),
            device,
            value,
            requires_grad,
        )
        if memory_format is not None:
            made = made.contiguous(memory_format)  # type: ignore[attr-defined]
        return made if out is None else write_out(name, out, made)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    PUBLIC[name] = make
    return make


empty = _factory("empty", None, "A tensor of the given shape with undefined contents.")
zeros = _factory("zeros", 0, "A tensor of the given shape filled with 0.")
ones = _factory("ones", 1, "A tensor of the given shape filled with 1.")


def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """A tensor of the given shape filled with one value, whose type is the default for dtype."""
    check_layout("full", layout)
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()  # type: ignore[attr-defined]
    fill_value = as_operand("full", fill_value)
    dtype = dtype or (out.dtype if out is not None else None) or dtypes.of_scalar(fill_value)
    fill_value = dtypes.held("full", fill_value, dtype)
    made = allocate(
        ints("full", (size,)),
        dtype,
        device,
        fill_value,
        requires_grad,
    )
    return made if out is None else write_out("full", out, made)


PUBLIC["full"] = full


def _like(
    input: Tensor,
    dtype: DType | None,
    device: Any,
    value: Any,
    requires_grad: bool,
    memory_format: Any,
) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    keep = memory_format is None or memory_format is preserve_format

    def make(shape: tuple[int, ...]) -> Tensor:
        return allocate(shape, dtype or input.dtype, device or input.device, value, False)

    if keep:
        made = in_order_of(input, make)
    else:
        made = make(tuple(input._data.shape)).contiguous(memory_format)  # type: ignore[attr-defined]
    return made.requires_grad_() if requires_grad else made


def in_order_of(input: Tensor, make: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
    """A new tensor in the shape of `input` and the order of its dimensions in memory."""
    shape = tuple(input._data.shape)
    order = layout.order(shape, input._data)
    if order is None:
        return make(shape)
    made = make(tuple([shape[d] for d in order]))
    return wrap(made._data.transpose(layout.inverse(order)), made.dtype)


def _like_factory(name: str, value: Any) -> Callable:
    def make(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        check_layout(name, layout)
        return _like(input, dtype, device, value, requires_grad, memory_format)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"`{name[:-5]}` in the shape, dtype and device of `input`."
    PUBLIC[name] = make
    return make


empty_like = _like_factory("empty_like", None)
zeros_like = _like_factory("zeros_like", 0)
ones_like = _like_factory("ones_like", 1)


@public(method=False)
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`full` in the shape, dtype and device of `input`."""
    check_layout("full_like", layout)
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()  # type: ignore[attr-defined]
    fill_value = dtypes.held("full_like", as_operand("full_like", fill_value), dtype or input.dtype)
    return _like(input, dtype, device, fill_value, requires_grad, memory_format)


@public(method=False)
def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of a shape and strides with undefined contents."""
    reach = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    memory = allocate((reach,), dtype, device, None)
    out = memory.as_strided(size, stride).detach()  # type: ignore[attr-defined]
    return out.requires_grad_() if requires_grad else out


# -- others -------------------------------------------------------------------------------------


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The identity matrix of n rows and m columns."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {n} and {m}")
    dtype = dtype or (out.dtype if out is not None else None) or dtypes.get_default_dtype()
    made = allocate((n, m), dtype, device, 0)
    fill_(diagonal(made), 1)
    if requires_grad:
        made.requires_grad_()
    return made if out is None else write_out("eye", out, made)


def scalar_tensor(
    s: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor without dimensions, of the default dtype."""
    return full(
        (), s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad
    )


for _f in (tensor, from_numpy, as_tensor, eye, scalar_tensor):
    PUBLIC[_f.__name__] = _f
PUBLIC["asarray"] = asarray


# -- PyTorch's old constructor, and subclasses ----------------------------------------------------


def _legacy(cls: type, *args: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`Tensor(2, 3)`, `Tensor([1., 2.])` of any sequence, `Tensor(other)`."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        made = args[0].detach()
    elif len(args) == 1 and hasattr(args[0], "__getitem__") and not isinstance(args[0], Size):
        made = tensor(args[0], dtype=dtype or dtypes.get_default_dtype(), device=device)
    else:
        made = allocate(ints("Tensor", args) if args else (0,), dtype, device, None)
    return as_subclass(made, cls)


def as_subclass(self: Tensor, cls: type) -> Any:
    """This tensor, sharing memory and history, as an instance of a subclass of Tensor."""
    if cls is type(self) is Tensor:
        return self
    out = new(cls)
    for field in ("_data", "dtype", "_storage", "_edge", "_base", "_view", "_grad"):
        setattr(out, field, getattr(self, field))
    out._storage = self.storage_
    return out


Tensor._legacy = staticmethod(_legacy)
attach("as_subclass", as_subclass)
