"""`tritorch.explain`: what the operators of a function would run on a GPU, which need not be there.

The function runs once on arrays without memory; its kernels are compiled for the target.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tritorch
from tritorch.func.functional_call import replaced
from tritorch.op import FALLBACKS
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, Facts
from tritorch.runtime.array import Array
from tritorch.runtime.launch import current_call, launch, operator
from tritorch.tensor import Tensor, wrap

from . import work
from .static import SHEETS, Absent, occupancy


class Kernel(NamedTuple):
    """One launch: where the kernel stands, its grid and constants, the compiler's facts."""

    source: str
    grid: tuple[int, ...]
    constants: dict[str, Any]
    facts: Facts

    @property
    def name(self) -> str:
        return self.facts.kernel


class Call(NamedTuple):
    """One call of an operator: its kernels, and the work that its arrays make necessary.

    `bound` is "memory" or "arithmetic", whichever of bytes and operations takes the device longer
    by its data sheet, and `microseconds` that time: no kernel can be faster.
    """

    operator: str
    kernels: list[Kernel]
    bytes: int
    flops: float
    bound: str
    microseconds: float


class Explanation:
    """`calls` in the order in which they ran, and `on_host`, how often operators had no kernel.

    Printed it is a table.
    """

    def __init__(self, target: str, calls: list[Call], on_host: dict[str, int]) -> None:
        self.target, self.calls, self.on_host = target, calls, on_host

    def __repr__(self) -> str:
        lines = [f"{self.target} ({TARGETS[self.target].name}), by its data sheet"]
        for c in self.calls:
            lines.append(
                f"{c.operator}: {_amount(c.bytes)}B, {_amount(c.flops)}FLOP, "
                f"bound by {c.bound}, at least {c.microseconds:.2f} us"
            )
            for k in c.kernels:
                f, blocks = k.facts, ", ".join(f"{n}={v}" for n, v in _plain(k.constants).items())
                lines += [
                    f"    {k.name}  {k.source}",
                    f"        grid {k.grid}, {blocks}, {f.warps} warps, {f.stages} stages",
                    f"        {f.registers} registers, {f.shared} bytes of shared memory, "
                    f"{f.stack} of stack, occupancy {occupancy(f):.0%}"
                    + "".join(f", {n} {name}" for name, n in f.dots.items()),
                ]
        lines += [f"{name}: on the host, {n} times" for name, n in self.on_host.items()]
        total = sum(c.microseconds for c in self.calls)
        return "\n".join([*lines, f"{len(self.calls)} calls, at least {total:.2f} us"])


