"""From an operator record to its public forms: function with `out=`, method, in-place method."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import state
from ..op import check_writable, copy_data
from ..op.overrides import asking
from ..tensor import Tensor
from .arguments import ABSENT, explained, renamed, shown
from .autocast import listed, paused
from .elementwise import Elementwise
from .elementwise_docs import described
from .elementwise_forms import binary_call, full_call, into, operands, resize_out, unary_call
from .out_dtypes import IN_DTYPE_OF_OUT, check_out_dtype

PUBLIC: dict[str, Callable] = {}  # name -> public function, for the pages and the tests
FUNCTIONAL: dict[str, Callable] = {}  # the same for the functions of `nn.functional`
SPACES: dict[str, dict[str, Callable]] = {  # the same for further namespaces
    name: {} for name in ("fft", "linalg", "special", "signal.windows", "masked")
}

# functions and methods that PyTorch has in Python, and which take none of NumPy's keywords
IN_PYTHON = frozenset(
    [
        "block_diag",
        "broadcast_tensors",
        "cartesian_prod",
        "cdist",
        "chain_matmul",
        "einsum",
        "meshgrid",
        "norm",
        "split",
        "stft",
        "tensordot",
        "unique",
        "unique_consecutive",
    ]
)
# those of `nn.functional` that it does not, and which do
BUILT_IN = frozenset(
    [
        "adaptive_avg_pool1d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "bilinear",
        "channel_shuffle",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_tbc",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "cosine_similarity",
        "elu_",
        "gelu",
        "hardshrink",
        "hardtanh_",
        "leaky_relu_",
        "linear",
        "logsigmoid",
        "native_channel_shuffle",
        "one_hot",
        "pairwise_distance",
        "pdist",
        "pixel_shuffle",
        "pixel_unshuffle",
        "prelu",
        "scaled_dot_product_attention",
        "softplus",
        "softshrink",
    ]
)
# functions whose annotations explain nothing, but which ask the classes of what they get
ASK = ("einsum", "broadcast_tensors", "atleast_1d", "atleast_2d", "atleast_3d", "result_type")


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
    space: str | None = None,
    names: Sequence[str] = ("input",),
    **fields: Any,
) -> Callable:
    """Declare an elementwise operator of one tensor, with all its forms.

    `loop(x, out=None)` is NumPy's side. The rule `vjp` takes the gradient, and by these names `x`
    and the result `out`. `names` names the parameter of the public forms. With `space` it is a
    function of that namespace only.
    """
    fields.setdefault("doc", _described(name, names, fields))
    op = Elementwise(name, ("x",), loop, **fields)
    call = unary_call(op, names[0])
    full = full_call(op, names, call, lambda x: (x,))

    def function(input: Tensor = ABSENT, *, out: Tensor | None = None, **named: Any) -> Tensor:
        if named or asking:
            return full((input,), named, {"out": out})
        try:
            return call(input) if out is None else into(op, out, input)
        except TypeError as error:
            return full((input,), named, {"out": out}, error)

    def change(self: Tensor) -> Tensor:
        return op.inplace(self)

    forms = _named(names, function, call, change)
    return _publish(op, *forms, aliases, inplace, method, space)  # type: ignore


def binary(
    name: str,
    loop: Callable,
    *aliases: str,
    kind: type[Elementwise] = Elementwise,
    numbers: str = "one",
    inplace: bool = True,
    method: bool = True,
    space: str | None = None,
    names: Sequence[str] = ("input", "other"),
    **fields: Any,
) -> Callable:
    """Declare an elementwise operator of two tensors, or a tensor and a number.

    `loop(x, y, out=None)` is NumPy's side. `vjp` are two rules, of which each takes the gradient,
    and by these names `x`, `y` and the result `out`. `numbers` says which operands of the public
    forms may be Python numbers: "any", "one" of the two, only the "other", or "none"; `names` names
    them. With `space` it is a function of that namespace only.
    """
    fields.setdefault("doc", _described(name, names, fields))
    op = kind(name, ("x", "y"), loop, **fields)
    take = operands(name, numbers, names)
    call = binary_call(op, take, numbers == "none")
    full = full_call(op, names, call, take)

    def function(
        input: Any = ABSENT, other: Any = ABSENT, *, out: Tensor | None = None, **named: Any
    ) -> Tensor:
        if named or asking:
            return full((input, other), named, {"out": out})
        try:
            return call(input, other) if out is None else into(op, out, *take(input, other))
        except TypeError as error:
            return full((input, other), named, {"out": out}, error)

    def change(self: Tensor, other: Any) -> Tensor:
        return op.inplace(*take(self, other))

    forms = _named(names, function, call, change)
    return _publish(op, *forms, aliases, inplace, method, space)  # type: ignore


def _described(name: str, names: Sequence[str], fields: dict) -> str | None:
    return described(name, names, fields.get("result", "same"), fields.get("deny", ()))


def _named(names: Sequence[str], *forms: Callable) -> list[Callable]:
    """The forms of an operator with these names of its operands."""
    change = dict(zip(("input", "other"), names, strict=False))
    if all(old == new for old, new in change.items()):
        return list(forms)
    return [renamed(f, **change) for f in forms]


def _publish(
    op: Elementwise,
    function: Callable,
    call: Callable,
    change: Callable,
    aliases: Sequence[str],
    inplace: bool,
    method: bool,
    space: str | None,
) -> Callable:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__, function.op = op.__doc__, op  # type: ignore[attr-defined]
    function.call, function.__signature__ = call, shown(function)  # type: ignore[attr-defined]
    op.public = function
    for n in (op.name, *aliases):
        if space is not None:
            SPACES[space][n] = function
            continue
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
        return functools.partial(_publish_in, space, aliases, out)

    def publish(f: Callable) -> Callable:
        f = listed(f)
        function = with_out(f) if out else f
        for n in (f.__name__, *aliases):
            PUBLIC[n] = function
            if method:
                setattr(Tensor, n, f)
            if inplace:
                setattr(Tensor, f"{n}_", in_place_of(f, n))
        return function

    return publish


def _publish_in(space: str, aliases: Sequence[str], out: bool, f: Callable) -> Callable:
    f = listed(f, space)
    function = with_out(f) if out else f
    SPACES[space].update(dict.fromkeys((f.__name__, *aliases), function))
    return function


def called(name: str) -> Callable[[Callable], Any]:
    """Give a function the name that it is published and reported under."""

    def rename(f: Callable) -> Callable:
        f.__name__ = f.__qualname__ = name
        return f

    return rename


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
        if not dtypes.can_cast(result.dtype, self.dtype):
            raise RuntimeError(
                f"{name}_: result type {result.dtype.name} can't be cast to the desired output "
                f"type {self.dtype.name}"
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
        if f.__name__ in IN_DTYPE_OF_OUT and kwargs.get("dtype") is None:
            kwargs["dtype"] = getattr(out, "dtype", None)
        grad, state.grad = state.grad, False
        try:
            with paused():  # `out` says the dtype
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
            write_out(f.__name__, o, r, own=True)
        return type(result)(*out) if hasattr(result, "_fields") else tuple(out)

    signature = inspect.signature(f)
    parameters = list(signature.parameters.values())
    if "out" not in signature.parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None))
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def write_out(name: str, out: Tensor, result: Tensor, own: bool = False) -> Tensor:
    """Store a result in `out`, resized to its shape; with `own`, of the result's dtype only."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if state.grad and out.requires_grad:
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    if result.dtype is not out.dtype:
        check_out_dtype(name, out.dtype, result.dtype, own)
    resize_out(name, out, tuple(result.shape))
    check_writable(name, out)
    copy_data(out._data, result._data)
    out.storage_.bump(name)
    return out


