"""Type promotion: every pair of dtypes, as tensors, as tensors without dimensions, as numbers."""

from __future__ import annotations

import pytest

import tritorch

NAMES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
PLAIN = NAMES.split()
NUMBERS = (True, 2, 1.5, 1 + 2j)
OPS = ("add", "mul", "div", "floor_divide", "pow", "eq", "where", "clamp", "add_", "mul_")


def operand(lib: object, name: object, dims: int) -> object:
    if not isinstance(name, str):
        return name
    return lib.tensor([1, 2] if dims else 2, dtype=getattr(lib, name))


def call(lib: object, op: str, x: object, y: object) -> object:
    if op == "where":
        return lib.where(lib.tensor([True, False]), x, y)
    if op == "clamp":
        return lib.clamp(x, min=y)
    return getattr(x, op)(y)


def outcome(lib: object, op: str, x: object, y: object) -> str:
    """The name of the result's dtype, or "refused"."""
    try:
        return str(call(lib, op, x, y).dtype).rpartition(".")[2]
    except (RuntimeError, TypeError):
        return "refused"


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("op", OPS)
def test_as_torch(op: str) -> None:
    torch = pytest.importorskip("torch")
    for a in PLAIN:
        for b in (*PLAIN, *NUMBERS):
            for dims in ((1, 1), (1, 0), (0, 1), (0, 0)):
                pair = [
                    outcome(lib, op, operand(lib, a, dims[0]), operand(lib, b, dims[1]))
                    for lib in (torch, tritorch)
                ]
                # a float16 with a complex is complex32 there; powers and quotients of bools, and
                # bounds of them, are a matter of what is implemented
                if "complex32" in pair[0] or (
                    a == "bool" and op in ("floor_divide", "pow", "clamp")
                ):
                    continue
                if pair[0] == "refused" and op not in ("add_", "mul_"):
                    continue
                assert pair[0] == pair[1], (op, a, b, dims)


@pytest.mark.parametrize(
    ("x", "y", "result"),
    [
        (("uint8", 1), ("int8", 1), "int16"),
        (("int32", 1), ("int64", 0), "int32"),
        (("int32", 1), ("float64", 0), "float64"),
        (("float16", 1), ("bfloat16", 1), "float32"),
        (("float32", 1), ("float64", 0), "float32"),
        (("float32", 0), ("float64", 0), "float64"),
        (("float64", 1), ("complex64", 1), "complex128"),
        (("bool", 1), (2, 0), "int64"),
        (("int8", 1), (1.5, 0), "float32"),
        (("float64", 1), (1j, 0), "complex128"),
    ],
)
def test_rules(x: tuple, y: tuple, result: str) -> None:
    assert outcome(tritorch, "add", operand(tritorch, *x), operand(tritorch, *y)) == result


def test_in_place_keeps_the_dtype_within_its_category() -> None:
    t = tritorch
    assert t.tensor([1], dtype=t.uint8).add_(t.tensor([300])).tolist() == [45]
    with pytest.raises(RuntimeError, match="can't be cast"):
        t.tensor([1]).add_(1.5)


def test_alpha_multiplies_in_the_common_dtype() -> None:
    t = tritorch
    assert t.ones(2).add_(t.tensor([1, 2]), alpha=0.5).tolist() == [1.5, 2]
    assert t.add(t.ones(1, dtype=t.uint8), t.tensor([True]), alpha=2).dtype is t.uint8
    assert t.add(t.tensor([False]), t.tensor([True]), alpha=2).dtype is t.bool
    for alpha in (1.5, "x", None):
        with pytest.raises((RuntimeError, TypeError)):
            t.add(t.tensor([1]), 2, alpha=alpha)


def test_numbers_that_a_dtype_cannot_hold() -> None:
    t = tritorch
    small = t.tensor([1, 7], dtype=t.int8)
    for refused in (
        lambda: small.clamp(max=300),
        lambda: small.clamp_(-1000),
        lambda: small + 2**64,
        lambda: small**-1,
        lambda: small.fill_(float("nan")),
    ):
        with pytest.raises(RuntimeError):
            refused()
    assert (small ** t.tensor([-1, -1], dtype=t.int8)).tolist() == [1, 0]
    x = t.ones(2, dtype=t.int32)
    assert t.addcmul(x, x, x, value=2.5).tolist() == [3, 3]
