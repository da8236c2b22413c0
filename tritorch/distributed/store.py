"""Key-value stores: how processes find each other before they have connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from . import wire
from .errors import DistNetworkError, DistStoreError

__all__ = ["HashStore", "PrefixStore", "Store", "TCPStore"]

TIMEOUT = timedelta(seconds=300)


class Store:
    """Bytes under string keys, shared by processes. Strings are stored as UTF-8.

    Example:
        >>> from tritorch.distributed import HashStore
        >>> store = HashStore()
        >>> store.set("who", "me")
        >>> store.get("who"), store.add("count", 2), store.add("count", 3)
        (b'me', 2, 5)
    """

    timeout: timedelta = TIMEOUT

    def set_timeout(self, timeout: timedelta) -> None:
        """How long `get` and `wait` wait for a key."""
        self.timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Store a value under a key, in place of one that is there."""
        raise NotImplementedError(f"{type(self).__name__}.set")

    def get(self, key: str) -> bytes:
        """The value of a key, waited for; DistStoreError where it does not come in time."""
        raise NotImplementedError(f"{type(self).__name__}.get")

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which begins with 0, and return the sum; atomic."""
        raise NotImplementedError(f"{type(self).__name__}.add")

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        """Store `desired` where the value is `expected` (b"": there is none); the value then."""
        raise NotImplementedError(f"{type(self).__name__}.compare_set")

    def check(self, keys: Iterable[str]) -> bool:
        """Whether all keys have values."""
        raise NotImplementedError(f"{type(self).__name__}.check")

    def delete_key(self, key: str) -> bool:
        """Forget a key; whether there was one."""
        raise NotImplementedError(f"{type(self).__name__}.delete_key")

    def num_keys(self) -> int:
        """How many keys there are."""
        raise NotImplementedError(f"{type(self).__name__}.num_keys")

    def wait(self, keys: Iterable[str], timeout: timedelta | None = None) -> None:
        """Until all keys have values; DistStoreError where that takes too long."""
        keys, end = list(keys), time.monotonic() + (timeout or self.timeout).total_seconds()
        pause = 0.002
        while not self.check(keys):
            if time.monotonic() > end:
                missing = [key for key in keys if not self.check([key])]
                raise DistStoreError(f"{type(self).__name__}: timed out waiting for {missing}")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)


class HashStore(Store):
    """A store in one process, for its threads."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def set(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self._values[key] = as_bytes(value)
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        self.wait([key])
        with self._changed:
            return self._values[key]

    def add(self, key: str, amount: int) -> int:
        with self._changed:
            total = int(self._values.get(key, b"0")) + amount
            self._values[key] = str(total).encode()
            self._changed.notify_all()
            return total

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        with self._changed:
            now = self._values.get(key, b"")
            if now != as_bytes(expected):
                return now or as_bytes(expected)
            self._values[key] = as_bytes(desired)
            self._changed.notify_all()
            return self._values[key]

    def check(self, keys: Iterable[str]) -> bool:
        with self._changed:
            return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        with self._changed:
            return self._values.pop(key, None) is not None

    def num_keys(self) -> int:
        with self._changed:
            return len(self._values)

    def wait(self, keys: Iterable[str], timeout: timedelta | None = None) -> None:
        keys, seconds = list(keys), (timeout or self.timeout).total_seconds()
        with self._changed:
            if not self._changed.wait_for(lambda: all(k in self._values for k in keys), seconds):
                missing = [key for key in keys if key not in self._values]
                raise DistStoreError(f"{type(self).__name__}: timed out waiting for {missing}")


