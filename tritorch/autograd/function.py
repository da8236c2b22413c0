"""`Function`: an operation with a backward of the user's own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor, wrap
from .mode import no_grad, state
from .node import Node, NodeName
from .saved import Packed


class FunctionCtx:
    """What `forward` leaves for `backward`."""

    def __init__(self) -> None:
        self._to_save: tuple = ()
        self._dirty: tuple = ()
        self._fixed: tuple = ()
        self._node: Callable[[], FunctionNode | None] | None = None
        self.materialize_grads = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for `backward`, where `saved_tensors` returns them."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type "
                    f"{type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declare inputs that `forward` changed in place; they are to be among its results."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declare results that have no gradient."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros, rather than None, for results without a gradient."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple:
        """The tensors given to `save_for_backward`, checked against changes in place."""
        node = None if self._node is None else self._node()
        return self._to_save if node is None else node.saved_tensors


class FunctionNode(Node):
    """A recorded call of a user's Function."""

    __slots__ = ("ctx", "function", "places", "positions", "saved")

    def __init__(self, function: type, ctx: FunctionCtx, edges: Sequence, outputs: tuple) -> None:
        super().__init__(edges, outputs)
        self.function, self.ctx = function, ctx
        self.saved: Any = ()

    @property
    def name(self) -> NodeName:  # type: ignore[override]
        return NodeName(f"{self.function.__name__}Backward")

    def __getattr__(self, name: str) -> Any:
        """What `forward` has set on its `ctx`, which in PyTorch is the node."""
        if name.startswith("__") or name in FunctionNode.__slots__:
            raise AttributeError(name)
        return getattr(self.ctx, name)

    def __repr__(self) -> str:
        return f"<{__name__}.{self.name} object at {id(self):#x}>"

    def save(self, tensors: Sequence, outputs: Sequence) -> None:
        """Keep tensors with their versions; results without the cycle to this node."""
        kept: list[Any] = []
        for t in tensors:
            at = next((i for i, o in enumerate(outputs) if o is t), None)
            if t is None or at is None:
                kept.append(None if t is None else (t, t._version, None))
            else:
                kept.append((t.detach(), t._version, at))
        if state.saved_hooks:
            kept = [None if k is None else Packed(k[0], k[2]) for k in kept]
        self.saved = tuple(kept)

    @property
    def saved_tensors(self) -> tuple:
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: Trying to backward through the graph a second time (or directly "
                "access saved tensors after they have already been freed). Specify "
                "retain_graph=True if you need to backward through the graph a second time"
            )
        return tuple(
            s.unpack(self) if s.__class__ is Packed else s and self._unpack(*s) for s in self.saved
        )

    def _unpack(self, t: Tensor, version: int, output: int | None) -> Tensor:
        if t._version != version:
            by, file, line = t.storage_.changed_by or ("an operator", "?", 0)
            raise RuntimeError(
                f"{self.function.__name__}: one of the variables needed for gradient computation "
                f"has been modified by an inplace operation: a tensor of shape {tuple(t.shape)}, "
                f'saved at version {version}, was changed by {by} at File "{file}", line {line}'
            )
        if output is None or not state.grad:
            return t
        out = wrap(t._data, t.dtype)
        out._storage, out._edge = t._storage, (self, output)
        return out

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        if self.ctx.materialize_grads:
            grads = [
                _zeros(*meta) if g is None else g
                for g, meta in zip(grads, self.outputs, strict=True)
            ]
        given: list[Any] = [None] * self.places[-1]  # results that are no tensors have none
        for at, g in zip(self.places, grads, strict=False):
            given[at] = g
        found = self.function.backward(self.ctx, *given)
        found = list(found) if isinstance(found, tuple) else [found]
        for g in found:
            if g is not None and not isinstance(g, Tensor):
                raise RuntimeError(
                    f"{self.name}: expected Variable or None (got {type(g).__name__}): backward "
                    "returns a Tensor or None for each argument of forward"
                )
        if len(found) > self.arity and all(g is None for g in found[self.arity :]):
            found = found[: self.arity]
        if len(found) != self.arity:
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients (expected "
                f"{self.arity}, got {len(found)})"
            )
        return [found[i] for i in self.positions]

    @property
    def arity(self) -> int:
        return len(self.ctx.needs_input_grad)

    def release(self) -> None:
        if self.saved:
            self.saved = None


