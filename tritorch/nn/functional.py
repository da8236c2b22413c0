"""The functions of neural networks: every operator that `tritorch.ops` publishes for here."""

from __future__ import annotations

from collections.abc import Callable

from ..ops import multihead
from ..ops.api import FUNCTIONAL
from ..ops.scaled import ScalingType as ScalingType, SwizzleType as SwizzleType

globals().update(FUNCTIONAL)
_canonical_mask = multihead.canonical_mask  # which copies of PyTorch's layer use
_in_projection_packed = multihead._projected
__all__ = sorted(FUNCTIONAL)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Callable:
    if name in FUNCTIONAL:
        return FUNCTIONAL[name]
    raise AttributeError(f"module 'tritorch.nn.functional' has no attribute {name!r}")
