"""Matrix products: two tiled kernels, one for a vector operand, and the second pass of split-K.

Operands have any strides; a batch is up to three dimensions of strides, 0 where it is broadcast.
Sums are kept in float32 (float64 for float64, wrapping integers for integers). Where the tiles do
not fill the GPU, K is split: partial sums go to scratch and a second pass adds them in order, so
results are the same from run to run. Where there are many tiles of 16-bit floats, and the device
reads by tensor descriptors, as many programs as it has multiprocessors share them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from ._dense import (
    FLOATS,
    INTS,
    accumulator,
    activate,
    batch_offset,
    cdiv,
    dot,
    is_wide,
    multiple,
    scratch,
    swizzle,
)
from ._product import View, plan


@triton.jit
def finish(
    acc, p_c, o_m, o_n, m, n, s_cm, s_cn, alpha, beta,
    HAS_C: tl.constexpr, C_IS_ROW: tl.constexpr, SCALED: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """act(alpha * acc + beta * c) of a block whose rows and columns are o_m and o_n."""
    if SCALED:
        acc *= alpha
    if HAS_C:
        if C_IS_ROW:
            b_c = tl.load(p_c + o_n * s_cn, mask=o_n < n, other=0)[None, :]
        else:
            m_c = (o_m < m)[:, None] & (o_n < n)[None, :]
            b_c = tl.load(p_c + o_m[:, None] * s_cm + o_n[None, :] * s_cn, mask=m_c, other=0)
        if SCALED:
            acc += b_c.to(acc.dtype) * beta
        else:
            acc += b_c.to(acc.dtype)
    return activate(acc, ACT)


@triton.jit
def matmul_forward_kernel(
    p_a,  # (b0, b1, b2, M, K)
    p_b,  # (b0, b1, b2, K, N)
    p_c,  # (b0, b1, b2, M, N); read where HAS_C
    p_out,  # (b0, b1, b2, M, N), or (splits, b0, b1, b2, M, N) where splits > 1
    m, n, k, n_b1, n_b2, splits, k_split,
    s_a0, s_a1, s_a2, s_am, s_ak,
    s_b0, s_b1, s_b2, s_bk, s_bn,
    s_c0, s_c1, s_c2, s_cm, s_cn,
    s_o0, s_o1, s_o2, s_om, s_on, s_os,
    alpha, beta,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    BATCHED: tl.constexpr, EVEN_K: tl.constexpr, WIDE: tl.constexpr, HAS_C: tl.constexpr,
    C_IS_ROW: tl.constexpr, SCALED: tl.constexpr, ACC: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, VEC: tl.constexpr, MULTIPLES: tl.constexpr,
    ACT: tl.constexpr,
):  # fmt: skip
    """out = act(alpha * a @ b + beta * c), a tile of BM x BN a program."""
    m = multiple(m, VEC, MULTIPLES, 0)
    n = multiple(n, VEC, MULTIPLES, 1)
    k = multiple(k, VEC, MULTIPLES, 2)
    s_am = multiple(s_am, VEC, MULTIPLES, 3)
    s_ak = multiple(s_ak, VEC, MULTIPLES, 4)
    s_bk = multiple(s_bk, VEC, MULTIPLES, 5)
    s_bn = multiple(s_bn, VEC, MULTIPLES, 6)
    s_om = multiple(s_om, VEC, MULTIPLES, 7)
    s_on = multiple(s_on, VEC, MULTIPLES, 8)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_m = tl.cdiv(m, BM)
    n_n = tl.cdiv(n, BN)
    i_m, i_n = swizzle(i % (n_m * n_n), n_m, n_n, GROUP_M)
    i_split = i // (n_m * n_n) % splits
    i_b = i // (n_m * n_n * splits)
    o_m = i_m * BM + tl.arange(0, BM)
    o_n = i_n * BN + tl.arange(0, BN)
    k_start = i_split * k_split
    k_end = min(k, k_start + k_split)
    k_full = (k_end - k_start) // BK * BK
    o_k = k_start + tl.arange(0, BK)
    if BATCHED:
        o_a = batch_offset(i_b, n_b1, n_b2, s_a0, s_a1, s_a2)
        o_b = batch_offset(i_b, n_b1, n_b2, s_b0, s_b1, s_b2)
        p_a += multiple(o_a, VEC, MULTIPLES, 9)
        p_b += multiple(o_b, VEC, MULTIPLES, 10)
    # Rows and columns past the end wrap around instead of being masked: their results are not
    # stored, and loads without a mask stay wide.
    q_a = p_a + (o_m % m)[:, None] * s_am + o_k[None, :] * s_ak
    q_b = p_b + o_k[:, None] * s_bk + (o_n % n)[None, :] * s_bn
    acc = tl.zeros((BM, BN), dtype=ACC)
    for _ in range(0, k_full, BK):
        acc = dot(tl.load(q_a), tl.load(q_b), acc, DOT, PRECISION, UPCAST)
        q_a += BK * s_ak
        q_b += BK * s_bk
    if not EVEN_K:
        m_k = o_k + k_full < k_end
        b_a = tl.load(q_a, mask=m_k[None, :], other=0)
        b_b = tl.load(q_b, mask=m_k[:, None], other=0)
        acc = dot(b_a, b_b, acc, DOT, PRECISION, UPCAST)

    if BATCHED:
        if HAS_C:
            p_c += batch_offset(i_b, n_b1, n_b2, s_c0, s_c1, s_c2)
        o_out = batch_offset(i_b, n_b1, n_b2, s_o0, s_o1, s_o2)
        p_out += multiple(o_out, VEC, MULTIPLES, 11)
    b_out = finish(
        acc, p_c, o_m, o_n, m, n, s_cm, s_cn, alpha, beta, HAS_C, C_IS_ROW, SCALED, ACT
    )  # fmt: skip
    m_out = (o_m < m)[:, None] & (o_n < n)[None, :]
    q_out = p_out + i_split * s_os + o_m[:, None] * s_om + o_n[None, :] * s_on
    tl.store(q_out, b_out.to(p_out.dtype.element_ty), mask=m_out)


@triton.jit
def describe(
    p, n_b, rows, columns, s_b, s_row, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    BATCHED: tl.constexpr,
):  # fmt: skip
    """A descriptor of `n_b` matrices, in blocks of ROWS x COLUMNS; outside of them are zeros."""
    if BATCHED:
        return tl.make_tensor_descriptor(
            p, [n_b, rows, columns], [s_b, s_row, 1], [1, ROWS, COLUMNS]
        )
    else:
        return tl.make_tensor_descriptor(p, [rows, columns], [s_row, 1], [ROWS, COLUMNS])


@triton.jit
def read(d, i_b, o_row, o_column, BATCHED: tl.constexpr):
    """The block of a descriptor at a row and column of the i_b-th matrix, (ROWS, COLUMNS)."""
    if BATCHED:
        b = d.load([i_b, o_row, o_column])
        return tl.reshape(b, (b.shape[1], b.shape[2]))
    else:
        return d.load([o_row, o_column])


@triton.jit
def write(d, i_b, o_row, o_column, b, BATCHED: tl.constexpr):
    """Store such a block, without what is outside."""
    if BATCHED:
        d.store([i_b, o_row, o_column], tl.reshape(b, (1, b.shape[0], b.shape[1])))
    else:
        d.store([o_row, o_column], b)


@triton.jit
def matmul_persistent_kernel(
    p_a,  # (1 or B, M, K); (1 or B, K, M) where TURN_A
    p_b,  # (1 or B, K, N); (1 or B, N, K) where TURN_B
    p_c,  # (B, M, N); read where HAS_C
    p_out,  # (B, M, N)
    m, n, k, n_b, n_ab, n_bb,
    s_ab, s_a, s_bb, s_b, s_cb, s_cm, s_cn, s_ob, s_o,
    alpha, beta,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    BATCHED: tl.constexpr, TURN_A: tl.constexpr, TURN_B: tl.constexpr, HALVES: tl.constexpr,
    WIDE: tl.constexpr, HAS_C: tl.constexpr, C_IS_ROW: tl.constexpr, SCALED: tl.constexpr,
    UPCAST: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """out = act(alpha * a @ b + beta * c): a program takes every tile at its number of programs.

    The engine for bulk copies moves the blocks. With HALVES a tile leaves as two of half its width,
    which take half the shared memory.
    """
    if TURN_A:
        d_a = describe(p_a, n_ab, k, m, s_ab, s_a, BK, BM, BATCHED)
    else:
        d_a = describe(p_a, n_ab, m, k, s_ab, s_a, BM, BK, BATCHED)
    if TURN_B:
        d_b = describe(p_b, n_bb, n, k, s_bb, s_b, BN, BK, BATCHED)
    else:
        d_b = describe(p_b, n_bb, k, n, s_bb, s_b, BK, BN, BATCHED)
    WIDTH: tl.constexpr = BN // 2 if HALVES else BN
    d_out = describe(p_out, n_b, m, n, s_ob, s_o, BM, WIDTH, BATCHED)
    n_m = tl.cdiv(m, BM)
    n_n = tl.cdiv(n, BN)
    step = tl.num_programs(0)
    i_done = tl.program_id(0) - step
    for i in tl.range(tl.program_id(0), n_m * n_n * n_b, step, flatten=True):
        i_b = i // (n_m * n_n)
        i_m, i_n = swizzle(i % (n_m * n_n), n_m, n_n, GROUP_M)
        i_ab = tl.minimum(i_b, n_ab - 1)
        i_bb = tl.minimum(i_b, n_bb - 1)
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for i_k in range(0, tl.cdiv(k, BK)):
            if TURN_A:
                b_a = read(d_a, i_ab, i_k * BK, i_m * BM, BATCHED).T
            else:
                b_a = read(d_a, i_ab, i_m * BM, i_k * BK, BATCHED)
            if TURN_B:
                b_b = read(d_b, i_bb, i_n * BN, i_k * BK, BATCHED).T
            else:
                b_b = read(d_b, i_bb, i_k * BK, i_n * BN, BATCHED)
            acc = dot(b_a, b_b, acc, True, "ieee", UPCAST)
        # The tile again, of a count of its own: the loads of the next one need not wait for it.
        i_done += step
        i_b = i_done // (n_m * n_n)
        i_m, i_n = swizzle(i_done % (n_m * n_n), n_m, n_n, GROUP_M)
        if HALVES:
            parts = tl.split(tl.permute(tl.reshape(acc, (BM, 2, WIDTH)), (0, 2, 1)))
        else:
            parts = (acc,)
        for i_part in tl.static_range(BN // WIDTH):
            first = i_n * BN + i_part * WIDTH
            o_m = i_m * BM + tl.arange(0, BM)
            o_n = first + tl.arange(0, WIDTH)
            q_c = p_c
            if WIDE:
                o_m = o_m.to(tl.int64)
                o_n = o_n.to(tl.int64)
            if BATCHED and HAS_C:
                q_c += i_b.to(tl.int64) * s_cb
            b_out = finish(
                parts[i_part], q_c, o_m, o_n, m, n, s_cm, s_cn, alpha, beta,
                HAS_C, C_IS_ROW, SCALED, ACT,
            )  # fmt: skip
            write(d_out, i_b, i_m * BM, first, b_out.to(p_out.dtype.element_ty), BATCHED)


@triton.jit
def gemv_forward_kernel(
    p_a,  # (b0, b1, b2, M, K)
    p_x,  # (b0, b1, b2, K)
    p_c,  # (b0, b1, b2, M); read where HAS_C
    p_out,  # (b0, b1, b2, M), or (splits, b0, b1, b2, M) where splits > 1
    m, k, n_b1, n_b2, splits, k_split,
    s_a0, s_a1, s_a2, s_am, s_ak,
    s_x0, s_x1, s_x2, s_xk,
    s_c0, s_c1, s_c2, s_cm,
    s_o0, s_o1, s_o2, s_om, s_os,
    alpha, beta,
    BM: tl.constexpr, BK: tl.constexpr, EVEN_K: tl.constexpr,
    WIDE: tl.constexpr, HAS_C: tl.constexpr, SCALED: tl.constexpr, ACC: tl.constexpr,
    ACT: tl.constexpr,
):  # fmt: skip
    """out = act(alpha * a @ x + beta * c), BM rows a program; bound by the reading of `a`."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_m = tl.cdiv(m, BM)
    i_split = i // n_m % splits
    i_b = i // (n_m * splits)
    o_m = i % n_m * BM + tl.arange(0, BM)
    k_start = i_split * k_split
    k_end = min(k, k_start + k_split)
    k_full = (k_end - k_start) // BK * BK
    o_k = k_start + tl.arange(0, BK)
    p_a += batch_offset(i_b, n_b1, n_b2, s_a0, s_a1, s_a2)
    p_x += batch_offset(i_b, n_b1, n_b2, s_x0, s_x1, s_x2)
    q_a = p_a + (o_m % m)[:, None] * s_am + o_k[None, :] * s_ak
    q_x = p_x + o_k * s_xk
    acc = tl.zeros((BM, BK), dtype=ACC)
    for _ in range(0, k_full, BK):
        acc += tl.load(q_a).to(ACC) * tl.load(q_x).to(ACC)[None, :]
        q_a += BK * s_ak
        q_x += BK * s_xk
    if not EVEN_K:
        m_k = o_k + k_full < k_end
        b_a = tl.load(q_a, mask=m_k[None, :], other=0).to(ACC)
        acc += b_a * tl.load(q_x, mask=m_k, other=0).to(ACC)[None, :]

    b_out = tl.sum(acc, axis=1).to(ACC)
    m_out = o_m < m
    if SCALED:
        b_out *= alpha
    if HAS_C:
        p_c += batch_offset(i_b, n_b1, n_b2, s_c0, s_c1, s_c2)
        b_c = tl.load(p_c + o_m * s_cm, mask=m_out, other=0).to(ACC)
        if SCALED:
            b_c *= beta
        b_out += b_c
    p_out += batch_offset(i_b, n_b1, n_b2, s_o0, s_o1, s_o2)
    q_out = p_out + i_split * s_os + o_m * s_om
    tl.store(q_out, activate(b_out, ACT).to(p_out.dtype.element_ty), mask=m_out)


