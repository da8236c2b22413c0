"""The runtime: arrays, device memory, and the launch of kernels on each executor.

The executors run where they can: ahead of time everywhere, the interpreter in a process of its own
(`TRITORCH_EXECUTOR=interpreter pytest -m interpreter`), CUDA against a driver without a GPU
(`fake_cuda.c`) everywhere, and on a GPU with `pytest -m gpu`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tritorch import dtypes
from tritorch.dtypes import bfloat16, float16, float32, float64, int64
from tritorch.runtime import array as arrays, memory
from tritorch.runtime.aot import (
    TARGETS,
    amdgcn_facts,
    amdgcn_names,
    compile_for,
    sass_facts,
    sass_names,
)
from tritorch.runtime.array import Array, contiguous_strides
from tritorch.runtime.interpreter import HostMemory, host_view
from tritorch.runtime.launch import LaunchError, current_operator, launch, operator
from tritorch.runtime.memory import META, MetaMemory, OutOfMemoryError, Target, meta

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

HERE = Path(__file__).parent
compiles = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets in this process")


def interpreter(test: Any) -> Any:
    skip = pytest.mark.skipif(
        not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
    )
    return pytest.mark.interpreter(skip(test))


def gpu(test: Any) -> Any:
    absent = memory.interpreted() or not memory.available()
    return pytest.mark.gpu(pytest.mark.skipif(absent, reason="no CUDA device")(test))


@triton.jit
def add_kernel(p_out, p_x, p_y, n, alpha, BLOCK: tl.constexpr):  # all (n,)
    o_n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m_n = o_n < n
    b_x = tl.load(p_x + o_n, mask=m_n, other=0).to(tl.float32)
    b_y = tl.load(p_y + o_n, mask=m_n, other=0).to(tl.float32)
    tl.store(p_out + o_n, b_x + alpha * b_y, mask=m_n)


@triton.jit
def stride_kernel(p_out, p_x, s_x, n, flag, BLOCK: tl.constexpr):  # out (n,), x (n,) by s_x
    total = 0.0
    for start in range(0, n, BLOCK):
        o_n = start + tl.arange(0, BLOCK)
        m_n = o_n < n
        b_x = tl.load(p_x + o_n * s_x, mask=m_n, other=0)
        total += tl.sum(b_x)
        tl.store(p_out + o_n, b_x, mask=m_n)
    if flag:
        tl.store(p_out, total)


@triton.jit
def dot_kernel(p_out, p_x, p_y, n, BLOCK: tl.constexpr):  # all (n, n), n a multiple of BLOCK
    o_m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    o_k = tl.arange(0, BLOCK)
    b_sum = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, n, BLOCK):
        b_x = tl.load(p_x + o_m[:, None] * n + start + o_k[None, :])
        b_y = tl.load(p_y + (start + o_k[:, None]) * n + o_n[None, :])
        b_sum = tl.dot(b_x, b_y, b_sum, input_precision="ieee")
    tl.store(p_out + o_m[:, None] * n + o_n[None, :], b_sum)


@triton.jit
def block_kernel(p_out, p_x, m, n, BLOCK: tl.constexpr):  # out and x (m, n), by descriptors
    d_x = tl.make_tensor_descriptor(p_x, [m, n], [n, 1], [BLOCK, BLOCK])
    d_out = tl.make_tensor_descriptor(p_out, [m, n], [n, 1], [BLOCK, BLOCK])
    o_m = tl.program_id(0) * BLOCK
    for o_n in range(0, n, BLOCK):
        d_out.store([o_m, o_n], d_x.load([o_m, o_n]))


@triton.jit
def double_kernel(p_out, alpha):  # out ()
    tl.store(p_out, alpha)


@triton.jit
def careless_kernel(p_out, n, BLOCK: tl.constexpr):  # out (n,), without its mask
    tl.store(p_out + tl.arange(0, BLOCK), 1.0)


def on_host(values: np.ndarray) -> Array:
    """An array in host memory, without triton."""
    values = np.ascontiguousarray(values)
    dtype = dtypes.of(values.dtype)
    block = HostMemory(values.nbytes, META)
    out = Array(block, 0, values.shape, contiguous_strides(values.shape), dtype)
    host_view(out)[...] = values
    return out


# -- arrays ----------------------------------------------------------------------------------------

CUBE = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
VIEWS = {
    "element": lambda x: x[1, 2, 3],
    "negative": lambda x: x[-1],
    "slices": lambda x: x[1:, ::2, 1:4],
    "backwards": lambda x: x[::-1, :, ::-2],
    "empty": lambda x: x[3:],
    "none": lambda x: x[None, ..., None, 0],
    "ellipsis": lambda x: x[..., 2],
    "transpose": lambda x: x.transpose((2, 0, 1)),
    "reversed": lambda x: x.transpose(),
    "both": lambda x: x.transpose((1, 0, 2))[1:3, ::-1][:, 0],
    "merged": lambda x: x.reshape((12, 5)),
    "split": lambda x: x.reshape((3, 2, 2, 5)),
    "inferred": lambda x: x.reshape((-1, 10)),
    "of a slice": lambda x: x[:, 1:3].reshape((3, 1, 10, 1)),
    "of a transpose": lambda x: x.transpose((2, 0, 1)).reshape((5, 12)),
    "of every second": lambda x: x[::2].reshape((2, 20)),
    "ones": lambda x: x[0, 0, 0].reshape((1, 1, 1)),
    "scalar": lambda x: x[:1, :1, :1].reshape(()),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_views_are_numpys(view: Any) -> None:
    expected, got = view(CUBE), view(on_host(CUBE))
    np.testing.assert_array_equal(host_view(got), expected)
    assert got.shape == expected.shape
    assert got.size == expected.size
    assert got.is_contiguous() == expected.flags.c_contiguous
    assert got.size == 0 or got.ptr == got.memory.ptr + got.offset * 4


def test_broadcasting_has_stride_zero() -> None:
    row = on_host(np.arange(4.0)).broadcast_to((2, 3, 4))
    assert row.strides == (0, 0, 1)
    np.testing.assert_array_equal(host_view(row), np.broadcast_to(np.arange(4.0), (2, 3, 4)))
    assert row.reshape((6, 4)).strides == (0, 1)
    with pytest.raises(ValueError, match=r"\(4,\) does not broadcast to \(2, 3\)"):
        on_host(np.arange(4.0)).broadcast_to((2, 3))


@pytest.mark.parametrize(
    ("view", "shape"),
    [
        (lambda x: x, (7, 9)),
        (lambda x: x.transpose(), (60,)),
        (lambda x: x[:, ::2], (30,)),
        (lambda x: x[:, 1:3], (30,)),
        (lambda x: x[:, None, 0].broadcast_to((3, 2, 5)), (6, 5)),
    ],
)
def test_reshape_refuses_what_needs_a_copy(view: Any, shape: tuple) -> None:
    with pytest.raises(ValueError, match="reshape"):
        view(on_host(CUBE)).reshape(shape)


def test_indices_are_checked() -> None:
    x = on_host(CUBE)
    with pytest.raises(IndexError, match="index 3 is out of bounds for a dimension of size 3"):
        x[3]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0, 0]
    with pytest.raises(ValueError, match="permute"):
        x.transpose((0, 0, 1))


def test_bits_and_spans() -> None:
    x = on_host(np.array([1.0, -2.0], np.float32))
    assert host_view(x.view(dtypes.int32)).tolist() == [0x3F800000, -0x40000000]
    with pytest.raises(ValueError, match="differ in size"):
        x.view(float64)
    y = on_host(CUBE)[1:, ::-1, 1]
    low, high = y.span()
    assert (y.offset + low, y.offset + high) == (21, 57)
    assert on_host(CUBE)[3:].span() == (0, 0)


def test_merged_dimensions() -> None:
    assert arrays.merged((2, 1, 3, 4), (12, 99, 4, 1)) == [(24, 1)]
    assert arrays.merged((2, 3, 4), (0, 4, 1)) == [(2, 0), (12, 1)]
    assert arrays.merged((2, 3), (0, 0)) == [(6, 0)]
    assert arrays.merged((), ()) == []


def test_guard_bands_show_stray_writes() -> None:
    x = on_host(CUBE)
    assert x.memory.ptr % 64 == 0
    assert x.memory.is_intact()
    x.memory.buffer[-1] = 0
    assert not x.memory.is_intact()


# -- the runtime of this process -------------------------------------------------------------------


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    env = {
        k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "TRITORCH_EXECUTOR")
    }
    env |= {"PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_looking_for_a_device_imports_nothing() -> None:
    code = (
        "import sys, tritorch.runtime.launch as l, tritorch.runtime.memory as m; m.available(); "
        "print({'triton', 'cuda', 'torch'} & set(sys.modules))"
    )
    assert run(code).stdout.strip() == "set()"


def test_without_a_device_the_error_says_what_to_do() -> None:
    code = "from tritorch.runtime.memory import available, runtime; print(available()); runtime()"
    done = run(code, CUDA_VISIBLE_DEVICES="")
    assert done.stdout.strip() == "False"
    assert "RuntimeError: tritorch: no CUDA device" in done.stderr
    done = run(code, TRITORCH_EXECUTOR="interpeter")
    assert "expected cuda or interpreter" in done.stderr


def test_the_interpreter_must_come_before_triton() -> None:
    code = "import triton; from tritorch.runtime.memory import runtime; runtime()"
    assert "before triton is imported" in run(code, TRITORCH_EXECUTOR="interpreter").stderr


def test_operators_nest() -> None:
    with operator("outer"):
        with operator("inner"):
            assert current_operator() == "inner"
        assert current_operator() == "outer"
    assert current_operator() == ""


# -- the signature ---------------------------------------------------------------------------------


@compiles
def test_arguments_are_specialised_as_triton_does() -> None:
    from tritorch.runtime.kernel import specialize

    x = meta((8, 8), bfloat16)
    found = specialize(stride_kernel, [x, x[0, 1:], 1, 32, True], {"BLOCK": 16})
    assert list(found.signature.values()) == [
        "*bf16",
        "*bf16",
        "constexpr",
        "i32",
        "u1",
        "constexpr",
    ]
    assert found.constants == {(2,): 1, (5,): 16}
    assert sorted(found.attributes) == [(0,), (3,)]
    big = specialize(add_kernel, [x, x, None, 1 << 40, np.float64(2)], {"BLOCK": 16})
    assert list(big.signature.values()) == [
        "*bf16",
        "*bf16",
        "constexpr",
        "i64",
        "fp64",
        "constexpr",
    ]


@compiles
def test_a_wrong_call_is_explained() -> None:
    x = meta((4,), float32)
    with compile_for("sm_90"), operator("add"):
        with pytest.raises(LaunchError, match=r"^add: kernel add_kernel.*takes 5 arguments"):
            launch(add_kernel, (1,), [x, x], {"BLOCK": 16})
        with pytest.raises(LaunchError, match="BLOCK is missing, BLOK is unknown"):
            launch(add_kernel, (1,), [x, x, x, 4, 1.0], {"BLOK": 16})
        with pytest.raises(LaunchError, match=r"of \(4,\) float32, .*not <class 'list'>"):
            launch(add_kernel, (1,), [x, x, x, [4], 1.0], {"BLOCK": 16})


# -- ahead of time ---------------------------------------------------------------------------------

DOTS = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "sm_120": "HMMA", "gfx942": "MFMA"}


@compiles
@pytest.mark.aot
@pytest.mark.parametrize("target", TARGETS)
def test_facts_of_each_target(target: str) -> None:
    with compile_for(target) as aot, operator("demo"):
        assert launch.target is TARGETS[target]
        x, out = launch.empty((256, 256), bfloat16), launch.zeros((256, 256), float32)
        launch(add_kernel, (4,), [out, out, out, 1 << 16, 0.5], {"BLOCK": 1024})
        launch(add_kernel, (4,), [out, out[0, 1:], out, 999, 0.5], {"BLOCK": 1024})
        launch(dot_kernel, (4, 4), [out, x, x, 256], {"BLOCK": 64})
        launch(add_kernel, (0,), [out, out, out, 0, 0.5], {"BLOCK": 1024})
    wide, narrow, dot = aot.facts
    assert (wide.operator, wide.kernel, wide.target) == ("demo", "add_kernel", target)
    assert wide.widest_load == wide.widest_store == 128
    assert narrow.widest_load == 32
    assert dot.dots.keys() == {DOTS[target]}
    assert dot.shared > 0 < dot.registers
    assert all(not f.problems() and not f.stack and not f.spilled for f in aot.facts)
    assert not wide.dots


@compiles
@pytest.mark.aot
def test_too_much_shared_memory_is_a_problem() -> None:
    x = meta((256, 256), bfloat16)
    with compile_for("sm_120") as aot:
        launch(dot_kernel, (2, 2), [x, x, x, 256], {"BLOCK": 128}, 8, 4)
    assert "shared memory, the limit is 101376" in aot.facts[0].problems()[0]


@compiles
def test_compiling_restores_the_runtime() -> None:
    before = launch._runtime
    with (
        pytest.raises(ValueError, match="'sm_12' is not one of sm_80"),
        compile_for("sm_12"),
    ):
        pass
    with compile_for("sm_90"):
        assert launch.empty((2,), float32).device == META
    assert launch._runtime is before


def test_instructions_are_counted() -> None:
    sass = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E.U16.CONSTANT R4, desc[UR4][R2.64] ;
        /*0030*/               @P1 LDGSTS.E.BYPASS.128 [R3], desc[UR4][R2.64] ;
        /*0040*/              @UP0 UTMALDG.2D [UR4], [UR6] ;
        /*0050*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0060*/                   STG.E desc[UR4][R2.64], R5 ;
        /*0070*/                   LDGDEPBAR ;
        /*0080*/                   NOP ;
    """
    assert len(sass_names(sass)) == 8
    assert sass_facts(sass) == {
        "dots": {"HGMMA": 1},
        "loads": {128: 2, 16: 1},
        "stores": {32: 1},
        "bulk": 1,
    }
    amd = """
    \tglobal_load_dwordx4 v[0:3], v4, s[0:1]
    \tbuffer_load_ushort v0, v1, s[0:3], 0 offen
    \tglobal_store_byte v0, v1, s[0:1]
    \tv_mfma_f32_32x32x8_bf16 a[0:15], v[0:1], v[2:3], a[0:15]
    .private_segment_fixed_size: 16
    .sgpr_spill_count: 1
    .vgpr_count:     90
    .vgpr_spill_count: 2
    """
    assert len(amdgcn_names(amd)) == 4
    found = amdgcn_facts(amd)
    assert found["loads"] == {128: 1, 16: 1}
    assert found["stores"] == {8: 1}
    assert (found["registers"], found["stack"], found["spilled"]) == (90, 16, 2)
    assert found["dots"] == {"MFMA": 1}


