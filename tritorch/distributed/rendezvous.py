"""Where processes meet: `env://`, `tcp://` and `file://`."""

from __future__ import annotations

import os
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

from .file_store import FileStore
from .store import Store, TCPStore

__all__ = ["rendezvous"]


def rendezvous(url: str, rank: int, world_size: int, timeout: timedelta) -> tuple[Store, int, int]:
    """The store, the rank and the number of processes; `?rank=0&world_size=2` may be in the URL.

    Raises:
        ValueError: another scheme, or what is needed is missing.
    """
    parts = urlsplit(url)
    query = {k: int(v[-1]) for k, v in parse_qs(parts.query).items() if k in ("rank", "world_size")}
    rank = query.get("rank", rank)
    world_size = query.get("world_size", world_size)
    if parts.scheme == "env":
        return _environment(rank, world_size, timeout)
    if rank < 0 or world_size < 0:
        missing = "rank" if rank < 0 else "world_size"
        raise ValueError(f"Error initializing process group using {url}: {missing} is missing")
    _check(rank, world_size)
    if parts.scheme == "tcp":
        if not parts.hostname or not parts.port:
            raise ValueError(f"init_process_group: {url} needs a host and a port")
        store = TCPStore(parts.hostname, parts.port, world_size, rank == 0, timeout, False)
        return store, rank, world_size
    if parts.scheme == "file":
        path = unquote(parts.netloc + parts.path)
        if not path:
            raise ValueError(f"init_process_group: {url} needs a path")
        return FileStore(path, world_size, timeout), rank, world_size
    raise ValueError(f"No rendezvous handler for {url}; the schemes are env://, tcp:// and file://")


def _environment(rank: int, world_size: int, timeout: timedelta) -> tuple[Store, int, int]:
    def value(name: str) -> str:
        found = os.environ.get(name)
        if found is None:
            raise ValueError(
                "Error initializing process group using env:// rendezvous: environment variable "
                f"{name} expected, but not set"
            )
        return found

    rank = int(value("RANK")) if rank < 0 else rank
    world_size = int(value("WORLD_SIZE")) if world_size < 0 else world_size
    _check(rank, world_size)
    host, port = value("MASTER_ADDR"), int(value("MASTER_PORT"))
    return TCPStore(host, port, world_size, rank == 0, timeout, False), rank, world_size


def _check(rank: int, world_size: int) -> None:
    if not 0 <= rank < world_size:
        raise ValueError(
            f"init_process_group: rank {rank} is not in [0, {world_size}), world_size being "
            f"{world_size}"
        )
