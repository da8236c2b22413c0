"""Arithmetic, comparison and logic on two operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op.overrides import asking
from ..tensor import Tensor
from . import arithmetic_loops as loops
from .api import PUBLIC, attach, binary
from .arguments import ABSENT, number_first, shown
from .elementwise import Elementwise, loop, promoted, zero
from .elementwise_forms import as_operand, full_call, into

Number = bool | int | float | complex


def conj(y: Any) -> Any:
    """The conjugate of a factor in a derivative; anything real as it is."""
    if isinstance(y, Tensor):
        return y.conj() if y.dtype.is_complex else y
    return y.conjugate() if isinstance(y, complex) else y


def floating(x: Any) -> bool:
    return np.asarray(x).dtype.kind in "fc"


def _whole(name: str, rule: Callable, integers: Callable, says: str) -> Callable:
    """A division's loop: `rule` for floating point, `integers` where no divisor is 0."""

    def divide(x: Any, y: Any, out: Any = None) -> Any:
        if floating(x):
            return rule(x, y, out)
        if not np.all(y) and np.size(x):
            raise RuntimeError(f"{name}: ZeroDivisionError: integer {says} by zero")
        return integers(x, y, out=out)

    return divide


@loop
def _truncated(x: Any, y: Any) -> Any:
    q = np.floor_divide(x, y)
    return q + ((np.remainder(x, y) != 0) & ((np.less(x, 0)) != (np.less(y, 0))))


_floor_divide = _whole("floor_divide", loops.floor_divide, np.floor_divide, "division")
_trunc_divide = _whole("div", loops.trunc_divide, _truncated, "division")
_remainder = _whole("remainder", loops.remainder, np.remainder, "modulo")
_fmod = _whole("fmod", loops.fmod, np.fmod, "modulo")


@loop
def _pow(x: Any, y: Any) -> Any:
    if floating(x):
        return np.power(x, y)
    if isinstance(y, int):  # by the short way: `_Pow.types` has not seen it
        if y < 0:
            raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
        y = np.asarray(y).astype(x.dtype)
    return loops.whole_power(np.asarray(x), np.asarray(y))


class _Pow(Elementwise):
    """A power, refused for integers with a negative number; a tensor of such gives 0, 1 and -1."""

    short = False

    def types(self, inputs: Any) -> tuple:
        found = super().types(inputs)
        exponent = inputs[1]
        if isinstance(exponent, int) and exponent < 0 and found[0].category == 1:
            raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
        return found


class _Sub(Elementwise):
    """A difference, refused where an operand is bool."""

    def types(self, inputs: Any) -> tuple:
        for x in inputs[self.promote]:
            if x.__class__ is bool or (isinstance(x, Tensor) and x.dtype is dtypes.bool_):
                raise NotImplementedError(
                    f"{self.name}: Subtraction, the `-` operator, with a bool tensor is not "
                    "supported. Use the `^` or `logical_xor()` operator of two masks, and `~` or "
                    "`logical_not()` to invert one."
                )
        return super().types(inputs)


def _inverse_square(x: Any, y: Any) -> Any:
    """`1 / (x^2 + y^2)`, and 0 at the origin."""
    square = x * x + y * y
    return where(square == 0, 0, square.reciprocal())


def _tie(g: Tensor, x: Any, y: Any) -> Any:
    """The gradient of the larger operand: half of it where both are equal; NaN is larger."""
    return where(x == y, g / 2, where(x < y, 0, g))


def _pow_base(g: Tensor, x: Any, y: Any) -> Any:
    if isinstance(y, Tensor):
        return where(y == 0, 0, g * conj(y * x ** (y - 1)))
    if y == 0:
        return g * 0
    return g * conj(x if y == 2 else x ** (y - 1)) * conj(y)


def _pow_exponent(g: Tensor, x: Any, y: Tensor, out: Tensor) -> Any:
    if not isinstance(x, Tensor):
        if x == 0:
            return where((y.real if y.dtype.is_complex else y) >= 0, 0, g * conj(out * -np.inf))
        return g * conj(out * (np.log(x) if isinstance(x, complex) or x > 0 else np.nan))
    zero = (x == 0) & ((y.real if y.dtype.is_complex else y) >= 0)
    return where(zero, 0, g * conj(out * x.log()))


