"""Runs the tape backward: without recursion, in an order where each node has all its gradients."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import errors
from ..runtime import layout
from ..tensor import Tensor, wrap
from .mode import _Mode
from .node import AccumulateGrad, Edge, Node


class _grad_is(_Mode):
    def __new__(cls, on: bool) -> _grad_is:
        self = object.__new__(cls)
        self.setting = {"grad": on, "transforms": ()}
        return self


def fit(g: Tensor, shape: tuple[int, ...], dtype: Any, name: str = "backward") -> Tensor:
    """A gradient made to fit what it belongs to: broadcasting undone, cast to its dtype."""
    have = g._data.shape
    if have != shape:
        lead = len(have) - len(shape)
        if lead < 0 or any(n not in (1, m) for n, m in zip(shape, have[lead:], strict=True)):
            raise RuntimeError(
                f"{name}: returned a gradient of shape {have}, incompatible with {shape}"
            )
        dims = [*range(lead)] + [
            lead + i for i, n in enumerate(shape) if n == 1 and have[lead + i] != 1
        ]
        g = g.sum(dims, keepdim=True).reshape(shape) if dims else g.reshape(shape)
    if g.dtype is not dtype:
        if g.dtype.is_complex and not dtype.is_complex:
            g = g.real
        g = g.to(dtype)
    return g


def _count(roots: list[Node]) -> dict[Node, int]:
    """How many edges lead to each node that can be reached."""
    dependencies = dict.fromkeys(roots, 0)
    stack = list(dependencies)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                child = edge[0]
                if child in dependencies:
                    dependencies[child] += 1
                else:
                    dependencies[child] = 1
                    stack.append(child)
    return dependencies


def _ancestors(dependencies: dict[Node, int], targets: set[Node]) -> set[Node]:
    """The nodes from which a target can be reached."""
    parents: dict[Node, list[Node]] = {}
    for node in dependencies:
        for edge in node.edges:
            if edge is not None:
                parents.setdefault(edge[0], []).append(node)
    needed, stack = set(targets), list(targets)
    while stack:
        for parent in parents.get(stack.pop(), ()):
            if parent not in needed:
                needed.add(parent)
                stack.append(parent)
    return needed


class _Running(threading.local):
    """The passes of this thread, the innermost last."""

    def __init__(self) -> None:
        self.passes: list[Run] = []

    def append(self, run: Run) -> None:
        self.passes.append(run)

    def remove(self, run: Run) -> None:
        self.passes.remove(run)


_running = _Running()


def running() -> Run:
    """The backward pass that this thread is in."""
    return _running.passes[-1]


def outermost() -> Run:
    """The pass that this thread's other passes are a part of."""
    return _running.passes[0]


def is_running() -> bool:
    """Whether this thread is in a backward pass."""
    return bool(_running.passes)


class Run:
    """One backward pass: from the roots to the leaves, or to the captured edges."""

    def __init__(
        self,
        roots: Sequence[tuple[Edge, Tensor]],
        retain: bool,
        create: bool,
        captures: Sequence[Edge] | None,
        accumulate: bool = False,
    ) -> None:
        self.retain, self.create = retain, create
        self.callbacks: list[Callable[[], Any]] = []  # called when all gradients are there
        self.captured: dict[Edge, Tensor | None] | None = None
        self.buffers: dict[Node, list] = {}
        self.left = _count([edge[0] for edge, _ in roots])
        self.needed: set[Node] | None = None
        self.accumulate = captures is None or accumulate
        if captures is not None:
            self.captured = dict.fromkeys(captures)
            self.needed = _ancestors(self.left, {edge[0] for edge in captures})
            self.capturing = {edge[0] for edge in captures}
        for edge, g in roots:
            self.add(edge, g)
        self.ready = [n for n in self.buffers if not self.left[n]]

    def add(self, edge: Edge, g: Tensor) -> None:
        node, i = edge
        buffer = self.buffers.get(node)
        if buffer is None:
            buffer = self.buffers[node] = [None] * len(node.outputs)
        buffer[i] = g if buffer[i] is None else buffer[i] + g

    def __call__(self) -> None:
        _running.append(self)
        try:
            with _grad_is(self.create):
                while self.ready:
                    node = self.ready.pop()
                    grads = self.buffers.pop(node, None) or [None] * len(node.outputs)
                    self.visit(node, grads)
                for callback in self.callbacks:
                    callback()
        finally:
            _running.remove(self)

    def reaches(self, node: Node) -> bool:
        """Whether this pass comes, or came, to the node."""
        return node in self.left and (self.needed is None or node in self.needed)

    def visit(self, node: Node, grads: list) -> None:
        if node.hooks is not None:
            grads = node.hooks.before(grads)
        if self.captured is not None and node in self.capturing:
            for i, g in enumerate(grads):
                if (node, i) in self.captured:
                    self.captured[node, i] = g
        if type(node) is AccumulateGrad:
            if self.accumulate and grads[0] is not None:
                _accumulate(node, grads, self.create)
            return
        needed = self.needed
        needs = [e is not None and (needed is None or e[0] in needed) for e in node.edges]
        out: Sequence = ()
        if any(needs):
            out = self.derive(node, grads, needs)
            if not self.retain:
                node.release()
        if node.hooks is not None:
            out = node.hooks.after(out, grads)
        self.pass_on(node, needs, out)

    def derive(self, node: Node, grads: list, needs: list[bool]) -> Sequence:
        """The gradients of the node's inputs."""
        return node.backward(grads, needs)

    def pass_on(self, node: Node, needs: list[bool], out: Sequence) -> None:
        out = out if isinstance(out, tuple | list) else (out,)
        for i, edge in enumerate(node.edges):
            if edge is None:
                continue
            child, nr = edge
            g: Any = out[i] if needs[i] and i < len(out) else None
            if g is not None:
                shape, dtype = child.outputs[nr]
                if g._data.shape != shape or g.dtype is not dtype:
                    g = fit(g, shape, dtype, node.name)
                self.add(edge, g)
            self.left[child] -= 1
            if not self.left[child] and (self.needed is None or child in self.needed):
                self.ready.append(child)


