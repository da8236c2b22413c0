"""The Fourier transform of overlapping windows of a signal, and its inverse by least squares."""

from __future__ import annotations

import warnings
from typing import Any

from ..op import users_level
from ..tensor import Tensor
from .api import public
from .fft import fft_c2c, fft_c2r, fft_r2c
from .pad import constant_pad_nd
from .strided import _unfold
from .view import put_back


def _fail(name: str, text: str) -> RuntimeError:
    return RuntimeError(f"{name}: {text}")


def _window_of(name: str, window: Tensor | None, n_fft: int, win_length: int) -> Tensor | None:
    """The window centred in `n_fft` zeros."""
    if window is None:
        warnings.warn(
            f"{name}: A window was not provided. A rectangular window will be applied; give "
            "window=torch.ones(win_length) to say that it is wanted.",
            stacklevel=users_level(),
        )
        if win_length == n_fft:
            return None
        from .create import ones

        window = ones(win_length)
    elif window._data.ndim != 1 or window._data.shape[0] != win_length:
        raise _fail(
            name,
            f"expected a 1D window tensor of size equal to win_length={win_length}, but got "
            f"window with size {tuple(window.shape)}",
        )
    left = (n_fft - win_length) // 2
    return constant_pad_nd(window, (left, n_fft - win_length - left))


