"""The functions of `torch.fft`, on the transforms of `ops/fft.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import errors
from ..dtypes import DType
from ..tensor import Tensor
from .api import public
from .fft import (
    SWAPPED,
    axes,
    axis,
    checked_norm,
    fft_c2c,
    fft_c2r,
    fft_r2c,
    floating,
    real,
    resized,
)
from .ranges import arange
from .rearrange import roll

Sizes = Sequence[int] | int | None
published = public(out=True, space="fft")


# -- the kinds of transforms ---------------------------------------------------------------------


def _c2c(name: str, x: Tensor, s: Sizes, dim: Sizes, norm: str | None, inverse: bool) -> Tensor:
    mode = checked_norm(name, norm)
    x = floating(name, x, need_complex=True)
    dims, sizes = axes(name, x, s, dim)
    return fft_c2c(resized(name, x, dims, sizes), dims=dims, inverse=inverse, norm=mode)


def _r2c(name: str, x: Tensor, s: Sizes, dim: Sizes, norm: str | None, inverse: bool) -> Tensor:
    """The last dimension real to complex, then the others; the inverse gives conjugates."""
    mode = checked_norm(name, norm)
    x = real(name, x)
    dims, sizes = axes(name, x, s, dim)
    if not dims:
        raise RuntimeError(f"{name}: must transform at least one axis")
    x = resized(name, x, dims, sizes)
    out = fft_r2c(x, dim=dims[-1], norm=SWAPPED[mode] if inverse else mode)
    if inverse:
        out = out.conj()  # type: ignore[attr-defined]
    return fft_c2c(out, dims=dims[:-1], inverse=inverse, norm=mode) if dims[1:] else out


def _c2r(name: str, x: Tensor, s: Sizes, dim: Sizes, norm: str | None, inverse: bool) -> Tensor:
    """All but the last dimension, then that one complex to real, of `s[-1]` samples."""
    mode = checked_norm(name, norm)
    x = floating(name, x, need_complex=True)
    dims, sizes = axes(name, x, s, dim)
    if not dims:
        raise RuntimeError(f"{name}: must transform at least one axis")
    n = 2 * (x._data.shape[dims[-1]] - 1) if sizes[-1] == -1 else sizes[-1]
    if n < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")
    x = resized(name, x, dims, (*sizes[:-1], n // 2 + 1))
    if dims[1:]:
        x = fft_c2c(x, dims=dims[:-1], inverse=inverse, norm=mode)
    if not inverse:
        x = x.conj()  # type: ignore[attr-defined]
    return fft_c2r(x, dim=dims[-1], n=n, norm=mode if inverse else SWAPPED[mode])


def _one(name: str, run: Callable, inverse: bool, doc: str) -> Callable:
    """The function `name(input, n=None, dim=-1, norm=None)`."""

    def function(
        input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None
    ) -> Tensor:
        if isinstance(input, Tensor):
            axis(name, input, dim)
        return run(name, input, None if n is None else (n,), (dim,), norm, inverse)

    return _named(name, function, doc)


def _two(name: str, run: Callable, inverse: bool, doc: str) -> Callable:
    """The function `name(input, s=None, dim=(-2, -1), norm=None)`."""

    def function(
        input: Tensor, s: Sizes = None, dim: Sequence[int] = (-2, -1), norm: str | None = None
    ) -> Tensor:
        return run(name, input, s, dim, norm, inverse)

    return _named(name, function, doc)


def _many(name: str, run: Callable, inverse: bool, doc: str) -> Callable:
    """The function `name(input, s=None, dim=None, norm=None)`."""

    def function(
        input: Tensor, s: Sizes = None, dim: Sizes = None, norm: str | None = None
    ) -> Tensor:
        return run(name, input, s, dim, norm, inverse)

    return _named(name, function, doc)


_EXAMPLES = {
    "fft": "torch.fft.fft(torch.tensor([1.0, 0.0, 0.0])).real\n        tensor([1., 1., 1.])",
    "ifft": "torch.fft.ifft(torch.ones(3)).real\n        tensor([1., 0., 0.])",
    "rfft": "torch.fft.rfft(torch.ones(4)).real\n        tensor([4., 0., 0.])",
    "irfft": "torch.fft.irfft(torch.tensor([4.0, 0.0, 0.0]))\n        tensor([1., 1., 1., 1.])",
}


_NOTES = """

    `{0}` cuts or pads with zeros; `norm` is "backward" (the inverse is divided by the number of
    samples), "forward" or "ortho". Integers become floats; 16-bit floats raise RuntimeError.
