"""A function of scalars, called once for all batches, heads, queries and keys if it broadcasts.

`score_mod` and `mask_mod` are written for one score at a time. Elementwise operators and look-ups
in tables mean the same for tensors of scores whose indices lie in four dimensions, (B, 1, 1, 1) to
(1, 1, 1, S), so a function of nothing else is called once. A transform watches for that; after
another operator the function is called for each score by itself, through `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from ...autograd.mode import outside, transform
from ...func.vectorize import vmap
from ...ops.copy import copy_op
from ...ops.elementwise import Elementwise
from ...ops.index import index_op
from ...tensor import Tensor

IN_DIMS = (
    (None, None, None, 0),
    (None, None, 0, None),
    (None, 0, None, None),
    (0, None, None, None),
)


class _Mixes(Exception):
    """An operator that means something else for tensors than for each of their scalars."""


class _Watch:
    """A transform that raises `_Mixes` before an operator would mix scalars that are apart."""

    def __init__(self, apart: Sequence[Tensor]) -> None:
        self.apart = WeakValueDictionary({id(x): x for x in apart})

    def __call__(self, op: Any, inputs: Sequence, params: dict) -> Any:
        with outside():
            apart = [self.holds(x) for x in inputs]
            if any(apart) and not _keeps_apart(op, inputs, apart, params):
                raise _Mixes(op.name)
            out = op(*inputs, **params)
            if any(apart):
                for x in out if isinstance(out, tuple) else (out,):
                    self.apart[id(x)] = x
        return out

    def holds(self, x: Any) -> bool:
        """Whether a tensor has the four dimensions of indices in front, and no other."""
        return isinstance(x, Tensor) and self.apart.get(id(x)) is x


def _keeps_apart(op: Any, inputs: Sequence, apart: list[bool], params: dict) -> bool:
    scalars = [a or not getattr(x, "ndim", 0) for x, a in zip(inputs, apart, strict=True)]
    if op is index_op:
        return not apart[0] and all(scalars[1:]) and len(params["dims"]) == inputs[0].ndim
    return all(scalars) and (isinstance(op, Elementwise) or op is copy_op)


def over_indices(name: str, mod: Callable, indices: Sequence[Tensor], score: Any = None) -> Tensor:
    """`mod(score, b, h, q, kv)`, or without a score `mod(b, h, q, kv)`, over vectors of indices.

    `score` is (B, H, L, S). The result broadcasts to that. ValueError where `mod` returns no
    tensor, RuntimeError where it returns more than a scalar.
    """
    wide = [x.reshape([-1 if d == i else 1 for d in range(4)]) for i, x in enumerate(indices)]  # type: ignore[attr-defined]
    given = wide if score is None else [score, *wide]
    watch = _Watch(given)
    try:
        with transform(watch):
            out = mod(*given)
    except _Mixes:
        return _one_by_one(name, mod, indices, score)
    if not isinstance(out, Tensor):
        raise ValueError(f"flex_attention: {name} must only return Tensors, got type {type(out)}")
    if watch.holds(out) or not out.ndim:
        return out.expand(*[1] * (4 - out.ndim), *out.shape)  # type: ignore[attr-defined]
    return _one_by_one(name, mod, indices, score)


def _one_by_one(name: str, mod: Callable, indices: Sequence[Tensor], score: Any) -> Tensor:
    prefix = () if score is None else (0,)
    for dims in IN_DIMS:
        mod = vmap(mod, in_dims=prefix + dims)
    out = mod(*indices) if score is None else mod(score, *indices)
    if out.ndim != 4:
        raise RuntimeError(
            f"flex_attention: {name} must return a scalar tensor for each score, but returned one "
            f"of shape {tuple(out.shape[4:])}"
        )
    return out
