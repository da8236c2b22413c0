"""`tritorch.cuda`: devices, their memory, streams and events, and which operators fell back.

Everything may be called where there is no device: `is_available()` is False, `device_count()` and
the figures of memory are 0, seeds and `empty_cache()` do nothing; the rest says what is missing.
Nothing here is imported before it is used: neither triton nor the CUDA packages.
"""

from __future__ import annotations

from .. import dtypes
from ..device import device as Device
from ..op import FALLBACKS
from ..ops.interop import TYPE_NAMES
from ..ops.legacy import typed
from ..ops.storages import typed_storage
from ..runtime import memory as _memory
from ..runtime.launch import LaunchError as AcceleratorError  # noqa: F401
from . import (
    amp as amp,
    graphs as graphs,
    memory as memory,
    nvtx as nvtx,
    profiler as profiler,
    random as random,
)
from .devices import (
    can_device_access_peer as can_device_access_peer,
    current_device as current_device,
    device as device,
    device_count as device_count,
    device_of as device_of,
    get_arch_list as get_arch_list,
    get_device_capability as get_device_capability,
    get_device_name as get_device_name,
    get_device_properties as get_device_properties,
    get_gencode_flags as get_gencode_flags,
    get_sync_debug_mode as get_sync_debug_mode,
    index_of as index_of,
    init as init,
    ipc_collect as ipc_collect,
    is_available as is_available,
    is_bf16_supported as is_bf16_supported,
    is_initialized as is_initialized,
    is_tf32_supported as is_tf32_supported,
    set_device as set_device,
    set_sync_debug_mode as set_sync_debug_mode,
    synchronize as synchronize,
)
from .graphs import (
    CUDAGraph as CUDAGraph,
    graph as graph,
    graph_pool_handle as graph_pool_handle,
    is_current_stream_capturing as is_current_stream_capturing,
    make_graphed_callables as make_graphed_callables,
)
from .memory import (
    caching_allocator_alloc as caching_allocator_alloc,
    caching_allocator_delete as caching_allocator_delete,
    device_memory_used as device_memory_used,
    empty_cache as empty_cache,
    get_allocator_backend as get_allocator_backend,
    get_per_process_memory_fraction as get_per_process_memory_fraction,
    host_memory_stats as host_memory_stats,
    host_memory_stats_as_nested_dict as host_memory_stats_as_nested_dict,
    max_memory_allocated as max_memory_allocated,
    max_memory_cached as max_memory_cached,
    max_memory_reserved as max_memory_reserved,
    mem_get_info as mem_get_info,
    memory_allocated as memory_allocated,
    memory_cached as memory_cached,
    memory_reserved as memory_reserved,
    memory_stats as memory_stats,
    memory_stats_as_nested_dict as memory_stats_as_nested_dict,
    memory_summary as memory_summary,
    reset_accumulated_host_memory_stats as reset_accumulated_host_memory_stats,
    reset_accumulated_memory_stats as reset_accumulated_memory_stats,
    reset_max_memory_allocated as reset_max_memory_allocated,
    reset_max_memory_cached as reset_max_memory_cached,
    reset_peak_host_memory_stats as reset_peak_host_memory_stats,
    reset_peak_memory_stats as reset_peak_memory_stats,
    set_per_process_memory_fraction as set_per_process_memory_fraction,
)
from .random import (
    generator_of as generator_of,
    get_rng_state as get_rng_state,
    get_rng_state_all as get_rng_state_all,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    manual_seed_all as manual_seed_all,
    seed as seed,
    seed_all as seed_all,
    set_rng_state as set_rng_state,
    set_rng_state_all as set_rng_state_all,
)
from .status import (
    CudaError as CudaError,
    DeferredCudaCallError as DeferredCudaCallError,
    check_error as check_error,
    cudart as cudart,
    cudaStatus as cudaStatus,
)
from .streams import (
    Event as Event,
    ExternalStream as ExternalStream,
    Stream as Stream,
    StreamContext as StreamContext,
    current_stream as current_stream,
    default_stream as default_stream,
    get_stream_from_external as get_stream_from_external,
    set_stream as set_stream,
    stream as stream,
)
from .telemetry import (
    clock_rate as clock_rate,
    list_gpu_processes as list_gpu_processes,
    memory_usage as memory_usage,
    power_draw as power_draw,
    temperature as temperature,
    utilization as utilization,
)

OutOfMemoryError = _memory.OutOfMemoryError
has_half, has_magma = True, False


def __getattr__(name: str) -> object:
    if name == "default_generators":  # one a device, and devices are looked for only when asked
        return tuple(generator_of(index) for index in range(device_count()))
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


# -- operators without a kernel --------------------------------------------------------------


def fallbacks() -> dict[str, int]:
    """How often each operator ran on the host for tensors on a device, the most frequent first.

    Example:
        >>> import tritorch as torch
        >>> torch.cuda.fallbacks()
        {}
    """
    return dict(FALLBACKS.most_common())


# -- typed tensors and storages ----------------------------------------------------------------

for _name, _short in TYPE_NAMES.items():
    _kind = getattr(dtypes, "bool_" if _name == "bool" else _name)
    globals()[f"{_short}Storage"] = typed_storage(_kind, Device("cuda"))
    if not _short.startswith("Complex"):
        globals()[f"{_short}Tensor"] = typed(_kind, Device("cuda"))
