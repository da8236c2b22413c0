"""tritorch: PyTorch's semantics, NumPy on the CPU, hand-written Triton kernels on GPUs."""

from . import autograd as autograd, testing as testing
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
from .ops import (  # noqa: F401
    activation,
    along,
    arithmetic,
    attention,
    bag,
    batch_norm,
    complex_parts,
    complex_view,
    convolution,
    copy,
    create,
    cross_entropy,
    ctc,
    diag,
    distance,
    dropout,
    einsum,
    embedding,
    extremes,
    fft_public,
    fill,
    folding,
    generator,
    grid,
    group_norm,
    index,
    interop,
    interpolate,
    join,
    legacy,
    linear_entropy,
    loss,
    margin,
    mask,
    matmul,
    moments,
    multihead,
    native,
    nll,
    norm,
    pad,
    pieces,
    pooling,
    pooling_adaptive,
    pooling_fractional,
    positions,
    printing,
    products,
    python,
    random,
    rearrange,
    recurrent,
    recurrent_layers,
    reduce,
    scan,
    scatter,
    shrink,
    softmax,
    sort,
    special,
    stft,
    strided,
    unary,
    vector_norm,
    view,
    windows,
)
from .ops.api import PUBLIC
from .runtime.parallel import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
)
from .tensor import Size as Size, Tensor as Tensor

half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128
globals().update(PUBLIC)

__version__ = "0.1.0"

from . import (  # noqa: E402  after the operators
    backends as backends,
    cuda as cuda,
    fft as fft,
    nn as nn,
    optim as optim,
    signal as signal,
    utils as utils,
)
from .serialization import load as load, save as save  # noqa: E402
