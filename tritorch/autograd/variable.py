"""`Variable`, PyTorch's old name for a tensor with a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import engine

__all__ = ["Variable"]


class _Engine:
    """What runs backward passes, as far as others may reach into it."""

    @staticmethod
    def queue_callback(callback: Callable[[], Any]) -> None:
        """Call this at the end of the backward pass that is running, when all gradients are there.

        RuntimeError outside of one.
        """
        if not engine.is_running():
            raise RuntimeError("Final callbacks can only be installed during backward pass.")
        engine.running().callbacks.append(callback)


class _Meta(type):
    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_Meta):
    """`Variable(x)` is a tensor that shares the memory of x; every tensor is an instance."""

    _execution_engine = _Engine

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)
