"""History of tensors that are changed in place, and of the views that share their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..formats import contiguous_format
from ..tensor import Tensor, View, wrap
from .engine import fit
from .mode import state
from .node import AccumulateGrad, InnerNode, Node, NodeName, OpNode
from .rules import RESULT


class CopySlices(Node):
    """The base's history after a view of it was changed in place by `node`.

    The gradient outside of the view passes unchanged; inside it goes through `node`.
    """

    __slots__ = ("freed", "node", "strides", "view")
    name = NodeName("CopySlices")

    def __init__(self, base: Tensor, view: View, node: Node) -> None:
        super().__init__((base._edge, *node.edges[1:]), ((base._data.shape, base.dtype),))
        self.view, self.node, self.freed = view, node, False
        data: Any = base
        self.strides = None if data.is_contiguous() else data.stride()
        if isinstance(node, OpNode):  # of its own class, or of one that has its name
            node.__class__ = InnerNode

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        if grads[0] is None:
            return (None,) * len(self.edges)
        if self.freed:
            raise RuntimeError(
                f"{self.node.name}: Trying to backward through the graph a second time. Specify "
                "retain_graph=True if you need to backward through the graph a second time"
            )
        result = self._in_geometry(grads[0])
        inside = self.view.replay(result)
        needs = [self.node.edges[0] is not None, *needs[1:]]
        saved: Any = None
        if state.grad and isinstance(self.node, InnerNode) and self.view.absolute():
            saved = self.node.saved
        if saved:
            saved[RESULT] = self._changed(result)
        try:
            found: Any = self.node.backward([inside.clone()], needs)
        finally:
            if saved:
                saved.pop(RESULT, None)
        found = found if isinstance(found, tuple | list) else (found,)
        if found[0] is None:
            inside.zero_()
        else:
            inside.copy_(fit(found[0], inside._data.shape, inside.dtype, self.node.name))
        return (result, *found[1:])

    def _changed(self, like: Any) -> Any:
        """The edge of what the node wrote, as a view of the base: its own inputs know less."""
        base = wrap(like._data, self.outputs[0][1])
        base._edge = (self, 0)
        return self.view.replay(base)._edge

    def _in_geometry(self, grad: Any) -> Any:
        """A copy with the strides of the base, of which alone the view can be taken."""
        if self.strides is None:
            return grad.clone(memory_format=contiguous_format)
        return grad.new_empty_strided(grad.shape, self.strides).copy_(grad)

    def release(self) -> None:
        self.freed = True


def check(op: str, x: Tensor) -> None:
    """Refuse to change `x` in place by a recorded operator where PyTorch does."""
    view = x._view
    if view is None:
        if x._edge is not None and type(x._edge[0]) is AccumulateGrad:
            raise RuntimeError(
                f"{op}: a leaf Variable that requires grad is being used in an in-place operation."
            )
        return
    if view.forbidden == "multi":
        raise RuntimeError(
            f"{op}: this view is the output of a function that returns multiple views. Such "
            "functions do not allow the output views to be modified inplace. You should replace "
            "the inplace operation by an out-of-place one."
        )
    if view.forbidden == "function":
        raise RuntimeError(
            f"{op}: a view that a custom Function returned may not be modified inplace: that would "
            "override its backward. Return a clone() of the view from it"
        )
    if view.forbidden == "no_grad":
        raise RuntimeError(
            f"{op}: A view was created in no_grad mode and is being modified inplace with grad "
            "mode enabled. Move both inside the no_grad block, or both outside."
        )
    base: Any = x._base
    if any(e is not None and type(e[0]) is AccumulateGrad for e in (x._edge, base._edge)):
        raise RuntimeError(
            f"{op}: a view of a leaf Variable that requires grad is being used in an in-place "
            "operation."
        )


def rebase(x: Tensor, node: Node) -> None:
    """Make `node` the history of `x` and, where it is a view, of the memory it shares."""
    if x._view is None:
        x._edge = (node, 0)
        x.move_retained()
        return
    base: Any = x._base
    base._edge = (CopySlices(base, x._view, node), 0)
    base.move_retained()
    x._edge = None
