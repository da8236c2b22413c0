"""The modes of recording, under PyTorch's name for this module."""

from __future__ import annotations

from contextlib import ContextDecorator

from .mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "enable_grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class set_multithreading_enabled(ContextDecorator):
    """Accepted as in PyTorch: a backward pass runs in the thread that called it in any case."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass

    def clone(self) -> set_multithreading_enabled:
        """Another of the same setting."""
        return set_multithreading_enabled(self.mode)
