"""Linear algebra: `torch.linalg`. The functions stand in `ops/linalg_*.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ops.api import SPACES
from .ops.linalg_host import LinAlgError as LinAlgError
from .tensor import Tensor

globals().update(SPACES["linalg"])
__all__ = ["LinAlgError", "Tensor", *sorted(SPACES["linalg"])]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
