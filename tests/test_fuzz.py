"""Calls of operators with random shapes, layouts, dtypes and wrong arguments.

Whatever is given, a call ends in a result or in an error of a documented kind whose message, or a
note beside it, names the operator. For more of them: `TRITORCH_FUZZ=20000`.
"""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import tritorch as torch
from tritorch import errors, testing
from tritorch.ops.api import FUNCTIONAL, PUBLIC, SPACES
from tritorch.tensor import Tensor, wrap

KINDS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)
DTYPES = [getattr(torch, n) for n in (
    "float32", "float64", "int64", "int32", "uint8", "bool", "bfloat16", "float16", "complex64",
)]  # fmt: skip
SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 1), (3, 3), (2, 0), (2, 3, 4), (1, 3, 3), (2, 3, 4, 5)]
WRONG = [None, "x", 1.5, -1, 0, 2, 7, -9, 10**20, float("nan"), float("inf"), True, (1, 2), [0], (),
         [1.5], "mean", "sum", torch.float32, object()]  # fmt: skip
OPERATORS = [op for op in testing.operators() if op.samples is not None]
# What takes a size takes it: these would ask for more memory than there is, and draw from it.
SIZED = (
    "randperm",
    "eye",
    "tril_indices",
    "triu_indices",
    "combinations",
    "vander",
    "one_hot",
    "mvlgamma",
    "multigammaln",
)
STATE = ("manual_seed", "set_rng_state", "seed", "set_default_dtype", "set_printoptions")
FUNCTIONS = {
    f"{space}{name}": f
    for space, table in (
        ("", PUBLIC), ("nn.functional.", FUNCTIONAL), *((f"{k}.", t) for k, t in SPACES.items())
    )
    for name, f in sorted(table.items())
    if inspect.isfunction(f) and not name.startswith(("set_", "_")) and name not in SIZED + STATE
    and any(p.annotation == "Tensor" for p in inspect.signature(f).parameters.values())
}  # fmt: skip
LAYOUTS: list[Callable] = [
    np.copy,
    testing.transposed,
    testing.gapped,
    lambda x: np.broadcast_to(x[:1], x.shape).copy() if not x.ndim else
    np.broadcast_to(x[:1], x.shape),
]  # fmt: skip


@functools.cache
def samples(op: Any) -> list:
    return testing.samples_of(op)


@st.composite
def tensors(draw: Any, shape: tuple | None = None) -> Tensor:
    """A tensor of any dtype in any layout; half of those that can need a gradient."""
    shape = draw(st.sampled_from(SHAPES)) if shape is None else shape
    dtype = draw(st.sampled_from(DTYPES))
    values = np.random.default_rng(draw(st.integers(0, 99))).uniform(-3, 3, shape)
    data = np.asarray(values).astype(dtype.np)
    layout = draw(st.sampled_from(LAYOUTS if shape else LAYOUTS[:1]))
    x = wrap(np.asarray(layout(data)), dtype)
    return x.requires_grad_() if dtype.category > 1 and draw(st.booleans()) else x


@st.composite
def changed(draw: Any, x: Any) -> Any:
    """Something like an argument: of another dtype, layout, shape, sign, length or kind."""
    if isinstance(x, Tensor):
        return draw(
            st.one_of(tensors(tuple(x.shape)), tensors(), st.sampled_from(WRONG), st.just(x))
        )
    if isinstance(x, bool):
        return draw(st.sampled_from([True, False, None, "a", 1]))
    if isinstance(x, int):
        return draw(st.sampled_from([x, -x, x - 1, -1, 0, -7, 9, 1.5, None, "a", 10**20, True]))
    if isinstance(x, float):
        return draw(st.sampled_from([x, -x, 0.0, float("nan"), float("inf"), 1e300, None, "a", 2]))
    if isinstance(x, tuple | list):
        negative = tuple(-i if isinstance(i, int) else i for i in x)
        return draw(st.sampled_from([x, x[:-1], (*x, 1), negative, (), None, 3, "a", (1.5,)]))
    return draw(st.sampled_from([x, *WRONG]))


@st.composite
def argument(draw: Any, p: inspect.Parameter) -> Any:
    """An argument for a parameter, by its annotation; sometimes one of another kind."""
    kind = str(p.annotation)
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(WRONG))
    if kind.startswith("Sequence[Tensor"):
        return draw(st.lists(tensors(), max_size=3))
    if kind.startswith("Tensor"):
        return draw(tensors())
    if kind.startswith("bool"):
        return draw(st.booleans())
    if kind.startswith("int"):
        return draw(st.integers(-3, 4))
    if kind.startswith("float"):
        return draw(st.floats(-2, 2))
    if "Sequence[int" in kind or kind.startswith("tuple"):
        return tuple(draw(st.lists(st.integers(-2, 4), max_size=4)))
    return draw(st.sampled_from([0, 1, 2, 0.5, *WRONG]))


def check(name: str, call: Callable, args: list, params: dict) -> None:
    """Make the call, and its backward; what it raises is as documented."""
    names = {name, name.rpartition(".")[2], call.__name__}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(*args, **params)
            first = result[0] if isinstance(result, tuple) and result else result
            names.add("")  # an error of the backward names the operator of the rule
            if isinstance(first, Tensor) and first.requires_grad:
                loss = first.abs().sum() if first.is_complex() else first.sum()
                loss.backward()
    except KINDS as error:
        shown = errors.described(args, params)
        assert not errors._accidental(error), f"{name}({shown}): {type(error).__name__}: {error}"
        said = " ".join([str(error), *getattr(error, "__notes__", ())])
        assert any(n in said for n in names), f"{name}({shown}) is not named: {said}"


FUZZ = int(os.environ.get("TRITORCH_FUZZ", "150"))
fuzz = settings(
    max_examples=FUZZ,
    deadline=None,
    database=None,
    derandomize=FUZZ == 150,
    suppress_health_check=list(HealthCheck),
)


@fuzz
@given(st.data())
def test_operators(data: Any) -> None:
    op = data.draw(st.sampled_from(OPERATORS))
    sample = data.draw(st.sampled_from(samples(op)))
    args = [data.draw(changed(x)) for x in sample.tensors(torch.float64)]
    params = {
        k: data.draw(changed(x)) if data.draw(st.booleans()) else x
        for k, x in sample.params.items()
    }
    check(op.name, op, args, params)


@fuzz
@given(st.data())
def test_public_functions(data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(FUNCTIONS)))
    f = FUNCTIONS[name]
    args, params = [], {}
    for p in inspect.signature(f).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            args += data.draw(st.lists(argument(p), max_size=3))
        elif p.kind is p.POSITIONAL_OR_KEYWORD and (p.default is p.empty or not params):
            if p.default is not p.empty and data.draw(st.booleans()):
                break
            args.append(data.draw(argument(p)))
    check(name, f, args, params)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_failure_names_the_operator(dtype: torch.dtype) -> None:
    x = torch.zeros(2, 3, dtype=dtype)
    with pytest.raises(RuntimeError, match=r"matmul|mm|addmm"):
        x @ x
    with pytest.raises(TypeError, match=r"cumsum\(\): argument 'dim'"):
        x.cumsum("x")
