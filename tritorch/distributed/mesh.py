"""A connection between every two processes, and the messages that come over them."""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from . import wire
from .errors import DistBackendError, DistNetworkError
from .store import Store

Channel = tuple[int, int, int]  # sender, group, tag

_HEADER = struct.Struct("!qqBQ")  # group, tag, operation, bytes
_HELLO = struct.Struct("!I")  # rank
_FAREWELL = -2  # the tag of a process's last message
COLLECTIVE = -1  # the tag of what is no `send`


class Mesh:
    """The processes of a run, each connected to each.

    A thread for each connection reads whatever comes, so that no two processes that send to each
    other wait for each other. Messages of one channel are taken in the order in which they were
    sent, each by the ticket that its receiver has drawn.
    """

    def __init__(self, store: Store, rank: int, size: int, seconds: float, host: str) -> None:
        self.rank, self.size = rank, size
        self.sockets: dict[int, socket.socket] = {}
        self._turns = {peer: threading.Lock() for peer in range(size)}
        self._news = threading.Condition()
        self._messages: dict[tuple[Channel, int], tuple[int, bytearray]] = {}
        self._arrived: dict[Channel, int] = defaultdict(int)
        self._drawn: dict[Channel, int] = defaultdict(int)
        self._gone: dict[int, str] = {}
        self._died: set[int] = set()
        self.closed = False
        if size > 1:
            self._connect(store, seconds, host)
        for peer in self.sockets:
            threading.Thread(
                target=self._read, args=(peer,), name=f"from rank {peer}", daemon=True
            ).start()

    # -- connections ------------------------------------------------------------------------

    def _connect(self, store: Store, seconds: float, host: str) -> None:
        """Connect to the ranks below, wait for those above; a secret in the store proves both."""
        end = time.monotonic() + seconds
        secret = secrets.token_hex(16)
        with wire.listen(host, 0) as door:
            where = {"host": host, "port": door.getsockname()[1], "secret": secret}
            store.set(f"mesh/{self.rank}", json.dumps(where))
            for peer in range(self.rank):
                found = json.loads(store.get(f"mesh/{peer}"))
                sock = wire.connect(found["host"], found["port"], max(0.0, end - time.monotonic()))
                sock.sendall(bytes.fromhex(found["secret"]) + _HELLO.pack(self.rank))
                self.sockets[peer] = sock
            while len(self.sockets) < self.size - 1:
                door.settimeout(max(0.01, end - time.monotonic()))
                try:
                    self._welcome(door.accept()[0], bytes.fromhex(secret))
                except TimeoutError:
                    missing = sorted(set(range(self.size)) - set(self.sockets) - {self.rank})
                    raise DistNetworkError(
                        f"init_process_group: timed out waiting for the ranks {missing}"
                    ) from None
        for sock in self.sockets.values():
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _welcome(self, sock: socket.socket, secret: bytes) -> None:
        """Take a connection if it brings the secret, and drop it else."""
        sock.settimeout(5)
        try:
            hello = wire.exactly(sock, len(secret) + _HELLO.size)
        except OSError:
            sock.close()
            return
        (peer,) = _HELLO.unpack(hello[len(secret) :])
        known = hmac.compare_digest(bytes(hello[: len(secret)]), secret)
        if not known or not self.rank < peer < self.size or peer in self.sockets:
            sock.close()
            return
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets[peer] = sock

    def _read(self, peer: int) -> None:
        sock, end = self.sockets[peer], "its connection was closed"
        try:
            while True:
                group, tag, operation, length = _HEADER.unpack(wire.exactly(sock, _HEADER.size))
                if tag == _FAREWELL:
                    self._leave(peer, "it has left the process group", died=False)
                    return
                data = wire.exactly(sock, length)
                channel = peer, group, tag
                with self._news:
                    self._messages[channel, self._arrived[channel]] = operation, data
                    self._arrived[channel] += 1
                    self._news.notify_all()
        except OSError as error:
            end = str(error)
        self._leave(peer, end, died=True)

    def _leave(self, peer: int, why: str, died: bool) -> None:
        with self._news:
            self._gone[peer] = why
            if died:
                self._died.add(peer)
            self._news.notify_all()

    def close(self) -> None:
        """Say farewell and close the connections; once."""
        if self.closed:
            return
        self.closed = True
        for peer, sock in self.sockets.items():
            with contextlib.suppress(OSError), self._turns[peer]:  # it may have gone before
                sock.sendall(_HEADER.pack(0, _FAREWELL, 0, 0))
                sock.shutdown(socket.SHUT_WR)
        end = time.monotonic() + 1
        with self._news:  # a socket closed with unread data would take back what was sent
            self._news.wait_for(
                lambda: len(self._gone) == len(self.sockets), end - time.monotonic()
            )
        for sock in self.sockets.values():
            sock.close()

    # -- messages ---------------------------------------------------------------------------

    def send(self, peer: int, group: int, tag: int, operation: int, data: Any) -> None:
        """A message of bytes; DistNetworkError where the process has gone, or reads nothing."""
        view = memoryview(data).cast("B")
        try:
            with self._turns[peer]:
                self.sockets[peer].sendall(_HEADER.pack(group, tag, operation, len(view)))
                self.sockets[peer].sendall(view)
        except BlockingIOError:
            raise DistNetworkError(f"rank {peer} took no data in time") from None
        except OSError as error:
            why = self._gone.get(peer, str(error))
            raise DistNetworkError(f"lost rank {peer}: {why}") from None

    def draw(self, channel: Channel) -> int:
        """The ticket of the next message of a channel."""
        with self._news:
            ticket = self._drawn[channel]
            self._drawn[channel] += 1
            return ticket

    def has(self, channel: Channel, ticket: int) -> bool:
        """Whether the message has come."""
        return (channel, ticket) in self._messages

    def any_of(self, channels: Sequence[Channel], seconds: float) -> Channel:
        """The first channel that has a message for the next ticket."""

        def found() -> Channel | None:
            return next((c for c in channels if (c, self._drawn[c]) in self._messages), None)

        with self._news:
            self._news.wait_for(
                lambda: found() is not None or all(c[0] in self._gone for c in channels), seconds
            )
            channel = found()
        if channel is None:
            raise DistNetworkError("recv: no message from any rank in time")
        return channel

    def take(
        self, channel: Channel, ticket: int, members: Iterable[int], seconds: float
    ) -> tuple[int, bytearray]:
        """The operation and the bytes of a message, waited for.

        DistNetworkError where its sender has gone, a member of the group has died, or it does not
        come in time.
        """
        key, peer = (channel, ticket), channel[0]
        members = set(members)
        with self._news:
            self._news.wait_for(
                lambda: key in self._messages or peer in self._gone or members & self._died,
                seconds,
            )
            if key in self._messages:
                return self._messages.pop(key)
            lost = peer if peer in self._gone else next(iter(members & self._died), None)
            if lost is not None:
                raise DistNetworkError(f"lost rank {lost}: {self._gone[lost]}")
        raise DistNetworkError(f"timed out after {seconds:g} s waiting for rank {peer}")


