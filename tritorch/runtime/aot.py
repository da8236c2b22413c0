"""Kernels compiled ahead of time for a GPU that need not be present, and facts about the result.

    with compile_for("sm_90") as aot:
        softmax.forward(launch, meta((8, 512), float32), meta((8, 512), float32), dim=1)
    aot.facts[0].registers, aot.facts[0].problems()

Inside the block `launch` compiles what it is asked to run, for pointers that are multiples of 16
(plus the offset of a view), and runs nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .array import Array
from .cubin import usage
from .kernel import check_grid, compile_kernel, specialize
from .launch import current_operator, launch
from .memory import Memory, MetaMemory, Runtime, Target, meta

__all__ = ["TARGETS", "AotRuntime", "Facts", "compile_for", "meta"]

TARGETS = {
    "sm_80": Target("cuda", 80, 108, 163 * 1024, name="A100"),
    "sm_90": Target("cuda", 90, 132, 227 * 1024, name="H100, H200"),
    "sm_100": Target("cuda", 100, 148, 227 * 1024, name="B200"),
    "sm_120": Target("cuda", 120, 188, 99 * 1024, name="RTX PRO 6000"),
    "gfx942": Target("hip", "gfx942", 304, 64 * 1024, name="MI300X"),
}
FORMAT = 2  # of the facts on disk


@dataclass(frozen=True)
class Facts:
    """What the compiler made of one launch.

    `stack` counts bytes a thread, which is where spilled registers go; `spilled` AMD's vector
    registers (scalar ones go to lanes of those, not to memory). `dots` counts tensor-core
    instructions by family ("HGMMA", "HMMA", "UTCHMMA", "MFMA" ...), `loads` and `stores` those of
    global memory by their width in bits, `bulk` those of the bulk copy engine.
    """

    operator: str
    kernel: str
    target: str
    signature: str
    warps: int
    stages: int
    registers: int
    stack: int
    spilled: int
    shared: int
    dots: dict[str, int] = field(default_factory=dict)
    loads: dict[int, int] = field(default_factory=dict)
    stores: dict[int, int] = field(default_factory=dict)
    bulk: int = 0
    hash: str = ""

    @property
    def widest_load(self) -> int:
        """In bits; 0 where nothing is loaded by a plain or asynchronous load."""
        return max(self.loads, default=0)

    @property
    def widest_store(self) -> int:
        return max(self.stores, default=0)

    def problems(self) -> list[str]:
        """What makes the kernel unfit for its target: spills, or too much shared memory."""
        out = []
        limit = TARGETS[self.target].shared_memory
        if self.stack or self.spilled:
            out.append(f"spills: {self.stack} bytes of stack, {self.spilled} registers")
        if self.shared > limit:
            out.append(f"{self.shared} bytes of shared memory, the limit is {limit}")
        return [f"{self.operator or self.kernel} on {self.target}: {p}" for p in out]


class AotRuntime(Runtime):
    """Compiles for one target; its memory holds nothing.

    `disassembled` says whether the facts count instructions, which for NVIDIA's targets costs more
    than to compile; without, `dots`, `loads` and `stores` are empty.
    """

    disassembled = True

    def __init__(self, name: str) -> None:
        if name not in TARGETS:
            raise ValueError(f"compile_for: {name!r} is not one of {', '.join(TARGETS)}")
        self.name = name
        self.facts: list[Facts] = []

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, index: int) -> None:
        pass

    def target(self, index: int | None = None) -> Target:
        return TARGETS[self.name]

    def allocate(self, nbytes: int, index: int | None = None) -> Memory:
        return MetaMemory(nbytes)

    def fill(self, array: Array, byte: int) -> None:
        pass

    def copy_to_host(self, array: Array) -> np.ndarray:
        raise RuntimeError("compile_for: an array without memory has no elements to copy")

    def copy_from_host(self, source: np.ndarray, target: Array) -> None:
        pass

    def copy(self, source: Array, target: Array) -> None:
        pass

    def synchronize(self, index: int | None = None) -> None:
        pass

    def execute(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        check_grid(grid)
        target = self.target()
        special = specialize(kernel, args, constants, pointer_range=target.backend == "hip")
        compiled = compile_kernel(kernel, special, target, warps, stages)
        self.watch(compiled)
        found = _facts_of(compiled, self.disassembled)
        signature = ", ".join(str(s) for s in compiled.src.signature.values() if s != "constexpr")
        self.facts.append(
            Facts(current_operator(), kernel.__name__, self.name, signature, warps, stages, **found)
        )

    def watch(self, compiled: Any) -> None:
        """Called with what Triton compiled for each launch, before its facts are taken."""


@contextmanager
def compile_for(name: str) -> Iterator[AotRuntime]:
    """A block in which `launch` compiles for the target of this name and records `facts`."""
    with launch.using(AotRuntime(name)) as runtime:
        yield runtime


# -- facts -----------------------------------------------------------------------------------------


def _facts_of(compiled: Any, disassembled: bool = True) -> dict[str, Any]:
    """Registers, stack, shared memory and instructions; kept beside Triton's compiled kernel."""
    from triton.runtime.cache import get_cache_manager

    amd = "amdgcn" in compiled.asm
    what = "facts" if disassembled or amd else "usage"
    cache, file = get_cache_manager(compiled.hash), f"{what}-{FORMAT}.json"
    path = cache.get_file(file)
    if path is not None:
        kept = json.loads(Path(path).read_text())
    else:
        kept = _amd_facts(compiled) if amd else _nvidia_facts(compiled, disassembled)
        kept |= {"shared": compiled.metadata.shared, "hash": compiled.hash}
        cache.put(json.dumps(kept), file, binary=False)
    for name in ("loads", "stores"):
        kept[name] = {int(bits): n for bits, n in kept[name].items()}
    return kept


