"""`save` and `load`: nested structures of tensors in one safetensors file.

The tensors are stored under the path that leads to them ("model.fc.weight"), so that any program
that reads safetensors can use them; what holds them together is JSON in the metadata of the file.
Nothing in a file is executed, except where `load` is told `weights_only=False`: only then
objects of classes, such as a whole module, are made again, by pickle.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import math
import os
import pickle
import secrets
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from . import dtypes
from .device import CPU, device as Device
from .dtypes import DType
from .ops.copy import to
from .runtime import host
from .tensor import Size, Tensor, wrap

__all__ = ["CheckpointError", "load", "save"]

_KEY, _CHECK = "tritorch", "tritorch.crc32"
_FORMAT = 1
_NAMES = {
    "BOOL": dtypes.bool_,
    "U8": dtypes.uint8,
    "U16": dtypes.uint16,
    "U32": dtypes.uint32,
    "U64": dtypes.uint64,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
    "F8_E4M3": dtypes.float8_e4m3fn,
    "F8_E5M2": dtypes.float8_e5m2,
    "C64": dtypes.complex64,
}
BY_NAME = {d.name: d for d in dtypes.ALL}
CLASSES: dict[
    str, Callable[[Tensor, bool], Tensor]
] = {}  # kinds of tensors that stay what they are


class CheckpointError(RuntimeError):
    """A file that is damaged, or none that `save` wrote; the message begins with its name."""


# -- saving -------------------------------------------------------------------------------------


def save(
    obj: Any,
    f: str | os.PathLike | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write tensors in nested dicts, lists and tuples, with numbers, strings, None and dtypes.

    An object of any other class, such as a whole module, is pickled, its tensors aside: `load`
    gives it back only with `weights_only=False`. `state_dict()` is the better thing to save.
    What concerns pickle's zip files makes no difference: the file is a safetensors file.

    Tensors that share memory share it again after loading. A file appears complete or not at all:
    it is written beside its place, flushed to the disk and then renamed.

    Example:
        >>> import io, tritorch as torch
        >>> file = io.BytesIO()
        >>> torch.save({"x": torch.arange(3), "epoch": 7}, file)
        >>> torch.load(io.BytesIO(file.getvalue()))
        {'x': tensor([0, 1, 2]), 'epoch': 7}
    """
    from safetensors.numpy import save as to_bytes, save_file

    writer = _Writer(obj)
    tree = {"format": _FORMAT, "tree": writer.tree, "checksums": writer.checksums()}
    text = json.dumps(tree, separators=(",", ":"))
    metadata = {_KEY: text, _CHECK: str(zlib.crc32(text.encode()))}
    if hasattr(f, "write"):
        f.write(to_bytes(writer.arrays, metadata))  # type: ignore[union-attr]
        return
    path = os.path.realpath(os.fspath(f))  # type: ignore[arg-type]
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb"):  # fails here where the folder is missing or not writable
            pass
        mode = os.stat(path if os.path.exists(path) else temporary).st_mode & 0o777
        save_file(writer.arrays, temporary, metadata)
        os.chmod(temporary, mode)
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush(os.path.dirname(path), os.O_RDONLY)


