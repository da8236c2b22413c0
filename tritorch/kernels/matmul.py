"""Matrix products: a tiled kernel, one for a vector operand, and the second pass of split-K.

Operands have any strides; a batch is up to three dimensions of strides, 0 where it is broadcast.
Sums are kept in float32 (float64 for float64, wrapping integers for integers). Where the tiles do
not fill the GPU, K is split: partial sums go to scratch and a second pass adds them in order, so
results are the same from run to run.
"""

from __future__ import annotations

from math import gcd
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ._dense import (
    FLOATS,
    INTS,
    accumulator,
    batch_offset,
    cdiv,
    clip,
    dot,
    is_wide,
    multiple,
    multiples,
    pow2,
    scratch,
    stages,
    swizzle,
)


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
):  # fmt: skip
    """out = alpha * a @ b + beta * c, a tile of BM x BN a program."""
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

    m_out = (o_m < m)[:, None] & (o_n < n)[None, :]
    if SCALED:
        acc *= alpha
    if HAS_C:
        if BATCHED:
            p_c += batch_offset(i_b, n_b1, n_b2, s_c0, s_c1, s_c2)
        if C_IS_ROW:
            b_c = tl.load(p_c + o_n * s_cn, mask=o_n < n, other=0)[None, :]
        else:
            b_c = tl.load(p_c + o_m[:, None] * s_cm + o_n[None, :] * s_cn, mask=m_out, other=0)
        if SCALED:
            acc += b_c.to(ACC) * beta
        else:
            acc += b_c.to(ACC)
    if BATCHED:
        o_out = batch_offset(i_b, n_b1, n_b2, s_o0, s_o1, s_o2)
        p_out += multiple(o_out, VEC, MULTIPLES, 11)
    q_out = p_out + i_split * s_os + o_m[:, None] * s_om + o_n[None, :] * s_on
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_out)


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
):  # fmt: skip
    """out = alpha * a @ x + beta * c, BM rows a program; bound by the reading of `a`."""
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
    tl.store(q_out, b_out.to(p_out.dtype.element_ty), mask=m_out)


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
    ACC: tl.constexpr,
):  # fmt: skip
    """out = alpha * part.sum(0) + beta * c, in the order of the splits."""
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
    tl.store(p_out + o_out, acc.to(p_out.dtype.element_ty), mask=m_o)


class Tiles(NamedTuple):
    """The blocks of a product and how the compiler is to schedule them."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int


class Product(NamedTuple):
    """out = a @ b with the batch collapsed: sizes, and the five strides of each operand."""

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def matrices(self) -> int:
        return self.batch[0] * self.batch[1] * self.batch[2]


def tiles(
    m: int, n: int, batch: int, dtype: str, precision: str, target: Any, aligned: bool = True
) -> Tiles:
    """The analytic choice of blocks for an M x N result; none of them spills registers."""
    if dtype in INTS:
        return Tiles(32, 32, 8, 4, 1)
    hip = target.backend == "hip"
    if dtype == "float64":
        bn = clip(pow2(n), 16, 32 if target.arch == 120 else 64)
        return Tiles(clip(pow2(m), 16, 64), bn, 16, 4, 3)
    itemsize = 2 if dtype.endswith("16") else 4
    bm, bn, bk = 128, 128 if aligned else 64, 128 // itemsize
    if itemsize == 2 and aligned and target.shared_memory > 160 << 10:
        bn = 256
    elif itemsize == 2 and not aligned:
        bk = 32  # elements arrive one by one, through registers
    elif itemsize == 4 and precision != "tf32" and not hip:
        bk = 16  # operands of ieee products, and the parts of tf32x3, live in registers
    bm, bn = clip(pow2(m), 16, bm), clip(pow2(n), 16, bn)
    while bn > 64 and cdiv(m, bm) * cdiv(n, bn) * batch < target.sms:
        bn //= 2
    while bm > 64 and cdiv(m, bm) * cdiv(n, bn) * batch < target.sms:
        bm //= 2
    wide = bm * bn > 1 << 14
    heavy = itemsize == 4 or not aligned
    small = target.shared_memory < 160 << 10 and bn >= 64
    many = (heavy and bm * bn > 1 << 12) or (small and bm * bn >= 1 << 12)
    warps = 8 if wide or (many and not hip) else 4
    stage = (bm + bn) * bk * itemsize
    most = 2 if hip else 3 if wide else 4
    return Tiles(bm, bn, bk, warps, stages(target.shared_memory, stage, most))


def splits_of(programs: int, wanted: int, k: int, bk: int) -> tuple[int, int]:
    """How many splits of K, and how many elements of K each (a multiple of `bk`)."""
    splits = clip(wanted // max(programs, 1), 1, max(k // (4 * bk), 1))
    k_split = max(cdiv(cdiv(k, bk), splits), 1) * bk
    return max(cdiv(k, k_split), 1), k_split


def _broadcast(x: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides with which `x` reads as `shape`."""
    lead = len(shape) - x.ndim
    own = [0 if size == 1 else stride for size, stride in zip(x.shape, x.strides)]
    return (0,) * lead + tuple(own)


