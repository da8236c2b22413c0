"""Helpers around training: data loading, checkpoints of activations, TensorBoard."""

import importlib
from typing import Any

from . import data
from ._swapping import swap_tensors

_PARTS = ("checkpoint", "dlpack", "flop_counter", "hooks", "tensorboard", "_pytree")  # at first use
__all__ = ["checkpoint", "data", "dlpack", "flop_counter", "hooks", "swap_tensors", "tensorboard"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