def instructions(compiled: Any) -> int:
    """How many instructions a compiled kernel has; kept beside it, as the facts are."""
    from triton.runtime.cache import get_cache_manager

    cache, file = get_cache_manager(compiled.hash), f"instructions-{FORMAT}.json"
    path = cache.get_file(file)
    if path is not None:
        return json.loads(Path(path).read_text())
    amd = compiled.asm.get("amdgcn")
    names = amdgcn_names(amd) if amd else sass_names(_disassembled(compiled))
    count = len(names)
    cache.put(json.dumps(count), file, binary=False)
    return count


def _nvidia_facts(compiled: Any, disassembled: bool) -> dict[str, Any]:
    sass = _disassembled(compiled) if disassembled else ""
    return {**usage(compiled.asm["cubin"])._asdict(), "spilled": 0, **sass_facts(sass)}


def _disassembled(compiled: Any) -> str:
    """A kernel in NVIDIA's assembly."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        return _cuobjdump("-sass", str(cubin))


def _cuobjdump(*args: str) -> str:
    import triton

    shipped = Path(triton.__file__ or "").parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    tool = os.environ.get("TRITON_CUOBJDUMP_PATH", str(shipped))
    return subprocess.run([tool, *args], capture_output=True, text=True, check=True).stdout


def sass_names(sass: str) -> list[str]:
    """The instructions in NVIDIA's assembly, with their suffixes; without what fills it up."""
    line = r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]+)"
    return [name for name in re.findall(line, sass, re.M) if name != "NOP"]


def amdgcn_names(text: str) -> list[str]:
    """The instructions in AMD's assembly."""
    return re.findall(r"^\s+((?:[vs]|ds|global|buffer|flat|scratch)_\w+)", text, re.M)


def sass_facts(sass: str) -> dict[str, Any]:
    """Counts of tensor-core, load and store instructions in NVIDIA's assembly."""
    dots: Counter[str] = Counter()
    widths = {"LDG": Counter(), "STG": Counter()}
    bulk = 0
    for name in sass_names(sass):
        family, *suffixes = name.split(".")
        if family.endswith("MMA"):
            dots[family] += 1
        elif family in ("LDG", "LDGSTS", "STG"):
            widths[family[:3]][_width(suffixes)] += 1
        elif family.startswith(("UTMA", "UBLK")):
            bulk += 1
    return {
        "dots": dict(dots),
        "loads": dict(widths["LDG"]),
        "stores": dict(widths["STG"]),
        "bulk": bulk,
    }


def _width(suffixes: Sequence[str]) -> int:
    for s in suffixes:
        if s in ("256", "128", "64"):
            return int(s)
        if s in ("U8", "S8", "U16", "S16"):
            return int(s[1:])
    return 32


_AMD_WIDTHS = {
    "dwordx4": 128,
    "dwordx3": 96,
    "dwordx2": 64,
    "dword": 32,
    "b128": 128,
    "b96": 96,
    "b64": 64,
    "b32": 32,
}


def _amd_facts(compiled: Any) -> dict[str, Any]:
    return amdgcn_facts(compiled.asm["amdgcn"])


def amdgcn_facts(text: str) -> dict[str, Any]:
    """The same from AMD's assembly, which carries the register counts as metadata."""
    count = {key: int(n) for key, n in re.findall(r"^\s*\.(\w+):\s+(\d+)$", text, re.M)}
    widths = {"load": Counter(), "store": Counter()}
    for kind, width in re.findall(r"^\s+(?:global|buffer|flat)_(load|store)_(\w+)", text, re.M):
        bits = next((b for w, b in _AMD_WIDTHS.items() if width.startswith(w)), 0)
        widths[kind][bits or (8 if "byte" in width else 16)] += 1
    mfma = len(re.findall(r"^\s+v_s?mfmac?_", text, re.M))
    return {
        "registers": count.get("vgpr_count", 0),
        "stack": count.get("private_segment_fixed_size", 0),
        "spilled": count.get("vgpr_spill_count", 0),
        "dots": {"MFMA": mfma} if mfma else {},
        "loads": dict(widths["load"]),
        "stores": dict(widths["store"]),
        "bulk": 0,
    }


def as_row(facts: Facts) -> dict[str, Any]:
    """The facts as plain values, for a table or a JSON file."""
    return asdict(facts)
