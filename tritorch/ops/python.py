"""What makes a tensor a good Python object: length, truth, iteration, conversions, questions."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..device import CPU
from ..dtypes import DType
from ..op import primitive
from ..tensor import Size, Tensor, from_data, wrap
from .api import attach, public, unary, write_out
from .arithmetic import where
from .copy import to, to_array
from .elementwise import SCALARS, loop, promoted
from .pieces import unbind

# -- one element --------------------------------------------------------------------------------


def __bool__(self: Tensor) -> bool:
    n = self._data.size
    if n != 1:
        raise RuntimeError(
            f"Boolean value of Tensor with {'more than one value' if n else 'no values'} is "
            f"ambiguous, got shape {tuple(self.shape)}"
        )
    return bool(to_array(self).reshape(())[()])


def __int__(self: Tensor) -> int:
    return int(self.item())  # type: ignore[attr-defined]


def __float__(self: Tensor) -> float:
    return float(self.item())  # type: ignore[attr-defined]


def __complex__(self: Tensor) -> builtins.complex:
    return builtins.complex(self.item())  # type: ignore[attr-defined]


def __index__(self: Tensor) -> int:
    if self.dtype.category > 1 or self._data.size != 1:
        raise TypeError(
            "only integer tensors of a single element can be converted to an index, got "
            f"{self.dtype} of shape {tuple(self.shape)}"
        )
    return int(self.item())  # type: ignore[attr-defined]


@public()
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero."""
    return __bool__(input)


# -- a sequence ---------------------------------------------------------------------------------


def __len__(self: Tensor) -> int:
    if not self._data.ndim:
        raise TypeError("len() of a 0-d tensor")
    return self._data.shape[0]


def __iter__(self: Tensor) -> Iterator[Tensor]:
    if not self._data.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


def __reversed__(self: Tensor) -> Tensor:
    return self.flip(0) if self._data.ndim else self  # type: ignore[attr-defined]


def __contains__(self: Tensor, element: Any) -> bool:
    if not isinstance(element, Tensor | SCALARS):
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )
    return bool(to_array(self.detach() == element).any())


def __dir__(self: Tensor) -> list[str]:
    return sorted({*dir(type(self)), *self.__dict__})


# -- questions ----------------------------------------------------------------------------------


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


# -- comparisons as a whole -----------------------------------------------------------------------


@public()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements; NaN equals nothing."""
    if not isinstance(other, Tensor):
        raise TypeError(f"equal(): argument 'other' must be Tensor, not {type(other).__name__}")
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


def _tolerances(name: str, a: Tensor, b: Tensor, rtol: float, atol: float) -> None:
    if not isinstance(b, Tensor):
        raise TypeError(f"{name}(): argument 'other' must be Tensor, not {type(b).__name__}")
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


# -- complex numbers ------------------------------------------------------------------------------


def _complex_meta(real: Tensor, imag: Tensor) -> tuple:
    shape = errors.broadcast_shapes("complex", real._data.shape, imag._data.shape)
    return shape, real.dtype.to_complex()


@primitive(
    name="complex",
    meta=_complex_meta,
    vjp=(lambda g: g.real, lambda g: g.imag),
    samples=lambda s: [s((3, 4), (3, 4)), s((3, 1), (4,)), s((), ()), s((0,), (0,))],
)
def complex_op(real: Any, imag: Any) -> Any:
    out = np.empty(np.broadcast(real, imag).shape, np.result_type(real, np.complex64))
    out.real, out.imag = real, imag
    return out


def _check_parts(name: str, a: Tensor, b: Tensor) -> None:
    floats = ("float16", "float32", "float64")
    if a.dtype.name not in floats or b.dtype.name not in floats:
        raise RuntimeError(
            f"{name}: Expected both inputs to be Half, Float or Double tensors but got {a.dtype} "
            f"and {b.dtype}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected object of scalar type {a.dtype} but got scalar type {b.dtype} for "
            "second argument"
        )


def _into(name: str, out: Tensor | None, made: Tensor) -> Tensor:
    """Like other results, but `out` must have the very dtype."""
    if out is None:
        return made
    if out.dtype is not made.dtype:
        raise RuntimeError(
            f"{name}: Expected object of scalar type {made.dtype} but got scalar type {out.dtype} "
            "for argument 'out'"
        )
    return write_out(name, out, made.detach())


@public(method=False)
def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`real + imag * 1j`, broadcast; of float32 or float64 tensors."""
    _check_parts("complex", real, imag)
    return _into("complex", out, complex_op(real, imag))


