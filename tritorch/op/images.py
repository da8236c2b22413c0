"""Operators on images and volumes: their results have channels last where their inputs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime import host, layout, parallel
from .record import Op


class Images(Op):
    """An operator whose results of four or five dimensions lie in memory as its first input does.

    The NumPy implementation gives them in either order; what comes in the other one is copied.
    """

    def channels_last(self, arrays: Sequence) -> tuple[int, ...] | None:
        """The order of the results' dimensions, None for the ordinary one."""
        return layout.channels_last(arrays[0])

    def fresh(self, spec: tuple, arrays: list, device: Any) -> Any:
        from ..runtime import accelerator

        shape, order = spec[0], self.channels_last(arrays)
        if order is None or len(order) != len(shape):
            return super().fresh(spec, arrays, device)
        out = accelerator.empty([shape[d] for d in order], spec[1], device)
        return out.transpose(layout.inverse(order))

    def _settle(self, result: Any, spec: Any, narrow: bool, arrays: Sequence) -> np.ndarray:
        order = self.channels_last(arrays)
        if order is None or len(order) != result.ndim:
            return super()._settle(result, spec, narrow, arrays)
        if narrow and spec is not None and spec[1].np != result.dtype:
            result = result.astype(spec[1].np)
        return in_order(result, order)


def in_order(x: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """`x`, its dimensions in this order in memory without gaps."""
    moved = x.transpose(order)
    if moved.flags.c_contiguous:  # the strides of dimensions with one element become PyTorch's
        return moved.reshape(-1).reshape(moved.shape).transpose(layout.inverse(order))
    out = host.empty(moved.shape, x.dtype).transpose(layout.inverse(order))
    return parallel.copy(out, x)
