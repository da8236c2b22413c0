"""From an operator record to its public forms: function with `out=`, method, in-place method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.mode import state
from ..op import check_writable, copy_data
from ..tensor import Tensor
from .elementwise import Elementwise, as_operand, binary_call, into, resize_out, unary_call

PUBLIC: dict[str, Callable] = {}  # name -> public function, for the pages and the tests
FUNCTIONAL: dict[str, Callable] = {}  # the same for the functions of `nn.functional`
SPACES: dict[str, dict[str, Callable]] = {  # the same for further namespaces
    name: {} for name in ("fft", "linalg", "special", "signal.windows", "masked")
}


def attach(name: str, f: Callable, *aliases: str) -> None:
    """Make `f` a method of Tensor under a name and its aliases."""
    for n in (name, *aliases):
        setattr(Tensor, n, f)


def unary(
    name: str,
    loop: Callable,
    *aliases: str,
    inplace: bool = True,
    method: bool = True,
    **fields: Any,
) -> Callable:
    """Declare an elementwise operator of one tensor, with all its forms."""
    op = Elementwise(name, ("x",), loop, **fields)
    call = unary_call(op)

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if out is None:
            return call(input)
        return into(op, out, input)

    def change(self: Tensor) -> Tensor:
        return op.inplace(self)

    return _publish(op, function, call, change, aliases, inplace, method)


def binary(
    name: str,
    loop: Callable,
    *aliases: str,
    kind: type[Elementwise] = Elementwise,
    inplace: bool = True,
    method: bool = True,
    **fields: Any,
) -> Callable:
    """Declare an elementwise operator of two tensors, or a tensor and a number."""
    op = kind(name, ("x", "y"), loop, **fields)
    call = binary_call(op)

    def function(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        if out is None:
            return call(input, other)
        return into(op, out, as_operand(name, input), as_operand(name, other))

    def change(self: Tensor, other: Any) -> Tensor:
        return op.inplace(self, as_operand(name, other))

    return _publish(op, function, call, change, aliases, inplace, method)


def _publish(
    op: Elementwise,
    function: Callable,
    call: Callable,
    change: Callable,
    aliases: Sequence[str],
    inplace: bool,
    method: bool,
) -> Callable:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__, function.op = op.__doc__, op  # type: ignore[attr-defined]
    function.call = call  # type: ignore[attr-defined]
    for n in (op.name, *aliases):
        PUBLIC[n] = function
        if method:
            setattr(Tensor, n, call)
        if inplace:
            change.__name__ = f"{op.name}_"
            setattr(Tensor, f"{n}_", change)
    return function


def public(
    *aliases: str,
    method: bool = True,
    inplace: bool = False,
    out: bool = False,
    space: str | None = None,
) -> Callable[[Callable], Any]:
    """Publish a composite: as a method of the same name, in place and with `out=` where asked.

    `inplace` and `out` are derived: the functional result is copied into the tensor. With `space`
    it goes into that namespace instead, as a function only.
    """
    if space is not None:
        return functools.partial(_publish_in, SPACES[space], aliases, out)

    def publish(f: Callable) -> Callable:
        function = with_out(f) if out else f
        checked = explained(function)
        for n in (f.__name__, *aliases):
            PUBLIC[n] = checked
            if method:
                setattr(Tensor, n, f)
            if inplace:
                setattr(Tensor, f"{n}_", in_place_of(f, n))
        return function

    return publish


def _publish_in(
    table: dict[str, Callable], aliases: Sequence[str], out: bool, f: Callable
) -> Callable:
    function = explained(with_out(f) if out else f)
    table.update(dict.fromkeys((f.__name__.rstrip("_"), *aliases), function))
    return function


def explained(f: Callable) -> Callable:
    """`f`, with a TypeError that names the argument where one that is to be a tensor is none.

    It looks only after `f` has failed: a call that is right pays nothing.
    """

    @functools.wraps(f)
    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except AttributeError:
            signature = inspect.signature(f)
            given = signature.bind(*args, **kwargs).arguments
            for position, (name, p) in enumerate(signature.parameters.items(), 1):
                x = given.get(name)
                if p.annotation == "Tensor" and name in given and not isinstance(x, Tensor):
                    raise TypeError(
                        f"{f.__name__}(): argument '{name}' (position {position}) must be Tensor, "
                        f"not {type(x).__name__}"
                    ) from None
            raise

    return function


def in_place_of(f: Callable, name: str) -> Callable:
    """`x.f_(...)` as `x.copy_(f(x, ...))`."""

    @functools.wraps(f)
    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = f(self, *args, **kwargs)
        if result.shape != self.shape:
            raise RuntimeError(
                f"{name}_: output with shape {list(self.shape)} doesn't match the broadcast shape "
                f"{list(result.shape)}"
            )
        return self.copy_(result)  # type: ignore[attr-defined]

    change.__name__ = change.__qualname__ = f"{name}_"
    return change


def with_out(f: Callable) -> Callable:
    """`f` with a keyword `out`: a tensor, or a tuple of them for several results."""

    @functools.wraps(f)
    def function(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return f(*args, **kwargs)
        grad, state.grad = state.grad, False
        try:
            result = f(*args, **kwargs)
        finally:
            state.grad = grad
        if isinstance(out, Tensor) and isinstance(result, Tensor):
            return write_out(f.__name__, out, result)
        if isinstance(result, Tensor) or not isinstance(out, tuple | list):
            raise TypeError(
                f"{f.__name__}(): argument 'out' must be "
                f"{'Tensor' if isinstance(result, Tensor) else 'tuple of Tensors'}, not "
                f"{type(out).__name__}"
            )
        if len(out) != len(result):
            raise TypeError(f"{f.__name__}(): expected {len(result)} tensors in 'out'")
        for o, r in zip(out, result, strict=True):
            write_out(f.__name__, o, r)
        return type(result)(*out) if hasattr(result, "_fields") else tuple(out)

    signature = inspect.signature(f)
    parameters = list(signature.parameters.values())
    if "out" not in signature.parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None))
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def write_out(name: str, out: Tensor, result: Tensor) -> Tensor:
    """Store a result in `out`, resized to its shape."""
    from .. import dtypes

    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if state.grad and out.requires_grad:
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    if result.dtype is not out.dtype and not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"{name}: result type {result.dtype.name} can't be cast to the desired "
            f"output type {out.dtype.name}"
        )
    resize_out(name, out, tuple(result.shape))
    check_writable(name, out)
    copy_data(out._data, result._data)
    out.storage_.bump(name)
    return out
