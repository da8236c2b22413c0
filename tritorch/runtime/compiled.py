"""Compiled kernels: a cache from what a launch looks like to a loaded kernel, and the launch.

Triton's own `kernel[grid](...)` takes 10 us and more of Python, and compiles C for each signature.
Here one pass over the arguments makes the key and the parameters, and the driver does the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from .array import Array
from .kernel import Specialized, check_grid, compile_kernel, parameters, specialize
from .memory import Memory, Target

_PLAIN = frozenset({int, bool, str, type(None)})  # constants that are their own key
_BY_CLASS = frozenset({float, np.float64, bool, type(None)})  # arguments not specialised by value
_CASTS = {"fp32": np.float32, "u64": np.uint64}  # Python's own would be passed as another type
_CONFIGS = 4096  # grids remembered for a kernel
_INTS = 1 << 16  # ints whose class is remembered
_ALIGNED = 512  # bytes of which addresses that a device allocates are multiples


class Loader(Protocol):
    """What a device does for its executor."""

    @property
    def stream(self) -> Any: ...
    def target(self) -> Target: ...
    def allocate(self, nbytes: int) -> Memory: ...
    def load(self, cubin: bytes, name: str, shared: int) -> Any: ...
    def config(self, grid: tuple[int, ...], threads: int, shared: int) -> Any: ...


class Entry:
    """A loaded kernel, and how its parameters follow from the arguments of a launch.

    `select` picks the arguments that are parameters, where others (1, None) were compiled in.
    `trailing` are the parameters after them: pointers to scratch memory, of which each program
    needs `scratch` bytes at the first. `sources` keeps alive what the key refers to by address.
    """

    __slots__ = (
        "casts",
        "configs",
        "handle",
        "scratch",
        "select",
        "shared",
        "sources",
        "threads",
        "trailing",
    )

    def __init__(self, handle: Any, types: Sequence[str], compiled: Any, sources: tuple) -> None:
        self.handle = handle
        self.configs: dict[tuple[int, ...], Any] = {}
        self.threads = compiled.metadata.num_warps * compiled.metadata.warp_size
        self.shared = compiled.metadata.shared
        self.casts = tuple((i, _CASTS[t]) for i, t in enumerate(types) if t in _CASTS)
        kept = [i for i, t in enumerate(types) if t != "constexpr"]
        self.select = None if len(kept) == len(types) else _selector(kept)
        self.trailing = (0,) * _scratch_pointers(compiled, len(kept))
        self.scratch = scratch_of(compiled.metadata)
        self.sources = sources


def _selector(kept: list[int]) -> Callable[[Sequence], tuple]:
    if len(kept) > 1:
        return itemgetter(*kept)
    return lambda params: tuple(params[i] for i in kept)


def scratch_of(metadata: Any) -> int:
    """Bytes of scratch memory a program, in which kernels make tensor descriptors."""
    if getattr(metadata, "profile_scratch_size", 0):
        raise NotImplementedError("kernels with Triton's profiler inside are not supported")
    nbytes = getattr(metadata, "global_scratch_size", 0)
    if nbytes and metadata.global_scratch_align > _ALIGNED:
        raise NotImplementedError(
            f"scratch memory at multiples of {metadata.global_scratch_align} bytes is not "
            f"supported, at most of {_ALIGNED}"
        )
    return nbytes * getattr(metadata, "num_ctas", 1)


def _scratch_pointers(compiled: Any, kept: int) -> int:
    """How many pointers to scratch memory Triton appended to the parameters."""
    entry = re.search(r"\.entry\s+\w+\s*\(([^)]*)\)", compiled.asm.get("ptx", ""))
    return entry[1].count(".param") - kept if entry else 2


class Executor:
    """Compiles, loads and launches kernels on one device. `submit` is `cuda.core.launch`."""

    __slots__ = ("_device", "_ints", "_submit", "entries")

    def __init__(self, device: Loader, submit: Callable[..., None]) -> None:
        self._device = device
        self._submit = submit
        self._ints: dict[int, int] = {}
        self.entries: dict[tuple, Entry] = {}

    def __call__(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        entry, params = self.prepared(kernel, args, constants, warps, stages)
        self._run(entry, grid, params)

    def prepared(
        self, kernel: Any, args: Sequence, constants: dict, warps: int, stages: int
    ) -> tuple[Entry, list[Any]]:
        """The compiled kernel for such arguments, and these as its parameters, not yet selected."""
        key: list[Any] = [id(kernel), warps, stages]
        add = key.append
        params: list[Any] = []
        give = params.append
        ints = self._ints
        for a in args:
            kind = a.__class__
            if kind is Array:
                ptr = a.ptr
                add(a.dtype)
                add(not ptr & 15)
                give(ptr)
            elif kind is int:
                known = ints.get(a)
                add(self._class_of(a) if known is None else known)
                give(a)
            else:
                if kind not in _BY_CLASS:
                    a = _plain(a)
                    kind = self._class_of(a) if a.__class__ is int else a.__class__
                add(kind)
                give(a)
        key += constants
        for c in constants.values():
            add(c if c.__class__ in _PLAIN else _address(c))
        k = tuple(key)
        entry = self.entries.get(k)
        if entry is None:
            entry = self.entries[k] = self._compile(kernel, args, constants, warps, stages)
        return entry, params

    def _run(self, entry: Entry, grid: tuple[int, ...], params: list[Any]) -> None:
        for i, cast in entry.casts:
            params[i] = cast(params[i])
        config = entry.configs.get(grid)
        if config is None:
            config = self._config(entry, grid)
        trailing = entry.trailing
        if entry.scratch:  # given back in the order of the stream, after this launch
            memory = self._device.allocate(math.prod(grid) * entry.scratch)
            trailing = (memory.ptr, *trailing[1:])
        self._submit(
            self._device.stream,
            config,
            entry.handle,
            *(params if entry.select is None else entry.select(params)),
            *trailing,
        )

    def _class_of(self, a: int) -> int:
        """How Triton specialises an int: bit 0: it is 1; bit 1: a multiple of 16; then width."""
        width = 0 if -(1 << 31) <= a < 1 << 31 else 4 if a < 1 << 63 else 8
        known = (a == 1) | (a % 16 == 0) << 1 | width
        if len(self._ints) >= _INTS:
            self._ints.clear()
        self._ints[a] = known
        return known

    def _compile(
        self, kernel: Any, args: Sequence, constants: dict, warps: int, stages: int
    ) -> Entry:
        target = self._device.target()
        special: Specialized = specialize(kernel, args, constants)
        compiled = compile_kernel(kernel, special, target, warps, stages)
        shared = compiled.metadata.shared
        if shared > target.shared_memory:
            raise RuntimeError(
                f"{shared} bytes of shared memory are needed, {target.name} has "
                f"{target.shared_memory}: choose smaller blocks or fewer stages"
            )
        handle = self._device.load(compiled.asm["cubin"], compiled.metadata.name, shared)
        types = [special.signature[name] for name in parameters(kernel).runtime]
        return Entry(handle, types, compiled, (kernel, *constants.values()))

    def _config(self, entry: Entry, grid: tuple[int, ...]) -> Any:
        check_grid(grid)
        x, y, z = (*grid, 1, 1)[:3]
        if len(entry.configs) >= _CONFIGS:
            entry.configs.clear()
        config = self._device.config((int(x), int(y), int(z)), entry.threads, entry.shared)
        entry.configs[grid] = config
        return config


def _plain(a: Any) -> Any:
    if not isinstance(a, np.generic):
        raise TypeError(f"a kernel takes an Array, an int, a float, a bool or None, not {type(a)}")
    return a.item()


def _address(c: Any) -> Any:
    """A constant's part of the key; floats by their bits, functions and dtypes by address."""
    if isinstance(c, float):
        return "float", c.hex()
    if isinstance(c, np.generic):
        return _address(c.item())
    if isinstance(c, tuple):
        return tuple(map(_address, c))
    return c if c.__class__ in _PLAIN else ("id", id(c))
