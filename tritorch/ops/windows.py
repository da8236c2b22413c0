"""Window functions: `torch.hann_window` and its like, and those of `torch.signal.windows`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..formats import strided
from ..tensor import Tensor
from .api import PUBLIC, SPACES
from .create import finish, from_numpy

# -- formulas ------------------------------------------------------------------------------------
# Each gives `m` values; `span` is the distance of the first from the last of the symmetric window.


def _cosines(m: int, span: float, a: Iterable[float]) -> np.ndarray:
    """`sum_i (-1)^i a_i cos(2 pi i k / span)`."""
    k = np.arange(m) * (2 * np.pi / span)
    return np.sum([(-1) ** i * w * np.cos(i * k) for i, w in enumerate(a)], axis=0)


def _kaiser(m: int, span: float, beta: float) -> np.ndarray:
    """`I0(beta sqrt(1 - x^2)) / I0(beta)` for x from -1 to 1."""
    x = 2 * np.arange(m) / span - 1
    return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)


def _exponential(m: int, span: float, center: float | None, tau: float) -> np.ndarray:
    middle = span / 2 if center is None else center
    return np.exp(-np.abs(np.arange(m) - middle) / tau)


def _gaussian(m: int, span: float, std: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(m) - span / 2) / std) ** 2)


def _bartlett(m: int, span: float) -> np.ndarray:
    return 1 - np.abs(2 * np.arange(m) / span - 1)


def _cosine(m: int, span: float) -> np.ndarray:
    return np.sin(np.pi * (np.arange(m) + 0.5) / (span + 1))


BLACKMAN = (0.42, 0.5, 0.08)
NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


def _window(m: int, periodic: bool, formula: Callable, *args: Any) -> np.ndarray:
    if m < 2:
        return np.ones(m)
    return formula(m, float(m if periodic else m - 1), *args)


def _made(values: np.ndarray, dtype: DType, device: Any, requires_grad: bool) -> Tensor:
    out = from_numpy(values.astype(dtype.np))
    return finish(out, device, requires_grad)


# -- torch.*_window ------------------------------------------------------------------------------


def _checked(name: str, length: int, dtype: DType | None) -> DType:
    if not isinstance(length, int):
        raise TypeError(f"{name}(): argument 'window_length' must be int, not {length!r}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got {length}")
    dtype = dtype or dtypes.get_default_dtype()
    if dtype.category != 2:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    return dtype


def _simple(name: str, doc: str, formula: Callable, *args: Any) -> None:
    """Publish `name(window_length, periodic=True, *, dtype, ...)`."""

    def window(
        window_length: int,
        periodic: bool = True,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        kind = _checked(name, window_length, dtype)
        return _made(_window(window_length, periodic, formula, *args), kind, device, requires_grad)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    PUBLIC[name] = window


_simple("hann_window", "`sin(pi k / n)^2`; for k < n, or to n - 1 and not periodic.",
        _cosines, (0.5, 0.5))  # fmt: skip
_simple("blackman_window", "`0.42 - 0.5 cos(2 pi k / n) + 0.08 cos(4 pi k / n)`.",
        _cosines, BLACKMAN)  # fmt: skip
_simple("bartlett_window", "A triangle: `1 - |2 k / n - 1|`.", _bartlett)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`alpha - beta cos(2 pi k / n)`.

    Example:
        >>> import tritorch as torch
        >>> torch.hamming_window(4)
        tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    kind = _checked("hamming_window", window_length, dtype)
    values = _window(window_length, periodic, _cosines, (alpha, beta))
    return _made(values, kind, device, requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`I0(beta sqrt(1 - x^2)) / I0(beta)` for x from -1 to 1.

    Example:
        >>> import tritorch as torch
        >>> torch.kaiser_window(3, periodic=False)
        tensor([5.2773e-05, 1.0000e+00, 5.2773e-05])
    """
    kind = _checked("kaiser_window", window_length, dtype)
    values = _window(window_length, periodic, _kaiser, beta)
    return _made(values, kind, device, requires_grad)


