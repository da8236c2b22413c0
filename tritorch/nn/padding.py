"""Padding layers: amounts are given from the last dimension on, before and after each."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from ._layer import ntuple
from .module import Module


class _Pad(Module):
    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims
        if input.ndim not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.ndim}D input)")
        return F.pad(input, self.padding, "circular")


class CircularPad1d(_CircularPad):
    """Pads the last dimension with its other end."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dimensions with their other ends."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dimensions with their other ends."""

    _dims = 3


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Pads the last dimension with its mirror image, without the border itself."""

    _dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Pads the last two dimensions with their mirror images, without the borders themselves."""

    _dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Pads the last three dimensions with their mirror images, without the borders themselves."""

    _dims = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Pads the last dimension with its border."""

    _dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Pads the last two dimensions with their borders."""

    _dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Pads the last three dimensions with their borders."""

    _dims = 3


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads the last dimension with a value."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dimensions with a value."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dimensions with a value."""

    _dims = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Pads the last dimension with zeros."""


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Pads the last two dimensions with zeros."""


class ZeroPad3d(_ZeroPad, ConstantPad3d):
    """Pads the last three dimensions with zeros."""
