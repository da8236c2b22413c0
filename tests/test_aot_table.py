"""The table over all operators, compiled ahead of time for GPUs that need not be present.

Each operator runs its declared samples, the same with sizes as on a GPU, and the cases of `REAL`,
on arrays without memory. Of every kernel that it launches: no spills, shared memory within the
target's limit, tensor-core instructions in tiled products of 16-bit floats, bulk copies where
tensor descriptors read, 16-byte loads where elementwise operators and copies get dense arrays.
"""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import proofs
import pytest
from real_sizes import REAL

import tritorch as torch
from tritorch import testing
from tritorch.device import device
from tritorch.op import Op
from tritorch.ops.elementwise import Elementwise
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, AotRuntime, Facts
from tritorch.runtime.array import Array
from tritorch.runtime.kernel import specialize
from tritorch.runtime.launch import launch
from tritorch.runtime.memory import Memory
from tritorch.tensor import Tensor, wrap

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(
        memory.interpreted() or importlib.util.find_spec("triton") is None,
        reason="needs triton, not interpreted",
    ),
]
OPERATORS = [op for op in testing.operators() if not op.is_view and op.triton is not None]
DTYPES = (torch.float32, torch.bfloat16)
TENSOR_CORES = {
    "sm_80": "HMMA",
    "sm_90": "HGMMA",
    "sm_100": "UTCHMMA",
    "sm_120": "HMMA",
    "gfx942": "MFMA",
}
BULK = ("matmul_persistent_kernel",)  # kernels that the engine for bulk copies reads and writes for
# Operators that move dense arrays, elementwise ones aside.
DENSE = ("cat", "copy")
FACTORS = {0: 1, 1: 4096, 2: 1024, 3: 64}  # what sizes are multiplied by, by number of dimensions
ANGLES = 40  # bytes in which CUDA's library reduces large angles
GPU = device("cuda", 0)


class Compiled(NamedTuple):
    """One kernel that was launched: what the compiler made of it, and the constants given."""

    facts: Facts
    constants: dict[str, Any]


