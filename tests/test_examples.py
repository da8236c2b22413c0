"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest

import tritorch
from tritorch.op import REGISTRY

ROOT = Path(tritorch.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PARSER = doctest.DocTestParser()


def examples() -> Iterator[doctest.DocTest]:
    """Every docstring of the package that has an example, found without an import of its file."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            text = ast.get_docstring(node) or ""
            if ">>>" in text:
                where = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
                name = f"{where}.{getattr(node, 'name', '')}".strip(".")
                line = getattr(node, "lineno", 1)
                yield PARSER.get_doctest(text, {"__name__": "__main__"}, name, str(path), line)


EXAMPLES = list(examples())


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_example(example: doctest.DocTest) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    dtype, state = tritorch.get_default_dtype(), tritorch.get_rng_state()
    known = set(REGISTRY)
    try:
        runner.run(example, out=said.append)
    finally:
        tritorch.set_default_dtype(dtype)
        tritorch.set_rng_state(state)
        for name in set(REGISTRY) - known:  # the records of examples
            del REGISTRY[name]
    assert not runner.failures, "".join(said)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 100
