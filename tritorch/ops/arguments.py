"""Kinds of arguments: what the annotations of a public function say of a call that has failed.

Nothing is looked at while a call goes well, so that one which is right pays nothing.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors
from ..dtypes import PYTHON, DType
from ..op.overrides import answered, asking, consulted, overloaded
from ..tensor import Tensor


def _whole(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x._data.size == 1 and x.dtype.category == 1
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def _real(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x._data.size == 1
    return isinstance(x, int | float | np.number | np.bool)


def _number(x: Any) -> bool:
    return _real(x) or isinstance(x, complex)


KINDS: dict[str, Callable[[Any], bool]] = {
    "Tensor": lambda x: isinstance(x, Tensor),
    "int": _whole,
    "float": _real,
    "complex": _number,
    "Number": _number,
    "bool": lambda x: isinstance(x, bool | np.bool),
    "str": lambda x: isinstance(x, str),
    "DType": lambda x: isinstance(x, DType | type),
    "None": lambda x: x is None,
}
SEQUENCES = {"Sequence": Sequence, "tuple": tuple | list, "list": tuple | list, "Size": tuple}


def fits(x: Any, kind: ast.expr) -> bool:
    """Whether an argument is of an annotated kind; what is not known here fits."""
    if isinstance(kind, ast.BinOp):
        return fits(x, kind.left) or fits(x, kind.right)
    if isinstance(kind, ast.Constant):
        return x is None if kind.value is None else True
    if isinstance(kind, ast.Attribute):
        kind = ast.Name(kind.attr)
    if isinstance(kind, ast.Name):
        if kind.id in SEQUENCES:
            return isinstance(x, SEQUENCES[kind.id]) and not isinstance(x, str)  # type: ignore
        return kind.id not in KINDS or KINDS[kind.id](x)
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        if kind.value.id not in SEQUENCES:
            return True
        if isinstance(x, str) or not isinstance(x, SEQUENCES[kind.value.id]):  # type: ignore
            return False
        each = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        if kind.value.id != "tuple" or isinstance(each[-1], ast.Constant):
            return all(fits(item, each[0]) for item in x)
        return len(each) == len(x) and all(map(fits, x, each))
    return True


@functools.cache
def kind_of(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def misfit(f: Callable, args: tuple, kwargs: dict) -> str | None:
    """What is wrong with the kind of an argument of `f`, or None."""
    signature = inspect.signature(f)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # Python has said it
    for position, (name, p) in enumerate(signature.parameters.items(), 1):
        if name not in given or not isinstance(p.annotation, str):
            continue
        kind, x = kind_of(p.annotation), given[name]
        many = {p.VAR_POSITIONAL: x, p.VAR_KEYWORD: ()}.get(p.kind, (x,))
        for item in many:
            if item is not p.default and not fits(item, kind):
                at = "" if p.kind is p.KEYWORD_ONLY else f" (position {position})"
                return (
                    f"{f.__name__}(): argument '{name}'{at} must be "
                    f"{_spelled(p.annotation)}, not {_shown(item)}"
                )
    return None


def _spelled(annotation: str) -> str:
    """An annotation in words: `Sequence[int] | None` is "tuple of ints"."""
    words = re.sub(r"Sequence\[(\w+)\]", r"tuple of \1s", annotation).replace("DType", "dtype")
    return " or ".join(w for w in words.split(" | ") if w != "None") or words


def _shown(x: Any) -> str:
    if isinstance(x, tuple | list) and x:
        return f"{type(x).__name__} of {', '.join(dict.fromkeys(type(i).__name__ for i in x))}"
    return type(x).__name__


NUMPYS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input"}
NUMPYS["x2"] = "other"


class _Absent:
    """In place of an argument that is given by another name, or not at all."""

    def __repr__(self) -> str:
        return "no argument"


ABSENT: Any = _Absent()


def placed(name: str, names: Sequence[str], given: tuple, named: dict) -> tuple:
    """The operands of a call, some of which may be among its keywords in NumPy's names.

    TypeError where one is missing, or where a keyword is none of those names.
    """
    found = dict(zip(names, given, strict=True))
    for key, x in named.items():
        if found.get(NUMPYS.get(key, "")) is not ABSENT:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
        found[NUMPYS[key]] = x
    missing = [repr(k) for k, x in found.items() if x is ABSENT]
    if missing:
        raise TypeError(
            f"{name}() missing {len(missing)} required positional "
            f"argument{'s' if missing[1:] else ''}: {' and '.join(missing)}"
        )
    return tuple(found.values())


def shown(function: Callable) -> inspect.Signature:
    """The signature of a function that takes NumPy's names as `**named`, without them."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = [p.replace(default=p.empty) if p.default is ABSENT else p for p in own]
    return signature.replace(parameters=own)


