"""Two tensors that change their places."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from ..autograd.node import AccumulateGrad
from ..tensor import Tensor

__all__ = ["swap_tensors"]

_FIELDS = ("_base", "_data", "_edge", "_storage", "_view", "dtype", "_grad", "__dict__")


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Each takes the other's class, values, history, gradient and attributes.

    Whoever holds the one finds the other in its place: a module's parameter, an entry of a list.
    What was computed from them keeps its gradients' way.

    Raises:
        RuntimeError: views of one exist, weak references to it, or hooks on it: they would not
            follow.

    Example:
        >>> import tritorch as torch
        >>> a, b = torch.zeros(2), torch.tensor([1])
        >>> torch.utils.swap_tensors(a, b)
        >>> a, b
        (tensor([1]), tensor([0., 0.]))
    """
    for name, t in (("t1", t1), ("t2", t2)):
        if not isinstance(t, Tensor):
            raise TypeError(f"swap_tensors: {name} is a {type(t).__name__}, not a tensor")
        _check(name, t)
    if t1 is t2:
        return
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    for field in _FIELDS:
        one, other = getattr(t1, field), getattr(t2, field)
        setattr(t1, field, other)
        setattr(t2, field, one)
    for t in (t1, t2):
        node = _leaf(t)
        if node is not None:
            node.leaf = weakref.ref(t)


def _leaf(t: Tensor) -> AccumulateGrad | None:
    return t._edge[0] if t._edge is not None and type(t._edge[0]) is AccumulateGrad else None  # type: ignore[return-value]


def _check(name: str, t: Tensor) -> None:
    """That nothing refers to this object for what it contains."""
    node: Any = _leaf(t)
    own = [] if node is None else [node.leaf]
    if any(all(r is not k for k in own) for r in weakref.getweakrefs(t)):
        raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    if "retains_grad" in t.__dict__ or (node is not None and node.hooks is not None):
        raise RuntimeError(f"Cannot swap {name} because there are hooks on it")
    if t._storage is not None and any(
        isinstance(other, Tensor) and other._base is t for other in gc.get_referrers(t)
    ):
        raise RuntimeError(f"Cannot swap {name} because there are views of it")