PUBLIC.update(hamming_window=hamming_window, kaiser_window=kaiser_window)

# -- torch.signal.windows ------------------------------------------------------------------------


def _signal_window(
    name: str, M: int, sym: bool, dtype: DType | None, device: Any, requires_grad: bool,
    formula: Callable, *args: Any,
) -> Tensor:  # fmt: skip
    kind = dtype or dtypes.get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if kind.name not in ("float32", "float64"):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {kind}")
    return _made(_window(M, not sym, formula, *args), kind, device, requires_grad)


def _in_signal(f: Callable) -> Callable:
    """Publish a window, which is made strided only."""

    @functools.wraps(f)
    def window(*args: Any, layout: Any = None, **kwargs: Any) -> Tensor:
        if layout is not None and layout is not strided:
            raise ValueError(f"{f.__name__} is implemented for strided tensors only, got: {layout}")
        return f(*args, **kwargs)

    SPACES["signal.windows"][f.__name__] = window
    return window


def _plain(name: str, doc: str, formula: Callable, *args: Any) -> None:
    """Publish `name(M, *, sym=True, dtype, ...)` of `torch.signal.windows`."""

    def window(
        M: int,
        *,
        sym: bool = True,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        return _signal_window(name, M, sym, dtype, device, requires_grad, formula, *args)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    _in_signal(window)


_plain("bartlett", "A triangle: `1 - |2 k / n - 1|`; n is M - 1, or M where not `sym`.", _bartlett)
_plain("blackman", "`0.42 - 0.5 cos(2 pi k / n) + 0.08 cos(4 pi k / n)`.", _cosines, BLACKMAN)
_plain("cosine", "`sin(pi (k + 1/2) / (n + 1))`.", _cosine)
_plain("hamming", "`0.54 - 0.46 cos(2 pi k / n)`.", _cosines, (0.54, 0.46))
_plain("hann", "`sin(pi k / n)^2`.", _cosines, (0.5, 0.5))
_plain("nuttall", "Four cosines with the least side lobes (Nuttall, 1981).", _cosines, NUTTALL)


@_in_signal
def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`exp(-|k - center| / tau)`; only a window that is not symmetric may have a `center`."""
    if tau <= 0:
        raise ValueError(f"exponential: Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("exponential: Center must be None for symmetric windows")
    return _signal_window(
        "exponential", M, sym, dtype, device, requires_grad, _exponential, center, tau
    )


@_in_signal
def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`exp(-((k - n / 2) / std)^2 / 2)`."""
    if std <= 0:
        raise ValueError(f"gaussian: Standard deviation must be positive, got: {std} instead.")
    return _signal_window("gaussian", M, sym, dtype, device, requires_grad, _gaussian, std)


@_in_signal
def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`I0(beta sqrt(1 - x^2)) / I0(beta)` for x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"kaiser: beta must be non-negative, got: {beta} instead.")
    return _signal_window("kaiser", M, sym, dtype, device, requires_grad, _kaiser, beta)


@_in_signal
def general_cosine(
    M: int,
    *,
    a: Iterable[float],
    sym: bool = True,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`sum_i (-1)^i a_i cos(2 pi i k / n)`."""
    if not isinstance(a, Iterable):
        raise TypeError("general_cosine: Coefficients must be a list/tuple")
    a = tuple(a)
    if not a:
        raise ValueError("general_cosine: Coefficients cannot be empty")
    return _signal_window("general_cosine", M, sym, dtype, device, requires_grad, _cosines, a)


@_in_signal
def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`alpha - (1 - alpha) cos(2 pi k / n)`.

    Example:
        >>> import tritorch as torch
        >>> torch.signal.windows.general_hamming(3, alpha=0.5)
        tensor([0., 1., 0.])
    """
    return general_cosine(
        M, a=(alpha, 1 - alpha), sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )
