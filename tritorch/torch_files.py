"""PyTorch's `.pt` and `.pth` files, read as data.

A file of today is a zip archive: a pickle that names storages by an id, and an uncompressed record
for each storage. One from before version 1.6 is a row of pickles with the storages behind. The
pickle is read by a machine that knows the names below and no others.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import dtypes, formats, seal
from .allowed import listed, restore as restore_listed, unlisted
from .device import device as Device
from .dtypes import DType
from .ops.create import empty
from .ops.interop import TYPE_NAMES
from .serialization import check_grad, device_of, located
from .serialization_writer import BY_NAME, CLASSES
from .tensor import Size, Tensor, wrap
from .unpickle import Builder, UnpickleError, end_of, hashable, unpickle

DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(NotImplementedError, EOFError, zipfile.BadZipFile, struct.error),
)
Read = Callable[[int, int], np.ndarray]
_LEGACY = 0x1950A86A20F9469CFC6C, 1001  # the number that older files begin with; their version
_DIMS = 64  # NumPy's


class Kind(NamedTuple):
    """A class of storages: the dtype of its elements; None for bytes of any."""

    dtype: DType | None


class Memory(NamedTuple):
    """A storage that was read: its bytes, its class, where it was, and a tensor that owns it."""

    raw: np.ndarray
    kind: Kind
    location: str
    owner: Tensor


def load(size: int, read: Read, where: Any, checks: bool, trusted: bool) -> Any:
    """The object of a file of `size` bytes that `read(start, end)` reads.

    `where` is `map_location`; `checks` says whether the checksums of storages are looked at. A
    damaged file raises one of DAMAGE. `trusted` makes objects of any class.
    """
    if read(0, 4).tobytes() == b"PK\x03\x04":
        return _Archive(size, read, where, trusted, checks).load()
    return _Legacy(size, read, where, trusted).load()


class _File:
    """What both forms share: storages by their key, and tensors of them."""

    def __init__(self, size: int, read: Read, where: Any, trusted: bool) -> None:
        self.size, self.read, self.where, self.trusted = size, read, where, trusted
        self.left = size  # bytes of storages that may still be read: each belongs to one
        self.memory: dict[str, Memory] = {}

    def unpickle(self, data: bytes, at: int = 0) -> Any:
        if self.trusted:
            from . import torch_objects

            return torch_objects.load(data[at:], self)
        return unpickle(data, self.find, self.storage, restore_listed, at)

    def find(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path in METHODS:
            return Builder(getattr(self, METHODS[path]))
        if path in KNOWN:
            return KNOWN[path]
        why = (
            f"it holds a {path[:200]}, which is no data; save a state dict of tensors, numbers and "
            "strings there"
        )
        return listed(path) or unlisted(path, why)

    def storage(self, id: Any) -> Memory:
        if not isinstance(id, tuple) or len(id) not in (5, 6) or id[0] != "storage":
            raise UnpickleError(f"it names an object that is no storage: {str(id)[:80]}")
        _, kind, key, location, count, *view = id
        if not isinstance(kind, Kind) or not isinstance(key, str) or not isinstance(count, int):
            raise UnpickleError("it names a storage without its class, key and size")
        if view and view[0] is not None:
            raise UnpickleError("a storage is a view of another, as only PyTorch before 0.4 wrote")
        if key not in self.memory:
            raw = self.bytes_of(key, count * (kind.dtype.itemsize if kind.dtype else 1))
            owner = wrap(raw, dtypes.uint8)
            self.memory[key] = Memory(raw, kind, str(location), owner)
        return self.memory[key]

    def bytes_of(self, key: str, size: int) -> np.ndarray:
        raise NotImplementedError

    def claim(self, start: int, size: int) -> np.ndarray:
        """Bytes of the file that make a storage."""
        self.left -= size
        if size < 0 or start < 0 or start + size > self.size or self.left < 0:
            raise UnpickleError("its storages are larger than the file, which may be cut off")
        raw = self.read(start, start + size)
        if raw.size != size:
            raise UnpickleError("the file is cut off")
        return raw.copy() if raw.size and raw.__array_interface__["data"][0] % 16 else raw

    # -- what a pickle may call -----------------------------------------------------------------

    def tensor(self, memory: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
        """`_rebuild_tensor`, `_rebuild_tensor_v2`."""
        grad, _, signs = (*rest, None, None, None)[:3]
        kind = memory.kind.dtype if isinstance(memory, Memory) else None
        return self.made(memory, kind, offset, shape, strides, grad, signs)

    def tensor_of(
        self,
        memory: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        grad: Any,
        hooks: Any,
        dtype: Any,
        signs: Any = None,
    ) -> Tensor:
        """`_rebuild_tensor_v3`: the storage does not know its dtype."""
        return self.made(memory, dtype, offset, shape, strides, grad, signs)

    def made(
        self, memory: Any, dtype: Any, offset: Any, shape: Any, strides: Any, grad: Any, signs: Any
    ) -> Tensor:
        if not isinstance(memory, Memory) or not isinstance(dtype, DType):
            raise UnpickleError("a tensor has no storage or no dtype")
        data = _strided(memory.raw, dtype, offset, shape, strides)
        for sign, change in (("conj", np.conj), ("neg", np.negative)):
            if isinstance(signs, dict) and signs.get(sign):
                data = change(data)
        out = wrap(data, dtype)
        if data.base is not None and np.may_share_memory(data, memory.raw):
            out._storage = memory.owner.storage_
        out = located(out, device_of(memory.location), self.where)
        check_grad(out, grad)
        return out.requires_grad_() if grad else out


def _strided(raw: np.ndarray, dtype: DType, offset: Any, shape: Any, strides: Any) -> np.ndarray:
    """A view of a storage's bytes, all sizes in elements."""
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) > _DIMS:
        raise UnpickleError("a tensor has no shape or no strides, or too many dimensions")
    if len(shape) != len(strides) or any(
        type(n) is not int or not 0 <= n < 1 << 62 for n in (offset, *shape, *strides)
    ):
        raise UnpickleError(f"a tensor has shape {shape}, strides {strides}, offset {offset}")
    item = dtype.itemsize
    reach = 0 if 0 in shape else 1 + offset + sum((n - 1) * s for n, s in zip(shape, strides))
    if reach * item > raw.size:
        raise UnpickleError(f"a tensor of shape {tuple(shape)} reaches beyond its storage")
    if math.prod(n for n in shape if n) >= 1 << 60:
        raise UnpickleError(f"a tensor has the shape {tuple(shape)}")
    if 0 in shape:
        return np.empty(shape, dtype.np)
    steps, dense = tuple(s * item for s in strides), _dense(shape, strides)
    if dense:
        count = math.prod(shape)
        return raw[offset * item : (offset + count) * item].view(dtype.np).reshape(shape)
    return np.ndarray(shape, dtype.np, raw.data, offset * item, steps)


def _dense(shape: tuple, strides: tuple) -> bool:
    """Whether elements lie one after another in the usual order."""
    size = 1
    for n, s in zip(reversed(shape), reversed(strides)):
        if n != 1 and s != size:
            return False
        size *= n
    return True


class _Archive(_File):
    """The zip form."""

    def __init__(self, size: int, read: Read, where: Any, trusted: bool, checks: bool) -> None:
        super().__init__(size, read, where, trusted)
        with zipfile.ZipFile(io.BufferedReader(_Window(size, read))) as archive:
            self.records = {info.filename: info for info in archive.infolist()}
            comment = archive.comment
        self.sums = any(info.CRC for info in self.records.values())  # it may be saved without
        self.checks = checks and self.sums
        pickles = [k for k in self.records if k.endswith("/data.pkl") and k.count("/") == 1]
        if len(pickles) != 1:
            raise UnpickleError("it is a zip archive, but none that torch.save wrote")
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.records:
            raise UnpickleError("it is a program of TorchScript; save the state dict of it there")
        marked = f"{self.folder}{seal.MARK}" in self.records or comment.startswith(seal.TRAILER)
        if marked:
            self.check(comment)

    def check(self, comment: bytes) -> None:
        """Of an archive that tritorch wrote: nothing outside the storages was changed."""
        read = lambda a, b: self.read(a, min(b, self.size)).tobytes()  # noqa: E731
        if comment != seal.sum_of(self.records.values(), read, self.size):
            raise UnpickleError("its structure is damaged: its checksum is wrong")
        for name, info in self.records.items():
            if not name.startswith(f"{self.folder}data"):
                self.content(info, check=True)

    def load(self) -> Any:
        if self.record("byteorder", b"little") != b"little":
            raise UnpickleError("it was written on a machine that is not little-endian")
        return self.unpickle(self.record("data.pkl"))

    def record(self, name: str, default: bytes = b"") -> bytes:
        info = self.records.get(self.folder + name)
        return default if info is None else self.content(info, self.sums).tobytes()

    def bytes_of(self, key: str, size: int) -> np.ndarray:
        info = self.records.get(f"{self.folder}data/{key}")
        if info is None:
            raise UnpickleError(f"its storage {key!r} is missing")
        if info.file_size != size:
            raise UnpickleError(f"its storage {key!r} has {info.file_size} bytes, not {size}")
        return self.content(info, self.checks)

    def content(self, info: zipfile.ZipInfo, check: bool) -> np.ndarray:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UnpickleError(f"{info.filename!r} is compressed, as torch.save never does")
        head = self.read(info.header_offset, info.header_offset + seal.LOCAL).tobytes()
        if len(head) < seal.LOCAL or head[:4] != b"PK\x03\x04":
            raise UnpickleError(f"there is no {info.filename!r} where the archive says")
        start = seal.content_of(info, lambda a, b: self.read(a, b).tobytes())
        out = self.claim(start, info.file_size)
        if check and zlib.crc32(out.data) != info.CRC:
            raise UnpickleError(f"{info.filename!r} is damaged: its checksum is wrong")
        return out


