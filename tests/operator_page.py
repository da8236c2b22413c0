"""`docs/operators.md`: published functions with their forms, records with what they serve."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from kernel_table import few, row

import tritorch
from tritorch import dtypes
from tritorch.op import REGISTRY, Op
from tritorch.ops import unsupported
from tritorch.ops.api import FUNCTIONAL, PUBLIC, SPACES
from tritorch.ops.elementwise import Elementwise
from tritorch.tensor import Tensor, wrap
from tritorch.testing import Sampler

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
DTYPES = ("bool_", "uint8", "int64", "float16", "bfloat16", "float32", "float64", "complex64")
HEAD = """# The operators

Written by `python tests/generate.py` from the records of the operators.

First every published function and the forms that it has: as a function, as a method of `Tensor`,
in place (`x.add_(y)`; `f_` where there is a function of that name too), and with `out=`; and the
records that it calls by name. A function of several records, or of none, is a composition of
others: it has the dtypes, derivatives and devices of what it calls.

Then every record: its inputs; whether gradients flow (*composition*: by the derivatives of the
operators that it is made of); the dtypes in which its samples run on the CPU, where the public
function may refuse more; and the kernel for a GPU. Without one it runs on the host, through copies,
or changes metadata only (views). All derivatives are made of operators, so there are second ones.
[kernels.md](kernels.md) says how each kernel is proven.
"""


# -- functions -------------------------------------------------------------------------------------


def names_in(code: types.CodeType) -> set[str]:
    """The global and attribute names of a function's code, and of the functions in it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return found


def reached(f: Callable) -> list[Any]:
    """What a function's code names: globals, attributes of modules, and its closure."""
    names = names_in(f.__code__)
    found = [f.__globals__[n] for n in sorted(names) if n in f.__globals__]
    for module in [m for m in found if isinstance(m, types.ModuleType)]:
        if module.__name__.startswith("tritorch.ops"):
            found += [getattr(module, n) for n in sorted(names) if hasattr(module, n)]
    return found + [cell.cell_contents for cell in f.__closure__ or () if cell_is_set(cell)]


def cell_is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def records(f: Any, depth: int = 2, seen: set[int] | None = None) -> set[str]:
    """The names of the records that a function calls, itself or through private functions."""
    if isinstance(f, Op):
        return {f.name}
    if hasattr(f, "op"):
        return {f.op.name}
    seen = set() if seen is None else seen
    if not isinstance(f, types.FunctionType) or id(f) in seen or depth < 0:
        return set()
    seen.add(id(f))
    found: set[str] = set()
    for value in reached(inspect.unwrap(f)):
        private = isinstance(value, types.FunctionType) and (value.__name__[0] == "_" or depth > 1)
        if isinstance(value, Op) or (private and value.__module__.startswith("tritorch.ops")):
            found |= records(value, depth - 1, seen)
    return found


def takes_out(f: Callable) -> bool:
    try:
        return "out" in inspect.signature(f).parameters
    except (TypeError, ValueError):
        return False


def function_row(name: str, f: Callable, methods: bool) -> str:
    """`name`, its forms, its records."""
    in_place = f"{name}_" in PUBLIC or hasattr(Tensor, f"{name}_")
    in_place = in_place and methods and not name.endswith("_")
    forms = (
        ("method", methods and hasattr(Tensor, name)),
        (f"{name}_" if f"{name}_" in PUBLIC else "in place", in_place),
        ("out=", takes_out(f)),
    )
    text = ", ".join(["function", *(form for form, there in forms if there)])
    found = records(PUBLIC.get(name.removeprefix("_foreach_"), f) if methods else f)
    return row([f"`{name}`", text.replace(f"{name}_", f"`{name}_`"), few(sorted(found), 5)])