def _collapse(out: Any, a: Any, b: Any, c: Any) -> Product | None:
    """The product with mergeable dimensions merged; None where over three batch dims stay."""
    lead = out.shape[:-2]
    m, n, k = out.shape[-2], out.shape[-1], a.shape[-1]
    sa, sb = _broadcast(a, (*lead, m, k)), _broadcast(b, (*lead, k, n))
    sc = (0,) * out.ndim if c is None else _broadcast(c, out.shape)
    dims: list[tuple[int, ...]] = []  # (size, strides of a, b, c, out)
    for dim in zip(lead, sa, sb, sc, out.strides):
        if dim[0] == 1:
            continue
        if dims and all(s == t * dim[0] for s, t in zip(dims[-1][1:], dim[1:])):
            dims[-1] = (dims[-1][0] * dim[0], *dim[1:])
        else:
            dims.append(dim)
    rows = (sa[-2], sc[-2], out.strides[-2])
    while dims and dims[-1][2] == 0:
        size, *batch = dims[-1]
        batch.pop(1)
        if m == 1:
            rows = tuple(batch)
        elif any(s != m * r for s, r in zip(batch, rows)):
            break
        m *= size
        dims.pop()
    if len(dims) > 3:
        return None
    dims = [(1, 0, 0, 0, 0)] * (3 - len(dims)) + dims
    size, ba, bb, bc, bo = zip(*dims)
    return Product(
        size, m, n, k, (*ba, rows[0], sa[-1]), (*bb, *sb[-2:]), (*bc, rows[1], sc[-1]),
        (*bo, rows[2], out.strides[-1]),
    )  # fmt: skip


def _argument(value: float, dtype: str) -> float | int:
    """A scale as an argument of a kernel: floats travel in single precision."""
    if dtype == "float64":
        return np.float64(value)
    return int(value) if dtype in INTS else float(value)


def multiply(
    launch: Any, out: Any, a: Any, b: Any, c: Any, alpha: float, beta: float, precision: str
) -> Any:
    """out = alpha * a @ b + beta * c for arrays of two and more dimensions; `c` may be None."""
    dtype = a.dtype.name
    if b.dtype is not a.dtype or dtype not in (*INTS, *FLOATS):
        return NotImplemented
    if c is not None and beta == 0:
        c = None  # not read: NaN times zero would stay
    product = _collapse(out, a, b, c)
    if product is None:
        for i in range(out.shape[0]):
            parts = (_part(x, i, out.ndim) for x in (a, b, c))
            multiply(launch, out[i], *parts, alpha, beta, precision)
        return None
    flags = {
        "WIDE": is_wide(a, b, c, out),
        "HAS_C": c is not None,
        "SCALED": alpha != 1 or (c is not None and beta != 1),
        "ACC": accumulator(dtype),
    }
    scales = (_argument(alpha, dtype), _argument(beta, dtype))
    if product.n == 1 or product.m == 1:
        _gemv(launch, out, a, b, c, product, scales, flags)
    else:
        _gemm(launch, out, a, b, c, product, scales, flags, precision)
    return None


def _part(x: Any, i: int, ndim: int) -> Any:
    """The i-th of the arrays along the first of `ndim` dimensions, to which `x` broadcasts."""
    return x if x is None or x.ndim < ndim else x[min(i, x.shape[0] - 1)]


def _gemm(
    launch: Any, out: Any, a: Any, b: Any, c: Any, p: Product, scales: tuple, flags: dict,
    precision: str,
) -> None:  # fmt: skip
    dtype = a.dtype.name
    vec = 16 // a.itemsize
    aligned = _is_aligned(a, p.m, p.a, vec) and _is_aligned(b, p.n, (*p.b[:3], p.b[4], p.b[3]), vec)
    t = tiles(p.m, p.n, p.matrices, dtype, precision, launch.target, aligned)
    programs = cdiv(p.m, t.bm) * cdiv(p.n, t.bn) * p.matrices
    wanted = launch.target.sms * (2 if t.bm < 64 else 1)
    splits, k_split = splits_of(programs, wanted, p.k, t.bk)
    to, strides, s_split, own = out, p.out, 0, flags
    if splits > 1:
        to, strides, s_split, own = _partial(launch, p, dtype, splits, flags)
    constants = {
        "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8,
        "BATCHED": p.matrices > 1, "EVEN_K": p.k % t.bk == 0, "DOT": dtype not in INTS,
        "C_IS_ROW": c is not None and p.c[3] == 0 and splits == 1,
        "PRECISION": precision if dtype == "float32" else "ieee",
        "UPCAST": launch.target.interpreted and dtype.endswith("16"), "VEC": vec,
        "MULTIPLES": multiples(
            vec, p.m, p.n, p.k, *p.a[3:], *p.b[3:], *strides[3:],
            gcd(*p.a[:3]), gcd(*p.b[:3]), gcd(*strides[:3]),
        ),
    }  # fmt: skip
    launch(
        matmul_forward_kernel,
        (programs * splits,),
        [a, b, b if c is None else c, to, p.m, p.n, p.k, *p.batch[1:], splits, k_split,
         *p.a, *p.b, *p.c, *strides, s_split, *scales],
        constants | own,
        num_warps=t.warps,
        num_stages=t.stages,
    )  # fmt: skip
    if splits > 1:
        _second_pass(launch, out, to, c, p, splits, scales, flags)


