"""The gradients of the loops over time of recurrent layers: one launch a step.

A program takes BM rows and BN units of a step: the product of the gates' gradients of the step
after it with the weights, and the gradients of its own gates. What belongs to all steps, the
gradient of the weights, is one product at the end. Nothing is added by atomics.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ._dense import cdiv, dot, is_wide
from ._math import tanh
from .copy import copy
from .recurrent import (
    ROWS,
    Before,
    Sizes,
    Step,
    at,
    before,
    bent,
    block,
    product,
    put,
    serves,
    states_before,
    steps,
    tiles_of,
    turned,
    wide_type,
)
from .reduce import sum as sum_

# A launch takes the rows of its own step (m) and of the step whose gradients were found before
# (m_after). Rows of that one alone are done: what is left of them is the gradient of the first
# state. Rows of its own alone begin with the gradient of the last state.


@triton.jit
def state_gradient(
    p_after, p_w, p_gh, p_carry, o_m, o_n, m_after, m, n, n_k, s_wk, s_wn, s_gm, s_gn,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The gradient of a step's states, but for what its results get."""
    acc = tl.zeros((BM, BN), ACC)
    m_n = (o_n < n)[None, :]
    later = (o_m < m_after)[:, None]
    if m_after > 0:
        for k in range(0, n_k, BK):
            o_k = k + tl.arange(0, BK)
            m_k = o_k < n_k
            g = tl.load(at(p_after, o_m, o_k, n_k, 1), mask=later & m_k[None, :], other=0)
            w = tl.load(at(p_w, o_k, o_n, s_wk, s_wn), mask=m_k[:, None] & m_n, other=0)
            acc = dot(g, w, acc, True, PRECISION, UPCAST)
        if p_carry is not None:
            acc += tl.load(at(p_carry, o_m, o_n, n, 1), mask=later & m_n, other=0)
    fresh = ((o_m >= m_after) & (o_m < m))[:, None] & m_n
    return acc + tl.load(at(p_gh, o_m, o_n, s_gm, s_gn), mask=fresh, other=0).to(ACC)


