"""`torch.nested`: out of scope; its functions say what serves instead."""

from __future__ import annotations

from .ops.api import SPACES

globals().update(SPACES["nested"])
__all__ = sorted(SPACES["nested"])  # pyright: ignore[reportUnsupportedDunderAll]
