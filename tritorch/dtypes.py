"""Data types, PyTorch's promotion rules, accumulation types, `finfo` and `iinfo`.

Every `DType` is a singleton: compare with `is`. The promotion lattice is the one documented under
"Type promotion" in PyTorch's tensor attributes page.
"""

from __future__ import annotations

import builtins
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

_CATEGORY = {"bool": 0, "int": 1, "float": 2, "complex": 3}


class DType:
    """A tensor's element type, such as `tritorch.float32`.

    `np` is the NumPy dtype that holds it on the host (`ml_dtypes` for bfloat16 and float8),
    `triton` the name that a kernel signature uses.
    """

    __slots__ = ("category", "itemsize", "name", "np", "triton")

    def __init__(self, name: str, np_dtype: Any, triton: str, category: str) -> None:
        self.name = name
        self.np = np.dtype(np_dtype)
        self.itemsize = self.np.itemsize
        self.triton = triton
        self.category = _CATEGORY[category]

    @property
    def is_floating_point(self) -> builtins.bool:
        return self.category == 2

    @property
    def is_complex(self) -> builtins.bool:
        return self.category == 3

    @property
    def is_signed(self) -> builtins.bool:
        return self.category > 1 or (self.category == 1 and not self.name.startswith("u"))

    def to_real(self) -> DType:
        """The dtype of the real part of this one."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> DType:
        """The complex dtype that holds this one."""
        return complex128 if self.name in ("float64", "complex128") else complex64

    def __repr__(self) -> str:
        return f"tritorch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name  # its name in this module

    def __copy__(self) -> DType:
        return self

    def __deepcopy__(self, memo: dict) -> DType:
        return self


bool_ = DType("bool", np.bool_, "i1", "bool")
uint8 = DType("uint8", np.uint8, "u8", "int")
uint16 = DType("uint16", np.uint16, "u16", "int")
uint32 = DType("uint32", np.uint32, "u32", "int")
uint64 = DType("uint64", np.uint64, "u64", "int")
int8 = DType("int8", np.int8, "i8", "int")
int16 = DType("int16", np.int16, "i16", "int")
int32 = DType("int32", np.int32, "i32", "int")
int64 = DType("int64", np.int64, "i64", "int")
float16 = DType("float16", np.float16, "fp16", "float")
bfloat16 = DType("bfloat16", ml_dtypes.bfloat16, "bf16", "float")
float32 = DType("float32", np.float32, "fp32", "float")
float64 = DType("float64", np.float64, "fp64", "float")
float8_e4m3fn = DType("float8_e4m3fn", ml_dtypes.float8_e4m3fn, "fp8e4nv", "float")
float8_e5m2 = DType("float8_e5m2", ml_dtypes.float8_e5m2, "fp8e5", "float")
complex64 = DType("complex64", np.complex64, "c64", "complex")
complex128 = DType("complex128", np.complex128, "c128", "complex")


ALL = (
    bool_,
    uint8,
    uint16,
    uint32,
    uint64,
    int8,
    int16,
    int32,
    int64,
    float16,
    bfloat16,
    float32,
    float64,
    float8_e4m3fn,
    float8_e5m2,
    complex64,
    complex128,
)
ALIASES = {
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
    "cfloat": complex64,
    "cdouble": complex128,
}
PYTHON = {builtins.bool: bool_, builtins.int: int64, builtins.float: float64}
PYTHON[complex] = complex128
_BY_NUMPY = {t.np: t for t in ALL}
_DEFAULT = [float32]


def of(np_dtype: np.dtype) -> DType:
    """The DType of a NumPy dtype; raises TypeError for those that no tensor holds."""
    found = _BY_NUMPY.get(np_dtype)
    if found is None:
        found = _BY_NUMPY.get(np.dtype(np_dtype).newbyteorder("="))
        if found is None or not np.dtype(np_dtype).isnative:
            raise TypeError(
                f"can't convert np.ndarray of type {np_dtype}. The only supported types are: "
                + ", ".join(t.name for t in ALL)
            )
    return found


def given(name: str, dtype: Any) -> DType:
    """A dtype, or the one of Python's type `bool`, `int`, `float` or `complex`; else TypeError."""
    found = dtype if isinstance(dtype, DType) else None
    found = PYTHON.get(dtype) if found is None and isinstance(dtype, type) else found
    if found is None:
        raise TypeError(f"{name}(): argument 'dtype' must be dtype, not {type(dtype).__name__}")
    return found


def get_default_dtype() -> DType:
    """The dtype of `tensor(1.5)`; float32 unless `set_default_dtype` changed it."""
    return _DEFAULT[0]