@triton.jit(do_not_specialize=ROWS)
def rnn_backward_kernel(
    p_after,  # (m_after, N): the gradient of the step after
    p_w,  # (N, N)
    p_gh,  # (batch, N)
    p_g,  # (m, N): the gradient of the results
    p_out,  # (m, N)
    p_before, p_first,  # (n_before, N), (batch, N)
    p_dx,  # (m, N)
    p_dh,  # (batch, N)
    p_kept,  # (m, N): the states before
    m_after, m, n, n_before,
    s_wk, s_wn, s_hm, s_hn, s_gm, s_gn, s_om, s_on, s_bm, s_bn, s_fm, s_fn,
    RELU: tl.constexpr, MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """dx = (g + after @ w) * the derivative of tanh or relu."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    y = state_gradient(
        p_after, p_w, p_gh, None, o_m, o_n, m_after, m, n, n, s_wk, s_wn, s_hm, s_hn,
        ACC, PRECISION, UPCAST, BM, BN, BK,
    )  # fmt: skip
    put(p_dh, o_m, o_n, n, y, ((o_m >= m) & (o_m < m_after))[:, None] & (o_n < n)[None, :])
    y += tl.load(at(p_g, o_m, o_n, s_gm, s_gn), mask=inside, other=0).to(ACC)
    out = tl.load(at(p_out, o_m, o_n, s_om, s_on), mask=inside, other=0).to(ACC)
    d = tl.where(out > 0, y, y * 0.0) if RELU else y * (1.0 - out * out)
    put(p_dx, o_m, o_n, n, d, inside)
    h = before(p_before, p_first, o_m, o_n, inside, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
    put(p_kept, o_m, o_n, n, h, inside)


@triton.jit(do_not_specialize=ROWS)
def lstm_backward_kernel(
    p_after,  # (m_after, 4 * N)
    p_w,  # (4 * N, N)
    p_gh,  # (batch, N)
    p_y,  # (m, N): the gradient of the states before projection; None where there is none
    p_g,  # (m, N)
    p_gates,  # (m, 4 * N)
    p_cells,  # (m, N)
    p_cell_before, p_c0,  # (n_before, N), (batch, N): the cells before
    p_before, p_first,  # (n_before, N), (batch, N): the states before
    p_gc,  # (batch, N)
    p_state,  # (batch, N): the gradient of the cells, not rounded to 16 bits
    p_dx,  # (m, 4 * N)
    p_dh,  # (batch, N)
    p_dc,  # (batch, N)
    p_kept,  # (m, N): the states before; with a projection what it projects
    m_after, m, n, n_before,
    s_wk, s_wn, s_hm, s_hn, s_gm, s_gn, s_am, s_an, s_cm, s_cn,
    s_km, s_kn, s_lm, s_ln, s_bm, s_bn, s_fm, s_fn, s_dm, s_dn,
    MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The gradients of the four gates, and of the cells before."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    if p_y is None:
        y = state_gradient(
            p_after, p_w, p_gh, None, o_m, o_n, m_after, m, n, 4 * n, s_wk, s_wn, s_hm, s_hn,
            ACC, PRECISION, UPCAST, BM, BN, BK,
        )  # fmt: skip
        put(p_dh, o_m, o_n, n, y, ((o_m >= m) & (o_m < m_after))[:, None] & (o_n < n)[None, :])
        y += tl.load(at(p_g, o_m, o_n, s_gm, s_gn), mask=inside, other=0).to(ACC)
    else:
        y = tl.load(at(p_y, o_m, o_n, n, 1), mask=inside, other=0)
    q = at(p_gates, o_m, o_n, s_am, s_an)
    i = tl.load(q, mask=inside, other=0).to(ACC)
    f = tl.load(q + n * s_an, mask=inside, other=0).to(ACC)
    z = tl.load(q + 2 * n * s_an, mask=inside, other=0).to(ACC)
    o = tl.load(q + 3 * n * s_an, mask=inside, other=0).to(ACC)
    t = tanh(tl.load(at(p_cells, o_m, o_n, s_cm, s_cn), mask=inside, other=0).to(ACC))
    dc = tl.load(at(p_state, o_m, o_n, n, 1), mask=inside & (o_m < m_after)[:, None], other=0)
    fresh = inside & (o_m >= m_after)[:, None]
    dc += tl.load(at(p_gc, o_m, o_n, s_dm, s_dn), mask=fresh, other=0).to(ACC)
    dc += y * o * (1.0 - t * t)
    c = before(p_cell_before, p_c0, o_m, o_n, inside, n_before, s_km, s_kn, s_lm, s_ln, MIXED)
    put(p_dx, o_m, o_n, 4 * n, dc * z * bent(i), inside)
    put(p_dx + n, o_m, o_n, 4 * n, dc * c.to(ACC) * bent(f), inside)
    put(p_dx + 2 * n, o_m, o_n, 4 * n, dc * i * (1.0 - z * z), inside)
    put(p_dx + 3 * n, o_m, o_n, 4 * n, y * t * bent(o), inside)
    put(p_state, o_m, o_n, n, dc * f, inside)
    put(p_dc, o_m, o_n, n, dc * f, inside)
    if p_y is None:
        h = before(p_before, p_first, o_m, o_n, inside, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
        put(p_kept, o_m, o_n, n, h, inside)
    else:
        put(p_kept, o_m, o_n, n, o * t, inside)


@triton.jit(do_not_specialize=ROWS)
def gru_backward_kernel(
    p_after,  # (m_after, 3 * N): of what the states give to the gates
    p_w,  # (3 * N, N)
    p_gh,  # (batch, N)
    p_carry,  # (batch, N): what goes to the state before without the product
    p_g,  # (m, N)
    p_gates,  # (m, 4 * N)
    p_before, p_first,  # (n_before, N), (batch, N)
    p_dx,  # (m, 3 * N)
    p_inner,  # (m, 3 * N)
    p_dh,  # (batch, N)
    p_kept,  # (m, N): the states before
    m_after, m, n, n_before,
    s_wk, s_wn, s_hm, s_hn, s_gm, s_gn, s_am, s_an, s_bm, s_bn, s_fm, s_fn,
    MIXED: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The gradients of the three gates, from the input's side and from the states'."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    y = state_gradient(
        p_after, p_w, p_gh, p_carry, o_m, o_n, m_after, m, n, 3 * n, s_wk, s_wn, s_hm, s_hn,
        ACC, PRECISION, UPCAST, BM, BN, BK,
    )  # fmt: skip
    put(p_dh, o_m, o_n, n, y, ((o_m >= m) & (o_m < m_after))[:, None] & (o_n < n)[None, :])
    y += tl.load(at(p_g, o_m, o_n, s_gm, s_gn), mask=inside, other=0).to(ACC)
    q = at(p_gates, o_m, o_n, s_am, s_an)
    r = tl.load(q, mask=inside, other=0).to(ACC)
    z = tl.load(q + n * s_an, mask=inside, other=0).to(ACC)
    new = tl.load(q + 2 * n * s_an, mask=inside, other=0).to(ACC)
    scaled = tl.load(q + 3 * n * s_an, mask=inside, other=0).to(ACC)
    h = before(p_before, p_first, o_m, o_n, inside, n_before, s_bm, s_bn, s_fm, s_fn, MIXED)
    d_n = y * (1.0 - z) * (1.0 - new * new)
    d_z = y * (h.to(ACC) - new) * bent(z)
    d_r = d_n * scaled * bent(r)
    put(p_dx, o_m, o_n, 3 * n, d_r, inside)
    put(p_dx + n, o_m, o_n, 3 * n, d_z, inside)
    put(p_dx + 2 * n, o_m, o_n, 3 * n, d_n, inside)
    put(p_inner, o_m, o_n, 3 * n, d_r, inside)
    put(p_inner + n, o_m, o_n, 3 * n, d_z, inside)
    put(p_inner + 2 * n, o_m, o_n, 3 * n, d_n * r, inside)
    put(p_carry, o_m, o_n, n, y * z, inside)
    put(p_kept, o_m, o_n, n, h, inside)


@triton.jit(do_not_specialize=ROWS)
def state_sum_kernel(
    p_a,  # (m, n)
    p_b,  # (m, n)
    p_out,  # (m, n)
    m, n, s_bm, s_bn,
    WIDE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """out = a + b, in the dtype of a."""
    o_m, o_n, inside = block(n, m, BM, BN, WIDE)
    a = tl.load(at(p_a, o_m, o_n, n, 1), mask=inside, other=0)
    b = tl.load(at(p_b, o_m, o_n, s_bm, s_bn), mask=inside, other=0)
    put(p_out, o_m, o_n, n, a + b.to(a.dtype), inside)


# -- launchers ---------------------------------------------------------------------------------


class Back(NamedTuple):
    """A step of the backward: its own rows, none in the last one, and those found before."""

    step: Step
    rows: int
    after: slice
    after_rows: int


def _backwards(sizes: Sizes, reverse: bool) -> list[Back]:
    order = steps(sizes, reverse)[::-1]
    found = [Back(order[0], order[0].rows, slice(0, 0), 0)]
    found += [Back(s, s.rows, a.all, a.rows) for a, s in pairwise(order)]
    return [*found, Back(order[-1], 0, order[-1].all, order[-1].rows)]


def rnn_backward(
    launch: Any, out: tuple, g_out: Any, g_h: Any, gx: Any, h0: Any, w: Any, states: Any, *,
    sizes: Sizes, reverse: bool, relu: bool,
) -> Any:  # fmt: skip
    """The gradients of gx, h0 and w from those of all states and of the last ones."""
    dx, dh, dw = out
    if not serves(gx, g_out, g_h, h0, w, states):
        return NotImplemented
    n = gx.shape[1]
    tiles, kept = tiles_of(launch, gx, h0.shape[0], n), launch.empty(gx.shape, gx.dtype)
    for s in _backwards(sizes, reverse):
        b, at = states_before(s.step, states, h0), s.step.all
        launch(
            rnn_backward_kernel,
            tiles.programs(max(s.rows, s.after_rows), n),
            [dx[s.after], w, g_h, g_out[at], states[at], b.states, h0, dx[at], dh, kept[at],
             s.after_rows, s.rows, n, b.rows,
             *w.strides, *g_h.strides, *g_out.strides, *states.strides, *b.states.strides,
             *h0.strides],
            tiles.constants | {"RELU": relu, "MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip
    product(launch, dw, turned(dx), kept)
    return None


def lstm_backward(
    launch: Any, out: tuple, g_out: Any, g_h: Any, g_c: Any, gx: Any, h0: Any, c0: Any, w: Any,
    project: Any, states: Any, gates: Any, cells: Any, *, sizes: Sizes, reverse: bool,
) -> Any:  # fmt: skip
    """The gradients of gx, h0, c0, w and project."""
    dx, dh, dc, dw, dp = out
    if not serves(gx, g_out, g_h, g_c, h0, c0, w, project, states, gates, cells):
        return NotImplemented
    batch, n = c0.shape
    tiles = tiles_of(launch, gx, batch, n)
    state = launch.empty((batch, n), wide_type(gx))
    kept = launch.empty(states.shape, gx.dtype)

    def cell(s: Back, y: Any, into: Any) -> None:
        at = s.step.all
        b, c = states_before(s.step, states, h0), states_before(s.step, cells, c0)
        launch(
            lstm_backward_kernel,
            tiles.programs(max(s.rows, s.after_rows), n),
            [dx[s.after], w, g_h, y, g_out[at], gates[at], cells[at], c.states, c0, b.states, h0,
             g_c, state, dx[at], dh, dc, into[at], s.after_rows, s.rows, n, b.rows,
             *w.strides, *g_h.strides, *g_out.strides, *gates.strides, *cells.strides,
             *c.states.strides, *c0.strides, *b.states.strides, *h0.strides, *g_c.strides],
            tiles.constants | {"MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip

    if project is None:
        for s in _backwards(sizes, reverse):
            cell(s, None, kept)
    else:
        dy, inner = _projected(launch, cell, (dx, dh, g_out, g_h, w, project), sizes, reverse)
        product(launch, dp, turned(dy), inner)
        for s in steps(sizes, reverse):
            _keep(launch, kept[s.all], states_before(s, states, h0), h0)
    product(launch, dw, turned(dx), kept)
    return None


def _projected(
    launch: Any, cell: Any, arrays: tuple, sizes: Sizes, reverse: bool
) -> tuple[Any, Any]:
    """The steps of an LSTM whose states are projected: (the gradients of all states, what was
    projected)."""
    dx, dh, g_out, g_h, w, project = arrays
    p, n = project.shape
    rows, wide = dx.shape[0], wide_type(dx)
    dy, inner = launch.empty((rows, p), dx.dtype), launch.empty((rows, n), dx.dtype)
    state, y = launch.empty(g_h.shape, wide), launch.empty((g_h.shape[0], n), wide)
    copy(launch, state, g_h)
    bm, bn = 16, 64
    for s in _backwards(sizes, reverse)[:-1]:
        g, to = g_out[s.step.all], dy[s.step.all]
        launch(
            state_sum_kernel,
            (cdiv(s.rows, bm) * cdiv(p, bn),),
            [state, g, to, s.rows, p, *g.strides],
            {"WIDE": is_wide(g, to), "BM": bm, "BN": bn},
        )
        product(launch, y[: s.rows], to, project)
        cell(s, y, inner)
        product(launch, state[: s.rows], dx[s.step.all], w)
    copy(launch, dh, state)
    return dy, inner


def _keep(launch: Any, to: Any, b: Before, first: Any) -> None:
    """to = the states before a step's rows."""
    n, rows = to.shape[0], min(b.rows, to.shape[0])
    copy(launch, to[:rows], b.states[:rows])
    if rows < n:
        copy(launch, to[rows:], first[rows:n])


def gru_backward(
    launch: Any, out: tuple, g_out: Any, g_h: Any, gx: Any, h0: Any, w: Any, bias: Any,
    states: Any, gates: Any, *, sizes: Sizes, reverse: bool,
) -> Any:  # fmt: skip
    """The gradients of gx, h0, w and bias."""
    dx, dh, dw, db = out
    if not serves(gx, g_out, g_h, h0, w, bias, states, gates):
        return NotImplemented
    batch, n = h0.shape
    tiles, kept = tiles_of(launch, gx, batch, n), launch.empty(states.shape, gx.dtype)
    carry, inner = launch.empty((batch, n), wide_type(gx)), launch.empty(gx.shape, gx.dtype)
    for s in _backwards(sizes, reverse):
        b, at = states_before(s.step, states, h0), s.step.all
        launch(
            gru_backward_kernel,
            tiles.programs(max(s.rows, s.after_rows), n),
            [inner[s.after], w, g_h, carry, g_out[at], gates[at], b.states, h0, dx[at], inner[at],
             dh, kept[at], s.after_rows, s.rows, n, b.rows,
             *w.strides, *g_h.strides, *g_out.strides, *gates.strides, *b.states.strides,
             *h0.strides],
            tiles.constants | {"MIXED": b.mixed},
            num_stages=tiles.stages,
        )  # fmt: skip
    product(launch, dw, turned(inner), kept)
    if bias is not None:
        sum_(launch, db, inner, dims=(0,))
    return None
