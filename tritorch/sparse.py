"""`torch.sparse`: out of scope; its functions say what serves instead."""

from __future__ import annotations

from .ops.api import SPACES

globals().update(SPACES["sparse"])
__all__ = sorted(SPACES["sparse"])  # pyright: ignore[reportUnsupportedDunderAll]
