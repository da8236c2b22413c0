"""Layers and cells of recurrent networks as functions: lstm, gru, rnn_tanh, rnn_relu and cells.

One product computes what belongs to the input for all steps; the loop over time is a fused record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from .api import PUBLIC
from .autocast import listed
from .dropout import dropout as drop
from .join import cat, stack
from .matmul import linear
from .recurrent import gru_scan, lstm_scan, rnn_scan

States = tuple[Tensor, ...]
Run = Callable[..., tuple]  # (x, states, weights, sizes, reverse) -> (result, last states)


def _bias(weights: Sequence[Tensor], biased: bool) -> tuple[Any, Any]:
    return (weights[2], weights[3]) if biased else (None, None)


def _rnn_run(relu: bool) -> Run:
    def run(x: Tensor, states: States, w: Any, biased: bool, sizes: Any, reverse: bool) -> tuple:
        b, c = _bias(w, biased)
        gx = linear(x, w[0], b + c if biased else None)
        out, h = rnn_scan(gx, states[0], w[1], sizes=sizes, reverse=reverse, relu=relu)
        return out, (h,)

    return run


def _lstm_run(x: Tensor, states: States, w: Any, biased: bool, sizes: Any, reverse: bool) -> tuple:
    b, c = _bias(w, biased)
    gx = linear(x, w[0], b + c if biased else None)
    project = w[-1] if len(w) in (3, 5) else None
    out, h, cell, *_ = lstm_scan(gx, *states, w[1], project, sizes=sizes, reverse=reverse)
    return out, (h, cell)


def _gru_run(x: Tensor, states: States, w: Any, biased: bool, sizes: Any, reverse: bool) -> tuple:
    b, c = _bias(w, biased)
    out, h, _ = gru_scan(linear(x, w[0], b), states[0], w[1], c, sizes=sizes, reverse=reverse)
    return out, (h,)


def _layers(
    run: Run,
    x: Tensor,
    states: States,
    params: Sequence[Tensor],
    biased: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    sizes: tuple[int, ...],
) -> tuple[Tensor, list[Tensor]]:
    """All layers and directions on packed rows: (rows, I) to (rows, D * H)."""
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    last: list[tuple] = []
    for layer in range(num_layers):
        outs = []
        for direction in range(directions):
            k = layer * directions + direction
            own = tuple(s[k] for s in states)  # type: ignore[index]
            w = params[k * each : (k + 1) * each]
            out, new = run(x, own, w, biased, sizes, bool(direction))
            outs.append(out)
            last.append(new)
        x = outs[0] if directions == 1 else cat(outs, 1)
        if dropout and train and layer + 1 < num_layers:
            x = drop(x, dropout)
    return x, [stack(list(column)) for column in zip(*last, strict=True)]


def _call(name: str, run: Run, first: Tensor, states: Any, *args: Any, **kwargs: Any) -> tuple:
    """Both forms: (input, states, params, ..., batch_first), (data, batch_sizes, states, ...)."""
    names = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
    packed = len(args) > 1 and isinstance(args[1], list | tuple)  # the second is not `has_biases`
    if packed:
        sizes, states, args = states, args[0], args[1:]  # type: ignore
    else:
        names = (*names, "batch_first")
    given = dict(zip(names, args, strict=False)) | kwargs
    missing = [n for n in names if n not in given]
    if missing:
        raise TypeError(f"{name}(): missing arguments {', '.join(missing)}")
    batch_first = given.pop("batch_first", False)
    states = (states,) if isinstance(states, Tensor) else tuple(states)
    x: Any = first
    if packed:
        rows = tuple(int(n) for n in sizes.tolist())
    else:
        x = x.transpose(0, 1) if batch_first else x
        time, batch = x.shape[:2]
        if not time:
            raise RuntimeError(f"{name}: Expected sequence length to be larger than 0 in RNN")
        rows, x = (batch,) * time, x.reshape(time * batch, x.shape[2])
    how = [given[n] for n in names[:6]]
    out: Any
    out, last = _layers(run, x, states, *how, rows)  # type: ignore
    if not packed:
        out = out.reshape(time, batch, out.shape[1])
        out = out.transpose(0, 1) if batch_first else out
    return (out, *last)


def _publish_layer(name: str, run: Run, doc: str) -> None:
    def function(input: Tensor, hx: Any, *args: Any, **kwargs: Any) -> tuple:
        return _call(name, run, input, hx, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{doc}, all layers and directions: `(input, hx, params, has_biases, num_layers, dropout, "
        "train, bidirectional, batch_first)`, or packed `(data, batch_sizes, hx, params, ...)`."
    )
    PUBLIC[name] = listed(function)


for _n, _r, _d in (
    ("rnn_tanh", _rnn_run(False), "A recurrent network of tanh"),
    ("rnn_relu", _rnn_run(True), "A recurrent network of relu"),
    ("lstm", _lstm_run, "Long short-term memory"),
    ("gru", _gru_run, "Gated recurrent units"),
):
    _publish_layer(_n, _r, _d)

# -- cells ----------------------------------------------------------------------------------------


def _cell(run: Run, gates: int) -> Callable:
    """One step, of so many gates."""

    def cell(x: Tensor, states: States, w: Sequence, biases: Sequence) -> States:
        want = gates * states[0]._data.shape[-1]
        for what, t in (("weight_ih", w[0]), ("weight_hh", w[1])):
            if (rows := t._data.shape[0]) != want:
                raise RuntimeError(
                    f"{what} first dim must be {gates} * hidden_size = {want}, but got {rows}"
                )
        biased = biases[0] is not None
        weights = [*w, *biases] if biased else list(w)
        return run(x, states, weights, biased, (x.shape[0],), False)[1]

    return cell


_tanh_cell, _relu_cell = _cell(_rnn_run(False), 1), _cell(_rnn_run(True), 1)
_lstm_cell, _gru_cell = _cell(_lstm_run, 4), _cell(_gru_run, 3)


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """`tanh(w_ih x + b_ih + w_hh h + b_hh)`."""
    return _tanh_cell(input, (hx,), (w_ih, w_hh), (b_ih, b_hh))[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """`relu(w_ih x + b_ih + w_hh h + b_hh)`."""
    return _relu_cell(input, (hx,), (w_ih, w_hh), (b_ih, b_hh))[0]


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of gated recurrent units."""
    return _gru_cell(input, (hx,), (w_ih, w_hh), (b_ih, b_hh))[0]


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of long short-term memory: the new state and cell."""
    return _lstm_cell(input, tuple(hx), (w_ih, w_hh), (b_ih, b_hh))


for _f in (rnn_tanh_cell, rnn_relu_cell, gru_cell, lstm_cell):
    PUBLIC[_f.__name__] = listed(_f)