# -- the launch cache ------------------------------------------------------------------------------


class Device:
    """Stands for a GPU: notes what it is asked to do."""

    stream = "stream"

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.configs = 0
        self.submitted: list[tuple] = []

    def target(self) -> Target:
        return TARGETS["sm_90"]

    def load(self, cubin: bytes, name: str, shared: int) -> str:
        assert cubin[:4] == b"\x7fELF"
        self.loaded.append(name)
        return f"{name}:{len(self.loaded)}"

    def config(self, grid: tuple, threads: int, shared: int) -> tuple:
        self.configs += 1
        return grid, threads

    def submit(self, stream: str, config: tuple, kernel: str, *parameters: Any) -> None:
        assert stream == "stream"
        self.submitted.append((config, kernel, parameters))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    from tritorch.runtime.compiled import Executor

    found = Device()
    monkeypatch.setattr(launch, "_executor", Executor(found, found.submit))
    return found


def at(offset: int, n: int = 64, dtype: Any = float32) -> Array:
    """An array whose address is `offset` bytes behind a multiple of 16."""
    block = MetaMemory()
    block.ptr = 0x1000 + offset
    return Array(block, 0, (n,), (1,), dtype)


@compiles
def test_a_launch_is_compiled_once(device: Device) -> None:
    x, constants = at(0), {"BLOCK": 64}
    for n in (32, 64, 128):
        launch(add_kernel, (n, 1), [x, x, x, n, 0.5], constants)
    assert device.loaded == ["add_kernel"]
    assert device.configs == 3
    config, kernel, parameters = device.submitted[1]
    assert config == ((64, 1, 1), 128)
    assert kernel == "add_kernel:1"
    # two pointers to scratch memory follow the kernel's own parameters
    assert parameters == (0x1000, 0x1000, 0x1000, 64, np.float32(0.5), 0, 0)
    assert parameters[4].dtype == np.float32


