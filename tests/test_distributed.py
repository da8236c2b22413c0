"""Programs of several processes: what they compute, and what they say when others fail."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import distributed_checks
import numpy as np
import pytest

import tritorch as torch
import tritorch.distributed as dist
from tritorch import multiprocessing as mp
from tritorch.distributed import run as launcher

TIMEOUT = timedelta(seconds=60)
NAMES = [check.__name__ for check in distributed_checks.CHECKS]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("size", [2, 3])
def test_collectives_and_training(size: int, tmp_path: Path) -> None:
    """All of `distributed_checks`, in one set of processes."""
    names = [*NAMES, "refusals"]
    mp.spawn(distributed_checks.run, (size, "tritorch", f"file://{tmp_path}/new", names), size)
    assert not (tmp_path / "new").exists()


@pytest.mark.oracle
@pytest.mark.slow
def test_pytorch_passes_the_same_checks(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    peer = importlib.import_module("torch.multiprocessing")
    names = [*NAMES, "refusals"]
    peer.spawn(distributed_checks.run, (2, "torch", f"file://{tmp_path}/new", names), 2)


# -- processes that fail ----------------------------------------------------------------------


def _meet(rank: int, size: int, address: str) -> None:
    dist.init_process_group("gloo", address, world_size=size, rank=rank, timeout=TIMEOUT)


def _fails(match: str, work: Callable[[], Any], kind: type = dist.DistNetworkError) -> None:
    """Within seconds, whatever the group's timeout."""
    begun = time.monotonic()
    with pytest.raises(kind, match=match):
        work()
    assert time.monotonic() - begun < 30


