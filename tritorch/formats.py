"""How a tensor lies in memory: its layout, always `strided`, and the order of its dimensions."""

from __future__ import annotations

from typing import Any


class _Constant:
    """One of a few values that programs compare with `is`."""

    __slots__ = ("name",)
    suffix = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tritorch.{self.name}{self.suffix}"

    def __reduce__(self) -> str:
        return f"{self.name}{self.suffix}"

    def __copy__(self) -> _Constant:
        return self

    def __deepcopy__(self, memo: dict) -> _Constant:
        return self


class layout(_Constant):
    """How a tensor's elements are kept. The other layouts are names to compare with."""


class memory_format(_Constant):
    """The order of a strided tensor's dimensions in memory: contiguous, channels last, or kept."""


class _Named(memory_format):
    suffix = "_format"


strided, sparse_coo = layout("strided"), layout("sparse_coo")
sparse_csr, sparse_csc = layout("sparse_csr"), layout("sparse_csc")
sparse_bsr, sparse_bsc = layout("sparse_bsr"), layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format, preserve_format = _Named("contiguous"), _Named("preserve")
channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")

LAYOUTS = (strided, sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc, jagged)
CHANNELS = {channels_last: (0, 2, 3, 1), channels_last_3d: (0, 2, 3, 4, 1)}  # slowest first


def check_format(op: str, format: Any) -> memory_format:
    """`format`, or TypeError where it is no memory format."""
    if not isinstance(format, memory_format):
        raise TypeError(
            f"{op}(): argument 'memory_format' must be tritorch.memory_format, not "
            f"{type(format).__name__}"
        )
    return format


def check_layout(op: str, layout_: Any) -> None:
    """Refuse layouts other than `strided`; None is `strided`."""
    if layout_ is None or layout_ is strided:
        return
    if not isinstance(layout_, layout):
        raise TypeError(
            f"{op}(): argument 'layout' must be tritorch.layout, not {type(layout_).__name__}"
        )
    raise NotImplementedError(
        f"{op}: tensors of layout {layout_} do not exist here; use layout=tritorch.strided"
    )