def _zeros(shape: tuple, dtype: Any) -> Tensor:
    from ..runtime import host

    return wrap(host.zeros(tuple(shape), dtype.np), dtype)


class _Meta(type):
    """`Function.apply` for each subclass; an instance is never made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"Legacy autograd function with non-static forward method is deprecated. Call "
            f"{cls.__name__}.apply(...)"
        )


class Function(FunctionCtx, metaclass=_Meta):
    """An operation defined by static methods `forward(ctx, *args)` and `backward(ctx, *grads)`.

    `forward` works on tensors without recording; `backward` returns one gradient an argument, None
    for what has none. With `setup_context(ctx, inputs, output)`, `forward` takes no `ctx`.
    A backward written in tensor operators can be differentiated again.

    Example:
        >>> import tritorch as torch
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * g
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> Square.apply(x).backward()
        >>> x.grad
        tensor(6.)
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom Function.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement the backward function for your custom Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> Any:
        """To be overridden: what `backward` needs, for a `forward` without `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """To be overridden: the derivative in forward mode."""
        raise NotImplementedError(
            "You must implement the jvp function for custom Function to use it with forward mode "
            "AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        """To be overridden: the same over a further dimension."""
        raise NotImplementedError("To use vmap with a custom Function, implement its vmap method.")

    vjp = backward
    generate_vmap_rule = False

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and record the call where an argument has a history."""
        ctx = FunctionCtx()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        edges = [None if t is None else t.current_edge() for t in tensors]
        recorded = state.grad and any(e is not None for e in edges)
        ctx.needs_input_grad = tuple(recorded and e is not None for e in edges)
        result = cls._forward(ctx, args, kwargs)
        single = not isinstance(result, tuple)
        outs = (result,) if single else result
        outs = tuple(_own(o, tensors, ctx) if isinstance(o, Tensor) else o for o in outs)
        if recorded:
            cls._record(ctx, edges, tensors, outs)
        return outs[0] if single else outs

    @classmethod
    def _forward(cls, ctx: FunctionCtx, args: tuple, kwargs: dict) -> Any:
        grad, state.grad = state.grad, False
        try:
            if cls.setup_context is Function.setup_context:
                return cls.forward(ctx, *args, **kwargs)
            result = cls.forward(*args, **kwargs)
            cls.setup_context(ctx, args, result)
            return result
        finally:
            state.grad = grad

    @classmethod
    def _record(cls, ctx: FunctionCtx, edges: list, tensors: list, outs: tuple) -> None:
        from . import inplace

        results = [o for o in outs if isinstance(o, Tensor)]
        positions = [i for i, e in enumerate(edges) if e is not None]
        metas = tuple((o._data.shape, o.dtype) for o in results)
        node = FunctionNode(cls, ctx, [edges[i] for i in positions], metas)
        node.positions = positions
        node.places = [i for i, o in enumerate(outs) if isinstance(o, Tensor)] + [len(outs)]
        for i, o in enumerate(results):
            if any(o is f for f in ctx._fixed) or o.dtype.category < 2:
                continue
            if any(o is d for d in ctx._dirty):
                inplace.check(cls.__name__, o)
                o.storage_.bump(cls.__name__)
                inplace.rebase(o, node)
            else:
                o._edge = (node, i)
        node.save(ctx._to_save, results)
        # the node holds the context: what leads from there back to the node would be a cycle
        ctx._node = weakref.ref(node)
        ctx._to_save = ctx._dirty = ctx._fixed = ()


def _own(out: Tensor, inputs: Sequence, ctx: FunctionCtx) -> Tensor:
    """An input that is returned unchanged becomes a view of itself, not to be changed in place."""
    if any(out is d for d in ctx._dirty):
        return out
    if any(out is t for t in inputs):
        if any(out is f for f in ctx._fixed):
            own = out.detach()
            ctx._fixed = (*ctx._fixed, own)
            return own
        with no_grad():
            out = out[...]  # type: ignore[index]
    if out._view is not None and out._view.forbidden == "no_grad":
        out._view.forbidden = "function"
    return out


def once_differentiable(f: Any) -> Any:
    """Marks a `backward` that cannot be differentiated again."""

    def backward(ctx: Any, *grads: Any) -> Any:
        grad, state.grad = state.grad, False
        try:
            return f(ctx, *grads)
        finally:
            state.grad = grad

    return backward
