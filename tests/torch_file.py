"""PyTorch's files, written by hand: pickles of names that need not exist, archives, old rows."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Name(NamedTuple):
    """A class or function that the pickle names."""

    module: str
    name: str


class Call(NamedTuple):
    """A call, and perhaps the state that is set afterwards."""

    fn: Any
    args: tuple
    state: Any = None


class Id(NamedTuple):
    """An object that is named by an id."""

    id: Any


def encode(x: Any) -> bytes:
    """The opcodes of protocol 2 that make `x`."""
    if isinstance(x, Name):
        return b"c" + f"{x.module}\n{x.name}\n".encode()
    if isinstance(x, Call):
        made = encode(x.fn) + encode(x.args) + b"R"
        return made + (b"" if x.state is None else encode(x.state) + b"b")
    if isinstance(x, Id):
        return encode(x.id) + b"Q"
    if isinstance(x, tuple):
        return b"(" + b"".join(map(encode, x)) + b"t"
    if isinstance(x, list):
        return b"](" + b"".join(map(encode, x)) + b"e"
    if isinstance(x, dict):
        return b"}(" + b"".join(encode(v) for pair in x.items() for v in pair) + b"u"
    return pickle.dumps(x, 2)[2:-1]  # without its beginning and end


def pickled(x: Any) -> bytes:
    return b"\x80\x02" + encode(x) + b"."


ORDERED = Name("collections", "OrderedDict")
NAMES = {"float32": "Float", "int64": "Long", "float16": "Half", "bool": "Bool"}


def storage(key: str, array: np.ndarray, place: str = "cpu", old: bool = False) -> Id:
    kind = Name("torch", NAMES[array.dtype.name] + "Storage")
    rest = (None,) if old else ()
    return Id(("storage", kind, key, place, array.size, *rest))


def tensor(
    memory: Id, shape: Sequence[int], strides: Sequence[int], offset: int = 0, grad: bool = False
) -> Call:
    hooks = Call(ORDERED, ())
    args = (memory, offset, tuple(shape), tuple(strides), grad, hooks)
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), args)


def archive(
    content: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED, **more: bytes
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in {"data.pkl": content, "byteorder": b"little", **more}.items():
            out.writestr(f"model/{name}", data)
        for key, data in storages.items():
            out.writestr(f"model/data/{key}", data)
    return file.getvalue()


def row(content: bytes, storages: dict[str, np.ndarray]) -> bytes:
    """The form before the zip archives."""
    info = {"protocol_version": 1001, "little_endian": True}
    parts = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, info)]
    parts += [content, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].tobytes()]
    return b"".join(parts)
