"""Performance reports: what is measured, kept, compared and drawn (no figure is asserted)."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

import tritorch
from tritorch.perf import (
    accuracy,
    cli,
    clock,
    memory as memory_of,
    models,
    records,
    results,
    session,
    sweeps,
)
from tritorch.perf.estimate import estimate
from tritorch.perf.figures import Figure, PointFigure
from tritorch.perf.peers import Peer, double_reference, drawn, peers
from tritorch.perf.progress import progress
from tritorch.perf.specs import Bools, Complexes, Reals
from tritorch.runtime import host, memory

pytestmark = pytest.mark.skipif(memory.interpreted(), reason="measures the CPU")


def point(name: str, size: int | None = None) -> sweeps.Point:
    found = [p for p in sweeps.points("cpu", ["float32"]) if p.operator == name]
    return found[0] if size is None else next(p for p in found if p.size == size)


def test_every_sweep_runs_and_gives_what_numpy_gives() -> None:
    ours, numpy = peers(["numpy"], "cpu")
    for sweep in sweeps.SWEEPS:
        p = next(iter(sweep.points("cpu", ["float32"])))
        runs = clock.runners(p, [ours, numpy])
        got = ours.array(runs[0].once())
        if len(runs) == 2 and got is not None and sweep.operator not in sweeps.RANDOM:
            np.testing.assert_allclose(got, numpy.array(runs[1].once()), 2e-4, 2e-4)


def test_keys_are_unique() -> None:
    keys = [p.key for p in session.all_points("cpu", ["float32"])]
    assert len(keys) == len(set(keys))
    assert len({p.family for p in session.all_points("cpu", ["float32"])}) >= 15


def test_every_operator_of_the_record_has_a_case() -> None:
    missing = [name for name, case in records.cases().items() if case is None]
    assert not missing, "add these to tritorch/perf/records.py"


def test_every_case_runs_where_nothing_else_is_imported() -> None:
    """As in a report: what another test has imported is not there."""
    code = (
        "from tritorch.perf import clock, peers, records\n"
        "ours = peers.peers([], 'cpu'); points = records.points()\n"
        "for p in points: clock.runners(p, ours)[0].once()\n"
        "print(len(points))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 200, done.stderr


def test_a_figure_has_times_errors_and_traffic() -> None:
    p = point("exp")
    figure = PointFigure(p, peers(["numpy"], "cpu"), "cpu")
    for _ in range(3):
        figure.visit(0.002)
    row = figure.row()
    assert row["key"] == p.key and list(row["times"]) == ["tritorch", "numpy"]
    t = row["times"]["tritorch"]
    assert 0 < t["low"] <= t["median"] <= t["high"] and len(t["visits"]) == 3
    assert set(row["ratio"]) == {"numpy"} and set(row["uncertainty"]) == {"tritorch", "numpy"}
    assert row["bytes"] == 2 * 4 * p.size and row["ulps"]["tritorch"] <= 2


def broken(lib: object, x: object) -> None:
    raise RuntimeError("broken: on purpose")


def stopped(lib: object, x: object) -> None:
    raise KeyboardInterrupt


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, call: object) -> None:
    """Let an operator's call be another."""
    all_points = session.all_points

    def points(device: str, dtypes: list[str]) -> list[sweeps.Point]:
        found = all_points(device, dtypes)
        return [
            p._replace(case=p.case._replace(call=call)) if p.operator == name else p for p in found
        ]

    monkeypatch.setattr(session, "all_points", points)
    most = {"bytes/s": 1e10, "flop/s": {"float32": 1e11}}
    monkeypatch.setattr(session, "limits", lambda device, peers: most)


CHEAP = ["--shapes", "^1024( |$)", "--device", "cpu", "--seconds", "0.002", "--against", "numpy"]