@compiles
def test_what_changes_the_code_changes_the_kernel(device: Device) -> None:
    x, one = at(0), {"BLOCK": 64}
    launches = [
        ([x, x, x, 32, 0.5], one, 4, 3),
        ([x, x, at(4), 32, 0.5], one, 4, 3),  # alignment
        ([x, x, x, 33, 0.5], one, 4, 3),  # divisibility
        ([x, x, x, 1, 0.5], one, 4, 3),  # one
        ([x, x, x, 1 << 40, 0.5], one, 4, 3),  # width
        ([x, x, x, 32, np.float64(0.5)], one, 4, 3),  # precision
        ([x, x, at(0, dtype=float16), 32, 0.5], one, 4, 3),  # dtype
        ([x, x, x, 32, 0.5], {"BLOCK": 128}, 4, 3),  # constant
        ([x, x, x, 32, 0.5], one, 8, 3),  # warps
        ([x, x, x, 32, 0.5], one, 4, 2),  # stages
    ]
    for again in range(2):
        for args, constants, warps, stages in launches:
            launch(add_kernel, (1,), args, constants, warps, stages)
        assert len(device.loaded) == len(launches), f"round {again}"
    launch(add_kernel, (1,), [x, x, x, np.int64(48), 0.5], one)
    launch(add_kernel, (1,), [x, x, x, np.int32(1), 0.5], one)
    assert len(device.loaded) == len(launches)
    assert device.submitted[3][2][3:5] == (np.float32(0.5), 0)  # the 1 was compiled in
    assert device.submitted[5][2][4] == 0.5
    assert len(device.submitted[-1][2]) == 6


