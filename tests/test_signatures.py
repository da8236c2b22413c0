"""Signatures beside PyTorch's: its registry of operators for functions that are not in Python."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tritorch

pytestmark = pytest.mark.oracle

# Forms for TorchScript, for named dimensions, for packed sequences, with an output among the
# arguments, and those that PyTorch has for GPUs only.
FOREIGN = re.compile(
    r"Dimname|data, Tensor batch_sizes|\*,.*\(\w!\)|\) out|out_dtype| _|Scalar alpha"
    r"|-> (bool|ScalarType|\(\))$"
)
SPACES = {"torch": "", "Tensor": "", "linalg": "linalg_", "fft": "fft_", "special": "special_"}
MISSING = {"copy_": "other"}  # TorchScript's name of `src`


def of(package: Any, space: str) -> Any:
    return package if space == "torch" else getattr(package, space)


def functions(torch: Any, space: str) -> Iterator[tuple[str, Callable, Callable]]:
    """The names that both have, with PyTorch's function and ours."""
    theirs, ours = of(torch, space), of(tritorch, space)
    for name in dir(ours):
        f, g = getattr(theirs, name, None), getattr(ours, name)
        if not name.startswith("_") and callable(f) and inspect.isfunction(g):
            yield name, f, g


def refused(g: Callable, names: list[str]) -> str | None:
    """Why a function does not take these keywords."""
    try:
        inspect.signature(g).bind(**dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
def test_registered_forms_bind(space: str) -> None:
    torch = pytest.importorskip("torch")
    forms: dict[str, list] = {}
    for schema in torch._C._jit_get_all_schemas():
        forms.setdefault(schema.name, []).append(schema)
    first, bad, count = "self" if space == "Tensor" else "input", [], 0
    for name, f, g in functions(torch, space):
        if inspect.isfunction(f):
            continue
        for schema in forms.get(f"aten::{SPACES[space]}{name}", ()):
            names = [first if a.name == "self" else a.name for a in schema.arguments]
            if "Tensor" not in str(schema).rpartition("->")[0] or FOREIGN.search(str(schema)):
                continue
            if (space == "Tensor" and names[0] != "self") or MISSING.get(name) in names:
                continue
            count += 1
            if why := refused(g, names):
                bad.append(f"{schema}: {why}")
    assert count >= 15 and len(bad) <= 0.01 * count, (count, bad)


@pytest.mark.parametrize("space", ["torch", "Tensor", "nn.functional", "autograd"])
@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
def test_functions_in_python_have_the_same_parameters(space: str) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = torch, tritorch
    for part in space.split(".") if space != "torch" else ():
        theirs, ours = getattr(theirs, part), getattr(ours, part)
    bad, count = [], 0
    for name in dir(ours):
        f, g = getattr(theirs, name, None), getattr(ours, name)
        if name.startswith("_") or not (inspect.isfunction(f) and inspect.isfunction(g)):
            continue
        wanted = inspect.signature(f).parameters.values()
        named = [p.name for p in wanted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        count += 1
        have = inspect.signature(g).parameters
        lacking = [n for n in named if n not in have and not n.startswith("_")]
        if lacking and not any(p.kind is p.VAR_KEYWORD for p in have.values()):
            bad.append(f"{name}: {lacking}")
    assert count >= 3 and len(bad) <= 0.02 * count, (count, bad)