add_ = binary("add", np.add, numbers="any", vjp=(lambda g: g, lambda g: g))
sub_ = binary(
    "sub", np.subtract, numbers="any", kind=_Sub, deny=("bool",), vjp=(lambda g: g, lambda g: -g)
)
mul = binary(
    "mul",
    np.multiply,
    "multiply",
    numbers="any",
    vjp=(lambda g, y: g * conj(y), lambda g, x: g * conj(x)),
)
_div = binary(
    "div",
    np.true_divide,
    numbers="any",
    result="float",
    domain=((-2.0, 2.0), (0.5, 2.0)),
    vjp=(lambda g, y: g / conj(y), lambda g, x, y: -g * conj(x / y / y)),
)
_floor_div = binary(
    "floor_divide",
    _floor_divide,
    numbers="any",
    deny=("complex", "bool"),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    vjp=(zero, zero),
)
_trunc_div = Elementwise(
    "trunc_divide",
    ("x", "y"),
    _trunc_divide,
    deny=("complex", "bool"),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    vjp=(zero, zero),
)
remainder = binary(
    "remainder",
    _remainder,
    deny=("complex", "bool"),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    vjp=(lambda g: g, lambda g, x, y: -g * _floor_div(x, y)),
)
fmod = binary(
    "fmod",
    _fmod,
    numbers="other",
    deny=("complex", "bool"),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    vjp=(lambda g: g, lambda g, x, y: -g * _trunc_div(x, y)),
)
pow = binary(
    "pow",
    _pow,
    kind=_Pow,
    names=("input", "exponent"),
    domain=((0.2, 3.0), (-2.0, 2.0)),
    vjp=(_pow_base, _pow_exponent),
)
maximum = binary(
    "maximum",
    np.maximum,
    numbers="none",
    inplace=False,
    deny=("complex",),
    vjp=(_tie, lambda g, x, y: _tie(g, y, x)),
)
minimum = binary(
    "minimum",
    np.minimum,
    numbers="none",
    inplace=False,
    deny=("complex",),
    vjp=(lambda g, x, y: _tie(g, y, x), _tie),
)
fmax = binary(
    "fmax",
    loops.fmax,
    numbers="none",
    inplace=False,
    deny=("complex",),
    vjp=(
        lambda g, x, y: where((x >= y) | isnan(y), g, 0),
        lambda g, x, y: where((x >= y) | isnan(y), 0, g),
    ),
)
fmin = binary(
    "fmin",
    loops.fmin,
    numbers="none",
    inplace=False,
    deny=("complex",),
    vjp=(
        lambda g, x, y: where((x <= y) | isnan(y), g, 0),
        lambda g, x, y: where((x <= y) | isnan(y), 0, g),
    ),
)
atan2 = binary(
    "atan2",
    np.arctan2,
    "arctan2",
    numbers="none",
    result="float",
    deny=("complex",),
    domain=(0.3, 2.0),
    vjp=(
        lambda g, x, y: g * y * _inverse_square(x, y),
        lambda g, x, y: g * -x * _inverse_square(x, y),
    ),
)
hypot = binary(
    "hypot",
    loops.hypot,
    numbers="none",
    deny=("complex", "bool", "integral"),
    domain=(0.3, 2.0),
    vjp=(lambda g, x, out: g * (x / out), lambda g, y, out: g * (y / out)),
)
copysign = binary(
    "copysign",
    np.copysign,
    numbers="other",
    result="float",
    deny=("complex",),
    vjp=(lambda g, x, out: where(x == 0, 0, g * (out / x)), zero),
)
logaddexp = binary(
    "logaddexp",
    loops.logaddexp,
    numbers="none",
    inplace=False,
    deny=("integral", "bool"),
    vjp=(
        lambda g, x, out: g * conj((x - out).exp()),
        lambda g, y, out: g * conj((y - out).exp()),
    ),
)
logaddexp2 = binary(
    "logaddexp2",
    loops.logaddexp2,
    numbers="none",
    inplace=False,
    deny=("integral", "bool", "complex"),
    vjp=(lambda g, x, out: g * (x - out).exp2(), lambda g, y, out: g * (y - out).exp2()),
)

