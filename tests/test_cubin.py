"""What is read of cubins is what NVIDIA's own tool says of them."""

from __future__ import annotations

import importlib.util
import re
import struct
from pathlib import Path

import pytest

import tritorch as torch
from tritorch.perf.static import Absent
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, _cuobjdump
from tritorch.runtime.cubin import Usage, usage
from tritorch.runtime.launch import launch
from tritorch.tensor import Tensor, wrap

compiles = pytest.mark.skipif(
    memory.interpreted() or importlib.util.find_spec("triton") is None,
    reason="needs triton, not interpreted",
)


class Keeping(Absent):
    """Keeps what was compiled."""

    disassembled = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.cubins: list[bytes] = []
        self.ptx: list[str] = []

    def watch(self, compiled: object) -> None:
        self.cubins.append(compiled.asm["cubin"])  # type: ignore[attr-defined]
        self.ptx.append(compiled.asm["ptx"])  # type: ignore[attr-defined]


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return wrap(launch.empty(shape, dtype), dtype)


def launched(target: str) -> Keeping:
    """A kernel with a stack (in which large angles are reduced), and one without."""
    with launch.using(Keeping(target)) as runtime, torch.no_grad():
        x = empty(4096, dtype=torch.float64)
        x.sin()
        x.exp()
    return runtime


@compiles
@pytest.mark.parametrize("target", [name for name in TARGETS if name.startswith("sm_")])
def test_usage_is_what_cuobjdump_says(target: str, tmp_path: Path) -> None:
    runtime = launched(target)
    assert len(runtime.cubins) >= 2
    for cubin in runtime.cubins:
        file = tmp_path / "kernel.cubin"
        file.write_bytes(cubin)
        said = dict(re.findall(r"(REG|STACK):(\d+)", _cuobjdump("-res-usage", str(file))))
        assert usage(cubin) == Usage(int(said["REG"]), int(said["STACK"]))
    assert any(usage(c).stack for c in runtime.cubins)


@compiles
def test_kernels_of_which_a_few_registers_spill_are_compiled_with_more() -> None:
    """The gradient of a convolution's weights in float32, of which 8 bytes lay on the stack."""
    with launch.using(Keeping("sm_80")) as runtime:
        weight = empty(16, 8, 3, 3).requires_grad_()
        torch.nn.functional.conv2d(empty(4, 8, 8, 8), weight).sum().backward()
    (facts,) = [f for f in runtime.facts if f.kernel == "conv2d_weight_kernel"]
    assert facts.stack == 0


@compiles
def test_an_array_on_the_stack_is_no_spill() -> None:
    with launch.using(Keeping("sm_90")) as runtime, torch.no_grad():
        empty(4096, dtype=torch.float64).sin()
    (cubin,) = runtime.cubins
    assert usage(cubin).stack and ".maxnreg" not in runtime.ptx[0]


def test_what_is_no_cubin_is_refused() -> None:
    with pytest.raises(ValueError, match="64-bit ELF"):
        usage(b"\x7fELF\x01")
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, 1 << 40)  # sections lie past the end
    struct.pack_into("<HHH", header, 0x3A, 64, 2, 1)
    with pytest.raises(ValueError, match="ends early"):
        usage(bytes(header))
