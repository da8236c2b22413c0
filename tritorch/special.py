"""Special functions: `torch.special`. The functions stand in `ops/special_*.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ops.api import SPACES
from .tensor import Tensor

globals().update(SPACES["special"])
__all__ = ["Tensor", *sorted(SPACES["special"])]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