def set_default_dtype(d: DType) -> None:
    """Set the dtype of tensors made from Python floats; a floating-point dtype."""
    if not isinstance(d, DType) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported, got {d}")
    _DEFAULT[0] = d


def of_scalar(value: object) -> DType:
    """The dtype of `tensor(value)` for a Python number."""
    if value is True or value is False or isinstance(value, np.bool_):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, complex):
        return _DEFAULT[0].to_complex()
    return _DEFAULT[0]


@cache
def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that both promote to.

    Example:
        >>> import tritorch as torch
        >>> torch.promote_types(torch.int32, torch.float16)
        tritorch.float16
    """
    type1, type2 = given("promote_types", type1), given("promote_types", type2)
    if type1 is type2:
        return type1
    low, high = sorted((type1, type2), key=lambda t: t.category)
    if "float8" in low.name or ("float8" in high.name and low.category == 2):
        raise RuntimeError(f"Promotion for Float8 Types is not supported: {type1}, {type2}")
    if low.category < high.category:
        if high.category < 3 or low.category < 2:
            return high
        return complex128 if low is float64 or high is complex128 else high
    if low.category == 1:
        return _promote_integers(low, high)
    if {low.name, high.name} == {"float16", "bfloat16"}:
        return float32
    return low if low.itemsize > high.itemsize else high


def _promote_integers(a: DType, b: DType) -> DType:
    if a.is_signed == b.is_signed:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    if unsigned is not uint8:
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
            f"{a} and {b}"
        )
    return int16 if signed is int8 else signed


def accumulation(dtype: DType) -> DType:
    """The dtype in which sums of `dtype` are kept: float32 for the 16-bit floats."""
    return float32 if dtype.category == 2 and dtype.itemsize < 4 else dtype


@cache
def can_cast(from_: DType, to: DType) -> builtins.bool:
    """Whether a result of dtype `from_` may be stored in `to`: never to a lower category.

    Example:
        >>> import tritorch as torch
        >>> torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.float32, torch.int64)
        (True, False)
    """
    return given("can_cast", from_).category <= given("can_cast", to).category


class finfo:
    """Limits of a floating-point dtype: `bits eps max min tiny smallest_normal resolution`."""

    def __init__(self, type: DType | None = None) -> None:
        dtype = get_default_dtype() if type is None else given("finfo", type)
        if dtype.category < 2:
            raise TypeError(f"finfo: expected a floating-point dtype, got {dtype}; use iinfo")
        real = dtype.to_real()
        info = (np.finfo if real.itemsize > 2 or real is float16 else ml_dtypes.finfo)(real.np)
        self.dtype = real.name
        self.bits = real.itemsize * 8
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(f"1e-{info.precision}")

    def __repr__(self) -> str:
        keys = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        body = ", ".join(f"{k}={getattr(self, k):g}" for k in keys)
        return f"finfo({body}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype: `bits max min`."""

    def __init__(self, type: DType) -> None:
        type = given("iinfo", type)
        if type.category == 1:
            info = np.iinfo(type.np)
            self.min, self.max = int(info.min), int(info.max)
        elif type is bool_:
            self.min, self.max = 0, 1
        else:
            raise TypeError(f"iinfo: expected an integer dtype, got {type}; use finfo")
        self.dtype = type.name
        self.bits = type.itemsize * 8

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


@cache
def _largest(dtype: DType) -> float:
    return finfo(dtype).max


def held(op: str, value: builtins.bool | int | float | complex, dtype: DType) -> object:
    """A Python number as a tensor of `dtype` holds it, or RuntimeError where it cannot.

    Floats are cut to whole numbers for integer dtypes; negative integers wrap around once where the
    dtype is unsigned. Infinity and NaN fit in floating-point dtypes, and anything in bool.
    """
    if dtype.category in (0, 3):
        return value
    real = value.real if isinstance(value, complex) and not value.imag else value
    if isinstance(real, complex):
        fits = False
    elif dtype.category == 2:
        fits = real in (float("inf"), -float("inf")) or not builtins.abs(real) > _largest(dtype)
    else:
        limits = iinfo(dtype)
        wraps = not dtype.is_signed and not isinstance(real, float)
        fits = (-limits.max if wraps else limits.min) <= real <= limits.max  # NaN does not
    if not fits or isinstance(real, complex):
        raise RuntimeError(f"{op}: value {value} cannot be converted to {dtype} without overflow")
    if dtype.category == 2:
        return real
    return int(real) if dtype.is_signed else int(real) % (iinfo(dtype).max + 1)