@public(method=False)
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`abs * (cos(angle) + sin(angle) * 1j)`, broadcast."""
    _check_parts("polar", abs, angle)
    return _into("polar", out, complex_op(abs * angle.cos(), abs * angle.sin()))  # type: ignore


@public(out=True)
def angle(input: Tensor) -> Tensor:
    """The argument of each element: for a real one pi where it is negative, else 0."""
    if input.dtype.is_complex:
        zero = input == 0
        x, y = input.real, input.imag  # type: ignore[attr-defined]
        x = where(zero, 1, x) if input.requires_grad else x
        return y.atan2(x)
    x = input if input.dtype.category > 1 else to(input, dtypes.get_default_dtype())
    return where(x != x, x, where(x < 0, float(np.pi), x * 0))


@loop
def _conjugate(x: Any) -> Any:
    return np.conjugate(x) if x.dtype.kind == "c" else x.copy()


_conj = unary(
    "conj_physical",
    _conjugate,
    inplace=True,
    vjp=lambda g: g.conj(),
    samples=lambda s: [s((3, 4)), s(s.reals((2,)) + 1j), s(())],
)


@public()
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor as it is."""
    return _conj(input) if input.dtype.is_complex else input


@public()
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once here."""
    return input


@public()
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negatives are computed at once here."""
    return input


@public()
def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once here."""
    return False


@public()
def is_neg(input: Tensor) -> bool:
    """False: negatives are computed at once here."""
    return False


# -- storage --------------------------------------------------------------------------------------


class UntypedStorage:
    """The memory of a tensor and its views, in bytes: size, address, device."""

    def __init__(self, tensor: Tensor) -> None:
        self._storage = tensor.storage_
        self.device = tensor.device

    def nbytes(self) -> int:
        owner = self._storage.owner
        if owner.__class__ is not np.ndarray:
            return owner.memory.nbytes
        if not owner.size:
            return 0
        reach = sum((n - 1) * s for n, s in zip(owner.shape, owner.strides, strict=True))
        return reach + owner.itemsize

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        owner = self._storage.owner
        if owner.__class__ is not np.ndarray:
            return owner.memory.ptr
        return owner.__array_interface__["data"][0] if owner.size else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return hash(id(self._storage))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.nbytes()} bytes on {self.device}>"


class TypedStorage(UntypedStorage):
    """The same, with sizes in elements of the tensor's dtype."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor)
        self.dtype = tensor.dtype

    def size(self) -> int:
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def untyped(self) -> UntypedStorage:
        return self


TYPE_NAMES = {
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


def type_name(x: Tensor) -> str:
    """`torch.FloatTensor` and its like."""
    place = "cuda." if x.is_cuda else ""
    return f"torch.{place}{TYPE_NAMES.get(x.dtype.name, x.dtype.name.capitalize())}Tensor"


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False, **_: Any) -> Any:
    """The name of the tensor's type, such as `torch.FloatTensor`; or a cast to a dtype."""
    if dtype is None:
        return type_name(self)
    if isinstance(dtype, str):
        short = dtype.rpartition(".")[2].removesuffix("Tensor")
        names = {v: k for k, v in TYPE_NAMES.items()}
        if short not in names:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = getattr(dtypes, "bool_" if short == "Bool" else names[short])
    return to(self, dtype)


# -- NumPy and DLPack -----------------------------------------------------------------------------


def __array_wrap__(
    self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False
) -> Tensor:
    return from_data(np.asarray(array))


def __dlpack__(self: Tensor, **kwargs: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if not self.is_cpu:
        raise BufferError(f"__dlpack__: tensors on {self.device} are not exported here")
    kwargs.pop("stream", None)
    return self._data.__dlpack__(**kwargs)


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0) if self.device == CPU else (2, self.device.index or 0)


@public(method=False)
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__` on the CPU."""
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    array = np.from_dlpack(ext_tensor)
    if not array.flags.writeable:
        array = np.lib.stride_tricks.as_strided(_writeable(array), array.shape, array.strides)
    out = wrap(array.copy() if copy else array, dtypes.of(array.dtype))
    return out if device is None else to(out, device)


class _writeable:
    """The memory of an array that NumPy marks read-only because an old capsule says nothing."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


# -- in memory ------------------------------------------------------------------------------------


def share_memory_(self: Tensor) -> Tensor:
    """The tensor itself: threads of one process share all memory."""
    return self


def is_shared(self: Tensor) -> bool:
    """Whether other processes see the memory: never for tensors made here."""
    return False


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself on a machine without a GPU."""
    return self


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked."""
    return False


for _f in (
    __bool__, __int__, __float__, __complex__, __index__, __len__, __iter__, __reversed__,
    __contains__, __dir__, __array_wrap__, __dlpack__, __dlpack_device__, size, dim, element_size,
    data_ptr, get_device, is_set_to, share_memory_, is_shared, pin_memory, is_pinned,
):  # fmt: skip
    attach(_f.__name__, _f)
attach("ndimension", dim)
attach("nelement", numel)
attach("type", type_)
attach("untyped_storage", lambda self: UntypedStorage(self))
attach("storage", lambda self: TypedStorage(self))
for _name in ("is_sparse", "is_quantized", "is_mkldnn", "is_nested", "is_xla", "is_mps"):
    attach(_name, False)  # type: ignore[arg-type]
