"""Messages from one process to another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from ..tensor import Tensor
from .algorithms import as_bytes
from .errors import DistBackendError
from .group import ProcessGroup, Work, current, member, place
from .mesh import Channel
from .tensors import check, flat, put_bytes

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "recv", "send"]


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """Send a tensor to a process, whose `recv` with that tag takes it.

    Returns when the tensor may be changed again, which can be before it has arrived.
    """
    work = isend(tensor, dst, group, tag, group_dst)
    if work is not None:
        work.wait()


def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """The same; the tensor is not to be changed before `wait()` of what is returned."""
    check("isend", tensor)
    own = member(group, "isend")
    if own is None:
        return None
    to = own.ranks[_other(own, dst, group_dst, "dst")]
    own.mesh.send(to, own.number, _tag(tag), 0, as_bytes(flat(tensor)))
    done: Future = Future()
    done.set_result(None)
    return Work(done, tensor)


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """Wait for a tensor from a process, or from any where none is named; the sender's rank.

    Raises:
        DistBackendError: it has another number of bytes than this one.
        DistNetworkError: the sender has gone, or nothing came in time.
    """
    own = member(group, "recv")
    if own is None:
        return -1
    if src is None and group_src is None:
        others = [r for r in own.ranks if r != own.mesh.rank]
        channels = [(r, own.number, _tag(tag)) for r in others]
        src = own.mesh.any_of(channels, own.seconds)[0]
    work: Any = irecv(tensor, src, group, tag, group_src)
    work.wait()
    return work.source


class _Receive(Work):
    """A message that was asked for: it is taken when somebody waits for it."""

    def __init__(self, own: ProcessGroup, tensor: Tensor, channel: Channel) -> None:
        super().__init__(Future(), tensor)
        self._own, self._channel, self.source = own, channel, channel[0]
        self._ticket = own.mesh.draw(channel)

    def wait(self, timeout: timedelta | None = None) -> bool:
        if not self._future.done():
            seconds = self._own.seconds if timeout is None else timeout.total_seconds()
            _, data = self._own.mesh.take(self._channel, self._ticket, (), seconds)
            size = self._result.numel() * self._result.element_size()
            if len(data) != size:
                raise DistBackendError(
                    f"recv: rank {self.source} sent {len(data)} bytes where {size} were expected; "
                    "shapes and dtypes must agree"
                )
            put_bytes("recv", self._result, data)
            self._future.set_result(None)
        return True

    def is_completed(self) -> bool:
        return self._future.done() or self._own.mesh.has(self._channel, self._ticket)

    def is_success(self) -> bool:
        return self.is_completed()


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """The same; the tensor is filled by `wait()` of what is returned."""
    check("irecv", tensor)
    own = member(group, "irecv")
    if own is None:
        return None
    source = own.ranks[_other(own, src, group_src, "src")]
    return _Receive(own, tensor, (source, own.number, _tag(tag)))


def _other(own: ProcessGroup, rank: int | None, within: int | None, what: str) -> int:
    found = place(own, rank, within, what, None)
    if found == own.rank():
        kind = "destination" if what == "dst" else "source"
        raise ValueError(
            f"Invalid {kind} rank: {kind} rank should not be the same as the rank of the current "
            "process."
        )
    return found


def _tag(tag: int) -> int:
    if tag < 0:
        raise ValueError(f"tags are not negative, got {tag}")
    return tag


class P2POp:
    """`isend` or `irecv` with its arguments, for `batch_isend_irecv`."""

    def __init__(
        self,
        op: Callable,
        tensor: Tensor,
        peer: int | None = None,
        group: Any = None,
        tag: int = 0,
        group_peer: int | None = None,
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError("Invalid ``op``. Expected ``op`` to be isend or irecv")
        own: Any = current(group)
        self.op, self.tensor, self.group, self.tag = op, tensor, group, tag
        self.group_peer = place(own, peer, group_peer, "peer", None)
        self.peer = own.ranks[self.group_peer]


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Begin all of them; processes that send to each other do not wait for each other."""
    if not all(isinstance(p, P2POp) for p in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``: it must be a list of P2POp")
    begun = [p.op(p.tensor, p.peer, p.group, p.tag) for p in p2p_op_list]
    return [work for work in begun if work is not None]
