"""The tape: what an operator leaves behind so that its gradient can be computed.

A tensor's history is its *edge* `(node, index of the output)`. A node holds the edges of the
operator's inputs, so the graph is reachable from the result alone, and dies with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .node_names import class_of, name_of

if TYPE_CHECKING:
    from ..op import Op
    from ..tensor import Tensor

Edge = tuple["Node", int]


_METADATA: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


# tensors with their versions, and numbers in the place of tensors
_SAVED = frozenset((tuple, list, int, float, complex))


class Freed:
    """Stands in a node for saved tensors that a backward has used up."""


class NodeName(str):
    """The name of a node; calling it gives it too, as PyTorch's method `name` does."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)


class Held:
    """Base of what stands in a node for a saved tensor that is kept in another form."""

    __slots__ = ()


class Node:
    """One recorded call. `outputs` holds (shape, dtype) of each result, `edges` of each input."""

    __slots__ = ("__weakref__", "edges", "hooks", "outputs")
    name = NodeName("Node")

    def __init__(self, edges: Sequence[Edge | None], outputs: tuple) -> None:
        self.edges = edges
        self.outputs = outputs
        self.hooks: Hooks | None = None

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        """The gradients of the inputs that `needs` marks; None stands for zero."""
        raise TypeError(f"{self.name} has no derivative")

    def release(self) -> None:
        """Forget the saved tensors."""

    def named(self) -> Node:
        """The node as users see it."""
        return self

    @property
    def next_functions(self) -> tuple:
        return tuple((None, 0) if e is None else (e[0].named(), e[1]) for e in self.edges)

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node has run."""
        return self.all_hooks().add("post", hook)

    def register_prehook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(grad_outputs)` before this node runs."""
        return self.all_hooks().add("pre", hook)

    def all_hooks(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict for notes about the node."""
        return _METADATA.setdefault(self, {})

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


class Hooks:
    """What users have asked to be called with a node's gradients, in order of registration."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[int, tuple]] = {"tensor": {}, "pre": {}, "post": {}, "grad": {}}
        self._next = 0

    def add(self, kind: str, *call: Any) -> RemovableHandle:
        self._next += 1
        self.calls[kind][self._next] = call
        return RemovableHandle(self.calls[kind], self._next)

    def before(self, grads: list) -> list:
        for index, hook in list(self.calls["tensor"].values()):
            if grads[index] is not None:
                replaced = hook(grads[index])
                if replaced is not None:
                    grads[index] = _fitting(hook, replaced, grads[index])
        for (hook,) in list(self.calls["pre"].values()):
            replaced = hook(tuple(grads))
            grads = grads if replaced is None else list(_as_tuple(replaced))
        for index, keep in list(self.calls["grad"].values()):
            keep(grads[index])
        return grads

    def after(self, out: Sequence, grads: list) -> Sequence:
        for (hook,) in list(self.calls["post"].values()):
            replaced = hook(tuple(out), tuple(grads))
            out = out if replaced is None else _as_tuple(replaced)
        return out


def _as_tuple(replaced: Any) -> Sequence:
    """What a hook returned in place of gradients: several of them, or the only one."""
    return replaced if isinstance(replaced, tuple | list) else (replaced,)


def _fitting(hook: Callable, replaced: Any, grad: Tensor) -> Tensor:
    """What a hook returned in place of a gradient: a tensor of its shape and dtype."""
    if not hasattr(replaced, "_data"):
        raise TypeError(f"hook {hook!r} returned {type(replaced).__name__}, expected a Tensor")
    if replaced.shape != grad.shape or replaced.dtype is not grad.dtype:
        raise RuntimeError(
            f"hook {hook!r} has changed the gradient from {grad.dtype} of shape "
            f"{tuple(grad.shape)} to {replaced.dtype} of shape {tuple(replaced.shape)}"
        )
    return replaced


class RemovableHandle:
    """Returned by every `register_..._hook`; `remove()`, or the end of a block, removes it."""

    next_id = 1

    def __init__(self, hooks_dict: Any, key: int | None = None, *, extra_dict: Any = None) -> None:
        if key is None:
            key = RemovableHandle.next_id
            RemovableHandle.next_id += 1
        self.hooks, self.id = hooks_dict, key
        self.extra = extra_dict if isinstance(extra_dict, list) else [extra_dict or {}]

    def remove(self) -> None:
        """Remove the hook, and what `extra_dict`, or a list of such, notes of it."""
        for noted in (self.hooks, *self.extra):
            noted.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class AccumulateGrad(Node):
    """The end of the tape: adds what arrives to `leaf.grad`."""

    __slots__ = ("leaf",)
    name = NodeName("torch::autograd::AccumulateGrad")

    def __init__(self, leaf: Tensor) -> None:
        super().__init__((), ((leaf._data.shape, leaf.dtype),))
        self.leaf = weakref.ref(leaf)

    @property
    def variable(self) -> Tensor | None:
        return self.leaf()

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class Detached(Node):
    """The history of a view that was taken under `no_grad`: it needs a gradient, and has none."""

    __slots__ = ()
    name = NodeName("NoGradView")

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        return ()


class EmptyView(Node):
    """The history of a view without elements after a change in place: its gradient is zero."""

    __slots__ = ()
    name = NodeName("EmptyView")

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        node, i = self.edges[0]  # type: ignore[misc]
        return (None if grads[0] is None else grads[0].detach().new_zeros(node.outputs[i][0]),)


class OpNode(Node):
    """A recorded call of an operator record: `saved` is what its rules name."""

    __slots__ = ("op", "params", "saved")

    def __init__(self, op: Op, edges: Sequence, outputs: tuple, saved: Any, params: dict) -> None:
        self.op = op
        self.edges = edges
        self.outputs = outputs
        self.saved = saved
        self.params = params
        self.hooks = None

    @property
    def name(self) -> NodeName:  # type: ignore[override]
        return NodeName(name_of(self))

    def named(self) -> Node:
        """Itself, of a class with the node's name, as users ask for the name of its type."""
        if type(self) is OpNode:
            self.__class__ = class_of(OpNode, self.name)
        return self

    def __getattr__(self, name: str) -> Any:
        """`_saved_self`, `_saved_other`, `_saved_result`: what the derivative needs."""
        if name.startswith("_saved_"):
            self._check_saved()
            found, value = self.op.rules.saved(self, name[7:])  # type: ignore
            if found:
                return value
        raise AttributeError(f"{self.name!r} object has no attribute {name!r}")

    def _check_saved(self) -> None:
        if self.saved is Freed:
            raise RuntimeError(
                f"{self.op.name}: Trying to backward through the graph a second time (or directly "
                "access saved tensors after they have already been freed). Specify "
                "retain_graph=True if you need to backward through the graph a second time"
            )

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        self._check_saved()
        return self.op.rules.backward(self, grads, needs)  # type: ignore

    def release(self) -> None:
        if self.saved and any(
            v.__class__ in _SAVED or isinstance(v, Held)
            for v in self.saved.values()  # type: ignore
        ):
            self.saved = Freed  # shapes alone may be used again


class InnerNode(OpNode):
    """The node of a change in place of a view, inside a CopySlices.

    The engine may come to it twice: through the CopySlices, and through a saved result. It keeps
    what it saved; the CopySlices refuses a second backward.
    """

    __slots__ = ()

    def release(self) -> None:
        """Left to the end of the graph."""
