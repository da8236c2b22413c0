"""Fourier transforms: `torch.fft`. The functions stand in `ops/fft_public.py`."""

from __future__ import annotations

from .ops.api import SPACES
from .tensor import Tensor

globals().update(SPACES["fft"])
__all__ = ["Tensor", *sorted(SPACES["fft"])]  # pyright: ignore[reportUnsupportedDunderAll]
