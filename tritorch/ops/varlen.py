"""Attention over packed sequences of varying lengths: the records behind `nn.attention.varlen`.

Sequences lie one after another in (T, H, D); offsets (B + 1,) say where each begins. On the CPU the
offsets are checked; on a device that would wait for it, and they are taken as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..op import fused, joint, through_ref
from ..tensor import Tensor, wrap
from . import varlen_host
from .attention import attention_op
from .join import cat

NAME = "varlen_attn"


def _check(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, used: Any) -> None:
    shapes = [tuple(x._data.shape) for x in (q, k, v)]
    if any(len(s) != 3 for s in shapes) or shapes[1] != shapes[2] or shapes[0][2] != shapes[1][2]:
        raise RuntimeError(
            f"{NAME}: expected query (T_q, H_q, D), key and value (T_k, H_kv, D), but got query "
            f"{shapes[0]}, key {shapes[1]}, value {shapes[2]}"
        )
    heads, pairs = shapes[0][1], shapes[1][1]
    if heads % pairs if pairs else heads:
        raise RuntimeError(
            f"{NAME}: the {heads} heads of query should be a multiple of the {pairs} of key"
        )
    if not q.dtype is k.dtype is v.dtype or q.dtype.category != 2:
        raise RuntimeError(
            f"{NAME}: expected query, key and value of one floating-point dtype, but got "
            f"{q.dtype}, {k.dtype} and {v.dtype}"
        )
    count = cu_q._data.shape[0] if len(cu_q._data.shape) == 1 else 0
    others = [] if used is None else [("seqused_k", used, count - 1)]
    for name, x, size in [("cu_seq_q", cu_q, count), ("cu_seq_k", cu_k, count), *others]:
        shape = tuple(x._data.shape)
        if x.dtype is not dtypes.int32:
            raise RuntimeError(f"{NAME}: expected {name} of dtype torch.int32, but got {x.dtype}")
        if not count or shape != (size,):
            raise RuntimeError(
                f"{NAME}: expected cu_seq_q and cu_seq_k (N + 1,) and seqused_k (N,), but got "
                f"cu_seq_q {tuple(cu_q._data.shape)} and {name} {shape}"
            )


def _meta(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, used: Any, **params: Any
) -> list:
    _check(q, k, v, cu_q, cu_k, used)
    t, h, _ = shape = tuple(q._data.shape)
    return [(shape, q.dtype), ((h, t), dtypes.accumulation(q.dtype))]


def _offsets(lengths: Any) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int32)


def _samples(s: Any) -> list:
    def sample(
        of_q: Any, of_k: Any, heads: tuple[int, int] = (2, 2), d: int = 3, used: Any = None,
        left: int = -1, right: int = -1, more: int = 0, smooth: bool = True,
    ) -> Any:  # fmt: skip
        keys = (sum(of_k), heads[1], d)
        params = {"max_q": max(of_q, default=0) + more, "max_k": max(of_k, default=0) + more}
        used = None if used is None else np.array(used, np.int32)
        inputs = (sum(of_q), heads[0], d), keys, keys, _offsets(of_q), _offsets(of_k), used
        return s(*inputs, left=left, right=right, scale=0.6, smooth=smooth, **params)

    return [
        sample((2, 1, 3), (2, 1, 3)),
        sample((2, 1, 3), (2, 1, 3), right=0),
        sample((3, 0, 1), (2, 3, 1), (4, 2), right=0, more=2, smooth=False),  # a query of no key
        sample((2, 3), (4, 2), (2, 1), left=1, right=1),
        sample((2, 2), (4, 3), left=1, right=0),
        sample((1, 2), (3, 4), used=(2, 4), right=0),
        sample((2, 1), (0, 3), left=0, smooth=False),
        sample((), ()),
        sample((70, 1, 37), (131, 1, 20), (4, 2), 9, right=0, smooth=False),
        sample((70, 5), (70, 90), (2, 2), 16, left=33, right=7),
    ]


def _backward_samples(s: Any) -> list:
    found = []
    for x in _samples(s):
        q, k, v, cu_q, cu_k, used = x.inputs
        if used is not None:
            continue
        inputs = q, k, v, cu_q, cu_k
        out, lse = varlen_host.forward(q, k, v, cu_q, cu_k, None, **x.params)
        # second derivatives are checked with `varlen_attention`: here `out`, `lse` are no variables
        found.append(s(out.shape, *inputs, out, lse, smooth=False, **x.params))
    return found


def _backward_meta(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any, **params: Any
) -> list:
    return [(tuple(x._data.shape), x.dtype) for x in (q, k, v)]


@fused(
    outputs=("gq", "gk", "gv"),
    meta=_backward_meta,
    cpu=varlen_host.backward,
    triton="varlen_backward.backward",
    samples=_backward_samples,
)
def varlen_attention_backward(
    grad: Any,
    q: Any,
    k: Any,
    v: Any,
    cu_q: Any,
    cu_k: Any,
    out: Any,
    lse: Any,
    *,
    max_q: int,
    max_k: int,
    left: int,
    right: int,
    scale: float,
) -> Any:
    """The gradients of queries, keys and values."""
    needs = (True, True, True, False, False, False)
    params = (max_q, max_k, left, right, scale)
    found = through_ref(varlen_attention_op)(grad, None, q, k, v, cu_q, cu_k, None, *params, needs)
    return tuple(x * 0 if g is None else g for x, g in zip((q, k, v), found))


def _vjp(
    g: Any,
    g_lse: Any,
    q: Any,
    k: Any,
    v: Any,
    cu_q: Any,
    cu_k: Any,
    used: Any,
    out: Any,
    lse: Any,
    max_q: int,
    max_k: int,
    left: int,
    right: int,
    scale: float,
    needs: Any,
) -> Any:
    if g is None or g_lse is not None or used is not None:
        params = (max_q, max_k, left, right, scale)
        rule = through_ref(varlen_attention_op)
        return rule(g, g_lse, q, k, v, cu_q, cu_k, used, *params, needs)
    found = varlen_attention_backward(
        g,
        q,
        k,
        v,
        cu_q,
        cu_k,
        out.detach(),
        lse.detach(),
        max_q=max_q,
        max_k=max_k,
        left=left,
        right=right,
        scale=scale,
    )
    return [x if need else None for x, need in zip((*found, None, None, None), needs, strict=True)]


@fused(
    name="varlen_attention",
    outputs=("out", "lse"),
    meta=_meta,
    cpu=varlen_host.forward,
    triton="varlen.forward",
    vjp=joint(_vjp),
    samples=_samples,
)
def varlen_attention_op(
    q: Any,
    k: Any,
    v: Any,
    cu_q: Any,
    cu_k: Any,
    used: Any,
    *,
    max_q: int,
    max_k: int,
    left: int,
    right: int,
    scale: float,
) -> Any:
    """Queries (T, H, D), keys and values (S, G, D) of sequences that begin at offsets (B + 1,).

    Query i of m sees key j of n where i + n - m - left <= j <= i + n - m + right, a negative bound
    being none; of the keys only the first `used` (B,) of each sequence where that is given. A query
    without any key gives zeros, its `lse` is -inf.
    """
    starts_q, starts_k, held = (None if x is None else x.tolist() for x in (cu_q, cu_k, used))
    lengths = (q.shape[0], k.shape[0]), (max_q, max_k)
    outs, sums = [q[:0]], [q[:0, :, 0].transpose(0, 1).to(dtypes.accumulation(q.dtype))]
    for s in varlen_host.sequences(starts_q, starts_k, held, *lengths):
        parts = [x[at].transpose(0, 1).unsqueeze(0) for x, at in ((q, s.q), (k, s.k), (v, s.k))]
        seen, is_causal = varlen_host.window(parts[0].shape[2], parts[1].shape[2], left, right)
        mask = None if seen is None else wrap(seen, dtypes.bool_).to(q.device)
        out, lse = attention_op(*parts, mask, is_causal=is_causal, scale=scale, **varlen_host.PLAIN)
        outs.append(out.squeeze(0).transpose(0, 1))
        sums.append(lse.squeeze(0))
    return cat(outs), cat(sums, 1)
