"""The loops over time of recurrent layers: one launch a step, its product and its cells fused.

Sequences are packed: step after step the rows of all sequences that reach so far, the longest
first. A program takes BM rows and BN units of a step: the products of the states before with the
weights of all gates, and the new state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..dtypes import float32, float64
from ._dense import FLOATS, accumulator, cdiv, clip, dot, is_wide, pow2
from ._math import exp, tanh
from .copy import copy
from .matmul import multiply

Sizes = Sequence[int]
# How many rows a step has does not specialise a kernel: packed sequences have many numbers.
ROWS = ("m", "m_after", "n_before", "n_state")


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + exp(-x))


@triton.jit
def bent(s):
    """The derivative of a sigmoid from its value."""
    return s * (1.0 - s)


@triton.jit
def before(p_before, p_first, o_m, o_n, m, n_before, s_bm, s_bn, s_fm, s_fn, MIXED: tl.constexpr):
    """The states of rows before a step: those of the step before it, or where there are none the
    first."""
    q = p_before + o_m[:, None] * s_bm + o_n[None, :] * s_bn
    if MIXED:
        known = (o_m < n_before)[:, None]
        q_first = p_first + o_m[:, None] * s_fm + o_n[None, :] * s_fn
        x = tl.load(tl.where(known, q, q_first), mask=m, other=0)
    else:
        x = tl.load(q, mask=m, other=0)
    return x


@triton.jit
def block(n, m, BM: tl.constexpr, BN: tl.constexpr, WIDE: tl.constexpr):
    """The rows and units of this program, and which of them exist."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_n = tl.cdiv(n, BN)
    o_m = i // n_n * BM + tl.arange(0, BM)
    o_n = i % n_n * BN + tl.arange(0, BN)
    return o_m, o_n, (o_m < m)[:, None] & (o_n < n)[None, :]


@triton.jit
def at(p, o_m, o_n, s_m, s_n):
    """Pointers to a block of a matrix."""
    return p + o_m[:, None] * s_m + o_n[None, :] * s_n


@triton.jit
def put(p, o_m, o_n, s_m, x, m):
    """Store a block of a matrix whose rows are dense."""
    tl.store(p + o_m[:, None] * s_m + o_n[None, :], x.to(p.dtype.element_ty), mask=m)


