"""Fourier transforms, windows and the short-time transform, against NumPy, SciPy and PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.signal

import tritorch as torch
from tritorch.autograd import gradcheck, gradgradcheck

rng = np.random.default_rng(0)
NORMS = (None, "backward", "ortho", "forward")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")


def signal(name: str, *shape: int) -> np.ndarray:
    """Real for the transforms of real tensors, complex else."""
    x = rng.standard_normal(shape)
    return x if name in ("rfft", "ihfft") else x + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ONE)
def test_one_dimension_is_numpys(name: str, norm: str | None) -> None:
    for shape, n, dim in (((5,), None, -1), ((4, 6), 7, 0), ((3, 5), 2, 1), ((2, 3, 4), None, 1)):
        x = signal(name, *shape)
        expected = getattr(np.fft, name)(x, n, dim, norm)
        got = getattr(torch.fft, name)(torch.from_numpy(x), n, dim, norm).numpy()
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "rfft2"))
def test_many_dimensions_are_numpys(name: str, norm: str | None) -> None:
    for s, dim in ((None, (0, 1)), ((3, 6), (1, 2)), ((4, 5), (-1, 0))):
        x = signal(name.rstrip("2n"), 3, 4, 5)
        expected = getattr(np.fft, name)(x, s, dim, norm)
        got = getattr(torch.fft, name)(torch.from_numpy(x), s, dim, norm).numpy()
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_dtypes_follow_the_input() -> None:
    assert torch.fft.fft(torch.ones(4)).dtype is torch.complex64
    assert torch.fft.fft(torch.ones(4, dtype=torch.float64)).dtype is torch.complex128
    assert torch.fft.rfft(torch.arange(4)).dtype is torch.complex64
    assert torch.fft.irfft(torch.ones(3, dtype=torch.complex64)).dtype is torch.float32
    assert torch.fft.fft(torch.empty(0, 3)).shape == (0, 3)


def test_out_and_large_ones() -> None:
    x = rng.standard_normal((64, 2048)).astype(np.float32)
    out = torch.empty(0, dtype=torch.complex64)
    torch.fft.fft(torch.from_numpy(x), out=out)
    np.testing.assert_allclose(out.numpy(), np.fft.fft(x), atol=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: torch.fft.fft(torch.ones(3), 0), RuntimeError, "fft: Invalid number of data"),
        (lambda: torch.fft.fft(torch.ones(3), dim=2), IndexError, "fft: Dimension out of range"),
        (lambda: torch.fft.fft(torch.tensor(1.0)), IndexError, "fft: Dimension specified"),
        (lambda: torch.fft.fft(torch.ones(3), norm="x"), RuntimeError, "fft: Invalid normal"),
        (lambda: torch.fft.rfft(torch.ones(3, dtype=torch.complex64)), RuntimeError, "rfft: exp"),
        (lambda: torch.fft.fft(torch.ones(3).half()), RuntimeError, "fft: Unsupported dtype"),
        (lambda: torch.fft.fftn(torch.ones(3), (1, 2)), RuntimeError, "fftn: Got shape"),
        (lambda: torch.fft.fftn(torch.ones(3, 3), dim=(0, 0)), RuntimeError, "must be unique"),
        (lambda: torch.fft.fftn(torch.ones(3, 3), (1,), (0, 1)), RuntimeError, "same length"),
        (lambda: torch.fft.fftfreq(0), RuntimeError, "fftfreq: Invalid number"),
        (lambda: torch.fft.fft(3), TypeError, "fft"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(call: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()  # type: ignore[operator]


def test_frequencies_and_shifts() -> None:
    for n in (1, 2, 5, 8):
        np.testing.assert_allclose(torch.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5))
        np.testing.assert_allclose(torch.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5))
    x = rng.standard_normal((3, 4))
    t = torch.from_numpy(x)
    np.testing.assert_array_equal(torch.fft.fftshift(t).numpy(), np.fft.fftshift(x))
    np.testing.assert_array_equal(torch.fft.ifftshift(t, 0).numpy(), np.fft.ifftshift(x, 0))


# -- windows -------------------------------------------------------------------------------------

SCIPY = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "exponential": {"tau": 2.5},
    "gaussian": {"std": 1.5}, "general_cosine": {"a": [0.3, 0.5, 0.2]},
    "general_hamming": {"alpha": 0.6}, "hamming": {}, "hann": {}, "kaiser": {"beta": 8.0},
    "nuttall": {},
}  # fmt: skip


@pytest.mark.parametrize("name", SCIPY)
def test_windows_are_scipys(name: str) -> None:
    for m in (0, 1, 2, 7, 12):
        for sym in (True, False):
            expected = getattr(scipy.signal.windows, name)(m, sym=sym, **SCIPY[name])
            got = getattr(torch.signal.windows, name)(
                m, sym=sym, dtype=torch.float64, **SCIPY[name]
            )
            np.testing.assert_allclose(got.numpy(), expected, atol=1e-7)


def test_windows_of_the_main_namespace() -> None:
    for name in ("hann", "hamming", "blackman", "bartlett"):
        ours = getattr(torch, f"{name}_window")(9, dtype=torch.float64)
        theirs = scipy.signal.get_window(name, 9)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)
    with pytest.raises(RuntimeError, match="hann_window requires non-negative"):
        torch.hann_window(-1)
    with pytest.raises(ValueError, match="kaiser: beta"):
        torch.signal.windows.kaiser(3, beta=-1)


# -- the short-time transform ----------------------------------------------------------------------


def cases() -> Iterator[tuple[dict, int]]:
    for center in (True, False):
        for normalized in (True, False):
            yield {"n_fft": 16, "hop_length": 4, "center": center, "normalized": normalized}, 16
    yield {"n_fft": 16, "win_length": 10, "hop_length": 3, "onesided": False}, 10


def test_istft_undoes_stft() -> None:
    for options, win in cases():
        x = torch.randn(2, 64, dtype=torch.float64)
        # A Hann window is 0 at its first sample, which no other frame covers without centring.
        window = torch.hamming_window(win, dtype=torch.float64)
        spectrum = torch.stft(x, window=window, return_complex=True, **options)
        back = torch.istft(spectrum, window=window, **options)
        n = back.shape[1]
        assert n >= 60
        torch.testing.assert_close(back, x[:, :n])


def test_gradients_of_the_short_time_transform() -> None:
    window = torch.hamming_window(4, dtype=torch.float64)
    x = torch.randn(9, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, 4, 2, window=window, return_complex=True)

    assert gradcheck(run, x) and gradgradcheck(run, x)
    y = run(x).detach().requires_grad_()
    assert gradcheck(lambda y: torch.istft(y, 4, 2, window=window), y)


def test_a_missing_window_is_noted() -> None:
    with pytest.warns(UserWarning, match="stft: A window was not provided"):
        torch.stft(torch.ones(8), 4, return_complex=True)
    with pytest.raises(RuntimeError, match="stft: requires the return_complex"):
        torch.stft(torch.ones(8), 4)
    with pytest.raises(RuntimeError, match="n_fft"):
        torch.stft(torch.ones(3), 8, center=False, return_complex=True, window=torch.ones(8))


@pytest.mark.oracle
def test_the_short_time_transform_is_pytorchs() -> None:
    oracle = pytest.importorskip("torch")
    x = rng.standard_normal((2, 50))
    w = rng.random(8) + 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for options in (
            {"n_fft": 8}, {"n_fft": 8, "hop_length": 3, "center": False}, {"n_fft": 12},
            {"n_fft": 8, "onesided": False, "normalized": True},
            {"n_fft": 8, "pad_mode": "constant"},
        ):  # fmt: skip
            win = {"win_length": 8}
            theirs = oracle.stft(
                oracle.from_numpy(x),
                window=oracle.from_numpy(w),
                return_complex=True,
                **options,
                **win,
            )
            ours = torch.stft(
                torch.from_numpy(x),
                window=torch.from_numpy(w),
                return_complex=True,
                **options,
                **win,
            )
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)
