"""Checksums of what a file in PyTorch's form has none of, where tritorch wrote it.

A zip archive has a checksum of each record, but none of its headers. So a record named `MARK` says
that the archive's comment ends in one of all bytes outside the contents of records. A row of
pickles, whose third one has the key `MARK`, ends in one of all that is before.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

MARK = ".tritorch"
COMMENT = b"tritorch crc32 "  # and eight hexadecimal digits
TRAILER = b"tritorch"  # and four bytes
LENGTH = len(TRAILER) + 4
DIGITS = 8  # of the comment's sum
LOCAL = 30  # bytes of the header before a record, without names
Read = Callable[[int, int], Any]  # gives the bytes from one place to another


def content_of(info: zipfile.ZipInfo, read: Read) -> int:
    """Where the content of a record begins, as the header before it says."""
    lengths = bytes(read(info.header_offset + 26, info.header_offset + LOCAL))
    names = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return info.header_offset + LOCAL + names


def sum_of(infos: Iterable[zipfile.ZipInfo], read: Read, size: int) -> bytes:
    """The comment of an archive of `size` bytes whose records these are."""
    at = total = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        start = content_of(info, read)
        total = zlib.crc32(read(at, start), total)
        at = start + info.file_size
    return COMMENT + b"%08x" % zlib.crc32(read(at, size - DIGITS), total)


def close(archive: zipfile.ZipFile, file: Any) -> None:
    """Write the end of an archive and its sum to the file, which can also be read."""
    archive.comment = COMMENT + b"0" * DIGITS
    archive.close()

    def read(start: int, end: int) -> bytes:
        file.seek(start)
        return file.read(end - start)

    size = file.seek(0, 2)
    found = sum_of(archive.infolist(), read, size)
    file.seek(size - DIGITS)
    file.write(found[-DIGITS:])


def trailer(total: int) -> bytes:
    """The end of a row of pickles with this checksum."""
    return TRAILER + total.to_bytes(4, "little")
