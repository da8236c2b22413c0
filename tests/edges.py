"""How a row of `edge_rows.py` is read: an expression in a library, and its result as text."""

from __future__ import annotations

import math
from typing import Any

DTYPES = {
    "F": "float32",
    "D": "float64",
    "H": "bfloat16",
    "I": "int64",
    "J": "int32",
    "B": "int8",
    "U": "uint8",
    "M": "bool",
    "C": "complex64",
}
SPACES = ("", "nn.functional", "special", "linalg")


class Names(dict):
    """The names of an expression: `nan`, `inf`, makers of tensors, functions of the library.

    `F(1, 2)` is a float32 tensor of two elements, `I([1], [2])` an int64 one of shape (2, 1), and
    `M(shape=(0, 2))` ones of a shape; the letters are those of `DTYPES`.
    """

    def __init__(self, lib: Any) -> None:
        super().__init__(nan=math.nan, inf=math.inf, torch=lib)
        self.lib = lib
        for letter, dtype in DTYPES.items():
            self[letter] = self.maker(getattr(lib, dtype))

    def maker(self, dtype: Any) -> Any:
        def make(*values: Any, shape: Any = None) -> Any:
            if shape is not None:
                return self.lib.ones(shape, dtype=dtype)
            return self.lib.tensor(values, dtype=dtype)

        def scalar(value: Any) -> Any:
            return self.lib.tensor(value, dtype=dtype)

        make.of = scalar  # type: ignore[attr-defined]
        return make

    def __missing__(self, name: str) -> Any:
        for space in SPACES:
            owner = self.lib
            for part in space.split(".") if space else ():
                owner = getattr(owner, part)
            found = getattr(owner, name, None)
            if callable(found):
                return found
        raise KeyError(name)


def shown(value: Any) -> str:
    """A result as text: dtype and elements, floats to six digits; of an error its type."""
    if isinstance(value, tuple | list):
        return "; ".join(shown(v) for v in value)
    if not hasattr(value, "dtype"):
        return _number(value)
    dtype = str(value.dtype).split(".")[-1]
    shape = list(value.shape)
    flat = [_number(v) for v in value.reshape(-1).tolist()]
    return f"{dtype} {shape} {' '.join(flat)}".rstrip()


def _number(v: Any) -> str:
    if isinstance(v, complex):
        return f"{_number(v.real)},{_number(v.imag)}"
    if isinstance(v, float):
        return f"{v:.6g}"
    return str(v)


def result(lib: Any, expression: str) -> str:
    """What an expression gives, as text."""
    try:
        return shown(eval(expression, {"__builtins__": {}}, Names(lib)))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return type(error).__name__


def rows(text: str) -> dict[str, list[tuple[str, str]]]:
    """The rows of a table by its headings: expressions and results."""
    found: dict[str, list[tuple[str, str]]] = {}
    for heading, *lines in (part.splitlines() for part in text.split("\n# ")[1:]):
        pairs = [line.split("  ", 1) for line in lines if line]
        found[heading] = [(expression, expected.strip()) for expression, expected in pairs]
    return found