def _one_is_killed(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    dist.all_reduce(torch.ones(3))
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _fails("all_reduce: lost rank 1", lambda: dist.all_reduce(torch.ones(3)))
    if rank == 0:
        _fails("lost rank 1", lambda: dist.send(torch.ones(1 << 20), 1))
    folder = Path(address.removeprefix("file://")).parent
    (folder / f"heard{rank}").touch()
    end = time.monotonic() + 30
    while not all((folder / f"heard{r}").exists() for r in (0, 2)) and time.monotonic() < end:
        time.sleep(0.05)  # whoever leaves is lost, too


def _one_leaves(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    if rank == 1:
        return  # without a word: the interpreter says it
    _fails("broadcast: lost rank 1: it has left", lambda: dist.broadcast(torch.ones(1), 1))
    work = dist.all_reduce(torch.ones(1), async_op=True)
    _fails("lost rank 1", work.wait)
    assert work.is_completed() and not work.is_success()


def _one_is_late(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    group, end = dist.new_group(timeout=timedelta(seconds=1)), Path(f"{address[7:]}.end")
    if rank == 0:
        t = torch.ones(1)
        _fails("all_reduce: timed out after 1 s .* rank 1", lambda: dist.all_reduce(t, group=group))
        _fails("timed out", lambda: dist.recv(t, 1, group=group))
        _fails("no message", lambda: dist.recv(t, group=group))
        short = timedelta(seconds=0.2)
        _fails(r"timed out after 0\.2", lambda: dist.monitored_barrier(group, timeout=short))
        end.touch()
    while not end.exists():
        time.sleep(0.05)


def _others_do_something_else(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    run = (lambda: dist.barrier()) if rank else (lambda: dist.all_reduce(torch.ones(4)))
    other = ("all_reduce: rank 1 runs barrier", "barrier: rank 0 runs all_reduce")[rank]
    _fails(other, run, dist.DistBackendError)
    dist.destroy_process_group()


def _others_have_another_shape(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    t = torch.ones(6 if rank else 4)
    _fails("all_reduce: .* bytes where .* were expected", lambda: dist.all_reduce(t), RuntimeError)
    dist.destroy_process_group()


def _other_modules(rank: int, size: int, address: str) -> None:
    _meet(rank, size, address)
    module = torch.nn.Linear(3, 2 + rank)
    ddp = torch.nn.parallel.DistributedDataParallel
    _fails("rank . has the parameter .*weight", lambda: ddp(module), RuntimeError)
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "program",
    [_one_leaves, _one_is_late, _others_do_something_else, _others_have_another_shape]
    + [_other_modules],
)
def test_failures(program: Callable, tmp_path: Path) -> None:
    mp.spawn(program, (2, f"file://{tmp_path}/new"), 2)


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """The others hear of it at once; `spawn` says which one it was."""
    with pytest.raises(mp.ProcessExitedException, match="process 1 ended by signal 9") as caught:
        context: Any = mp.spawn(_one_is_killed, (3, f"file://{tmp_path}/new"), 3, join=False)
        context.join(grace_period=30)
    assert caught.value.error_index == 1 and caught.value.signal_name is not None
    assert (tmp_path / "heard0").exists() and (tmp_path / "heard2").exists()
    assert [p.exitcode for p in context.processes] == [0, -9, 0]


def _raises(rank: int) -> None:
    if rank == 1:
        raise KeyError("of rank 1")
    time.sleep(600)


def test_spawn_ends_the_others_where_one_raises() -> None:
    begun = time.monotonic()
    with pytest.raises(
        mp.ProcessRaisedException, match=r"Process 1 .*\n.*(\n.*)*KeyError: 'of rank"
    ):
        mp.spawn(_raises, nprocs=2)
    assert time.monotonic() - begun < 60


# -- how they meet ----------------------------------------------------------------------------

PROGRAM = """
import os, sys
import tritorch as torch, tritorch.distributed as dist
kind, rank, port = sys.argv[1:]
if kind == "env":
    os.environ.update(RANK=rank, WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port)
    dist.init_process_group()
elif kind == "tcp":
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}?rank={rank}&world_size=2")
else:
    store = dist.TCPStore("127.0.0.1", int(port), 2, rank == "0")
    dist.init_process_group("gloo", store=store, rank=int(rank), world_size=2)
t = torch.tensor([1 + int(rank)])
dist.all_reduce(t)
print(t.item())
"""


@pytest.mark.parametrize("kind", ["env", "tcp", "store"])
def test_meeting(kind: str) -> None:
    port = str(free_port())
    command = [sys.executable, "-c", PROGRAM, kind]
    started = [
        subprocess.Popen([*command, str(rank), port], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    assert [p.communicate(timeout=90)[0].strip() for p in started] == ["3", "3"]


def test_nobody_comes(tmp_path: Path) -> None:
    short = timedelta(seconds=0.5)
    with pytest.raises(dist.DistNetworkError, match=r"timed out waiting for the ranks \[1, 2\]"):
        dist.init_process_group("gloo", f"file://{tmp_path}/a", short, 3, 0)
    with pytest.raises(dist.DistStoreError, match=r"timed out waiting for .*mesh/0"):
        dist.init_process_group("gloo", f"file://{tmp_path}/b", short, 2, 1)
    with pytest.raises(dist.DistStoreError, match="no connection to 127"):
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{free_port()}", short, 2, 1)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("kwargs", "kind", "match"),
    [
        ({"backend": "nccl"}, ValueError, "'nccl' is not there"),
        ({"backend": "no"}, ValueError, "Invalid backend"),
        ({"init_method": "http://x"}, ValueError, "rank is missing"),
        ({"init_method": "http://x", "rank": 0, "world_size": 1}, ValueError, "No rendezvous"),
        ({"init_method": "tcp://x", "rank": 0, "world_size": 1}, ValueError, "host and a port"),
        ({"init_method": "file://", "rank": 0, "world_size": 1}, ValueError, "needs a path"),
        ({"init_method": "file:///x", "rank": 2, "world_size": 2}, ValueError, "rank 2 is not in"),
        ({"store": dist.HashStore()}, ValueError, "world_size must be positive"),
        ({"store": dist.HashStore(), "init_method": "env://"}, ValueError, "both"),
        ({"timeout": 3}, TypeError, "timedelta"),
        ({}, ValueError, "environment variable RANK expected"),
    ],
)
def test_refused_meetings(
    kwargs: dict, kind: type, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(kind, match=match):
        dist.init_process_group(**kwargs)
    assert not dist.is_initialized()


def test_without_a_group() -> None:
    for run in (dist.get_rank, dist.get_world_size, dist.barrier, dist.destroy_process_group):
        with pytest.raises(ValueError, match="init_process_group"):
            run()
    with pytest.raises(ValueError, match="init_process_group"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    assert dist.is_available() and not dist.is_initialized() and dist.group.WORLD is None


def test_strangers_are_not_let_in(tmp_path: Path) -> None:
    """A connection without the secret of the store takes nobody's place."""
    store = dist.FileStore(tmp_path / "new", 2)

    def intrude() -> None:
        store.wait(["default_pg/mesh/0"])
        found = json.loads(store.get("default_pg/mesh/0"))
        with socket.create_connection((found["host"], found["port"])) as s:
            s.sendall(bytes(16) + (1).to_bytes(4, "big"))
            assert s.recv(1) == b""

    stranger = threading.Thread(target=intrude)
    stranger.start()
    with pytest.raises(dist.DistNetworkError, match=r"waiting for the ranks \[1\]"):
        dist.init_process_group(
            "gloo", store=store, rank=0, world_size=2, timeout=timedelta(seconds=2)
        )
    stranger.join()


# -- the launcher -----------------------------------------------------------------------------


def launch(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tritorch.distributed.run", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_the_program_of_the_page_learns(tmp_path: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "distributed.md"
    (code,) = re.findall("```python\n(.*?)```", page.read_text(), re.S)
    (tmp_path / "train.py").write_text(code)
    done = launch("--nproc-per-node", 2, tmp_path / "train.py")
    assert done.returncode == 0, done.stderr
    name, loss = done.stdout.split()
    assert name == "loss" and float(loss) < 1e-3


def test_the_launcher_says_what_failed(tmp_path: Path) -> None:
    """A program of PyTorch's, whose second process fails while the first waits for it."""
    (tmp_path / "fails.py").write_text(
        "import os, sys, time\nimport torch\n"
        "print(os.environ['LOCAL_RANK'], os.environ['WORLD_SIZE'], *sys.argv[1:], flush=True)\n"
        "if os.environ['RANK'] == '1':\n    sys.exit(7)\n"
        "time.sleep(600)\n"
    )
    begun = time.monotonic()
    done = launch("--nproc_per_node=2", "--standalone", tmp_path / "fails.py", "--lr", 3)
    assert done.returncode == 7 and "process 1 ended with the exit code 7" in done.stderr
    assert "1 2 --lr 3" in done.stdout.splitlines() and time.monotonic() - begun < 120


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--nproc-per-node", "none", "x.py"], "positive number or cpu, got 'none'"),
        (["--nnodes", "2", "--node-rank", "2", "x.py"], "--node-rank 2 is not in"),
        (["--nnodes", "2", "x.py"], "need --master-addr and --master-port"),
        ([], "program"),
    ],
)
def test_refused_launches(args: list[str], match: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        launcher.main(args)
    assert match in capsys.readouterr().err


# -- stores -----------------------------------------------------------------------------------


def stores(lib: Any, kind: str, where: Path) -> list[Any]:
    """The same store twice, as two processes have it."""
    if kind == "hash":
        return [lib.HashStore()] * 2
    if kind == "file":
        return [lib.FileStore(str(where / "store"), 2) for _ in range(2)]
    if kind == "prefix":
        below = lib.HashStore()
        return [lib.PrefixStore("a", below) for _ in range(2)]
    master = lib.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    return [master, lib.TCPStore("127.0.0.1", master.port, None, False, wait_for_workers=False)]


@pytest.mark.parametrize("lib", ["tritorch", pytest.param("torch", marks=pytest.mark.oracle)])
@pytest.mark.parametrize("kind", ["hash", "file", "tcp", "prefix"])
def test_stores(lib: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip(lib)
    one, other = stores(importlib.import_module(f"{lib}.distributed"), kind, tmp_path)
    one.set("a", "text")
    assert other.get("a") == b"text" and other.check(["a"]) and not one.check(["a", "b"])
    other.set("a", "")
    assert one.get("a") == b""
    assert [one.add("n", 3), other.add("n", 4), one.add("n", -2)] == [3, 7, 5]
    assert one.get("n") == b"5"
    assert one.compare_set("c", "", "first") == b"first"
    assert other.compare_set("c", "wrong", "second") == b"first"
    assert other.compare_set("c", "first", "second") == b"second" and one.get("c") == b"second"
    if kind != "file" or lib == "tritorch":
        assert one.delete_key("c") and not other.delete_key("c") and not one.check(["c"])
    late = threading.Timer(0.1, lambda: one.set("late", "x"))
    late.start()
    other.wait(["late"], timedelta(seconds=20))
    late.join()
    with pytest.raises(Exception, match=r"(?i)time"):
        other.wait(["never"], timedelta(seconds=0.05))
    other.set_timeout(timedelta(seconds=0.05))
    with pytest.raises(Exception, match=r"(?i)time"):
        other.get("never")


def test_a_file_store_survives_a_record_cut_short(tmp_path: Path) -> None:
    store = dist.FileStore(tmp_path / "store")
    store.set("a", "1")
    store.set("b", "2")
    whole = (tmp_path / "store").read_bytes()
    (tmp_path / "store").write_bytes(whole[:-1])
    assert store.get("a") == b"1" and not store.check(["b"])
    store.set("c", "3")
    assert store.get("c") == b"3" and store.num_keys() == 2


def test_a_port_that_is_taken() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        with pytest.raises(dist.DistNetworkError, match="cannot listen on 127"):
            dist.TCPStore("127.0.0.1", s.getsockname()[1], 1, True)


# -- parts of data parallelism ----------------------------------------------------------------


def test_parts_and_their_union() -> None:
    nn = torch.nn.parallel
    x = torch.arange(10.0).view(5, 2)
    a, b = nn.scatter((x, [x + 1, "same"], {"k": x}), ["cpu", "cpu"])
    assert a[0].shape == (3, 2) and b[1][0].shape == (2, 2) and a[1][1] == "same"
    assert torch.equal(nn.gather([a[2], b[2]], "cpu")["k"], x)
    assert nn.gather([torch.tensor(1.0), torch.tensor(2.0)], "cpu").tolist() == [1, 2]
    assert nn.scatter_kwargs((), {"k": x}, ["cpu", "cpu"])[0] == ((), ())
    with pytest.raises(ValueError, match="same number of keys"):
        nn.gather([{"a": x}, {}], "cpu")


def test_copies_share_their_history() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    x = torch.arange(8.0).view(4, 2)
    copies = torch.nn.parallel.replicate(layer.eval(), ["cpu", "cpu"])
    parts = torch.nn.parallel.scatter(x, ["cpu", "cpu"])
    results = torch.nn.parallel.parallel_apply(copies, parts)
    out = torch.nn.parallel.gather(results, "cpu")
    assert torch.equal(out, layer(x))
    out.sum().backward()
    expected = torch.autograd.grad(layer(x).sum(), layer[0].weight)[0]
    np.testing.assert_allclose(layer[0].weight.grad.numpy(), expected.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="2 modules for 1 inputs"):
        torch.nn.parallel.parallel_apply(copies, parts[:1])


def test_callbacks_at_the_end_of_a_backward() -> None:
    queue = torch.autograd.Variable._execution_engine.queue_callback
    x: Any = torch.ones(2, requires_grad=True)
    seen: list = []
    y = x * 2
    y.register_hook(lambda g: queue(lambda: seen.append(x.grad.tolist())))
    y.sum().backward()
    assert seen == [[2, 2]]
    with pytest.raises(RuntimeError, match="only be installed during backward"):
        queue(seen.clear)
