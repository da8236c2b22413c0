"""Running sums, products, logarithms of sums, and extremes, along one dimension.

A program has some rows and walks along them in strips, the result so far in `carry`. Where there
are too few rows to fill a GPU, they are cut in chunks: one launch takes the total of each chunk, a
second scans the totals, a third scans the chunks from where the ones before them end. Nothing is
atomic, so results are the same from run to run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..dtypes import DType, float32, float64, int32, int64
from ._index import FLOATS, MAX_GROUPS, REAL, both, group, is_wide, of_cols, of_rows, offset, spread

BLOCK = 2048  # elements; a scan of logarithms takes more registers for each
INF = tl.constexpr(float("inf"))


# -- device ------------------------------------------------------------------------------------


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def log_add(a, b):
    """log(exp(a) + exp(b))."""
    top = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    shift = tl.where(tl.abs(top) == INF, 0.0, top)
    return tl.where(tl.abs(top) == INF, top, shift + tl.log(tl.exp(a - shift) + tl.exp(b - shift)))


@triton.jit
def identity(OP: tl.constexpr):
    if OP == "sum":
        return 0
    elif OP == "prod":
        return 1
    else:
        return -INF


@triton.jit
def join(a, b, OP: tl.constexpr):
    if OP == "sum":
        return a + b
    elif OP == "prod":
        return a * b
    else:
        return log_add(a, b)


@triton.jit
def scanned(x, AXIS: tl.constexpr, OP: tl.constexpr, REVERSE: tl.constexpr):
    if OP == "sum":
        return tl.cumsum(x, AXIS, reverse=REVERSE)
    elif OP == "prod":
        return tl.cumprod(x, AXIS, reverse=REVERSE)
    else:
        return tl.associative_scan(x, AXIS, log_add, reverse=REVERSE)


@triton.jit
def folded(x, AXIS: tl.constexpr, OP: tl.constexpr):
    if OP == "sum":
        return tl.sum(x, AXIS)
    elif OP == "prod":
        return tl.reduce(x, AXIS, multiply)
    else:
        return tl.reduce(x, AXIS, log_add)


@triton.jit
def scan_kernel(
    p_x,  # (any, r1, r2, r3, N)
    p_out,  # the same; (rows, chunks) where TOTALS
    p_before,  # (rows, chunks), where CARRIED: the scan of the totals
    n_rows, n, n_span, n_chunks,
    r1, r2, r3, sx0, sx1, sx2, sx3, so0, so1, so2, so3, sx, so,
    OP: tl.constexpr, REVERSE: tl.constexpr, TOTALS: tl.constexpr, CARRIED: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, OUTER: tl.constexpr, D: tl.constexpr,
    WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Each element joined with those before it, or with REVERSE those behind it."""
    AXIS: tl.constexpr = 0 if OUTER else 1
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    i_chunk = i % n_chunks
    o_r = i // n_chunks * ROWS + tl.arange(0, ROWS)
    m_r = o_r < n_rows
    q_x = offset(o_r, r1, r2, r3, sx0, sx1, sx2, sx3, D)
    q_out = offset(o_r, r1, r2, r3, so0, so1, so2, so3, D)
    start = i_chunk * n_span
    length = min(n - start, n_span)
    carry = tl.full((ROWS,), identity(OP), ACC)
    if CARRIED:
        near = tl.full((ROWS,), 1 if REVERSE else -1, tl.int32) + i_chunk
        m_near = m_r & (near >= 0) & (near < n_chunks)
        carry = tl.load(p_before + o_r * n_chunks + near, mask=m_near, other=identity(OP))
    last = start + (length - 1) // COLS * COLS
    for at in range(0, length, COLS):
        o_c = (last - at if REVERSE else start + at) + tl.arange(0, COLS)
        m_c = o_c < start + length
        m = both(m_r, m_c, OUTER)
        x = tl.load(p_x + spread(q_x, o_c * sx, OUTER), mask=m, other=identity(OP)).to(ACC)
        if TOTALS:
            carry = join(carry, folded(x, AXIS, OP), OP)
        else:
            # What came before enters with the first column. (Joined behind the fold it would be
            # the result of a loop that nobody reads, on which Triton 3.6 stops.)
            first = of_cols(tl.arange(0, COLS) == (COLS - 1 if REVERSE else 0), OUTER)
            x = tl.where(first, join(of_rows(carry, OUTER), x, OP), x)
            y = scanned(x, AXIS, OP, REVERSE)
            tl.store(p_out + spread(q_out, o_c * so, OUTER), y.to(p_out.dtype.element_ty), mask=m)
            carry = folded(x, AXIS, OP)
    if TOTALS:
        tl.store(p_out + o_r * n_chunks + i_chunk, carry, mask=m_r)


