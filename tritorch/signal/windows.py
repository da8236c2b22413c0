"""Window functions: `torch.signal.windows`. They stand in `ops/windows.py`."""

from __future__ import annotations

from ..ops.api import SPACES

globals().update(SPACES["signal.windows"])
__all__ = sorted(SPACES["signal.windows"])  # pyright: ignore[reportUnsupportedDunderAll]
