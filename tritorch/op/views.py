"""Views: operators that change metadata only, so that their results share the input's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import inplace
from ..autograd.mode import state
from ..autograd.node import OpNode
from ..tensor import Tensor, View, wrap
from .record import InPlace, Op


class ViewOp(Op):
    """An operator that changes metadata only: its result shares the input's storage."""

    is_view = True
    overlaps = False  # whether one element of the input can appear twice in the view
    absolute = False  # whether it is a view of the memory, whatever part of it the input is

    def __init__(self, *args: Any, result: Callable | None = None, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.result = result

    def __call__(self, x: Tensor, **params: Any) -> Any:
        if state.transforms:
            return state.transforms[-1](self, (x,), params)
        try:
            data = x._data
        except AttributeError:
            raise TypeError(f"{self.name}: expected a Tensor, got {type(x).__name__}") from None
        dtype = x.dtype if self.result is None else self.result(x.dtype)
        try:
            out = wrap(self.cpu(data, **params), dtype)  # type: ignore[misc]
        except Exception as error:
            self.explain(error, (x,), params)
            raise
        share(out, x, self, params)
        if state.grad:
            edge = x._edge if x._view is None else x.current_edge()
            if edge is not None:
                node = OpNode(self, (edge,), ((out._data.shape, out.dtype),), None, params)
                node.saved = self.rules.save((x,), (out,), (edge,))  # type: ignore[union-attr]
                out._edge = (node, 0)
        return out

    def compute(self, inputs: Sequence, params: dict) -> Any:
        return self.cpu(inputs[0]._data, **params)  # type: ignore[misc]

    def inplace(self, *inputs: Any, **params: Any) -> Tensor:
        """Change the metadata of the tensor itself."""
        if state.transforms:
            return state.transforms[-1](InPlace(self), inputs, params)
        x = inputs[0]
        out = self(x, **params)
        if state.grad and x.requires_grad:
            inplace.check(self.name + "_", x)
        x._data = out._data
        if x._view is not None:
            x._view, x._edge = out._view, out._edge
        elif out._edge is not None:
            x._edge = out._edge
        x.storage_.bump(self.name + "_")
        if x._view is not None:
            x._view.version = x.storage_.version
        return x


def share(out: Tensor, x: Tensor, op: Callable, params: dict) -> None:
    """Make `out` a view of `x`."""
    if "_inference" in x.__dict__:
        out._inference = True
    storage = out._storage = x.storage_
    out._base = x if x._base is None else x._base
    view = out._view = View(op, params, x._view, storage.version)
    if x._view is not None:
        view.forbidden = x._view.forbidden
    if not state.grad and view.forbidden is None:
        view.forbidden = "no_grad"


alias = ViewOp(
    "alias",
    ("x",),
    cpu=lambda x: x[...],
    vjp=lambda g: g,
    exact=True,
    samples=lambda s: [s((2, 3)), s(())],
    doc="The same tensor as a view of itself.",
)
