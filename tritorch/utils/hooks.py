"""What hooks are removed by, and hooks that are not saved, under the name of PyTorch's file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..autograd.node import RemovableHandle as RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


def unserializable_hook(f: Callable) -> Callable:
    """Marks a hook that is not saved with its tensor, as none is: `warn_if_has_hooks` is silent."""
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warns of each hook of a tensor that will not be saved with it."""
    edge = tensor._edge
    hooks = None if edge is None else edge[0].hooks
    for _, hook in [] if hooks is None else list(hooks.calls["tensor"].values()):
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized. If this is expected, "
                "you can decorate the function with @torch.utils.hooks.unserializable_hook to "
                "suppress this warning",
                stacklevel=2,
            )
