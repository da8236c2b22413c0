"""Worker processes of a `DataLoader`: each fetches whole batches, which come back in order.

The loader's process hands out lists of indices through a queue for each worker and reads batches
from a pipe for each; it waits for the pipe and for the death of the process at once. A worker ends
when it is told to, or when the process that made it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.context
import os
import pickle
import queue
import random
import signal
import time
import traceback
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

__all__ = ["WorkerInfo", "WorkerIterator", "context_of", "get_worker_info"]

PATIENCE = 2.0  # seconds after which a waiting worker looks whether its parent lives
ENDED = "ended"  # in the place of a batch: a stream has no more


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows of itself: `id` of `num_workers`, its `seed`, its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process what it knows of itself; None in the main process.

    A stream's `__iter__` divides its samples among the workers by it.
    """
    return _info


@dataclass(frozen=True)
class Failure:
    """An exception of a worker by its class and traceback: itself it may not pickle."""

    kind: type[BaseException]
    text: str

    def reraise(self, worker: int) -> None:
        message = f"Caught {self.kind.__name__} in DataLoader worker process {worker}.\n{self.text}"
        try:
            error = self.kind(message)
        except Exception:  # a class that wants other arguments
            raise RuntimeError(message) from None
        raise error from None

    @classmethod
    def now(cls, error: BaseException) -> Failure:
        kind = type(error)
        try:
            pickle.dumps(kind)
        except Exception:  # a class made inside a function
            kind = RuntimeError
        return cls(kind, "Original " + traceback.format_exc())


# -- in the worker ---------------------------------------------------------------------------------


def run(
    loader: Any, worker: int, tasks: Any, results: Connection, strangers: list[Connection]
) -> None:
    """The life of a worker. `strangers` are the ends of pipes that a fork left open here."""
    for end in strangers:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    fetch: Any = None
    parent = multiprocessing.parent_process()
    while True:
        try:
            task = tasks.get(timeout=PATIENCE)
        except queue.Empty:
            if parent is None or not parent.is_alive():
                return
            continue
        if task is None:
            return
        epoch, place, what = task
        try:
            if place is None:
                fetch = begin(loader, worker, *what)
                continue
            out = fetch if isinstance(fetch, Failure) else fetch(what)
            message = pickle.dumps((epoch, place, out), protocol=5)
        except Exception as error:
            failed = Failure.now(error)
            if place is None:
                fetch = failed
                continue
            message = pickle.dumps((epoch, place, failed))
        try:
            results.send_bytes(message)
        except (BrokenPipeError, ConnectionResetError):
            return


def begin(loader: Any, worker: int, seed: int, first: bool, pipes: Any) -> Any:
    """Seeds this process for an epoch and gives the function that makes a batch of indices."""
    global _info
    import numpy as np

    from ...ops.generator import manual_seed
    from ...runtime.parallel import set_num_threads

    set_num_threads(1)
    seed += worker
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))
    _info = WorkerInfo(worker, loader.num_workers, seed, loader.dataset)
    if pipes is not None:
        order, processes, place = pipes
        loader._set_pipes(order, loader.num_workers * processes, worker * processes + place)
    if first and loader.worker_init_fn is not None:
        loader.worker_init_fn(worker)
    if not loader._stream:
        return loader._batch
    batches = loader._over_stream()
    return lambda _: next(batches, ENDED)


# -- in the loader's process -----------------------------------------------------------------------


def context_of(given: Any, num_workers: int) -> Any:
    """The multiprocessing context that was asked for; ValueError or TypeError for a wrong one."""
    if given is None:
        return None
    if not num_workers:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading "
            f"(num_workers > 0), but got num_workers={num_workers}"
        )
    if isinstance(given, str):
        valid = multiprocessing.get_all_start_methods()
        if given not in valid:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{valid!r}, but got multiprocessing_context={given!r}"
            )
        return multiprocessing.get_context(given)
    if not isinstance(given, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string "
            f"specifying the start method, but got multiprocessing_context={given}"
        )
    return given


