"""What makes a tensor a good Python object: length, truth, iteration, conversions, questions."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..dtypes import DType
from ..tensor import Size, Tensor
from .api import PUBLIC, attach, public
from .copy import to, to_array
from .elementwise import SCALARS, promoted
from .pieces import unbind

# -- one element ---------------------------------------------------------------------------------


def _bool(self: Tensor) -> bool:
    n = self._data.size
    if n != 1:
        raise RuntimeError(
            f"Boolean value of Tensor with {'more than one value' if n else 'no values'} is "
            f"ambiguous, got shape {tuple(self.shape)}"
        )
    return bool(to_array(self).reshape(())[()])


def _number(self: Tensor) -> Any:
    if self._data.size != 1:
        raise ValueError(
            "only one element tensors can be converted to Python scalars, got shape "
            f"{tuple(self.shape)}"
        )
    return self.item()  # type: ignore[attr-defined]


def _real(self: Tensor, kind: str) -> Any:
    value = _number(self)
    if not isinstance(value, builtins.complex):
        return value
    if value.imag:
        raise RuntimeError(f"value cannot be converted to type {kind} without overflow: {value}")
    return value.real


def _int(self: Tensor) -> int:
    return int(_real(self, "int64_t"))


def _warn_of_history(self: Tensor) -> None:
    if self.requires_grad:
        errors.warn(
            "Converting a tensor with requires_grad=True to a scalar may lead to unexpected "
            "behavior. Consider using tensor.detach() first."
        )


def _float(self: Tensor) -> float:
    _warn_of_history(self)
    return float(_real(self, "double"))


def _complex(self: Tensor) -> builtins.complex:
    _warn_of_history(self)
    return builtins.complex(_number(self))


def _index(self: Tensor) -> int:
    if self.dtype.category > 1 or self._data.size != 1:
        raise TypeError(
            "only integer tensors of a single element can be converted to an index, got "
            f"{self.dtype} of shape {tuple(self.shape)}"
        )
    return int(self.item())  # type: ignore[attr-defined]


@public()
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero."""
    return _bool(input)


# -- a sequence ----------------------------------------------------------------------------------


def _len(self: Tensor) -> int:
    if not self._data.ndim:
        raise TypeError("len() of a 0-d tensor")
    return self._data.shape[0]


def _iter(self: Tensor) -> Iterator[Tensor]:
    if not self._data.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


def _reversed(self: Tensor) -> Tensor:
    return self.flip(0) if self._data.ndim else self  # type: ignore[attr-defined]


def _contains(self: Tensor, element: Any) -> bool:
    if not isinstance(element, Tensor | SCALARS):
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )
    return bool(to_array(self.detach() == element).any())


def _dir(self: Tensor) -> list[str]:
    return sorted({*dir(type(self)), *self.__dict__})


# -- questions -----------------------------------------------------------------------------------


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    shape = self._data.shape
    if dim is None:
        return Size(shape)
    if not shape:
        raise IndexError(f"size: Dimension specified as {dim} but tensor has no dimensions")
    return shape[errors.wrap_dim("size", dim, shape)]


def dim(self: Tensor) -> int:
    """The number of dimensions."""
    return self._data.ndim


@public()
def numel(input: Tensor) -> int:
    """The number of elements."""
    return int(input._data.size)


def element_size(self: Tensor) -> int:
    """The size of an element in bytes."""
    return self.dtype.itemsize


def data_ptr(self: Tensor) -> int:
    """The address of the first element; 0 for a tensor without elements."""
    data = self._data
    if data.__class__ is not np.ndarray:
        return data.ptr
    return data.__array_interface__["data"][0] if data.size else 0


def get_device(self: Tensor) -> int:
    """The number of the GPU; -1 on the CPU."""
    return -1 if self.is_cpu else self.device.index or 0


@public()
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a real floating-point one."""
    return input.dtype.category == 2


@public()
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.dtype.is_complex


@public()
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative values."""
    return input.dtype.is_signed


@public(method=False)
def detach(input: Tensor) -> Tensor:
    """The same memory without history; changes in place are seen by both."""
    return input.detach()


@public(method=False)
def is_inference(input: Tensor) -> bool:
    """Whether it was made in `inference_mode`."""
    return input.is_inference()


@public(method=False)
def typename(obj: Any) -> str:
    """The name of a type: of a tensor `torch.FloatTensor` and its like."""
    if isinstance(obj, Tensor):
        return obj.type()  # type: ignore[attr-defined]
    kind = obj if isinstance(obj, type) else type(obj)
    place = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return place + kind.__qualname__


@public(method=False)
def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


