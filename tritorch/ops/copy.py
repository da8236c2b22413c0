"""Copies: clone, contiguous, casts, moves between devices, `copy_`, and reading elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..device import CPU, device as Device
from ..dtypes import DType
from ..formats import CHANNELS, check_format, contiguous_format, memory_format, preserve_format
from ..op import Op, copy_data, method, primitive
from ..runtime import host, layout, parallel
from ..tensor import Tensor
from .api import attach, public
from .elementwise import SCALARS, Elementwise, check_overlap, loop, zero
from .elementwise_forms import as_operand
from .view import expand


def _like(op: str, x: Any, format: Any) -> tuple[int, ...] | None:
    """The order of dimensions in memory that a copy keeps; None for the ordinary one."""
    if format is preserve_format:
        return layout.order(x.shape, x)
    order = CHANNELS.get(check_format(op, format))
    if order is not None and len(order) != x.ndim:
        raise RuntimeError(
            f"{op}: required rank {len(order)} tensor to use {format.name} format, got shape "
            f"{tuple(x.shape)}"
        )
    return order


def _copy_meta(x: Tensor, *, order: Any, dtype: DType) -> tuple:
    return tuple(x._data.shape), dtype


class _Copy(Op):
    """`clone` and casts: a fresh tensor, its dimensions laid out in `order`."""

    def on_device(self, arrays: list, params: dict, specs: Any, kind: Any = None) -> Any:
        from ..runtime import accelerator

        (x,), order = arrays, params["order"]
        make = (
            accelerator.meta
            if x.device.type == "meta"
            else (lambda shape, dtype: accelerator.empty(shape, dtype, x.device))
        )
        if order is None:
            out = make(x.shape, params["dtype"])
        else:
            out = make(tuple(x.shape[d] for d in order), params["dtype"])
            out = out.transpose(layout.inverse(order))
        if x.device.type != "meta":
            accelerator.copy(out, x)
        return out


@primitive(
    name="clone",
    kind=_Copy,
    meta=_copy_meta,
    exact=True,
    strided=True,
    vjp=lambda g: g,
    samples=lambda s: [
        s((2, 3), order=None, dtype=dtypes.float64),
        s((2, 3), order=(1, 0), dtype=dtypes.float64),
        s((0,), order=None, dtype=dtypes.float64),
    ],
)
def copy_op(x: Any, *, order: Any, dtype: DType) -> Any:
    shape = x.shape if order is None else tuple(x.shape[d] for d in order)
    out = host.empty(shape, dtype.np)
    if order is not None:
        out = out.transpose(layout.inverse(order))
    source = x.real if x.dtype.kind == "c" and dtype.category in (1, 2) else x
    return parallel.copy(out, source)


@public()
def clone(input: Tensor, *, memory_format: Any = preserve_format) -> Tensor:
    """A copy, through which gradients flow; keeps the order of dimensions in memory."""
    order = _like("clone", input._data, memory_format or preserve_format)
    return copy_op(input, order=order, dtype=input.dtype)


def is_contiguous(self: Tensor, memory_format: Any = contiguous_format) -> bool:
    """Whether the elements lie in memory in the order of a format, without gaps."""
    data = self._data
    order = CHANNELS.get(_definite("is_contiguous", memory_format))
    if order is not None:
        if len(order) != data.ndim:
            return False
        data = data.transpose(order)
    return data.flags.c_contiguous if data.__class__ is np.ndarray else data.is_contiguous()


attach("is_contiguous", is_contiguous)


def _definite(op: str, format: Any) -> memory_format:
    if check_format(op, format) is preserve_format:
        raise RuntimeError(f"{op}: preserve memory format is unsupported by this operator")
    return format


@public()
def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """This tensor if it is contiguous in that format, else a copy that is."""
    if is_contiguous(self, memory_format):
        return self
    return copy_op(self, order=_like("contiguous", self._data, memory_format), dtype=self.dtype)


def as_images(out: Tensor, *images: Tensor) -> Tensor:
    """`out` with channels last if those of one of the images or volumes are."""
    for x in images:
        order = layout.channels_last(x._data)
        if order is not None and len(order) == out._data.ndim:
            return copy_op(out, order=order, dtype=out.dtype)
    return out


# -- casts and devices --------------------------------------------------------------------------


def _move_meta(x: Tensor, *, device: Device, source: Device, non_blocking: bool = False) -> tuple:
    return tuple(x._data.shape), x.dtype


def _dense(data: Any) -> bool:
    return data.flags.c_contiguous if data.__class__ is np.ndarray else data.is_contiguous()


class _Move(Op):
    """A copy of a tensor on another device."""

    def compute(self, inputs: Any, params: dict, out: Any = None) -> Any:

        if not isinstance(inputs[0], Tensor):
            raise TypeError(f"{self.name}: expected a Tensor, got {type(inputs[0]).__name__}")
        x, target, unwaited = inputs[0]._data, params["device"], params.get("non_blocking", False)
        if x.__class__ is not np.ndarray and x.device.type == "meta" != target.type:
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        found = layout.order(x.shape, x)  # a dense tensor keeps its order of dimensions
        if found is None or not _dense(x.transpose(found)):
            return self._moved(x, inputs[0].dtype, target, unwaited)
        moved = self._moved(x.transpose(found), inputs[0].dtype, target, unwaited)
        return moved.transpose(layout.inverse(found))

    def _moved(self, x: Any, dtype: DType, target: Device, unwaited: bool) -> Any:
        from ..runtime import accelerator

        if target.type == "meta":
            return accelerator.meta(x.shape, dtype)
        if x.__class__ is not np.ndarray:
            x = accelerator.to_host(x)
        if target.type == "cpu":
            return x
        moved = accelerator.empty(x.shape, dtype, target)
        accelerator.from_host(x, moved, unwaited)
        return moved


move_op = _Move(
    "to_device",
    ("x",),
    meta=_move_meta,
    vjp=lambda g, source: g.to(source),
    samples=lambda s: [s((2, 3), device=CPU, source=CPU)],
)


def _target(args: tuple, kwargs: dict) -> tuple[Device | None, DType | None]:
    """Device and dtype from the forms of `to`: a device, a dtype, both, or another tensor."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for a in args:
        if isinstance(a, Tensor):
            device, dtype = a.device, a.dtype
        elif isinstance(a, DType):
            dtype = a
        elif isinstance(a, str | Device) or (isinstance(a, int) and not isinstance(a, bool)):
            device = a
        elif a is not None and not isinstance(a, bool):
            dtype = dtypes.given("to", a)
    if dtype is not None:
        dtype = dtypes.given("to", dtype)
    return (None if device is None else Device(device)), dtype


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """This tensor with another dtype, device or memory format; itself where nothing changes.

    `to(dtype)`, `to(device, dtype)`, `to(other)`, with `copy=True` and `memory_format=`. With
    `non_blocking=True` a copy of pinned memory to a GPU is not waited for.
    """
    device, dtype = _target(args, kwargs)
    format = kwargs.get("memory_format") or preserve_format
    flags = [a for a in args if isinstance(a, bool)]  # non_blocking, copy
    copy = kwargs.get("copy", flags[1:] == [True])
    out = self
    if (
        device is not None
        and device != out.device
        and (device.type != out.device.type or device.index)
    ):
        unwaited = {"non_blocking": True} if kwargs.get("non_blocking", flags[:1] == [True]) else {}
        out = move_op(out, device=device, source=out.device, **unwaited)
        copy = False
    if dtype is not None and dtype is not out.dtype:
        _warn_of_discarding(out, dtype)
        return copy_op(out, order=_like("to", out._data, format), dtype=dtype)
    if copy:
        return clone(out, memory_format=format)
    return out if check_format("to", format) is preserve_format else contiguous(out, format)