class Comm:
    """What one collective operation needs: its group's members, as they send and receive.

    Members are numbered within the group. Every message carries the operation's number, so that
    processes which do not run the same one find out.
    """

    def __init__(self, mesh: Mesh, group: int, ranks: Sequence[int], seconds: float) -> None:
        self.mesh, self.group, self.ranks, self.seconds = mesh, group, list(ranks), seconds
        self.rank, self.size = self.ranks.index(mesh.rank), len(self.ranks)
        self.operation = 0

    @property
    def name(self) -> str:
        """The operation's name."""
        return OPERATIONS[self.operation]

    def others(self) -> list[int]:
        """The other members, each process beginning with the one after it."""
        return [(self.rank + i) % self.size for i in range(1, self.size)]

    def send(self, to: int, data: Any) -> None:
        self.mesh.send(self.ranks[to], self.group, COLLECTIVE, self.operation, data)

    def receive(self, source: int, expected: int | None = None) -> bytearray:
        """Bytes, so many as expected."""
        channel = self.ranks[source], self.group, COLLECTIVE
        try:
            ticket = self.mesh.draw(channel)
            operation, data = self.mesh.take(channel, ticket, self.ranks, self.seconds)
        except DistNetworkError as error:
            raise DistNetworkError(f"{self.name}: {error}") from None
        rank = self.ranks[source]
        if operation != self.operation:
            raise DistBackendError(
                f"{self.name}: rank {rank} runs {OPERATIONS[operation]} at this point"
            )
        if expected is not None and len(data) != expected:
            raise DistBackendError(
                f"{self.name}: rank {rank} sent {len(data)} bytes where {expected} were expected; "
                "shapes and dtypes must agree"
            )
        return data


OPERATIONS = (
    *("send", "all_reduce", "broadcast", "reduce", "gather", "scatter", "all_gather"),
    *("reduce_scatter", "all_to_all", "barrier", "object"),
)