_run: type[Run] = Run


def set_run(kind: type[Run]) -> None:
    """Choose the class of the passes to come."""
    global _run
    _run = kind


def _references(grads: list) -> int:
    return sys.getrefcount(grads[0])


def _sole() -> int:
    """What `_references` says of a tensor that nobody else holds, on this interpreter."""
    return _references([object.__new__(Tensor)])


_SOLE = _sole()


def _accumulate(node: AccumulateGrad, grads: list, create: bool) -> None:
    """Add to the leaf's `grad`: in place unless that sum is recorded itself.

    The first gradient is taken over as it is where nobody else can see it, and copied elsewhere.
    """
    leaf = node.leaf()
    if leaf is None:
        return
    if leaf._grad is not None:
        if create:
            leaf._grad = leaf._grad + grads[0]
        else:
            leaf._grad.add_(grads[0])
    elif create:
        leaf._grad = grads[0]
    else:
        alone = _references(grads) == _SOLE and grads[0]._storage is None
        g = _as_leaf(grads[0] if alone else grads[0].clone(), leaf)
        leaf._grad = g if g._edge is None else g.detach()
    if node.hooks is not None:
        node.hooks.after((), grads)


def _as_leaf(g: Tensor, leaf: Tensor) -> Tensor:
    """The gradient in memory as its leaf lies there without gaps: channels last for those."""
    have, want = g._data.strides, leaf._data.strides
    if have == want or (g.is_contiguous() and leaf.is_contiguous()):  # type: ignore[attr-defined]
        return g
    order = layout.order(g._data.shape, leaf._data)
    with _grad_is(False):
        if order is not None:
            g = g.permute(order).contiguous().permute(layout.inverse(order))
        return wrap(g.contiguous()._data if order is None else g._data, g.dtype)


def _root(what: str, t: Tensor, g: Tensor | None) -> tuple[Edge, Tensor]:
    if hasattr(t, "ownership_token"):  # a GradientEdge
        return _edge_root(what, t, g)
    if not isinstance(t, Tensor):
        raise TypeError(f"{what}: expected outputs to be Tensors, got {type(t).__name__}")
    edge = t.current_edge()
    if edge is None:
        raise RuntimeError(
            f"{what}: element 0 of tensors does not require grad and does not have a grad_fn"
        )
    if g is None:
        if t._data.size != 1:
            raise RuntimeError(
                f"{what}: grad can be implicitly created only for scalar outputs, got shape "
                f"{tuple(t.shape)}; give its gradient"
            )
        if not t.dtype.is_floating_point:
            raise RuntimeError(f"{what}: grad can be created only for real outputs, got {t.dtype}")
        return edge, t.detach().new_ones(t.shape)
    if not isinstance(g, Tensor):
        raise TypeError(f"{what}: gradients can be either Tensors or None, got {type(g).__name__}")
    if g._data.shape != t._data.shape:
        raise RuntimeError(
            f"{what}: Mismatch in shape: grad_output[0] has a shape of {tuple(g.shape)} and "
            f"output[0] has a shape of {tuple(t.shape)}."
        )
    return edge, g if g.dtype is t.dtype else g.to(t.dtype)


def _edge_root(what: str, edge: Any, g: Tensor | None) -> tuple[Edge, Tensor]:
    shape, dtype = edge.node.outputs[edge.output_nr]
    if g is None:
        raise RuntimeError(f"{what}: a GradientEdge as output needs its gradient, of shape {shape}")
    if g._data.shape != shape:
        raise RuntimeError(
            f"{what}: Mismatch in shape: grad_output has a shape of {tuple(g.shape)} and the "
            f"GradientEdge of {tuple(shape)}"
        )
    return (edge.node, edge.output_nr), g if g.dtype is dtype else g.to(dtype)  # type: ignore


