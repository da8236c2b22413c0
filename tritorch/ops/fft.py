"""Discrete Fourier transforms: three primitives, complex to complex, real to complex and back.

The normalisation of a primitive is SciPy's: "backward" divides an inverse transform, "forward" a
forward one, "ortho" both by the square root. The adjoint of a transform is the other direction
with "backward" and "forward" exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors
from ..op import primitive
from ..runtime import parallel
from ..tensor import Tensor

LARGE = 1 << 16  # elements from which a transform is worth a second thread
SWAPPED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _run(name: str, x: np.ndarray, **options: Any) -> np.ndarray:
    import scipy.fft

    workers = parallel.get_num_threads() if x.size >= LARGE else 1
    return getattr(scipy.fft, name)(x, workers=workers, **options)


def _ends(n: int, like: Tensor, dim: int, inner: float) -> Tensor:
    """Weights of the half spectrum of `n` samples: 1 where a frequency is its own mirror image."""
    half = n // 2 + 1
    weights = np.full(half, inner)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    shape = [1] * like._data.ndim
    shape[dim] = half
    return like.new_tensor(weights.reshape(shape), dtype=like.dtype.to_real())  # type: ignore[attr-defined]


@primitive(
    meta=lambda x, *, dims, inverse, norm: (tuple(x._data.shape), x.dtype),
    triton="fft.c2c",
    vjp=lambda g, dims, inverse, norm: fft_c2c(  # type: ignore
        g, dims=dims, inverse=not inverse, norm=SWAPPED[norm]
    ),
    samples=lambda s: [
        s(s.reals((3, 4)) + 1j * s.reals((3, 4)), dims=(1,), inverse=False, norm="backward"),
        s(s.reals((3, 2)) + 1j * s.reals((3, 2)), dims=(0, 1), inverse=True, norm="ortho"),
        s(s.reals((5,)) + 1j * s.reals((5,)), dims=(0,), inverse=True, norm="forward"),
    ],
)
def fft_c2c(x: Any, *, dims: tuple[int, ...], inverse: bool, norm: str) -> Any:
    """The transform of a complex tensor over `dims`."""
    if not dims:
        return x.copy()
    return _run("ifftn" if inverse else "fftn", x, axes=dims, norm=norm)


def _half_meta(x: Tensor, *, dim: int, norm: str) -> tuple:
    shape = list(x._data.shape)
    shape[dim] = shape[dim] // 2 + 1
    return tuple(shape), x.dtype.to_complex()


def _r2c_vjp(g: Tensor, x_shape: Any, dim: int, norm: str) -> Tensor:
    n = x_shape[dim]
    return fft_c2r(g * _ends(n, g, dim, 0.5), dim=dim, n=n, norm=SWAPPED[norm])


@primitive(
    meta=_half_meta,
    triton="fft.r2c",
    vjp=_r2c_vjp,
    samples=lambda s: [
        s((3, 4), dim=1, norm="backward"),
        s((5, 2), dim=0, norm="ortho"),
        s((6,), dim=0, norm="forward"),
        s((1,), dim=0, norm="backward"),
    ],
)
def fft_r2c(x: Any, *, dim: int, norm: str) -> Any:
    """The first half of the spectrum of a real tensor along `dim`; the rest is its mirror image."""
    return _run("rfft", x, axis=dim, norm=norm)


def _whole_meta(x: Tensor, *, dim: int, n: int, norm: str) -> tuple:
    shape = list(x._data.shape)
    shape[dim] = n
    return tuple(shape), x.dtype.to_real()


def _c2r_vjp(g: Tensor, dim: int, n: int, norm: str) -> Tensor:
    out = fft_r2c(g, dim=dim, norm=SWAPPED[norm])
    return out * _ends(n, out, dim, 2.0)


@primitive(
    meta=_whole_meta,
    triton="fft.c2r",
    vjp=_c2r_vjp,
    samples=lambda s: [
        s(s.reals((3, 3)) + 1j * s.reals((3, 3)), dim=1, n=4, norm="backward"),
        s(s.reals((3, 2)) + 1j * s.reals((3, 2)), dim=0, n=5, norm="ortho"),
        s(s.reals((1,)) + 1j * s.reals((1,)), dim=0, n=1, norm="forward"),
    ],
)
def fft_c2r(x: Any, *, dim: int, n: int, norm: str) -> Any:
    """The real tensor of `n` samples along `dim` whose half spectrum is `x`."""
    return _run("irfft", x, n=n, axis=dim, norm=norm)


for _op in (fft_c2c, fft_r2c, fft_c2r):
    _op.deny = ("float16", "bfloat16")  # which have no complex dtype here


# -- arguments -----------------------------------------------------------------------------------


def checked_norm(name: str, norm: str | None) -> str:
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(
            f'{name}: Invalid normalization mode: "{norm}"; expected "forward", "backward" or '
            '"ortho"'
        )
    return norm or "backward"


def floating(name: str, x: Tensor, need_complex: bool = False) -> Tensor:
    """The input as a floating-point or complex tensor; 16-bit floats have no transform."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    if x.dtype.category < 2:
        from .. import dtypes

        x = x.to(dtypes.get_default_dtype())  # type: ignore[attr-defined]
    if x.dtype.itemsize < 4:
        raise RuntimeError(f"{name}: Unsupported dtype {x.dtype.name}")
    return x.to(x.dtype.to_complex()) if need_complex else x  # type: ignore[attr-defined]