def _lengths(
    name: str, n_fft: int, hop_length: int | None, win_length: int | None
) -> tuple[int, int]:
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    if hop <= 0:
        raise _fail(name, f"expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win <= n_fft:
        raise _fail(
            name, f"expected 0 < win_length <= n_fft, but got win_length={win}, n_fft={n_fft}"
        )
    return hop, win


@public()
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The short-time Fourier transform of `(L)` or `(B, L)`: `(B, frequencies, frames)`.

    Frame t is `n_fft` samples from `t * hop_length`, times `window`. `center` pads the signal by
    `n_fft / 2` on both sides; `normalized` divides by `sqrt(n_fft)`.

    Example:
        >>> import tritorch as torch
        >>> torch.stft(torch.ones(8), 4, window=torch.ones(4), return_complex=True).shape
        tritorch.Size([3, 9])
    """
    whole = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not whole:
            raise _fail("stft", "requires the return_complex parameter be given for real inputs")
        return_complex = True
    if center and align_to_window is not None:
        raise _fail("stft", "align_to_window should only be set when center = false")
    hop, win = _lengths("stft", n_fft, hop_length, win_length)
    frames = _frames(input, n_fft, hop, win, center, pad_mode, bool(align_to_window))
    taper = _window_of("stft", window, n_fft, win)
    if taper is not None:
        frames = frames * taper.to(frames.device)  # type: ignore[attr-defined]
    half = not whole if onesided is None else onesided
    if half and whole:
        raise _fail("stft", "Cannot have onesided output if window or input is complex")
    norm = "ortho" if normalized else "backward"
    if half:
        out = fft_r2c(frames, dim=2, norm=norm)
    else:
        frames = frames.to(frames.dtype.to_complex())  # type: ignore[attr-defined]
        out = fft_c2c(frames, dims=(2,), inverse=False, norm=norm)
    out = out.transpose(1, 2)  # type: ignore[attr-defined]
    out = out if input._data.ndim == 2 else out.squeeze(0)
    return out if return_complex else out.view_as_real()


def _frames(
    input: Tensor, n_fft: int, hop: int, win: int, center: bool, pad_mode: str, align: bool
) -> Tensor:
    """The overlapping pieces of the signal: `(B, frames, n_fft)`."""
    if input.dtype.category < 2 or input._data.ndim not in (1, 2):
        raise _fail(
            "stft",
            "expected a tensor of floating point or complex values of 1 or 2 dimensions, got "
            f"{input.dtype} of shape {tuple(input.shape)}",
        )
    x: Any = input if input._data.ndim == 2 else input.unsqueeze(0)  # type: ignore[attr-defined]
    if center:
        from .pad import pad

        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    length = x._data.shape[1]
    if align:
        before = (n_fft - win) // 2
        x = constant_pad_nd(x, (before, n_fft - win - before))
        length = x._data.shape[1]
    if not 0 < n_fft <= length:
        raise _fail(
            "stft", f"expected 0 < n_fft <= {length}, but got n_fft={n_fft} for "
            f"input of shape {tuple(input.shape)}"
        )  # fmt: skip
    return x.unfold(1, n_fft, hop)


@public()
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose `stft` is nearest to `input`: frames added up, over the windows' squares.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984.

    Example:
        >>> import tritorch as torch
        >>> spectrum = torch.stft(torch.ones(8), 4, window=torch.ones(4), return_complex=True)
        >>> torch.istft(spectrum, 4, window=torch.ones(4))
        tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    hop, win = _lengths("istft", n_fft, hop_length, win_length)
    x = _spectrum(input, n_fft, hop, win, window, onesided, return_complex)
    taper = _window_of("istft", window, n_fft, win)
    norm = "ortho" if normalized else "backward"
    if return_complex:
        frames = fft_c2c(x, dims=(1,), inverse=True, norm=norm)
    else:  # of a whole spectrum its first half decides
        frames = fft_c2r(x[:, : n_fft // 2 + 1], dim=1, n=n_fft, norm=norm)
    kind = frames.dtype
    if taper is not None:
        frames = frames * taper.reshape(-1, 1)  # type: ignore[attr-defined]
    if taper is None:
        from .create import ones

        taper = ones(n_fft, dtype=kind.to_real(), device=frames.device)
    signal = _overlap(frames, hop)
    square = (taper * taper).reshape(1, -1, 1)  # type: ignore[attr-defined]
    weight = _overlap(square.expand(1, n_fft, x._data.shape[2]), hop)
    signal, weight = _trimmed(signal, weight, n_fft, center, length)
    if bool((weight.abs() < 1e-11).any()):  # type: ignore[attr-defined]
        raise _fail("istft", f"window overlap add min: {float(weight.abs().min())}")  # type: ignore[attr-defined]
    out = signal / weight
    if length is not None and out._data.shape[1] < length:
        out = constant_pad_nd(out, (0, length - out._data.shape[1]))
    return out if input._data.ndim == (3 if input.dtype.is_complex else 4) else out.squeeze(0)  # type: ignore[attr-defined]


def _onesided(x: Tensor, n_fft: int, onesided: bool | None, return_complex: bool) -> bool:
    half = x._data.shape[1] != n_fft if onesided is None else onesided
    if half and return_complex:
        raise _fail("istft", "complex output is not available for a onesided input")
    return half


def _spectrum(
    input: Tensor, n_fft: int, hop: int, win: int, window: Tensor | None,
    onesided: bool | None, return_complex: bool,
) -> Tensor:  # fmt: skip
    """The input as complex `(B, frequencies, frames)`, checked."""
    if not input.dtype.is_complex:
        raise _fail("istft", "requires a complex-valued input tensor matching the output from stft "
                    f"with return_complex=True, got {input.dtype}")  # fmt: skip
    if not input._data.size:
        raise _fail("istft", f"input tensor cannot be empty, got shape {tuple(input.shape)}")
    if input._data.ndim not in (2, 3):
        raise _fail("istft", f"expected a tensor with 2 or 3 dimensions, got {tuple(input.shape)}")
    if window is not None and window.dtype.is_complex and not return_complex:
        raise _fail("istft", "a complex window needs return_complex=True")
    x = input if input._data.ndim == 3 else input.unsqueeze(0)  # type: ignore[attr-defined]
    n = x._data.shape[1]
    expected = n_fft // 2 + 1 if _onesided(x, n_fft, onesided, return_complex) else n_fft
    if n != expected:
        raise _fail("istft", f"expected the frequency dimension (3rd to the last) of the input "
                    f"tensor to be {expected} for n_fft={n_fft}, but got {n}")  # fmt: skip
    if not 0 < hop <= win:
        raise _fail("istft", f"expected 0 < hop_length <= win_length, got {hop} and {win}")
    return x


def _overlap(frames: Tensor, hop: int) -> Tensor:
    """Frames `(B, n, T)` added up at distances of `hop`: `(B, n + hop (T - 1))`."""
    b, n, t = frames._data.shape
    shape = (b, n + hop * (t - 1))
    return put_back(frames.transpose(1, 2), shape, _unfold, dim=1, size=n, step=hop)  # type: ignore[attr-defined]


def _trimmed(
    signal: Tensor, weight: Tensor, n_fft: int, center: bool, length: int | None
) -> tuple[Tensor, Tensor]:
    """Both without what `center` padded, and no longer than `length`."""
    total = signal._data.shape[1]
    start = n_fft // 2 if center else 0
    end = total - start if length is None else min(start + length, total)
    if end <= start:
        raise _fail("istft", f"expected more than {start} samples, got {total}")
    return signal[:, start:end], weight[:, start:end]
