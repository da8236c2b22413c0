"""The public forms of an elementwise operator: a short way for small tensors, `out=`, operands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import state
from ..autograd.node import OpNode
from ..op import check_writable, copy_data, users_level
from ..op.overrides import answered, asking, consulted
from ..runtime import host, parallel
from ..runtime.quiet import enter, leave
from ..tensor import Storage, Tensor, wrap
from .arguments import placed
from .elementwise import NO_PARAMS, RESULTS, SCALARS, Elementwise
from .elementwise_short import again, written
from .out_dtypes import check_out_dtype


def unary_call(op: Elementwise, named: str = "input") -> Callable[[Tensor], Tensor]:
    """The operator as a function of one tensor, with a short way where no cast is needed."""
    loop, asarray, ndarray, big = op.loop, np.asarray, np.ndarray, parallel.BIG
    fast = op.alike()

    def call(input: Tensor) -> Tensor:
        x = input
        if x.__class__ is not Tensor and not isinstance(x, Tensor):
            raise TypeError(
                f"{op.name}(): argument '{named}' (position 1) must be Tensor, not "
                f"{type(x).__name__}"
            )
        d, dtype = x._data, fast.get(x.dtype)
        if d.__class__ is not ndarray:
            r = None if state.transforms else again(op, (x,), d)
            if r is None:
                return op(x)
            out = wrap(r, r.dtype)
            if state.grad and op.rules is not None:
                op.record((x,), NO_PARAMS, out)
            return out
        if dtype is None or d.size > big or state.transforms:
            return op(x)
        if not d.flags.c_contiguous:
            return op(x)  # NumPy would choose another order of dimensions
        token = enter()
        r = loop(d)
        leave(token)
        out = wrap(r if r.__class__ is ndarray else asarray(r), dtype)
        if state.grad and (x._edge is not None or x._view is not None) and op.rules is not None:
            op.record((x,), NO_PARAMS, out)
        return out

    call.__name__, call.__doc__ = op.name, op.__doc__
    call.op = op  # type: ignore[attr-defined]
    return call


def _fits(value: int, dtype: np.dtype) -> bool:
    """Whether an integer dtype holds a number."""
    bits = 8 * dtype.itemsize
    if dtype.kind == "u":
        return 0 <= value < 1 << bits
    return -(1 << bits - 1) <= value < 1 << bits - 1


def binary_call(op: Elementwise, take: Callable, tensors: bool) -> Callable[[Any, Any], Tensor]:
    """The operator as a function of a tensor and a tensor or number, with a short way.

    `take(x, y)` gives the operands, or refuses them; `tensors`: numbers are always refused.
    """
    loop, asarray, ndarray, big = op.loop, np.asarray, np.ndarray, parallel.BIG
    fast, differentiable, saves, rules = op.alike(), op.rules is not None, op.saves, op.rules
    compares = op._rule is RESULTS["bool"]

    def call(input: Any, other: Any) -> Tensor:
        x, y = input, other
        try:
            d, dtype = x._data, fast.get(x.dtype)
            e = y._data if isinstance(y, Tensor) else y
        except AttributeError:
            return op(*take(x, y))
        if d.__class__ is not ndarray:
            r = None if (tensors and e is y) or state.transforms else again(op, (x, y), d, e)
            if r is None:
                return op(*take(x, y))
            out = wrap(r, r.dtype)
            if state.grad and differentiable:
                op.record((x, y), NO_PARAMS, out)
            return out
        if dtype is None or d.size > big or state.transforms:
            return op(*take(x, y))
        if not (d.flags.c_contiguous and (e.__class__ is not ndarray or e.flags.c_contiguous)):
            return op(*take(x, y))  # NumPy would choose another order of dimensions
        if e is y:
            kind = e.__class__
            if tensors or (
                (kind is not float or x.dtype.category != 2)
                and (kind is not int or x.dtype.category not in (1, 2))
            ):
                return op(*take(x, y))
            if compares and kind is int and x.dtype.category == 1 and not _fits(y, d.dtype):  # type: ignore
                return op(*take(x, y))  # NumPy would not wrap it around
        elif e.__class__ is not ndarray or y.dtype is not x.dtype or e.size > big:
            return op(x, y)
        token = enter()
        try:
            r = loop(d, e)
        except (ValueError, OverflowError):
            leave(token)
            return op(x, y)  # says what is wrong, or wraps a large number around
        leave(token)
        out = wrap(r if r.__class__ is ndarray else asarray(r), dtype)
        if differentiable and state.grad:
            xe = x._edge if x._view is None else x.current_edge()
            ye = None if e is y else y._edge if y._view is None else y.current_edge()
            if xe is not None or ye is not None:
                node = OpNode(op, (xe, ye), ((r.shape, dtype),), None, NO_PARAMS)
                if saves:
                    node.saved = rules.save((x, y), (out,), node.edges)  # type: ignore[union-attr]
                out._edge = (node, 0)
        return out

    call.__name__, call.__doc__ = op.name, op.__doc__
    call.op = op  # type: ignore[attr-defined]
    return call


_DEFAULTS = {"alpha": 1, "out": None}


def full_call(
    op: Elementwise, names: Sequence[str], call: Callable, take: Callable | None = None
) -> Callable:
    """What a published function does where a class is to be asked, operands have NumPy's names,
    or the short way ended in an error.

    `call(*operands, **keywords)` is the short way, or only without `out`, and `take(*operands)`
    then gives the record's inputs.
    """

    def run(given: tuple, keywords: dict[str, Any]) -> Tensor:
        if take is None or not keywords:
            return call(*given, **keywords)
        return into(op, keywords["out"], *take(*given))

    def full(given: tuple, named: dict, keywords: dict[str, Any], error: Any = None) -> Tensor:
        keywords = {k: x for k, x in keywords.items() if x is not _DEFAULTS[k]}
        given = placed(op.name, names, given, named)
        if error is None:
            if asking and (made := consulted(op.public, given, keywords)) is not NotImplemented:
                return made
            try:
                return run(given, keywords)
            except TypeError as wrong:
                error = wrong
        return answered(error, op.public, given, keywords)

    return full


def as_operand(name: str, x: Any) -> Any:
    """A tensor or a Python number; NumPy's scalars and arrays are converted."""
    if isinstance(x, Tensor | SCALARS):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray):
        return wrap(x, dtypes.of(x.dtype))
    raise TypeError(f"{name}(): argument must be Tensor or Number, not {type(x).__name__}")


