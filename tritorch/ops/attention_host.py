"""Attention on NumPy arrays: blocks of rows and heads that stay in the cache, products by BLAS."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..runtime import blas, parallel, random as streams
from .matmul_host import blas_ready

SCORES = 1 << 18  # scores of one block
ROWS = 64  # rows of a block at least, so that BLAS has something to do


class Plan(NamedTuple):
    """How (B, H, L, E) is cut: so many batch elements, heads and rows of queries at a time."""

    batches: int
    heads: int
    rows: int
    each: int  # heads of queries for one of keys


def plan(q: np.ndarray, k: np.ndarray, is_causal: bool) -> Plan:
    h, n, m = q.shape[1], q.shape[2], max(k.shape[2], 1)
    each = h // max(k.shape[1], 1)
    rows = max(min(n, max(ROWS, SCORES // m)), 1)
    if is_causal:  # of the last keys of a block half is wasted
        rows = min(rows, max(ROWS, n // 4))
    heads = max(SCORES // max(n * m, 1), 1)  # whole, so that there is work for all threads
    batches = max(heads // max(h, 1), 1)
    return Plan(batches, max(min(-(-heads // each) * each, h), 1), rows, each)


class Scores(NamedTuple):
    """What turns products into masked scores, and which weights dropout keeps."""

    mask: np.ndarray | None
    is_causal: bool
    dropout: float
    seed: int
    offset: int
    shape: tuple[int, ...]  # (B, H, L, S)

    def keys(self, stop: int) -> int:
        """How many keys the rows before `stop` see."""
        return min(self.shape[3], stop) if self.is_causal else self.shape[3]

    def put(self, s: np.ndarray, unit: Unit, start: int) -> None:
        """Mask the scores `s` (batches, heads, rows, keys) of the rows from `start` in place."""
        rows, keys = s.shape[-2:]
        if self.mask is not None:
            m = self.part(self.mask, *unit, slice(start, start + rows), slice(0, keys))
            if m.dtype.kind == "b":
                np.copyto(s, s.dtype.type(-np.inf), where=~m)
            else:
                s += m
        if self.is_causal and keys > start:
            later = np.arange(start, keys) > np.arange(start, start + rows)[:, None]
            np.copyto(s[..., start:], s.dtype.type(-np.inf), where=later)

    @staticmethod
    def part(x: np.ndarray, *key: slice) -> np.ndarray:
        """A part of something that broadcasts to the scores."""
        return x[tuple(slice(0, 1) if n == 1 else k for k, n in zip(key, x.shape, strict=True))]

    def kept(self, unit: Unit, start: int, size: tuple[int, ...]) -> np.ndarray:
        """Which weights of a block dropout keeps: a row's bits fill whole blocks of 8."""
        _, h, n, m = self.shape
        rows, keys = size[-2:]
        blocks = -(-m // 8)
        keep = np.empty((*size[:-1], 8 * blocks), np.bool_)
        for b in range(size[0]):
            for i in range(size[1]):
                first = ((unit.batches.start + b) * h + unit.heads.start + i) * n + start
                at = self.offset + first * blocks
                keep[b, i] = streams.bernoulli(
                    self.seed, at, (rows, 8 * blocks), 1.0 - self.dropout
                )
        return keep[..., :keys]


class Unit(NamedTuple):
    """Batch elements and heads of the queries that are computed together."""

    batches: slice
    heads: slice


def heads_of(x: np.ndarray, unit: Unit, each: int) -> np.ndarray:
    """The keys or values that these heads of queries meet."""
    b, heads = unit
    if each == 1:
        return x[b, heads]
    first, last = heads.start // each, (heads.stop - 1) // each
    if first == last:
        return x[b, first : first + 1]
    return x[b, np.arange(heads.start, heads.stop) // each]


def units(q: np.ndarray, p: Plan) -> list[Unit]:
    b, h = q.shape[:2]
    return [
        Unit(slice(i, min(i + p.batches, b)), slice(j, min(j + p.heads, h)))
        for i in range(0, b, p.batches)
        for j in range(0, h, p.heads)
    ]


def row_blocks(n: int, p: Plan) -> Iterator[tuple[int, int]]:
    return ((i, min(i + p.rows, n)) for i in range(0, n, p.rows))


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    *,
    is_causal: bool,
    scale: float,
    dropout: float,
    seed: int,
    offset: int,
) -> tuple:
    b, h, n, _ = q.shape
    out = np.zeros((b, h, n, v.shape[-1]), q.dtype)
    lse = np.full((b, h, n), -np.inf, q.dtype)
    if not out.size or not k.shape[2]:
        return out, lse
    scores = Scores(mask, is_causal, dropout, seed, offset, (b, h, n, k.shape[2]))
    p, factor = plan(q, k, is_causal), q.dtype.type(scale)
    q, k, v = (blas_ready(x) for x in (q, k, v))
    work = [(unit, *rows) for unit in units(q, p) for rows in row_blocks(n, p)]

    def one(unit: Unit, start: int, stop: int) -> None:
        keys = scores.keys(stop)
        kb, vb = (heads_of(x, unit, p.each)[..., :keys, :] for x in (k, v))
        s = np.matmul(q[*unit, start:stop] * factor, kb.swapaxes(-1, -2))
        scores.put(s, unit, start)
        top = np.maximum.reduce(s, axis=-1, keepdims=True)
        none = np.isneginf(top)
        s -= np.where(none, s.dtype.type(0), top)
        np.exp(s, out=s)
        total = np.add.reduce(s, axis=-1, keepdims=True)
        total[none] = 1
        lse[*unit, start:stop] = (np.log(total) + top)[..., 0]
        if dropout:
            s *= scores.kept(unit, start, s.shape)
            total *= s.dtype.type(1 - dropout) if dropout < 1 else 1
        np.divide(np.matmul(s, vb), total, out=out[*unit, start:stop])

    def body(start: int, stop: int) -> None:
        for item in work[start:stop]:
            one(*item)

    _spread(body, len(work), math.prod(scores.shape))
    return out, lse


def _spread(body: object, count: int, scores: int) -> None:
    """The work over the threads, where it is more than starting them."""
    if scores <= SCORES // 2:
        body(0, count)  # type: ignore[operator]
        return
    with blas.single:
        parallel.run(body, count, max(1, count // 16))  # type: ignore[arg-type]


def backward(
    grad: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    out: np.ndarray,
    lse: np.ndarray,
    *,
    is_causal: bool,
    scale: float,
    dropout: float,
    seed: int,
    offset: int,
    mask_grad: bool,
) -> tuple:
    b, h, n, _ = q.shape
    gq, gk, gv = np.zeros_like(q), np.zeros(k.shape, k.dtype), np.zeros(v.shape, v.dtype)
    gmask = np.zeros(mask.shape if mask_grad else (0,), q.dtype)  # type: ignore[union-attr]
    if (not q.size and not grad.size) or not k.shape[2]:
        return gq, gk, gv, gmask
    scores = Scores(mask, is_causal, dropout, seed, offset, (b, h, n, k.shape[2]))
    p, factor = plan(q, k, is_causal), q.dtype.type(scale)
    q, k, v, grad = (np.ascontiguousarray(x) for x in (q, k, v, grad))  # read several times
    delta = np.einsum("bhle,bhle->bhl", grad, out)[..., None]
    last = np.where(np.isneginf(lse), lse.dtype.type(np.inf), lse)[..., None]
    work = units(q, p)

    def rows(unit: Unit, kb: np.ndarray, vb: np.ndarray, start: int, stop: int) -> tuple:
        """The weights that dropout leaves, and the gradient of the scores."""
        s = np.matmul(q[*unit, start:stop] * factor, kb.swapaxes(-1, -2))
        scores.put(s, unit, start)
        s -= last[*unit, start:stop]
        np.exp(s, out=s)
        ds = np.matmul(grad[*unit, start:stop], vb.swapaxes(-1, -2))
        kept = s
        if dropout:
            keep = scores.kept(unit, start, s.shape)
            keep = keep * s.dtype.type(streams.dropout_scale(dropout))
            kept, ds = s * keep, ds * keep
        ds -= delta[*unit, start:stop]
        ds *= s
        return kept, ds

    def one(unit: Unit) -> None:
        wide_k, wide_v = (heads_of(x, unit, p.each) for x in (k, v))
        lead = q[unit].shape[:2]
        sum_k = np.zeros((*lead, *k.shape[2:]), k.dtype)
        sum_v = np.zeros((*lead, *v.shape[2:]), v.dtype)
        for start, stop in row_blocks(n, p):
            keys = scores.keys(stop)
            kb = wide_k[..., :keys, :]
            kept, ds = rows(unit, kb, wide_v[..., :keys, :], start, stop)
            sum_v[..., :keys, :] += np.matmul(kept.swapaxes(-1, -2), grad[*unit, start:stop])
            if mask_grad:
                target = scores.part(gmask, *unit, slice(start, stop), slice(0, keys))
                axes = tuple(d for d in range(4) if target.shape[d] == 1)
                target += np.add.reduce(ds, axis=axes, keepdims=True) if axes else ds
            ds *= factor
            np.matmul(ds, kb, out=gq[*unit, start:stop])
            sum_k[..., :keys, :] += np.matmul(ds.swapaxes(-1, -2), q[*unit, start:stop])
        groups = slice(unit.heads.start // p.each, -(-unit.heads.stop // p.each))
        for target, total in ((gk, sum_k), (gv, sum_v)):
            shape = (lead[0], -1, p.each, *total.shape[2:])
            total = total if p.each == 1 else total.reshape(shape).sum(2)
            target[unit.batches, groups] = total

    def body(start: int, stop: int) -> None:
        for item in work[start:stop]:
            one(item)

    if mask_grad:  # its sums run over the units
        body(0, len(work))
    else:
        _spread(body, len(work), math.prod(scores.shape))
    return gq, gk, gv, gmask
