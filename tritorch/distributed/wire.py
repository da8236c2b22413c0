"""Sockets between processes: opened, named and read to the last byte."""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct("!I")


def exactly(sock: socket.socket, count: int) -> bytearray:
    """The next `count` bytes; ConnectionError where the other end closes before."""
    data = bytearray(count)
    view, have = memoryview(data), 0
    while have < count:
        got = sock.recv_into(view[have:])
        if not got:
            raise ConnectionError("the connection was closed")
        have += got
    return data


def send_fields(sock: socket.socket, *fields: bytes) -> None:
    """Byte strings, to be read by `read_fields`."""
    parts = [_LENGTH.pack(len(fields))]
    for field in fields:
        parts += [_LENGTH.pack(len(field)), field]
    sock.sendall(b"".join(parts))


def read_fields(sock: socket.socket) -> list[bytes]:
    """What `send_fields` sent."""
    (count,) = _LENGTH.unpack(exactly(sock, _LENGTH.size))
    fields = []
    for _ in range(count):
        (length,) = _LENGTH.unpack(exactly(sock, _LENGTH.size))
        fields.append(bytes(exactly(sock, length)))
    return fields


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for connections; port 0 takes a free one.

    It listens at the address of `host`, or at all of this machine where that is none of its own.
    """
    family, _, _, _, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            sock.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            sock.bind(("", port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    sock.listen(128)
    return sock


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A connection; tried again until the other end listens, at most so long."""
    end = time.monotonic() + seconds
    pause = 0.01
    while True:
        try:
            family, _, _, _, address = _resolve(host, port)
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(max(0.1, end - time.monotonic()))
                sock.connect(address)
            except BaseException:
                sock.close()
                raise
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            if time.monotonic() + pause > end:
                raise TimeoutError(f"no connection to {host}:{port}: {error}") from None
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def _resolve(host: str, port: int) -> Any:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]


def own_host() -> str:
    """An address of this machine under which others of its network reach it."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