class TableRuntime(AotRuntime):
    """Its arrays claim to be on "cuda:0"; what was compiled once is remembered.

    `coarse` takes variants for one that differ only in which sizes and strides are 1 or multiples
    of 16.
    """

    known: dict[tuple, Facts] = {}

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.compiled: list[Compiled] = []
        self.coarse = self.dense = False

    def allocate(self, nbytes: int, index: int | None = None) -> Memory:
        return Memory(0, nbytes, GPU)

    def execute(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        special = specialize(
            kernel, args, constants, pointer_range=TARGETS[self.name].warp_size == 64
        )
        kinds = [a.dtype.name if isinstance(a, Array) else type(a) for a in args]
        shape = kinds if self.coarse else special
        key = (self.name, kernel.__name__, repr(shape), repr(constants), warps, stages)
        self.disassembled = self.dense or _rows(kernel.__name__, constants) > 0
        if key not in self.known or self.disassembled > bool(self.known[key].loads):
            super().execute(kernel, grid, args, constants, warps, stages)
            self.known[key] = self.facts[-1]
        else:
            proofs.compiled(self.known[key])
        self.compiled.append(Compiled(self.known[key], constants))


class Call(NamedTuple):
    """A call of an operator: `coarse` as above, `dense` where wide loads and stores are due."""

    args: list
    params: dict
    coarse: bool = False
    dense: bool = False


# -- calls -----------------------------------------------------------------------------------------


def calls(op: Op, dtype: torch.dtype) -> Iterator[Call]:
    if isinstance(op, Elementwise) and "floating" not in op.deny:
        yield from elementwise(op, dtype)
    elif op.name in REAL:
        yield from declared(op, dtype, enlarged=False)
        for args, params in REAL[op.name](Maker(dtype)):
            yield Call(list(args), params)
    else:
        yield from declared(op, dtype)


class Maker:
    """Makes arrays for the cases of `REAL`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, *shape: int) -> Tensor:
        return empty(shape, self.dtype)

    def float32(self, *shape: int) -> Tensor:
        return empty(shape, torch.float32)

    def int32(self, *shape: int) -> Tensor:
        return empty(shape, torch.int32)

    def int64(self, *shape: int) -> Tensor:
        return empty(shape, torch.int64)

    def bool(self, *shape: int) -> Tensor:
        return empty(shape, torch.bool)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return wrap(launch.empty(shape, dtype), dtype)


def elementwise(op: Elementwise, dtype: torch.dtype) -> Iterator[Call]:
    """Dense arrays; for float32 also a size that is prime, and operands that broadcast.

    Of long bodies a thread computes too few elements for wide loads.
    """
    from tritorch.kernels.elementwise import LONG

    like = testing.samples_of(op)[0].tensors(dtype)

    def call(*shapes: Sequence[int], dense: bool = False) -> Call:
        turn = itertools.cycle(shapes)
        made = [empty(next(turn), a.dtype) if isinstance(a, Tensor) else a for a in like]
        return Call(made, {}, dense=dense)

    yield call((1024, 4096), dense=op.name not in LONG)
    if dtype is torch.float32:
        yield call((1000003,))
        yield call((1000, 1000), (1000, 1))


def declared(op: Op, dtype: torch.dtype, enlarged: bool = True) -> Iterator[Call]:
    """The operator's samples in float32, and in both dtypes the same with sizes as on a GPU,
    where its meta rule allows them."""
    for sample in testing.samples_of(op):
        tensors = sample.tensors(dtype)
        if any(isinstance(a, Tensor) and a.is_complex() for a in tensors):
            continue
        params = {k: GPU if k in ("device", "source") else v for k, v in sample.params.items()}
        if dtype is torch.float32:
            yield Call([_like(a, 1) for a in tensors], params, coarse=True)
        factor = FACTORS.get(max((a.ndim for a in tensors if isinstance(a, Tensor)), default=0), 16)
        if not enlarged or factor == 1:
            continue
        big = [_like(a, factor) for a in tensors]
        if not _refused(op, big, params):
            whole = all(a.numel() for a in big if isinstance(a, Tensor))
            dense = op.name in DENSE and whole
            yield Call(big, params, coarse=not dense, dense=dense)


def _like(a: Any, factor: int) -> Any:
    if not isinstance(a, Tensor):
        return a
    return empty([n * factor if n > 1 else n for n in a.shape], a.dtype)


def _refused(op: Op, args: list, params: dict) -> bool:
    """Whether the enlarged sizes contradict the parameters."""
    try:
        op.meta(*args, **params)  # type: ignore[misc]
    except (IndexError, RuntimeError, ValueError):
        return True
    return False


# -- gates -----------------------------------------------------------------------------------------


def problems(call: Call, compiled: Sequence[Compiled]) -> list[str]:
    """What is wrong with the kernels of a call."""
    found = []
    for facts, constants in compiled:
        blocks = {k: v for k, v in constants.items() if isinstance(v, int | str)}
        shown = f" ({facts.kernel} of {facts.signature}, {blocks}, {facts.warps} warps)"
        found += [problem + shown for problem in excused(facts).problems()]
        wanted = TENSOR_CORES[facts.target]
        if _is_tiled_product(facts, constants) and wanted not in facts.dots:
            found.append(f"{facts.target}: no {wanted}, but {facts.dots}{shown}")
        if facts.kernel in BULK and (not facts.bulk or facts.stores):
            found.append(f"{facts.target}: {facts.bulk} copies in bulk, {facts.stores} else{shown}")
    if call.dense and compiled and all(a.itemsize > 1 for a in call.args if isinstance(a, Tensor)):
        widest = max(f.widest_load or f.widest_store for f, _ in compiled)
        if widest < 128:
            found.append(f"dense arrays are moved {widest} bits at once{shown}")
    return found


def excused(facts: Facts) -> Facts:
    """The facts without a stack that is no spill: that of the reduction of large angles."""
    angles = facts.operator in ("sin", "cos", "tan") and facts.stack <= ANGLES
    return replace(facts, stack=0) if angles else facts


def _is_tiled_product(facts: Facts, constants: dict) -> bool:
    """Whether this multiplies tiles of 16-bit floats of at least 64 rows."""
    narrow = facts.signature.startswith(("*bf16", "*fp16"))
    return narrow and _rows(facts.kernel, constants) >= 64


def _rows(kernel: str, constants: dict) -> int:
    """The rows of the tiles that a kernel multiplies, 0 where it does not."""
    if not {"BM", "BN"} <= constants.keys() or not {"BK", "BD"} & constants.keys():
        return 0
    return constants["BN" if kernel.endswith("keys_backward_kernel") else "BM"]


def check(op: Op, target: str, dtypes: Sequence[torch.dtype] = DTYPES) -> None:
    found: dict[str, None] = {}
    with launch.using(TableRuntime(target)) as runtime, warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in filter(partial(testing.serves, op), dtypes):
            for call in calls(op, dtype):
                runtime.compiled.clear()
                runtime.coarse, runtime.dense = call.coarse, call.dense
                try:
                    with torch.no_grad():
                        op(*call.args, **call.params)
                except UserWarning as warning:
                    found[str(warning)] = None
                found |= dict.fromkeys(problems(call, runtime.compiled))
    assert not found, "\n".join(found)


# The operators that the default run compiles, for these targets; all of it with -m "aot and slow".
SAMPLE = {"add", "softmax", "sum", "layer_norm", "linear"}
SAMPLE_TARGETS = {"sm_90", "gfx942"}
cases = [
    pytest.param(
        op,
        target,
        id=f"{op.name}-{target}",
        marks=() if op.name in SAMPLE and target in SAMPLE_TARGETS else pytest.mark.slow,
    )
    for op in OPERATORS
    for target in TARGETS
]


@pytest.mark.parametrize(("op", "target"), cases)
def test_compiles_without_spills(op: Op, target: str) -> None:
    check(op, target)


def test_every_operator_of_the_sample_exists() -> None:
    assert SAMPLE | REAL.keys() <= {op.name for op in OPERATORS}
