"""Which implementations of `scaled_dot_product_attention` may run: the fused one, the composition.

PyTorch knows three fused ones for GPUs; here there is one for them all, and one for CPUs, which
counts as flash attention there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .attention import CHOICE, attention_op

MATH, FLASH, EFFICIENT, CUDNN, OVERRIDEABLE = range(5)
ALL = frozenset(range(5))


class _Choice(threading.local):
    """The implementations that may run in this thread, those to be preferred first."""

    enabled: frozenset[int] = ALL
    order: tuple[int, ...] = (FLASH, EFFICIENT, MATH, CUDNN, OVERRIDEABLE)


choice = _Choice()


def set_enabled(enabled: frozenset[int], order: tuple[int, ...] | None = None) -> None:
    """Allow these implementations, and no others."""
    choice.enabled = enabled
    if order is not None:
        choice.order = order
    CHOICE.choose = None if enabled == ALL else _chosen


def switch(kind: int, on: bool) -> None:
    """Allow one implementation, or not."""
    set_enabled(choice.enabled | {kind} if on else choice.enabled - {kind})


def _chosen(query: Any) -> Callable:
    """What runs for these queries; RuntimeError where nothing may."""
    fused = {FLASH} if query.is_cpu else {FLASH, EFFICIENT, CUDNN}
    for kind in choice.order:
        if kind in choice.enabled:
            if kind in fused:
                return attention_op
            if kind == MATH:
                return attention_op.ref  # type: ignore[return-value]
    raise RuntimeError(
        "scaled_dot_product_attention: No viable backend for scaled_dot_product_attention was "
        f"found for tensors on {query.device}: only "
        f"{sorted(NAMES[k] for k in choice.enabled) or 'none'} may run. Allow MATH or "
        "FLASH_ATTENTION too"
    )


NAMES = {
    MATH: "MATH",
    FLASH: "FLASH_ATTENTION",
    EFFICIENT: "EFFICIENT_ATTENTION",
    CUDNN: "CUDNN_ATTENTION",
    OVERRIDEABLE: "OVERRIDEABLE",
}