@public()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape."""
    return tuple(input._data.shape) == tuple(other._data.shape)


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same elements of the same memory."""
    return (
        data_ptr(self) == data_ptr(tensor)
        and is_same_size(self, tensor)
        and self._data.strides == tensor._data.strides
    )


@public(method=False)
def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype that an arithmetic operation on two tensors or numbers gives."""
    return promoted((tensor1, tensor2))


@public(method=False)
def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that tensors of these shapes broadcast to."""
    rows = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    for row in rows:
        if any(n < 0 for n in row):
            raise RuntimeError(
                f"broadcast_shapes: Trying to create tensor with negative dimension: {row}"
            )
    return Size(errors.broadcast_shapes("broadcast_shapes", *rows))


# -- a Python function of each element ------------------------------------------------------------


def _elementwise(name: str, self: Tensor, function: Callable, *others: Tensor) -> Tensor:
    if not self.is_cpu or any(not t.is_cpu for t in others):
        raise TypeError(f"{name} is only implemented on CPU tensors")
    if self.requires_grad or any(t.requires_grad for t in others):
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}()"
        )
    shape = self._data.shape
    lists = [np.broadcast_to(t._data, shape).reshape(-1).tolist() for t in (self, *others)]
    values = [function(*v) for v in zip(*lists, strict=True)]
    self._data[...] = np.array(values).reshape(shape).astype(self.dtype.np)
    self.storage_.bump(name)
    return self


def apply_(self: Tensor, callable: Callable) -> Tensor:
    """Replace each element by what a Python function makes of it; on the CPU, and slow."""
    return _elementwise("apply_", self, callable)


def map_(self: Tensor, tensor: Tensor, callable: Callable) -> Tensor:
    """Replace each element by `callable(own, other)`; on the CPU, and slow."""
    return _elementwise("map_", self, callable, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable) -> Tensor:
    """Replace each element by `callable(own, x, y)`; on the CPU, and slow."""
    return _elementwise("map2_", self, callable, x, y)


# -- comparisons as a whole ----------------------------------------------------------------------


@public()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements; NaN equals nothing."""
    need_tensors("equal", input=input, other=other)
    if input.device != other.device:
        raise RuntimeError(
            f"equal: Expected all tensors to be on the same device, but found at least two "
            f"devices, {input.device} and {other.device}!"
        )
    if not is_same_size(input, other):
        return False
    if input.is_cpu:
        return bool(np.array_equal(input._data, other._data))
    return bool((input.detach() == other.detach()).all())


def need_tensors(name: str, **given: Any) -> None:
    """TypeError where an argument is no tensor."""
    for position, (what, x) in enumerate(given.items(), 1):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): argument '{what}' (position {position}) must be Tensor, not "
                f"{type(x).__name__}"
            )


def _tolerances(name: str, a: Tensor, b: Tensor, rtol: float, atol: float) -> None:
    need_tensors(name, input=a, other=b)
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: {a.dtype} did not match {b.dtype}")
    for what, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(
                f"{name}: {what} must be greater than or equal to zero, but got {value}"
            )


@public()
def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    """Where `|input - other| <= atol + rtol * |other|`, or both are the same.

    NaN is close to NaN with `equal_nan`.
    """
    _tolerances("isclose", input, other, rtol, atol)
    x, y = input.detach(), other.detach()
    close = x == y
    if equal_nan and x.dtype.category > 1:
        close = close | ((x != x) & (y != y))
    if rtol == 0 and atol == 0:
        return close
    if x.dtype.category < 2:
        x, y = (to(t, dtypes.get_default_dtype()) for t in (x, y))
    gap = (x - y).abs()  # type: ignore[attr-defined]
    return close | (gap.isfinite() & (gap <= atol + (rtol * y).abs()))


@public()
def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close: see `isclose`."""
    return bool(to_array(isclose(input, other, rtol, atol, equal_nan)).all())


for _f in (_bool, _int, _float, _complex, _index, _len, _iter, _reversed, _contains, _dir):
    attach(f"_{_f.__name__}__", _f)
for _f in (size, dim, element_size, data_ptr, get_device, is_set_to, apply_, map_, map2_):
    attach(_f.__name__, _f)
attach("__nonzero__", _bool)
attach("__long__", _int)
attach("ndimension", dim)
attach("nelement", numel)
for _name in ("sparse", "sparse_csr", "quantized", "mkldnn", "nested"):
    attach(f"is_{_name}", False)  # type: ignore[arg-type]
for _name in ("xla", "mps", "xpu", "ipu", "maia", "mtia", "vulkan"):
    attach(f"is_{_name}", False)  # type: ignore[arg-type]
attach("is_distributed", lambda self: False)
attach("_is_view", lambda self: self._base is not None)
attach("name", None)  # type: ignore[arg-type]
PUBLIC["get_device"] = get_device