eq = binary("eq", np.equal, numbers="other", result="bool")
ne = binary("ne", np.not_equal, "not_equal", numbers="other", result="bool")
lt = binary("lt", np.less, "less", numbers="other", result="bool", deny=("complex",))
le = binary("le", np.less_equal, "less_equal", numbers="other", result="bool", deny=("complex",))
gt = binary("gt", np.greater, "greater", numbers="other", result="bool", deny=("complex",))
ge = binary(
    "ge", np.greater_equal, "greater_equal", numbers="other", result="bool", deny=("complex",)
)
logical_and = binary("logical_and", loops.logical_and, numbers="none", result="bool")
logical_or = binary("logical_or", loops.logical_or, numbers="none", result="bool")
logical_xor = binary("logical_xor", loops.logical_xor, numbers="none", result="bool")
_BITS = ("floating", "complex")
bitwise_and = binary("bitwise_and", np.bitwise_and, deny=_BITS)
bitwise_or = binary("bitwise_or", np.bitwise_or, deny=_BITS)
bitwise_xor = binary("bitwise_xor", np.bitwise_xor, deny=_BITS)
bitwise_left_shift = binary("bitwise_left_shift", np.left_shift, deny=(*_BITS, "bool"))
bitwise_right_shift = binary("bitwise_right_shift", np.right_shift, deny=(*_BITS, "bool"))


# -- choice --------------------------------------------------------------------------------------


def _where_samples(s: Any) -> Any:
    for shape in ((3, 4), (), (0,), (2, 3, 5)):
        yield s(s.bools(shape), shape, shape)
    yield s(s.bools((3, 1)), (4,), ())
    yield s(s.bools((4,)), (3, 4), 0.5)


where_op = Elementwise(
    "where",
    ("condition", "x", "y"),
    loops.where,
    promote=slice(1, None),
    samples=_where_samples,
    vjp=(
        None,
        lambda g, condition: where_op(condition, g, 0),
        lambda g, condition: where_op(condition, 0, g),
    ),
)


def where(
    condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None
) -> Any:
    """Elements of `input` where `condition` holds, of `other` elsewhere; all three broadcast.

    With the condition alone: `nonzero(condition, as_tuple=True)`.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([-1.0, 2.0])
        >>> torch.where(x > 0, x, 0.0)
        tensor([0., 2.])
    """
    if not isinstance(condition, Tensor):
        raise TypeError(
            f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}"
        )
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)  # type: ignore[attr-defined]
    args = condition, as_operand("where", input), as_operand("where", other)
    if condition.dtype.name == "uint8":
        errors.warn("where received a uint8 condition tensor. Use a boolean condition instead.")
    elif condition.dtype.name != "bool":
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{condition.dtype}"
        )
    if not (isinstance(args[1], Tensor) and isinstance(args[2], Tensor)):
        dtype = where_op.types(args)[1]
        held = (x if isinstance(x, Tensor) else dtypes.held("where", x, dtype) for x in args[1:])
        args = condition, *held
    return where_op(*args) if out is None else into(where_op, out, *args)


def isnan(x: Any) -> Tensor:
    return ne(x, x)


def _factor(name: str, input: Any, other: Any, alpha: Number) -> Number:
    """`alpha` as a factor of `other`; refused where it is of a higher category than the result."""
    if not isinstance(alpha, Number):
        raise TypeError(f"{name}(): argument 'alpha' must be Number, not {type(alpha).__name__}")
    dtype = promoted((input, other))
    for category, kind, what in ((2, float | complex, "integral"), (3, complex, "real")):
        if dtype.category < category and isinstance(alpha, kind):
            raise RuntimeError(
                f"{name}: For {what} input tensors, argument alpha must not be "
                f"{alpha!r}, a number of a higher category."
            )
    return bool(alpha) if dtype.category == 0 else alpha


_add_scaled = Elementwise(
    "add_scaled",
    ("x", "y", "alpha"),
    loops.add_scaled,
    promote=slice(0, 2),
    body="add",
    vjp=(lambda g: g, lambda g, alpha: g * conj(alpha), None),
)
_sub_scaled = _Sub(
    "sub_scaled",
    ("x", "y", "alpha"),
    loops.sub_scaled,
    deny=("bool",),
    promote=slice(0, 2),
    body="sub",
    vjp=(lambda g: g, lambda g, alpha: -g * conj(alpha), None),
)


