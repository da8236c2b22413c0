"""`torch.nn.modules`: the names of `tritorch.nn`, and hooks of all modules in `module`."""

from typing import Any

from . import module as module


def __getattr__(name: str) -> Any:
    from ... import nn

    names = vars(nn)
    if name in names and not name.startswith("__"):
        return names[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
