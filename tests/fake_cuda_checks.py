"""The CUDA runtime against `fake_cuda.c`: test_runtime.py runs this in processes of their own."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_runtime import add_kernel, block_kernel, check_copies, dot_kernel

import tritorch
from tritorch import cuda
from tritorch.dtypes import float16, float32, uint8
from tritorch.op import REGISTRY, fused, same_as
from tritorch.runtime import cuda_memory, replay
from tritorch.runtime.array import Array
from tritorch.runtime.compiled import scratch_of
from tritorch.runtime.launch import LaunchError, launch, operator
from tritorch.runtime.memory import OutOfMemoryError, available

BLOCKING = os.environ.get("CUDA_LAUNCH_BLOCKING") == "1"
POISONED = os.environ.get("TRITORCH_POISON") == "1"
DEVICES = int(os.environ.get("FAKE_CUDA_DEVICES", "1"))


class Launched(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_uint64),
        ("name", ctypes.c_char * 64),
        ("parameters", ctypes.c_uint64 * 16),
    ]


driver = ctypes.CDLL("libcuda.so.1")
driver.fake_launch.restype = ctypes.POINTER(Launched)


def last() -> Launched:
    return driver.fake_launch(driver.fake_launches() - 1)[0]


@pytest.fixture(autouse=True)
def parameters() -> Iterator[None]:
    """No test notes more parameters of a launch than it asks for: there may be fewer."""
    yield
    driver.fake_parameters(0)


@pytest.fixture
def x() -> Array:
    return launch.zeros((256, 256), float32)


def test_the_device_is_described() -> None:
    rt = launch.runtime
    assert available()
    assert rt.device_count() == DEVICES
    assert (rt.target().backend, rt.target().arch, rt.target().sms) == ("cuda", 90, 132)
    assert launch.target.shared_memory == 232448
    assert not launch.target.interpreted
    assert rt.properties().name == "Fake H200"
    assert rt.properties().total_memory == 1 << 30
    with pytest.raises(RuntimeError, match="cuda:7 does not exist"):
        rt.device(7)


def test_copies() -> None:
    check_copies()


def test_launches_reach_the_driver(x: Array) -> None:
    driver.fake_parameters(7)
    waited = driver.fake_synchronised()
    launch(add_kernel, (64, 2), [x, x, x, 1 << 16, 0.5], {"BLOCK": 1024}, 8)
    seen = last()
    assert seen.name == b"add_kernel"
    assert (tuple(seen.grid), tuple(seen.block), seen.shared) == ((64, 2, 1), (256, 1, 1), 0)
    assert list(seen.parameters[:4]) == [x.ptr, x.ptr, x.ptr, 1 << 16]
    assert np.uint32(seen.parameters[4] & 0xFFFFFFFF).view(np.float32) == 0.5
    assert list(seen.parameters[5:7]) == [0, 0]
    assert seen.stream == int(launch.runtime.device().stream.handle)
    assert (driver.fake_synchronised() > waited) == BLOCKING


def test_large_shared_memory_is_asked_for(x: Array) -> None:
    driver.fake_parameters(4)
    y = launch.empty((256, 256), float16)
    launch(dot_kernel, (4, 4), [x, y, y, 256], {"BLOCK": 64}, 4, 4)
    assert last().shared == driver.fake_dynamic_shared() > 48 * 1024


def test_tritons_own_launch(x: Array) -> None:
    driver.fake_parameters(5)
    add_kernel[(3,)](x, x, x, 100, 0.5, BLOCK=128)
    seen = last()
    assert (seen.name, tuple(seen.grid)) == (b"add_kernel", (3, 1, 1))
    assert list(seen.parameters[:4]) == [x.ptr, x.ptr, x.ptr, 100]


def scratch_of_last(programs: int) -> int:
    """The address of the scratch memory of the last launch, of `block_kernel`."""
    seen = last()
    assert (seen.name, tuple(seen.grid)) == (b"block_kernel", (programs, 1, 1))
    scratch, profile = seen.parameters[4:6]
    assert scratch and scratch % 128 == 0 and not profile
    return scratch


@pytest.mark.parametrize("own", (True, False), ids=("launch", "Triton's"))
def test_descriptors_lie_in_scratch_memory_of_their_launch(x: Array, own: bool) -> None:
    driver.fake_parameters(6)
    device = launch.runtime.device()
    gc.collect()
    device.reset_peak()
    used = device.memory_stats()["allocated"]
    for _ in range(3):
        if own:
            launch(block_kernel, (4,), [x, x, 256, 256], {"BLOCK": 64})
        else:
            block_kernel[(4,)](x, x, 256, 256, BLOCK=64)
        scratch_of_last(4)
        stats = device.memory_stats()
        assert stats["allocated"] == used and stats["peak"] == used + 4 * 2 * 128
    side = device.new_stream()
    with device.use_stream(side):
        launch(block_kernel, (4,), [x, x, 256, 256], {"BLOCK": 64})
    assert scratch_of_last(4) and last().stream == int(side.handle)


def test_scratch_memory_that_nobody_offers_is_refused() -> None:
    metadata = SimpleNamespace(global_scratch_size=1024, global_scratch_align=1024, num_ctas=2)
    with pytest.raises(NotImplementedError, match="multiples of 1024 bytes is not supported"):
        scratch_of(metadata)
    metadata.global_scratch_align = 128
    assert scratch_of(metadata) == 2048
    metadata.profile_scratch_size = 8
    with pytest.raises(NotImplementedError, match="Triton's profiler"):
        scratch_of(metadata)


def test_memory_is_counted_and_returned() -> None:
    device = launch.runtime.device()
    gc.collect()
    before = device.memory_stats()["allocated"]
    block = launch.empty((1 << 20,), uint8)
    assert block.ptr % 512 == 0
    assert device.memory_stats()["allocated"] == before + (1 << 20)
    del block
    assert device.memory_stats()["allocated"] == before
    assert device.memory_stats()["peak"] >= before + (1 << 20)
    device.reset_peak()
    assert device.memory_stats()["peak"] == before
    device.trim()
    assert device.memory_stats()["reserved"] == before
    assert launch.empty((0, 4), float32).ptr == 0


def test_running_out_of_memory_explains_itself(x: Array) -> None:
    trimmed = driver.fake_trimmed()
    big = launch.empty((512, 1 << 20), uint8)
    with operator("demo"), pytest.raises(OutOfMemoryError) as caught:
        launch.empty((600 << 20,), uint8)
    assert driver.fake_trimmed() == trimmed + 1
    message = str(caught.value)
    assert message.startswith(
        "demo: CUDA out of memory on cuda:0: 600.00 MiB were asked for; of 1.00"
    )
    assert "Largest live arrays: (512, 1048576) uint8, 512.00 MiB; (256, 256) float32" in message
    del big
    launch.empty((600 << 20,), uint8)


def test_fresh_memory_is_poisoned_on_request() -> None:
    fresh = launch.runtime.copy_to_host(launch.empty((1000,), float32))
    assert not POISONED or np.isnan(fresh).all()


def test_streams_and_events(x: Array) -> None:
    device = launch.runtime.device()
    side = device.new_stream(priority=-1)
    with device.use_stream(side):
        assert device.stream is side
        launch(add_kernel, (1,), [x, x, x, 64, 0.5], {"BLOCK": 64})
        assert last().stream == int(side.handle)
    assert device.stream is device.main_stream
    first, second = device.new_event(timing=True), device.new_event(timing=True)
    side.record(first)
    side.record(second)
    second.sync()
    assert second - first >= 0


def test_shared_memory_waits_for_the_other_stream() -> None:
    device = launch.runtime.device()
    before, waits = device.memory_stats()["allocated"], driver.fake_waits()
    y = launch.empty((1000,), uint8)
    y.memory.record_stream(device.new_stream())
    del y
    assert driver.fake_waits() == waits + 2
    assert device.memory_stats()["allocated"] == before


def test_each_thread_gets_a_context(x: Array) -> None:
    failures = []

    def work() -> None:
        try:
            launch.runtime.copy_to_host(launch.zeros((10,), float32))
            launch(add_kernel, (1,), [x, x, x, 64, 0.5], {"BLOCK": 64})
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures


def test_a_late_failure_is_explained(x: Array) -> None:
    driver.fake_fail_sync()
    if BLOCKING:
        with operator("demo"), pytest.raises(LaunchError, match=r"^demo: kernel add_.*ILLEGAL_ADD"):
            launch(add_kernel, (1,), [x, x, x, 64, 0.5], {"BLOCK": 64})
    else:
        with pytest.raises(RuntimeError, match="CUDA_LAUNCH_BLOCKING=1 shows"):
            launch.runtime.synchronize()


def test_pinned_memory() -> None:
    a = cuda_memory.pinned_empty((3, 4), np.dtype(np.float32))
    a[...] = 1
    assert a.sum() == 12
    assert cuda_memory.is_pinned(a)
    assert not cuda_memory.is_pinned(np.empty(3))


def test_the_public_namespace(x: Array) -> None:
    assert cuda.is_available() and cuda.is_initialized()
    assert cuda.device_count() == DEVICES
    assert cuda.get_device_name(0) == "Fake H200" and cuda.get_device_capability() == (9, 0)
    used = cuda.memory_allocated()
    y = launch.empty((1 << 20,), uint8)
    assert cuda.memory_allocated() == used + y.nbytes <= cuda.max_memory_allocated()
    del y
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == used == cuda.memory_reserved()
    assert cuda.mem_get_info()[1] == 1 << 30


def test_public_streams_and_events(x: Array) -> None:
    side, start, end = cuda.Stream(priority=-1), cuda.Event(True), cuda.Event(True)
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        assert cuda.current_stream() == side != cuda.default_stream()
        start.record()
        launch(add_kernel, (1,), [x, x, x, 64, 0.5], {"BLOCK": 64})
        assert last().stream == side.cuda_stream
        end.record()
    assert cuda.current_stream() == cuda.default_stream()
    cuda.current_stream().wait_event(end)
    end.synchronize()
    assert end.query() and side.query() and start.elapsed_time(end) >= 0
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(cuda.Event())
    cuda.synchronize()


@pytest.mark.skipif(DEVICES < 2, reason="one device")
def test_two_devices(x: Array) -> None:
    rt = launch.runtime
    y = rt.empty((256, 256), float32, 1)
    assert str(y.device) == "cuda:1"
    rt.copy_from_host(np.ones((256, 256), np.float32), y)
    rt.copy(y, x)
    assert rt.copy_to_host(x).sum() == 1 << 16
    launch(add_kernel, (1,), [y, y, y, 64, 0.5], {"BLOCK": 64})
    assert last().stream == int(rt.device(1).stream.handle)
    with cuda.device("cuda:1"):
        assert rt.current_device() == cuda.current_device() == 1
        assert str(launch.empty((1,), float32).device) == "cuda:1"
    assert rt.current_device() == 0


@pytest.mark.skipif(DEVICES < 2, reason="one device")
def test_what_operators_allocate_is_where_their_tensors_are() -> None:
    rt = launch.runtime
    x = tritorch.zeros(1 << 22, device="cuda:1")
    p = [tritorch.zeros(8, device=where, requires_grad=True) for where in ("cuda:1", "cuda:0")]
    for t in p:
        t.grad = tritorch.zeros(8, device=t.device)
    optimizer = tritorch.optim.AdamW(p, capturable=True)
    rt.device(0).reset_peak()
    start = driver.fake_launches()
    for _ in range(3):
        x.sum()
    stats = rt.memory_stats(0)
    assert stats["peak"] == stats["allocated"] and driver.fake_launches() >= start + 6
    start = driver.fake_launches()
    optimizer.step()
    seen = [driver.fake_launch(i)[0] for i in range(start, driver.fake_launches())][-4:]
    streams = [int(rt.device(i).stream.handle) for i in (1, 1, 0, 0)]
    assert [call.stream for call in seen] == streams
    assert rt.current_device() == 0


# -- launches done again ---------------------------------------------------------------------------


def test_a_call_done_again_launches_on_its_own_arrays() -> None:
    driver.fake_parameters(4)
    seen = []
    for n in (6, 6, 6, 7):
        a, b = (tritorch.empty(n, device="cuda") for _ in range(2))
        before = driver.fake_launches()
        c = a + b
        assert driver.fake_launches() == before + 1
        call = last()
        seen.append((call.name, tuple(call.grid)))
        assert list(call.parameters[:4]) == [t.data_ptr() for t in (c, a, b)] + [n]
        assert (c.shape, c.dtype, c.device.type) == ((n,), float32, "cuda")
    assert len(set(seen)) == 1


def test_an_operator_declared_again_does_not_do_the_first_ones_calls() -> None:
    def declared(programs: int) -> Any:
        def launcher(launch: Any, out: Array, x: Array) -> None:
            launch(add_kernel, (programs,), [out, x, x, out.size, 1.0], {"BLOCK": 16})

        @fused(meta=same_as("x"), triton=launcher)
        def test_declared(x: Any) -> Any:
            return x + x

        return test_declared

    x = tritorch.empty(6, device="cuda")
    for programs in (1, 2):
        op = declared(programs)
        for _ in range(2):
            op(x)
            assert tuple(last().grid) == (programs, 1, 1)
    del REGISTRY["test_declared"]


def test_numbers_of_a_call_done_again_are_its_own() -> None:
    driver.fake_parameters(3)
    a = tritorch.empty(6, device="cuda")
    for value in (0.5, 2.0, -0.0, 3):
        c = a * value
        bits = np.uint32(last().parameters[2] & 0xFFFFFFFF)
        assert bits == np.float32(value).view(np.uint32)
        assert list(last().parameters[:2]) == [c.data_ptr(), a.data_ptr()]


def test_in_place_calls_done_again_write_their_own_input() -> None:
    driver.fake_parameters(3)
    for _ in range(3):
        a, b = (tritorch.empty(6, device="cuda") for _ in range(2))
        assert a.add_(b) is a and a._version == 1
        assert list(last().parameters[:3]) == [a.data_ptr(), a.data_ptr(), b.data_ptr()]
        a.add_(a)
        assert list(last().parameters[:3]) == [a.data_ptr()] * 3


def test_out_of_calls_done_again_is_their_own() -> None:
    driver.fake_parameters(4)
    for _ in range(3):
        a, b, c = (tritorch.empty(6, device="cuda") for _ in range(3))
        assert tritorch.add(a, b, out=c) is c and c._version == 1
        assert list(last().parameters[:4]) == [t.data_ptr() for t in (c, a, b)] + [6]
        tritorch.mul(a, 3.0, out=c)
        assert list(last().parameters[:2]) == [c.data_ptr(), a.data_ptr()]
        tritorch.exp(a, out=c)
        assert list(last().parameters[:3]) == [c.data_ptr(), a.data_ptr(), 6]


def test_what_is_done_again_is_checked_as_before() -> None:
    a, b, c = (tritorch.empty(6, device="cuda") for _ in range(3))
    whole = tritorch.empty(6, dtype=tritorch.int64, device="cuda")
    for _ in range(2):
        tritorch.add(a, b, out=c)
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        tritorch.add(a, b, out=whole)
    with pytest.warns(UserWarning, match="was resized"):
        tritorch.add(a, b, out=tritorch.empty(5, device="cuda"))
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        tritorch.add(a, b, out=tritorch.empty(1, device="cuda").expand(6))
    w = tritorch.empty(6, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tritorch.add(a, w, out=c)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        w.add_(a)
    y = w * 2
    y.add_(a)
    assert type(y.grad_fn).__name__ == "AddBackward0"


def test_scratch_of_a_call_done_again_is_fresh() -> None:
    x = tritorch.empty(1 << 22, device="cuda")
    driver.fake_parameters(2)
    counts = []
    for _ in range(3):
        before = driver.fake_launches()
        total = x.sum()
        counts.append(driver.fake_launches() - before)
        assert last().parameters[0] != x.data_ptr() and total.shape == ()
    assert counts[0] == counts[1] == counts[2] >= 2


@pytest.fixture
def copied() -> Iterator[Callable]:
    """An operator whose kernel makes descriptors."""

    def launcher(launch: Any, out: Array, x: Array) -> None:
        launch(block_kernel, (x.shape[0] // 64,), [out, x, *x.shape], {"BLOCK": 64})

    @fused(meta=same_as("x"), triton=launcher)
    def test_copied(x: Any) -> Any:
        return x.clone()

    yield test_copied
    del REGISTRY["test_copied"]


def test_descriptors_of_a_call_done_again_lie_in_memory_of_its_own(copied: Callable) -> None:
    driver.fake_parameters(6)
    gc.collect()
    kept, used = [], cuda.memory_allocated()
    for n in (1, 2, 3):
        x = tritorch.empty(128, 64, device="cuda")
        kept += [x, copied(x)]
        assert scratch_of_last(2) not in [t.data_ptr() for t in kept]
        assert list(last().parameters[:4]) == [kept[-1].data_ptr(), x.data_ptr(), 128, 64]
        assert cuda.memory_allocated() == used + n * 2 * x.nbytes


def test_a_graph_keeps_the_memory_of_its_descriptors(copied: Callable) -> None:
    driver.fake_parameters(6)
    x = tritorch.empty(128, 64, device="cuda")
    copied(x)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        copied(x)
    used, seen = cuda.memory_allocated(), set()
    for _ in range(3):
        g.replay()
        seen.add(scratch_of_last(2))
        copied(x)
        assert scratch_of_last(2) not in seen
    assert len(seen) == 1 and cuda.memory_allocated() == used


def test_programs_share_the_tiles_of_a_large_product() -> None:
    driver.fake_parameters(4)
    x, w = (tritorch.empty(4096, 4096, dtype=float16, device="cuda") for _ in range(2))
    gc.collect()
    used, seen = cuda.memory_allocated(), set()
    for _ in range(3):
        out = tritorch.nn.functional.linear(x, w)
        call = last()
        assert (call.name, tuple(call.grid)) == (b"matmul_persistent_kernel", (132, 1, 1))
        assert [call.parameters[i] for i in (0, 1, 3)] == [t.data_ptr() for t in (x, w, out)]
        seen.add(cuda.memory_allocated() - used)
        del out
    assert seen == {x.nbytes}


def test_only_equal_calls_are_done_again() -> None:
    a = tritorch.empty(6, device="cuda")._data
    kinds = [
        replay.kind("x", [a], params)
        for params in ({"p": 1}, {"p": True}, {"p": 1.0}, {"p": 0.0}, {"p": -0.0}, {"q": 1})
    ]
    if BLOCKING:
        assert kinds == [None] * 6
        return
    assert len({k[1] for k in kinds}) == 6
    assert replay.kind("x", [a], {"seed": 1}) is None
    assert replay.kind("x", [a], {"p": [1]}) is None
    assert replay.kind("x", [a, np.ones(())], {}) is None
    assert replay.kind("x", [a[1:]], {}) != replay.kind("x", [a[:5]], {})


# -- memory shared with other libraries, and pinned ------------------------------------------------


class Other:
    """Another library's array: what it lends, and how often it was asked for a stream."""

    def __init__(self, tensor: tritorch.Tensor) -> None:
        self.tensor, self.streams = tensor, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, stream: int | None = None) -> object:
        self.streams.append(stream)
        return self.tensor.__dlpack__(stream=stream)


