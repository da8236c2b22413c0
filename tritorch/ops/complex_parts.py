"""Complex numbers from their parts: complex, polar, angle, conj."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import primitive
from ..runtime import host
from ..tensor import Tensor
from .api import public, unary, write_out
from .arithmetic import where
from .copy import to
from .elementwise import loop
from .python import need_tensors


def _complex_meta(real: Tensor, imag: Tensor) -> tuple:
    shape = errors.broadcast_shapes("complex", real._data.shape, imag._data.shape)
    return shape, real.dtype.to_complex()


@primitive(
    name="complex",
    strided=True,
    meta=_complex_meta,
    triton="copy.from_parts",
    vjp=(lambda g: g.real, lambda g: g.imag),
    samples=lambda s: [s((3, 4), (3, 4)), s((3, 1), (4,)), s((), ()), s((0,), (0,))],
)
def complex_op(real: Any, imag: Any) -> Any:
    dtype = np.result_type(real, np.complex64)
    out = host.empty(np.broadcast(real, imag).shape, dtype, real, imag)
    out.real, out.imag = real, imag
    return out


def _check_parts(name: str, a: Tensor, b: Tensor) -> None:
    first, second = ("real", "imag") if name == "complex" else ("abs", "angle")
    need_tensors(name, **{first: a, second: b})
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
        return input.imag.atan2(input.real)  # type: ignore[attr-defined]
    x = input if input.dtype.category > 1 else to(input, dtypes.get_default_dtype())
    return where(x != x, x.trunc(), where(x < 0, x.new_full((), np.pi), x.new_zeros(())))


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