class _Server:
    """The store behind a port, a thread for each process that is connected."""

    def __init__(self, host: str, port: int) -> None:
        self.values = HashStore()
        try:
            self.socket = wire.listen(host, port)
        except OSError as error:
            raise DistNetworkError(f"TCPStore: {error}") from None
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, name="TCPStore", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:  # closed
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # a client may leave at any time
            while True:
                name, *fields = wire.read_fields(client)
                try:
                    wire.send_fields(client, b"ok", *self._answer(name.decode(), fields))
                except (DistStoreError, ValueError) as error:
                    wire.send_fields(client, b"error", str(error).encode())

    def _answer(self, name: str, fields: list[bytes]) -> list[bytes]:
        store = self.values
        if name == "wait":
            seconds, *keys = fields
            store.wait([k.decode() for k in keys], timedelta(seconds=float(seconds)))
            return []
        if name == "check":
            return [_flag(store.check([k.decode() for k in fields]))]
        if name == "num_keys":
            return [str(store.num_keys()).encode()]
        key, *values = fields
        if name == "set":
            store.set(key.decode(), values[0])
            return []
        if name == "add":
            return [str(store.add(key.decode(), int(values[0]))).encode()]
        if name == "compare_set":
            return [store.compare_set(key.decode(), values[0], values[1])]
        if name == "delete_key":
            return [_flag(store.delete_key(key.decode()))]
        if name == "get":
            store.wait([key.decode()], timedelta(seconds=float(values[0])))
            return [store.get(key.decode())]
        raise ValueError(f"TCPStore: no operation {name!r}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self.socket.close()


class TCPStore(Store):
    """A store that one process, the master, serves to others by TCP.

    `port` 0 takes a free one, which `port` then tells. With `wait_for_workers` the constructor
    returns when `world_size` processes have come. DistStoreError where the master does not answer
    within `timeout`. Whoever reaches the port can read and write: use it in networks you trust.

    Example:
        >>> from tritorch.distributed import TCPStore
        >>> store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        >>> store.set("key", "value")
        >>> TCPStore("127.0.0.1", store.port).get("key")
        b'value'
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = TIMEOUT,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ) -> None:
        self.host, self.timeout, self._turn = host_name, timeout, threading.Lock()
        self._server = _Server(host_name, port) if is_master else None
        self.port = self._server.port if self._server else port
        try:
            self._socket = wire.connect(host_name, self.port, timeout.total_seconds())
        except TimeoutError as error:
            raise DistStoreError(f"TCPStore: {error}") from None
        if wait_for_workers and world_size:
            self._gather(world_size)

    def _gather(self, world_size: int) -> None:
        if self.add("init/workers", 1) >= world_size:
            self.set("init/all", b"1")
        self.wait(["init/all"])

    @property
    def local_address(self) -> str:
        """The address of this process on the way to the master."""
        return self._socket.getsockname()[0]

    def _ask(self, name: str, *fields: bytes) -> list[bytes]:
        with self._turn:
            try:
                wire.send_fields(self._socket, name.encode(), *fields)
                status, *answer = wire.read_fields(self._socket)
            except OSError as error:
                raise DistStoreError(
                    f"TCPStore: lost the master at {self.host}:{self.port}: {error}"
                ) from None
        if status != b"ok":
            raise DistStoreError(answer[0].decode().replace("HashStore", "TCPStore"))
        return answer

    def set(self, key: str, value: str | bytes) -> None:
        self._ask("set", key.encode(), as_bytes(value))

    def get(self, key: str) -> bytes:
        return self._ask("get", key.encode(), _seconds(self.timeout))[0]

    def add(self, key: str, amount: int) -> int:
        return int(self._ask("add", key.encode(), str(amount).encode())[0])

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        return self._ask("compare_set", key.encode(), as_bytes(expected), as_bytes(desired))[0]

    def check(self, keys: Iterable[str]) -> bool:
        return self._ask("check", *(k.encode() for k in keys))[0] == b"1"

    def delete_key(self, key: str) -> bool:
        return self._ask("delete_key", key.encode())[0] == b"1"

    def num_keys(self) -> int:
        return int(self._ask("num_keys")[0])

    def wait(self, keys: Iterable[str], timeout: timedelta | None = None) -> None:
        self._ask("wait", _seconds(timeout or self.timeout), *(k.encode() for k in keys))

    def close(self) -> None:
        """Leave the store; the master's goes for all."""
        self._socket.close()
        if self._server is not None:
            self._server.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self.close()


class PrefixStore(Store):
    """A part of another store: all keys begin with `prefix/`."""

    def __init__(self, prefix: str, store: Store) -> None:
        self.prefix, self.underlying_store = prefix, store

    @property
    def timeout(self) -> timedelta:  # type: ignore[override]
        """That of the store below."""
        return self.underlying_store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self.underlying_store.set_timeout(timeout)

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def set(self, key: str, value: str | bytes) -> None:
        self.underlying_store.set(self._key(key), value)

    def get(self, key: str) -> bytes:
        return self.underlying_store.get(self._key(key))

    def add(self, key: str, amount: int) -> int:
        return self.underlying_store.add(self._key(key), amount)

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        return self.underlying_store.compare_set(self._key(key), expected, desired)

    def check(self, keys: Iterable[str]) -> bool:
        return self.underlying_store.check([self._key(k) for k in keys])

    def delete_key(self, key: str) -> bool:
        return self.underlying_store.delete_key(self._key(key))

    def num_keys(self) -> int:
        return self.underlying_store.num_keys()

    def wait(self, keys: Iterable[str], timeout: timedelta | None = None) -> None:
        self.underlying_store.wait([self._key(k) for k in keys], timeout)


def as_bytes(value: Any) -> bytes:
    """A value as it is stored."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _flag(value: bool) -> bytes:
    return b"1" if value else b"0"


def _seconds(timeout: timedelta) -> bytes:
    return str(timeout.total_seconds()).encode()
