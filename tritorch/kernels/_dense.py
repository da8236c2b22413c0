"""What the matmul, convolution and pooling kernels share: block helpers and launch arithmetic."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from .. import dtypes
from .elementwise_activations import gelu, relu

INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")


@triton.jit
def dot(a, b, acc, DOT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    """acc + a @ b; without DOT, for integers, as the sum of a broadcast product."""
    if DOT:
        if UPCAST:
            a = a.to(tl.float32)
            b = b.to(tl.float32)
        acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=acc.dtype)
    else:
        product = a.to(acc.dtype)[:, :, None] * b.to(acc.dtype)[None, :, :]
        acc += tl.sum(product, axis=1).to(acc.dtype)
    return acc


@triton.jit
def activate(x, ACT: tl.constexpr):
    """The activation of that name, relu or gelu, of a block; the block itself where it is empty."""
    if ACT == "relu":
        x = relu(x)
    if ACT == "gelu":
        x = gelu(x)
    return x


@triton.jit
def multiple(x, VEC: tl.constexpr, MULTIPLES: tl.constexpr, BIT: tl.constexpr):
    """`x`, known to the compiler as a multiple of VEC where that bit of MULTIPLES is set."""
    if (MULTIPLES >> BIT) & 1:
        x = x // VEC * VEC
    return x


@triton.jit
def swizzle(i_tile, n_m, n_n, GROUP_M: tl.constexpr):
    """Row and column of a tile, in an order that walks GROUP_M rows of tiles together."""
    i_group = i_tile // (GROUP_M * n_n)
    first = i_group * GROUP_M
    rows = min(n_m - first, GROUP_M)
    rest = i_tile % (GROUP_M * n_n)
    return first + rest % rows, rest // rows


@triton.jit
def batch_offset(i_b, n_b1, n_b2, s_b0, s_b1, s_b2):
    """The offset of the i_b-th matrix in a batch of shape (any, n_b1, n_b2)."""
    return i_b // (n_b1 * n_b2) * s_b0 + i_b // n_b2 % n_b1 * s_b1 + i_b % n_b2 * s_b2


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def pow2(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def clip(n: int, low: int, high: int) -> int:
    return max(low, min(n, high))


def multiples(vec: int, *values: int) -> int:
    """Which values are multiples of `vec`, a bit each. Those of 16 are known without it."""
    return sum(1 << i for i, v in enumerate(values) if v % vec == 0 and v % 16)


def is_wide(*arrays: Any) -> bool:
    """Whether an offset into one of the arrays passes int32."""
    for x in arrays:
        if x is not None:
            last = 0
            for n, s in zip(x.shape, x.strides):
                last += (n - 1) * abs(s)
            if last >= 2**31 - 1:
                return True
    return False


def accumulator(name: str) -> tl.dtype:
    """The type in which kernels keep sums of dtype `name`."""
    if name in INTS:
        return tl.int64 if name.endswith("64") else tl.int32
    return tl.float64 if name == "float64" else tl.float32


def scratch(launch: Any, shape: tuple[int, ...], name: str) -> Any:
    """Memory for sums of dtype `name`, as `accumulator` keeps them."""
    bits = "64" if name.endswith("64") else "32"
    return launch.empty(shape, getattr(dtypes, ("int" if name in INTS else "float") + bits))


def stages(shared_memory: int, stage: int, most: int) -> int:
    """How many pipeline stages of `stage` bytes fit the shared memory."""
    return clip(shared_memory // stage, 1, most)