def host(t: tritorch.Tensor) -> np.ndarray:
    return launch.runtime.copy_to_host(t._data)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "float8_e4m3fn"])
def test_dlpack_lends_and_borrows_device_memory(dtype: str) -> None:
    values = np.arange(12).reshape(3, 4) % 2
    kind = getattr(tritorch, dtype)
    x = tritorch.tensor(values.tolist()).to(kind).cuda()
    other = Other(x.t()[1:])
    y = tritorch.from_dlpack(other)
    assert other.streams == [int(launch.runtime.device().stream.handle)]
    assert (y.device, y.dtype, tuple(y.shape)) == (x.device, kind, (3, 3))
    assert y.data_ptr() == x.t()[1:].data_ptr() and y.stride() == (1, 4)
    assert np.array_equal(host(y).astype(int), values.T[1:])


def test_lent_memory_lives_until_it_is_given_back() -> None:
    gc.collect()
    used = cuda.memory_allocated()
    x = tritorch.zeros(1 << 20, device="cuda")
    capsule = x.__dlpack__()
    del x
    assert cuda.memory_allocated() == used + (4 << 20)
    del capsule  # nobody took it
    assert cuda.memory_allocated() == used
    y = tritorch.from_dlpack(Other(tritorch.zeros(1 << 20, device="cuda")))
    view = y[5:]
    del y
    assert cuda.memory_allocated() == used + (4 << 20)
    del view
    assert cuda.memory_allocated() == used