@triton.jit(do_not_specialize=ROWS)
def rnn_forward_kernel(
    p_x,  # (rows, H)
    p_before,  # (n_before, H)
    p_first,  # (batch, H)
    p_w,  # (H, H)
    p_out,  # (rows, H)
    p_h,  # (batch, H)
    m, n, n_before,
    s_xm, s_xn, s_bm, s_bn, s_fm, s_fn, s_wn, s_wk,
    RELU: tl.constexpr, MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out = tanh or relu of (x + before @ w.T)."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    acc = tl.zeros((BM, BN), ACC)
    for k in range(0, n, BK):
        o_k = k + tl.arange(0, BK)
        m_k = o_k < n
        m_h = (o_m < m)[:, None] & m_k[None, :]
        h = before(p_before, p_first, o_m, o_k, m_h, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
        m_w = m_k[:, None] & (o_n < n)[None, :]
        w = tl.load(at(p_w, o_k, o_n, s_wk, s_wn), mask=m_w, other=0)
        acc = dot(h, w, acc, True, PRECISION, UPCAST)
    y = acc + tl.load(at(p_x, o_m, o_n, s_xm, s_xn), mask=inside, other=0).to(ACC)
    y = tl.where((y > 0) | (y != y), y, 0.0) if RELU else tanh(y)
    put(p_out, o_m, o_n, n, y, inside)
    put(p_h, o_m, o_n, n, y, inside)


@triton.jit(do_not_specialize=ROWS)
def lstm_forward_kernel(
    p_x,  # (rows, 4 * N)
    p_before,  # (n_before, K)
    p_first,  # (batch, K)
    p_w,  # (4 * N, K)
    p_c0,  # (batch, N)
    p_state,  # (batch, N): the cells, not rounded to 16 bits
    p_out,  # (rows, N), before its projection where there is one
    p_h,  # (batch, N) or None
    p_c,  # (batch, N)
    p_gates,  # (rows, 4 * N)
    p_cells,  # (rows, N)
    m, n, n_k, n_before, n_state,
    s_xm, s_xn, s_bm, s_bn, s_fm, s_fn, s_wn, s_wk, s_cm, s_cn,
    MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The four gates, the cells c = f * c + i * z, and out = o * tanh(c)."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    a_i = tl.zeros((BM, BN), ACC)
    a_f = tl.zeros((BM, BN), ACC)
    a_z = tl.zeros((BM, BN), ACC)
    a_o = tl.zeros((BM, BN), ACC)
    for k in range(0, n_k, BK):
        o_k = k + tl.arange(0, BK)
        m_k = o_k < n_k
        m_h = (o_m < m)[:, None] & m_k[None, :]
        h = before(p_before, p_first, o_m, o_k, m_h, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
        m_w = m_k[:, None] & (o_n < n)[None, :]
        q_w = at(p_w, o_k, o_n, s_wk, s_wn)
        a_i = dot(h, tl.load(q_w, mask=m_w, other=0), a_i, True, PRECISION, UPCAST)
        w = tl.load(q_w + n * s_wn, mask=m_w, other=0)
        a_f = dot(h, w, a_f, True, PRECISION, UPCAST)
        w = tl.load(q_w + 2 * n * s_wn, mask=m_w, other=0)
        a_z = dot(h, w, a_z, True, PRECISION, UPCAST)
        w = tl.load(q_w + 3 * n * s_wn, mask=m_w, other=0)
        a_o = dot(h, w, a_o, True, PRECISION, UPCAST)
    q_x = at(p_x, o_m, o_n, s_xm, s_xn)
    i = sigmoid(a_i + tl.load(q_x, mask=inside, other=0).to(ACC))
    f = sigmoid(a_f + tl.load(q_x + n * s_xn, mask=inside, other=0).to(ACC))
    z = tanh(a_z + tl.load(q_x + 2 * n * s_xn, mask=inside, other=0).to(ACC))
    o = sigmoid(a_o + tl.load(q_x + 3 * n * s_xn, mask=inside, other=0).to(ACC))
    known = (o_m < n_state)[:, None]
    c = tl.load(at(p_state, o_m, o_n, n, 1), mask=inside & known, other=0)
    q_c = at(p_c0, o_m, o_n, s_cm, s_cn)
    c += tl.load(q_c, mask=inside & (o_m >= n_state)[:, None], other=0).to(ACC)
    c = f * c + i * z
    y = o * tanh(c)
    put(p_gates, o_m, o_n, 4 * n, i, inside)
    put(p_gates + n, o_m, o_n, 4 * n, f, inside)
    put(p_gates + 2 * n, o_m, o_n, 4 * n, z, inside)
    put(p_gates + 3 * n, o_m, o_n, 4 * n, o, inside)
    put(p_state, o_m, o_n, n, c, inside)
    put(p_cells, o_m, o_n, n, c, inside)
    put(p_c, o_m, o_n, n, c, inside)
    put(p_out, o_m, o_n, n, y, inside)
    if p_h is not None:
        put(p_h, o_m, o_n, n, y, inside)


@triton.jit
def bias_of(p_bias, o_n, n, s_bias, ACC: tl.constexpr):
    """The biases of a gate's units, as a row."""
    return tl.load(p_bias + o_n * s_bias, mask=o_n < n, other=0).to(ACC)[None, :]


@triton.jit(do_not_specialize=ROWS)
def gru_forward_kernel(
    p_x,  # (rows, 3 * N)
    p_before,  # (n_before, N)
    p_first,  # (batch, N)
    p_w,  # (3 * N, N)
    p_bias,  # (3 * N) or None
    p_out,  # (rows, N)
    p_h,  # (batch, N)
    p_gates,  # (rows, 4 * N)
    m, n, n_before,
    s_xm, s_xn, s_bm, s_bn, s_fm, s_fn, s_wn, s_wk, s_bias,
    MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Reset and update gates r and z, new = tanh(x + r * inner), out = new + z * (before - new)."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    a_r = tl.zeros((BM, BN), ACC)
    a_z = tl.zeros((BM, BN), ACC)
    a_n = tl.zeros((BM, BN), ACC)
    for k in range(0, n, BK):
        o_k = k + tl.arange(0, BK)
        m_k = o_k < n
        m_h = (o_m < m)[:, None] & m_k[None, :]
        h = before(p_before, p_first, o_m, o_k, m_h, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
        m_w = m_k[:, None] & (o_n < n)[None, :]
        q_w = at(p_w, o_k, o_n, s_wk, s_wn)
        a_r = dot(h, tl.load(q_w, mask=m_w, other=0), a_r, True, PRECISION, UPCAST)
        w = tl.load(q_w + n * s_wn, mask=m_w, other=0)
        a_z = dot(h, w, a_z, True, PRECISION, UPCAST)
        w = tl.load(q_w + 2 * n * s_wn, mask=m_w, other=0)
        a_n = dot(h, w, a_n, True, PRECISION, UPCAST)
    q_x = at(p_x, o_m, o_n, s_xm, s_xn)
    if p_bias is not None:
        a_r += bias_of(p_bias, o_n, n, s_bias, ACC)
        a_z += bias_of(p_bias + n * s_bias, o_n, n, s_bias, ACC)
        a_n += bias_of(p_bias + 2 * n * s_bias, o_n, n, s_bias, ACC)
    r = sigmoid(a_r + tl.load(q_x, mask=inside, other=0).to(ACC))
    z = sigmoid(a_z + tl.load(q_x + n * s_xn, mask=inside, other=0).to(ACC))
    new = tanh(r * a_n + tl.load(q_x + 2 * n * s_xn, mask=inside, other=0).to(ACC))
    h = before(p_before, p_first, o_m, o_n, inside, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
    y = new + z * (h.to(ACC) - new)
    put(p_gates, o_m, o_n, 4 * n, r, inside)
    put(p_gates + n, o_m, o_n, 4 * n, z, inside)
    put(p_gates + 2 * n, o_m, o_n, 4 * n, new, inside)
    put(p_gates + 3 * n, o_m, o_n, 4 * n, a_n, inside)
    put(p_out, o_m, o_n, n, y, inside)
    put(p_h, o_m, o_n, n, y, inside)


# -- launchers ---------------------------------------------------------------------------------


class Step(NamedTuple):
    """The rows of a step, and those of the step processed before it."""

    start: int
    rows: int
    before: int
    before_rows: int

    @property
    def all(self) -> slice:
        return slice(self.start, self.start + self.rows)


def steps(sizes: Sizes, reverse: bool) -> list[Step]:
    """The steps in the order in which they are processed."""
    here, start = [], 0
    for n in sizes:
        here.append((start, n))
        start += n
    if reverse:
        here.reverse()
    return [Step(*a, *b) for a, b in zip(here, [(0, 0), *here[:-1]])]


class Before(NamedTuple):
    """The states before a step: of the step before, or the first ones, or some of both."""

    states: Any
    rows: int
    mixed: bool


def states_before(step: Step, states: Any, first: Any) -> Before:
    if not step.before_rows:
        return Before(first, step.rows, False)
    there = states[step.before : step.before + step.before_rows]
    return Before(there, step.before_rows, step.before_rows < step.rows)


def serves(x: Any, *others: Any) -> bool:
    return x.dtype.name in FLOATS and all(o is None or o.dtype is x.dtype for o in others)


def wide_type(x: Any) -> Any:
    return float64 if x.dtype.name == "float64" else float32


class Tiles(NamedTuple):
    """How rows and units are cut, with the other constants of a step's kernel."""

    constants: dict[str, Any]
    stages: int

    def programs(self, rows: int, n: int) -> tuple[int]:
        return (cdiv(rows, self.constants["BM"]) * cdiv(n, self.constants["BN"]),)


def tiles_of(launch: Any, x: Any, rows: int, n: int) -> Tiles:
    """Steps are short: small blocks, so that they reach many multiprocessors."""
    target = launch.target
    bm, bn = clip(pow2(rows), 16, 32), 32
    if cdiv(rows, bm) * cdiv(n, bn) < target.sms:
        bn = 16
    constants = {
        "BM": bm,
        "BN": bn,
        "BK": 128 // x.itemsize,
        "WIDE": is_wide(x),
        "ACC": accumulator(x.dtype.name),
        "PRECISION": "ieee",
        "UPCAST": target.interpreted and x.itemsize == 2,
    }
    return Tiles(constants, 2 if target.backend == "hip" else 3)


def product(launch: Any, out: Any, a: Any, b: Any) -> None:
    multiply(launch, out, a, b, None, 1, 0, "ieee")


def turned(x: Any) -> Any:
    return x.transpose((1, 0))


def rnn(
    launch: Any, out: tuple, gx: Any, h0: Any, w: Any, *, sizes: Sizes, reverse: bool, relu: bool
) -> Any:
    """gx (rows, H), h0 (batch, H), w (H, H) -> all states (rows, H), and the last of each row."""
    states, h = out
    if not serves(gx, h0, w):
        return NotImplemented
    n = gx.shape[1]
    tiles = tiles_of(launch, gx, h0.shape[0], n)
    for s in steps(sizes, reverse):
        x, b = gx[s.all], states_before(s, states, h0)
        launch(
            rnn_forward_kernel,
            tiles.programs(s.rows, n),
            [x, b.states, h0, w, states[s.all], h, s.rows, n, b.rows,
             *x.strides, *b.states.strides, *h0.strides, *w.strides],
            tiles.constants | {"RELU": relu, "MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip
    return None


def lstm(
    launch: Any, out: tuple, gx: Any, h0: Any, c0: Any, w: Any, project: Any = None, *,
    sizes: Sizes, reverse: bool,
) -> Any:  # fmt: skip
    """gx (rows, 4 N), h0 (batch, P), c0 (batch, N), w (4 N, P), project (P, N) or None -> all
    states (rows, P), the last states and cells, all gates (rows, 4 N) and cells (rows, N)."""
    states, h, c, gates, cells = out
    if not serves(gx, h0, c0, w, project):
        return NotImplemented
    batch, n = c0.shape
    tiles = tiles_of(launch, gx, batch, n)
    state = launch.empty((batch, n), wide_type(gx))
    inner = None if project is None else launch.empty((batch, n), gx.dtype)
    for s in steps(sizes, reverse):
        x, b = gx[s.all], states_before(s, states, h0)
        launch(
            lstm_forward_kernel,
            tiles.programs(s.rows, n),
            [x, b.states, h0, w, c0, state, states[s.all] if inner is None else inner,
             h if inner is None else None, c, gates[s.all], cells[s.all],
             s.rows, n, h0.shape[1], b.rows, s.before_rows,
             *x.strides, *b.states.strides, *h0.strides, *w.strides, *c0.strides],
            tiles.constants | {"MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip
        if project is not None:
            product(launch, states[s.all], inner[: s.rows], turned(project))
            copy(launch, h[: s.rows], states[s.all])
    return None


def gru(
    launch: Any, out: tuple, gx: Any, h0: Any, w: Any, bias: Any = None, *,
    sizes: Sizes, reverse: bool,
) -> Any:  # fmt: skip
    """gx (rows, 3 N), h0 (batch, N), w (3 N, N), bias (3 N) or None -> all states (rows, N), the
    last ones, and (rows, 4 N) the gates with what the reset scales."""
    states, h, gates = out
    if not serves(gx, h0, w, bias):
        return NotImplemented
    n = h0.shape[1]
    tiles = tiles_of(launch, gx, h0.shape[0], n)
    step = None if bias is None else bias.strides[0]
    for s in steps(sizes, reverse):
        x, b = gx[s.all], states_before(s, states, h0)
        launch(
            gru_forward_kernel,
            tiles.programs(s.rows, n),
            [x, b.states, h0, w, bias, states[s.all], h, gates[s.all], s.rows, n, b.rows,
             *x.strides, *b.states.strides, *h0.strides, *w.strides, step],
            tiles.constants | {"MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip
    return None
