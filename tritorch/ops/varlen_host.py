"""Attention over packed sequences on NumPy arrays: one sequence after another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from . import attention_host

PLAIN = {"dropout": 0.0, "seed": 0, "offset": 0}


class Sequence(NamedTuple):
    """Where the queries and the keys of one sequence lie."""

    q: slice
    k: slice


def sequences(
    cu_q: Any, cu_k: Any, used: Any, tokens: tuple[int, int], most: tuple[int, int]
) -> list[Sequence]:
    """The sequences that offsets name; `tokens` are there, each sequence has `most` at most."""
    starts = [np.asarray(x).astype(np.int64).tolist() for x in (cu_q, cu_k)]
    for which, offsets, count, longest in zip("qk", starts, tokens, most, strict=True):
        _check(which, offsets, count, longest)
    lengths = [b - a for a, b in pairwise(starts[1])]
    if used is not None:
        taken = np.asarray(used).tolist()
        if any(not 0 <= n <= there for n, there in zip(taken, lengths, strict=True)):
            raise RuntimeError(
                f"varlen_attn: seqused_k {taken} should be between 0 and the lengths {lengths} of "
                "the sequences of keys"
            )
        lengths = taken
    q, k = starts
    return [Sequence(slice(q[i], q[i + 1]), slice(k[i], k[i] + n)) for i, n in enumerate(lengths)]


def _check(which: str, offsets: list[int], count: int, longest: int) -> None:
    name = f"varlen_attn: cu_seq_{which}"
    if offsets[0] != 0 or offsets[-1] != count:
        raise RuntimeError(
            f"{name} should begin with 0 and end with the {count} tokens that are packed, but it "
            f"begins with {offsets[0]} and ends with {offsets[-1]}"
        )
    lengths = [b - a for a, b in pairwise(offsets)]
    if min(lengths, default=0) < 0:
        raise RuntimeError(f"{name} should not descend, but got {offsets}")
    if max(lengths, default=0) > longest:
        raise RuntimeError(
            f"{name} has a sequence of {max(lengths)} tokens, more than max_{which}={longest}"
        )


def window(m: int, n: int, left: int, right: int) -> tuple[np.ndarray | None, bool]:
    """The mask (1, 1, m, n) of a window, and whether it is a causal one, which needs no mask.

    The last query meets the last key; a bound below 0, or beyond all keys, is none.
    """
    left = left if left < n - 1 else -1
    right = right if right < m - 1 else -1
    if left < 0 and (right < 0 or (right == 0 and m == n)):
        return None, right == 0
    to = np.arange(n) - np.arange(n - m, n)[:, None]
    seen = np.ones(to.shape, np.bool_)
    if right >= 0:
        seen &= to <= right
    if left >= 0:
        seen &= to >= -left
    return seen[None, None], False


def heads_first(x: np.ndarray, part: slice) -> np.ndarray:
    """The tokens of one sequence as (1, H, L, D)."""
    return x[part].transpose(1, 0, 2)[None]


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    cu_q: np.ndarray,
    cu_k: np.ndarray,
    used: np.ndarray | None,
    *,
    max_q: int,
    max_k: int,
    left: int,
    right: int,
    scale: float,
) -> tuple:
    out = np.empty(q.shape, q.dtype)
    lse = np.empty((q.shape[1], q.shape[0]), q.dtype)
    for s in sequences(cu_q, cu_k, used, (len(q), len(k)), (max_q, max_k)):
        parts = heads_first(q, s.q), heads_first(k, s.k), heads_first(v, s.k)
        mask, is_causal = window(parts[0].shape[2], parts[1].shape[2], left, right)
        given = {"is_causal": is_causal, "scale": scale, **PLAIN}
        one, sums = attention_host.forward(*parts, mask, **given)
        out[s.q] = one[0].transpose(1, 0, 2)
        lse[:, s.q] = sums[0]
    return out, lse


def backward(
    grad: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    cu_q: np.ndarray,
    cu_k: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    *,
    max_q: int,
    max_k: int,
    left: int,
    right: int,
    scale: float,
) -> tuple:
    found = tuple(np.empty(x.shape, x.dtype) for x in (q, k, v))
    for s in sequences(cu_q, cu_k, None, (len(q), len(k)), (max_q, max_k)):
        parts = heads_first(q, s.q), heads_first(k, s.k), heads_first(v, s.k)
        mask, is_causal = window(parts[0].shape[2], parts[1].shape[2], left, right)
        given = {"is_causal": is_causal, "scale": scale, "mask_grad": False, **PLAIN}
        ends = heads_first(out, s.q), np.ascontiguousarray(lse[None, :, s.q])
        grads = attention_host.backward(heads_first(grad, s.q), *parts, mask, *ends, **given)
        for to, part, x in zip(found, (s.q, s.k, s.k), grads[:3], strict=True):
            to[part] = x[0].transpose(1, 0, 2)
    return found
