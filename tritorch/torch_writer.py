"""PyTorch's form of a file, which `torch.load` reads: a pickle and the storages that it names.

They stand in an uncompressed zip archive; in the older form pickles stand in a row with the
storages behind. The pickle names PyTorch's functions, which need not be here.
"""

from __future__ import annotations

import functools
import io
import pickle
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from . import seal
from .device import device as Device
from .dtypes import DType
from .ops.interop import TYPE_NAMES
from .serialization_writer import CLASSES, Hosted, address_of, bytes_of, memory_of, together
from .tensor import Size, Tensor

ALIGNMENT = 64  # of storages in an archive, so that they can be used where the file is mapped
LEGACY = 0x1950A86A20F9469CFC6C, 1001
_LEAVES = (bool, int, float, str, complex, bytes, np.generic, np.ndarray, DType, Device, Size)
_MAPPINGS = (dict, OrderedDict, Counter)
_EXACT: tuple[tuple[type, Any], ...] = (
    *((int, int.__int__), (float, float.__float__), (str, str.__str__)),
    *((complex, complex.__complex__), (bytes, bytes.__bytes__)),
)
_PurePickler: Any = pickle._Pickler  # type: ignore[attr-defined]  # Python's own, in Python
_FACTORIES = (None, list, dict, int, float)


class Name(NamedTuple):
    """A class or function of PyTorch's, which pickle takes for one that can be called."""

    module: str
    name: str

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.module}.{self.name} is a name for files, and not here")


@functools.cache
def named(module: str, name: str) -> Name:
    """The one of that name: a pickle that has named it refers to that place."""
    return Name(module, name)


class Memory(NamedTuple):
    """A storage: the bytes, what class of storages it is, where it was, its key and size."""

    raw: Any
    kind: Name
    location: str
    key: str
    count: int


class Place(NamedTuple):
    """Where a tensor is: sizes in elements of its dtype."""

    memory: Memory
    offset: int
    strides: tuple[int, ...]


