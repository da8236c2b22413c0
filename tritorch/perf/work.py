"""How many operations and bytes an operator's call needs, from the shapes of what it is given.

Multiplications and additions count one each. Products, convolutions, attention and recurrent layers
are exact; of the others an element counts as many operations as `PER_ELEMENT` says, one by default.
A user's operator counts as much as its composition.
Bytes are those of every array once: results written, inputs read, whatever a kernel reads twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritorch.autograd.mode import no_grad, outside, transform
from tritorch.op import REGISTRY, Op
from tritorch.runtime.array import Array
from tritorch.runtime.memory import meta
from tritorch.tensor import Tensor, wrap

Work = Callable[[Sequence, Sequence, dict], float]
# Operations an element of the results, or of the largest input where that has more.
PER_ELEMENT = {
    name: count
    for names, count in (
        ("copy fill cat stack flip roll view_backward constant_pad_nd where masked_fill", 0),
        ("embedding gather index index_select tril triu", 0),
        ("softmax log_softmax cross_entropy softmax_backward", 5),
        ("layer_norm group_norm batch_norm gelu gelu_tanh", 8),
        ("rms_norm sigmoid silu tanh var dropout", 4),
        ("Adam AdamW NAdam RAdam Adamax", 4),
    )
    for name in names.split()
}
# Operators that read of their first input as much as they give.
PICKING = frozenset(["embedding", "gather", "index", "index_select"])


def _product(outs: Sequence, arrays: Sequence, params: dict) -> float:
    return 2.0 * outs[0].size * arrays[0].shape[-1]


def _attention(outs: Sequence, arrays: Sequence, params: dict) -> float:
    q, k, v = arrays[:3]
    pairs = math.prod(q.shape[:-1]) * k.shape[-2]
    return 2.0 * pairs * (q.shape[-1] + v.shape[-1]) * (0.5 if params.get("is_causal") else 1)


def _recurrent(name: str, times: float) -> Work:
    at = {k: i for i, k in enumerate(REGISTRY[name].inputs)}
    return lambda outs, arrays, params: times * arrays[at["gx"]].shape[0] * arrays[at["w"]].size


def _grouped(outs: Sequence, arrays: Sequence, params: dict) -> float:
    a, b = arrays[:2]  # one of them is cut in groups: each of its elements meets one matrix
    return 2.0 * (a.size * outs[0].shape[-1] if a.ndim == 2 else b.size * outs[0].shape[-2])


EXACT: dict[str, Work] = {
    "matmul": _product,
    "linear": _product,
    "scaled_mm": _product,
    "grouped_mm": _grouped,
    **dict.fromkeys(
        ("addmm", "addmm_activation"),
        lambda outs, arrays, params: 2.0 * outs[0].size * arrays[1].shape[-1],
    ),
    "conv2d": lambda o, a, p: 2.0 * o[0].size * a[1].size / a[1].shape[0],
    "conv2d_input": lambda o, a, p: 2.0 * a[0].size * a[1].size / a[1].shape[0],
    "conv2d_weight": lambda o, a, p: 2.0 * a[0].size * o[0].size / o[0].shape[0],
    "attention": _attention,
    "attention_backward": lambda o, a, p: 2.5 * _attention(o, a[1:4], p),
    "linear_entropy": lambda o, a, p: 2.0 * a[0].size * a[1].shape[0],
    "linear_entropy_backward": lambda o, a, p: 6.0 * a[1].size * a[2].shape[0],
    **{n: _recurrent(n, 2.0) for n in ("rnn_scan", "lstm_scan", "gru_scan")},
    **{f"{n}_backward": _recurrent(f"{n}_backward", 4.0) for n in ("rnn_scan", "lstm_scan")},
    "gru_scan_backward": _recurrent("gru_scan_backward", 4.0),
}


def operations(name: str, outs: Sequence, arrays: Sequence, params: dict) -> float:
    """Additions and multiplications of a call of the operator of this name."""
    if name in EXACT:
        return EXACT[name](outs, arrays, params)
    op = REGISTRY.get(name)
    if op is not None and op.origin is not None and op.ref is not None:
        return composition(op, arrays, params)
    sizes = [a.size for a in arrays if isinstance(a, Array)]
    elements = max([sum(a.size for a in outs), *sizes])
    known = PER_ELEMENT.get(name, PER_ELEMENT.get(name.removesuffix("_backward"), 1))
    return float(known * elements)


def composition(op: Op, arrays: Sequence, params: dict) -> float:
    """Operations of what a user's operator is composed of, counted on arrays without elements."""
    total = 0.0

    def count(part: Any, inputs: Sequence, params: dict) -> Any:
        nonlocal total
        with outside():
            out = part(*inputs, **params)
        if not part.is_view:
            outs = [t._data for t in (out if isinstance(out, tuple) else (out,))]
            given = [t._data if isinstance(t, Tensor) else t for t in inputs]
            total += operations(part.name.removesuffix("_"), outs, given, params)
        return out

    tensors = [
        wrap(meta(a.shape, a.dtype, a.strides), a.dtype) if isinstance(a, Array) else a
        for a in arrays
    ]
    with no_grad(), transform(count):
        op.ref(*tensors, **params)  # type: ignore[misc]
    return total


def moved(name: str, outs: Sequence, arrays: Sequence) -> int:
    """Bytes that a call reads and writes at least."""
    read = [_stored(a) for a in arrays if isinstance(a, Array)]
    if name in PICKING and read:
        read[0] = min(read[0], outs[0].nbytes)
    return sum(_stored(a) for a in outs) + sum(read)


def _stored(a: Array) -> int:
    """The bytes of an array's elements, repeated ones once."""
    sizes = [n for n, s in zip(a.shape, a.strides, strict=True) if s or not n]
    return math.prod(sizes) * a.itemsize