@triton.jit
def larger(v, i, w, j):
    """The larger of two values with its place: the later of equals, NaN before all; -1 is none."""
    second = (j >= 0) & ((i < 0) | (w >= v) | (w != w))
    return tl.where(second, w, v), tl.where(second, j, i)


@triton.jit
def smaller(v, i, w, j):
    second = (j >= 0) & ((i < 0) | (w <= v) | (w != w))
    return tl.where(second, w, v), tl.where(second, j, i)


@triton.jit
def extremes_kernel(
    p_x,  # (any, r1, r2, r3, N)
    p_out,  # the same, and so is p_place
    p_place,
    n_rows, n, r1, r2, r3, sx0, sx1, sx2, sx3, so0, so1, so2, so3, sx, so,
    LARGEST: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, OUTER: tl.constexpr,
    D: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """The largest element so far, or the smallest, and its last place."""
    AXIS: tl.constexpr = 0 if OUTER else 1
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_r = i * ROWS + tl.arange(0, ROWS)
    m_r = o_r < n_rows
    q_x = offset(o_r, r1, r2, r3, sx0, sx1, sx2, sx3, D)
    q_out = offset(o_r, r1, r2, r3, so0, so1, so2, so3, D)
    value = tl.full((ROWS,), 0, ACC)
    place = tl.full((ROWS,), -1, tl.int32)
    for at in range(0, n, COLS):
        o_c = at + tl.arange(0, COLS)
        m = both(m_r, o_c < n, OUTER)
        x = tl.load(p_x + spread(q_x, o_c * sx, OUTER), mask=m, other=0).to(ACC)
        o = tl.where(m, spread(tl.zeros((ROWS,), tl.int32), o_c, OUTER), -1)
        if LARGEST:
            y, o = tl.associative_scan((x, o), AXIS, larger)
            y, o = larger(of_rows(value, OUTER), of_rows(place, OUTER), y, o)
        else:
            y, o = tl.associative_scan((x, o), AXIS, smaller)
            y, o = smaller(of_rows(value, OUTER), of_rows(place, OUTER), y, o)
        q = spread(q_out, o_c * so, OUTER)
        tl.store(p_out + q, y.to(p_out.dtype.element_ty), mask=m)
        tl.store(p_place + q, o.to(tl.int64), mask=m)
        # The last column of the strip is where the next one starts.
        end = both(tl.full((ROWS,), True, tl.int1), o_c == min(at + COLS, n) - 1, OUTER)
        place = tl.max(tl.where(end, o, -1), AXIS)
        value = tl.sum(tl.where(end, y, 0), AXIS).to(ACC)


# -- host --------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """How an array is walked: its sizes, and what the kernels take."""

    rows: int
    n: int
    blocks: int
    ints: tuple[int | None, ...]
    constants: dict[str, Any]
    acc: DType


Spec = tuple[tuple[int, ...], tuple[int, ...], DType]


@lru_cache(maxsize=4096)
def _plan(x: Spec, out: Spec, dim: int, block: int = BLOCK) -> Plan | None:
    shape, strides, dtype = x
    rest = group(shape, [strides, out[1]], [d for d in range(len(shape)) if d != dim])
    if dtype.name not in REAL or len(rest.sizes) > MAX_GROUPS:
        return None
    n, sx, so = (shape[dim], strides[dim], out[1][dim]) if shape else (1, 1, 1)
    along = group((n,), [(sx,), (so,)], [0])
    outer = sx > rest.inner() > 0
    cols = min(triton.next_power_of_2(n), 64 if outer else block)
    rows = min(triton.next_power_of_2(rest.size), block // cols)
    constants = {
        "ROWS": rows,
        "COLS": cols,
        "OUTER": outer,
        "D": rest.depth,
        "WIDE": is_wide(rest.size * n, rest, along),
    }
    blocks = triton.cdiv(rest.size, rows)
    return Plan(rest.size, n, blocks, (*rest.ints(), sx, so), constants, _accumulator(dtype))


def plan_of(x: Any, out: Any, dim: int, block: int) -> Plan | None:
    """The plan of a walk along `dim`; None where layout or dtype are not served."""
    return _plan(_spec(x), _spec(out), dim, block)


def _accumulator(dtype: DType) -> DType:
    if dtype.name in FLOATS:
        return float64 if dtype is float64 else float32
    return int64 if dtype.itemsize == 8 or dtype.name == "uint32" else int32


def _spec(x: Any) -> Spec:
    return x.shape, x.strides, x.dtype


def _scan(launch: Any, out: Any, x: Any, dim: int, op: str, reverse: bool = False) -> Any:
    plan = _plan(_spec(x), _spec(out), dim, BLOCK // 2 if op == "log" else BLOCK)
    if plan is None or (op == "log" and x.dtype.name not in FLOATS):
        return NotImplemented
    acc = getattr(tl, plan.acc.name)
    constants = {**plan.constants, "OP": op, "REVERSE": reverse, "ACC": acc}
    chunks, length = _chunks(plan, launch.target.sms)

    def run(target: Any, before: Any, totals: bool) -> None:
        launch(
            scan_kernel,
            (plan.blocks * chunks,),
            [x, target, before, plan.rows, plan.n, length, chunks, *plan.ints],
            {**constants, "TOTALS": totals, "CARRIED": before is not None},
        )

    if chunks == 1:
        run(out, None, False)
        return None
    totals = launch.empty((plan.rows, chunks), plan.acc)
    before = launch.empty((plan.rows, chunks), plan.acc)
    run(totals, None, True)
    _scan(launch, before, totals, 1, op, reverse)
    run(out, before, False)
    return None


def _chunks(plan: Plan, sms: int) -> tuple[int, int]:
    """How many chunks, and their length: a multiple of the strips, eight strips at least."""
    cols = plan.constants["COLS"]
    strips = triton.cdiv(plan.n, cols)
    wanted = min(4 * sms // max(plan.blocks, 1), strips // 8)
    if wanted < 2:
        return 1, max(plan.n, 1)
    length = triton.cdiv(strips, wanted) * cols
    return triton.cdiv(plan.n, length), length


def _extremes(launch: Any, out: tuple, x: Any, dim: int, largest: bool) -> Any:
    values, places = out
    plan = _plan(_spec(x), _spec(values), dim)
    if plan is None or plan.n >= 1 << 31 or x.dtype.name == "uint64":
        return NotImplemented
    launch(
        extremes_kernel,
        (plan.blocks,),
        [x, values, places, plan.rows, plan.n, *plan.ints],
        {**plan.constants, "LARGEST": largest, "ACC": getattr(tl, plan.acc.name)},
    )
    return None


def cumsum(launch: Any, out: Any, x: Any, *, dim: int, reverse: bool = False) -> Any:
    """The sums of the elements up to each along `dim`, or from each on."""
    return _scan(launch, out, x, dim, "sum", reverse)


def cumprod(launch: Any, out: Any, x: Any, *, dim: int) -> Any:
    return _scan(launch, out, x, dim, "prod")


def logcumsumexp(launch: Any, out: Any, x: Any, *, dim: int, reverse: bool = False) -> Any:
    return _scan(launch, out, x, dim, "log", reverse)


def cummax(launch: Any, out: tuple, x: Any, *, dim: int) -> Any:
    """The largest element up to each along `dim`, and its last place."""
    return _extremes(launch, out, x, dim, True)


def cummin(launch: Any, out: tuple, x: Any, *, dim: int) -> Any:
    return _extremes(launch, out, x, dim, False)
