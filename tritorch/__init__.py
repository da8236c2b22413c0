"""tritorch: PyTorch's semantics, NumPy on the CPU, hand-written Triton kernels on GPUs."""

from math import e as e, inf as inf, nan as nan, pi as pi

from . import autograd as autograd, testing as testing
from .autograd.anomaly_mode import (
    is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled,
    is_anomaly_enabled as is_anomaly_enabled,
    set_anomaly_enabled as set_anomaly_enabled,
)
from .autograd.mode import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from .device import (
    device as device,
    get_default_device as get_default_device,
    set_default_device as set_default_device,
)
from .dtypes import (
    DType as dtype,  # noqa: F401
    bfloat16 as bfloat16,
    bool_ as bool,  # noqa: F401
    can_cast as can_cast,
    complex64 as complex64,
    complex128 as complex128,
    finfo as finfo,
    float8_e4m3fn as float8_e4m3fn,
    float8_e5m2 as float8_e5m2,
    float16 as float16,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    iinfo as iinfo,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    promote_types as promote_types,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
    uint16 as uint16,
    uint32 as uint32,
    uint64 as uint64,
)
from .formats import (
    channels_last as channels_last,
    channels_last_3d as channels_last_3d,
    contiguous_format as contiguous_format,
    jagged as jagged,
    layout as layout,
    memory_format as memory_format,
    preserve_format as preserve_format,
    sparse_bsc as sparse_bsc,
    sparse_bsr as sparse_bsr,
    sparse_coo as sparse_coo,
    sparse_csc as sparse_csc,
    sparse_csr as sparse_csr,
    strided as strided,
)
from .ops import (  # noqa: F401
    activation,
    along,
    api,
    arithmetic,
    aten,
    attention,
    bag,
    batch_norm,
    buffers,
    complex_parts,
    complex_view,
    convolution,
    copy,
    create,
    create_new,
    cross_entropy,
    ctc,
    diag,
    distance,
    dropout,
    duplicate,
    einsum,
    embedding,
    extremes,
    fft_public,
    fill,
    folding,
    foreach,
    generator,
    gradient,
    grid,
    group_norm,
    grouped,
    histogram,
    in_place as in_place,
    index,
    interop,
    interpolate,
    join,
    legacy,
    linalg_decompose,
    linalg_ldl,
    linalg_lowrank,
    linalg_lstsq,
    linalg_norm,
    linalg_product,
    linalg_reflect,
    linalg_threads,
    linalg_triangular,
    linear_entropy,
    loss,
    margin,
    mask,
    masked as _masked,
    matmul,
    moments,
    multihead,
    native,
    nll,
    norm,
    numbers,
    pad,
    pieces,
    pooling,
    pooling_adaptive,
    pooling_fractional,
    positions,
    printing,
    products,
    python,
    quantile,
    random,
    random_draws,
    random_gamma,
    ranges,
    rearrange,
    recurrent,
    recurrent_layers,
    reduce,
    scaled,
    scan,
    scatter,
    segments,
    sharing,
    shrink,
    softmax,
    sort,
    special_bessel,
    special_gamma,
    special_normal,
    special_polynomials,
    statistics,
    stft,
    storages,
    strided as _strided,
    symbolic,
    ternary,
    unary,
    unsupported,
    varlen,
    vector_norm,
    view,
    windows,
)
from .ops.api import PUBLIC
from .ops.symbolic import SymBool as SymBool, SymFloat as SymFloat, SymInt as SymInt
from .runtime.launch import LaunchError as AcceleratorError  # noqa: F401
from .runtime.parallel import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
)
from .tensor import Size as Size, Tensor as Tensor

newaxis = None
legacy_contiguous_format = contiguous_format
has_lapack = has_spectral = has_openmp = True  # NumPy's and SciPy's, and threads of our own
has_mkl = has_mkldnn = False
half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128
api.finish()
in_place.publish()
api.place()
globals().update(PUBLIC)

__version__ = "0.1.0"

from . import (  # noqa: E402  after the operators
    accelerator as accelerator,
    amp as amp,
    backends as backends,
    compiler as compiler,
    cpu as cpu,
    cuda as cuda,
    fft as fft,
    func as func,
    jit as jit,
    linalg as linalg,
    masked as masked,
    nested as nested,
    nn as nn,
    optim as optim,
    overrides as overrides,
    signal as signal,
    sparse as sparse,
    special as special,
    utils as utils,
    version as version,
)
from .amp.autocast_mode import (  # noqa: E402
    autocast as autocast,
    autocast_decrement_nesting as autocast_decrement_nesting,
    autocast_increment_nesting as autocast_increment_nesting,
    clear_autocast_cache as clear_autocast_cache,
    get_autocast_cpu_dtype as get_autocast_cpu_dtype,
    get_autocast_dtype as get_autocast_dtype,
    get_autocast_gpu_dtype as get_autocast_gpu_dtype,
    is_autocast_cache_enabled as is_autocast_cache_enabled,
    is_autocast_cpu_enabled as is_autocast_cpu_enabled,
    is_autocast_enabled as is_autocast_enabled,
    set_autocast_cache_enabled as set_autocast_cache_enabled,
    set_autocast_cpu_dtype as set_autocast_cpu_dtype,
    set_autocast_cpu_enabled as set_autocast_cpu_enabled,
    set_autocast_dtype as set_autocast_dtype,
    set_autocast_enabled as set_autocast_enabled,
    set_autocast_gpu_dtype as set_autocast_gpu_dtype,
)
from .compat import (  # noqa: E402
    install_as_torch as install_as_torch,
    uninstall_as_torch as uninstall_as_torch,
)
from .compiler import compile as compile, cond as cond  # noqa: E402
from .func import vmap as vmap  # noqa: E402
from .serialization import load as load, save as save  # noqa: E402
from .settings import (  # noqa: E402
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode as get_deterministic_debug_mode,
    get_device_module as get_device_module,
    get_float32_matmul_precision as get_float32_matmul_precision,
    get_num_interop_threads as get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled as is_deterministic_algorithms_warn_only_enabled,
    is_warn_always_enabled as is_warn_always_enabled,
    set_deterministic_debug_mode as set_deterministic_debug_mode,
    set_float32_matmul_precision as set_float32_matmul_precision,
    set_flush_denormal as set_flush_denormal,
    set_num_interop_threads as set_num_interop_threads,
    set_warn_always as set_warn_always,
    use_deterministic_algorithms as use_deterministic_algorithms,
)

to_dlpack = utils.dlpack.to_dlpack
Stream, Event = cuda.Stream, cuda.Event
OutOfMemoryError = cuda.OutOfMemoryError
_LAZY = (
    "distributed",
    "distributions",
    "models",
    "multiprocessing",
    "perf",
    "profiler",
    "text",
    "vision",
)  # namespaces that are imported when they are first asked for
_TOOLS = ("explain", "tune")  # functions of the modules of the same names in `perf`


def __getattr__(name: str) -> object:
    if name in _LAZY or name in _TOOLS:
        import importlib

        if name in _TOOLS:
            return getattr(importlib.import_module(f".perf.{name}", __name__), name)
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_TOOLS})