class _Window(io.RawIOBase):
    """The file as zipfile wants it."""

    def __init__(self, size: int, read: Read) -> None:
        self.size, self.source, self.at = size, read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self.at, self.size)[whence]
        if at < 0:
            raise ValueError("a place before the file")
        self.at = at
        return at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        end = min(self.at + len(buffer), self.size)
        n = max(end - self.at, 0)
        buffer[:n] = self.source(self.at, end).tobytes() if n else b""
        self.at += n
        return n


class _Sizes(_File):
    """The sizes of the storages of an older file, which its pickle alone knows."""

    def __init__(self, size: int, read: Read, trusted: bool) -> None:
        super().__init__(size, read, None, trusted)
        self.sizes: dict[str, int] = {}

    def bytes_of(self, key: str, size: int) -> np.ndarray:
        self.sizes[key] = size
        return np.empty(0, np.uint8)

    def made(self, *args: Any) -> Tensor:
        return wrap(np.empty(0, np.float32), dtypes.float32)


class _Legacy(_File):
    """The form before the zip archives."""

    def __init__(self, size: int, read: Read, where: Any, trusted: bool) -> None:
        super().__init__(size, read, where, trusted)
        self.places: dict[str, tuple[int, int]] = {}

    def load(self) -> Any:
        data = self.read(0, self.size).tobytes()
        at, head = 0, []
        for _ in range(3):
            head.append(self.unpickle(data, at))
            at = end_of(data, at)
        if tuple(head[:2]) != _LEGACY:
            raise UnpickleError("it is a pickle, but none that torch.save wrote")
        if not isinstance(head[2], dict) or head[2].get("little_endian") is not True:
            raise UnpickleError("it was written on a machine that is not little-endian")
        scan, behind = _Sizes(self.size, self.read, self.trusted), end_of(data, at)
        scan.unpickle(data, at)
        end = self.find_storages(scan.sizes, self.unpickle(data, behind), end_of(data, behind))
        rest = data[end:]  # another object, or the checksum of what tritorch wrote
        sealed = head[2].get(seal.MARK) or (len(rest) == seal.LENGTH and rest[:1] != b"\x80")
        if sealed and rest != seal.trailer(zlib.crc32(memoryview(data)[:end])):
            raise UnpickleError("it is damaged or cut off: its checksum is wrong")
        return self.unpickle(data, at)

    def find_storages(self, sizes: dict[str, int], keys: Any, at: int) -> int:
        """Where each storage is, and the end of them."""
        if not isinstance(keys, list) or set(keys) != set(sizes) or len(keys) != len(sizes):
            raise UnpickleError("it does not list its storages")
        for key in keys:
            count = int.from_bytes(self.read(at, at + 8).tobytes(), "little")
            if count * sizes[key] and sizes[key] % count:
                raise UnpickleError(f"its storage {key!r} has not {sizes[key]} bytes")
            self.places[key] = at + 8, sizes[key]
            at += 8 + sizes[key]
        return at

    def bytes_of(self, key: str, size: int) -> np.ndarray:
        start, known = self.places[key]
        if size != known:
            raise UnpickleError(f"its storage {key!r} has two sizes")
        return self.claim(start, size)


