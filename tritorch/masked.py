"""Operations on the elements where a mask is true: `torch.masked`, from `ops/masked.py`."""

from __future__ import annotations

from .ops.api import SPACES

globals().update(SPACES["masked"])
__all__ = sorted(SPACES["masked"])  # pyright: ignore[reportUnsupportedDunderAll]
