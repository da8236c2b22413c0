"""`docs/own_kernels.md` word for word, and what `check_operator` and `benchmark` find."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

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
    (folder / "own_swiglu.py").write_text(f"{blocks[0]}\n{blocks[2]}")
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("own_swiglu")
    finally:
        sys.path.remove(str(folder))
        del spine.REGISTRY["swiglu"], spine.REGISTRY["linear_silu"]


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
    assert "swiglu: 96.0 kB, 48.0 kFLOP, bound by memory" in said and "own_swiglu.py:" in said
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


@pytest.mark.skipif(not TO_COMPILE, reason="triton.jit interprets in this process")
def test_an_operator_counts_as_much_as_its_composition(own: ModuleType) -> None:
    a, w, b = torch.ones(256, 64), torch.ones(64, 128), torch.ones(128)
    call = torch.explain(own.linear_silu, a, w, b, target="sm_90").calls[0]
    assert call.flops == 256 * 128 * (2 * 64 + 1 + 4) and call.kernels[0].grid == (4, 2)
    assert call.bytes == 4 * (256 * 64 + 64 * 128 + 128 + 256 * 128)


@pytest.mark.skipif(not TO_COMPILE, reason="triton.jit interprets in this process")
def test_kernels_compile_in_each_dtype(own: ModuleType, record: Any) -> None:
    """A launcher that runs nothing, a wrong grid, and one that does not know bfloat16."""
    grids = {"test_int": 1, "test_real": (1.5,), "test_wide": (1, 1 << 16), "test_zero": (0,)}
    expected = {
        "test_int": "a grid is a tuple of one to three ints, not 1",
        "test_real": r"a grid is a tuple of one to three ints, not \(1.5,\)",
        "test_wide": "65535 in the others",
        "test_zero": "its launcher runs no kernel on sm_90",
    }
    for name, grid in grids.items():

        def launcher(launch: Any, out: Any, x: Any, grid: Any = grid) -> None:
            launch(own.swiglu_kernel, grid, [out, x, x, out.size], {"BLOCK": 16})

        op = record(
            name, ("x",), meta=same_as("x"), cpu=np.square, triton=launcher,
            samples=lambda s: [s((3, 4))],
        )  # fmt: skip
        with pytest.raises(Exception, match=f"^{name}: .*{expected[name]}"):
            testing.check_operator(op, targets="sm_90")


@pytest.mark.interpreter
@interpreted
def test_the_product_of_the_page(own: ModuleType) -> None:
    done = testing.check_operator(own.linear_silu, targets=["sm_90"])
    kernels = [text for text in done if text.startswith("kernels")]
    assert len(kernels) == 9 and not [text for text in done if "sm_90" in text]


@pytest.mark.interpreter
@interpreted
def test_blocks_of_ones_own_are_tuned(
    own: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITORCH_CACHE", str(tmp_path))
    sizes: list[int] = []

    def time(self: Any) -> float:  # of the blocks, so that it is the same each time
        self.call()
        return 1e6 / sizes[-1]

    def noted(launch: Any, *rest: Any) -> Any:
        blocks = real(launch, *rest)
        sizes.append(blocks.bm * blocks.bn)
        return blocks

    real = own.chosen
    monkeypatch.setattr(own, "chosen", noted)
    monkeypatch.setattr("tritorch.perf.tune.Search._time", time)
    a, w, b = (torch.randn(*shape).cuda() for shape in ((33, 16), (16, 20), (20,)))
    try:
        (one,) = torch.tune(own.linear_silu, a, w, b, budget=2).found
        assert one.key == "linear_silu float32 64x32x16" and one.first == (64, 64, 32, 4, 3)
        assert one.best[0] * one.best[1] > 64 * 64
        expected = torch.nn.functional.silu(a.cpu() @ w.cpu() + b.cpu())
        torch.testing.assert_close(own.linear_silu(a, w, b).cpu(), expected, rtol=1e-5, atol=1e-5)
    finally:
        memory.runtime().target().tuned.clear()
        spine.imported("_choice.forget")()


@pytest.mark.interpreter
@interpreted
def test_bfloat16_is_calculated_with(own: ModuleType) -> None:
    """As on a GPU: in single precision, rounded; not with its bits."""
    import ml_dtypes

    from tritorch.runtime.launch import launch

    source = Path(own.__file__ or "").with_name("own_bits.py")
    source.write_text(
        "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
        "def bits_kernel(p_out, p_x, p_y, N: tl.constexpr):\n"
        "    o = tl.arange(0, N)\n"
        "    x = tl.load(p_x + o)\n"
        "    y = tl.load(p_y + o)\n"
        "    tl.store(p_out + o, tl.where(x < y, -x * y + x, x - y))\n"
    )
    sys.path.insert(0, str(source.parent))
    try:
        kernel = importlib.import_module("own_bits").bits_kernel
    finally:
        sys.path.remove(str(source.parent))
    x, y = (torch.randn(64, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty(64, dtype=torch.bfloat16, device="cuda")
    launch(kernel, (1,), [out._data, x.cuda()._data, y.cuda()._data], {"N": 64})
    a, b = (cast("Any", t.float().numpy()).astype(ml_dtypes.bfloat16) for t in (x, y))
    expected = np.where(a < b, -a * b + a, a - b)
    assert np.array_equal(out.cpu().numpy().astype(np.float32), expected.astype(np.float32))


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
    wrong = r"test_rule, gradcheck, float64\[3, 4\]: Jacobian mismatch"
    with pytest.raises(AssertionError, match=wrong):
        testing.check_operator(rule)
    other = record(
        "test_other", ("x",), meta=same_as("x"), cpu=np.square, ref=lambda x: x * x * x, **shape
    )
    with pytest.raises(AssertionError, match=r"test_other, composition, .*not close"):
        testing.check_operator(other)
    with pytest.raises(ValueError, match="test_none: declares no samples"):
        testing.check_operator(record("test_none", ("x",), cpu=np.square))
    with pytest.raises(ValueError, match="test_no_list: declares no samples"):
        testing.check_operator(record("test_no_list", ("x",), cpu=np.square, samples=lambda s: []))
    with pytest.raises(TypeError, match="test_sample: samples must be a function of a Sampler"):
        one = record("test_sample", ("x",), cpu=np.square, samples=lambda s: s((3,)))
        testing.check_operator(one)
    with pytest.raises(TypeError, match="check_operator: expected an operator record, got builtin"):
        testing.check_operator(max)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="check_operator: target 'sm_1' is not one of sm_80"):
        testing.check_operator(other, targets="sm_1")


def test_wrong_declarations_are_refused(record: Any) -> None:
    with pytest.raises(ValueError, match="test_meta: a kernel needs a meta rule"):
        record("test_meta", ("x",), cpu=np.square, triton=lambda launch, out, x: None)
    with pytest.raises(ValueError, match="an operator named 'softmax' is registered already"):
        record("softmax", ("x",), cpu=np.square)

    def nothing(x: Any) -> Any:
        return x.tolist()

    op = record("test_list", ("x",), ref=nothing)
    with pytest.raises(TypeError, match="test_list: its composition returns list, not a Tensor"):
        op(torch.ones(2))
    op = record("test_lost", ("x",), meta=same_as("x"), cpu=np.square, triton="nowhere:launcher")
    with pytest.raises(ImportError, match=r"test_lost: its kernel's launcher 'nowhere:launcher'"):
        op.launcher()


def test_inputs_that_an_operator_must_not_see(own: ModuleType) -> None:
    x = torch.ones(3, 4)
    for y, given in ((torch.ones(4), r"float32\[4\]"), (x.double(), r"float64\[3, 4\]")):
        with pytest.raises(ValueError, match=rf"swiglu: x, y must have one shape.*, {given}"):
            own.swiglu(x, y)
    with pytest.raises(TypeError, match=r"swiglu: y is a Tensor given by keyword.*\(x, y\)"):
        own.swiglu(x, y=x)
    with pytest.raises(ValueError, match=r"linear_silu: takes \(M, K\).*\(3, 4\), \(3, 4\) and"):
        own.linear_silu(x, x, x)


def test_an_operator_declared_again_takes_the_place_of_the_first(record: Any) -> None:
    source = "from tritorch.op import fused\n\n@fused()\ndef test_again(x):\n    return x * {}\n"
    cell: dict[str, Any] = {"__name__": "a_notebook"}
    for factor in (2, 3):
        exec(source.format(factor), cell)
        assert cell["test_again"](torch.ones(1)).item() == factor
        assert spine.REGISTRY["test_again"] is cell["test_again"]
    with pytest.raises(ValueError, match="an operator named 'test_again' is registered already"):
        exec(source.format(4), {"__name__": "another"})


@pytest.mark.interpreter
@interpreted
def test_errors_of_interpreted_kernels_name_the_line(own: ModuleType, record: Any) -> None:
    def launcher(launch: Any, out: Any, x: Any) -> None:
        launch(own.swiglu_kernel, (1,), [out, x, x, out.size], {"BLOCK": 1000})

    op = record("test_line", ("x",), meta=same_as("x"), cpu=np.square, triton=launcher)
    with pytest.raises(RuntimeError, match=r"^test_line: .*own_swiglu\.py:\d+, in swiglu_kernel: "):
        op(torch.ones(3, device="cuda"))


def test_only_records_are_measured() -> None:
    with pytest.raises(TypeError, match="benchmark: expected an operator record, got function"):
        torch.perf.benchmark(lambda x: x, torch.ones(1))
