"""Where a tensor lives: `cpu`, `cuda`, `cuda:N`, `meta`."""

from __future__ import annotations

import re
from typing import Any

TYPES = ("cpu", "cuda", "meta")


class device:
    """A device: `device("cuda:1")`, `device("cuda", 1)`, `device(1)`, `device("cpu")`.

    `type` is the kind, `index` the ordinal or None. As a context manager it is the default device
    of the factory functions inside the block.

    Example:
        >>> import tritorch as torch
        >>> torch.device("cuda:1").index
        1
    """

    __slots__ = ("_outer", "index", "type")

    def __init__(self, type: str | int | device, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int):
            type, index = "cuda", type
        match = re.fullmatch(r"([a-z]+)(?::(\d+))?", type)
        if match is None or match[1] not in TYPES:
            raise RuntimeError(
                f"Expected one of {', '.join(TYPES)} device type at start of device string: {type}"
            )
        if match[2] is not None and index is not None:
            raise RuntimeError(
                f"type (string) must not include an index because index was passed "
                f"explicitly: {type}"
            )
        self.type: str = match[1]
        self.index: int | None = int(match[2]) if match[2] is not None else index
        self._outer: list[device | None] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        self._outer.append(_default[0])
        _default[0] = self
        return self

    def __exit__(self, *exc: object) -> None:
        _default[0] = self._outer.pop()


CPU = device("cpu")
META = device("meta")
_default: list[device | None] = [None]
_Device = device  # where a parameter has its name


def get_default_device() -> device:
    """The device of tensors made without `device=`."""
    return _default[0] or CPU


def placed(place: Any) -> device:
    """The device that `device=` names; the default one for None."""
    if place is None:
        return _default[0] or CPU
    return place if place.__class__ is device else device(place)


def set_default_device(device: device | str | None) -> None:
    """Set the device of tensors made without `device=`; None is the CPU."""
    _default[0] = None if device is None else _Device(device)
