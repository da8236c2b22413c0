"""What simple layers share: a `repr` made of their attributes, and their parameters."""

from __future__ import annotations

import math
from typing import Any

from ..ops import create
from . import init
from .module import Module
from .parameter import Parameter


class Layer(Module):
    """A module whose `repr` shows the attributes that `_shown` names, and `inplace` if set."""

    _shown: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in self._shown]
        if self.__dict__.get("inplace"):
            shown.append("inplace=True")
        return ", ".join(shown)


def parameter(module: Module, name: str, shape: Any, wanted: bool, device: Any, dtype: Any) -> None:
    """Register an uninitialised parameter, or None under its name where it is not wanted."""
    made = Parameter(create.empty(shape, device=device, dtype=dtype)) if wanted else None
    module.register_parameter(name, made)


def reset_affine(module: Any) -> None:
    """Weight 1 and bias 0, where there are any."""
    if module.weight is not None:
        init.ones_(module.weight)
    if getattr(module, "bias", None) is not None:
        init.zeros_(module.bias)


def reset_linear(module: Any) -> None:
    """PyTorch's default: weight and bias uniform in [-b, b] with `b = 1 / sqrt(fan_in)`."""
    init.kaiming_uniform_(module.weight, a=math.sqrt(5))
    if module.bias is not None:
        fan_in, _ = init._calculate_fan_in_and_fan_out(module.weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
        init.uniform_(module.bias, -bound, bound)


def ntuple(value: Any, n: int) -> tuple:
    """A number n times, or a sequence as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * n
