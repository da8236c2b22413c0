"""The loops over time of recurrent layers, fused: one direction of one layer.

Each takes what belongs to the input, already computed for all steps, and the rows of each step
(`sizes`): sequences are packed, the longest first. Sources: Elman, 1990; Hochreiter and
Schmidhuber, "Long short-term memory", 1997; Cho et al., 2014, with the reset after the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..op import fused, joint, through_ref
from ..tensor import Tensor
from . import recurrent_host as host_side
from .join import cat
from .matmul import matmul_op

Sizes = tuple[int, ...]


def _spec(t: Tensor) -> tuple:
    return tuple(t._data.shape), t.dtype


def _loop(
    gx: Any, states: tuple, sizes: Sizes, reverse: bool, step: Callable
) -> tuple[Any, list[Any]]:
    """`step(x, *states)` gives new states, of which the first is the result; packed."""
    outs: list[Any] = [None] * len(sizes)
    order = host_side.steps(sizes, reverse)
    for k, s in enumerate(order):
        new = step(gx[s.all], *(h[: s.rows] for h in states))
        outs[len(order) - 1 - k if reverse else k] = new
        states = tuple(
            n if s.rows == h.shape[0] else cat([n, h[s.rows :]])
            for n, h in zip(new, states, strict=False)
        )
    columns = [cat(list(column)) for column in zip(*outs, strict=True)]
    return columns, list(states)


def _joined(forward: Callable, backward: Callable, grads: int, saved: int) -> Callable:
    """The rule that gives missing gradients as zeros; through the composition where one comes for
    what only the backward is to see."""

    def run(found: list, inputs: list, outs: list, params: dict, needs: Any) -> Any:
        if any(g is not None for g in found[grads:]):
            return through_ref(forward())(*found, *inputs, *params.values(), needs)
        likes = outs[:grads]
        given = [t * 0 if g is None else g for g, t in zip(found[:grads], likes, strict=True)]
        kept = [t.detach() for t in outs[len(outs) - saved :]] if saved else []
        got = backward(*given, *inputs, outs[0].detach(), *kept, **params)
        return [g if need else None for g, need in zip(got, needs, strict=True)]

    return run


def _params(relu: bool | None = None) -> list[dict]:
    extra = {} if relu is None else {"relu": relu}
    return [
        {"sizes": (2, 2), "reverse": False, **extra},
        {"sizes": (3, 2, 1), "reverse": True, **extra},
        {"sizes": (1,), "reverse": False, **extra},
    ]


# -- simple ---------------------------------------------------------------------------------------


def _rnn_samples(s: Any) -> list:
    found = []
    for relu in (False, True):
        for p in _params(relu):
            found.append(s((sum(p["sizes"]), 2), (p["sizes"][0], 2), (2, 2), **p))
    return [*found, s((40, 5), (8, 5), (5, 5), sizes=(8,) * 5, reverse=True, relu=False)]


def _rnn_backward_samples(s: Any) -> list:
    found = []
    for x in _rnn_samples(s):
        out, h = host_side.rnn(*x.inputs, **x.params)
        found.append(s(out.shape, h.shape, *x.inputs, out, smooth=False, **x.params))
    return found


@fused(
    outputs=("dx", "dh", "dw"),
    meta=lambda g_out, g_h, gx, h0, w, out, **p: [_spec(gx), _spec(h0), _spec(w)],
    cpu=host_side.rnn_backward,
    triton="recurrent_backward.rnn_backward",
    samples=_rnn_backward_samples,
)
def rnn_scan_backward(
    g_out: Any,
    g_h: Any,
    gx: Any,
    h0: Any,
    w: Any,
    out: Any,
    *,
    sizes: Sizes,
    reverse: bool,
    relu: bool,
) -> Any:
    """The gradients of `rnn_scan`."""
    rule = through_ref(rnn_scan)
    return tuple(rule(g_out, g_h, gx, h0, w, sizes, reverse, relu, (True,) * 3))


_rnn_rule = _joined(lambda: rnn_scan, rnn_scan_backward, 2, 0)


def _rnn_vjp(
    g: Any,
    g_h: Any,
    gx: Any,
    h0: Any,
    w: Any,
    out: Any,
    h: Any,
    sizes: Sizes,
    reverse: bool,
    relu: bool,
    needs: Any,
) -> Any:
    params = {"sizes": sizes, "reverse": reverse, "relu": relu}
    return _rnn_rule([g, g_h], [gx, h0, w], [out, h], params, needs)


@fused(
    outputs=("out", "h"),
    meta=lambda gx, h0, w, **p: [_spec(gx), _spec(h0)],
    cpu=host_side.rnn,
    triton="recurrent.rnn",
    vjp=joint(_rnn_vjp),
    samples=_rnn_samples,
)
def rnn_scan(gx: Any, h0: Any, w: Any, *, sizes: Sizes, reverse: bool, relu: bool) -> Any:
    """`h_t = act(gx_t + w h_(t-1))` for packed `gx` (rows, H): all states, and the last ones."""

    def step(x: Any, h: Any) -> tuple:
        y = x + matmul_op(h, w.transpose(0, 1))
        return (y.relu() if relu else y.tanh(),)

    (out,), (h,) = _loop(gx, (h0,), sizes, reverse, step)
    return out, h


# -- LSTM -----------------------------------------------------------------------------------------


def _lstm_samples(s: Any) -> list:
    found = []
    for i, p in enumerate(_params()):
        rows, b, n = sum(p["sizes"]), p["sizes"][0], 1
        project = (2, n) if i == 1 else None
        size = 2 if i == 1 else n
        found.append(s((rows, 4 * n), (b, size), (b, n), (4 * n, size), project, **p))
    big = {"sizes": (8,) * 5, "reverse": True}
    return [*found, s((40, 20), (8, 5), (8, 5), (20, 5), None, **big)]


def _lstm_backward_samples(s: Any) -> list:
    found = []
    for x in _lstm_samples(s):
        out, h, c, *saved = host_side.lstm(*x.inputs, **x.params)
        shapes = out.shape, h.shape, c.shape
        found.append(s(*shapes, *x.inputs, out, *saved, smooth=False, **x.params))
    return found


def _or_empty(t: Any, like: Tensor) -> tuple:
    return ((0,), like.dtype) if t is None else _spec(t)


@fused(
    outputs=("dx", "dh", "dc", "dw", "dp"),
    meta=lambda g_out, g_h, g_c, gx, h0, c0, w, project, out, gates, cells, **p: [
        *map(_spec, (gx, h0, c0, w)),
        _or_empty(project, gx),
    ],
    cpu=host_side.lstm_backward,
    triton="recurrent_backward.lstm_backward",
    samples=_lstm_backward_samples,
)
def lstm_scan_backward(
    g_out: Any,
    g_h: Any,
    g_c: Any,
    gx: Any,
    h0: Any,
    c0: Any,
    w: Any,
    project: Any,
    out: Any,
    gates: Any,
    cells: Any,
    *,
    sizes: Sizes,
    reverse: bool,
) -> Any:
    """The gradients of `lstm_scan`."""
    needs = (True, True, True, True, project is not None)
    inputs = (gx, h0, c0, w, project)
    rule = through_ref(lstm_scan)
    found = rule(g_out, g_h, g_c, None, None, *inputs, sizes, reverse, needs)
    return tuple(gx.new_empty(0) if g is None else g for g in found)


_lstm_rule = _joined(lambda: lstm_scan, lstm_scan_backward, 3, 2)


def _lstm_vjp(
    g: Any,
    g_h: Any,
    g_c: Any,
    g_gates: Any,
    g_cells: Any,
    gx: Any,
    h0: Any,
    c0: Any,
    w: Any,
    project: Any,
    out: Any,
    h: Any,
    c: Any,
    gates: Any,
    cells: Any,
    sizes: Sizes,
    reverse: bool,
    needs: Any,
) -> Any:
    params = {"sizes": sizes, "reverse": reverse}
    inputs, outs = [gx, h0, c0, w, project], [out, h, c, gates, cells]
    return _lstm_rule([g, g_h, g_c, g_gates, g_cells], inputs, outs, params, needs)


@fused(
    outputs=("out", "h", "c", "gates", "cells"),
    meta=lambda gx, h0, c0, w, project, **p: [
        ((gx._data.shape[0], h0._data.shape[1]), gx.dtype),
        _spec(h0),
        _spec(c0),
        _spec(gx),
        ((gx._data.shape[0], c0._data.shape[1]), gx.dtype),
    ],
    cpu=host_side.lstm,
    triton="recurrent.lstm",
    vjp=joint(_lstm_vjp),
    samples=_lstm_samples,
)
def lstm_scan(
    gx: Any, h0: Any, c0: Any, w: Any, project: Any, *, sizes: Sizes, reverse: bool
) -> Any:
    """Packed `gx` (rows, 4 H) in the order input, forget, cell, output; `project` (P, H) or None.

    All states, the last states and cells; and for the backward, gates and cells of all steps.
    """

    def step(x: Any, h: Any, c: Any) -> tuple:
        i, f, z, o = (x + matmul_op(h, w.transpose(0, 1))).chunk(4, 1)
        i, f, z, o = i.sigmoid(), f.sigmoid(), z.tanh(), o.sigmoid()
        c = f * c + i * z
        h = o * c.tanh()
        h = h if project is None else matmul_op(h, project.transpose(0, 1))
        return h, c, cat([i, f, z, o], 1)

    (out, cells, gates), (h, c) = _loop(gx, (h0, c0), sizes, reverse, step)
    return out, h, c, gates, cells


# -- GRU ------------------------------------------------------------------------------------------


def _gru_samples(s: Any) -> list:
    found = []
    for i, p in enumerate(_params()):
        rows, b = sum(p["sizes"]), p["sizes"][0]
        bias = None if i == 1 else (3,)
        found.append(s((rows, 3), (b, 1), (3, 1), bias, **p))
    return [*found, s((40, 15), (8, 5), (15, 5), (15,), sizes=(8,) * 5, reverse=True)]


def _gru_backward_samples(s: Any) -> list:
    found = []
    for x in _gru_samples(s):
        out, h, gates = host_side.gru(*x.inputs, **x.params)
        found.append(s(out.shape, h.shape, *x.inputs, out, gates, smooth=False, **x.params))
    return found


@fused(
    outputs=("dx", "dh", "dw", "db"),
    meta=lambda g_out, g_h, gx, h0, w, bias, out, gates, **p: [
        *map(_spec, (gx, h0, w)),
        _or_empty(bias, gx),
    ],
    cpu=host_side.gru_backward,
    triton="recurrent_backward.gru_backward",
    samples=_gru_backward_samples,
)
def gru_scan_backward(
    g_out: Any,
    g_h: Any,
    gx: Any,
    h0: Any,
    w: Any,
    bias: Any,
    out: Any,
    gates: Any,
    *,
    sizes: Sizes,
    reverse: bool,
) -> Any:
    """The gradients of `gru_scan`."""
    needs = (True, True, True, bias is not None)
    rule = through_ref(gru_scan)
    found = rule(g_out, g_h, None, gx, h0, w, bias, sizes, reverse, needs)
    return tuple(gx.new_empty(0) if g is None else g for g in found)


_gru_rule = _joined(lambda: gru_scan, gru_scan_backward, 2, 1)


def _gru_vjp(
    g: Any,
    g_h: Any,
    g_gates: Any,
    gx: Any,
    h0: Any,
    w: Any,
    bias: Any,
    out: Any,
    h: Any,
    gates: Any,
    sizes: Sizes,
    reverse: bool,
    needs: Any,
) -> Any:
    params = {"sizes": sizes, "reverse": reverse}
    return _gru_rule([g, g_h, g_gates], [gx, h0, w, bias], [out, h, gates], params, needs)


@fused(
    outputs=("out", "h", "gates"),
    meta=lambda gx, h0, w, bias, **p: [
        ((gx._data.shape[0], h0._data.shape[1]), gx.dtype),
        _spec(h0),
        ((gx._data.shape[0], 4 * h0._data.shape[1]), gx.dtype),
    ],
    cpu=host_side.gru,
    triton="recurrent.gru",
    vjp=joint(_gru_vjp),
    samples=_gru_samples,
)
def gru_scan(gx: Any, h0: Any, w: Any, bias: Any, *, sizes: Sizes, reverse: bool) -> Any:
    """Packed `gx` (rows, 3 H) in the order reset, update, new; `bias` (3 H) of the states.

    All states, the last ones; and for the backward the gates, and what the reset scales.
    """

    def step(x: Any, h: Any) -> tuple:
        y = matmul_op(h, w.transpose(0, 1))
        y = y if bias is None else y + bias
        (xr, xz, xn), (yr, yz, yn) = x.chunk(3, 1), y.chunk(3, 1)
        r, z = (xr + yr).sigmoid(), (xz + yz).sigmoid()
        new = (xn + r * yn).tanh()
        return new + z * (h - new), cat([r, z, new, yn], 1)

    (out, gates), (h,) = _loop(gx, (h0,), sizes, reverse, step)
    return out, h, gates