def test_what_fails_is_listed_and_the_others_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    replaced(monkeypatch, "exp", broken)
    assert cli.main(["--operator", "^(add|exp|tanh)$", *CHEAP, "--out", str(tmp_path)]) == 1
    found = results.read(tmp_path / "report.json")
    assert found["failed"] == {"exp float32 1024": "RuntimeError: broken: on purpose"}
    assert {p["operator"]: len(p["times"]["tritorch"]["visits"]) for p in found["points"]} == {
        "add": session.VISITS,
        "tanh": session.VISITS,
    }
    assert "failed: exp float32 1024: RuntimeError: broken" in capsys.readouterr().err
    assert "broken: on purpose" in (tmp_path / "report.html").read_text()


def test_what_was_measured_before_an_interrupt_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    replaced(monkeypatch, "tanh", stopped)
    whole = ["--operator", "^add$", *CHEAP, "--out", str(tmp_path), "--budget", "0"]
    assert cli.main(whole) == 0
    last = results.read(tmp_path / "report.json")
    assert cli.main(["--operator", "^(add|exp|tanh)$", *CHEAP, "--out", str(tmp_path)]) == 130
    assert results.read(tmp_path / "report.json") == last and gc.isenabled()
    found = results.report(tmp_path / "unfinished.json")
    assert {p["operator"] for p in found["points"]} == {"add", "exp"}
    said = capsys.readouterr()
    assert found["left"] == ["tanh float32 1024"] and "interrupted; so far" in said.out
    assert f"--page {tmp_path / 'unfinished.json'}" in said.err
    assert cli.main(whole) == 0 and not (tmp_path / "unfinished.json").exists()
    assert results.read(tmp_path / "earlier.json") == last


def only_ours(lib: object, x: object) -> object:
    if lib is not tritorch:
        raise RuntimeError("refused: on purpose")
    return x.exp()  # type: ignore[attr-defined]


class Other(Peer):
    """NumPy's tensors, in a library that has nothing else."""

    def __init__(self) -> None:
        self.name, self.device, self.lib = "torch", "cpu", np

    def tensors(self, arrays: Sequence[np.ndarray], dtype: str) -> list:
        return list(arrays)


def test_a_library_that_fails_leaves_the_others_whole() -> None:
    p = point("exp")
    p = p._replace(case=p.case._replace(call=only_ours))
    run = session.Session("cpu", peers(["numpy"], "cpu"), 0.01, 5.0)
    figure = PointFigure(p, [*run.peers, Other()], "cpu")
    run.figures = [figure]
    for _ in range(2):
        figure.visit(0.002)
    found = run.results
    assert found["failed"] == {f"{p.key}, torch": "RuntimeError: refused: on purpose"}
    assert list(found["points"][0]["times"]) == ["tritorch", "numpy"]


@pytest.mark.oracle
def test_torch_compile_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    def compiled(call: object, dynamic: bool) -> object:
        def run(x: object) -> None:
            raise RuntimeError("no compiler\nand more")

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(ValueError, match=r"does not work here; it needs a C\+\+ .*: no compiler$"):
        peers(["torch.compile"], "cpu")


