"""The demo: a short run, Ctrl-C, and what it says where something is missing; the profiler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tritorch as torch
from tritorch import demo
from tritorch.profiler import profile, record_function

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytest.importorskip("tqdm")

PNG = b"\x89PNG"


def test_one_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert demo.main(["--epochs", "1", "--device", "cpu", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for name in ("model.safetensors", "checkpoint.safetensors", "loss.png", "predictions.png"):
        assert f"saved {out / name}" in text
    assert (out / "loss.png").read_bytes()[:4] == PNG
    assert (out / "predictions.png").read_bytes()[:4] == PNG
    assert "conv2d backward" in text and "(all else)" in text
    assert "1438 digits to train on, 359 to test on" in text
    model = demo.Net()
    model.load_state_dict(torch.load(out / "model.safetensors"))
    checkpoint = torch.load(out / "checkpoint.safetensors")
    assert checkpoint["epoch"] == 1 and set(checkpoint) > {"model", "optimizer", "schedule"}


@pytest.mark.slow
def test_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--device", "cpu", "--out", str(tmp_path)]) == 0
    assert torch.load(tmp_path / "checkpoint.safetensors")["accuracy"] >= 0.985


def answer_interrupts() -> None:
    """A shell lets what it runs in the background ignore SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    command = [sys.executable, "-m", "tritorch.demo", "--epochs", "500", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=answer_interrupts,
    )
    try:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0].decode()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    epoch = torch.load(checkpoint)["epoch"]
    assert f"stopped by Ctrl-C; kept the checkpoint of epoch {epoch}: {checkpoint}" in text
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.safetensors"]


def test_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert demo.main(["--out", str(tmp_path)]) == 1
    assert "pip install 'tritorch[demo]'" in capsys.readouterr().err


def test_profile_counts_operators_and_their_derivatives() -> None:
    x = torch.ones(3, requires_grad=True)
    with profile() as p:
        for _ in range(2):
            x.exp().sum().backward()
        with record_function("own"):
            x.exp()
    calls = {row.name: row.calls for row in p.rows()}
    assert calls["exp backward"] == calls["sum"] == 2
    assert calls["exp"] == 3 and calls["own"] == 1
    assert abs(sum(row.share for row in p.rows()) - 1) < 1e-9
    assert p.table(1).count("\n") == 2 and "(all else)" in p.table(1)
    before = p.rows()
    x.exp().sum().backward()  # nothing is measured outside
    with record_function("own"):
        pass
    assert p.rows() == before