def explain(fn: Callable[..., Any], *args: Any, target: str | None = None, **kwargs: Any) -> Any:
    """What `fn(*args, **kwargs)` runs on a GPU: for each operator its kernels and their bounds.

    `fn` is a function, or a module, whose parameters then count as arguments. Tensors among the
    arguments, also in lists, tuples and dictionaries, are replaced by ones on "cuda" that have
    shape, strides and dtype, and no elements: nothing is computed, and what is read back is zero.
    `target` names the device, "sm_80", "sm_90", "sm_100", "sm_120" or "gfx942"; by default the
    present one, or "sm_90". Kernels are compiled for it ahead of time, so no GPU is needed.

    For each operator it says bytes (each array once), additions and multiplications, which of the
    two bounds it on the figures of the device's data sheet, and for each kernel its source, grid,
    configuration, registers and shared memory. ValueError for an unknown target, RuntimeError where
    kernels are interpreted.

    Example:
        >>> import tritorch as torch
        >>> found = torch.explain(lambda x: x.exp(), torch.ones(1 << 20), target="sm_90")
        >>> call = found.calls[0]
        >>> call.operator, call.bytes, call.flops, call.bound
        ('exp', 8388608, 1048576.0, 'memory')
        >>> call.kernels[0].facts.stack
        0
    """
    name = _present() if target is None else target
    if name not in TARGETS:
        raise ValueError(f"explain: target {name!r} is not one of {', '.join(TARGETS)}")
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise RuntimeError("explain: interpreted kernels are not compiled; unset TRITON_INTERPRET")
    before = Counter(FALLBACKS)
    with (
        launch.using(Watched(name)) as runtime,
        contextlib.ExitStack() as modules,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*it runs on the host")
        given = _absent((fn, args, kwargs), modules, {})
        try:
            given[0](*given[1], **given[2])
        except RuntimeError as error:
            if "same device" in str(error):
                error.add_note("explain: give modules and tensors that fn captures as arguments")
            raise
    on_host = dict(FALLBACKS - before)
    FALLBACKS.clear()
    FALLBACKS.update(before)
    return Explanation(name, list(runtime.explained()), on_host)


def _present() -> str:
    """The target that is the current device, where it is one of those."""
    if memory.available() and not memory.interpreted():
        target = launch.target
        for name, known in TARGETS.items():
            if (known.backend, known.arch) == (target.backend, target.arch):
                return name
    return "sm_90"


class Watched(Absent):
    """Notes of which call of an operator each kernel is; what is read of its arrays is zero."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.launched: list[tuple[operator, Any, dict, list]] = []

    def execute(
        self, kernel: Any, grid: tuple, args: Any, constants: dict, warps: int, stages: int
    ) -> None:
        super().execute(kernel, grid, args, constants, warps, stages)
        arrays = [a for a in args if isinstance(a, Array)]
        self.launched.append((current_call(), kernel, constants, arrays))

    def copy_to_host(self, array: Array) -> np.ndarray:
        return np.zeros(array.shape, array.dtype.np)

    def explained(self) -> Iterator[Call]:
        """The calls, of the launches that follow each other in one block of an operator."""
        kernels: list[Kernel] = []
        for i, (block, kernel, constants, arrays) in enumerate(self.launched):
            grid, facts = self.grids[i], self.facts[i]
            kernels.append(Kernel(_source(kernel), grid, constants, facts))
            last = i + 1 == len(self.launched) or self.launched[i + 1][0] is not block
            if last or not block.name:
                outs, inputs, params = block.call or (arrays[:1], arrays[1:], {})
                yield _call(block.name or kernel.__name__, kernels, outs, inputs, params)
                kernels = []


def _call(name: str, kernels: list[Kernel], outs: Any, inputs: Any, params: dict) -> Call:
    outs = [a for a in outs if isinstance(a, Array)]
    nbytes = work.moved(name, outs, inputs)
    flops = work.operations(name, outs, inputs, params)
    facts = [k.facts for k in kernels]
    sheet, target = SHEETS[facts[0].target], TARGETS[facts[0].target]
    seconds = nbytes / sheet.bytes, flops / _rate(facts, inputs, target.backend)
    bound = "memory" if seconds[0] >= seconds[1] else "arithmetic"
    return Call(name, kernels, nbytes, flops, bound, max(seconds) * 1e6)


def _rate(facts: list[Facts], inputs: Any, backend: str) -> float:
    """Operations a second: those of tensor cores where the kernels use them."""
    sheet = SHEETS[facts[0].target]
    widest = max((a.itemsize for a in inputs if isinstance(a, Array)), default=4)
    if widest > 4:
        return sheet.single / 2
    if not any(f.dots for f in facts):
        return sheet.single
    narrow = min(a.itemsize for a in inputs if isinstance(a, Array)) == 2
    return sheet.half if narrow else sheet.single if backend == "hip" else sheet.half / 2


def _absent(value: Any, modules: contextlib.ExitStack, known: dict[int, Tensor]) -> Any:
    """The same with tensors that have no memory; modules hold such ones until the stack closes."""
    if isinstance(value, tritorch.nn.Module):
        own = [*value.named_parameters(), *value.named_buffers()]
        given = {n: _absent(t, modules, known) for n, t in own}
        modules.enter_context(replaced(value, given, True, False))
        return value
    if isinstance(value, Tensor):
        if id(value) not in known:
            known[id(value)] = _like(value)
        return known[id(value)]
    if isinstance(value, dict):
        return {k: _absent(v, modules, known) for k, v in value.items()}
    if isinstance(value, list | tuple):
        parts = [_absent(v, modules, known) for v in value]
        plain = type(value) in (list, tuple)
        return type(value)(parts) if plain else type(value)(*parts)
    return value


def _like(t: Tensor) -> Tensor:
    strides = t.stride()
    span = 1 + sum((n - 1) * s for n, s in zip(t.shape, strides, strict=True)) if t.numel() else 0
    flat = launch.runtime.empty((span,), t.dtype)
    out = wrap(flat.strided(tuple(t.shape), strides), t.dtype)
    return out.requires_grad_() if t.requires_grad else out


def _source(kernel: Any) -> str:
    code = kernel.fn.__code__
    path = os.path.relpath(inspect.getsourcefile(code) or code.co_filename)
    return f"{path}:{code.co_firstlineno}"


def _plain(constants: dict) -> dict:
    return {k: v for k, v in constants.items() if isinstance(v, int | float | str)}


def _amount(n: float) -> str:
    """`1.5 M` of 1500000."""
    for letter, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= unit:
            return f"{n / unit:.1f} {letter}"
    return f"{n:.0f} "