def _is_aligned(x: Any, rows: int, strides: tuple[int, ...], vec: int) -> bool:
    """Whether 16-byte loads serve an operand of strides (*batch, row, k)."""
    *batch, row, k = strides
    other, wrap = (row, 0) if k == 1 else (k, rows)
    return x.ptr % 16 == 0 and 1 in (row, k) and gcd(*batch, other, wrap) % vec == 0


def _gemv(
    launch: Any, out: Any, a: Any, b: Any, c: Any, p: Product, scales: tuple, flags: dict
) -> None:
    if p.n > 1:  # a row times a matrix: transpose everything
        a, b = b, a
        p = Product(
            p.batch, p.n, 1, p.k,
            *((*s[:3], s[4], s[3]) for s in (p.b, p.a, p.c, p.out)),
        )  # fmt: skip
    bm, bk = (4, 512) if p.a[4] == 1 else (64, 32)
    programs = cdiv(p.m, bm) * p.matrices
    splits, k_split = splits_of(programs, 4 * launch.target.sms, p.k, bk)
    constants = {"BM": bm, "BK": bk, "EVEN_K": p.k % bk == 0}
    to, strides, s_split, own = out, p.out, 0, flags
    if splits > 1:
        to, strides, s_split, own = _partial(launch, p, a.dtype.name, splits, flags)
    launch(
        gemv_forward_kernel,
        (programs * splits,),
        [a, b, b if c is None else c, to, p.m, p.k, *p.batch[1:], splits, k_split,
         *p.a, *p.b[:4], *p.c[:4], *strides[:4], s_split, *scales],
        constants | own,
        num_warps=4,
        num_stages=3,
    )  # fmt: skip
    if splits > 1:
        _second_pass(launch, out, to, c, p, splits, scales, flags)


def _partial(
    launch: Any, p: Product, dtype: str, splits: int, flags: dict
) -> tuple[Any, tuple, int, dict]:
    """Partial sums (splits, *batch, M, N), their strides, and flags without the epilogue."""
    part = scratch(launch, (splits, *p.batch, p.m, p.n), dtype)
    own = flags | {"HAS_C": False, "SCALED": False, "WIDE": flags["WIDE"] or is_wide(part)}
    return part, part.strides[1:], part.strides[0], own


def _second_pass(
    launch: Any, out: Any, part: Any, c: Any, p: Product, splits: int, scales: tuple, flags: dict
) -> None:
    total = p.matrices * p.m * p.n
    launch(
        split_sum_kernel,
        (cdiv(total, 1024),),
        [part, out if c is None else c, out, total, p.m, p.n, *p.batch[1:], splits,
         *p.c, *p.out, *scales],
        flags | {"BLOCK": 1024, "WIDE": flags["WIDE"] or is_wide(part)},
        num_warps=4,
    )  # fmt: skip


def add_splits(launch: Any, out: Any, part: Any) -> None:
    """out = part.sum(0) for an array of four dimensions, in the order of the splits."""
    launch(
        split_sum_kernel,
        (cdiv(out.size, 1024),),
        [part, out, out, out.size, *out.shape[2:], *out.shape[:2], part.shape[0],
         0, 0, 0, 0, 0, 0, *out.strides, 0.0, 0.0],
        {"BLOCK": 1024, "WIDE": is_wide(part, out), "HAS_C": False, "SCALED": False,
         "ACC": accumulator(out.dtype.name)},
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
    return multiply(launch, out, x, weight.transpose((1, 0)), bias, 1, 1, precision)


def addmm(
    launch: Any, out: Any, c: Any, a: Any, b: Any, *,
    beta: float = 1, alpha: float = 1, precision: str = "ieee",
) -> Any:  # fmt: skip
    """beta * c + alpha * a @ b -> out (..., M, N); `c` broadcasts to `out`."""
    return multiply(launch, out, a, b, c, alpha, beta, precision)
