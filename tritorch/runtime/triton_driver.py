"""The driver object that Triton asks for the device, in place of its own, which needs torch or gcc.

With it a user's own `kernel[grid](array, n, BLOCK=128)`, and Triton's autotuner, run too; the
operators do not come this way.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import scratch_of

if TYPE_CHECKING:
    from .cuda import CudaDevice, CudaRuntime

_L2_FLUSH = 256 << 20


def install(runtime: CudaRuntime) -> None:
    """Make Triton use `runtime`."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # as our launches do; else it warns
    import triton

    triton.runtime.driver.set_active(TritonDriver(runtime))  # type: ignore[arg-type]


class TritonDriver:
    """What `triton.runtime.driver.active` must offer."""

    def __init__(self, runtime: CudaRuntime) -> None:
        self._runtime = runtime
        self.utils = _Utils(runtime)
        self.launcher_cls = _launcher_of(runtime)

    def get_current_device(self) -> int:
        return self._runtime.current_device()

    def set_current_device(self, index: int) -> None:
        self._runtime.set_device(index)

    def get_current_stream(self, index: int | None = None) -> int:
        return int(self._runtime.device(index).stream.handle)

    def get_device_capability(self, index: int | None = None) -> tuple[int, int]:
        p = self._runtime.properties(index)
        return p.major, p.minor

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget  # type: ignore

        return GPUTarget("cuda", self._runtime.target().arch, 32)

    @classmethod
    def is_active(cls) -> bool:
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        from triton.backends.nvidia.driver import ty_to_cpp

        return ty_to_cpp(ty)

    def get_active_torch_device(self) -> Any:
        raise RuntimeError("tritorch runs Triton without torch: there is no torch device")

    get_device_interface = get_active_torch_device

    def get_benchmarker(self) -> Callable[..., Any]:
        return self._benchmark

    def get_empty_cache_for_benchmark(self) -> Any:
        return self._runtime.allocate(_L2_FLUSH)

    def clear_cache(self, cache: Any) -> None:
        cache.owner.fill(cache.ptr, 0, cache.nbytes)

    def assemble_tensormap_to_arg(self, tensormaps_info: Any, args: Any) -> Any:
        return args

    def _benchmark(
        self, call: Callable[[], Any], quantiles: Any = None, repeats: int = 20, **ignored: Any
    ) -> Any:
        """Milliseconds of `call` with a cold L2 cache: the median, or these quantiles."""
        device, cache = self._runtime.device(), self.get_empty_cache_for_benchmark()
        for _ in range(3):
            call()
        pairs = []
        for _ in range(repeats):
            self.clear_cache(cache)
            before, after = device.new_event(timing=True), device.new_event(timing=True)
            device.stream.record(before)
            call()
            device.stream.record(after)
            pairs.append((before, after))
        device.synchronize()
        times = [after - before for before, after in pairs]
        if quantiles is None:
            return statistics.median(times)
        return [float(q) for q in np.quantile(times, quantiles)]


class _Utils:
    """Triton's helpers of the same names."""

    def __init__(self, runtime: CudaRuntime) -> None:
        self._runtime = runtime
        self._kept: list[Any] = []

    def load_binary(
        self, name: str, binary: bytes, shared: int, index: int
    ) -> tuple[Any, Any, int, int, int]:
        kernel = self._runtime.device(index).load(binary, name, shared)
        self._kept.append(kernel)
        a = kernel.attributes
        return kernel, kernel, a.num_regs, a.local_size_bytes // 4, a.max_threads_per_block

    def unload_module(self, module: Any) -> None:
        """Kernels stay loaded: a captured graph may hold them."""

    def get_device_properties(self, index: int) -> dict[str, int]:
        p = self._runtime.properties(index)
        return {
            "max_shared_mem": p.shared_memory_per_block_optin,
            "multiprocessor_count": p.multi_processor_count,
            "warpSize": p.warp_size,
            "max_num_regs": 65536,
            "sm_clock_rate": 0,
            "mem_clock_rate": 0,
            "mem_bus_width": 0,
        }


def _launcher_of(runtime: CudaRuntime) -> type:
    """The class that Triton instantiates for each compiled kernel."""

    class Launcher:
        def __init__(self, src: Any, metadata: Any) -> None:
            self._types = list(src.signature.values())
            self._threads = metadata.num_warps * 32
            self._shared = metadata.shared
            self._scratch = scratch_of(metadata)
            if any(str(t).startswith("tensordesc") for t in self._types):
                raise NotImplementedError(
                    "tensor descriptors as arguments are not supported: make them in the kernel, "
                    "by tl.make_tensor_descriptor"
                )

        def __call__(self, x: int, y: int, z: int, stream: int, function: Any, *rest: Any) -> None:
            # rest: packed metadata, launch metadata, enter and exit hook, then all arguments
            args = rest[4:]
            if not x * y * z:
                return
            device: CudaDevice = runtime.device()
            params = [_param(a, t) for a, t in zip(args, self._types) if t != "constexpr"]
            config = device.config((x, y, z), self._threads, self._shared)
            scratch = device.allocate(x * y * z * self._scratch)
            device.submit(device.stream, config, function, *params, scratch.ptr, 0)

    return Launcher


def _param(value: Any, kind: str) -> Any:
    if kind[0] == "*":
        return 0 if value is None else value.data_ptr()
    if kind in ("fp32", "f32"):
        return np.float32(value)
    if kind == "fp16":
        return np.float16(value)
    if kind == "fp64":
        return float(value)
    if kind == "bf16":
        raise TypeError("pass a bfloat16 scalar as a float")
    return np.uint64(value) if kind == "u64" else int(value)