attach("to", to)


def _cast(name: str, dtype: DType) -> None:
    def cast(self: Tensor, memory_format: Any = preserve_format) -> Tensor:
        return to(self, dtype, memory_format=memory_format)

    cast.__name__, cast.__doc__ = name, f"`self.to({dtype})`."
    attach(name, cast)


for _name, _dtype in {
    **dtypes.ALIASES,
    "bool": dtypes.bool_,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bfloat16": dtypes.bfloat16,
}.items():
    _cast(_name, _dtype)


@public()
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """`self.to(other.dtype)`."""
    return to(self, other.dtype)


@method()
def cpu(self: Tensor, memory_format: Any = preserve_format) -> Tensor:
    """This tensor on the CPU."""
    return to(self, "cpu", memory_format=memory_format)


@method()
def cuda(
    self: Tensor,
    device: Any = None,
    non_blocking: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """This tensor on a GPU: the current one, or the one given."""
    return to(
        self,
        "cuda" if device is None else device,
        memory_format=memory_format,
        non_blocking=non_blocking,
    )


# -- writing ------------------------------------------------------------------------------------


class _Overwrite(Elementwise):
    """An operator whose result has the first input's shape and dtype, and none of its values."""

    short = False

    def spec(self, *inputs: Any, **params: Any) -> tuple:
        return tuple(inputs[0]._data.shape), inputs[0].dtype

    def types(self, inputs: Any) -> tuple[DType, DType]:
        return inputs[0].dtype, inputs[0].dtype

    def _device(self, inputs: Any, datas: list, types: Any, out: Any, kind: Any) -> Any:
        from ..runtime import accelerator

        x, value = datas
        out = accelerator.empty(x.shape, x.dtype, x.device) if out is None else out
        put = accelerator.fill if isinstance(value, SCALARS) else accelerator.copy
        put(out, value)
        return out


@loop
def _second(x: Any, y: Any) -> Any:
    return np.broadcast_to(y, x.shape).copy()


class _CopyInto(_Overwrite):
    """`x.copy_(src)`."""

    def write(self, x: Tensor, inputs: Any, params: dict) -> None:
        source = inputs[1]
        if source.device != x.device:
            source = to(source.detach(), x.device)
        copy_data(x._data, _real_for(source, x.dtype)._data)


def _warn_of_discarding(source: Tensor, dtype: DType) -> None:
    if source.dtype.is_complex and dtype.category in (1, 2):
        errors.warn("Casting complex values to real discards the imaginary part")


def _real_for(source: Tensor, dtype: DType) -> Tensor:
    if source.dtype.is_complex and not dtype.is_complex:
        _warn_of_discarding(source, dtype)
        if dtype.category == 0:
            return source.detach() != 0  # type: ignore[return-value]
        return source.detach().real  # type: ignore[attr-defined]
    return source


copy_into = _CopyInto(
    "copy",
    ("x", "source"),
    _second,
    vjp=(zero, lambda g: g),
    samples=lambda s: [s((2, 3), (3,)), s((2, 3), (2, 3)), s((0, 3), (3,))],
)


def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite the elements with those of `src`, broadcast and cast."""
    if not isinstance(src, Tensor):
        if isinstance(src, bool | int | float | complex):
            return fill_(self, src)
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if src is self and not (state.grad and self.requires_grad):
        self.storage_.bump("copy_")
        return self  # also where elements share memory
    check_overlap("copy_", self, src)
    if non_blocking and src.is_cpu and self.is_cuda:
        src = to(src, self.device, non_blocking=True)
    if src is self and not self.requires_grad:  # also where its elements share memory
        self.storage_.bump("copy_")
        return self
    try:
        wide = src if src._data.shape == self._data.shape else expand(src, self._data.shape)
    except RuntimeError:
        raise RuntimeError(
            f"copy_: The size of the source {tuple(src.shape)} must match, or broadcast to, the "
            f"size of the tensor {tuple(self.shape)}"
        ) from None
    return copy_into.inplace(self, wide)


attach("copy_", copy_)


class _Fill(_Overwrite):
    """`x.fill_(value)`: the value is a number or a tensor without dimensions."""

    same_value = True

    def write(self, x: Tensor, inputs: Any, params: dict) -> None:
        value = inputs[1]
        if isinstance(value, Tensor):
            value = value.item()  # type: ignore[attr-defined]
        if isinstance(value, complex) and not x.dtype.is_complex:
            raise RuntimeError("value cannot be converted to type without overflow: it is complex")
        if x.is_cpu:
            x._data.fill(value) if x.dtype.category > 1 else x._data.__setitem__(
                ..., np.asarray(value).astype(x.dtype.np)
            )
        elif not x.is_meta:
            from ..runtime import accelerator

            accelerator.fill(x._data, value)


fill_op = _Fill(
    "fill",
    ("x", "value"),
    _second,
    vjp=(zero, lambda g: g.sum()),
    samples=lambda s: [s((2, 3), 1.5), s((0,), 1.5)],
)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to `value`."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.ndim} dimensions."
        )
    value = as_operand("fill_", value)
    if not isinstance(value, Tensor):
        value = dtypes.held("fill_", value, self.dtype)
    return fill_op.inplace(self, value)


@public()
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like `input` with all elements `value`."""
    return fill_(clone(input), value)


def zero_(self: Tensor) -> Tensor:
    """Set all elements to zero."""
    return fill_op.inplace(self, 0)


attach("fill_", fill_)
attach("zero_", zero_)


# -- reading ------------------------------------------------------------------------------------


def to_array(self: Tensor) -> np.ndarray:
    """The elements as a NumPy array on the host; shares memory for a CPU tensor."""
    if self.is_cpu:
        return self._data
    if self.is_meta:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    from ..runtime import accelerator

    return accelerator.to_host(self._data)


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The tensor as a NumPy array that shares its memory.

    `force=True` is `detach().cpu().numpy()`. Raises for tensors on a device or that require grad.
    """
    if force:
        return to_array(self)
    if not self.is_cpu:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() "
            "to copy the tensor to host memory first."
        )
    if self.requires_grad and state.grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    return self._data


def item(self: Tensor) -> bool | int | float | complex:
    """The only element as a Python number."""
    if self._data.size != 1:
        raise RuntimeError(
            f"a Tensor with {self._data.size} elements cannot be converted to Scalar"
        )
    value = to_array(self).reshape(())[()]
    return float(value) if self.dtype.category == 2 else value.item()


def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers."""
    array = to_array(self)
    if self.dtype.category == 2 and self.itemsize < 4:
        array = array.astype(np.float32)
    return array.tolist()


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = numpy(self)
    if dtype is not None and array.dtype != dtype:
        return array.astype(dtype)
    return array.copy() if copy else array


for _name, _f in (("numpy", numpy), ("item", item), ("tolist", tolist), ("__array__", _array)):
    attach(_name, _f)
