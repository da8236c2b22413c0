"""Where the time goes: `profile()` measures every operator of a block, `table()` shows the sums.

Operators inside a block are seen by a transform, their derivatives by a watch on the tape's nodes.
Outside of `profile()` nothing is measured and nothing costs time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .autograd.mode import outside, transform
from .autograd.node import OpNode
from .tensor import Tensor

__all__ = ["Row", "profile", "record_function"]

_active: list[profile] = []


class Row(NamedTuple):
    """One line of the table; `share` is the part of the time of the whole block."""

    name: str
    calls: int
    seconds: float
    share: float


class profile:
    """Measure the operators that run inside the block, in this thread.

    On a GPU every operator is waited for, so that its own time counts.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.profiler import profile
        >>> x = torch.ones(3, requires_grad=True)
        >>> with profile() as p:
        ...     x.exp().sum().backward()
        >>> [row.name for row in p.rows() if row.calls and "exp" in row.name]
        ['exp', 'exp backward']
    """

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.total = 0.0
        self._transform = transform(self._operator)

    def __enter__(self) -> profile:
        self._node_backward = OpNode.backward
        OpNode.backward = _timed_backward(self, OpNode.backward)  # type: ignore[method-assign]
        self._transform.__enter__()
        _active.append(self)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.total += time.perf_counter() - self._start
        _active.remove(self)
        self._transform.__exit__(*exc)
        OpNode.backward = self._node_backward  # type: ignore[method-assign]

    def _operator(self, op: Any, inputs: Sequence, params: dict) -> Any:
        with outside():
            return self.timed(op.name, lambda: op(*inputs, **params))

    def timed(self, name: str, f: Callable[[], Any]) -> Any:
        """Run `f` and add its time to the row of that name."""
        start = time.perf_counter()
        result = f()
        _wait_for(result)
        row = self.times.setdefault(name, [0, 0.0])
        row[0] += 1
        row[1] += time.perf_counter() - start
        return result

    def rows(self) -> list[Row]:
        """The operators, the slowest first; then what was not in any of them."""
        whole = self.total or 1.0
        found = [Row(name, int(n), s, s / whole) for name, (n, s) in self.times.items()]
        found.sort(key=lambda row: -row.seconds)
        rest = self.total - sum(row.seconds for row in found)
        return [*found, Row("(all else)", 0, rest, rest / whole)]

    def table(self, rows: int = 10) -> str:
        """The slowest operators as text, the others summed up."""
        found = self.rows()
        shown, rest = found[:-1][:rows], [*found[:-1][rows:], found[-1]]
        other = Row(
            "(all else)",
            sum(r.calls for r in rest),
            sum(r.seconds for r in rest),
            sum(r.share for r in rest),
        )
        lines = [f"{'operator':28s} {'calls':>7s} {'total ms':>10s} {'us/call':>10s} {'share':>7s}"]
        for row in [*shown, other]:
            each = f"{row.seconds / row.calls * 1e6:10.1f}" if row.calls else " " * 10
            lines.append(
                f"{row.name:28s} {row.calls or '':>7} {row.seconds * 1e3:10.2f} {each} "
                f"{row.share:7.1%}"
            )
        return "\n".join(lines)


class record_function:
    """A block of its own row in the table of the profile that is running, if one is.

    Operators inside the block are not listed themselves.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self._profile = _active[-1] if _active else None
        if self._profile is not None:
            self._quiet = outside()
            self._quiet.__enter__()
            self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._profile is not None:
            row = self._profile.times.setdefault(self.name, [0, 0.0])
            row[0] += 1
            row[1] += time.perf_counter() - self._start
            self._quiet.__exit__(*exc)


def _timed_backward(owner: profile, backward: Callable) -> Callable:
    def timed(self: OpNode, grads: list, needs: list[bool]) -> Any:
        name = f"{self.op.name} backward"
        return owner.timed(name, lambda: backward(self, grads, needs))

    return timed


def _wait_for(result: Any) -> None:
    """Let a GPU finish what the operator has started."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    if isinstance(first, Tensor) and first.is_cuda:
        from .cuda import synchronize

        synchronize()
