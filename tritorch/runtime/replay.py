"""Replays: the launches of an operator's call, kept to be done again without its launcher.

Which kernels a launcher runs, their grids, numbers and scratch memory, follows from its parameters
and from the shapes, strides, dtypes and alignment of its arrays. So the first call of a kind is
recorded; those like it allocate, fill in the addresses and submit, a tenth of the way through
Python. Launchers that ask for anything else (`launch.runtime`, `launch.table`) are not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import dtypes
from ..dtypes import DType
from .array import Array
from .memory import Memory, Target

LIMIT = 1 << 14  # kinds of calls remembered for a device
_RANDOM = frozenset({"seed", "offset"})  # parameters that change with every call, 0 where unused


class Step(NamedTuple):
    """One launch: `params` with the addresses left out, and from which slots they come."""

    config: Any
    handle: Any
    params: list
    addresses: tuple[tuple[int, int, int], ...]  # (place in params, slot, bytes after its start)
    numbers: tuple[tuple[int, int, Callable], ...]  # (place in params, slot, cast)


class Replay(NamedTuple):
    """The steps of a call; `outs` are (shape, strides, dtype, bytes), `scratch` (bytes, zeroed)."""

    steps: tuple[Step, ...]
    outs: tuple[tuple, ...]
    scratch: tuple[tuple[int, bool], ...]
    single: bool
    number: Callable[[Any], Any]

    @property
    def dtype(self) -> DType:
        """Of the first result."""
        return self.outs[0][2]

    def results(self, owner: Any) -> list[Array]:
        """Memory for the results."""
        made = []
        for shape, strides, dtype, nbytes in self.outs:
            memory = owner.allocate(nbytes)
            if owner.poisoned and nbytes:
                owner.fill(memory.ptr, 0xFF, nbytes)
            made.append(Array(memory, 0, shape, strides, dtype))
        return made

    def run(self, owner: Any, outs: Sequence[Array], inputs: Sequence) -> None:
        """The launches again; `inputs` are Arrays, None, or numbers."""
        slots: list[Any] = [a.ptr for a in outs]
        for x in inputs:
            slots.append(x.ptr if x.__class__ is Array else 0 if x is None else self.number(x))
        kept = []
        for nbytes, zeroed in self.scratch:
            memory = owner.allocate(nbytes)
            kept.append(memory)
            slots.append(memory.ptr)
            if zeroed or owner.poisoned:
                owner.fill(memory.ptr, 0 if zeroed else 0xFF, nbytes)
        stream, submit = owner.stream, owner.submit
        for config, handle, params, addresses, numbers in self.steps:
            params = params.copy()
            for at, slot, delta in addresses:
                params[at] = slots[slot] + delta
            for at, slot, cast in numbers:
                params[at] = cast(slots[slot])
            submit(stream, config, handle, *params)


def kind(op: Any, arrays: Sequence, params: dict) -> tuple[Any, tuple] | None:
    """The device of a call and what its launches follow from; None where they are not kept."""
    owner: Any = None
    key: list[Any] = [op, dtypes.get_default_dtype()]
    for a in arrays:
        if a is None:
            key.append(None)
        elif a.__class__ is Array:
            here = getattr(a.memory, "owner", None)
            if owner is None:
                owner = here
            if here is not owner or here is None:
                return None
            key += (a.shape, a.strides, a.dtype, a.ptr & 15)
        else:
            return None
    for k, v in params.items():
        if k in _RANDOM and v != 0:
            return None
        # 1, 1.0 and True are equal, and so are 0.0 and -0.0, but they are not the same parameter
        key += (k, v.__class__, v.hex() if v.__class__ is float else v)  # type: ignore
    if owner is None or owner.replays is None:
        return None
    try:
        hash(found := tuple(key))
    except TypeError:
        return None
    return owner, found


class Slot(Memory):
    """Stands for the memory of one array while launches are recorded."""

    __slots__ = ("index", "owner", "start")

    def __init__(self, index: int, array: Array) -> None:
        super().__init__(array.memory.ptr, array.memory.nbytes, array.memory.device)
        self.index = index
        self.owner = getattr(array.memory, "owner", None)
        self.start = array.ptr


class Recorder:
    """`launch` for a launcher whose launches are to be kept: runs them, and notes what they were.

    `numbers` maps the places of kernel arguments to the slots of Python numbers.
    """

    def __init__(self, launch: Any, owner: Any, numbers: dict[int, int] | None = None) -> None:
        self._launch, self._owner, self._numbers = launch, owner, numbers or {}
        self._steps: list[Step] = []
        self._scratch: list[tuple[int, bool]] = []
        self._kept: list[Array] = []
        self._slots = 0
        self._usable = True

    def standing_for(self, a: Any) -> Any:
        """The array with memory of its own slot; anything else takes a slot as it is."""
        slot, self._slots = self._slots, self._slots + 1
        if a.__class__ is not Array:
            return a
        return Array(Slot(slot, a), a.offset, a.shape, a.strides, a.dtype)

    def replay(
        self, outs: Sequence[Array], single: bool, number: Callable | None = None
    ) -> Replay | None:
        """What was recorded; None where it cannot be done again."""
        if not self._usable:
            return None
        made = tuple([(a.shape, a.strides, a.dtype, a.nbytes) for a in outs])
        return Replay(tuple(self._steps), made, tuple(self._scratch), single, number or _same)

    def __call__(
        self,
        kernel: Any,
        grid: tuple[int, ...],
        args: Sequence[Any],
        constants: dict[str, Any],
        num_warps: int = 4,
        num_stages: int = 3,
    ) -> None:
        if grid.__class__ is tuple and 0 in grid:
            return
        self._launch(kernel, grid, args, constants, num_warps, num_stages)
        executor = self._owner.executor
        entry, params = executor.prepared(kernel, args, constants, num_warps, num_stages)
        places = [*range(len(params))] if entry.select is None else entry.select(range(len(params)))
        casts = dict(entry.casts)
        addresses, numbers = [], []
        for at, i in enumerate(places):
            memory: Any = args[i].memory if args[i].__class__ is Array else None
            if memory.__class__ is Slot:
                addresses.append((at, memory.index, args[i].ptr - memory.start))
            elif memory is not None:
                self._usable = False
            elif i in self._numbers:
                numbers.append((at, self._numbers[i], casts.get(i, _same)))
        for i, cast in entry.casts:
            params[i] = cast(params[i])
        if entry.scratch:
            addresses.append((len(places), self._slots, 0))
            self._scratch.append((math.prod(grid) * entry.scratch, False))
            self._slots += 1
        final = [*(params[i] for i in places), *entry.trailing]
        config = entry.configs[grid]
        self._steps.append(Step(config, entry.handle, final, tuple(addresses), tuple(numbers)))

    # -- what else a launcher may ask for ---------------------------------------------------------

    @property
    def target(self) -> Target:
        return self._launch.target

    def empty(self, shape: Sequence[int], dtype: DType) -> Array:
        return self._noted(self._launch.empty(shape, dtype), False)

    def zeros(self, shape: Sequence[int], dtype: DType) -> Array:
        return self._noted(self._launch.zeros(shape, dtype), True)

    def _noted(self, real: Array, zeroed: bool) -> Array:
        self._kept.append(real)
        self._scratch.append((real.nbytes, zeroed))
        return self.standing_for(real)

    def table(self, values: Sequence[int]) -> Array:
        self._usable = False
        return self._launch.table(values)

    @property
    def runtime(self) -> Any:
        self._usable = False
        return self._launch.runtime


def _same(x: Any) -> Any:
    return x


def keep(owner: Any, key: tuple, replay: Replay | None) -> None:
    """Remember the launches of a kind of call, where they can be done again."""
    if replay is None:
        return
    if len(owner.replays) >= LIMIT:
        owner.replays.clear()
    owner.replays[key] = replay