def test_dlpack_keeps_the_order_of_streams() -> None:
    x = tritorch.zeros(4, device="cuda")
    waits = driver.fake_waits()
    x.__dlpack__(stream=-1)
    assert driver.fake_waits() == waits
    x.__dlpack__()
    x.__dlpack__(stream=cuda.Stream().cuda_stream)
    assert driver.fake_waits() == waits + 2
    taken = x.__dlpack__(stream=-1)

    class Once:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

        def __dlpack__(self, stream: int) -> object:
            return taken

    tritorch.from_dlpack(Once())
    with pytest.raises(RuntimeError, match="the capsule was consumed already"):
        tritorch.from_dlpack(Once())
    with pytest.raises(BufferError, match="require gradient"):
        x.requires_grad_().__dlpack__()


def test_the_cuda_array_interface() -> None:
    x = tritorch.arange(12.0).cuda().view(3, 4)
    told = x.t().__cuda_array_interface__
    assert (told["shape"], told["typestr"], told["strides"]) == ((4, 3), "<f4", (4, 16))
    assert told["data"] == (x.data_ptr(), False) and told["version"] == 3

    class Foreign:
        __cuda_array_interface__ = told

    y = tritorch.as_tensor(Foreign())
    assert y.is_cuda and y.data_ptr() == x.data_ptr() and y.stride() == (1, 4)
    assert np.array_equal(host(y), np.arange(12.0).reshape(3, 4).T)
    assert not hasattr(tritorch.ones(2), "__cuda_array_interface__")
    assert not hasattr(x.bfloat16(), "__cuda_array_interface__")