def _with_alpha(f: Callable, scaled: Elementwise, doc: str) -> Callable:
    op, call = f.op, f.call  # type: ignore[attr-defined]

    def chosen(input: Any, other: Any, alpha: Number) -> tuple[Elementwise, tuple]:
        input, other = as_operand(op.name, input), as_operand(op.name, other)
        factor = _factor(op.name, input, other, alpha)
        return (op, (input, other)) if factor == 1 else (scaled, (input, other, factor))

    def run(input: Any, other: Any, alpha: Number = 1, out: Any = None) -> Tensor:
        record, operands = chosen(input, other, alpha)
        return record(*operands) if out is None else into(record, out, *operands)

    full = full_call(op, ("input", "other"), run)

    def function(
        input: Any = ABSENT,
        other: Any = ABSENT,
        *old: Any,
        alpha: Number = 1,
        out: Tensor | None = None,
        **named: Any,
    ) -> Tensor:
        if old:
            other, alpha = number_first(op.name, (other, *old), "alpha")
        if named or asking:
            return full((input, other), named, {"alpha": alpha, "out": out})
        try:
            if out is None and alpha.__class__ is int and alpha == 1:
                return call(input, other)
            return run(input, other, alpha, out)
        except TypeError as error:
            return full((input, other), named, {"alpha": alpha, "out": out}, error)

    def change(self: Tensor, other: Any, *old: Any, alpha: Number = 1) -> Tensor:
        if old:
            other, alpha = number_first(f"{op.name}_", (other, *old), "alpha")
        record, operands = chosen(self, other, alpha)
        return record.inplace(*operands)

    function.__name__, function.__doc__, function.op = op.name, doc, op  # type: ignore[attr-defined]
    function.call, op.public = call, function  # type: ignore[attr-defined]
    function.__signature__ = shown(function)  # type: ignore[attr-defined]
    PUBLIC[op.name] = function
    attach(op.name, function)
    attach(f"{op.name}_", change)
    return function


add = _with_alpha(add_, _add_scaled, "`input + alpha * other`, broadcast and promoted.")
sub = _with_alpha(sub_, _sub_scaled, "`input - alpha * other`, broadcast and promoted.")
subtract = PUBLIC["subtract"] = sub
attach("subtract", sub)
attach("subtract_", Tensor.sub_)  # type: ignore[attr-defined]


_ROUNDINGS = {None: _div.op, "trunc": _trunc_div, "floor": _floor_div.op}  # type: ignore[attr-defined]


def _rounding(mode: str | None) -> Elementwise:
    if mode not in _ROUNDINGS:
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'"
        )
    return _ROUNDINGS[mode]


def div(
    input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """`input / other`; true division also of integers, unless `rounding_mode` is `"trunc"` or
    `"floor"`."""
    if rounding_mode is None and out is None:
        return _div.call(input, other)  # type: ignore[attr-defined]
    op = _rounding(rounding_mode)
    args = as_operand("div", input), as_operand("div", other)
    return op(*args) if out is None else into(op, out, *args)


def _div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    return _rounding(rounding_mode).inplace(self, as_operand("div", other))


divide = true_divide = div
for _name in ("div", "divide", "true_divide"):
    attach(_name, div)
    attach(f"{_name}_", _div_)
    PUBLIC[_name] = div
floor_divide = _floor_div


PUBLIC["where"] = where
attach("where", lambda self, condition, other: where(condition, self, other))


# -- Python's operators -------------------------------------------------------------------------


def _operator(call: Callable, swap: bool = False) -> Callable:
    op = call.op  # type: ignore[attr-defined]

    def operator(self: Tensor, other: Any) -> Any:
        try:
            return op(as_operand(op.name, other), self) if swap else call(self, other)
        except TypeError as error:
            if "must be Tensor or Number" in str(error):
                return NotImplemented
            raise

    return operator


def _inplace_operator(f: Callable) -> Callable:
    return lambda self, other: f.op.inplace(self, as_operand(f.op.name, other))  # type: ignore


for _name, _f in {
    "add": add_,
    "sub": sub_,
    "mul": mul,
    "truediv": _div,
    "floordiv": _floor_div,
    "mod": remainder,
    "pow": pow,
    "and": bitwise_and,
    "or": bitwise_or,
    "xor": bitwise_xor,
    "lshift": bitwise_left_shift,
    "rshift": bitwise_right_shift,
}.items():
    attach(f"__{_name}__", _f.call)
    attach(f"__r{_name}__", _operator(_f, swap=True))
    attach(f"__i{_name}__", _inplace_operator(_f))
attach("__rdiv__", lambda self, other: self.reciprocal() * other)
attach("__idiv__", Tensor.__itruediv__)  # type: ignore[attr-defined]
attach("__div__", Tensor.__truediv__)  # type: ignore[attr-defined]
for _name, _f in {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}.items():
    attach(f"__{_name}__", _operator(_f.call))
Tensor.__hash__ = object.__hash__  # type: ignore[assignment]
