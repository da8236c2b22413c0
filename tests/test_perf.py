"""Performance reports: what is measured, kept, compared and drawn (no figure is asserted)."""

from __future__ import annotations

import gc
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import tritorch
from tritorch.perf import accuracy, cli, clock, models, records, results, session, sweeps
from tritorch.perf.estimate import estimate
from tritorch.perf.figures import Figure, PointFigure
from tritorch.perf.peers import double_reference, drawn, peers
from tritorch.perf.specs import Bools, Complexes, Reals
from tritorch.runtime import memory

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
    assert cli.main(["--operator", "^(add|exp|tanh)$", *CHEAP, "--out", str(tmp_path)]) == 130
    found = results.read(tmp_path / "report.json")
    assert {p["operator"] for p in found["points"]} == {"add", "exp"}
    assert found["left"] == ["tanh float32 1024"] and "interrupted" in capsys.readouterr().err
    assert gc.isenabled()
    cli.main(["--operator", "^add$", *CHEAP, "--out", str(tmp_path), "--budget", "0"])
    assert results.read(tmp_path / "earlier.json") == found


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
    assert len(kept) >= session.VISITS and len(kept[0]["points"]) == 9


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
    return {"format": results.FORMAT, "points": [row], "models": []}


def test_compare_finds_what_is_slower_than_the_noise(tmp_path: Path, capsys) -> None:
    old, new, noisy = (tmp_path / f"{n}.json" for n in "abc")
    for path, found in ((old, report()), (new, report(13.0)), (noisy, report(13.0, 0.2))):
        results.write(path, found)
    assert cli.main(["--compare", str(old), str(new)]) == 1
    assert re.search(r"slower +1.30x .*noise 5%.*exp: 10.0 -> 13.0 us", capsys.readouterr().out)
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
    ],
)
def test_wrong_arguments_say_what_would_be_right(args: list, message: str, capsys) -> None:
    assert cli.main(args) == 2
    assert message in capsys.readouterr().err


def test_a_report_from_one_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    args = ["--operator", "^(exp|softmax|matmul)$", "--seconds", "0.01", "--against", "numpy"]
    assert cli.main([*args, "--device", "cpu", "--out", str(tmp_path)]) == 0
    found = results.read(tmp_path / "report.json")
    assert {p["operator"] for p in found["points"]} == {"exp", "softmax", "matmul"}
    assert found["limits"]["bytes/s"] > 0 and found["hosts"]
    pictures = {p.stem for p in tmp_path.glob("*.png")}
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


def test_the_page_shows_the_last_results_of_gpus(tmp_path: Path) -> None:
    page = pytest.importorskip("tritorch.perf.page")
    looks = results.measured_on_gpus(Path(tritorch.__file__).parent.parent / "perf" / "results")
    (h200,) = [x for x in looks if x["machine"]["device"] == "NVIDIA H200"]
    shown = page.gpu_section([h200])
    assert f"NVIDIA H200, measured {h200['machine']['date']}" in shown
    assert all(name in shown for name in h200["figures"])


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