class Workers:
    """The processes, their queues and pipes."""

    def __init__(self, loader: Any) -> None:
        context = loader.multiprocessing_context or multiprocessing.get_context()
        forked = context.get_start_method() == "fork"
        self.tasks: list[Any] = []
        self.results: list[Connection] = []
        self.processes: list[Any] = []
        held = self.processes, self.tasks, self.results
        self.stop = weakref.finalize(self, _stop, os.getpid(), *held)
        state = loader._for_worker()
        for i in range(loader.num_workers):
            tasks = context.Queue()
            ours, theirs = context.Pipe(duplex=False)
            self.tasks.append(tasks)
            self.results.append(ours)
            strangers = list(self.results) if forked else []
            process = context.Process(
                target=run, args=(state, i, tasks, theirs, strangers), daemon=True
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # fork beside idle threads
                process.start()
            theirs.close()
            self.processes.append(process)

    def receive(self, worker: int, timeout: float) -> Any:
        """The next message of a worker.

        RuntimeError where it died, or where `timeout` seconds (0: none) have passed.
        """
        pipe, process = self.results[worker], self.processes[worker]
        if not wait([pipe, process.sentinel], timeout or None):
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        message = b""
        with contextlib.suppress(EOFError, ConnectionResetError):  # it died, perhaps while sending
            if pipe.poll(0):
                message = pipe.recv_bytes()
        if message:
            return pickle.loads(message)
        process.join(1)
        code = process.exitcode
        if code is not None and code < 0:
            how = f"is killed by signal: {signal.strsignal(-code)}"
        else:
            how = f"exited unexpectedly with exit code {code}"
        raise RuntimeError(f"DataLoader worker {worker} (pid {process.pid}) {how}")


def _stop(owner: int, processes: list, tasks: list, results: list) -> None:
    """Lets the workers end, and makes those end that do not within two seconds.

    Only the process that started them does: others have got a copy of them by a fork.
    """
    if os.getpid() != owner:
        return
    for q in tasks:
        q.cancel_join_thread()
        q.put(None)
    for pipe in results:
        pipe.close()
    end = time.monotonic() + 2
    for process in processes:
        process.join(max(end - time.monotonic(), 0.01))
    for process in processes:
        if process.is_alive():
            process.terminate()
            process.join(1)
        if process.is_alive():
            process.kill()
            process.join()
    for q in tasks:
        q.close()
    processes.clear()
    tasks.clear()
    results.clear()


class WorkerIterator:
    """The batches of one epoch, fetched ahead by the workers.

    Batch `i` of a list of indices is made by worker `i % num_workers`, whatever its speed; with
    `in_order=False` batches are given as they come.
    """

    def __init__(self, loader: Any, workers: Workers, epoch: int, what: tuple) -> None:
        self.loader, self.workers, self.epoch = loader, workers, epoch
        n = loader.num_workers
        for tasks in workers.tasks:
            tasks.put((epoch, None, what))
        self.indices: Iterator[Any] = (
            itertools.repeat(None) if loader._stream else iter(loader._index_sampler)
        )
        self.turn = itertools.cycle(range(n))
        self.active = [True] * n
        self.sent: dict[int, int] = {}  # place of a batch -> its worker
        self.here: dict[int, Any] = {}
        self.next_place = self.due = 0
        for _ in range(n * loader.prefetch_factor):
            self._hand_out()

    def __iter__(self) -> WorkerIterator:
        return self

    def _hand_out(self) -> None:
        """The next indices to the next worker that is not through with its stream."""
        worker = next(
            (w for w in itertools.islice(self.turn, len(self.active)) if self.active[w]), -1
        )
        if worker < 0:
            return
        try:
            indices = next(self.indices)
        except StopIteration:
            self.active = [False] * len(self.active)
            return
        self.sent[self.next_place] = worker
        self.workers.tasks[worker].put((self.epoch, self.next_place, indices))
        self.next_place += 1

    def _receive(self, worker: int) -> None:
        epoch, place, batch = self.workers.receive(worker, self.loader.timeout)
        if epoch == self.epoch:
            self.here[place] = batch

    def _receive_any(self) -> int:
        """For batches as they come: the place of one that is here."""
        while not self.here:
            busy = sorted(set(self.sent.values()))
            pipes: dict[Any, int] = {self.workers.results[w]: w for w in busy}
            dead: dict[Any, int] = {self.workers.processes[w].sentinel: w for w in busy}
            ready = wait([*pipes, *dead], self.loader.timeout or None)
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {self.loader.timeout} seconds")
            first = next((r for r in ready if r in pipes), ready[0])
            self._receive(pipes[first] if first in pipes else dead[first])
        return next(iter(self.here))

    def __next__(self) -> Any:
        while self.sent:
            if self.loader.in_order:
                place = self.due
                while place not in self.here:
                    self._receive(self.sent[place])
                self.due += 1
            else:
                place = self._receive_any()
            worker, batch = self.sent.pop(place), self.here.pop(place)
            if isinstance(batch, str) and batch == ENDED and self.loader._stream:
                self.active[worker] = False
                continue
            self._hand_out()
            if isinstance(batch, Failure):
                batch.reraise(worker)
            return batch
        raise StopIteration

    def __len__(self) -> int:
        return len(self.loader)