def _list(x: Any) -> list:
    """Of one tensor or edge, or of any number: a list, the values of a dict, a generator."""
    single = isinstance(x, Tensor) or hasattr(x, "output_nr") or not isinstance(x, Iterable)
    return [x] if single else list(x)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `grad` of the leaves they depend on.

    `grad_tensors` are the cotangents, needed for tensors of more than one element;
    `grad_variables` is its old name.
    """
    roots = _list(tensors)
    grad_tensors = grad_variables if grad_tensors is None else grad_tensors
    grads = [None] * len(roots) if grad_tensors is None else _list(grad_tensors)
    if len(grads) != len(roots):
        raise RuntimeError(f"backward: got {len(roots)} tensors and {len(grads)} gradients")
    if create_graph:
        errors.warn(
            "Using backward() with create_graph=True will create a reference cycle between the "
            "parameter and its gradient which can cause a memory leak. We recommend using "
            "autograd.grad when creating the graph to avoid this. If you have to use this "
            "function, make sure to reset the .grad fields of your parameters to None after use."
        )
    retain = create_graph if retain_graph is None else retain_graph
    pairs = [_root("backward", t, g) for t, g in zip(roots, grads, strict=True)]
    edges = None
    if inputs is not None:
        edges = [_input_edge("backward", t) for t in _list(inputs)]
        if not edges:
            raise RuntimeError("'inputs' argument to backward cannot be empty.")
    run = _run(pairs, retain, create_graph, edges, accumulate=True)
    run()
    if inputs is not None:
        _keep_intermediate(_list(inputs), run)


def _keep_intermediate(inputs: list[Tensor], run: Run) -> None:
    """Add to the `grad` of those `inputs` that are no leaves; the leaves' is there already."""
    for t in inputs:
        edge: Any = t.current_edge()
        g = run.captured[edge]  # type: ignore[index]
        if g is not None and type(edge[0]) is not AccumulateGrad and not t.retains_grad:
            t._grad = g if t._grad is None else t._grad + g


def _input_edge(what: str, t: Tensor) -> Edge:
    if hasattr(t, "ownership_token"):  # a GradientEdge
        return t[0], t[1]  # type: ignore[index]
    if not isinstance(t, Tensor):
        raise TypeError(f"{what}: all inputs have to be Tensors, got {type(t).__name__}")
    edge = t.current_edge()
    if edge is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return edge


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of `outputs` with respect to `inputs`, which need not be leaves.

    Nothing is added to the `grad` of leaves, whatever the old `only_inputs` says.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> (d,) = torch.autograd.grad(x**3, x, create_graph=True)
        >>> torch.autograd.grad(d, x)
        (tensor(18.),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True"
        )
    roots, wanted = _list(outputs), _list(inputs)
    given = [None] * len(roots) if grad_outputs is None else _list(grad_outputs)
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        unused = bool(allow_unused or materialize_grads)
        return _batched(roots, wanted, given, (retain, create_graph), unused, materialize_grads)
    if len(given) != len(roots):
        raise RuntimeError(f"grad: got {len(roots)} tensors and {len(given)} gradients")
    if not wanted:
        raise RuntimeError("grad: the `inputs` argument cannot be empty")
    pairs = [_root("grad", t, g) for t, g in zip(roots, given, strict=True)]
    edges = [_input_edge("grad", t) for t in wanted]
    run = _run(pairs, retain, create_graph, edges)
    run()
    found = [run.captured[e] for e in edges]  # type: ignore[index]
    if materialize_grads:
        found = [
            t.new_zeros(t.shape) if g is None else g for t, g in zip(wanted, found, strict=True)
        ]
    elif not allow_unused and any(g is None for g in found):
        raise RuntimeError(
            "One of the differentiated Tensors appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior."
        )
    return tuple(found)


def _batched(
    roots: list, wanted: list, given: list, keep: tuple[bool, bool], unused: bool, zeros: bool
) -> tuple:
    """A pass for each cotangent of a batch, their results stacked; the last may free the graph."""
    n, (retain, create) = len(given[0]), keep
    rows = []
    for i in range(n):
        row = [None if g is None else g[i] for g in given]
        how = {"allow_unused": unused or None, "materialize_grads": zeros}
        rows.append(grad(roots, wanted, row, retain or i < n - 1, create, **how))
    columns = list(zip(*rows, strict=True))
    return tuple(None if c[0] is None else _stack(c) for c in columns)


def _stack(column: tuple[Tensor, ...]) -> Tensor:
    out = column[0].new_empty((len(column), *column[0].shape))
    for i, row in enumerate(column):
        out[i] = row
    return out


def _method(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to the `grad` of the leaves it depends on."""
    backward([self], [gradient], retain_graph, create_graph, inputs=inputs)


_method.__name__ = _method.__qualname__ = "backward"
Tensor.backward = _method  # type: ignore[attr-defined]