def in_our_names(f: Callable, kwargs: dict) -> dict | None:
    """The keywords of NumPy replaced by those of `f` that mean the same, or None without any."""
    own = inspect.signature(f).parameters
    given = {
        NUMPYS[k] if k not in own and NUMPYS.get(k) in own else k: v for k, v in kwargs.items()
    }
    return given if given.keys() != kwargs.keys() and len(given) == len(kwargs) else None


def in_our_dtypes(args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """The arguments with dtypes for Python's types `bool`, `int`, `float`; None without any."""
    if not any(isinstance(x, type) and x in PYTHON for x in (*args, *kwargs.values())):
        return None

    def own(x: Any) -> Any:
        return PYTHON.get(x, x) if isinstance(x, type) else x

    return tuple(map(own, args)), {k: own(x) for k, x in kwargs.items()}


def explained(f: Callable, numpy: bool = True) -> Callable:
    """`f`, with a TypeError that names the argument where a failure comes from its kind.

    Keywords of NumPy, `axis` and its like, are taken as in PyTorch, whose functions written in
    Python know none (not `numpy`); only a call with them, which fails first, pays for it.
    """

    @functools.wraps(f)
    def function(*args: Any, **kwargs: Any) -> Any:
        if asking and (made := consulted(function, args, kwargs)) is not NotImplemented:
            return made
        try:
            return f(*args, **kwargs)
        except Exception as error:
            if overloaded((*args, *kwargs.values())) and not asking:
                return answered(error, function, args, kwargs)
            if (dtyped := in_our_dtypes(args, kwargs)) is not None:
                return function(*dtyped[0], **dtyped[1])
            if numpy and kwargs and type(error) is TypeError and (ours := in_our_names(f, kwargs)):
                return function(*args, **ours)
            wrong = misfit(f, args, kwargs)
            if wrong is not None:
                raise TypeError(wrong) from error
            better = errors.named(f"{f.__name__}()", error, args, kwargs)
            if better is not error:
                raise better from error
            errors.note(f.__name__, error, args, kwargs)
            raise

    function.explained = True  # type: ignore[attr-defined]
    return function


def renamed(f: Callable, **names: str) -> Callable:
    """`f` with parameters of other names: the same code, so that calls cost what they did."""

    def swap(variables: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(v, v) for v in variables)

    code = f.__code__
    code = code.replace(
        co_varnames=swap(code.co_varnames), co_cellvars=swap(code.co_cellvars), co_name=f.__name__
    )
    copy = types.FunctionType(code, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    copy.__kwdefaults__, copy.__doc__ = f.__kwdefaults__, f.__doc__
    copy.__qualname__, copy.__module__ = f.__qualname__, f.__module__
    copy.__annotations__ = {names.get(k, k): v for k, v in f.__annotations__.items()}
    copy.__dict__.update(f.__dict__)
    return copy


def number_first(name: str, given: tuple, key: str) -> tuple[Any, ...]:
    """Arguments in an old order of PyTorch, `x.add(alpha, other)`: the number behind the tensors.

    Two numbers, `x.add(other, alpha)`, are in their order. TypeError for anything else.
    """
    number, *tensors = given
    if len(given) == 2 and all(isinstance(x, int | float | complex) for x in given):
        return given
    if isinstance(number, Tensor) or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(f"{name}(): takes {len(tensors)} positional arguments after the first")
    errors.warn(
        f"This overload of {name} is deprecated: {name}({key}, ...). Give {key}= behind the tensors"
    )
    return *tensors, number