@triton.jit
def split_sum_kernel(
    p_part,  # (splits, b0 * b1 * b2 * M * N)
    p_c,  # (b0, b1, b2, M, N); read where HAS_C
    p_out,  # (b0, b1, b2, M, N)
    total, m, n, n_b1, n_b2, splits,
    s_c0, s_c1, s_c2, s_cm, s_cn,
    s_o0, s_o1, s_o2, s_om, s_on,
    alpha, beta,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, HAS_C: tl.constexpr, SCALED: tl.constexpr,
    ACC: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """out = act(alpha * part.sum(0) + beta * c), in the order of the splits."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for _ in range(0, splits):
        acc += tl.load(p_part + o, mask=m_o, other=0)
        p_part += total
    o_n = o % n
    o_m = o // n % m
    i_b = o // n // m
    if SCALED:
        acc *= alpha
    if HAS_C:
        o_c = batch_offset(i_b, n_b1, n_b2, s_c0, s_c1, s_c2) + o_m * s_cm + o_n * s_cn
        b_c = tl.load(p_c + o_c, mask=m_o, other=0).to(ACC)
        if SCALED:
            b_c *= beta
        acc += b_c
    o_out = batch_offset(i_b, n_b1, n_b2, s_o0, s_o1, s_o2) + o_m * s_om + o_n * s_on
    tl.store(p_out + o_out, activate(acc, ACT).to(p_out.dtype.element_ty), mask=m_o)


KERNELS = {
    "tiles": matmul_forward_kernel,
    "persistent": matmul_persistent_kernel,
    "vector": gemv_forward_kernel,
}


def _scale(value: float, dtype: str) -> float | int:
    """A scale as an argument of a kernel: floats travel in single precision."""
    if dtype == "float64":
        return np.float64(value)
    return int(value) if dtype in INTS else float(value)


def multiply(
    launch: Any, out: Any, a: Any, b: Any, c: Any, alpha: float, beta: float, precision: str,
    activation: str = "",
) -> Any:  # fmt: skip
    """out = alpha * a @ b + beta * c for arrays of two and more dimensions; `c` may be None.

    `activation`, "relu" or "gelu", is applied to sums of floats.
    """
    dtype = a.dtype.name
    if b.dtype is not a.dtype or (dtype not in FLOATS and dtype not in INTS):
        return NotImplemented
    if c is not None and beta == 0:
        c = None  # not read: NaN times zero would stay
    p = plan(
        View.of(out), View.of(a), View.of(b), None if c is None else View.of(c), dtype, precision,
        alpha != 1 or (c is not None and beta != 1), launch.target,
        c is not None and c.itemsize > a.itemsize, activation,
    )  # fmt: skip
    if p is None:
        for i in range(out.shape[0]):
            parts = (_part(x, i, out.ndim) for x in (a, b, c))
            multiply(launch, out[i], *parts, alpha, beta, precision, activation)
        return None
    if p.swap:
        a, b = b, a
    scales = (_scale(alpha, dtype), _scale(beta, dtype))
    to = out if p.partial is None else scratch(launch, p.partial, dtype)
    launch(
        KERNELS[p.kind],
        (p.programs,),
        [a, b, b if c is None else c, to, *p.arguments, *scales],
        p.constants,
        num_warps=p.warps,
        num_stages=p.stages,
    )
    if p.partial is not None:
        launch(
            split_sum_kernel,
            (p.last_programs,),
            [to, out if c is None else c, out, *p.last_arguments, *scales],
            p.last_constants,
            num_warps=4,
        )
    return None


def _part(x: Any, i: int, ndim: int) -> Any:
    """The i-th of the arrays along the first of `ndim` dimensions, to which `x` broadcasts."""
    return x if x is None or x.ndim < ndim else x[min(i, x.shape[0] - 1)]


def add_splits(launch: Any, out: Any, part: Any) -> None:
    """out = part.sum(0) for an array of four dimensions, in the order of the splits."""
    launch(
        split_sum_kernel,
        (cdiv(out.size, 1024),),
        [part, out, out, out.size, *out.shape[2:], *out.shape[:2], part.shape[0],
         0, 0, 0, 0, 0, 0, *out.strides, 0.0, 0.0],
        {"BLOCK": 1024, "WIDE": is_wide(part, out), "HAS_C": False, "SCALED": False,
         "ACC": accumulator(out.dtype.name), "ACT": ""},
    )  # fmt: skip


def matmul(launch: Any, out: Any, a: Any, b: Any, *, precision: str = "ieee") -> Any:
    """a (..., M, K) @ b (..., K, N) -> out (..., M, N).

    `precision` is the input precision of float32 products: "ieee", "tf32" or "tf32x3".
    """
    return multiply(launch, out, a, b, None, 1, 0, precision)


def linear(
    launch: Any, out: Any, x: Any, weight: Any, bias: Any = None, *, precision: str = "ieee"
) -> Any:
    """x (..., K) @ weight (N, K).T + bias (N,) -> out (..., N)."""
    if x.ndim == 1:
        out, x = out[None], x[None]
    return multiply(
        launch,
        out,
        x,
        weight.strided(weight.shape[::-1], weight.strides[::-1]),
        bias,
        1,
        1,
        precision,
    )


def addmm(
    launch: Any, out: Any, c: Any, a: Any, b: Any, *,
    beta: float = 1, alpha: float = 1, precision: str = "ieee",
) -> Any:  # fmt: skip
    """beta * c + alpha * a @ b -> out (..., M, N); `c` broadcasts to `out`."""
    return multiply(launch, out, a, b, c, alpha, beta, precision)


def addmm_activation(
    launch: Any, out: Any, c: Any, a: Any, b: Any, *,
    beta: float = 1, alpha: float = 1, use_gelu: bool = False, precision: str = "ieee",
) -> Any:  # fmt: skip
    """relu(beta * c + alpha * a @ b), or gelu of it, -> out (..., M, N), of floats."""
    if a.dtype.name not in FLOATS:
        return NotImplemented  # integers wrap around before they are compared with 0
    activation = "gelu" if use_gelu else "relu"
    return multiply(launch, out, a, b, c, alpha, beta, precision, activation)
