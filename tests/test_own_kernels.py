"""`docs/own_kernels.md` word for word, and what `check_operator` and `benchmark` find."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine, testing
from tritorch.op import Op, same_as
from tritorch.runtime import memory

pytest.importorskip("triton")
PAGE = Path(__file__).parent.parent / "docs" / "own_kernels.md"
TO_COMPILE = not memory.interpreted()
interpreted = pytest.mark.skipif(TO_COMPILE, reason="needs TRITORCH_EXECUTOR=interpreter")


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, blocks: list[str]) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "own_swiglu.py").write_text(blocks[0])
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("own_swiglu")
    finally:
        sys.path.remove(str(folder))
        del spine.REGISTRY["swiglu"]


@pytest.fixture
def record() -> Iterator[Any]:
    """Makes operator records that are gone afterwards."""
    known = set(spine.REGISTRY)
    yield Op
    for name in set(spine.REGISTRY) - known:
        del spine.REGISTRY[name]


@pytest.mark.skipif(not TO_COMPILE, reason="triton.jit interprets in this process")
def test_the_page_runs(own: ModuleType, blocks: list[str], capsys: Any) -> None:
    exec(compile(blocks[1], str(PAGE), "exec"), names := vars(own))
    x = names["x"].detach().numpy().astype(np.float64)
    sigmoid = 1 / (1 + np.exp(-x))
    expected = x * sigmoid * (2 + x * (1 - sigmoid))
    assert np.allclose(names["x"].grad.numpy(), expected, atol=1e-5)
    said = capsys.readouterr().out
    assert "swiglu: 96.0 kB, 8.0 kFLOP, bound by memory" in said and "own_swiglu.py:" in said
    assert "swiglu, composition, backward" in said


@pytest.mark.skipif(not TO_COMPILE, reason="triton.jit interprets in this process")
def test_what_is_checked_on_the_cpu_and_compiled(own: ModuleType) -> None:
    assert testing.check_operator(own.swiglu, targets=["sm_90", "gfx942"]) == [
        "meta rule",
        "transposed inputs",
        "gapped inputs",
        "first derivatives",
        "second derivatives",
        "sm_90: swiglu_kernel",
        "gfx942: swiglu_kernel",
    ]


@pytest.mark.interpreter
@interpreted
def test_what_is_checked_of_kernels(own: ModuleType) -> None:
    done = testing.check_operator(own.swiglu)
    kernels = [text for text in done if text.startswith("kernels")]
    assert kernels == [f"kernels, {d}, contiguous" for d in ("float32", "float16", "bfloat16")]
    rows = torch.perf.benchmark(own.swiglu, torch.ones(8, device="cuda"), torch.ones(8).cuda())
    assert [r.name for r in rows] == ["swiglu", "swiglu, composition"]
    assert all(r.microseconds > 0 for r in rows) and "GB/s" in str(rows)


@pytest.mark.interpreter
@interpreted
def test_a_wrong_kernel_is_found(own: ModuleType, record: Any) -> None:
    def launcher(launch: Any, out: Any, x: Any) -> None:
        own.launch_swiglu(launch, out, x, x)

    def refusing(launch: Any, out: Any, x: Any) -> Any:
        return NotImplemented

    shared: dict = {"meta": same_as("x"), "cpu": np.square, "samples": lambda s: [s((3, 4))]}
    wrong = record("test_wrong", ("x",), triton=launcher, **shared)
    with pytest.raises(AssertionError, match=r"test_wrong, float32, contiguous.*not close"):
        testing.check_operator(wrong)
    refused = record("test_refused", ("x",), triton=refusing, **shared)
    with pytest.raises(AssertionError, match="test_refused: its kernels do not serve contiguous"):
        testing.check_operator(refused)
    assert not {"test_wrong", "test_refused"} & {k for k, n in spine.FALLBACKS.items() if n}


def test_wrong_records_are_found(record: Any) -> None:
    shape = {"samples": lambda s: [s((3, 4))]}
    op = record("test_shape", ("x",), meta=lambda x: ((4, 3), x.dtype), cpu=np.square, **shape)
    with pytest.raises(AssertionError, match=r"test_shape: meta says .*\(4, 3\).* the result is"):
        testing.check_operator(op)
    rule = record("test_rule", ("x",), meta=same_as("x"), cpu=np.square, vjp=lambda g: g, **shape)
    with pytest.raises(Exception, match="Jacobian mismatch"):
        testing.check_operator(rule)
    other = record(
        "test_other", ("x",), meta=same_as("x"), cpu=np.square, ref=lambda x: x * x * x, **shape
    )
    with pytest.raises(AssertionError, match="not close"):
        testing.check_operator(other)
    with pytest.raises(ValueError, match="test_none: declares no samples"):
        testing.check_operator(record("test_none", ("x",), cpu=np.square))


def test_only_records_are_measured() -> None:
    with pytest.raises(TypeError, match="benchmark: expected an operator record, got function"):
        torch.perf.benchmark(lambda x: x, torch.ones(1))