class Data:
    """What is found in an object: `whole` if it has no objects of classes, which other forms take.

    ValueError where it contains itself.
    """

    def __init__(self, obj: Any) -> None:
        self.hosted = Hosted()
        self.tensors: dict[int, Tensor] = {}
        self.open: set[int] = set()
        self.whole = self.look(obj, ())
        self.places: dict[int, Place] = {}
        self.memories: list[Memory] = []  # in the order of their keys
        if self.whole:
            self.place()

    def look(self, x: Any, path: tuple[str, ...]) -> bool:
        if isinstance(x, Tensor):
            self.tensors[id(x)] = x
            return True
        if x is None or isinstance(x, _LEAVES):
            return True
        if not isinstance(x, Mapping) and type(x) not in (list, tuple, set, frozenset):
            return False
        if id(x) in self.open:
            raise ValueError(f"save: {'.'.join(path) or 'the object itself'} contains itself")
        self.open.add(id(x))
        pairs = list(x.items()) if isinstance(x, Mapping) else list(enumerate(x))
        held = getattr(x, "_metadata", None) if isinstance(x, OrderedDict) else None
        keys = [k for k, _ in pairs] if isinstance(x, Mapping) else []
        whole = all([self.look(v, (*path, str(k))) for k, v in pairs])
        whole = whole and all([self.look(k, path) for k in (*keys, held)])
        self.open.discard(id(x))
        return whole

    def place(self) -> None:
        """A storage for each piece of memory that tensors share."""
        tensors = [t for t in self.tensors.values() if not t.is_meta]
        arrays = [self.hosted(t) for t in tensors]
        for group in together(arrays):
            parts = [arrays[i] for i in group]
            for piece in [group] if _aligned(parts) else [[i] for i in group]:
                self.store([tensors[i] for i in piece], [arrays[i] for i in piece])

    def store(self, tensors: list[Tensor], arrays: list[np.ndarray]) -> None:
        first = tensors[0].dtype
        typed = first.name in TYPE_NAMES and all(t.dtype is first for t in tensors)
        if len(arrays) == 1 and arrays[0].flags.c_contiguous:
            low, raw = address_of(arrays[0]), bytes_of(arrays[0])
        elif all(a.size == 0 for a in arrays):
            low, raw = 0, np.empty(0, np.uint8)
        else:
            bounds = [np.lib.array_utils.byte_bounds(a) for a in arrays if a.size]
            low = min(b[0] for b in bounds)
            low -= 0 if typed else low % 16
            raw = memory_of(arrays, low, max(b[1] for b in bounds))
        kind = named("torch.storage", "UntypedStorage")
        if typed:
            kind = named("torch", f"{TYPE_NAMES[first.name]}Storage")
        count = raw.size // (first.itemsize if typed else 1)
        memory = Memory(raw, kind, str(tensors[0].device), str(len(self.memories)), count)
        self.memories.append(memory)
        for t, a in zip(tensors, arrays):
            size = a.itemsize
            offset = (address_of(a) - low) // size if a.size else 0
            strides = tuple(s // size for s in a.strides) if a.size else t.stride()  # type: ignore
            self.places[id(t)] = Place(memory, offset, strides)


def _aligned(arrays: list[np.ndarray]) -> bool:
    """Whether arrays of one memory lie at whole elements of it."""
    low = min(address_of(a) for a in arrays)
    low -= 0 if len({a.dtype for a in arrays}) == 1 else low % 16
    return not any((address_of(a) - low) % a.itemsize for a in arrays)


class _Pickler(_PurePickler):
    def __init__(self, file: Any, protocol: int, data: Data, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.data, self.legacy = data, legacy

    def persistent_id(self, obj: Any) -> tuple | None:
        if not isinstance(obj, Memory):
            return None
        _, kind, location, key, count = obj
        return ("storage", kind, key, location, count, *((None,) if self.legacy else ()))

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        super().save(_plain(obj), save_persistent_id)

    def save_name(self, obj: Name) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch = {**_PurePickler.dispatch, Name: save_name}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return self.rebuilt(obj)
        if isinstance(obj, Size):
            return named("torch", "Size"), (tuple(obj),)
        if isinstance(obj, Device):
            index = () if obj.index is None else (obj.index,)
            return named("torch", "device"), (obj.type, *index)
        return NotImplemented

    def rebuilt(self, t: Tensor) -> tuple:
        """The call by which PyTorch makes a tensor again."""
        if type(t) is CLASSES["parameter"] and id(t) in self.data.tensors:
            plain = t.detach()
            if not t.is_meta:
                self.data.places[id(plain)] = self.data.places[id(t)]
            call = named("torch._utils", "_rebuild_parameter")
            return call, (plain, t.requires_grad, OrderedDict())
        shape, dtype = tuple(t.shape), named("torch", t.dtype.name)
        if t.is_meta:
            call = named("torch._utils", "_rebuild_meta_tensor_no_storage")
            return call, (dtype, shape, t.stride(), t.requires_grad)  # type: ignore[attr-defined]
        memory, offset, strides = self.data.places[id(t)]
        args = (memory, offset, shape, strides, t.requires_grad, OrderedDict())
        if memory.kind.name == "UntypedStorage":
            return named("torch._utils", "_rebuild_tensor_v3"), (*args, dtype)
        return named("torch._utils", "_rebuild_tensor_v2"), args


def _plain(x: Any) -> Any:
    """The value as a pickle of data has it: numbers of NumPy and of classes become plain ones."""
    if isinstance(x, DType):
        return named("torch", x.name)
    if isinstance(x, np.generic):
        return x.item()
    if type(x) in (bool, int, float, str, complex, bytes, *_MAPPINGS):
        return x
    if isinstance(x, Mapping):
        factory = x.default_factory if type(x) is defaultdict else type
        return x if factory in _FACTORIES else dict(x)
    return next((exact(x) for kind, exact in _EXACT if isinstance(x, kind)), x)


def pickled(obj: Any, data: Data, protocol: int, legacy: bool = False) -> bytes:
    """The pickle of an object."""
    file = io.BytesIO()
    _Pickler(file, protocol, data, legacy).dump(obj)
    return file.getvalue()


def write_archive(obj: Any, data: Data, file: Any, folder: str, protocol: int) -> None:
    """The zip archive; all names in it stand in a folder. The file must be readable too."""
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
    _record(archive, f"{folder}/data.pkl", pickled(obj, data, protocol))
    _record(archive, f"{folder}/byteorder", b"little")
    for memory in data.memories:
        _record(archive, f"{folder}/data/{memory.key}", memory.raw)
    _record(archive, f"{folder}/version", b"3\n")
    _record(archive, f"{folder}/{seal.MARK}", b"1")
    seal.close(archive, file)


def _record(archive: zipfile.ZipFile, name: str, raw: Any) -> None:
    """A record whose content begins at a multiple of ALIGNMENT."""
    info = zipfile.ZipInfo(name)
    begin = archive.fp.tell() + 30 + len(name.encode()) + 4  # type: ignore[union-attr]
    if len(raw) > zipfile.ZIP64_LIMIT:
        begin += 20
    pad = -begin % ALIGNMENT
    info.extra = b"FB" + pad.to_bytes(2, "little") + b"Z" * pad
    archive.writestr(info, memoryview(raw))


def write_row(obj: Any, data: Data, file: Any, protocol: int) -> None:
    """The form before archives: pickles in a row."""
    info: dict[str, Any] = {"protocol_version": LEGACY[1], "little_endian": True, seal.MARK: True}
    info["type_sizes"] = {"short": 2, "int": 4, "long": 4}
    parts = [pickle.dumps(part, protocol) for part in (*LEGACY, info)]
    parts.append(pickled(obj, data, protocol, legacy=True))
    memories = data.memories
    parts.append(pickle.dumps([m.key for m in memories], protocol))
    for memory in memories:
        parts += [memory.count.to_bytes(8, "little"), memory.raw]
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
        file.write(part)
    file.write(seal.trailer(total))
