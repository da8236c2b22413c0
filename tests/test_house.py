"""The house: which way imports point, what an import costs, and that every part has a docstring."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tritorch
from tritorch.ops.api import FUNCTIONAL, PUBLIC, SPACES

ROOT = Path(tritorch.__file__).parent
# From the ground up. A module may import from its own layer and from those below.
LAYERS = (
    ("dtypes", "device", "errors", "formats"),
    ("runtime",),
    ("tensor", "autograd"),
    ("op",),
    ("kernels", "return_types"),
    ("ops",),
    (
        "testing",
        "profiler",
        "serialization",
        "allowed",
        "serialization_writer",
        "seal",
        "torch_files",
        "torch_objects",
        "torch_writer",
        "unpickle",
        "linalg",
        "fft",
        "special",
        "signal",
        "masked",
        "sparse",
        "nested",
        "overrides",
        "cpu",
        "func",
        "cuda",
        "accelerator",
        "amp",
    ),
    ("backends", "settings", "distributed"),
    ("nn",),
    ("optim", "compiler"),
    ("utils", "distributions", "demo", "perf", "models", "jit", "multiprocessing"),
    ("vision", "text"),
    ("compat", "version", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def imported(path: Path) -> list[str]:
    """The parts of the package that a file imports, also inside functions."""
    here = path.relative_to(ROOT).with_suffix("").parts
    package = here[:-1]
    found = []
    tree = ast.parse(path.read_text())
    for_types = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for n in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module or "").split(".")] if node.module else [*base]
            found += [(*target, a.name)[0] for a in node.names] if not target else [target[0]]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tritorch."):
            found.append(node.module.split(".")[1])  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    part = path.relative_to(ROOT).with_suffix("").parts[0]
    assert part in LEVEL, f"{part} has no place in the layers"
    for target in imported(path):
        assert target in LEVEL, f"{path.name} imports {target}, which has no place in the layers"
        assert LEVEL[target] <= LEVEL[part], f"{path.name} ({part}) imports {target} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_have_docstrings_and_a_sane_size(path: Path) -> None:
    text = path.read_text()
    if path.name != "__init__.py" or text.strip():
        assert ast.get_docstring(ast.parse(text)), "the module has no docstring"
    assert text.count("\n") <= 520, "about 500 lines: the design wants another room"
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            limit = 100 if "kernels" in path.parts else 60
            assert lines(function) <= limit, f"{function.name}: about 30 lines, in parts"


def lines(function: ast.FunctionDef) -> int:
    """The lines of a function without its signature and docstring."""
    first, *rest = function.body
    if ast.get_docstring(function) is not None and rest:
        first = rest[0]
    return function.body[-1].end_lineno - first.lineno + 1  # type: ignore[operator]


def test_contributing_is_short() -> None:
    assert (ROOT.parent / "CONTRIBUTING.md").read_text().count("\n") <= 150


def test_what_is_published_has_a_docstring() -> None:
    spaces = (*SPACES.values(), PUBLIC, FUNCTIONAL)
    published = {name: f for space in spaces for name, f in space.items()}
    methods = {k: f for k, f in vars(tritorch.Tensor).items() if callable(f) and k[0] != "_"}
    assert len(published) > 900 and len(methods) > 500
    assert not [name for name, f in (published | methods).items() if not f.__doc__]


def test_kernels_import_triton_and_nothing_else_of_ours() -> None:
    for path in (ROOT / "kernels").glob("*.py"):
        assert set(imported(path)) <= {"kernels", "dtypes"}, path.name


def test_nothing_imports_torch() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert all(a.name.split(".")[0] != "torch" for a in node.names), path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] != "torch", path


def test_import_is_light() -> None:
    code = (
        "import sys, tritorch; heavy = {'triton', 'torch', 'scipy', 'matplotlib', 'sklearn', "
        "'cuda', 'tritorch.distributions', 'tritorch.distributed'} & set(sys.modules); "
        "print(sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
