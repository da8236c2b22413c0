"""Tensors that nodes have saved, through hooks that pack them in another form until backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..tensor import Tensor, wrap
from .mode import state
from .node import Held

if TYPE_CHECKING:
    from .node import Node


class Packed(Held):
    """What the innermost pack hook made of a tensor, and how its history is put back.

    `output` is the number of the result of the node that saves, where the tensor is one.
    """

    __slots__ = ("edge", "kept", "output", "unpack_hook")

    def __init__(self, t: Tensor, output: int | None = None) -> None:
        pack, self.unpack_hook = state.saved_hooks[-1]
        self.output = output
        self.edge = t.current_edge() if output is None else None
        given = t.detach()
        version = given._version
        outer, state.grad = state.grad, False
        try:
            self.kept = pack(given)
        finally:
            state.grad = outer
        if given._version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as "
                "input to pack hook can not be modified by in-place operations as this can lead "
                "to unexpected side-effects. Give it a clone()."
            )

    def unpack(self, node: Node) -> Tensor:
        """The tensor again; with its history where the backward is recorded."""
        t = self.unpack_hook(self.kept)
        if not isinstance(t, Tensor):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of "
                f"type {type(t).__name__}"
            )
        edge = self.edge if self.output is None else (node, self.output)
        if edge is None or not state.grad or t.dtype.category < 2:
            return t
        out = wrap(t._data, t.dtype)
        out._storage, out._edge = t._storage, edge
        return out
