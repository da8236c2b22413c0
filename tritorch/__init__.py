"""tritorch: PyTorch's semantics, NumPy on the CPU, hand-written Triton kernels on GPUs."""

from . import autograd as autograd
from .autograd.mode import (
    enable_grad as enable_grad,
)
from .autograd.mode import (
    inference_mode as inference_mode,
)
from .autograd.mode import (
    is_grad_enabled as is_grad_enabled,
)
from .autograd.mode import (
    is_inference_mode_enabled as is_inference_mode_enabled,
)
from .autograd.mode import (
    no_grad as no_grad,
)
from .autograd.mode import (
    set_grad_enabled as set_grad_enabled,
)
from .device import device as device
from .device import get_default_device as get_default_device
from .device import set_default_device as set_default_device
from .dtypes import (
    DType as dtype,
)
from .dtypes import (
    bfloat16 as bfloat16,
)
from .dtypes import (
    bool_ as bool,
)
from .dtypes import (
    can_cast as can_cast,
)
from .dtypes import (
    complex64 as complex64,
)
from .dtypes import (
    complex128 as complex128,
)
from .dtypes import (
    finfo as finfo,
)
from .dtypes import (
    float8_e4m3fn as float8_e4m3fn,
)
from .dtypes import (
    float8_e5m2 as float8_e5m2,
)
from .dtypes import (
    float16 as float16,
)
from .dtypes import (
    float32 as float32,
)
from .dtypes import (
    float64 as float64,
)
from .dtypes import (
    get_default_dtype as get_default_dtype,
)
from .dtypes import (
    iinfo as iinfo,
)
from .dtypes import (
    int8 as int8,
)
from .dtypes import (
    int16 as int16,
)
from .dtypes import (
    int32 as int32,
)
from .dtypes import (
    int64 as int64,
)
from .dtypes import (
    promote_types as promote_types,
)
from .dtypes import (
    set_default_dtype as set_default_dtype,
)
from .dtypes import (
    uint8 as uint8,
)
from .dtypes import (
    uint16 as uint16,
)
from .dtypes import (
    uint32 as uint32,
)
from .dtypes import (
    uint64 as uint64,
)
from .ops import arithmetic, copy, create, reduce, unary, view  # noqa: F401
from .ops.api import PUBLIC
from .runtime.parallel import get_num_threads as get_num_threads
from .runtime.parallel import set_num_threads as set_num_threads
from .tensor import Size as Size
from .tensor import Tensor as Tensor

half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128
globals().update(PUBLIC)

__version__ = "0.1.0"
