"""Profiles: events, their sums, tables and traces; steps by a schedule; TensorBoard's logs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import autograd, nn, profiler
from tritorch.nn.attention import SDPBackend, sdpa_kernel
from tritorch.profiler import profile, record_function, schedule
from tritorch.utils.flop_counter import FlopCounterMode
from tritorch.utils.tensorboard import SummaryWriter


def work() -> None:
    x = tritorch.ones(3, 3, requires_grad=True)
    with record_function("block"):
        y = (x @ x).exp()
    y.sum().backward()


def test_events_nest_and_add_up() -> None:
    with profile(record_shapes=True, with_stack=True) as p:
        work()
        work()
    events = p.events()
    block = next(e for e in events if e.name == "block")
    assert [c.name for c in block.cpu_children] == ["matmul", "exp"] and block.is_user_annotation
    assert block.cpu_children[0].input_shapes == [[3, 3], [3, 3]]
    assert block.cpu_children[0].cpu_parent is block
    assert "test_profiler.py" in block.stack[0] and "work" in block.stack[0]
    assert 0 <= block.self_cpu_time_total < block.cpu_time_total
    sums = {e.key: e for e in p.key_averages()}
    assert sums["exp"].count == sums["exp backward"].count == 2
    np.testing.assert_allclose(
        sums["block"].cpu_time_total, sum(e.cpu_time_total for e in events if e.name == "block")
    )
    total = p.key_averages().total_average()
    np.testing.assert_allclose(total.self_cpu_time_total, events.self_cpu_time_total)
    assert "exp" not in [e.name for e in profile().events()]


def test_tables() -> None:
    with profile(record_shapes=True) as p:
        work()
    table = p.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total")
    lines = table.splitlines()
    assert lines[1].split()[0] == "Name" and "Input Shapes" in lines[1]
    assert any(line.startswith("matmul ") and line.split()[6] == "1" for line in lines)
    assert p.key_averages().table(row_limit=1).count("\n") == 6
    times = [e.cpu_time_total for e in p.events()]
    first = p.events().table(sort_by="cpu_time_total").splitlines()[3]
    assert first.startswith(f"{p.events()[times.index(max(times))].name}  ")
    with pytest.raises(ValueError, match="sort_by must be one of"):
        p.key_averages().table(sort_by="weight")


def test_traces(tmp_path: Path) -> None:
    with profile(record_shapes=True, with_stack=True) as p:
        work()
    p.add_metadata("note", "here")
    p.add_metadata_json("numbers", "[1, 2]")
    p.export_chrome_trace(tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text())
    assert found["note"] == "here" and found["numbers"] == [1, 2]
    rows = {r["name"]: r for r in found["traceEvents"] if r["ph"] == "X"}
    block, product = rows["block"], rows["matmul"]
    assert block["ts"] <= product["ts"]
    assert product["ts"] + product["dur"] <= block["ts"] + block["dur"] + 1e-3
    assert product["cat"] == "cpu_op" and product["args"]["Input Dims"] == [[3, 3], [3, 3]]
    p.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    with gzip.open(tmp_path / "trace.json.gz", "rt") as file:
        assert len(json.load(file)["traceEvents"]) == len(found["traceEvents"])
    p.export_stacks(str(tmp_path / "stacks"))
    assert "test_profiler.py" in (tmp_path / "stacks").read_text()


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"wait": 1, "warmup": 1, "active": 2, "repeat": 2}, [[2, 3], [6, 7]]),
        ({"wait": 0, "warmup": 0, "active": 1, "repeat": 1, "skip_first": 2}, [[2]]),
        ({"wait": 2, "warmup": 0, "active": 2, "repeat": 0}, [[2, 3], [6, 7]]),
    ],
)
def test_schedules(options: dict, expected: list, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def ready(p: Any) -> None:
        names = [e.name for e in p.events() if e.name.startswith("ProfilerStep")]
        seen.append([int(n.rpartition("#")[2]) for n in names])
        assert [e.name for e in p.events()].count("exp") == len(names)

    with profile(schedule=schedule(**options), on_trace_ready=ready) as p:
        for _ in range(8):
            tritorch.ones(2).exp()
            p.step()
    assert seen[: len(expected)] == expected
    write = profiler.tensorboard_trace_handler(str(tmp_path), "me")
    with profile(on_trace_ready=write):
        work()
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("me.") and file.name.endswith(".pt.trace.json")


def test_a_trace_is_ready_when_its_last_step_is_over() -> None:
    seen: list[int] = []
    rounds = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=rounds, on_trace_ready=lambda p: seen.append(p.step_num)) as p:
        for _ in range(8):
            p.step()
    assert seen == [4, 8]


def test_schedules_without_warmup_warn() -> None:
    with pytest.warns(UserWarning, match="won't be using warmup"):
        schedule(wait=1, warmup=0, active=1)
    with pytest.raises(AssertionError, match="Invalid"):
        schedule(wait=-1, warmup=1, active=1)


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
@pytest.mark.oracle
def test_schedules_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for options in (
        {"wait": 1, "warmup": 1, "active": 2, "repeat": 2},
        {"wait": 0, "warmup": 2, "active": 1, "skip_first": 3},
        {"wait": 3, "warmup": 0, "active": 2, "repeat": 1},
    ):
        ours, theirs = schedule(**options), torch.profiler.schedule(**options)
        assert [ours(i).name for i in range(20)] == [theirs(i).name for i in range(20)]


def test_older_profiler_and_optimizers() -> None:
    p = nn.Parameter(tritorch.ones(2))
    p.grad = tritorch.ones(2)
    optimizer = tritorch.optim.SGD([p], lr=0.1)
    with autograd.profiler.profile() as prof:
        p.exp()
        optimizer.step()
    names = [e.name for e in prof.function_events]
    assert names == ["exp", "Optimizer.step#SGD.step"]
    assert "exp" in str(prof) and prof.self_cpu_time_total > 0
    with autograd.profiler.profile(enabled=False) as prof:
        p.exp()
    assert not prof.function_events

    @record_function("decorated")
    def f() -> None:
        p.exp()

    with profile() as later:
        f()
    f()
    assert [e.name for e in later.events()] == ["decorated", "exp"]


def test_other_threads_are_not_measured() -> None:
    x = tritorch.ones(2, requires_grad=True)
    y = x.exp().sum()
    with profile() as p:
        thread = threading.Thread(target=y.backward)
        thread.start()
        thread.join()
    assert not p.events() and x.grad is not None


def test_ranges_for_other_profilers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fake: Any = types.ModuleType("nvtx")
    fake.push_range, fake.pop_range = calls.append, lambda: calls.append("pop")
    monkeypatch.setitem(sys.modules, "nvtx", fake)
    with autograd.profiler.emit_nvtx(record_shapes=True):
        tritorch.ones(2).exp()
    assert calls[-2:] == ["exp, sizes = [[2]]", "pop"]
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with pytest.raises(RuntimeError, match="pip install nvtx"), autograd.profiler.emit_nvtx():
        pass


# -- TensorBoard ----------------------------------------------------------------------------------


class Recorded:
    """Stands for the writer of tensorboardX."""

    calls: list[tuple]

    def __init__(self, logdir: str | None = None, **options: Any) -> None:
        self.logdir = logdir or "runs/now"

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


def test_summaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake: Any = types.ModuleType("tensorboardX")
    fake.SummaryWriter = Recorded
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    Recorded.calls = []
    with SummaryWriter(tmp_path / "logs") as writer:
        assert writer.get_logdir() == str(tmp_path / "logs")
        writer.add_scalar("loss", tritorch.tensor(0.5, requires_grad=True), 3)
        writer.add_image("image", tritorch.zeros(3, 2, 2, dtype=tritorch.bfloat16))
        writer.add_scalars("both", {"a": tritorch.tensor(1.0)}, 4)
        writer.add_histogram("weights", nn.Linear(2, 2).weight, 5)
        writer.add_hparams({"lr": 0.1}, {"accuracy": tritorch.tensor(0.75)})
        writer.add_embedding(tritorch.ones(2, 2), metadata=["a", "b"])
        with pytest.raises(NotImplementedError, match="add_text"):
            writer.add_graph(nn.Linear(1, 1))
    by_name = {name: (args, kwargs) for name, args, kwargs in Recorded.calls}
    tag, value, step, _ = by_name["add_scalar"][0]
    assert (tag, step) == ("loss", 3) and isinstance(value, np.ndarray) and value == 0.5
    assert by_name["add_image"][0][1].dtype == np.float32
    assert by_name["add_hparams"][0] == ({"lr": 0.1}, {"accuracy": 0.75})
    assert isinstance(by_name["add_embedding"][0][0], np.ndarray) and "close" in by_name


def test_summaries_are_real_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", tritorch.tensor(0.5), 1)
        writer.add_histogram("weights", tritorch.randn(100), 1)
        writer.add_image("image", tritorch.rand(3, 4, 4), 1)
    assert any(f.stat().st_size > 100 for f in tmp_path.iterdir())


def test_summaries_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        SummaryWriter()


# -- implementations of attention -----------------------------------------------------------------


def test_implementations_of_attention_can_be_chosen() -> None:
    attention = nn.functional.scaled_dot_product_attention
    q = tritorch.randn(2, 3, 4, 5, requires_grad=True)
    expected = attention(q, q, q, is_causal=True)
    (wanted,) = tritorch.autograd.grad(expected.sum(), q)
    with profile() as fused:
        attention(q, q, q)
    with sdpa_kernel(SDPBackend.MATH), profile() as composed:
        out = attention(q, q, q, is_causal=True)
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
            attention(q, q, q)
    names = [[e.name for e in p.events()] for p in (fused, composed)]
    assert names[0] == ["attention"] and "matmul" in names[1] and names[1][-1] == "attention"
    (grad,) = tritorch.autograd.grad(out.sum(), q)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(grad.numpy(), wanted.numpy(), atol=1e-5)
    with (
        sdpa_kernel(SDPBackend.CUDNN_ATTENTION),
        pytest.raises(RuntimeError, match="No viable backend"),
    ):
        attention(q, q, q)
    with pytest.raises(AssertionError, match="SDPBackend"), sdpa_kernel("math"):  # type: ignore[arg-type]
        pass
    attention(q, q, q)


def test_switches_of_attention() -> None:
    switches = tritorch.backends.cuda
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        getattr(switches, f"enable_{name}_sdp")(False)
        assert not getattr(switches, f"{name}_sdp_enabled")()
    with pytest.raises(RuntimeError, match="No viable backend"):
        nn.functional.scaled_dot_product_attention(*(tritorch.ones(1, 1, 2, 2),) * 3)
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        getattr(switches, f"enable_{name}_sdp")(True)
        assert getattr(switches, f"{name}_sdp_enabled")()
    with switches.sdp_kernel(enable_flash=False):
        assert switches.math_sdp_enabled() and not switches.flash_sdp_enabled()
    assert switches.flash_sdp_enabled()


def test_the_namespace_is_there_when_it_is_asked_for() -> None:
    code = "import tritorch as t; t.profiler.profile(); assert 'profiler' in dir(t)"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- operations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "expected"),  # PyTorch's FlopCounterMode counts the same
    [
        (lambda: tritorch.ones(3, 4) @ tritorch.ones(4, 5), 120),
        (lambda: tritorch.bmm(tritorch.ones(2, 3, 4), tritorch.ones(2, 4, 5)), 240),
        (
            lambda: tritorch.baddbmm(
                tritorch.ones(2, 3, 5), tritorch.ones(2, 3, 4), tritorch.ones(2, 4, 5)
            ),
            240,
        ),
        (lambda: tritorch.einsum("ij,jk->ik", tritorch.ones(3, 4), tritorch.ones(4, 5)), 120),
        (lambda: nn.Conv1d(6, 4, 3)(tritorch.ones(2, 6, 9)).sum().backward(), 4032),
        (
            lambda: (
                nn.Conv2d(6, 12, 3, padding=1, groups=3)(
                    tritorch.ones(2, 6, 9, 9, requires_grad=True)
                )
                .sum()
                .backward()
            ),
            349920,
        ),
        (
            lambda: (
                nn.ConvTranspose2d(6, 4, 3, 2)(tritorch.ones(2, 6, 9, 9, requires_grad=True))
                .sum()
                .backward()
            ),
            209952,
        ),
        (lambda: nn.Conv3d(2, 4, 3, padding=1)(tritorch.ones(2, 2, 5, 6, 7)), 181440),
        (  # 2 * 2 * 3 * 5 * 7 * (4 + 4), and 2 * 2 * 3 * 5 * 7 * (3 * 4 + 2 * 4) backward
            lambda: (
                nn.functional.scaled_dot_product_attention(
                    tritorch.ones(2, 3, 5, 4, requires_grad=True),
                    tritorch.ones(2, 3, 7, 4),
                    tritorch.ones(2, 3, 7, 4),
                )
                .sum()
                .backward()
            ),
            420 * 8 + 420 * 20,
        ),
        (lambda: tritorch.ones(5).exp().sum(), 0),
    ],
)
def test_operations_are_counted(run, expected: int) -> None:
    with FlopCounterMode(display=False) as counter:
        run()
    assert counter.get_total_flops() == expected


def test_operations_are_counted_by_module(capsys) -> None:
    x = tritorch.ones(2, 6, 9, 9)
    net = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(200, 5))
    before = tritorch.ones(2, 3, requires_grad=True) @ tritorch.ones(3, 4)
    with FlopCounterMode() as counter:
        net(x).sum().backward()
    counts = counter.get_flop_counts()
    assert {k: sum(v.values()) for k, v in counts.items()} == {
        "Global": 98400,
        "Sequential": 98400,
        "Sequential.0": 86400,
        "Sequential.3": 12000,
    }
    assert counts["Sequential.3"] == {"linear": 4000, "matmul": 8000}
    shown = capsys.readouterr().out
    assert "Global              98.400K  100.00%" in shown and "  Sequential.3" in shown
    assert "Sequential.0" not in counter.get_table(1)
    with FlopCounterMode(display=False, custom_mapping={"exp": lambda x, out_shape: 7}) as counter:
        tritorch.ones(3).exp_()
        before.sum().backward()
    assert counter.get_flop_counts() == {"Global": {"exp": 7, "matmul": 48}}
    x = tritorch.ones(3) @ tritorch.ones(3, 2)  # outside of the block nothing is counted
    assert counter.get_total_flops() == 55
