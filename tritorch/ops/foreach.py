"""Operators over lists of tensors: `_foreach_add(xs, ys)`, and in place `_foreach_add_(xs, ys)`.

Each tensor goes through the published operator, so promotion, broadcasting, gradients and errors
are those of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from . import linalg_norm
from .api import PUBLIC
from .elementwise import SCALARS

UNARY = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 "
    "neg reciprocal round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"
)
BINARY = "add sub mul div clamp_max clamp_min maximum minimum pow"
METHODS = {"maximum": "clamp_min", "minimum": "clamp_max"}  # which also take numbers


def _check(name: str, tensors: Any, *others: Any) -> None:
    """Refuse no tensors at all, and lists of different lengths."""
    if not isinstance(tensors, list | tuple):
        raise TypeError(
            f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    if not len(tensors):
        raise RuntimeError(f"{name}: Tensor list must have at least one tensor.")
    for other in others:
        if len(other) == len(tensors):
            continue
        if isinstance(other[0] if len(other) else None, SCALARS):
            raise RuntimeError(
                f"{name}: Tensor list must have same number of elements as scalar list, got "
                f"{len(tensors)} and {len(other)}"
            )
        raise RuntimeError(
            f"{name}: Tensor lists must have the same number of tensors, got {len(tensors)} and "
            f"{len(other)}"
        )


def _spread(value: Any, n: int) -> Sequence:
    """One for each tensor, of a list or of what serves all."""
    return value if isinstance(value, list | tuple) else [value] * n


def _publish(name: str, run: Callable, doc: str) -> None:
    """`run(step, tensors, ...)` as the function, and in place, which returns the list."""

    def function(self: Sequence[Tensor], *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(run(f"_foreach_{name}", name, self, *args, **kwargs))

    def change(self: Sequence[Tensor], *args: Any, **kwargs: Any) -> Sequence[Tensor]:
        run(f"_foreach_{name}_", f"{name}_", self, *args, **kwargs)
        return self

    for f, suffix, more in ((function, "", ""), (change, "_", ", in place")):
        f.__name__ = f.__qualname__ = f"_foreach_{name}{suffix}"
        f.__doc__ = f"{doc}{more}."
        PUBLIC[f.__name__] = f


def _unary(label: str, method: str, tensors: Sequence) -> list:
    _check(label, tensors)
    return [getattr(t, method)() for t in tensors]


def _binary(label: str, method: str, tensors: Any, *args: Any, **kwargs: Any) -> list:
    """`other` is a number, a tensor, or a list of either."""
    names = [k for k in ("other", "scalar", "scalars", "exponent") if k in kwargs]
    other = kwargs.pop(names[0]) if names else args[0]
    alpha = kwargs.pop("alpha", args[1] if len(args) > 1 else 1)
    if kwargs:
        raise TypeError(f"{label}() got an unexpected keyword argument '{next(iter(kwargs))}'")
    if isinstance(tensors, SCALARS):
        _check(label, other)
        return [PUBLIC[method](tensors, t) for t in other]
    _check(label, tensors, *([other] if isinstance(other, list | tuple) else []))
    extra = {} if alpha == 1 else {"alpha": alpha}
    base, under = method.removesuffix("_"), "_" if method.endswith("_") else ""
    method = METHODS.get(base, base) + under
    pairs = zip(tensors, _spread(other, len(tensors)), strict=True)
    return [getattr(t, method)(o, **extra) for t, o in pairs]


def _pointwise(
    label: str, method: str, tensors: Any, tensor1: Any, tensor2: Any, *value: Any, **kwargs: Any
) -> list:
    """`value` is a number for all, a list of them, or a tensor that holds one for each."""
    _check(label, tensors, tensor1, tensor2)
    factor: Any = value[0] if value else kwargs.get("value", kwargs.get("scalars", 1))
    if isinstance(factor, Tensor):
        factor = factor.tolist()  # type: ignore[attr-defined]
    factors = _spread(factor, len(tensors))
    _check(label, tensors, factors)
    lists = zip(tensors, tensor1, tensor2, factors, strict=True)
    return [getattr(t, method)(a, b, value=f) for t, a, b, f in lists]


def _lerp(label: str, method: str, tensors: Any, tensors1: Any, weight: Any) -> list:
    _check(label, tensors, tensors1, *([weight] if isinstance(weight, list | tuple) else []))
    lists = zip(tensors, tensors1, _spread(weight, len(tensors)), strict=True)
    return [getattr(t, method)(a, w) for t, a, w in lists]


for _name in UNARY.split():
    _publish(_name, _unary, f"`{_name}` of each tensor")
for _name in BINARY.split():
    _publish(_name, _binary, f"`{_name}` of each tensor and a number, a tensor, or a list of them")
for _name in ("addcmul", "addcdiv"):
    _publish(_name, _pointwise, f"`{_name}` over three lists of tensors")
_publish("lerp", _lerp, "`lerp` over two lists of tensors")


def _foreach_norm(self: Any, ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The vector norm of all elements of each tensor."""
    _check("_foreach_norm", self)
    return tuple(linalg_norm.vector_norm(t, ord, dtype=dtype) for t in self)


def _foreach_powsum(self: Any, ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The sum of `|x| ** ord` over all elements of each tensor."""
    _check("_foreach_powsum", self)
    return tuple(t.abs().pow(ord).sum(dtype=dtype) for t in self)


def _foreach_max(self: Any) -> tuple[Tensor, ...]:
    """The largest element of each tensor."""
    _check("_foreach_max", self)
    return tuple(t.max() for t in self)


def _foreach_mm(self: Any, mat2: Any) -> tuple[Tensor, ...]:
    """The matrix products of two lists."""
    _check("_foreach_mm", self, mat2)
    return tuple(a.mm(b) for a, b in zip(self, mat2, strict=True))


def _foreach_clone(self: Any, *, memory_format: Any = None) -> tuple[Tensor, ...]:
    """A copy of each tensor."""
    _check("_foreach_clone", self)
    return tuple(t.clone(memory_format=memory_format) for t in self)


def _foreach_zero_(self: Any) -> Any:
    """Set all elements of each tensor to zero."""
    _check("_foreach_zero_", self)
    for t in self:
        t.zero_()
    return self


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Overwrite each tensor with that of another list."""
    _check("_foreach_copy_", self, src)
    for t, s in zip(self, src, strict=True):
        t.copy_(s, non_blocking)
    return self


for _f in (
    _foreach_norm,
    _foreach_powsum,
    _foreach_max,
    _foreach_mm,
    _foreach_clone,
    _foreach_zero_,
    _foreach_copy_,
):
    PUBLIC[_f.__name__] = _f
