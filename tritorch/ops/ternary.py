"""Elementwise functions of three and four operands: `lerp`, `addcmul`, `addcdiv`, `clamp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..tensor import Tensor
from . import arithmetic_loops as loops
from .api import PUBLIC, attach
from .arguments import number_first
from .arithmetic import Number, conj, where
from .elementwise import Elementwise
from .elementwise_forms import as_operand, into
from .python import need_tensors

lerp_op = Elementwise(
    "lerp",
    ("x", "y", "weight"),
    loops.lerp,
    deny=("integral", "bool"),
    vjp=(
        lambda g, weight: g * conj(1 - weight),
        lambda g, weight: g * conj(weight),
        lambda g, x, y: g * conj(y - x),
    ),
)
addcmul_op = Elementwise(
    "addcmul",
    ("x", "a", "b", "value"),
    loops.addcmul,
    promote=slice(3),
    deny=("bool",),
    vjp=(
        lambda g: g,
        lambda g, b, value: g * conj(b * value),
        lambda g, a, value: g * conj(a * value),
        None,
    ),
)
addcdiv_op = Elementwise(
    "addcdiv",
    ("x", "a", "b", "value"),
    loops.addcdiv,
    promote=slice(3),
    deny=("bool", "integral"),
    domain=((-2.0, 2.0), (-2.0, 2.0), (0.5, 2.0), (-2.0, 2.0)),
    vjp=(
        lambda g: g,
        lambda g, b, value: g * conj(value / b),
        lambda g, a, b, value: -g * conj(value * a / (b * b)),
        None,
    ),
)
clamp_op = Elementwise(
    "clamp",
    ("x", "min", "max"),
    loops.clamp,
    deny=("complex", "bool"),
    vjp=(
        lambda g, x, min, max: where((x >= min) & (x <= max), g, 0),
        lambda g, x, min, max: where((x < min) & (min < max), g, 0),
        lambda g, x, min, max: where((x > max) | (max < min), g, 0),
    ),
)
clamp_min_op = Elementwise(
    "clamp_min",
    ("x", "min"),
    loops.at_least,
    deny=("complex", "bool"),
    vjp=(lambda g, x, min: where(x >= min, g, 0), lambda g, x, min: where(x < min, g, 0)),
)
clamp_max_op = Elementwise(
    "clamp_max",
    ("x", "max"),
    loops.at_most,
    deny=("complex", "bool"),
    vjp=(lambda g, x, max: where(x <= max, g, 0), lambda g, x, max: where(x > max, g, 0)),
)


def _ternary(name: str, op: Elementwise) -> tuple[Callable, Callable]:
    def function(
        input: Tensor,
        tensor1: Tensor,
        tensor2: Tensor,
        *old: Any,
        value: Number = 1,
        out: Tensor | None = None,
    ) -> Tensor:
        if old:
            tensor1, tensor2, value = number_first(name, (tensor1, tensor2, *old), "value")
        args = input, tensor1, tensor2, value
        return op(*args) if out is None else into(op, out, *args)

    def change(
        self: Tensor, tensor1: Tensor, tensor2: Tensor, *old: Any, value: Number = 1
    ) -> Tensor:
        if old:
            tensor1, tensor2, value = number_first(f"{name}_", (tensor1, tensor2, *old), "value")
        return op.inplace(self, tensor1, tensor2, value)

    function.__name__ = name
    attach(name, function)
    attach(f"{name}_", change)
    PUBLIC[name] = function
    return function, change


addcmul, _ = _ternary("addcmul", addcmul_op)
addcmul.__doc__ = "`input + value * tensor1 * tensor2`, broadcast."
addcdiv, _ = _ternary("addcdiv", addcdiv_op)
addcdiv.__doc__ = "`input + value * tensor1 / tensor2`, broadcast."


def lerp(input: Tensor, end: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
    """`input + weight * (end - input)`, broadcast; `weight` is a number or a tensor.

    Of floating-point and complex tensors of one dtype; a weight without dimensions may differ.
    """
    _check_lerp(input, end, weight)
    return lerp_op(input, end, weight) if out is None else into(lerp_op, out, input, end, weight)


def _lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    _check_lerp(self, end, weight)
    return lerp_op.inplace(self, end, weight)


def _check_lerp(input: Tensor, end: Tensor, weight: Any) -> None:
    need_tensors("lerp", input=input, end=end)
    dtype = input.dtype
    if end.dtype is not dtype:
        raise RuntimeError(f"lerp: expected dtype {dtype.name} for `end` but got {end.dtype.name}")
    if dtype.category < 2:
        raise NotImplementedError(f'"lerp" is not implemented for {dtype.name} tensors')
    if not isinstance(weight, Tensor):
        if isinstance(weight, complex) and not dtype.is_complex and weight.imag:
            raise RuntimeError(f"lerp: weight {weight} cannot be converted to {dtype.name}")
    elif weight._data.ndim and weight.dtype is not dtype:
        raise RuntimeError(
            f"lerp: expected dtype {dtype.name} for `weight` but got {weight.dtype.name}"
        )


def _check_bound(input: Any, bound: Any) -> None:
    """Refuse an integer that the tensor's dtype cannot hold: wrapped around, it would be another
    bound."""
    if isinstance(bound, int) and isinstance(input, Tensor) and input.dtype.category == 1:
        limits = dtypes.iinfo(input.dtype)
        if not limits.min <= bound <= limits.max:
            raise RuntimeError(
                f"clamp: value {bound} cannot be converted to {input.dtype} without overflow"
            )


def _clamp(input: Tensor, low: Any, high: Any) -> tuple[Elementwise, tuple]:
    if low is None and high is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    low, high = (None if v is None else as_operand("clamp", v) for v in (low, high))
    for bound in (low, high):
        _check_bound(input, bound)
    if low is None:
        return clamp_max_op, (input, high)
    return (clamp_min_op, (input, low)) if high is None else (clamp_op, (input, low, high))


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Elements limited to `[min, max]`, each a number, a tensor or None; NaN stays."""
    op, args = _clamp(input, min, max)
    if out is None:
        return op(*args)
    numbers = not any(isinstance(v, Tensor) for v in args[1:])
    return into(op, out, *args, own=numbers)


def _clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    op, args = _clamp(self, min, max)
    return op.inplace(*args)


def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """Elements raised to at least `min`."""
    return clamp(input, min, out=out)


def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """Elements lowered to at most `max`."""
    return clamp(input, None, max, out=out)


clip = clamp
for _name, _f, _change in (
    ("lerp", lerp, _lerp_),
    ("clamp", clamp, _clamp_),
    ("clip", clamp, _clamp_),
    ("clamp_min", clamp_min, lambda self, min: _clamp_(self, min)),
    ("clamp_max", clamp_max, lambda self, max: _clamp_(self, None, max)),
):
    PUBLIC[_name] = _f
    attach(_name, _f)
    attach(f"{_name}_", _change)
