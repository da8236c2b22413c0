"""The derivative of a fused operator that declares none: that of its composition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..autograd import engine
from ..autograd.mode import enable_grad, state
from ..tensor import Tensor
from .record import Op
from .views import alias


def through_ref(op: Op) -> Callable:
    """The derivative of a fused operator: that of its composition, run again."""
    keywords = [
        p.name
        for p in inspect.signature(op.ref).parameters.values()  # type: ignore[arg-type]
        if p.kind is p.KEYWORD_ONLY
    ]
    n, m = len(op.outputs), len(op.inputs)

    def rule(*args: Any) -> list:
        grads, inputs, needs = args[:n], args[n : n + m], args[-1]
        params = dict(zip(keywords, args[n + m : -1], strict=True))
        create = state.grad
        with enable_grad():
            own = [_apart(t, need, create) for t, need in zip(inputs, needs, strict=True)]
            outs = op.ref(*own, **params)  # type: ignore[misc]
            outs = outs if isinstance(outs, tuple) else (outs,)
            used = [
                (o, g)
                for o, g in zip(outs, grads, strict=True)
                if g is not None and o.requires_grad
            ]
            wanted = [t for t, need in zip(own, needs, strict=True) if need]
            if not used:
                return [None] * m
            found = iter(gradient(*zip(*used, strict=True), create, wanted))  # type: ignore
        return [next(found) if need else None for need in needs]

    def gradient(outs: tuple, grads: tuple, create: bool, wanted: list) -> tuple:
        return engine.grad(outs, wanted, grads, create_graph=create, allow_unused=True)

    names = [f"g{i}" for i in range(n)] + [*op.inputs, *keywords, "needs"]
    rule.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(k, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in names]
    )
    return rule


def _apart(t: Tensor | None, need: bool, create: bool) -> Tensor | None:
    """The same values with an edge of their own, so that inputs which depend on each other do not
    see each other's gradients."""
    if t is None or not need:
        return t
    return alias(t) if create and t.requires_grad else t.detach().requires_grad_()