def test_pinned_tensors_are_copied_without_waiting() -> None:
    x = tritorch.arange(1 << 16).float()
    assert not x.is_pinned()
    pinned = x.pin_memory()
    assert pinned.is_pinned() and pinned.pin_memory() is pinned
    waited = driver.fake_synchronised()
    y = pinned.to("cuda", non_blocking=True)
    z = tritorch.empty(1 << 16, device="cuda").copy_(pinned, non_blocking=True)
    if not BLOCKING:
        assert driver.fake_synchronised() == waited
    assert np.array_equal(host(y), x.numpy()) and np.array_equal(host(z), x.numpy())
    waited = driver.fake_synchronised()
    x.to("cuda", non_blocking=True)  # memory that can be paged is waited for
    assert driver.fake_synchronised() > waited
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        y.pin_memory()


def test_channels_last_stays_last() -> None:
    x = tritorch.arange(24.0).view(1, 2, 3, 4).to(memory_format=tritorch.channels_last)
    y = x.cuda()
    assert y.stride() == x.stride() == y.cpu().stride()
    assert tritorch.equal(y.cpu(), x)


# -- graphs ----------------------------------------------------------------------------------------


def names(first: int) -> list[bytes]:
    """The kernels that were launched from this launch on."""
    return [driver.fake_launch(i)[0].name for i in range(first, driver.fake_launches())]