def function_tables() -> list[str]:
    lines: list[str] = []
    spaces = {"torch": PUBLIC, "torch.nn.functional": FUNCTIONAL}
    spaces |= {f"torch.{k}": SPACES[k] for k in sorted(SPACES)}
    for space, table in spaces.items():
        rows = [
            function_row(name, f, space == "torch")
            for name, f in sorted(table.items())
            if isinstance(f, types.FunctionType) and not hasattr(f, "out_of_scope")
            if not name.startswith("_") or name.startswith("_foreach_")
            if not (space == "torch" and name.endswith("_") and name[:-1] in table)
        ]
        if rows:
            lines += [f"\n## `{space}`: {len(rows)}\n", row(["function", "forms", "records"])]
            lines += [row(["---"] * 3), *rows]
    return lines


def methods_only() -> list[str]:
    """The methods of Tensor that are no function."""
    own = {
        n
        for n, f in vars(Tensor).items()
        if isinstance(f, types.FunctionType) and not hasattr(f, "out_of_scope")
        if not n.startswith("_") and n not in PUBLIC and n.removesuffix("_") not in PUBLIC
    }
    return [f"\n## Methods of `torch.Tensor` alone: {len(own)}\n", listed(sorted(own))]


def out_of_scope() -> list[str]:
    lines = ["\n## Out of scope\n", "Their names are there; a call says what serves instead.\n"]
    for f in unsupported.FAMILIES:
        names = [*f.functions.split(), *(f"Tensor.{n}" for n in f.methods.split())]
        names += [f"{f.space}.{n}" for n in f.members.split()]
        lines.append(f"- {f.missing}; use {f.instead}: {listed(names)}")
    return lines


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


# -- records ---------------------------------------------------------------------------------------


def gradient(op: Op) -> str:
    """Through which inputs gradients flow."""
    if op.rules is None:
        return "composition" if op.ref is not None else "no"
    if op.rules.joint:
        return "yes"
    given = [r is not None for r in op.rules.rules]
    if all(given):
        return "yes"
    return (
        "of " + ", ".join(n for n, g in zip(op.inputs, given, strict=False) if g)
        if any(given)
        else "no"
    )


def cast(x: Any, dtype: dtypes.DType) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype != np.float64:
        return wrap(x.copy(), dtypes.of(x.dtype))
    return wrap(x.astype(dtype.np), dtype)


def serves(op: Op) -> list[str]:
    """The dtypes in which a sample of the operator runs on the CPU."""
    samples = list(op.samples(Sampler(0)))[:4] if op.samples is not None else []
    full = [s for s in samples if all(np.size(x) for x in s.inputs if isinstance(x, np.ndarray))]
    found = []
    for dtype in (getattr(dtypes, n) for n in DTYPES):
        try:
            with tritorch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                op(*(cast(x, dtype) for x in full[0].inputs), **full[0].params)
        except Exception:  # whatever an operator says of a dtype that it does not serve
            continue
        found.append(dtype.triton.replace("fp", "f"))
    return found


def kernel(op: Op) -> str:
    if op.is_view:
        return "view"
    if op.triton is None:
        return "host"
    if isinstance(op, Elementwise):
        return f"`elementwise: {op.body}`" if isinstance(op.body, str) else "`elementwise`"
    return (
        f"`{op.triton}`"
        if isinstance(op.triton, str)
        else f"`{op.triton.__name__.removeprefix('_launch_')}`"
    )


def record_table() -> list[str]:
    ours = [op for _, op in sorted(REGISTRY.items())]
    lines = [f"\n## Records: {len(ours)}\n"]
    lines += [row(["record", "inputs", "gradients", "dtypes", "kernel"]), row(["---"] * 5)]
    for op in ours:
        cells = [", ".join(op.inputs), gradient(op), " ".join(serves(op)), kernel(op)]
        lines.append(row([f"`{op.name}`", *cells]))
    return lines


def page() -> str:
    """The text of docs/operators.md."""
    parts = [HEAD, *function_tables(), *methods_only(), *out_of_scope(), *record_table()]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")
