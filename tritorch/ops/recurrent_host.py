"""Recurrent layers on NumPy arrays: a loop over time, one product of matrices a step.

Sequences are packed: step after step, the rows of all sequences that reach so far, the longest
first. A step reads rows `start:start + n`; what belongs to the input is computed before, for all
steps at once, and what belongs to the weights after.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .matmul_host import product

Sizes = tuple[int, ...]


class Step(NamedTuple):
    start: int
    rows: int
    before: int  # the step processed before: where it starts, and its rows
    before_rows: int

    @property
    def all(self) -> slice:
        return slice(self.start, self.start + self.rows)


def steps(sizes: Sizes, reverse: bool) -> list[Step]:
    """The steps in the order in which they are processed."""
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    order = list(zip(starts, sizes, strict=True))
    if reverse:
        order.reverse()
    return [Step(*here, *before) for here, before in zip(order, [(0, 0), *order[:-1]], strict=True)]


def before(step: Step, states: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The state of the rows of a step before it: of the step before, or the first."""
    m = min(step.rows, step.before_rows)
    known = states[step.before : step.before + m]
    return known if m == step.rows else np.concatenate([known, first[m : step.rows]])


def all_before(order: list[Step], states: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The states before all steps, in the order of memory."""
    out = np.empty_like(states)
    for step in order:
        out[step.all] = before(step, states, first)
    return out


def slope(s: np.ndarray) -> np.ndarray:
    """The derivative of a sigmoid from its value."""
    return s * (1 - s)


# -- simple ---------------------------------------------------------------------------------------


def rnn(gx: np.ndarray, h0: np.ndarray, w: np.ndarray, *, sizes: Sizes, reverse: bool, relu: bool):
    out, h, wt = np.empty_like(gx, order="C"), h0.copy(), np.ascontiguousarray(w.T)
    for step in steps(sizes, reverse):
        o = out[step.all]
        np.matmul(h[: step.rows], wt, out=o)
        o += gx[step.all]
        if relu:
            np.maximum(o, 0, out=o)
        else:
            np.tanh(o, out=o)
        h[: step.rows] = o
    return out, h


def rnn_backward(
    g_out: np.ndarray,
    g_h: np.ndarray,
    gx: np.ndarray,
    h0: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
    *,
    sizes: Sizes,
    reverse: bool,
    relu: bool,
) -> tuple:
    order, dh, dx = steps(sizes, reverse), g_h.copy(), np.empty_like(gx, order="C")
    for step in reversed(order):
        o, d = out[step.all], dx[step.all]
        np.add(dh[: step.rows], g_out[step.all], out=d)
        d *= (o > 0) if relu else 1 - o * o
        dh[: step.rows] = d @ w
    return dx, dh, product(dx.T, all_before(order, out, h0))


# -- LSTM -----------------------------------------------------------------------------------------


def halves(gates: int, n: int, tanh: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Factor and summand that make of `tanh(factor * x)` a sigmoid, but for the gate `tanh`."""
    factor = np.full((gates, n), 0.5, dtype)
    shift = np.full((gates, n), 0.5, dtype)
    factor[tanh], shift[tanh] = 1, 0
    return factor.reshape(-1), shift.reshape(-1)


def lstm(
    gx: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    w: np.ndarray,
    project: np.ndarray | None,
    *,
    sizes: Sizes,
    reverse: bool,
) -> tuple:
    n = c0.shape[1]
    factor, shift = halves(4, n, 2, gx.dtype)
    h, c, wt = h0.copy(), c0.copy(), np.ascontiguousarray(w.T) * factor
    out = np.empty((gx.shape[0], h0.shape[1]), gx.dtype)
    gates, cells = np.multiply(gx, factor, order="C"), np.empty((gx.shape[0], n), gx.dtype)
    for step in steps(sizes, reverse):
        g, cell = gates[step.all], cells[step.all]
        g += h[: step.rows] @ wt
        np.tanh(g, out=g)
        g *= factor
        g += shift
        i, f, z, o = g[:, :n], g[:, n : 2 * n], g[:, 2 * n : 3 * n], g[:, 3 * n :]
        np.multiply(f, c[: step.rows], out=cell)
        cell += i * z
        c[: step.rows] = cell
        y = np.tanh(cell)
        y *= o
        out[step.all] = h[: step.rows] = y if project is None else y @ project.T
    return out, h, c, gates, cells


def lstm_backward(
    g_out: np.ndarray,
    g_h: np.ndarray,
    g_c: np.ndarray,
    gx: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    w: np.ndarray,
    project: np.ndarray | None,
    out: np.ndarray,
    gates: np.ndarray,
    cells: np.ndarray,
    *,
    sizes: Sizes,
    reverse: bool,
) -> tuple:
    n = c0.shape[1]
    order, dh, dc = steps(sizes, reverse), g_h.copy(), g_c.copy()
    i, f, z, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    t = np.tanh(cells)
    inside = o * (1 - t * t)  # what a gradient of the state means for the cell
    dx = np.empty((gx.shape[0], 4, n), gx.dtype)  # first what it means for each gate
    np.multiply(z, slope(i), out=dx[:, 0])
    np.multiply(all_before(order, cells, c0), slope(f), out=dx[:, 1])
    np.multiply(i, 1 - z * z, out=dx[:, 2])
    np.multiply(t, slope(o), out=dx[:, 3])
    dy = np.empty_like(out)
    for step in reversed(order):
        d, rows = dx[step.all], step.rows
        y = np.add(dh[:rows], g_out[step.all], out=dy[step.all])
        if project is not None:
            y = y @ project
        inner = y * inside[step.all]
        inner += dc[:rows]
        d[:, :3] *= inner[:, None]
        d[:, 3] *= y
        np.multiply(inner, f[step.all], out=dc[:rows])
        np.matmul(d.reshape(rows, 4 * n), w, out=dh[:rows])
    flat = dx.reshape(gx.shape)
    gp = np.empty(0, gx.dtype) if project is None else dy.T @ (o * t)
    return flat, dh, dc, product(flat.T, all_before(order, out, h0)), gp


# -- GRU ------------------------------------------------------------------------------------------


def gru(
    gx: np.ndarray,
    h0: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    *,
    sizes: Sizes,
    reverse: bool,
) -> tuple:
    n = h0.shape[1]
    h, wt = h0.copy(), np.ascontiguousarray(w.T)
    half = np.repeat(np.array([0.5, 0.5, 1.0], gx.dtype), n)  # a sigmoid is a scaled tangent
    wt, bias = wt * half, None if bias is None else bias * half
    x = gx * half
    out = np.empty((gx.shape[0], n), gx.dtype)
    gates = np.empty((gx.shape[0], 4 * n), gx.dtype)  # reset, update, new, and what reset scales
    for step in steps(sizes, reverse):
        rows, g = step.rows, gates[step.all]
        inner = h[:rows] @ wt
        if bias is not None:
            inner += bias
        both, new = g[:, : 2 * n], g[:, 2 * n : 3 * n]
        np.add(x[step.all, : 2 * n], inner[:, : 2 * n], out=both)
        np.tanh(both, out=both)
        both += 1
        both *= 0.5
        g[:, 3 * n :] = inner[:, 2 * n :]
        np.multiply(g[:, :n], inner[:, 2 * n :], out=new)
        new += x[step.all, 2 * n :]
        np.tanh(new, out=new)
        o = np.subtract(h[:rows], new, out=out[step.all])
        o *= g[:, n : 2 * n]
        o += new
        h[:rows] = o
    return out, h, gates


def gru_backward(
    g_out: np.ndarray,
    g_h: np.ndarray,
    gx: np.ndarray,
    h0: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    gates: np.ndarray,
    *,
    sizes: Sizes,
    reverse: bool,
) -> tuple:
    n = h0.shape[1]
    order, dh = steps(sizes, reverse), g_h.copy()
    r, z, new, scaled = (gates[:, k * n : (k + 1) * n] for k in range(4))
    # first what the gradient of the state, or of the new gate, means for each
    dx, inner = np.empty_like(gx, order="C"), np.empty_like(gx, order="C")
    np.multiply(scaled, slope(r), out=dx[:, :n])
    np.multiply(all_before(order, out, h0) - new, slope(z), out=dx[:, n : 2 * n])
    np.multiply(1 - z, 1 - new * new, out=dx[:, 2 * n :])
    for step in reversed(order):
        d, e, rows = dx[step.all], inner[step.all], step.rows
        y = dh[:rows] + g_out[step.all]
        d[:, 2 * n :] *= y
        d[:, n : 2 * n] *= y
        d[:, :n] *= d[:, 2 * n :]
        np.multiply(d[:, 2 * n :], r[step.all], out=e[:, 2 * n :])
        e[:, : 2 * n] = d[:, : 2 * n]
        y *= z[step.all]
        np.add(y, e @ w, out=dh[:rows])
    gb: Any = np.empty(0, gx.dtype) if bias is None else np.add.reduce(inner, axis=0)
    return dx, dh, product(inner.T, all_before(order, out, h0)), gb
