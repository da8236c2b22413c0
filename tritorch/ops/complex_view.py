"""Complex tensors seen as real ones, and the reverse."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..op import view as declare
from ..tensor import Tensor
from .api import public


def _to_complex(d: dtypes.DType) -> dtypes.DType:
    return d.to_complex()


def _to_real(d: dtypes.DType) -> dtypes.DType:
    return d.to_real()


@declare(
    name="real",
    result=_to_real,
    vjp=lambda g: g.to(g.dtype.to_complex()),
    samples=lambda s: [s(s.reals((2, 3)) + 1j * s.reals((2, 3)))],
)
def _real(x: Any) -> Any:
    return x.real


@declare(
    name="imag",
    result=_to_real,
    vjp=lambda g: g.to(g.dtype.to_complex()) * 1j,
    samples=lambda s: [s(s.reals((2, 3)) + 1j * s.reals((2, 3)))],
)
def _imag(x: Any) -> Any:
    return x.imag


@declare(
    name="view_as_real",
    result=_to_real,
    vjp=lambda g: view_as_complex(g.contiguous()),
    samples=lambda s: [s(s.reals((2, 3)) + 1j * s.reals((2, 3)))],
)
def _view_as_real(x: Any) -> Any:
    if x.__class__ is not np.ndarray:
        return x.as_real()
    half = x.real
    return np.lib.stride_tricks.as_strided(half, (*half.shape, 2), (*half.strides, half.itemsize))


@declare(
    name="view_as_complex",
    result=_to_complex,
    vjp=lambda g: view_as_real(g),
    samples=lambda s: [s((3, 2))],
)
def _view_as_complex(x: Any) -> Any:
    if x.__class__ is not np.ndarray:
        return x.as_complex()
    return x.view(np.complex64 if x.itemsize == 4 else np.complex128)[..., 0]


@public()
def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as a real one with a last dimension of size 2."""
    if not input.dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input.dtype}")
    return _view_as_real(input)


@public()
def view_as_complex(input: Tensor) -> Tensor:
    """A real tensor with a last dimension of size 2 as a complex one."""
    shape, strides = input._data.shape, input.stride()  # type: ignore[attr-defined]
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for floating point tensors, but got a "
            f"tensor of scalar type: {input.dtype.name}"
        )
    if not shape or shape[-1] != 2:
        raise RuntimeError(
            "view_as_complex: Tensor must have a last dimension of size 2, got shape "
            f"{tuple(shape)}"
        )
    if strides[-1] != 1 or any(s % 2 for s, n in zip(strides[:-1], shape, strict=False) if n > 1):
        raise RuntimeError(
            "view_as_complex: Tensor must have a last dimension with stride 1, and "
            "even strides elsewhere"
        )
    return _view_as_complex(input)


@public(method=False)
def real(input: Tensor) -> Tensor:
    """The real part as a view; a real tensor as it is."""
    return _real(input) if input.dtype.is_complex else input


@public(method=False)
def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor as a view."""
    if not input.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _imag(input)


def _assign(part: Any) -> Any:
    return lambda self, value: part(self).copy_(value)


Tensor.real = property(real, _assign(real))  # type: ignore[attr-defined]
Tensor.imag = property(imag, _assign(imag))  # type: ignore[attr-defined]