def operands(
    name: str, numbers: str, names: Sequence[str]
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """A function that makes operands of two arguments; `numbers` says which may be numbers."""
    refused = {
        "any": (),
        "one": ((False, False),),
        "other": ((False, False), (False, True)),
        "none": ((False, False), (False, True), (True, False)),
    }[numbers]

    def take(x: Any, y: Any) -> tuple[Any, Any]:
        pair = as_operand(name, x), as_operand(name, y)
        tensors = isinstance(pair[0], Tensor), isinstance(pair[1], Tensor)
        if tensors in refused:
            if numbers == "one":
                raise TypeError(
                    f"{name}() received an invalid combination of arguments - got "
                    f"({type(x).__name__}, {type(y).__name__}), but expected one Tensor at least"
                )
            at = tensors.index(False)
            raise TypeError(
                f"{name}(): argument '{names[at]}' (position {at + 1}) must be "
                f"Tensor, not {type((x, y)[at]).__name__}"
            )
        return pair

    return take


def into(op: Elementwise, out: Tensor, *inputs: Any, own: bool = False) -> Tensor:
    """The operator with `out=`: resized where empty, written without a copy; with `own` only to
    the dtype of the result."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    plain = out._edge is None and (out._view is None or not out.requires_grad)
    if plain and written(op, out, inputs):
        out.storage_.bump(op.name)
        return out
    if state.grad and (
        out.requires_grad or any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    ):
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    resize_out(op.name, out, op.spec(*inputs)[0])
    check_writable(op.name, out)
    dtype = op.spec(*inputs)[1]
    if out.dtype is not dtype:
        lengths = op.name == "abs" and not getattr(inputs[0], "dtype", dtype).is_complex
        check_out_dtype(op.name, out.dtype, dtype, own or lengths)
    op.check_result(op.name, out, inputs)
    if state.transforms:  # which are to see the operator
        copy_data(out._data, op(*inputs)._data)
    else:
        op.evaluate(inputs, out._data)
    out.storage_.bump(op.name)
    return out


def resize_out(name: str, out: Tensor, shape: tuple[int, ...]) -> None:
    """Give `out` the shape of a result; with a warning where it held elements."""
    if tuple(out._data.shape) == tuple(shape):
        return
    if out._data.size:
        warnings.warn(
            f"{name}: An output with one or more elements was resized since it had shape "
            f"{list(out.shape)}, which does not match the required output shape {list(shape)}.",
            UserWarning,
            stacklevel=users_level(),
        )
    if out.is_cpu:
        out._data = host.empty(tuple(shape), out.dtype.np)
    else:
        from ..runtime import accelerator

        out._data = accelerator.empty(tuple(shape), out.dtype, out.device)
    # the memory it had may have other views: they keep it, with its storage
    out._storage = Storage(out._data, out.storage_.version)
    out._base = out._view = None