def real(name: str, x: Tensor) -> Tensor:
    """The input as a real floating-point tensor."""
    if isinstance(x, Tensor) and x.dtype.is_complex:
        raise RuntimeError(f"{name}: expects a real input tensor, but got {x.dtype.name}")
    return floating(name, x)


def resized(name: str, x: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """`x` cut or padded with zeros to `sizes` along `dims`; -1 keeps a size."""
    shape = x._data.shape
    pad = [0] * (2 * len(shape))
    for d, n in zip(dims, sizes, strict=True):
        n = shape[d] if n == -1 else n
        if n < 1:
            raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")
        pad[2 * (len(shape) - 1 - d) + 1] = n - shape[d]
    if not any(pad):
        return x
    from .pad import constant_pad_nd

    return constant_pad_nd(x, pad)


def axis(name: str, x: Tensor, dim: int) -> int:
    """`dim` counted from the front; a tensor of no dimensions has none to transform."""
    if not x._data.ndim:
        raise IndexError(
            f"{name}: Dimension specified as {dim} but tensor has no dimensions; "
            "expected at least one"
        )
    return errors.wrap_dim(name, dim, x._data.shape)


def axes(
    name: str, x: Tensor, s: Sequence[int] | int | None, dim: Sequence[int] | int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The dimensions of a transform over several, and their sizes (-1: as they are)."""
    shape = x._data.shape
    s = (s,) if isinstance(s, int) else None if s is None else tuple(s)
    dim = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
    if dim is not None:
        if dim and not shape:
            axis(name, x, dim[0])
        dims = tuple(errors.wrap_dim(name, d, shape) for d in dim)
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"{name}: FFT dims must be unique, got {dim}")
        if s is not None and len(s) != len(dims):
            raise RuntimeError(
                f"{name}: When given, dim and shape arguments must have the same length, got dim "
                f"{dim} and s {s}"
            )
    elif s is not None:
        if len(s) > len(shape):
            raise RuntimeError(
                f"{name}: Got shape with {len(s)} values but input tensor only has {len(shape)} "
                "dimensions."
            )
        dims = tuple(range(len(shape) - len(s), len(shape)))
    else:
        dims = tuple(range(len(shape)))
    sizes = (-1,) * len(dims) if s is None else s
    for d, n in zip(dims, sizes, strict=True):
        if (shape[d] if n == -1 else n) < 1:
            raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")
    return dims, sizes