def test_a_graph_notes_launches_and_does_them_again() -> None:
    driver.fake_parameters(2)
    x = tritorch.zeros(1000, device="cuda")

    def step() -> tritorch.Tensor:
        return (x + 1).exp().sum()

    start = driver.fake_launches()
    step()
    expected = names(start)
    used = cuda.memory_allocated()
    g = cuda.CUDAGraph()
    start = driver.fake_launches()
    assert not cuda.is_current_stream_capturing()
    with cuda.graph(g):
        assert cuda.is_current_stream_capturing()
        y = step()
    assert names(start) == [] and not cuda.is_current_stream_capturing()
    address = y.data_ptr()
    for _ in range(2):
        start = driver.fake_launches()
        g.replay()
        assert names(start) == expected
        assert last().stream == cuda.current_stream().cuda_stream
    assert last().parameters[0] == address or address in list(last().parameters)
    z = step()  # outside, memory is the pool's again
    assert abs(z.data_ptr() - address) > 0
    del y, z
    g.reset()
    del g
    gc.collect()
    assert cuda.memory_allocated() <= used
    with pytest.raises(RuntimeError, match=r"replay\(\) needs a graph that was captured"):
        cuda.CUDAGraph().replay()


def test_blocks_of_a_capture_are_used_again_within_it() -> None:
    x = tritorch.zeros(1 << 20, device="cuda")
    (x * 2).neg()
    g, other = cuda.CUDAGraph(), cuda.CUDAGraph()
    with cuda.graph(g):
        y = x * 2
        first = y.data_ptr()
        y = y.neg()
        z = x * 3
        assert z.data_ptr() == first != y.data_ptr()
    with cuda.graph(other, pool=g.pool()):
        assert (x * 4).data_ptr() not in (z.data_ptr(), y.data_ptr())


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda x: x.sum().item(), "reading elements"),
        (lambda x: x.copy_(tritorch.ones(4)), "a copy from the host"),
        (lambda x: cuda.synchronize(), "waiting for the device"),
    ],
)
def test_what_no_graph_can_do_is_refused(work, what: str) -> None:  # type: ignore[no-untyped-def]
    x = tritorch.zeros(4, device="cuda")
    x.sum()
    with (
        pytest.raises(RuntimeError, match=f"CUDAGraph: {what}.* cannot be part of a graph"),
        cuda.graph(cuda.CUDAGraph()),
    ):
        work(x)
    assert not cuda.is_current_stream_capturing()
    assert (x + 1).data_ptr()