"""
_EXAMPLE = """
    Example:
        >>> import tritorch as torch
        >>> {0}
    """


def _named(name: str, f: Callable, doc: str) -> Callable:
    f.__name__ = f.__qualname__ = name
    sizes = "s" if name[-1] in "2n" else "n"
    example = _EXAMPLE.format(_EXAMPLES[name]) if name in _EXAMPLES else "    "
    f.__doc__ = doc + _NOTES.format(sizes) + example
    return published(f)


_KINDS = (
    ("fft", _c2c, False, "The Fourier transform"),
    ("ifft", _c2c, True, "The inverse Fourier transform"),
    ("rfft", _r2c, False, "The half spectrum (n / 2 + 1 in the last dimension) of a real tensor"),
    ("irfft", _c2r, True, "The real tensor of a half spectrum: the inverse of `rfft`"),
    ("hfft", _c2r, False, "The real spectrum of a Hermitian signal, given by its first half"),
    ("ihfft", _r2c, True, "The inverse of `hfft`: the first half of a Hermitian signal"),
)
for _name, _run, _inverse, _doc in _KINDS:
    _one(_name, _run, _inverse, f"{_doc}, along one dimension.")
    _two(f"{_name}2", _run, _inverse, f"{_doc}, over the last two dimensions.")
    _many(f"{_name}n", _run, _inverse, f"{_doc}, over all dimensions or `dim`.")


# -- frequencies and shifts ----------------------------------------------------------------------


def _frequencies(name: str, n: int, d: float, options: dict) -> Tensor:
    if not isinstance(n, int):
        raise TypeError(f"{name}(): argument 'n' must be int, not {type(n).__name__}")
    if n < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")
    if options.get("dtype") is None:
        from .. import dtypes

        options["dtype"] = dtypes.get_default_dtype()
    elif options["dtype"].category < 2:
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    positive = arange((n - 1) // 2 + 1 if name == "fftfreq" else n // 2 + 1, **options)
    if name == "fftfreq":
        from .join import cat

        positive = cat([positive, arange(-(n // 2), 0, **options)])
    return positive * (1.0 / (n * d))


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of `fft` of `n` samples at distance `d`: 0, 1, ..., -1, over `n d`.

    Example:
        >>> import tritorch as torch
        >>> torch.fft.fftfreq(4)
        tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    out = _frequencies("fftfreq", n, d, {"dtype": dtype, "device": device})
    return out.requires_grad_(requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of `rfft` of `n` samples at distance `d`: 0, 1, ..., n / 2, over `n d`.

    Example:
        >>> import tritorch as torch
        >>> torch.fft.rfftfreq(4)
        tensor([0.0000, 0.2500, 0.5000])
    """
    out = _frequencies("rfftfreq", n, d, {"dtype": dtype, "device": device})
    return out.requires_grad_(requires_grad)


published(fftfreq)
published(rfftfreq)


def _shift(name: str, x: Tensor, dim: Sizes, inverse: bool) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    shape = x._data.shape
    dims = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple(errors.wrap_dim(name, d, shape) for d in dims)
    if not dims:
        return x
    return roll(x, [(shape[d] + inverse) // 2 for d in dims], dims)


@public(space="fft")
def fftshift(input: Tensor, dim: Sizes = None) -> Tensor:
    """Frequency 0 moved from the front to the middle of each dimension, or of `dim`.

    Example:
        >>> import tritorch as torch
        >>> torch.fft.fftshift(torch.arange(5))
        tensor([3, 4, 0, 1, 2])
    """
    return _shift("fftshift", input, dim, False)


@public(space="fft")
def ifftshift(input: Tensor, dim: Sizes = None) -> Tensor:
    """The inverse of `fftshift`.

    Example:
        >>> import tritorch as torch
        >>> torch.fft.ifftshift(torch.arange(5))
        tensor([2, 3, 4, 0, 1])
    """
    return _shift("ifftshift", input, dim, True)
