"""What `save` writes: the structure in JSON, and each storage once."""

from __future__ import annotations

import base64
import io
import math
import pickle
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import dtypes
from .device import device as Device
from .dtypes import DType
from .ops.copy import to
from .tensor import Size, Tensor

FORMAT = 1
NAMES = {
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
BASES: list[type] = []  # of classes whose objects a file may hold though nobody trusts it: layers
# kinds of tensors that stay what they are
CLASSES: dict[str, Callable[[Tensor, bool], Tensor]] = {}


class Writer:
    """An object as a tree of JSON and the arrays that it names."""

    def __init__(self, obj: Any) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.found: list[tuple[dict[str, Any], np.ndarray, str]] = []
        self.hosted = Hosted()
        self.open: set[int] = set()
        self.tree = self.encode(obj, ())
        self.place()

    def checksums(self) -> dict[str, int]:
        return {name: zlib.crc32(bytes_of(a)) for name, a in self.arrays.items()}

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
        if not t.is_cpu:
            cell["device"] = str(t.device)
        self.found.append((cell, self.hosted(t), ".".join(path)))
        return cell

    def place(self) -> None:
        """Decide which array each tensor is stored in: memory that overlaps is stored once."""
        for group in together([a for _, a, _ in self.found]):
            self.store([self.found[i] for i in group])

    def store(self, group: list[tuple[dict[str, Any], np.ndarray, str]]) -> None:
        first, name = group[0][1], self.name(group[0][2])
        same = all(
            a.strides == first.strides
            and a.shape == first.shape
            and a.dtype == first.dtype
            and address_of(a) == address_of(first)
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
        self.arrays[name] = memory_of([a for _, a, _ in group], low, high)
        for cell, a, _ in group:
            cell.update(_named(cell, name), dtype=dtypes.of(a.dtype).name, shape=list(a.shape))
            cell.update(strides=list(a.strides), offset=address_of(a) - low)

    def name(self, path: str) -> str:
        name, n = path or "tensor", 2
        while name in self.arrays or name == "__metadata__":
            name, n = f"{path}#{n}", n + 1
        return name


class Hosted:
    """The arrays of tensors; of those on a device copies, one for all that are the same memory."""

    def __init__(self) -> None:
        self.moved: dict[tuple, tuple[Any, np.ndarray]] = {}

    def __call__(self, t: Tensor) -> np.ndarray:
        data = t._data
        if data.__class__ is np.ndarray:
            return data
        key = (data.ptr, tuple(data.shape), tuple(data.strides), data.dtype.name)
        if key not in self.moved:
            self.moved[key] = (data, to(t.detach(), "cpu")._data)
        return self.moved[key][1]


def together(arrays: list[np.ndarray]) -> list[list[int]]:
    """Which arrays lie in one piece of memory, by their indices, in order."""
    spans = sorted(
        (np.lib.array_utils.byte_bounds(a) if a.size else (-1, -1), i) for i, a in enumerate(arrays)
    )
    groups: list[list[int]] = []
    end = -1
    for (low, high), i in spans:
        if low < 0 or low >= end or not groups:
            groups.append([])
        groups[-1].append(i)
        end = max(end, high)
    return sorted(sorted(g) for g in groups)


def _named(cell: dict[str, Any], name: str) -> dict[str, str]:
    return {"array" if "array" in cell else "tensor": name}


def address_of(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _order(a: np.ndarray) -> list[int]:
    """The order of dimensions in memory, where they lie there without gaps; else the usual one."""
    order = sorted(range(a.ndim), key=lambda d: (-a.strides[d], d))
    return order if a.transpose(order).flags.c_contiguous else list(range(a.ndim))


def _storable(a: np.ndarray) -> np.ndarray:
    """An array of a dtype that safetensors knows."""
    return a[..., None].view(np.float64) if a.dtype == np.complex128 else a


def memory_of(arrays: list[np.ndarray], low: int, high: int) -> np.ndarray:
    """The bytes of memory from `low` up to `high` that the arrays use; 0 between them."""
    out = np.zeros(high - low, np.uint8)
    for a in arrays:
        at = out[address_of(a) - low :]
        view = np.lib.stride_tricks.as_strided(at.view(), (*a.shape, a.itemsize), (*a.strides, 1))
        raw = np.ascontiguousarray(a).reshape(a.shape).view(f"V{a.itemsize}")[..., None]
        np.copyto(view, raw.view(np.uint8))
    return out


def bytes_of(a: np.ndarray) -> Any:
    return a.reshape(-1).view(np.uint8)
