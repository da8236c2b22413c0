"""Products of float8 matrices with scales.

The elements go to the tensor cores as they are where those take float8, and as float16, which holds
each of them, elsewhere. Sums are kept in float32; scales and bias come to them at the end.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._choice import chosen, remembered
from ._dense import cdiv, clip, is_wide, pow2, stages, swizzle
from ._product import Tiles
from ._rows import as_bytes

FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
OUTPUTS = ("float32", "float16", "bfloat16")


@triton.jit
def half(b, E5M2: tl.constexpr):
    """The float16 of the bits of float8: of e4m3 the exponent is 8 less."""
    b = b.to(tl.uint16)
    if E5M2:
        x = (b << 8).to(tl.float16, bitcast=True)
    else:
        size = b & 0x7F
        x = ((b & 0x80) << 8 | size << 7).to(tl.float16, bitcast=True) * 256
        x = tl.where(size == 0x7F, float("nan"), x)
    return x


@triton.jit
def dot8(
    a, b, acc, A_E5M2: tl.constexpr, B_E5M2: tl.constexpr, DECODE: tl.constexpr,
    UPCAST: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """acc + a @ b of float8, or with DECODE of their bits. On sm_90 tensor cores sum in fewer bits
    than float32 has: without FAST no longer than over one block."""
    if DECODE:
        a = half(a, A_E5M2)
        b = half(b, B_E5M2)
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    if FAST or DECODE or UPCAST:
        acc = tl.dot(a, b, acc, input_precision="ieee")
    else:
        acc = tl.dot(a, b, acc, input_precision="ieee", max_num_imprecise_acc=a.shape[1])
    return acc


@triton.jit
def scaled_forward_kernel(
    p_a,  # (M, K) float8, or their bits
    p_b,  # (K, N) float8, or their bits
    p_sa,  # (M,) float32
    p_sb,  # (N,) float32
    p_bias,  # (N,); read where HAS_BIAS
    p_out,  # (M, N)
    m, n, k,
    s_am, s_ak, s_bk, s_bn, s_sa, s_sb, s_bias, s_om, s_on,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr, WIDE: tl.constexpr, HAS_BIAS: tl.constexpr, A_E5M2: tl.constexpr,
    B_E5M2: tl.constexpr, DECODE: tl.constexpr, UPCAST: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """out = (a @ b) * sa[:, None] * sb + bias, a tile of BM x BN a program."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    i_m, i_n = swizzle(i, tl.cdiv(m, BM), tl.cdiv(n, BN), GROUP_M)
    o_m = i_m * BM + tl.arange(0, BM)
    o_n = i_n * BN + tl.arange(0, BN)
    o_k = tl.arange(0, BK)
    # rows and columns past the end wrap around: their results are not stored
    q_a = p_a + (o_m % m)[:, None] * s_am + o_k[None, :] * s_ak
    q_b = p_b + o_k[:, None] * s_bk + (o_n % n)[None, :] * s_bn
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    k_full = k // BK * BK
    for _ in range(0, k_full, BK):
        acc = dot8(tl.load(q_a), tl.load(q_b), acc, A_E5M2, B_E5M2, DECODE, UPCAST, FAST)
        q_a += BK * s_ak
        q_b += BK * s_bk
    if not EVEN_K:
        m_k = o_k + k_full < k
        b_a = tl.load(q_a, mask=m_k[None, :], other=0.0)
        b_b = tl.load(q_b, mask=m_k[:, None], other=0.0)
        acc = dot8(b_a, b_b, acc, A_E5M2, B_E5M2, DECODE, UPCAST, FAST)

    m_m, m_n = o_m < m, o_n < n
    acc *= tl.load(p_sa + o_m * s_sa, mask=m_m, other=0.0)[:, None]
    acc *= tl.load(p_sb + o_n * s_sb, mask=m_n, other=0.0)[None, :]
    if HAS_BIAS:
        acc += tl.load(p_bias + o_n * s_bias, mask=m_n, other=0.0).to(tl.float32)[None, :]
    q_out = p_out + o_m[:, None] * s_om + o_n[None, :] * s_on
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_m[:, None] & m_n[None, :])


# -- host --------------------------------------------------------------------------------------


def has_float8(target: Any) -> bool:
    """Whether the tensor cores of a target take float8 in these two formats."""
    return target.backend == "cuda" and target.arch >= 89


@remembered(4096)
def tiles(m: int, n: int, decode: bool, fast: bool, aligned: bool, target: Any) -> Tiles:
    """The blocks of a product: found by a search, or else the analytic choice."""
    bm = bn = 128
    bk = 128
    if not aligned:
        bn, bk = 64, 32  # elements arrive one by one, through registers
    elif decode:
        bk = 64  # the float16 of both blocks live in registers
    elif fast and target.arch == 90:
        bn = 256  # without a second block of sums beside the first
    bm, bn = clip(pow2(m), 16, bm), clip(pow2(n), 16, bn)
    while bn > 64 and cdiv(m, bm) * cdiv(n, bn) < target.sms:
        bn //= 2
    while bm > 64 and cdiv(m, bm) * cdiv(n, bn) < target.sms:
        bm //= 2
    warps = 8 if bm * bn > 1 << 12 and target.backend == "cuda" else 4
    most = 2 if target.backend == "hip" else 4
    first = Tiles(bm, bn, bk, warps, stages(target.shared_memory, (bm + bn) * bk, most))
    kind = f"scaled product{' decode' * decode}{' fast' * fast}{' unaligned' * (not aligned)}"
    return chosen(target, kind, (m, n), first)


def _is_aligned(x: Any, k: int) -> bool:
    """Whether 16-byte loads along dimension `k` serve a matrix."""
    return x.strides[k] == 1 and x.strides[1 - k] % 16 == 0 and x.ptr % 16 == 0


def scaled_mm(
    launch: Any, out: Any, a: Any, b: Any, scale_a: Any, scale_b: Any, bias: Any, *, fast: bool
) -> Any:
    """(scale_a * a) @ (scale_b * b) + bias: float8 (M, K) and (K, N), float32 scales that broadcast
    to (M, 1) and (1, N), `bias` (N,) or None -> out (M, N)."""
    names = (a.dtype.name, b.dtype.name)
    if not {*names} <= {*FLOAT8} or out.dtype.name not in OUTPUTS:
        return NotImplemented
    target = launch.target
    (m, k), n = a.shape, b.shape[1]
    decode = not has_float8(target)
    fast = fast or target.arch != 90  # elsewhere the sums are exact, or nothing can be done
    t = tiles(m, n, decode, fast, _is_aligned(a, 1) and _is_aligned(b, 0), target)
    rows, columns = scale_a.broadcast_to((m, 1)), scale_b.broadcast_to((1, n))
    s_bias = 0 if bias is None else bias.strides[0]
    launch(
        scaled_forward_kernel,
        (cdiv(m, t.bm) * cdiv(n, t.bn),),
        [
            *((as_bytes(a), as_bytes(b)) if decode else (a, b)), scale_a, scale_b,
            scale_b if bias is None else bias, out, m, n, k, *a.strides, *b.strides,
            rows.strides[0], columns.strides[1], s_bias, *out.strides,
        ],
        {
            "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8, "EVEN_K": k % t.bk == 0,
            "WIDE": is_wide(a, b, out), "HAS_BIAS": bias is not None,
            "A_E5M2": names[0] == FLOAT8[1], "B_E5M2": names[1] == FLOAT8[1], "DECODE": decode,
            "UPCAST": target.interpreted, "FAST": fast,
        },
        num_warps=t.warps,
        num_stages=t.stages,
    )  # fmt: skip
    return None