def finish() -> None:
    """After the last operator: what all published functions and methods have in common.

    Functions and methods explain wrong arguments, except the elementwise ones, which look at
    their operands anyway; the first
    parameter of a method is `self`, of a function never.
    """
    functions: dict[Callable, Callable] = {}
    for table in (PUBLIC, FUNCTIONAL, *SPACES.values()):
        for name, f in table.items():
            if isinstance(f, types.FunctionType):
                f.__doc__ = f.__doc__ or _as_function(name)
                if f not in functions:
                    own = _with_first(f, "input") if _first(f) == "self" else f
                    numpy = name not in (IN_PYTHON if table is PUBLIC else ())
                    numpy = numpy and (table is not FUNCTIONAL or name in BUILT_IN)
                    wrap = _tells(own) or name in ASK
                    functions[f] = explained(own, numpy) if wrap else own
                table[name] = functions[f]
    methods: dict[Callable, Callable] = {}
    for name, f in list(vars(Tensor).items()):
        if isinstance(f, types.FunctionType) and not f.__module__.endswith(".tensor"):
            f.__doc__ = f.__doc__ or _as_function(name)
            if f not in methods:
                own = _with_first(f, "self")
                plain = name.startswith("__") or not _tells(f)
                methods[f] = own if plain else explained(own, name not in IN_PYTHON)
            setattr(Tensor, name, methods[f])


def _as_function(name: str) -> str | None:
    """The docstring of a form that has none: its function's, or which function it applies."""
    for table in (FUNCTIONAL, PUBLIC):
        if name in table and table[name].__doc__:
            return table[name].__doc__
    if name.endswith("_") and not name.endswith("__"):
        return f"`{name[:-1]}`, its result written into the tensor itself, which is returned."
    return None


def place() -> None:
    """Published functions say where they are found, so that they can be pickled: a model may hold
    one, and a worker process be given one."""
    tables = [("tritorch", PUBLIC), ("tritorch.nn.functional", FUNCTIONAL)]
    tables += [(f"tritorch.{space}", table) for space, table in SPACES.items()]
    placed: set[Callable] = set()
    for module, table in tables:
        for name, f in table.items():
            if isinstance(f, types.FunctionType) and f not in placed:
                f.__module__, f.__qualname__ = module, name
                f.__name__ = name if f.__name__.startswith("_") else f.__name__
                placed.add(f)


def _tells(f: Callable) -> bool:
    """Whether the annotations of a function could explain a failure of it."""
    if hasattr(f, "op") or hasattr(f, "explained"):
        return False
    names = [k for k, kind in f.__annotations__.items() if kind != "Any" and k != "return"]
    return bool(names) and names != ["self"]


def _first(f: Callable) -> str | None:
    return f.__code__.co_varnames[0] if f.__code__.co_argcount else None


def _with_first(f: Callable, name: str) -> Callable:
    """The function with another name of its first parameter, and what it wraps with it."""
    first = _first(f)
    own = renamed(f, **{} if first is None else {first: name})
    own.__dict__.pop("__signature__", None)
    if hasattr(f, "__wrapped__"):
        own.__wrapped__ = _with_first(f.__wrapped__, name)  # type: ignore[attr-defined]
    return own