def test_random_numbers_of_a_graph_are_new_each_time() -> None:
    cuda.manual_seed(3)
    tritorch.rand(100, device="cuda")
    generator = tritorch.ops.generator.default(tritorch.device("cuda"))
    g, before = cuda.CUDAGraph(), generator.get_offset()
    with cuda.graph(g):
        tritorch.rand(100, device="cuda")
        tritorch.rand(100, device="cuda")
    assert generator.get_offset() == before and generator.initial_seed() == 3
    seen = []
    for _ in range(2):
        g.replay()
        seen.append(int(launch.runtime.copy_to_host(g._offset)[0]))
    assert seen[0] == before and seen[1] > before and generator.get_offset() == 2 * seen[1] - before


def trained(name: str, **options: Any) -> tuple[Any, Callable[[], None]]:
    """An optimizer, and a training step of a small model by it, done twice already."""
    model = tritorch.nn.Linear(8, 4).cuda()
    optimizer = getattr(tritorch.optim, name)(model.parameters(), **options)
    x = tritorch.ones(2, 8, device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        model(x).square().mean().backward()
        optimizer.step()

    step()
    step()
    return optimizer, step


@pytest.mark.parametrize(
    "name", ["Adadelta", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop"]
)
def test_a_training_step_is_captured_with_its_optimizer(name: str) -> None:
    driver.fake_parameters(3)
    optimizer, step = trained(name, lr=tritorch.tensor(0.1).cuda(), capturable=True)
    counts = [own["step"] for own in optimizer.state.values()]
    assert all(t.is_cuda and t.dtype is float32 and t.shape == () for t in counts)
    g = cuda.CUDAGraph()
    start = driver.fake_launches()
    with cuda.graph(g):
        step()
    assert not names(start)
    gc.collect()
    launch._tables.clear()  # the graph keeps the tables that its kernels read
    tables = {a.ptr for a in g._capture.kept}
    for _ in range(2):
        start = driver.fake_launches()
        g.replay()
        again = range(start, driver.fake_launches())
        assert again
        if name.startswith("Adam") and name != "Adamax":
            count, step_by = (driver.fake_launch(i)[0] for i in again[-2:])
            assert (count.name, step_by.name) == (b"adam_count_kernel", b"adam_kernel")
            assert {count.parameters[0], step_by.parameters[0]} <= tables
            assert count.parameters[1] == optimizer.param_groups[0]["lr"].data_ptr()
            assert count.parameters[2] == step_by.parameters[1]  # the factors
            cells = (ctypes.c_int64 * 2).from_address(count.parameters[0])
            assert list(cells) == [t.data_ptr() for t in counts]


def test_a_learning_rate_on_the_device_is_read_there() -> None:
    """As a graph replays it, of SGD, which counts no steps."""
    driver.fake_parameters(2)
    optimizer, step = trained("SGD", lr=tritorch.tensor(0.1).cuda(), momentum=0.9)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        step()
    g.replay()
    assert last().name == b"sgd_kernel"
    assert last().parameters[1] == optimizer.param_groups[0]["lr"].data_ptr()


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RMSprop", "Rprop"])
def test_steps_counted_on_the_host_are_not_captured(name: str) -> None:
    optimizer, step = trained(name)
    assert all(own["step"].is_cpu for own in optimizer.state.values())
    with (
        pytest.raises(
            RuntimeError,
            match=rf"Attempting CUDA graph capture of step\(\) for an instance of {name} but "
            "param_groups' capturable is False",
        ),
        cuda.graph(cuda.CUDAGraph()),
    ):
        step()
    assert [own["step"].item() for own in optimizer.state.values()] == [2, 2]
    step()
    _, step = trained("SGD", momentum=0.9)
    with cuda.graph(cuda.CUDAGraph()):
        step()


def test_callables_as_graphs() -> None:
    layer = tritorch.nn.Linear(8, 4).cuda()
    x = tritorch.ones(2, 8, device="cuda", requires_grad=True)
    graphed = cuda.make_graphed_callables(layer, (x,))
    start = driver.fake_launches()
    out = graphed(tritorch.zeros(2, 8, device="cuda", requires_grad=True))
    forward = names(start)
    assert tuple(out.shape) == (2, 4) and forward and out.requires_grad
    start = driver.fake_launches()
    out.sum().backward()
    assert len(names(start)) > len(forward) and layer.weight.grad.shape == layer.weight.shape
    with pytest.raises(ValueError, match=r"captured for shapes \[\(2, 8\)\], got \[\(3, 8\)\]"):
        graphed(tritorch.zeros(3, 8, device="cuda"))
    with pytest.raises(TypeError, match="sample_args are tensors on a CUDA device"):
        cuda.make_graphed_callables(layer, (tritorch.ones(2, 8),))


# -- the namespace ---------------------------------------------------------------------------------


def test_memory_is_summed_up() -> None:
    x = tritorch.zeros(3, 1 << 20, device="cuda")
    text = cuda.memory_summary()
    assert text.startswith("cuda:0 (Fake H200)") and "(3, 1048576) float32, 12.00 MiB" in text
    assert "largest" not in cuda.memory_summary(abbreviated=True)
    stats, nested = cuda.memory_stats(), cuda.memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["current"] == stats["allocated_bytes.all.current"]
    ooms, retries = stats["num_ooms"], stats["num_alloc_retries"]
    with pytest.raises(cuda.OutOfMemoryError):
        tritorch.empty(1 << 40, device="cuda")
    stats = cuda.memory_stats()
    assert (stats["num_ooms"], stats["num_alloc_retries"]) == (ooms + 1, retries + 1)
    assert cuda.device_memory_used() == (1 << 29) and x.is_cuda
    assert cuda.memory_cached() == cuda.memory_reserved()


def test_a_process_takes_no_more_than_its_part() -> None:
    assert cuda.get_per_process_memory_fraction() == 1.0
    with pytest.raises(TypeError, match="must be `float`"):
        cuda.set_per_process_memory_fraction(1)
    with pytest.raises(ValueError, match=r"Invalid fraction value: 1\.5\. Allowed"):
        cuda.set_per_process_memory_fraction(1.5)
    gc.collect()
    part = (cuda.memory_allocated() + (96 << 20)) / (1 << 30)
    cuda.set_per_process_memory_fraction(part)
    assert cuda.get_per_process_memory_fraction(0) == part
    first = tritorch.empty(64 << 20, dtype=uint8, device="cuda")
    ooms = cuda.memory_stats()["num_ooms"]
    with pytest.raises(cuda.OutOfMemoryError, match=r"33.00 MiB were asked.*allowed are in use"):
        tritorch.empty(33 << 20, dtype=uint8, device="cuda")
    with pytest.raises(cuda.OutOfMemoryError):  # a graph's memory is of the same pool
        launch.runtime.device(0).from_pool(33 << 20, launch.runtime.device(0).stream)
    assert cuda.memory_stats()["num_ooms"] == ooms + 1
    second = tritorch.empty(32 << 20, dtype=uint8, device="cuda")
    del first
    third = tritorch.empty(64 << 20, dtype=uint8, device="cuda")
    cuda.set_per_process_memory_fraction(1.0)
    tritorch.empty(128 << 20, dtype=uint8, device="cuda")
    cuda.reset_accumulated_memory_stats()
    assert (cuda.memory_stats()["num_ooms"], second.is_cuda, third.is_cuda) == (0, True, True)


def test_memory_for_other_libraries() -> None:
    before = cuda.memory_allocated()
    side = cuda.Stream()
    at = [cuda.caching_allocator_alloc(1 << 20, stream=s) for s in (None, side, side.cuda_stream)]
    assert len(set(at)) == 3 and cuda.memory_allocated() == before + 3 * (1 << 20)
    assert cuda.current_stream() == cuda.default_stream()
    for address in at:
        cuda.caching_allocator_delete(address)
    assert cuda.memory_allocated() == before
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        cuda.caching_allocator_delete(at[0])
    with pytest.raises(TypeError, match="Invalid type for stream argument"):
        cuda.caching_allocator_alloc(8, stream="side")  # type: ignore[arg-type]


def test_pinned_memory_is_counted() -> None:
    gc.collect()
    cuda.reset_peak_host_memory_stats()
    cuda.reset_accumulated_host_memory_stats()
    start = cuda.host_memory_stats()
    assert start["allocated_bytes.peak"] == start["allocated_bytes.current"]
    x = tritorch.zeros(3, 5).pin_memory()
    now = cuda.host_memory_stats()
    assert now["allocated_bytes.current"] == start["allocated_bytes.current"] + 60
    assert (now["num_host_alloc"], now["num_host_free"]) == (1, 0)
    del x
    gc.collect()
    end = cuda.host_memory_stats_as_nested_dict()
    assert end["active_bytes"]["current"] == start["active_bytes.current"]
    assert end["allocations"]["peak"] == start["allocations.current"] + 1
    assert end["allocated_bytes"]["freed"] == 60 == end["allocated_bytes"]["allocated"]


def test_streams_of_other_libraries(x: Array) -> None:
    theirs = cuda.Stream()
    ours = cuda.ExternalStream(theirs.cuda_stream)
    assert ours == theirs == cuda.get_stream_from_external(theirs.cuda_stream, "cuda:0")
    with cuda.stream(ours):
        launch(add_kernel, (1,), [x, x, x, 64, 0.5], {"BLOCK": 64})
        assert last().stream == theirs.cuda_stream
        y = tritorch.ones(4, device="cuda")
    theirs.wait_stream(ours)
    ours.synchronize()
    assert ours.query() and y.is_cuda and cuda.current_stream() == cuda.default_stream()


def test_profilers_are_told_what_to_look_at() -> None:
    assert driver.fake_collecting() == 0
    with cuda.profiler.profile():
        assert driver.fake_collecting() == 1
    with pytest.raises(KeyError), cuda.profiler.profile():
        raise KeyError
    assert driver.fake_collecting() == 0


def test_calls_of_cudas_own_functions() -> None:
    rt, x = cuda.cudart(), tritorch.zeros(4)
    assert rt.cudaHostRegister(x.data_ptr(), 16, 0) == rt.cudaError.success
    cuda.check_error(rt.cudaHostUnregister(x.data_ptr()))
    assert rt.cudaMemGetInfo(0) == cuda.mem_get_info() == (1 << 29, 1 << 30)
    failed = rt.cudaHostRegister(0, 16, 0)
    assert failed == 1 != rt.cudaError.success
    with pytest.raises(cuda.CudaError, match=r"\(1\)$"):
        cuda.check_error(failed)
    assert rt.cudaGetErrorString(123456) == "unrecognized error code"


def test_a_device_is_asked_for_its_load(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(pid=42, usedGpuMemory=3 << 20)
    hidden = SimpleNamespace(pid=43, usedGpuMemory=None)
    nvml = SimpleNamespace(
        NVMLError=LookupError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=lambda bus: {b"0000:01:00.0": 10, b"0000:02:00.0": 20}[bus],
        nvmlDeviceGetUtilizationRates=lambda h: SimpleNamespace(gpu=h + 1, memory=h + 2),
        nvmlDeviceGetTemperature=lambda h, sensor: h + 3 + sensor,
        nvmlDeviceGetPowerUsage=lambda h: h * 1000,
        nvmlDeviceGetClockInfo=lambda h, clock: h * 100 + clock,
        nvmlDeviceGetComputeRunningProcesses=lambda h: [process, hidden] if h == 10 else [],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert (cuda.utilization(), cuda.memory_usage(), cuda.temperature()) == (11, 12, 13)
    assert (cuda.power_draw("cuda"), cuda.clock_rate(0)) == (10_000, 1001)
    assert cuda.list_gpu_processes().splitlines() == [
        "GPU:0",
        "process         42 uses        3.000 MB GPU memory",
        "process         43 uses an unknown amount of GPU memory",
    ]
    if DEVICES > 1:
        assert cuda.utilization(1) == 21
        assert cuda.list_gpu_processes(1) == "GPU:1\nno processes are running"


def test_streams_of_random_numbers() -> None:
    assert [g.device.index for g in cuda.default_generators] == list(range(DEVICES))
    cuda.manual_seed_all(7)
    state = cuda.get_rng_state()
    assert cuda.initial_seed() == 7 and len(cuda.get_rng_state_all()) == DEVICES
    tritorch.rand(5, device="cuda")
    assert not tritorch.equal(cuda.get_rng_state(), state)
    cuda.set_rng_state(state)
    assert tritorch.equal(cuda.get_rng_state(), state)
    cuda.seed()
    assert cuda.initial_seed() != 7


def test_the_accelerator_is_the_device() -> None:
    accelerator = tritorch.accelerator
    assert accelerator.get_memory_info(0) == cuda.mem_get_info(0)
    dtypes = accelerator.get_device_capability("cuda:0")["supported_dtypes"]
    assert {float16, float32, uint8, tritorch.bool} <= dtypes
    accelerator.empty_host_cache()
    accelerator.reset_accumulated_memory_stats()
    assert accelerator.memory_stats()["num_ooms"] == 0


def test_what_devices_can_do() -> None:
    assert "sm_90" in cuda.get_arch_list() and cuda.is_tf32_supported()
    with pytest.raises(ValueError, match="the two devices are the same"):
        cuda.can_device_access_peer(0, 0)
    assert DEVICES < 2 or cuda.can_device_access_peer(0, 1)


@pytest.mark.skipif(BLOCKING, reason="calls are not done again")
def test_the_short_way_of_operators_launches_the_same() -> None:
    driver.fake_parameters(3)
    x, y = (tritorch.zeros(8, 6, device="cuda") for _ in range(2))
    w = tritorch.zeros(8, 6, device="cuda", requires_grad=True)
    forms = {
        "tensors": lambda: x + y,
        "broadcast": lambda: x + y[0],
        "strided": lambda: x.t() + y.t(),
        "number": lambda: x * 2.5,
        "integer": lambda: x * 3,
        "one": lambda: x.exp(),
        "recorded": lambda: w * y,
    }
    for name, form in forms.items():
        seen = []
        for _ in range(4):
            start = driver.fake_launches()
            out = form()
            one = last()
            words = list(one.parameters[:3])
            words.remove(out.data_ptr())
            seen.append((driver.fake_launches() - start, one.name, tuple(one.grid), words))
            shape = tuple(out.shape), out.dtype, out.stride(), out.requires_grad
            seen[-1] += (shape,)
        assert seen[0] == seen[1] == seen[2] == seen[3] and seen[0][0] == 1, name
    (w * y).sum().backward()
    assert w.grad is not None
    numbers = []
    for value in (2.5, 7.5, -0.0):
        x * value
        numbers.append(list(last().parameters[:3]))
    assert len({str(n) for n in numbers}) == 3
    with pytest.raises(RuntimeError, match="must match"):
        x + tritorch.zeros(5, device="cuda")
    with pytest.raises(RuntimeError, match="same device"):
        x + tritorch.zeros(8, 6)
