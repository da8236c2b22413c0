"""The recorded graph: its nodes and edges, hooks on what it saves, hooks on several gradients."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..tensor import Tensor
from . import engine
from .mode import outside, state, transform
from .node import Node, RemovableHandle

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


# -- edges ----------------------------------------------------------------------------------------


class GradientEdge(NamedTuple):
    """Where a gradient enters the graph: a node, and the number of its result."""

    node: Node
    output_nr: int
    ownership_token: Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge through which the gradient of `tensor` enters the graph.

    It can stand for the tensor in `autograd.grad` and `autograd.backward`, without keeping it.
    """
    edge = tensor.current_edge()
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    return GradientEdge(*edge)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a change in place that was made behind autograd's back."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if t.is_inference():
            raise RuntimeError("increment_version: inference tensors do not track versions")
        t.storage_.bump("increment_version")


# -- what nodes save ------------------------------------------------------------------------------


class saved_tensors_hooks:
    """What operators in the block save for backward goes through `pack_hook(tensor)`, and is got
    back by `unpack_hook` of what that returned.

    Example:
        >>> import tritorch as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t):
        ...     y = (x * x).sum()
        >>> y.backward()
        >>> x.grad
        tensor([20., 20.])
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> saved_tensors_hooks:
        if state.saved_hooks_refused is not None:
            raise RuntimeError(state.saved_hooks_refused)
        state.saved_hooks = (*state.saved_hooks, (self.pack_hook, self.unpack_hook))
        return self

    def __exit__(self, *exc: object) -> None:
        state.saved_hooks = state.saved_hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """What operators in the block save for backward waits in host memory, page-locked if asked."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(t: Any) -> tuple:
            if not pin_memory or t.is_cpu:
                return t.device, t.cpu()
            return t.device, t.cpu().pin_memory()

        super().__init__(pack, lambda kept: kept[1].to(kept[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside the block no hooks on saved tensors may be set: RuntimeError with this message."""
    if state.saved_hooks:
        raise RuntimeError(error_message)
    outer, state.saved_hooks_refused = state.saved_hooks_refused, error_message
    try:
        yield
    finally:
        state.saved_hooks_refused = outer


class _Kept:
    """A saved tensor, or a copy of it made just before it was changed in place."""

    __slots__ = ("__weakref__", "tensor", "version")

    def __init__(self, t: Tensor) -> None:
        self.tensor, self.version = t, t._version


class _Saved:
    """The tensors saved in a block of `allow_mutation_on_saved_tensors`, by their memory."""

    def __init__(self) -> None:
        self.by_memory: dict[int, weakref.WeakSet[_Kept]] = {}
        self.open = True

    def pack(self, t: Tensor) -> _Kept:
        kept = _Kept(t)
        self.by_memory.setdefault(id(t.storage_), weakref.WeakSet()).add(kept)
        return kept

    def unpack(self, kept: _Kept) -> Tensor:
        if not self.open:
            raise RuntimeError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in "
                "which the graph was originally recorded."
            )
        return kept.tensor

    def before(self, op: Any, inputs: Sequence, params: dict) -> Any:
        """The transform: copy what is saved of memory that is about to change."""
        with outside():
            changed = inputs[0] if op.name.endswith("_") and inputs else None
            if isinstance(changed, Tensor) and changed._storage is not None:
                self.copy(changed._storage)
            return op(*inputs, **params)

    def copy(self, storage: Any) -> None:
        outer, state.grad = state.grad, False
        try:
            for kept in self.by_memory.pop(id(storage), ()):
                kept.tensor = kept.tensor.clone()  # type: ignore[attr-defined]
        finally:
            state.grad = outer

    def clear(self) -> None:
        """Forget all; what is still held outside cannot be used any more."""
        self.by_memory.clear()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_Saved]:
    """Tensors saved for backward in the block may be changed in place: they are copied before.

    The backward must run inside the block too.
    """
    saved = _Saved()
    with saved_tensors_hooks(saved.pack, saved.unpack), transform(saved.before):
        try:
            yield saved
        finally:
            saved.open = False
            saved.clear()


# -- several gradients ----------------------------------------------------------------------------


class _Handles(RemovableHandle):
    """Removes several hooks at once."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        super().__init__({})
        self.handles = list(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all"
) -> RemovableHandle:
    """Call `fn` once in a backward when the gradients of `tensors` are known.

    With `mode` "all" it gets the list of them, None for those that have none in this backward,
    after the last; with "any" it gets the first gradient only.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock, seen = threading.Lock(), weakref.WeakKeyDictionary()
    edges = [get_gradient_edge(t) for t in tensors]

    def hook_of(i: int) -> Callable:
        def hook(grad: Tensor) -> None:
            run: Any = engine.running()
            with lock:
                own = seen.setdefault(run, ([None] * len(edges), []))
                own[0][i] = grad
                own[1].append(i)
                first = len(own[1]) == 1
                last = len(own[1]) == sum(run.reaches(e.node) for e in edges)
            if mode == "any":
                if first:
                    fn(grad)
            elif last:
                fn(own[0])

        return hook

    return _Handles([t.register_hook(hook_of(i)) for i, t in enumerate(tensors)])
