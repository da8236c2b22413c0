"""How long an operator takes beside its composition of others, on the device of its inputs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import tritorch
from tritorch.op import Op
from tritorch.runtime import memory
from tritorch.tensor import Tensor

TURN = 5  # calls before the next one's turn


class Row(NamedTuple):
    """Median microseconds of a call, and bytes of inputs and results a second."""

    name: str
    microseconds: float
    rate: float


class Table(list[Row]):
    """Rows, printed under each other."""

    def __repr__(self) -> str:
        return "\n".join(
            f"{r.name:32s} {r.microseconds:10.1f} us {r.rate / 1e9:8.2f} GB/s" for r in self
        )


def benchmark(op: Op, *inputs: Any, seconds: float = 0.2, **params: Any) -> Table:
    """Times of an operator's call and of its composition `ref`, which take turns.

    Where an input requires grad, also of forward and backward together. Inputs are the operator's
    tensors and parameters; the device is theirs. TypeError for what is no operator.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.op import REGISTRY
        >>> rows = torch.perf.benchmark(REGISTRY["softmax"], torch.ones(8, 8), dim=1, seconds=0.01)
        >>> [row.name for row in rows]
        ['softmax', 'softmax, composition']
    """
    if not isinstance(op, Op):
        raise TypeError(f"benchmark: expected an operator record, got {type(op).__name__}")
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    calls = {op.name: lambda: op(*inputs, **params)}
    if op.ref is not None and (op.cpu is not None or op.triton is not None):
        calls[f"{op.name}, composition"] = lambda: op.ref(*inputs, **params)  # type: ignore
    timed = {name: _without_grad(call) for name, call in calls.items()}
    wanted = [x for x in tensors if x.requires_grad]
    if wanted:
        timed |= {f"{name}, backward": _backward(call, wanted) for name, call in calls.items()}
    out = op(*inputs, **params)
    outs = out if isinstance(out, tuple) else (out,)
    moved = sum(t.numel() * t.element_size() for t in (*tensors, *outs))
    return Table(Row(n, t * 1e6, moved / t) for n, t in _in_turns(timed, seconds).items())


def _without_grad(call: Callable) -> Callable:
    return tritorch.no_grad()(call)


def _backward(call: Callable, wanted: list) -> Callable:
    def run() -> None:
        outs = call()
        outs = [o for o in (outs if isinstance(outs, tuple) else (outs,)) if o.requires_grad]
        tritorch.autograd.grad(outs, wanted, [o.detach() for o in outs], allow_unused=True)

    return run


def _in_turns(calls: dict[str, Callable], seconds: float) -> dict[str, float]:
    """The median seconds of each call; one after the other, again and again."""
    synchronize = memory.runtime().synchronize if memory.available() else lambda: None
    seen: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or not all(seen.values()):
        for name, call in calls.items():
            synchronize()
            start = time.perf_counter()
            for _ in range(TURN):
                call()
            synchronize()
            seen[name].append((time.perf_counter() - start) / TURN)
    return {name: statistics.median(times) for name, times in seen.items()}
