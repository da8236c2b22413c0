"""`save` and `load`: nested structures of tensors in a file of PyTorch's, or of safetensors.

In the latter the tensors are stored under the path that leads to them ("model.fc.weight"), so that
any program that reads safetensors can use them; what holds them together is JSON in its metadata.
Nothing in a file is executed, except where `load` is told `weights_only=False`: then objects of
classes, such as a whole module, are made again by pickle. Without it they are read as data, and
made if all of their classes are listed (`allowed.py`).
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
from mmap import MAP_PRIVATE, MAP_SHARED
from typing import Any, BinaryIO

import numpy as np

from . import dtypes, torch_writer
from .allowed import (
    add_safe_globals as add_safe_globals,
    clear_safe_globals as clear_safe_globals,
    get_safe_globals as get_safe_globals,
    make,
    noting,
    safe_globals as safe_globals,
)
from .device import CPU, device as Device
from .dtypes import DType
from .ops.copy import to
from .runtime import host
from .serialization_writer import BY_NAME, CLASSES, FORMAT, NAMES, Writer, address_of, bytes_of
from .tensor import Size, Tensor, wrap
from .unpickle import UnpickleError

__all__ = ["CheckpointError", "add_safe_globals", "load", "safe_globals", "save"]

_KEY, _CHECK = "tritorch", "tritorch.crc32"


class CheckpointError(RuntimeError, pickle.UnpicklingError):
    """A file that is damaged, or none that `save` wrote; the message begins with its name."""


class _Options:
    """Whether checksums of PyTorch's archives are looked at; how files are mapped."""

    crc32 = True
    mmap = MAP_PRIVATE


options = _Options()


def set_crc32_options(compute_crc32: bool) -> None:
    """Whether checksums of the storages in PyTorch's archives are looked at."""
    options.crc32 = compute_crc32


def get_crc32_options() -> bool:
    """Whether they are."""
    return options.crc32


class set_default_mmap_options:
    """How `load(..., mmap=True)` maps files from now on, or in a block: `mmap.MAP_PRIVATE`, so that
    changes stay in memory, or `mmap.MAP_SHARED`, so that they go to the file."""

    def __init__(self, flags: int) -> None:
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError(f"Invalid argument in function set_default_mmap_options: {flags}")
        self.prev, options.mmap = options.mmap, flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        options.mmap = self.prev


def get_default_mmap_options() -> int:
    """How they are mapped."""
    return options.mmap


def default_restore_location(storage: Tensor, location: str) -> Tensor:
    """The tensor on a device, as a `map_location` of one's own may return it."""
    return located(storage, device_of(location), None)


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike | BinaryIO) -> list[str]:
    """What a file names that `load` makes only where it is listed, or where the file is trusted.

    Example:
        >>> import io, tritorch as torch
        >>> from datetime import timedelta
        >>> file = io.BytesIO()
        >>> torch.save([timedelta(hours=2)], file)
        >>> torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(file.getvalue()))
        ['datetime.timedelta']
    """
    asked: list[str] = []
    with noting(asked), contextlib.suppress(CheckpointError):
        load(f, "meta")
    return list(dict.fromkeys(asked))


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

    The file is one of PyTorch's, which `torch.load` reads, of the form before zip archives with
    `_use_new_zipfile_serialization=False`. A name that ends in `.safetensors` makes it a
    safetensors file. So does an object of any other class, such as a whole module: it is pickled,
    its tensors aside, and `load` gives it back only with `weights_only=False`. `state_dict()` is
    the better thing to save.

    Checksums cover every byte: `load` notices any that was changed, but in storages that it maps.
    Tensors that share memory share it again after loading. A file appears complete or not at all:
    it is written beside its place, flushed to the disk and then renamed.

    Example:
        >>> import io, tritorch as torch
        >>> file = io.BytesIO()
        >>> torch.save({"x": torch.arange(3), "epoch": 7}, file)
        >>> torch.load(io.BytesIO(file.getvalue()))
        {'x': tensor([0, 1, 2]), 'epoch': 7}
    """
    name = str(getattr(f, "name", "") if hasattr(f, "write") else os.fspath(f))  # type: ignore
    write = None
    if not name.endswith(".safetensors"):
        write = _torch_form(obj, pickle_protocol, _use_new_zipfile_serialization)
    write = write or _safetensors_form(obj)
    if hasattr(f, "write"):
        buffer = io.BytesIO()
        write(buffer)
        f.write(buffer.getbuffer())  # type: ignore[union-attr]
        return
    path = os.path.realpath(os.fspath(f))  # type: ignore[arg-type]
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"save: the folder {os.path.dirname(path)} does not exist")
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb"):  # fails here where the folder is missing or not writable
            pass
        mode = os.stat(path if os.path.exists(path) else temporary).st_mode & 0o777
        write(temporary)
        os.chmod(temporary, mode)
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush(os.path.dirname(path), os.O_RDONLY)


Write = Callable[[str | BinaryIO], None]  # to a name, or to a file object


def _torch_form(obj: Any, protocol: int, archive: bool) -> Write | None:
    """What writes an object as PyTorch does; None for objects of classes."""
    data = torch_writer.Data(obj)

    def write(target: str | BinaryIO) -> None:
        named = isinstance(target, str)
        with open(target, "w+b") if named else contextlib.nullcontext(target) as f:
            if archive:
                torch_writer.write_archive(obj, data, f, "archive", protocol)
            else:
                torch_writer.write_row(obj, data, f, protocol)

    return write if data.whole else None


def _safetensors_form(obj: Any) -> Write:
    """What writes an object as a safetensors file."""
    from safetensors.numpy import save as to_bytes, save_file

    writer = Writer(obj)
    tree = {"format": FORMAT, "tree": writer.tree, "checksums": writer.checksums()}
    text = json.dumps(tree, separators=(",", ":"))
    metadata = {_KEY: text, _CHECK: str(zlib.crc32(text.encode()))}

    def write(target: str | BinaryIO) -> None:
        if isinstance(target, str):
            save_file(writer.arrays, target, metadata)
        else:
            target.write(to_bytes(writer.arrays, metadata))

    return write


def _flush(path: str, flags: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
    No file can run code, except with `weights_only=False`, for files that you trust. Objects of
    classes need that, or a block of `serialization.safe_globals` that lists the classes. Raises
    `CheckpointError` for a damaged file.
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
        mode = "c" if options.mmap == MAP_PRIVATE else "r+"
        mapped = np.asarray(np.memmap(name, np.uint8, mode))  # of the class that operators know
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
        return torch_files.load(size, read, where, checks and options.crc32, trusted)
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
            if saved["format"] > FORMAT:
                raise self.error(f"format {saved['format']} is newer than this version of tritorch")
            for k in names if self.checks else ():
                if zlib.crc32(bytes_of(self.array(k))) != saved["checksums"].get(k):
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
        shape, dtype = tuple(entry["shape"]), NAMES.get(entry["dtype"])
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
        if address_of(raw) % dtype.itemsize:  # mapped, and written by another program
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
        """An object of a class, where the caller trusts the file or lists all of its classes."""
        kind, data = cell["class"], base64.b64decode(cell["object"])
        tensors = [self.decode(t, where) for t in cell["tensors"]]
        if not self.trusted:
            try:
                return make(data, tensors)
            except UnpickleError as error:
                raise self.error(
                    f"it holds an object of the class {kind}, which could run code: {error}"
                ) from None
        unpickler = pickle.Unpickler(io.BytesIO(data))
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
