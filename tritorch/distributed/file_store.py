"""A store in a file that all processes can open."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from .store import TIMEOUT, Store, as_bytes

__all__ = ["FileStore"]

_LENGTHS = struct.Struct("!II")
_GONE = 0xFFFFFFFF  # the length of a value that was deleted


class FileStore(Store):
    """A store in a file, to which every change is appended under a lock.

    The file is made where there is none. What an earlier run left in it is read too: name a new one
    for each run. The lock is POSIX's (`fcntl`), which network file systems must support.

    Example:
        >>> import tempfile
        >>> from tritorch.distributed import FileStore
        >>> directory = tempfile.TemporaryDirectory()
        >>> one = FileStore(directory.name + "/store", 2)
        >>> other = FileStore(directory.name + "/store", 2)
        >>> one.set("key", "value")
        >>> other.get("key"), one.add("n", 1), other.add("n", 1)
        (b'value', 1, 2)
        >>> directory.cleanup()
    """

    def __init__(
        self, file_name: str | os.PathLike, world_size: int = -1, timeout: timedelta = TIMEOUT
    ) -> None:
        self.path, self.world_size, self.timeout = os.fspath(file_name), world_size, timeout
        Path(self.path).touch()

    def _locked(self, work: Callable[[Any, dict[str, bytes]], Any]) -> Any:
        """`work(file, values)` while no other process has the file."""
        import fcntl

        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            values, end = _read(file.read())
            file.truncate(end)
            return work(file, values)

    def _append(self, file: Any, key: str, value: bytes | None) -> None:
        name = key.encode()
        length = _GONE if value is None else len(value)
        file.write(_LENGTHS.pack(len(name), length) + name + (value or b""))

    def set(self, key: str, value: str | bytes) -> None:
        self._locked(lambda file, values: self._append(file, key, as_bytes(value)))

    def get(self, key: str) -> bytes:
        self.wait([key])
        return self._locked(lambda file, values: values[key])

    def add(self, key: str, amount: int) -> int:
        def work(file: Any, values: dict[str, bytes]) -> int:
            total = int(values.get(key, b"0")) + amount
            self._append(file, key, str(total).encode())
            return total

        return self._locked(work)

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        def work(file: Any, values: dict[str, bytes]) -> bytes:
            now = values.get(key, b"")
            if now != as_bytes(expected):
                return now or as_bytes(expected)
            self._append(file, key, as_bytes(desired))
            return as_bytes(desired)

        return self._locked(work)

    def check(self, keys: Iterable[str]) -> bool:
        keys = list(keys)
        return self._locked(lambda file, values: all(key in values for key in keys))

    def delete_key(self, key: str) -> bool:
        def work(file: Any, values: dict[str, bytes]) -> bool:
            if key in values:
                self._append(file, key, None)
            return key in values

        return self._locked(work)

    def num_keys(self) -> int:
        return self._locked(lambda file, values: len(values))


def _read(data: bytes) -> tuple[dict[str, bytes], int]:
    """The last value of each key, and where the last whole record ends.

    A process that is killed may leave a part of one behind it.
    """
    values: dict[str, bytes] = {}
    end = 0
    while end + _LENGTHS.size <= len(data):
        name, value = _LENGTHS.unpack_from(data, end)
        start = end + _LENGTHS.size
        at = start + name + (0 if value == _GONE else value)
        if at > len(data):
            break
        end = at
        key = data[start : start + name].decode()
        if value == _GONE:
            values.pop(key, None)
        else:
            values[key] = data[start + name : at]
    return values, end
