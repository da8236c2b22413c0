"""Performance reports: what is measured, kept, compared and drawn (no figure is asserted)."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import tritorch
from tritorch.perf import accuracy, cli, clock, models, records, results, session, sweeps
from tritorch.perf.peers import double_reference, peers
from tritorch.perf.specs import Case, Reals
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


def test_a_run_keeps_what_is_done_and_lists_what_failed() -> None:
    def broken(lib: object, x: object) -> None:
        raise RuntimeError("broken: on purpose")

    good = point("exp")
    bad = good._replace(operator="broken", case=Case(broken, [Reals((4,))]))
    run = session.Session("cpu", peers(["numpy"], "cpu"), 0.01, 100)
    for p in (bad, good):
        run.attempt(p.key, lambda p=p: run._point(p))
    assert list(run.results["failed"].values()) == ["RuntimeError: broken: on purpose"]
    (row,) = run.results["points"]
    assert row["key"] == good.key and set(row["times"]) == {"tritorch", "numpy"}
    t = row["times"]["tritorch"]
    assert 0 < t["low"] <= t["median"] <= t["high"] and len(t["samples"]) >= 3
    assert row["bytes"] == 2 * 4 * good.size and row["ulps"]["tritorch"] <= 2


def test_what_the_time_does_not_reach_is_listed() -> None:
    run = session.Session("cpu", peers([], "cpu"), 0.01, 0.0)
    run.attempt = lambda key, job: None  # type: ignore[method-assign]
    run.run([point("exp")], with_models=True)
    left = run.results["left"]
    assert point("exp").key in left and "digits CNN, training" in left


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


def report(factor: float = 1.0, noise: float = 0.01) -> dict:
    times = {"tritorch": {"median": 10.0 * factor, "low": 9.0, "high": 11.0, "samples": [10.0]}}
    row = {"key": "exp", "noise": noise, "times": times, "ratio": {}}
    return {"format": results.FORMAT, "points": [row], "models": []}


def test_compare_finds_what_is_slower_than_the_noise(tmp_path: Path, capsys) -> None:
    old, new, noisy = (tmp_path / f"{n}.json" for n in "abc")
    for path, found in ((old, report()), (new, report(1.3)), (noisy, report(1.3, 0.2))):
        results.write(path, found)
    assert cli.main(["--compare", str(old), str(new)]) == 1
    assert "slower  1.30x" in capsys.readouterr().out
    assert cli.main(["--compare", str(new), str(old)]) == 0
    assert cli.main(["--compare", str(old), str(noisy)]) == 0


def test_a_busier_machine_is_no_change() -> None:
    before, after = report(), report(2.0)
    for found, median in ((before, 5.0), (after, 10.0)):
        found["points"][0]["times"]["torch"] = {"median": median}
    (change,) = results.changes(before, after)
    assert change.factor == pytest.approx(1.0) and not change.slower


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
    # again, from the file alone
    (tmp_path / "report.html").unlink()
    assert cli.main(["--page", str(tmp_path / "report.json")]) == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_kernels_compile_for_an_absent_gpu() -> None:
    from tritorch.perf import static

    (softmax,) = [p for p in static.chosen() if p.operator == "softmax"]
    found = static.report("sm_90", [softmax])
    assert not found["failed"]
    for row in found["kernels"]:
        assert 0 < row["occupancy"] <= 1 and row["registers"] > 0
        assert row["bound"] == "memory" and row["microseconds"] > 0