# -- what a pickle may name ---------------------------------------------------------------------


def _length(items: Any = (), *rest: Any) -> int:
    return 1 + len(items)


def _pairs(items: Any) -> list[tuple[Any, Any]]:
    pairs = items.items() if isinstance(items, dict) else items
    return [(hashable(k), v) for k, v in pairs]


def _ordered(items: Any = ()) -> OrderedDict:
    return OrderedDict(_pairs(items))


def _counter(items: Any = ()) -> Counter:
    return Counter(dict(_pairs(items)))


def _default(factory: Any = None, items: Any = ()) -> defaultdict:
    made = factory.fn if isinstance(factory, Builder) else None
    if made not in (None, list, dict, int, float):
        raise UnpickleError("it has a defaultdict of no plain type")
    return defaultdict(made, _pairs(items))


def _set(items: Any = ()) -> set:
    return {hashable(x) for x in items}


def _bytes(text: Any = "", encoding: str = "latin1") -> bytes:
    if isinstance(text, bytes | bytearray):
        return bytes(text)
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise UnpickleError("it encodes something else than bytes")
    return text.encode("latin1")


def _complex(real: Any, imag: Any) -> complex:
    return complex(float(real), float(imag))


def _parameter(data: Any, requires_grad: Any = True, *rest: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise UnpickleError("a parameter has no tensor")
    check_grad(data, requires_grad)
    return CLASSES["parameter"](data, bool(requires_grad))


def _of_type(make: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor of a class; what attributes it had is left out."""
    if not isinstance(make, Builder) or not isinstance(args, tuple):
        raise UnpickleError("a tensor is made by no function")
    out = make.fn(*args)
    return _parameter(out, out.requires_grad) if kind is _PARAMETER else out


def _meta(dtype: Any, shape: Any, strides: Any, requires_grad: Any) -> Tensor:
    if not isinstance(dtype, DType) or not isinstance(shape, tuple) or len(shape) > _DIMS:
        raise UnpickleError("a tensor has no dtype or no shape")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape) or math.prod(shape) >= 1 << 62:
        raise UnpickleError(f"a tensor has the shape {shape}")
    out = empty(shape, dtype=dtype, device="meta")
    check_grad(out, requires_grad)
    return out.requires_grad_() if requires_grad else out


_NUMPY = re.compile(r"[<|=]?[biufc](1|2|4|8|16)")


def _numpy_dtype(name: Any, *rest: Any) -> np.dtype:
    if not isinstance(name, str) or not _NUMPY.fullmatch(name):
        raise UnpickleError(f"an array has the dtype {str(name)[:80]}")
    return np.dtype(name)


def _numpy_scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, np.dtype) or len(_bytes(raw)) != dtype.itemsize:
        raise UnpickleError("a number of NumPy has the wrong size")
    return np.frombuffer(_bytes(raw), dtype)[0]


def _numpy_of(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or order not in ("C", "F"):
        raise UnpickleError("an array of NumPy has no dtype or no order")
    return np.frombuffer(bytearray(_bytes(raw)), dtype).reshape(shape, order=order)


def _numpy_array(*args: Any) -> np.ndarray:
    return np.empty(0, np.uint8)  # until its state comes


def restore(target: Any, state: Any) -> int:
    """Set the state of an object; the number of elements that this took."""
    if type(target) is OrderedDict and isinstance(state, dict):
        if "_metadata" in state:
            target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        return 1
    if isinstance(target, np.dtype) and isinstance(state, tuple) and state[1] in ("<", "|", "="):
        return 1
    if type(target) is not np.ndarray or target.size or not isinstance(state, tuple):
        raise UnpickleError(f"it sets the state of a {type(target).__name__}")
    _, shape, dtype, columns, raw = state
    raw = _bytes(raw)
    if not isinstance(dtype, np.dtype) or len(raw) != math.prod(shape) * dtype.itemsize:
        raise UnpickleError("an array of NumPy has the wrong size")
    target.__setstate__((1, tuple(shape), dtype, bool(columns), raw))  # type: ignore[arg-type]
    return len(raw)


def _layout(name: str) -> formats.layout:
    return {str(x).replace("tritorch", "torch"): x for x in formats.LAYOUTS}[name]


_PARAMETER, _TENSOR = object(), object()  # classes that are only compared with
_TENSORS = "torch._utils._rebuild_tensor"
METHODS = {_TENSORS: "tensor", f"{_TENSORS}_v2": "tensor", f"{_TENSORS}_v3": "tensor_of"}
_PLAIN: dict[str, Any] = {
    "list": Builder(list, _length),
    "dict": Builder(lambda items=(): dict(_pairs(items)), _length),
    "int": Builder(int),
    "float": Builder(float),
    "set": Builder(_set, _length),
    "frozenset": Builder(lambda items=(): frozenset(_set(items)), _length),
    "bytes": Builder(_bytes, _length),
    "bytearray": Builder(lambda *args: bytearray(_bytes(*args)), _length),
    "complex": Builder(_complex),
}
KNOWN: dict[str, Any] = {
    **{f"builtins.{k}": v for k, v in _PLAIN.items()},
    **{f"__builtin__.{k}": v for k, v in _PLAIN.items()},
    "_codecs.encode": Builder(_bytes, _length),
    "collections.OrderedDict": Builder(_ordered, _length),
    "collections.Counter": Builder(_counter, _length),
    "collections.defaultdict": Builder(_default, lambda factory=None, items=(): _length(items)),
    "torch.Size": Builder(Size, _length),
    "torch.device": Builder(device_of),
    "torch.Tensor": _TENSOR,
    "torch.nn.parameter.Parameter": _PARAMETER,
    "torch.nn.parameter.Buffer": _TENSOR,
    "torch._utils._rebuild_parameter": Builder(_parameter),
    "torch._utils._rebuild_parameter_with_state": Builder(_parameter),
    "torch._tensor._rebuild_from_type_v2": Builder(_of_type),
    "torch._utils._rebuild_meta_tensor_no_storage": Builder(_meta),
    "torch.strided": formats.strided,
    "torch.serialization._get_layout": Builder(_layout),
    "torch.storage.UntypedStorage": Kind(None),
    "numpy.dtype": Builder(_numpy_dtype),
    "numpy.ndarray": _TENSOR,
    **{f"torch.{d.name}": d for d in dtypes.ALL},
    **{f"torch.{name}Storage": Kind(BY_NAME[d]) for d, name in TYPE_NAMES.items()},
    **{f"torch.cuda.{name}Storage": Kind(BY_NAME[d]) for d, name in TYPE_NAMES.items()},
}
for _core in ("numpy.core", "numpy._core"):
    KNOWN[f"{_core}.multiarray.scalar"] = Builder(_numpy_scalar)
    KNOWN[f"{_core}.multiarray._reconstruct"] = Builder(_numpy_array)
    KNOWN[f"{_core}.numeric._frombuffer"] = Builder(_numpy_of, _length)

# What holds data in any pickle; files of PyTorch name its own classes besides.
CONTAINERS: dict[str, Any] = {
    **{path: found for path, found in KNOWN.items() if not path.startswith("torch.")},
    **{f"{d.__class__.__module__}.{d.name}": d for d in dtypes.ALL},
    f"{Size.__module__}.Size": Builder(Size, _length),
    f"{Device.__module__}.device": Builder(Device),
}