@compiles
def test_constants_are_told_apart(device: Device) -> None:
    from tritorch.runtime.compiled import _address

    assert _address(0.0) != _address(-0.0)
    assert _address(1.0) != 1
    assert _address(np.int64(7)) == 7
    assert _address((1, 2.0)) == _address((1, 2.0)) != _address((1, 2))
    assert _address(tl.float32) == _address(tl.float32) != _address(tl.float16)
    x = at(0)
    launch(stride_kernel, (1,), [x, x, 2, 64, True], {"BLOCK": 16})
    launch(stride_kernel, (1,), [x, x, 2, 64, False], {"BLOCK": 16})
    launch(stride_kernel, (1,), [x, x, 2, 64, np.False_], {"BLOCK": 16})
    assert len(device.loaded) == 1
    with pytest.raises(LaunchError, match="not <class 'list'>"):
        launch(stride_kernel, (1,), [x, x, 2, 64, []], {"BLOCK": 16})


@compiles
def test_grids_are_checked(device: Device) -> None:
    x, constants = at(0), {"BLOCK": 64}
    for grid in ((0,), (4, 0), (1, 1, 0)):
        launch(add_kernel, grid, [x, x, x, 0, 0.5], constants)
    assert not device.submitted
    assert not device.loaded
    for grid in ((1 << 31,), (1, 65536), (1, 1, 65536), (-1,)):
        with operator("add"), pytest.raises(LaunchError, match=r"^add: kernel.*out of range"):
            launch(add_kernel, grid, [x, x, x, 32, 0.5], constants)
    launch(add_kernel, ((1 << 31) - 1, 65535, 65535), [x, x, x, 32, 0.5], constants)
    assert len(device.submitted) == 1


