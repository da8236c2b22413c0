"""What NVIDIA's assembler notes in a cubin: the registers of a thread and the bytes of its stack.

A cubin is an ELF file. Its section `.nv.info` is a row of entries of a format byte, an attribute
byte and two bytes of value, followed for the fourth format by as many bytes as the value says; the
attributes read here are followed by a symbol and a number. Their codes are those which NVIDIA's
cuobjdump shows as EIATTR_REGCOUNT and EIATTR_FRAME_SIZE (`cuobjdump -elf`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

REGISTERS, FRAME = 0x2F, 0x11  # attributes
SIZED = 4  # the format of entries that are followed by bytes


class Usage(NamedTuple):
    """Of the kernel of a cubin, of the most demanding where it has several."""

    registers: int
    stack: int


def usage(cubin: bytes) -> Usage:
    """Registers and bytes of stack of a thread; ValueError for what is no cubin."""
    try:
        found = [Usage(0, 0), *(_of(info) for info in _sections(cubin, b".nv.info"))]
    except struct.error as error:
        raise ValueError(f"a cubin of {len(cubin)} bytes ends early: {error}") from error
    return Usage(*(max(values) for values in zip(*found)))


def _sections(elf: bytes, name: bytes) -> Iterator[bytes]:
    """The contents of the sections of a 64-bit ELF file that have this name."""
    if elf[:5] != b"\x7fELF\x02":
        raise ValueError("a cubin is a 64-bit ELF file")
    (start,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, start + i * size) for i in range(count)]
    table = headers[names][4]
    for title, _, _, _, offset, length in headers:
        if elf.startswith(name + b"\0", table + title):
            yield elf[offset : offset + length]


def _of(info: bytes) -> Usage:
    most = {REGISTERS: 0, FRAME: 0}
    at = 0
    while at < len(info):
        kind, attribute, value = struct.unpack_from("<BBH", info, at)
        at += 4
        if kind == SIZED:
            if attribute in most:
                most[attribute] = max(most[attribute], struct.unpack_from("<II", info, at)[1])
            at += value
    return Usage(most[REGISTERS], most[FRAME])
