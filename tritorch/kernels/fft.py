"""Discrete Fourier transforms: of lengths that are powers of two by Stockham's method.

A program holds whole lines in registers and halves them stage by stage: the sums and differences
of two halves, these turned, lie side by side afterwards, so that the result is in order without a
permutation. Longer lines take two passes of lines of about their square root (the "four-step"
method), with a turn of each element between them. Other lengths become a convolution with a chirp,
whose transforms have a power of two above twice the length (Bluestein's method).

Complex arrays are pairs of floats. Angles are fractions of a turn, which are exact.

Sources: Stockham, "High-speed convolution and correlation", 1966; Bailey, "FFTs in external or
hierarchical memory", 1990; Bluestein, "A linear filtering approach to the computation of the
discrete Fourier transform", 1970.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ._rows import NARROW, cdiv, pow2, real_view
from ._trigonometry import sin_cos_pi
from .complexes import apply as multiply
from .copy import copy

LONGEST = {"float32": 12, "float64": 11}  # log2 of a line that one program holds
BLOCK = 2048  # elements of a program, where lines are shorter


@triton.jit
def turned(re, im, angle):
    """(re + i im) exp(i pi angle)."""
    s, c = sin_cos_pi(angle)
    return re * c - im * s, re * s + im * c


@triton.jit
def halves(x, R: tl.constexpr, N: tl.constexpr):
    """The first and the second half of lines (R, 2 N)."""
    return tl.split(tl.permute(tl.reshape(x, (R, 2, N)), (0, 2, 1)))


@triton.jit
def interleaved(x, y, R: tl.constexpr, M: tl.constexpr, S: tl.constexpr):
    """Lines (R, 2 M S) of runs of S elements, from `x` and `y` in turn."""
    both = tl.join(tl.reshape(x, (R, M, S)), tl.reshape(y, (R, M, S)))
    return tl.reshape(tl.permute(both, (0, 1, 3, 2)), (R, 2 * M * S))


@triton.jit
def stage(re, im, R: tl.constexpr, M: tl.constexpr, S: tl.constexpr, SIGN: tl.constexpr):
    """Transforms of length 2 M become twice as many of length M, each element S times."""
    a_re, b_re = halves(re, R, M * S)
    a_im, b_im = halves(im, R, M * S)
    angle = (tl.arange(0, M * S) // S).to(re.dtype) * (SIGN / M)
    d_re, d_im = turned(a_re - b_re, a_im - b_im, angle[None, :])
    return (
        interleaved(a_re + b_re, d_re, R, M, S),
        interleaved(a_im + b_im, d_im, R, M, S),
    )


@triton.jit
def fft_rows_kernel(
    p_out,  # (outer, n_out, inner), each element a float where REAL_OUT, else two
    p_x,  # (outer, the input's length, inner), each element a float where REAL_IN, else two
    rows, mid, inner, n, x_step, x_mid, x_outer, o_step, o_mid, o_outer, n_out, scale,
    R: tl.constexpr, LOG: tl.constexpr, REAL_IN: tl.constexpr, HALF_IN: tl.constexpr,
    REAL_OUT: tl.constexpr, TWIDDLE: tl.constexpr, SIGN: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """R lines (i_o, i_m, i_i) of 2^LOG elements each; element j of a line is place
    j x_step + i_m x_mid of the transform, its result k place k o_step + i_m o_mid."""
    N: tl.constexpr = 1 << LOG
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_r = i * R + tl.arange(0, R)
    m_r = (o_r < rows)[:, None]
    i_i, i_m, i_o = o_r % inner, o_r // inner % mid, o_r // inner // mid
    o_n = tl.arange(0, N)[None, :]
    at = i_m[:, None] * x_mid + o_n * x_step
    if HALF_IN:
        mirrored = at > n // 2
        at = tl.where(mirrored, n - at, at)
    q_x = i_o[:, None] * x_outer + at * inner + i_i[:, None]
    if REAL_IN:
        re = tl.load(p_x + q_x, mask=m_r, other=0)
        im = tl.zeros_like(re)
    else:
        pair = tl.arange(0, 2)[None, None, :]
        both = tl.load(p_x + (2 * q_x)[:, :, None] + pair, mask=m_r[:, :, None], other=0)
        re, im = tl.split(both)
    if HALF_IN:  # what is its own mirror image is real
        im = tl.where((at == 0) | (2 * at == n), 0.0, tl.where(mirrored, -im, im))
    for t in tl.static_range(LOG):
        re, im = stage(re, im, R, N >> (t + 1), 1 << t, SIGN)
    if TWIDDLE:
        turn = ((i_m[:, None] * o_n) & (n - 1)).to(re.dtype)
        re, im = turned(re, im, turn * (2.0 * SIGN) / n)
    place = i_m[:, None] * o_mid + o_n * o_step
    q_out = i_o[:, None] * o_outer + place * inner + i_i[:, None]
    m_out = m_r & (place < n_out)
    if REAL_OUT:
        tl.store(p_out + q_out, re * scale, mask=m_out)
    else:
        both = tl.join(re * scale, im * scale)
        pair = tl.arange(0, 2)[None, None, :]
        tl.store(p_out + (2 * q_out)[:, :, None] + pair, both, mask=m_out[:, :, None])


@triton.jit
def chirp_kernel(
    p_out,  # (outer, n_out, inner), each element a float where REAL_OUT, else two
    p_x,  # (outer, n_in, inner), each element a float where REAL_IN, else two
    total, inner, n, n_in, n_out, scale,
    MIRROR: tl.constexpr, REAL_IN: tl.constexpr, HALF_IN: tl.constexpr, REAL_OUT: tl.constexpr,
    SIGN: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Elements j < n times scale exp(SIGN i pi j^2 / n), zeros behind them; with MIRROR the chirp
    alone, of the distance of j from 0 or n_out."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    i_i, j, i_o = o % inner, o // inner % n_out, o // inner // n_out
    if MIRROR:
        j = tl.minimum(j, n_out - j)
    m = (o < total) & (j < n)
    at = j
    if HALF_IN:
        mirrored = j > n // 2
        at = tl.where(mirrored, n - j, j)
    q = (i_o * n_in + at) * inner + i_i
    TYPE: tl.constexpr = p_out.dtype.element_ty
    if MIRROR:
        re, im = m.to(TYPE), tl.zeros(o.shape, TYPE)
    elif REAL_IN:
        re, im = tl.load(p_x + q, mask=m, other=0), tl.zeros(o.shape, TYPE)
    else:
        re = tl.load(p_x + 2 * q, mask=m, other=0)
        im = tl.load(p_x + 2 * q + 1, mask=m, other=0)
    if HALF_IN:
        im = tl.where((at == 0) | (2 * at == n), 0.0, tl.where(mirrored, -im, im))
    turn = (j.to(tl.int64) * j % (2 * n)).to(TYPE) / n
    re, im = turned(re * scale, im * scale, turn * SIGN)
    if REAL_OUT:
        tl.store(p_out + o, re, mask=o < total)
    else:
        tl.store(p_out + 2 * o, re, mask=o < total)
        tl.store(p_out + 2 * o + 1, im, mask=o < total)


# -- launchers -------------------------------------------------------------------------------------


class Transform(NamedTuple):
    """A transform along one dimension: its length, direction, scale, and what is half or real."""

    n: int
    inverse: bool
    scale: float
    half_in: bool = False

    @property
    def log(self) -> int:
        return self.n.bit_length() - 1


def is_served(x: Any, sizes: Sequence[int]) -> bool:
    """Whether lines of these lengths are transformed here."""
    name = x.dtype.to_real().name if x.dtype.is_complex else x.dtype.name
    longest = LONGEST.get(name)
    return longest is not None and all(n and padded(n) <= 1 << 2 * longest for n in sizes)


def padded(n: int) -> int:
    """The length of the transforms that one of length n takes."""
    return n if not n & (n - 1) else pow2(2 * n - 1)


def scale_of(n: int, inverse: bool, norm: str) -> float:
    """The factor of a transform of length n."""
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if inverse == (norm == "backward") else 1.0


def transform(launch: Any, out: Any, x: Any, dim: int, t: Transform) -> None:
    """out = the transform of `x` along `dim`; both are dense, and may be the same."""
    if t.n & (t.n - 1):
        convolve(launch, out, x, dim, t)
        return
    single = out.dtype.to_real() if out.dtype.is_complex else out.dtype
    longest = LONGEST[single.name]
    if t.log <= longest:
        lines(launch, out, x, dim, t, t.log, 1, (1, 0), (1, 0), t.scale)
        return
    n1, n2 = 1 << t.log // 2, 1 << t.log - t.log // 2
    shape = (*out.shape[:dim], t.n, *out.shape[dim + 1 :])
    part = launch.empty(shape, x.dtype if x.dtype.is_complex else out.dtype)
    lines(launch, part, x, dim, t, t.log // 2, n2, (n2, 1), (n2, 1), 1.0)
    rest = t._replace(half_in=False)
    lines(launch, out, part, dim, rest, t.log - t.log // 2, n1, (1, n2), (n1, 1), t.scale)


def lines(
    launch: Any, out: Any, x: Any, dim: int, t: Transform, log: int, mid: int,
    read: tuple[int, int], written: tuple[int, int], scale: float,
) -> None:  # fmt: skip
    """Lines of 2^log elements, `mid` of them in each of the transform's; `read` and `written` are
    the steps from one element to the next, and from one line to the next."""
    inner = math.prod(x.shape[dim + 1 :])
    rows = math.prod(x.shape[:dim]) * mid * inner
    block = min(max(BLOCK >> log, 1), pow2(rows))
    arrays = [real_view(a) if a.dtype.is_complex else a for a in (out, x)]
    double = arrays[0].dtype.itemsize == 8
    launch(
        fft_rows_kernel,
        (cdiv(rows, block),),
        [
            *arrays, rows, mid, inner, t.n, *read, x.shape[dim] * inner, *written,
            out.shape[dim] * inner, out.shape[dim], np.float64(scale) if double else float(scale),
        ],
        {
            "R": block, "LOG": log, "REAL_IN": not x.dtype.is_complex, "HALF_IN": t.half_in,
            "REAL_OUT": not out.dtype.is_complex, "TWIDDLE": mid > 1 and read[0] > 1,
            "SIGN": 1 if t.inverse else -1, "WIDE": 2 * max(out.size, x.size) >= NARROW,
        },
        num_warps=min(max((block << log) // 256, 1), 8),
    )  # fmt: skip


def convolve(launch: Any, out: Any, x: Any, dim: int, t: Transform) -> None:
    """The transform of a length that is no power of two."""
    m, whole = padded(t.n), x.dtype if x.dtype.is_complex else out.dtype
    shape = (*x.shape[:dim], m, *x.shape[dim + 1 :])
    chirp, part = launch.empty((m,), whole), launch.empty(shape, whole)
    sign = 1 if t.inverse else -1
    chirped(launch, chirp, chirp, 0, t, -sign, 1.0, mirror=True)
    chirped(launch, part, x, dim, t, sign, 1.0)
    forward = Transform(m, False, 1.0)
    transform(launch, chirp, chirp, 0, forward)
    transform(launch, part, part, dim, forward)
    turns = chirp.strided((m, *[1] * len(x.shape[dim + 1 :])), (1, *[0] * len(x.shape[dim + 1 :])))
    multiply(launch, part, (part, turns), "mul", whole.to_real().name)
    transform(launch, part, part, dim, Transform(m, True, 1 / m))
    chirped(launch, out, part, dim, t._replace(half_in=False), sign, t.scale)


def chirped(
    launch: Any, out: Any, x: Any, dim: int, t: Transform, sign: int, scale: float,
    mirror: bool = False,
) -> None:  # fmt: skip
    """`chirp_kernel` along `dim`."""
    arrays = [real_view(a) if a.dtype.is_complex else a for a in (out, x)]
    double = arrays[0].dtype.itemsize == 8
    launch(
        chirp_kernel,
        (cdiv(out.size, BLOCK // 4),),
        [
            *arrays, out.size, math.prod(out.shape[dim + 1 :]), t.n, x.shape[dim], out.shape[dim],
            np.float64(scale) if double else float(scale),
        ],
        {
            "MIRROR": mirror, "HALF_IN": t.half_in and not mirror,
            "REAL_IN": not x.dtype.is_complex,
            "REAL_OUT": not out.dtype.is_complex, "SIGN": sign, "BLOCK": BLOCK // 4,
            "WIDE": 2 * max(out.size, x.size) >= NARROW,
        },
    )  # fmt: skip


def dense(launch: Any, x: Any) -> Any:
    """The array, or a copy of it in row-major order."""
    if x.is_contiguous():
        return x
    made = launch.empty(x.shape, x.dtype)
    copy(launch, made, x)
    return made


def c2c(launch: Any, out: Any, x: Any, *, dims: Sequence[int], inverse: bool, norm: str) -> Any:
    """out = the transform of a complex array over `dims`."""
    if not is_served(x, [x.shape[d] for d in dims]):
        return NotImplemented
    if not dims:
        return copy(launch, out, x)
    source = dense(launch, x)
    for dim in dims:
        n = x.shape[dim]
        transform(launch, out, source, dim, Transform(n, inverse, scale_of(n, inverse, norm)))
        source = out
    return None


def r2c(launch: Any, out: Any, x: Any, *, dim: int, norm: str) -> Any:
    """out = the first half of the spectrum of a real array along `dim`."""
    n = x.shape[dim]
    if not is_served(x, [n]):
        return NotImplemented
    t = Transform(n, False, scale_of(n, False, norm))
    return transform(launch, out, dense(launch, x), dim, t)


def c2r(launch: Any, out: Any, x: Any, *, dim: int, n: int, norm: str) -> Any:
    """out = the real array of `n` elements along `dim` whose half spectrum is `x`."""
    if not is_served(x, [n]) or x.shape[dim] != n // 2 + 1:
        return NotImplemented
    t = Transform(n, True, scale_of(n, True, norm), half_in=True)
    return transform(launch, out, dense(launch, x), dim, t)