def _flush(path: str, flags: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _Writer:
    """An object as a tree of JSON and the arrays that it names."""

    def __init__(self, obj: Any) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.found: list[tuple[dict[str, Any], np.ndarray, str]] = []
        self.moved: dict[int, tuple[Any, np.ndarray]] = {}
        self.open: set[int] = set()
        self.tree = self.encode(obj, ())
        self.place()

    def checksums(self) -> dict[str, int]:
        return {name: zlib.crc32(_bytes(a)) for name, a in self.arrays.items()}

    def encode(self, x: Any, path: tuple[str, ...]) -> Any:
        if isinstance(x, np.generic):
            x = x.item()
        if x is None or isinstance(x, bool | str):
            return x
        if isinstance(x, int):
            return int(x)
        if isinstance(x, float):
            return float(x) if math.isfinite(x) else {"float": repr(float(x))}
        if isinstance(x, Tensor):
            return self.tensor(x, path)
        if isinstance(x, np.ndarray):
            cell = {"array": None}
            self.found.append((cell, x, ".".join(path)))
            return cell
        for kind, name, plain in (
            (complex, "complex", lambda c: [c.real, c.imag]),
            (bytes, "bytes", lambda b: b.hex()),
            (DType, "dtype", lambda d: d.name),
            (Device, "device", str),
            (Size, "size", lambda s: list(s)),
        ):
            if isinstance(x, kind):
                return {name: plain(x)}
        return self.container(x, path)

    def container(self, x: Any, path: tuple[str, ...]) -> Any:
        where = ".".join(path) or "the object itself"
        if id(x) in self.open:
            raise ValueError(f"save: {where} contains itself")
        self.open.add(id(x))
        try:
            if isinstance(x, Mapping):
                return self.mapping(x, path)
            if type(x) in (list, tuple, set, frozenset):
                items = [self.encode(v, (*path, str(i))) for i, v in enumerate(x)]
                return items if type(x) is list else {type(x).__name__: items}
        finally:
            self.open.discard(id(x))
        return self.pickled(x, path)

    def pickled(self, x: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """An object of a class of its own; its tensors are stored as all others are."""
        known: dict[int, tuple[int, Tensor]] = {}
        cells: list[Any] = []

        class Pickler(pickle.Pickler):
            def persistent_id(this, obj: Any) -> int | None:  # noqa: N805
                if not isinstance(obj, Tensor):
                    return None
                if id(obj) not in known:
                    known[id(obj)] = len(cells), obj
                    cells.append(self.tensor(obj, (*path, str(len(cells)))))
                return known[id(obj)][0]

        buffer, kind = io.BytesIO(), f"{type(x).__module__}.{type(x).__qualname__}"
        try:
            Pickler(buffer, protocol=4).dump(x)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            where = ".".join(path) or "the object itself"
            hint = "; save its state_dict()" if hasattr(x, "state_dict") else ""
            raise TypeError(f"save: cannot save {kind} at {where}: {error}{hint}") from error
        text = base64.b64encode(buffer.getvalue()).decode()
        return {"object": text, "class": kind, "tensors": cells}

    def mapping(self, x: Mapping, path: tuple[str, ...]) -> dict[str, Any]:
        kind = "ordered" if isinstance(x, OrderedDict) else "dict"
        if isinstance(x, Counter):
            kind = "counter"
        pairs = [
            [self.encode(k, path), self.encode(v, (*path, str(k)))] for k, v in list(x.items())
        ]
        out: dict[str, Any] = {kind: pairs}
        if getattr(x, "_metadata", None) is not None:
            out["metadata"] = self.encode(x._metadata, (*path, "_metadata"))  # type: ignore[attr-defined]
        return out

    def tensor(self, t: Tensor, path: tuple[str, ...]) -> dict[str, Any]:
        if t.is_meta:
            raise TypeError(f"save: the tensor at {'.'.join(path)} is on the meta device: no data")
        cell: dict[str, Any] = {"tensor": None}
        for name, kind in CLASSES.items():
            if type(t) is kind:
                cell["class"] = name
        if t.requires_grad:
            cell["grad"] = True
        data = t._data
        if data.__class__ is not np.ndarray:
            cell["device"] = str(t.device)
            data = self.on_host(t)
        self.found.append((cell, data, ".".join(path)))
        return cell

    def on_host(self, t: Tensor) -> np.ndarray:
        """A copy of a tensor on a device; one for all tensors that are the same memory."""
        data = t._data
        key = (data.ptr, tuple(data.shape), tuple(data.strides), data.dtype.name)
        if key not in self.moved:
            self.moved[key] = (data, to(t.detach(), "cpu")._data)  # type: ignore[index]
        return self.moved[key][1]  # type: ignore[index]

    def place(self) -> None:
        """Decide which array each tensor is stored in: memory that overlaps is stored once."""
        spans = sorted(
            (np.lib.array_utils.byte_bounds(a) if a.size else (-1, -1), i)
            for i, (_, a, _) in enumerate(self.found)
        )
        groups: list[list[int]] = []
        end = -1
        for (low, high), i in spans:
            if low < 0 or low >= end or not groups:
                groups.append([])
            groups[-1].append(i)
            end = max(end, high)
        for group in sorted(sorted(g) for g in groups):
            self.store([self.found[i] for i in group])

    def store(self, group: list[tuple[dict[str, Any], np.ndarray, str]]) -> None:
        first, name = group[0][1], self.name(group[0][2])
        same = all(
            a.strides == first.strides
            and a.shape == first.shape
            and a.dtype == first.dtype
            and _address(a) == _address(first)
            for _, a, _ in group
        )
        if same:
            order = _order(first)
            stored = first.transpose(order)
            self.arrays[name] = _storable(np.array(stored, order="C", copy=None))
            shape = list(first.shape)
            for cell, _, _ in group:
                cell.update(_named(cell, name), dtype=dtypes.of(first.dtype).name)
                if order != sorted(order) or self.arrays[name].shape != tuple(shape):
                    cell.update(shape=shape, order=order)
            return
        bounds = [np.lib.array_utils.byte_bounds(a) for _, a, _ in group]
        low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
        self.arrays[name] = _memory(group, low, high)
        for cell, a, _ in group:
            cell.update(_named(cell, name), dtype=dtypes.of(a.dtype).name, shape=list(a.shape))
            cell.update(strides=list(a.strides), offset=_address(a) - low)

    def name(self, path: str) -> str:
        name, n = path or "tensor", 2
        while name in self.arrays or name == "__metadata__":
            name, n = f"{path}#{n}", n + 1
        return name


def _named(cell: dict[str, Any], name: str) -> dict[str, str]:
    return {"array" if "array" in cell else "tensor": name}


def _address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _order(a: np.ndarray) -> list[int]:
    """The order of dimensions in memory, where they lie there without gaps; else the usual one."""
    order = sorted(range(a.ndim), key=lambda d: (-a.strides[d], d))
    return order if a.transpose(order).flags.c_contiguous else list(range(a.ndim))


def _storable(a: np.ndarray) -> np.ndarray:
    """An array of a dtype that safetensors knows."""
    return a[..., None].view(np.float64) if a.dtype == np.complex128 else a


def _memory(group: list[tuple[dict, np.ndarray, str]], low: int, high: int) -> np.ndarray:
    """The bytes of memory from `low` up to `high` that the arrays use; 0 between them."""
    out = np.zeros(high - low, np.uint8)
    for _, a, _ in group:
        at = out[_address(a) - low :]
        view = np.lib.stride_tricks.as_strided(at.view(), (*a.shape, a.itemsize), (*a.strides, 1))
        raw = np.ascontiguousarray(a).reshape(a.shape).view(f"V{a.itemsize}")[..., None]
        np.copyto(view, raw.view(np.uint8))
    return out


def _bytes(a: np.ndarray) -> Any:
    return a.reshape(-1).view(np.uint8)


# -- loading ------------------------------------------------------------------------------------


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read what `save` wrote, the tensors of any safetensors file as a dict, or PyTorch's files.

    A `.pt` or `.pth` file that PyTorch wrote is read as data: tensors, parameters, numbers, strings
    and NumPy arrays in dicts, lists, tuples and sets, as a state dict of a model or an optimizer
    is. An object of any other class in it is an error that names the class.

    `map_location` is the device to load to: a device, a dict from devices to devices, or a
    function of (tensor, device); by default each tensor goes to where it was. `mmap` maps the file
    into memory instead of reading it: what is not used is not read, and changes stay in memory.
    No file can run code, except with `weights_only=False`, which objects of classes need: use that
    for files that you trust. Raises `CheckpointError` for a damaged file.
    """
    trusted = weights_only is False
    if hasattr(f, "read"):
        if mmap:
            raise ValueError("load: mmap=True needs the name of a file, not a file object")
        data = np.frombuffer(f.read(), np.uint8)  # type: ignore[union-attr]
        name = str(getattr(f, "name", "<file object>"))
        return _parse(name, data.size, lambda a, b: data[a:b].copy(), map_location, trusted)
    name, size = os.fspath(f), os.path.getsize(f)  # type: ignore[arg-type]
    if mmap and size:
        mapped = np.memmap(name, np.uint8, "c")
        return _parse(name, size, lambda a, b: mapped[a:b], map_location, trusted, checks=False)
    with open(name, "rb") as file:
        return _parse(name, size, functools.partial(_read, file), map_location, trusted)


def _parse(
    name: Any, size: int, read: Callable, where: Any, trusted: bool, checks: bool = True
) -> Any:
    """The object of a file of either form."""
    start = read(0, min(size, 8)).tobytes()
    n = int.from_bytes(start, "little")
    if start[:4] != b"PK\x03\x04" and (start[:1] != b"\x80" or n + 8 <= size):
        return _Reader(name, size, read, checks, trusted).load(where)
    from . import torch_files

    try:
        return torch_files.load(size, read, where, checks)
    except torch_files.DAMAGE as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{name}: {said}") from error


def _read(file: BinaryIO, start: int, end: int) -> np.ndarray:
    out = host.empty((end - start,), np.dtype(np.uint8))
    file.seek(start)
    return out[: file.readinto(out)]  # type: ignore[attr-defined]


class _Reader:
    """A safetensors file: `read(start, end)` gives its bytes as an array that can be written."""

    def __init__(
        self, name: str, size: int, read: Callable, checks: bool = True, trusted: bool = False
    ) -> None:
        self.name, self.read, self.checks, self.trusted = str(name), read, checks, trusted
        self.made: dict[str, np.ndarray] = {}
        self.owners: dict[str, Tensor] = {}
        start = read(0, min(size, 8)).tobytes()
        n = int.from_bytes(start, "little")
        if size < 8 or not 2 <= n <= size - 8:
            raise self.error(
                "it is no checkpoint, or it is cut off" if size else "the file is empty"
            )
        try:
            self.header = json.loads(read(8, 8 + n).tobytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self.error(f"its header is damaged: {error}") from None
        if not isinstance(self.header, dict):
            raise self.error("its header is damaged: it is no JSON object")
        self.begin, self.size = 8 + n, size - 8 - n
        self.left = self.size  # bytes that may still be read: each belongs to one tensor

    def error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.name}: {what}")

    def load(self, map_location: Any) -> Any:
        try:
            metadata = self.header.get("__metadata__", {})
            names = [k for k in self.header if k != "__metadata__"]
            if _KEY not in metadata and _CHECK not in metadata:
                return {k: self.tensor({"tensor": k}, map_location) for k in names}
            if str(zlib.crc32(metadata[_KEY].encode())) != metadata[_CHECK]:
                raise self.error("its structure is damaged: its checksum is wrong")
            saved = json.loads(metadata[_KEY])
            if saved["format"] > _FORMAT:
                raise self.error(f"format {saved['format']} is newer than this version of tritorch")
            for k in names if self.checks else ():
                if zlib.crc32(_bytes(self.array(k))) != saved["checksums"].get(k):
                    raise self.error(f"the values of {k!r} are damaged: their checksum is wrong")
            return self.decode(saved["tree"], map_location)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as e:
            raise self.error(f"its structure is damaged: {type(e).__name__}: {e}") from e

    def array(self, name: str) -> np.ndarray:
        """A tensor of the file."""
        if name in self.made:
            return self.made[name]
        entry = self.header[name]
        start, end = entry["data_offsets"]
        shape, dtype = tuple(entry["shape"]), _NAMES.get(entry["dtype"])
        if dtype is None:
            raise self.error(f"{name!r} has the dtype {entry['dtype']}, which no tensor has")
        if any(not isinstance(n, int) or n < 0 for n in (*shape, start, end)):
            raise self.error(f"the header of {name!r} is damaged")
        if end > self.size or end - start != math.prod(shape) * dtype.itemsize:
            raise self.error(
                f"{name!r} of shape {shape} needs bytes {start} to {end} of {self.size}: the file "
                "is cut off or damaged"
            )
        self.left -= end - start
        if self.left < 0:
            raise self.error("its tensors overlap")
        raw = self.read(self.begin + start, self.begin + end)
        if _address(raw) % dtype.itemsize:  # mapped, and written by another program
            raw = raw.copy()
        self.made[name] = np.asarray(raw).view(dtype.np).reshape(shape)
        return self.made[name]

    def decode(self, x: Any, where: Any) -> Any:
        if isinstance(x, list):
            return [self.decode(v, where) for v in x]
        if not isinstance(x, dict):
            return x
        kind, value = next(iter(x.items()))
        if kind in ("tensor", "array"):
            return self.tensor(x, where)
        if kind in _PLAIN:
            return _PLAIN[kind](value)
        if kind == "object":
            return self.unpickled(x, where)
        if kind in ("tuple", "set", "frozenset"):
            items = (self.decode(v, where) for v in value)
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
        pairs = [(self.decode(k, where), self.decode(v, where)) for k, v in value]
        out = {"dict": dict, "ordered": OrderedDict, "counter": _counter}[kind](pairs)
        if "metadata" in x:
            out._metadata = self.decode(x["metadata"], where)  # type: ignore[attr-defined]
        return out

    def unpickled(self, cell: dict[str, Any], where: Any) -> Any:
        """An object of a class, where the caller trusts the file."""
        kind = cell["class"]
        if not self.trusted:
            raise self.error(
                f"it holds an object of the class {kind}, which could run code: "
                "load(..., weights_only=False) makes it, for a file that you trust"
            )
        tensors = [self.decode(t, where) for t in cell["tensors"]]
        unpickler = pickle.Unpickler(io.BytesIO(base64.b64decode(cell["object"])))
        unpickler.persistent_load = tensors.__getitem__  # type: ignore[method-assign]
        try:
            return unpickler.load()
        except Exception as error:
            raise self.error(
                f"the object of the class {kind} cannot be made: {type(error).__name__}: {error}"
            ) from error

    def tensor(self, cell: dict[str, Any], where: Any) -> Any:
        name = cell["tensor" if "tensor" in cell else "array"]
        base = self.array(name)
        dtype = BY_NAME[cell["dtype"]] if "dtype" in cell else dtypes.of(base.dtype)
        if "strides" in cell:
            data = self.strided(base, cell, dtype)
        else:
            data = base if base.dtype == dtype.np else base.view(dtype.np)
            if "order" in cell:
                order = cell["order"]
                data = data.reshape([cell["shape"][d] for d in order]).transpose(np.argsort(order))
        if "array" in cell:
            return data
        device = device_of(cell.get("device", "cpu"))
        out = located(self.wrapped(data, base, dtype, name), device, where)
        check_grad(out, cell.get("grad"))
        if "class" in cell:
            return CLASSES[cell["class"]](out, bool(cell.get("grad")))
        return out.requires_grad_() if cell.get("grad") else out

    def strided(self, base: np.ndarray, cell: dict[str, Any], dtype: DType) -> np.ndarray:
        shape, strides, offset = cell["shape"], cell["strides"], cell["offset"]
        reach = sum((n - 1) * s for n, s in zip(shape, strides)) + dtype.itemsize
        if offset < 0 or any(v < 0 for v in (*shape, *strides)) or offset + reach > base.size:
            raise self.error("a tensor reaches beyond the memory that is stored of it")
        return np.ndarray(tuple(shape), dtype.np, base.data, offset, tuple(strides))

    def wrapped(self, data: np.ndarray, base: np.ndarray, dtype: DType, name: str) -> Tensor:
        """A tensor of part of a stored array; all of them share its storage."""
        if name not in self.owners:
            self.owners[name] = wrap(base, dtype)
        out = wrap(data, dtype)
        out._storage = self.owners[name].storage_
        return out


def _counter(pairs: list[tuple[Any, int]]) -> Counter:
    return Counter(dict(pairs))


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "complex": lambda parts: complex(*parts),
    "bytes": bytes.fromhex,
    "dtype": lambda name: BY_NAME[name],
    "device": lambda name: device_of(name),
    "size": Size,
}


def device_of(*args: Any) -> Device:
    """The device of a saved name; ValueError where it is none."""
    if not args or not isinstance(args[0], str):
        raise ValueError("a device has no name")
    try:
        return Device(*args)
    except RuntimeError as error:
        raise ValueError(f"it names a device that cannot be: {str(error)[:200]}") from None


def check_grad(t: Tensor, wanted: Any) -> None:
    """Refuse integers that shall have gradients."""
    if wanted and not (t.is_floating_point() or t.is_complex()):
        raise ValueError(f"a tensor of {t.dtype} cannot require gradients")


def located(t: Tensor, saved: Device, where: Any) -> Tensor:
    """The tensor on the device that `map_location` says."""
    if callable(where) and not isinstance(where, Device):
        moved: Any = where(t, str(saved))
        return t if moved is None else moved
    if isinstance(where, Mapping):
        found = {str(k): v for k, v in where.items()}
        target = Device(found.get(str(saved), saved))
    else:
        target = saved if where is None else Device(where)
    if target == CPU:
        return t
    if target.type == "cuda":
        from .runtime import accelerator

        if not accelerator.available():
            raise RuntimeError(
                "Attempting to deserialize object on a CUDA device but there is none here. Please "
                "use load with map_location='cpu' to map your storages to the CPU."
            )
    return to(t, target)
