"""Numbers taken apart and compared: divisors, neighbours, mantissas, powers in float64, signs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes, return_types
from ..op import joint, primitive
from ..tensor import Tensor
from . import arithmetic_loops
from .api import attach, binary, called, public
from .arithmetic import pow
from .elementwise import Elementwise, loop, unknown
from .elementwise_forms import operands

_WHOLE = ("floating", "complex", "bool")


@loop
def _lcm(x: Any, y: Any) -> Any:
    """|x / gcd * y|, in int32 at least as in C, which wraps around where it is too large."""
    x, y = np.asarray(x), np.asarray(y)
    dtype = np.result_type(x, y)
    wide = np.promote_types(dtype, np.int32) if dtype.itemsize < 4 else dtype
    x, y = x.astype(wide), y.astype(wide)
    divisor = np.gcd(x, y)
    return np.abs(x // np.where(divisor == 0, 1, divisor) * y).astype(dtype)


@loop
def _heaviside(x: Any, values: Any) -> Any:
    x = np.asarray(x)
    return np.where(x == 0, values, (x > 0).astype(x.dtype))


class _OneType(Elementwise):
    """Both inputs have one dtype; nothing is promoted."""

    short = False

    def types(self, inputs: Any) -> tuple:
        kinds = [x.dtype for x in inputs if isinstance(x, Tensor)]
        if any(k.is_complex for k in kinds):
            raise RuntimeError(f"{self.name} is not yet implemented for complex tensors.")
        if len(set(kinds)) > 1:
            raise RuntimeError(
                f"{self.name} is not yet implemented for tensors with different dtypes."
            )
        return super().types(inputs)


class _InItsType(Elementwise):
    """16-bit numbers are not widened: the next number is the next of their own dtype."""

    short = False

    def _host(self, datas: list, compute: Any, dtype: Any, out: np.ndarray | None) -> np.ndarray:
        if compute.itemsize > 2:
            return super()._host(datas, compute, dtype, out)
        r = np.asarray(self.loop(*(np.asarray(d).astype(compute.np) for d in datas)))
        if out is None:
            return r
        np.copyto(out, r, casting="unsafe")
        return out


gcd = binary("gcd", np.gcd, numbers="none", deny=_WHOLE)
lcm = binary("lcm", _lcm, numbers="none", deny=_WHOLE)
heaviside = binary(
    "heaviside",
    _heaviside,
    kind=_OneType,
    deny=("complex",),
    samples=lambda s: [
        s(s.reals(a), s.reals(b), smooth=False) for a, b in (((3, 4), (4,)), ((0,), ()), ((), ()))
    ],
    numbers="none",
    names=("input", "values"),
    vjp=(unknown("heaviside", "self"), unknown("heaviside", "values")),
)
nextafter = binary(
    "nextafter",
    arithmetic_loops.nextafter,
    kind=_InItsType,
    numbers="none",
    deny=("integral", "bool", "complex"),
    samples=lambda s: [
        s(s.reals(a), s.reals(b), smooth=False) for a, b in (((3, 4), (4,)), ((0,), ()), ((), ()))
    ],
    vjp=(unknown("nextafter", "self"), unknown("nextafter", "other")),
)


@primitive(
    name="frexp",
    strided=True,
    triton="elementwise.frexp",
    outputs=("mantissa", "exponent"),
    meta=lambda x: [(tuple(x._data.shape), x.dtype), (tuple(x._data.shape), dtypes.int32)],
    samples=lambda s: [s(s.reals(shape, 0.6, 0.9)) for shape in ((3, 4), (), (0,), (2, 1, 5))],
    vjp=joint(lambda g, g_exponent, exponent: (g / 2.0 ** exponent.detach(),)),
)
def frexp_op(x: Any) -> Any:
    mantissa, exponent = np.frexp(np.asarray(x, np.float32) if x.dtype.itemsize < 4 else x)
    return np.asarray(mantissa).astype(x.dtype), np.asarray(exponent, np.int32)


@public(out=True)
def frexp(input: Tensor) -> Any:
    """The mantissa, in [0.5, 1) with the number's sign, and the exponent of 2, in int32.

    mantissa * 2**exponent is the number. RuntimeError for dtypes that are not floating point.

    Example:
        >>> import tritorch as torch
        >>> torch.frexp(torch.tensor([6.0])).mantissa
        tensor([0.7500])
    """
    if input.dtype.category != 2:
        raise RuntimeError(
            f"frexp: torch.frexp() only supports floating-point dtypes, got {input.dtype}"
        )
    return return_types.frexp(*frexp_op(input))


_both_tensors = operands("ldexp", "none", ("input", "other"))


_two_tensors = operands("ldexp", "none", ("input", "other"))


@public(out=True, inplace=True)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2**other; shapes broadcast.

    Example:
        >>> import tritorch as torch
        >>> torch.ldexp(torch.tensor([3.0]), torch.tensor([2]))
        tensor([12.])
    """
    input, other = _two_tensors(input, other)
    found = input * 2.0**other
    return found.to(input.dtype) if input.dtype.category == 2 > other.dtype.category else found


def _wide(x: Any) -> Any:
    """In float64, or complex128."""
    if isinstance(x, Tensor):
        return x.to(dtypes.complex128 if x.dtype.is_complex else dtypes.float64)  # type: ignore[attr-defined]
    return complex(x) if isinstance(x, complex) else float(x)


@public(out=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """input**exponent in float64, or complex128; shapes broadcast, one may be a number.

    Example:
        >>> import tritorch as torch
        >>> torch.float_power(torch.tensor([2, 3]), 2)
        tensor([4., 9.], dtype=tritorch.float64)
    """
    return pow(_wide(input), _wide(exponent))


def _float_power_(self: Tensor, exponent: Any) -> Tensor:
    """`float_power` in place, of float64 and complex128 tensors only."""
    result = float_power(self, exponent)
    if self.dtype is not result.dtype:
        raise RuntimeError(
            f"float_power_: the base given to float_power_ has dtype {self.dtype} but the "
            f"operation's result requires dtype {result.dtype}"
        )
    return self.copy_(result)  # type: ignore[attr-defined]


attach("float_power_", _float_power_)


def _scaled(name: str, factor: float, what: str) -> None:
    def function(input: Tensor) -> Tensor:
        if input.dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return input * factor if input.dtype.category > 1 else input.float() * factor

    function.__doc__ = f"{what}, of any shape."
    public(out=True, inplace=True)(called(name)(function))


_scaled("deg2rad", math.pi / 180, "Angles in degrees to radians")
_scaled("rad2deg", 180 / math.pi, "Angles in radians to degrees")


def _infinite(name: str, sign: int, what: str) -> None:
    def function(input: Tensor) -> Tensor:
        if input.dtype.is_complex:
            raise RuntimeError(f"{name} does not support complex inputs.")
        return input == sign * math.inf

    function.__doc__ = f"Whether each element is {what} infinity, in bool."
    public(out=True)(called(name)(function))


_infinite("isposinf", 1, "positive")
_infinite("isneginf", -1, "negative")


@public()
def isreal(input: Tensor) -> Tensor:
    """Whether each element's imaginary part is 0, in bool; always so of real dtypes."""
    if input.dtype.is_complex:
        return input.imag == 0  # type: ignore[attr-defined]
    return input.isfinite() | True  # type: ignore[attr-defined]


@public()
def rsub(input: Tensor, other: Any, alpha: Any = 1) -> Tensor:
    """other - alpha * input; shapes broadcast."""
    if input.dtype.category == 0:
        raise RuntimeError(
            "rsub: Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
            "trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return other - (input if alpha == 1 else input * alpha)