def test_a_process_that_is_ended_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(lib: object, x: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    before = signal.getsignal(signal.SIGTERM)
    replaced(monkeypatch, "tanh", ended)
    assert cli.main(["--operator", "^(exp|tanh)$", *CHEAP, "--out", str(tmp_path)]) == 130
    found = results.report(tmp_path / "unfinished.json")
    assert [p["operator"] for p in found["points"]] == ["exp"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_choice_of_operators_leaves_the_report_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--operator", "^exp$", *CHEAP, "--no-open"]) == 0
    (report,) = (tmp_path / "perf" / "results").rglob("report.json")
    assert report.parent.name == "filtered"


def test_a_report_that_cannot_be_read_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "report.json").write_text("{")
    shown = []
    monkeypatch.setattr(cli.webbrowser, "open", shown.append)
    options = ["--operator", "^exp$", *CHEAP, "--out", str(tmp_path), "--open"]
    assert cli.main(options) == 0
    assert "nothing is compared with the report before" in capsys.readouterr().err
    assert results.report(tmp_path / "report.json")["points"]
    assert not (tmp_path / "earlier.json").exists()
    assert shown == [(tmp_path / "report.html").as_uri()]


def test_without_matplotlib_results_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("page", "plots"):
        monkeypatch.delitem(sys.modules, f"tritorch.perf.{name}", raising=False)
        monkeypatch.delattr(tritorch.perf, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "matplotlib" else find(n)
    )
    assert cli.main(["--operator", "^exp$", *CHEAP, "--out", str(tmp_path)]) == 1
    assert results.report(tmp_path / "report.json")["points"]
    said = capsys.readouterr().err
    assert said.startswith("no report will be drawn: matplotlib is missing: pip install")
    assert "no report without matplotlib" in said


def test_memory_is_what_lives_at_once_whatever_the_pool_keeps() -> None:
    (ours,) = peers([], "cpu")

    def call() -> tritorch.Tensor:
        x = tritorch.empty(1 << 18) + tritorch.empty(1 << 18)  # three megabytes live
        del x
        return tritorch.empty(1 << 18).add_(1)

    limit = host.pool.limit
    found = memory_of.peak(clock.Runner(ours, call, [[]]), "cpu")
    assert 3 << 20 <= found < (3 << 20) + (1 << 18) and host.pool.limit == limit


@pytest.mark.oracle
def test_memory_of_torch() -> None:
    torch = pytest.importorskip("torch")
    _, theirs = peers(["torch"], "cpu")
    call = lambda: torch.zeros(1 << 18) + torch.zeros(1 << 18)  # noqa: E731
    assert memory_of.peak(clock.Runner(theirs, call, [[]]), "cpu") == 3 << 20


def test_progress_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    now = itertools.count(0, 3)  # seconds, a job takes three
    monkeypatch.setattr("tritorch.perf.progress.time.perf_counter", lambda: next(now))
    assert list(progress(range(8), "round 1", names="abcdefgh", most=30)) == list(range(8))
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"round 1  [{'.' * 30}] 0/8  3 s of 30  a"
    assert second == f"round 1  [{'#' * 15}{'.' * 15}] 4/8  15 s of 30  e"


def test_what_the_time_does_not_reach_is_listed(capsys: pytest.CaptureFixture) -> None:
    run = session.Session("cpu", peers([], "cpu"), 0.01, 0.0)
    run.attempt = lambda key, job: None  # type: ignore[method-assign]
    run.run([point("exp")], with_models=True)
    left = run.results["left"]
    assert point("exp").key in left and "digits CNN, training" in left
    assert f"0 figures, 0 failed, {len(left)} left" in results.summary(run.results)


class Known(Figure):
    """Takes these times in its visits, and then the last of them."""

    def __init__(self, key: str, theirs: Iterable[float]) -> None:
        super().__init__(key, peers(["numpy"], "cpu"), "cpu")
        self.theirs = iter(theirs)

    def visit(self, seconds: float) -> None:
        self.last = next(self.theirs, 10.0)
        self.visits.append({"tritorch": [10.0], "numpy": [self.last]})

    runs = describe = None  # type: ignore[assignment]


def test_rounds_go_on_with_what_is_least_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = [Known(f"calm {i}", []) for i in range(8)]
    noisy = Known("noisy", [10.0, 14.0, 7.0, 12.0])
    run = session.Session("cpu", peers(["numpy"], "cpu"), 0.2, 100.0)
    monkeypatch.setattr(run, "plan", lambda points, with_models: [noisy, *calm])
    monkeypatch.setattr(run, "_limits", lambda: None)
    kept = []
    run.keep = kept.append
    run.run([], with_models=False)
    assert {len(f.visits) for f in calm} <= {session.VISITS, session.VISITS + 1}
    assert session.VISITS + 1 < len(noisy.visits) <= run.most
    assert len(kept) >= session.VISITS and not kept[0]["points"] and len(kept[1]["points"]) == 9


def test_threads_that_wait_in_a_loop_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now, used, busy = 0.0, 0.0, 0.04

    def sleep(seconds: float) -> None:
        nonlocal now, used
        used += seconds if now < busy else 0.0
        now += seconds

    monkeypatch.setattr(clock.time, "sleep", sleep)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    monkeypatch.setattr(clock.time, "process_time", lambda: used)
    clock.settle()
    assert busy < now <= busy + 3 * clock.LOOK
    now, used, busy = 0.0, 0.0, 10.0
    clock.settle()
    assert now == pytest.approx(clock.WAIT, abs=2 * clock.LOOK)


def test_errors_are_of_results_that_are_determined() -> None:
    names = {"index_put", "index_copy", "svd", "dropout"}
    for p in session.all_points("cpu", ["float32"]):
        if p.operator in names:
            names.discard(p.operator)
            indices = [drawn(spec, i) for i, spec in enumerate(p.case.inputs)]
            for i in indices:
                assert i.dtype != np.int64 or len(np.unique(i)) == i.size
    assert not names
    (svd,) = [p for p in records.points() if p.operator == "svd"]
    assert not PointFigure(svd, peers([], "cpu"), "cpu").describe(
        clock.runners(svd, peers([], "cpu"))
    )["ulps"]


def test_inputs_are_the_same_in_each_visit_and_by_kind() -> None:
    assert drawn(Reals((4,), 0, 1), 0) is drawn(Reals((4,), 0, 1), 0)
    assert drawn(Bools((4,)), 0).dtype == np.bool  # as tuples these two are equal
    assert drawn(Complexes((4,)), 0).dtype == np.complex64
    assert (drawn(Reals((4,)), 0) != drawn(Reals((4,)), 1)).any()


def test_an_estimate_is_of_what_most_visits_found() -> None:
    ours, theirs = [10.0, 10.1, 9.9, 10.0, 80.0], [20.0, 20.2, 500.0, 19.9, 20.0]
    assert estimate(theirs, ours).value == pytest.approx(2.0, rel=0.02)
    assert estimate(ours).value == pytest.approx(10.0, rel=0.02)
    alone, steady, noisy = ([10.0] * n for n in (1, 8, 8))
    noisy[::2] = [15.0] * 4
    found = [estimate(x).uncertainty for x in (steady, alone, noisy)]
    assert found == sorted(found) and 0.001 < found[0] < 0.02 < found[1] < 0.1 < found[2]


@pytest.mark.parametrize("visits", [3, 5, 9])
def test_uncertainty_tells_what_a_second_report_finds(visits: int) -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(300):
        first, second = (estimate(*np.exp(rng.normal(0, 0.08, (2, visits)))) for _ in range(2))
        off = abs(np.log(first.value / second.value))
        beyond += off > 2 * np.hypot(first.uncertainty, second.uncertainty)
    assert 0 < beyond < 0.12 * 300  # 5% where spreads are known; here a few visits tell them


@pytest.mark.parametrize(
    ("off", "expected"), [(0.0, 0.0), (2.0**-23, 1.0), (2.0**-21, 4.0), (np.inf, np.inf)]
)
def test_ulps(off: float, expected: float) -> None:
    assert accuracy.ulps(np.array([1.0 + off]), np.array([1.0]), "float32") == expected
    # what is small beside the rest counts as large as it
    assert accuracy.ulps(np.array([1e-9, 1.0]), np.array([0.0, 1.0]), "float32") < 1


def test_the_reference_is_of_the_inputs_as_the_dtype_holds_them() -> None:
    p = point("exp")._replace(dtype="bfloat16")
    exact = double_reference(p)
    assert exact is not None and exact.dtype == np.float64
    (ours,) = peers([], "cpu")
    got = ours.array(clock.runners(p, [ours])[0].once())
    assert got is not None and accuracy.ulps(got, exact, "bfloat16") <= 0.51


@pytest.mark.parametrize("model", models.models("cpu"), ids=lambda m: m.name)
def test_models_learn(model: models.Model) -> None:
    tritorch.manual_seed(0)
    net, x, y = model.make(tritorch, "cpu")
    step = models.training(tritorch, net, x, y)
    losses = [step().item() for _ in range(2)]
    assert all(np.isfinite(losses))
    out = models.inference(tritorch, net, x)()
    assert out.shape[0] == y.shape[0] and not out.requires_grad


def test_resnet50_and_gpt2_have_the_published_sizes() -> None:
    assert models.parameters(models.resnet50(tritorch)) == 25_557_032  # He et al., torchvision
    small = models.gpt2(tritorch, 1, 64, 4, 100, 16)
    block = 12 * 64 * 64 + 13 * 64
    assert models.parameters(small) == 100 * 64 * 2 + 16 * 64 + block + 2 * 64


def report(times: float = 10.0, uncertainty: float = 0.01, torch: float | None = None) -> dict:
    """Results of one operator."""
    visits = {"tritorch": times} | ({"torch": torch} if torch else {})
    row = {
        "key": "exp",
        "noise": 0.01,
        "times": {n: {"median": t, "visits": [t]} for n, t in visits.items()},
        "ratio": {"torch": torch / times} if torch else {},
        "uncertainty": dict.fromkeys(visits, uncertainty),
    }
    machine = {"device": "a", "kind": "cpu", "threads": 2, "date": "2026-11-29", "versions": {}}
    kept = {"points": [row], "models": [], "failed": {}, "left": [], "limits": {}, "hosts": []}
    return {"format": results.FORMAT, "machine": machine, **kept}


def test_compare_finds_what_is_slower_than_the_noise(tmp_path: Path, capsys) -> None:
    old, new, noisy = (tmp_path / f"{n}.json" for n in "abc")
    for path, found in ((old, report()), (new, report(13.0)), (noisy, report(13.0, 0.2))):
        results.write(path, found)
    assert cli.main(["--compare", str(old), str(new)]) == 1
    assert re.search(r"slower +1.30x .*noise 6%.*exp: 10.0 -> 13.0 us", capsys.readouterr().out)
    assert cli.main(["--compare", str(new), str(old)]) == 0
    assert "faster" in capsys.readouterr().out
    assert cli.main(["--compare", str(old), str(noisy)]) == 0


def test_a_busier_machine_is_no_change() -> None:
    (change,) = results.changes(report(10.0, torch=5.0), report(20.0, torch=10.0))
    assert change.factor == pytest.approx(1.0) and not change.slower
    (change,) = results.changes(report(10.0, torch=5.0), report(20.0, torch=5.0))
    assert change.before == pytest.approx(10.0) and change.after == pytest.approx(20.0)
    assert change.slower


def test_compare_says_how_many_ratios_agree(tmp_path: Path, capsys) -> None:
    old, new = report(10.0, torch=5.0), report(10.0, torch=5.4)
    old["models"], new["models"] = report(10.0, torch=5.0)["points"], report(9, torch=6)["points"]
    old["models"][0]["key"] = new["models"][0]["key"] = "net"
    for name, found in (("old", old), ("new", new)):
        results.write(tmp_path / name, found)
    cli.main(["--compare", str(tmp_path / "old"), str(tmp_path / "new")])
    assert "ratios to torch: 50% of 2 agree within 10%" in capsys.readouterr().out


def test_results_without_uncertainties_can_be_compared() -> None:
    old, new = report(10.0, torch=5.0), report(10.2, torch=5.0)
    del old["points"][0]["uncertainty"], old["points"][0]["times"]["tritorch"]["visits"]
    (change,) = results.changes(old, new)
    assert change.factor == pytest.approx(1.02) and not change.slower


def test_compare_finds_a_planted_regression(tmp_path: Path, capsys) -> None:
    """In a committed report: twice the time of one operator, and of another within its noise."""
    folder = Path(tritorch.__file__).parent.parent / "perf" / "results" / "amd-epyc"
    new = results.report(folder / "report.json")
    sure = [p for p in new["points"] if p.get("uncertainty", {}).get("torch", 1.0) < 0.05]
    for row, factor in zip(sure, (2.0, 1.0 + sure[1]["uncertainty"]["torch"])):
        row["ratio"] = {name: ratio / factor for name, ratio in row["ratio"].items()}
    results.write(tmp_path / "new", new)
    assert cli.main(["--compare", str(folder / "report.json"), str(tmp_path / "new")]) == 1
    (line,) = [n for n in capsys.readouterr().out.splitlines() if n.startswith("slower")]
    assert "2.00x" in line and sure[0]["key"] in line
    assert cli.main(["--compare", str(folder / "report.json"), str(folder / "report.json")]) == 0


def test_compare_finds_what_fails_now_and_says_what_cannot_be_compared(
    tmp_path: Path, capsys
) -> None:
    old, new = report(), report()
    new["points"], new["failed"] = [], {"exp": "RuntimeError: no"}
    new["machine"] = {**new["machine"], "threads": 4}
    for name, found in (("old", old), ("new", new)):
        results.write(tmp_path / name, found)
    assert cli.main(["--compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    said = capsys.readouterr()
    assert "fails now  exp: RuntimeError: no" in said.out and "1 in one only" in said.out
    assert "of different machines: a, 2 threads; a, 4 threads" in said.err
    results.write(tmp_path / "new", {"format": results.FORMAT, "machine": {}, "kernels": []})
    assert cli.main(["--compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 2
    assert "not a report of what was measured" in capsys.readouterr().err


def test_noise_is_one_of_logarithms() -> None:
    (change,) = results.changes(report(10.0, 0.2), report(24.0, 0.2))
    assert change.noise == pytest.approx(np.expm1(results.SIGMAS * np.hypot(0.2, 0.2)))
    assert not change.slower


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[1]", "\x00"])
def test_files_that_are_no_results_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.json"):
        results.read(path)
    assert cli.main(["--compare", str(path), str(path)]) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--family", "none"], "one of activation"),
        (["--operator", "no such"], "no operator is left"),
        (["--against", "jax", "--operator", "^exp$"], "not one of numpy"),
        (["--targets", "sm_1"], "not one of sm_80"),
        (["--operator", "("], "'(' is no regular expression: missing )"),
        (["--shapes", "["], "'[' is no regular expression"),
        (["--budget", "-3"], "'-3' is no number of seconds"),
        (["--seconds", "nan"], "'nan' is no number of seconds"),
        (["--page", "nowhere.json"], "nowhere.json: there is no such file"),
        (["--operator", "^exp$", "--device", "cpu", "--out", __file__], "cannot read or write"),
    ],
)
def test_wrong_arguments_say_what_would_be_right(args: list, message: str, capsys) -> None:
    try:
        code = cli.main(args)
    except SystemExit as stopped:  # of argparse
        code = stopped.code
    assert code == 2 and message in capsys.readouterr().err


def test_a_report_from_one_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    args = ["--operator", "^(exp|softmax|matmul)$", "--seconds", "0.01", "--against", "numpy"]
    assert cli.main([*args, "--device", "cpu", "--out", str(tmp_path)]) == 0
    found = results.read(tmp_path / "report.json")
    assert {p["operator"] for p in found["points"]} == {"exp", "softmax", "matmul"}
    assert found["limits"]["bytes/s"] > 0 and found["hosts"]
    pictures = {p.stem for p in tmp_path.glob("*.png")}
    assert not (tmp_path / "unfinished.json").exists()
    assert {"throughput", "roofline", "ratios-numpy", "accuracy", "hosts"} <= pictures
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == len(pictures) and "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert "viewport" in page and "@media print" in page
    assert json.dumps(found["machine"]["device"])[1:-1] in page
    assert "± " not in page and re.search(r"\d ±\d+%", page)
    # again, from the file alone
    (tmp_path / "report.html").unlink()
    assert cli.main(["--page", str(tmp_path / "report.json")]) == 0
    assert (tmp_path / "report.html").exists()


def test_the_pictures_of_the_readme_are_those_of_the_committed_results() -> None:
    plots = pytest.importorskip("tritorch.perf.plots")
    root = Path(tritorch.__file__).parent.parent
    folder = root / "perf" / "results" / "amd-epyc"
    found = results.report(folder / "report.json")
    readme = (root / "README.md").read_text()
    told, mean = re.findall(r"of (\d+) operators the geometric mean is ([\d.]+)", readme)[0]
    ratios = plots.ratios(found, "torch")
    titles = [f.texts[0].get_text() for f in ratios.values()]
    assert all(f"geometric mean {mean}" in title for title in titles)
    names = [label.get_text() for f in ratios.values() for label in f.axes[0].get_yticklabels()]
    assert len(names) == len(set(names)) == int(told)
    assert all(len(f.axes) == 1 for f in ratios.values())
    assert {p.stem for p in folder.glob("ratios-torch*.png")} == set(ratios)
    drawn = [d for axis in plots.roofline(found).axes for d in axis.collections]
    assert sum(len(d.get_offsets()) for d in drawn) == len(found["points"])
    looks = [(d.get_facecolor().tobytes(), d.get_paths()[0].vertices.tobytes()) for d in drawn]
    families = {p["family"] for p in found["points"]}
    assert len(set(looks)) == len(families)
    for figure in ratios.values():  # numbers and labels do not touch
        axis, draw = figure.axes[0], figure.canvas.get_renderer()
        left = axis.get_window_extent(draw).x0
        assert all(t.get_window_extent(draw).x0 >= left for t in axis.texts)
    plots.plt.close("all")


def test_the_page_says_what_changed_and_when(tmp_path: Path) -> None:
    page = pytest.importorskip("tritorch.perf.page")
    root = Path(tritorch.__file__).parent.parent
    folder = root / "perf" / "results" / "amd-epyc"
    found, before = (results.report(folder / f"{n}.json") for n in ("report", "earlier"))
    said = page.changes_section(found, before)
    figures = len(found["points"]) + len(found["hosts"]) + len(found["models"])
    assert f"{before['machine']['date']}: of {figures} figures in both" in said
    (told,) = re.findall(r"(\d+%) of the ratios to", (root / "README.md").read_text())
    assert f"ratios to torch: {told} of {figures} agree within 10%" in said
    assert "No earlier results" in page.changes_section(found, None)
    rows = [{**found["models"][0], "memory": {"tritorch": 2e6, "torch": 1e6}}]
    shown = page.models_table({"models": rows})
    assert "<th>torch, MB</th>" in shown and "<td>2</td><td>1</td>" in shown


def test_the_page_shows_the_last_results_of_gpus(tmp_path: Path) -> None:
    page = pytest.importorskip("tritorch.perf.page")
    looks = results.measured_on_gpus(Path(tritorch.__file__).parent.parent / "perf" / "results")
    (h200,) = [x for x in looks if x["machine"]["device"] == "NVIDIA H200"]
    shown = page.gpu_section([h200])
    assert f"NVIDIA H200, measured {h200['machine']['date']}" in shown
    assert all(name in shown for name in h200["figures"])


def test_predicted_rooflines_are_drawn_for_each_target() -> None:
    predicted = pytest.importorskip("tritorch.perf.predicted")
    static = pytest.importorskip("tritorch.perf.static")
    folder = Path(tritorch.__file__).parent.parent / "perf" / "results"
    kernels = [json.loads((folder / t / "kernels.json").read_text()) for t in static.SHEETS]
    figure = predicted.rooflines(kernels)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert [t.split()[0] for t in titles if t] == list(static.SHEETS)
    for facts in kernels:
        sheet = static.SHEETS[facts["machine"]["target"]]
        for p in predicted.points(facts):
            assert predicted.rate(p, sheet) <= 1.001 * min(p["intensity"] * sheet.bytes, sheet.half)
    predicted.plots.picture(figure)  # which closes it
    assert predicted.rooflines([]) is None


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_kernels_compile_for_an_absent_gpu() -> None:
    from tritorch.perf import static

    (softmax,) = [p for p in static.chosen() if p.operator == "softmax"]
    found = static.report("sm_90", [softmax])
    assert not found["failed"]
    for row in found["kernels"]:
        assert 0 < row["occupancy"] <= 1 and row["registers"] > 0
        assert row["instructions"] > row["loads"] + row["stores"] > 1
        assert row["bound"] == "memory" and row["microseconds"] > 0
