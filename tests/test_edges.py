"""Values at the edges, by a table: NaN, infinities, signed zeros, nothing at all, overflow, 0-d."""

from __future__ import annotations

import builtins
import warnings
from pathlib import Path

import edges
import pytest

import tritorch

TABLE = edges.rows(Path(__file__).with_name("edge_rows.txt").read_text())
ROWS = [row for rows in TABLE.values() for row in rows]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of sizes, of degrees of freedom


def agrees(got: str, expected: str) -> bool:
    """The same text; for an error its class or one below it."""
    if got.endswith("Error") and expected.endswith("Error"):
        return issubclass(getattr(builtins, got), getattr(builtins, expected))
    return got == expected


@pytest.mark.parametrize("heading", TABLE)
def test_values(heading: str) -> None:
    found = {e: (edges.result(tritorch, e), r) for e, r in TABLE[heading]}
    assert {e: pair for e, pair in found.items() if not agrees(*pair)} == {}


@pytest.mark.oracle
@pytest.mark.parametrize("heading", TABLE)
def test_the_table_is_pytorchs(heading: str) -> None:
    oracle = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = {e: (edges.result(oracle, e), r) for e, r in TABLE[heading]}
    assert {e: pair for e, pair in wrong.items() if pair[0] != pair[1]} == {}


def test_the_table_is_whole() -> None:
    assert len(ROWS) >= 700 and len({e for e, _ in ROWS}) == len(ROWS)
    assert all(len(rows) >= 5 for rows in TABLE.values())


def test_a_difference_is_seen() -> None:
    """Text tells dtype, shape, sign of zero and NaN apart."""
    f = tritorch.tensor
    assert edges.shown(f([-0.0])) == "float32 [1] -0" != edges.shown(f([0.0]))
    assert edges.shown(f([1])) == "int64 [1] 1" != edges.shown(f([[1]]))
    assert edges.shown((f(True), f(float("nan")))) == "bool [] True; float32 [] nan"
    assert agrees("NotImplementedError", "RuntimeError") and not agrees("1", "RuntimeError")
    assert not agrees("RuntimeError", "IndexError") and not agrees("RuntimeError", "int64 [] 1")
