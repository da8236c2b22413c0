"""Worker processes of DataLoader: the same batches, errors with their tracebacks, no orphans."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import tritorch as torch
from tritorch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Squares(Dataset):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, i: int) -> dict:
        return {"x": torch.tensor([i, i * i]), "name": f"n{i}"}


class Stream(IterableDataset):
    """0 to 22, divided among the workers."""

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, 23, step))


class Failing(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        if i == 5:
            raise KeyError("five is missing")
        return i


class Dying(Failing):
    def __getitem__(self, i: int) -> int:
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return i


class Seeds(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> tuple:
        info = get_worker_info()
        assert info is not None
        return info.id, info.seed, torch.rand(1).item(), float(np.random.rand())


class Slow(Failing):
    def __getitem__(self, i: int) -> int:
        time.sleep(60)
        return i


def init(worker: int) -> None:
    os.environ["TRITORCH_TEST_WORKER"] = str(worker)


class Environment(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        return int(os.environ["TRITORCH_TEST_WORKER"])


def batches(workers: int, **options: object) -> list:
    torch.manual_seed(3)
    loader = DataLoader(Squares(), batch_size=4, shuffle=True, num_workers=workers, **options)
    return [(b["x"].tolist(), b["name"]) for _ in range(2) for b in loader]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 1}])
def test_batches_are_the_same_for_any_number_of_workers(workers: int, options: dict) -> None:
    assert batches(workers, **options) == batches(0)


def test_spawned_workers_give_the_same() -> None:
    assert batches(1, multiprocessing_context="spawn") == batches(0)


def test_batches_as_they_come_are_the_same_set() -> None:
    found = batches(2, in_order=False)
    assert sorted(map(str, found[:6])) == sorted(map(str, batches(0)[:6]))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_stream_is_divided(workers: int) -> None:
    loader = DataLoader(Stream(), batch_size=4, num_workers=workers)
    for _ in range(2):
        assert sorted(x for b in loader for x in b.tolist()) == list(range(23))


def test_single_samples() -> None:
    loader = DataLoader(Failing(), batch_size=None, sampler=[3, 1, 2], num_workers=2)
    assert list(loader) == [3, 1, 2]


def test_an_error_has_the_workers_traceback() -> None:
    loader = iter(DataLoader(Failing(), batch_size=2, num_workers=2))
    assert next(loader).tolist() == [0, 1] and next(loader).tolist() == [2, 3]
    with pytest.raises(KeyError) as error:
        next(loader)
    text = str(error.value)
    assert "Caught KeyError in DataLoader worker process 0" in text and "five is missing" in text
    assert "__getitem__" in text and text.count("Traceback (most recent call last)") == 1
    assert next(loader).tolist() == [6, 7]


def test_a_fork_leaves_the_workers_of_others_alone(capfd: pytest.CaptureFixture) -> None:
    loader = iter(DataLoader(Failing(), batch_size=2, num_workers=1))
    next(loader)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside idle threads
        child = os.fork()
    if child == 0:
        gc.collect()
        del loader  # with what belongs to the parent
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert next(loader).tolist() == [2, 3]
    assert "AssertionError" not in capfd.readouterr().err


def test_a_dead_worker_is_noticed() -> None:
    loader = DataLoader(Dying(), batch_size=2, num_workers=2)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"DataLoader worker 0 \(pid \d+\) is killed by signal"):
        list(loader)
    assert time.monotonic() - start < 30  # of a busy machine; it is at once


def test_a_slow_worker_is_given_up() -> None:
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        next(iter(DataLoader(Slow(), num_workers=1, timeout=1)))


def test_seeds_differ_by_worker_and_epoch_and_repeat() -> None:
    def draw() -> list:
        torch.manual_seed(5)
        loader = DataLoader(Seeds(), batch_size=2, num_workers=2)
        return [tuple(map(tuple, map(torch.Tensor.tolist, b))) for _ in range(2) for b in loader]

    found = draw()
    assert found == draw()
    ids, seeds, ours, numpys = zip(*found)
    assert {i for batch in ids for i in batch} == {0, 1}
    assert len({s for batch in seeds for s in batch}) == 4
    assert len({x for batch in ours for x in batch}) == 16
    assert len({x for batch in numpys for x in batch}) == 16


def test_worker_init_fn_runs_in_the_worker() -> None:
    loader = DataLoader(Environment(), num_workers=2, worker_init_fn=init)
    assert [b.item() for b in loader] == [0, 1, 0, 1]
    assert "TRITORCH_TEST_WORKER" not in os.environ


def test_an_epoch_that_is_left_early_does_not_spoil_the_next() -> None:
    loader = DataLoader(Squares(), batch_size=4, num_workers=2, persistent_workers=True)
    for _ in range(3):
        assert next(iter(loader))["name"] == ["n0", "n1", "n2", "n3"]
    assert len(list(loader)) == 6


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_workers": 1, "multiprocessing_context": "no"}, "valid start method"),
        ({"num_workers": 0, "multiprocessing_context": "fork"}, "multi-process loading"),
        ({"num_workers": 0, "prefetch_factor": 2}, "prefetch_factor"),
        ({"num_workers": 0, "persistent_workers": True}, "persistent_workers"),
        ({"num_workers": -1}, "non-negative"),
    ],
)
def test_wrong_options(options: dict, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        DataLoader(Squares(), **options)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_orphans_when_the_main_process_is_killed(tmp_path) -> None:
    code = (
        "import time, os, sys; sys.path.insert(0, sys.argv[1]); import test_workers as t\n"
        "loader = iter(t.DataLoader(t.Squares(), num_workers=2)); next(loader)\n"
        "print(*[p.pid for p in loader._workers], flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(x) for x in process.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        process.kill()
    end = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(alive, pids))


def test_too_many_workers_warn() -> None:
    with pytest.warns(UserWarning, match="will create 100000 worker processes in total"):
        loader = DataLoader(Squares(), num_workers=100_000)
    with pytest.warns(UserWarning, match="suggested max number of worker"):
        loader.check_worker_number_rationality()
    assert loader.prefetch_factor == 2 and loader.multiprocessing_context is None


def test_iterators_have_a_length_and_are_counted() -> None:
    for workers in (0, 1):
        batches = iter(DataLoader(Squares(), batch_size=4, num_workers=workers))
        assert len(batches) == len(list(batches)) == batches._num_yielded
        with pytest.raises(NotImplementedError, match="cannot be pickled"):
            pickle.dumps(batches)


def test_workers_may_be_ended() -> None:
    loader = DataLoader(Squares(), batch_size=4, num_workers=1, persistent_workers=True)
    batches = iter(loader)
    first = next(batches)
    (process,) = batches._workers
    batches._shutdown_workers()
    assert not process.is_alive() and batches._workers == []
    assert next(iter(loader))["name"] == first["name"]