@compiles
def test_too_much_shared_memory_is_refused(device: Device) -> None:
    x = at(0, dtype=float16)
    with pytest.raises(LaunchError, match=r"458752 bytes of shared memory.*smaller blocks"):
        launch(dot_kernel, (2, 2), [x, x, x, 256], {"BLOCK": 128}, 8, 7)
    assert not device.loaded


# -- the interpreter -------------------------------------------------------------------------------


def add(x: np.ndarray, y: np.ndarray, alpha: float, block: int = 32) -> np.ndarray:
    rt = launch.runtime
    n = len(x)
    a, b = (rt.empty((n,), dtypes.of(v.dtype)) for v in (x, y))
    rt.copy_from_host(x, a)
    rt.copy_from_host(y, b)
    out = rt.empty((n,), float32)
    grid = (-(-n // block),)
    launch(add_kernel, grid, [out, a, b, n, alpha], {"BLOCK": block})
    return rt.copy_to_host(out)


DTYPES = [
    np.float32,
    np.float16,
    ml_dtypes.bfloat16,
    np.float64,
    np.int32,
    np.int64,
    np.uint8,
    bool,
]


def check_add(dtype: Any) -> None:
    for n in (0, 1, 31, 32, 100):
        x = (np.arange(n) % 7).astype(dtype)
        expected = x.astype(np.float32) + np.float32(0.1) * x.astype(np.float32)
        np.testing.assert_allclose(add(x, x, 0.1), expected, rtol=1e-6)


def check_arguments() -> None:
    rt = launch.runtime
    x, out = rt.empty((40,), float32), rt.zeros((20,), float32)
    rt.copy_from_host(np.arange(40, dtype=np.float32), x)
    for stride, flag in ((1, False), (2, False), (2, True)):
        launch(stride_kernel, (1,), [out, x, stride, 20, flag], {"BLOCK": 16})
        expected = np.arange(20, dtype=np.float32) * stride
        if flag:
            expected[0] = expected.sum()
        np.testing.assert_array_equal(rt.copy_to_host(out), expected)
    one = rt.empty((), float64)
    for value, expected in ((0.1, np.float64(np.float32(0.1))), (np.float64(0.1), 0.1)):
        launch(double_kernel, (1,), [one, value], {})
        assert rt.copy_to_host(one) == expected


def check_blocks() -> None:
    """Copies by descriptors, whose last blocks reach over both ends."""
    rt = launch.runtime
    values = np.random.default_rng(0).random((70, 88)).astype(np.float16)
    x, out = rt.empty((70, 88), float16), rt.empty((70, 88), float16)
    rt.copy_from_host(values, x)
    launch(block_kernel, (3,), [out, x, 70, 88], {"BLOCK": 32})
    np.testing.assert_array_equal(rt.copy_to_host(out), values)


def check_copies() -> None:
    rt = launch.runtime
    for dtype in dtypes.ALL:
        values = np.arange(24).astype(dtype.np).reshape(4, 6)
        x = rt.empty((4, 6), dtype)
        rt.copy_from_host(values, x)
        np.testing.assert_array_equal(rt.copy_to_host(x), values)
        np.testing.assert_array_equal(rt.copy_to_host(x[::2, 1:].transpose()), values[::2, 1:].T)
    big = np.random.default_rng(0).random(100_000)
    x, y = rt.empty((100_000,), float64), rt.zeros((100_000,), float64)
    rt.copy_from_host(big, x)
    rt.copy(x, y)
    np.testing.assert_array_equal(rt.copy_to_host(y), big)
    grid = rt.zeros((4, 6), float32)
    rt.copy_from_host(np.ones((6, 2), np.float32), grid[1:3].transpose())
    assert rt.copy_to_host(grid).sum(axis=1).tolist() == [0, 6, 6, 0]
    rt.fill(grid, 0xFF)
    assert np.isnan(rt.copy_to_host(grid)).all()
    nothing = rt.empty((0, 3), float32)
    assert rt.copy_to_host(nothing).shape == (0, 3)
    rt.copy_from_host(np.empty((0, 3), np.float32), nothing)
    scalar = rt.empty((), int64)
    rt.copy_from_host(np.array(7), scalar)
    assert rt.copy_to_host(scalar) == 7


@interpreter
@pytest.mark.parametrize("dtype", DTYPES)
def test_interpreted_kernels(dtype: Any) -> None:
    check_add(dtype)


@interpreter
def test_interpreted_arguments() -> None:
    check_arguments()


@interpreter
def test_interpreted_copies() -> None:
    check_copies()


@interpreter
def test_interpreted_dot() -> None:
    rt = launch.runtime
    x = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    a, out = rt.empty((32, 32), float32), rt.empty((32, 32), float32)
    rt.copy_from_host(x, a)
    before = rt.launches.get("dot_kernel", 0)
    launch(dot_kernel, (2, 2), [out, a, a, 32], {"BLOCK": 16})
    np.testing.assert_allclose(rt.copy_to_host(out), x @ x, rtol=1e-5)
    assert rt.launches["dot_kernel"] == before + 1


@interpreter
def test_interpreted_descriptors() -> None:
    check_blocks()


@interpreter
def test_unwritten_and_stray_memory_shows() -> None:
    out = launch.empty((10,), float32)
    assert np.isnan(launch.runtime.copy_to_host(out)).all()
    assert launch.target.interpreted
    with (
        operator("fill"),
        pytest.raises(LaunchError, match=r"^fill: .* wrote out of bounds of p_out"),
    ):
        launch(careless_kernel, (1,), [out, 10], {"BLOCK": 16})


@interpreter
def test_an_interpreted_kernel_cannot_be_compiled() -> None:
    x = meta((4,), float32)
    with compile_for("sm_90"), pytest.raises(LaunchError, match="unset TRITON_INTERPRET"):
        launch(add_kernel, (1,), [x, x, x, 4, 1.0], {"BLOCK": 16})


# -- CUDA without a GPU ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler")
    pytest.importorskip("cuda.core")
    folder = tmp_path_factory.mktemp("driver")
    source, target = str(HERE / "fake_cuda.c"), str(folder / "libcuda.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", target, source, "-ldl"], check=True)
    return folder


@compiles
@pytest.mark.parametrize(
    "environment",
    [{}, {"FAKE_CUDA_DEVICES": "2"}, {"CUDA_LAUNCH_BLOCKING": "1"}, {"TRITORCH_POISON": "1"}],
    ids=lambda e: next(iter(e), "plain"),
)
def test_cuda_without_a_gpu(fake_driver: Path, environment: dict[str, str]) -> None:
    env = {**os.environ, "LD_LIBRARY_PATH": str(fake_driver), **environment}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *sys.path])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", ""]
    done = subprocess.run(
        [*command, str(HERE / "fake_cuda_checks.py")], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr


WARMED = """
import os, sys, tritorch as torch
cache = os.environ["TRITON_CACHE_DIR"]
before = set(os.listdir(cache))
torch.empty(1 << 14, device="cuda").exp()
torch.empty(16, 1024, device="cuda").softmax(-1)
torch.empty(1 << 14, device="cuda").sin()
sys.exit(len(set(os.listdir(cache)) - before))
"""


@compiles
def test_what_was_compiled_ahead_of_time_is_not_compiled_again(
    fake_driver: Path, tmp_path: Path
) -> None:
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *sys.path])
    options = ["--target", "sm_90", "--dtype", "float32", "--only", "^(exp|softmax)$"]
    warm = subprocess.run(
        [sys.executable, "-m", "tritorch.kernels", "warm", *options],
        capture_output=True, text=True, env=env,
    )  # fmt: skip
    assert warm.returncode == 0, warm.stderr
    assert "kernels for sm_90 (H100, H200)" in warm.stdout and "0/8" in warm.stderr
    env |= {"LD_LIBRARY_PATH": str(fake_driver), "TRITORCH_CACHE": str(tmp_path)}
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "fake-h200.json").write_text("{")
    done = subprocess.run([sys.executable, "-c", WARMED], capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stderr  # the sine alone
    assert "fake-h200.json is ignored" in done.stderr


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--target", "sm_77"], 2, "'sm_77' is not one of sm_80"),
        (["--target", "sm_90", "--only", "("], 2, "'(' is no regular expression"),
        (["--target", "sm_90", "--only", "nothing"], 2, "finds no operator"),
        (["--target", "sm_90", "--only", "^exp$"], 130, "what is compiled is kept"),
    ],
)
def test_warm_says_what_is_wrong(
    options: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    from tritorch.perf import warm

    monkeypatch.setattr(warm, "_step", interrupted)
    assert warm.main(["warm", *options]) == code
    assert said in capsys.readouterr().err


TABLE = """
import os, sys, tritorch as torch
from test_device_table import calls, cases
before = set(os.listdir(os.environ["TRITON_CACHE_DIR"]))
with torch.no_grad():
    for op, dtype, layout in [case.values for case in cases if case.values[0].name == "where"]:
        for _, _, there, params in calls(op, dtype, layout):
            op(*there, **params)
sys.exit(len(set(os.listdir(os.environ["TRITON_CACHE_DIR"])) - before))
"""


@compiles
def test_the_table_of_a_device_is_compiled_by_all_cores(fake_driver: Path, tmp_path: Path) -> None:
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE), *sys.path])
    compiled = subprocess.run(
        [sys.executable, str(HERE / "compile_ahead.py"), "sm_90", "where"],
        capture_output=True, text=True, env=env,
    )  # fmt: skip
    assert compiled.returncode == 0 and not compiled.stderr, compiled.stderr
    assert int(compiled.stdout.split()[0]) > 5
    env |= {"LD_LIBRARY_PATH": str(fake_driver), "TRITORCH_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


# -- a GPU -----------------------------------------------------------------------------------------


@gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_on_a_gpu(dtype: Any) -> None:
    check_add(dtype)


@gpu
def test_arguments_on_a_gpu() -> None:
    check_arguments()


@gpu
def test_copies_on_a_gpu() -> None:
    check_copies()


@gpu
def test_descriptors_on_a_gpu() -> None:
    if not launch.target.descriptors:
        pytest.skip("no tensor descriptors")
    check_blocks()


@gpu
def test_dot_on_a_gpu() -> None:
    rt = launch.runtime
    x = np.random.default_rng(0).random((512, 512)).astype(np.float16)
    a, out = rt.empty((512, 512), float16), rt.empty((512, 512), float32)
    rt.copy_from_host(x, a)
    # more shared memory than a kernel may use without asking
    launch(dot_kernel, (8, 8), [out, a, a, 512], {"BLOCK": 64}, 4, 4)
    expected = x.astype(np.float32) @ x.astype(np.float32)
    np.testing.assert_allclose(rt.copy_to_host(out), expected, rtol=1e-3)


@gpu
def test_running_out_of_memory_on_a_gpu() -> None:
    device = launch.runtime.device()
    total = device.memory_info()[1]
    with operator("demo"), pytest.raises(OutOfMemoryError, match=r"^demo: CUDA out of memory"):
        launch.empty((2 * total,), dtypes.uint8)
    before = device.memory_stats()["allocated"]
    x = launch.zeros((1 << 20,), float32)
    assert device.memory_stats()["allocated"] >= before + x.nbytes
    del x
    device.trim()
    assert device.memory_stats()["allocated"] == before


@gpu
def test_streams_threads_and_events_on_a_gpu() -> None:
    rt = launch.runtime
    device = rt.device()
    side, x = device.new_stream(), launch.zeros((1 << 22,), float32)
    before, after = device.new_event(timing=True), device.new_event(timing=True)
    side.wait(device.stream)
    with device.use_stream(side):
        side.record(before)
        launch(add_kernel, (1 << 12,), [x, x, x, 1 << 22, 1.0], {"BLOCK": 1024})
        side.record(after)
        x.memory.record_stream(side)
    device.stream.wait(side)
    after.sync()
    assert after - before > 0
    seen = []
    thread = threading.Thread(target=lambda: seen.append(rt.copy_to_host(x).sum()))
    thread.start()
    thread.join()
    assert seen == [0]
    rt.synchronize()


@gpu
def test_tritons_own_launch_on_a_gpu() -> None:
    rt = launch.runtime
    x, out = rt.empty((100,), float32), rt.empty((100,), float32)
    rt.copy_from_host(np.ones(100, np.float32), x)
    add_kernel[(4,)](out, x, x, 100, 2.0, BLOCK=32)
    assert rt.copy_to_host(out).tolist() == [3] * 100
    assert triton.runtime.driver.active.get_benchmarker()(lambda: None) >= 0


@gpu
def test_a_failing_kernel_is_named_on_a_gpu() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_runtime as t\n"
        "from tritorch.runtime.launch import launch, operator\n"
        "x = launch.zeros((4096,), t.float32); n = 1 << 30  # far behind the end of x\n"
        "with operator('demo'):\n"
        "    launch(t.add_kernel, (n // 1024,), [x, x, x, n, 1.0], {'BLOCK': 1024})\n"
    )
    done = run(code, CUDA_LAUNCH_BLOCKING="1")
    assert "LaunchError: demo: kernel add_kernel" in done.stderr
    assert "ILLEGAL_ADDRESS" in done.stderr


@gpu
def test_torch_stays_out_on_a_gpu() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_runtime as t\n"
        "t.check_add('float32'); print('torch' in sys.modules)"
    )
    assert run(code).stdout.strip() == "False"
