"""Attention whose scores a function of one's own changes, over the blocks that a mask leaves.

Source: Dong et al., "Flex Attention", 2024.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypedDict

from ... import dtypes, errors
from ...amp.autocast_mode import autocast, get_autocast_dtype, is_autocast_enabled
from ...ops.arithmetic import where
from ...ops.attention import attention_op
from ...ops.join import cat
from ...ops.ranges import arange
from ...tensor import Tensor
from ._block_mask import (
    BlockMask,
    _sliced_mask_mod_error,
    noop_mask,
    to_dense,
)
from ._masks import and_masks, create_block_mask, create_mask, or_masks
from ._over_indices import over_indices
from .varlen import check_heads

__all__ = [
    "BlockMask",
    "flex_attention",
    "AuxOutput",
    "AuxRequest",
    "FlexKernelOptions",
    "create_block_mask",
    "create_mask",
    "or_masks",
    "and_masks",
    "noop_mask",
]

INF = math.inf
_LARGE_SPARSE_BLOCK_SIZE = 1 << 30  # of a mask of one block, whatever the lengths
_BACKENDS = ("AUTO", "TRITON", "FLASH", "TRITON_DECODE")
_score_mod_signature = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
_mask_mod_signature = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class FlexKernelOptions(TypedDict, total=False):
    """Options of PyTorch's kernels, by name. They are accepted, and have no effect here."""

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_M1: int
    BLOCK_N1: int
    BLOCK_M2: int
    BLOCK_N2: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    WRITE_DQ: bool
    FORCE_USE_FLEX_ATTENTION: bool
    USE_TMA: bool
    kpack: int
    matrix_instr_nonkdim: int
    waves_per_eu: int
    BACKEND: str


class AuxRequest(NamedTuple):
    """What `flex_attention` gives besides its output: log-sum-exps and maxima of the scores."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for of a row of scores, (B, H, L) each, and None for what was not."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: FlexKernelOptions | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """`softmax(score_mod(query @ key^T * scale)) @ value` over the scores that a mask leaves.

    Query (B, H, L, E), key (B, H, S, E) and value (B, H, S, V) give (B, H, L, V) in the query's
    dtype. `scale` is 1 / sqrt(E) by default. With `enable_gqa` H may be a multiple of the heads of
    key and value. With a `block_mask` of B batches these may have one batch.

    `score_mod(score, b, h, q_idx, kv_idx)` gives the score to use instead; all are tensors without
    dimensions to it, of float32 or float64 and int64. It may read tensors that it captures, which
    get gradients too. Functions of elementwise operators and of look-ups in tables, as
    `bias[h, q_idx - kv_idx]`, are called once; others, for instance with a sum, for each score.

    Blocks that `block_mask` does not name are not computed, whatever its `mask_mod` says about
    them; `mask_mod` masks within the others. A query without any key gives zeros.

    With `return_aux` an AuxOutput of what it asks for comes too, in float32 or float64, -inf for
    queries without a key; with `return_lse`, which is deprecated, the log-sum-exp. `kernel_options`
    are checked, and have no effect.

    ValueError for dimensions, devices and lengths that do not fit each other or `block_mask`,
    NotImplementedError where tensors have not four dimensions, RuntimeError for a `block_mask` on
    another device or with the `mask_mod` of a part.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.flex_attention import create_block_mask, flex_attention
        >>> q = k = torch.zeros(1, 1, 3, 4)
        >>> v = torch.tensor([[[[0.0], [2.0], [7.0]]]])
        >>> causal = create_block_mask(lambda b, h, q, kv: q >= kv, 1, 1, 3, 3)
        >>> flex_attention(q, k, v, block_mask=causal).flatten()
        tensor([0., 1., 3.])
        >>> bias = torch.zeros(3, requires_grad=True)
        >>> out = flex_attention(q, k, v, lambda score, b, h, q, kv: score + bias[kv])
        >>> torch.autograd.grad(out.sum(), bias)[0].round()
        tensor([-3., -1.,  4.])
    """
    _check_shapes(query, key, value)
    check_heads(query.shape[1], key.shape[1], enable_gqa)
    _check_batches(query, key, block_mask)
    if block_mask is not None:
        _check_mask(block_mask, query, key)
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use "
            "return_aux=AuxRequest(lse=True) instead."
        )
    _check_options(kernel_options, return_aux)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    device = query.device.type
    if is_autocast_enabled(device):
        low = get_autocast_dtype(device)
        query, key, value = (x.to(low) for x in (query, key, value))  # type: ignore[attr-defined]
    want_top = return_aux is not None and return_aux.max_scores
    with autocast(device, enabled=False):
        call = _Call(query, key, value, score_mod, block_mask, float(scale), want_top)
        out, lse, top = call()
    if return_aux is not None:
        return out, AuxOutput(lse if return_aux.lse else None, top if want_top else None)
    if return_lse:
        errors.warn(
            "return_lse is deprecated: return_aux=AuxRequest(lse=True) gives the same.",
            FutureWarning,
        )
        return out, lse
    return out


class _Call:
    """One call: its rows of blocks are computed one after another, each over the keys it needs."""

    def __init__(
        self, query: Any, key: Any, value: Any, score_mod: Any, mask: Any, scale: float, top: bool
    ) -> None:
        self.query, self.score_mod, self.mask, self.scale, self.top = (
            query,
            score_mod,
            mask,
            scale,
            top,
        )
        self.key, self.value = (
            x.expand(query.shape[0], *x.shape[1:]) if x.shape[0] != query.shape[0] else x
            for x in (key, value)
        )

    def __call__(self) -> tuple[Any, Any, Any]:
        """The output, and the log-sum-exp and maximum of each row."""
        parts = [self.rows(*span) for span in self.spans()]
        if len(parts) == 1:
            return parts[0]
        out, lse, top = zip(*parts, strict=True)
        return cat(out, 2), cat(lse, 2), cat(top, 2) if self.top else None

    def spans(self) -> Iterator[tuple[slice, Any, Any]]:
        """Queries, indices of the keys they need, and a mask where batches or heads differ in it.

        Rows of blocks that need the same keys go together.
        """
        q, kv = (
            arange(n, device=self.query.device) for n in (self.query.shape[2], self.key.shape[2])
        )
        if self.mask is None or not len(q):
            yield slice(None), kv, None
            return
        there = self.blocks()
        height, width = self.mask.BLOCK_SIZE
        needed: list[list[bool]] = there.any(0).any(0)[: -(-len(q) // height)].tolist()
        uneven = bool((there != there[:1, :1]).any())
        for which, group in itertools.groupby(range(len(needed)), key=lambda i: needed[i]):
            of_group = list(group)
            some = slice(of_group[0] * height, (of_group[-1] + 1) * height)
            keys = cat(
                [kv[i * width : (i + 1) * width] for i, need in enumerate(which) if need]
                or [kv[:0]]
            )
            at = (q[some].unsqueeze(1) // height, keys // width)
            yield some, keys, there[:, :, at[0], at[1]] if uneven else None

    def blocks(self) -> Any:
        """Bools (B or 1, H or 1, R, C): the blocks to compute."""
        mask, columns = self.mask, -(-self.key.shape[2] // self.mask.BLOCK_SIZE[1])
        there = to_dense(mask.kv_num_blocks, mask.kv_indices, columns)
        if mask.full_kv_num_blocks is not None:
            there = there | to_dense(mask.full_kv_num_blocks, mask.full_kv_indices, columns)
        return there.reshape((1,) * (4 - there.ndim) + there.shape) != 0

    def rows(self, some: slice, kv: Any, there: Any) -> tuple[Any, Any, Any]:
        """Output, log-sum-exp and maximum of some queries over the keys `kv`."""
        query, key, value = self.query[:, :, some], self.key, self.value
        q = arange(self.query.shape[2], device=query.device)[some]
        if len(kv) != key.shape[2]:
            key, value = key.index_select(2, kv), value.index_select(2, kv)
        at = [*(arange(n, device=query.device) for n in query.shape[:2]), q, kv]
        mask = there
        if self.mask is not None and self.mask.mask_mod is not noop_mask and len(kv):
            mask = over_indices("mask_mod", self.mask.mask_mod, at)
            mask = mask if there is None else mask & there
        fused = self.score_mod is None and not self.top
        if fused and query.dtype is key.dtype is value.dtype:
            if mask is not None:
                mask = mask.expand(*mask.shape[:3], len(kv))
            stream = {"is_causal": False, "dropout": 0.0, "seed": 0, "offset": 0}
            return *attention_op(query, key, value, mask, scale=self.scale, **stream), None
        return self.composed(query, key, value, mask, at)

    def composed(self, query: Any, key: Any, value: Any, mask: Any, at: list) -> tuple:
        """The same by the scores themselves, in float32 or float64."""
        dtype = dtypes.float64 if query.dtype is dtypes.float64 else dtypes.float32
        each = query.shape[1] // max(key.shape[1], 1)
        if each != 1:
            key, value = (x.repeat_interleave(each, 1) for x in (key, value))
        s = query.to(dtype) @ key.to(dtype).transpose(-2, -1) * self.scale
        empty = s.new_full((*s.shape[:-1], 1), -INF)
        if s.numel():
            if self.score_mod is not None:
                s = over_indices("score_mod", self.score_mod, at, s).expand(s.shape)
            if mask is not None:
                s = where(mask, s, -INF)
        top = s.amax(-1, keepdim=True) if s.shape[-1] else empty
        least = top.detach()
        none = least == -INF
        e = (s - where(none, 0.0, least)).exp()
        total = where(none, 1.0, e.sum(-1, keepdim=True))
        lse = where(none, -INF, total.log() + least).squeeze(-1)
        weights = (e / total).to(query.dtype)
        return weights @ value.to(query.dtype), lse, top.squeeze(-1) if self.top else None


# -- errors ---------------------------------------------------------------------------------------


def _check_shapes(query: Any, key: Any, value: Any) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            kind = type(x).__name__
            raise TypeError(f"flex_attention(): argument '{name}' must be Tensor, not {kind}")
    devices = query.device, key.device, value.device
    if not devices[0] == devices[1] == devices[2]:
        raise ValueError(
            "Expected query, key, and value to have the same device type, but got query.device: "
            f"{devices[0]}, key.device: {devices[1]}, and value.device: {devices[2]} instead."
        )
    if devices[0].type not in ("cpu", "cuda"):
        raise ValueError(
            "FlexAttention is only supported on CUDA or CPU devices. Found input tensors on "
            f"{devices[0].type} device."
        )
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if min(map(len, shapes)) < 2:
        raise ValueError(
            "Expected query, key, and value to all be at least 2 dimensional, but got query.dim: "
            f"{query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if shapes[0][-1] != shapes[1][-1]:
        raise ValueError(
            "Expect query and key/value to have the same embedding dimension but got "
            f"E={shapes[0][-1]} and E={shapes[1][-1]}."
        )
    if {len(s) for s in shapes} != {4}:
        raise NotImplementedError(
            "flex_attention: query, key, and value must be 4D tensors (B, H, L, E), but got "
            f"query {shapes[0]}, key {shapes[1]}, value {shapes[2]}"
        )
    if shapes[1][:3] != shapes[2][:3]:
        raise RuntimeError(
            "flex_attention: expected key (B, H, S, E) and value (B, H, S, V) of the same B, H and "
            f"S, but got key {shapes[1]}, value {shapes[2]}"
        )
    if any(x.dtype.category != 2 for x in (query, key, value)):
        raise RuntimeError(
            "flex_attention: expected tensors of a floating-point dtype, but got "
            f"query {query.dtype}, key {key.dtype}, value {value.dtype}"
        )


def _check_batches(query: Any, key: Any, mask: BlockMask | None) -> None:
    batches, pairs = query.shape[0], key.shape[0]
    if batches == pairs:
        return
    if mask is None:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or non-none block_mask, but "
            f"got block_mask=None, Bq={batches}, and Bkv={pairs}."
        )
    if mask.kv_num_blocks.shape[0] != batches:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or block_mask and query to "
            f"have the same batch size, but got Bq={batches}, Bkv={pairs}, "
            f"B_block_mask={mask.kv_num_blocks.shape[0]}."
        )
    if pairs != 1:
        raise RuntimeError(f"Bq and Bkv must broadcast. Got Bq={batches} and Bkv={pairs}")


def _check_mask(mask: BlockMask, query: Any, key: Any) -> None:
    if mask.mask_mod is _sliced_mask_mod_error:
        raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")
    if query.device != mask.kv_num_blocks.device:
        raise RuntimeError(
            "Expect q/k/v and block_mask to be on the same device but got "
            f"{query.device} and {mask.kv_num_blocks.device}."
        )
    if tuple(mask.BLOCK_SIZE) != (_LARGE_SPARSE_BLOCK_SIZE,) * 2:
        _check_lengths(mask, query.shape[2], key.shape[2])
    lead, rows = mask.kv_indices.shape[:-2], mask.kv_indices.shape[-2]
    wanted = (query.shape[0], query.shape[1])[2 - len(lead) :]
    if any(n not in (1, w) for n, w in zip(lead, wanted, strict=True)):
        raise ValueError(
            f"flex_attention: block_mask of shape {mask.shape} does not broadcast to the scores "
            f"{(*query.shape[:3], key.shape[2])}"
        )
    if rows * mask.BLOCK_SIZE[0] < query.shape[2]:
        raise ValueError(
            f"flex_attention: block_mask has {rows} rows of {mask.BLOCK_SIZE[0]} queries, fewer "
            f"than the {query.shape[2]} of query {tuple(query.shape)}"
        )


def _check_lengths(mask: BlockMask, q_len: int, kv_len: int) -> None:
    rows, columns = mask.shape[-2:]
    given = (
        f"block_mask was created for block_mask.shape={mask.shape} but got q_len={q_len} and "
        f"kv_len={kv_len}. As the block mask was created for a "
    )
    if q_len > rows or kv_len > columns:
        raise ValueError(
            f"{given}smaller length than you're using it for, you likely need to create a new "
            "block mask."
        )
    if q_len < rows or kv_len < columns:
        raise ValueError(
            f"{given}larger length than you're using it for, you can either 1. create a new block "
            "mask with the correct length, or 2. 'adjust' the existing block mask to the correct "
            "length by calling block_mask._adjust(q_len, kv_len). This essentially 'crops' the "
            "block mask to the upper left corner, which does not work for all mask_mods!"
        )


def _check_options(options: Any, aux: AuxRequest | None) -> None:
    options = options or {}
    backend = options.get("BACKEND", "AUTO")
    if "BACKEND" in options and options.get("FORCE_USE_FLEX_ATTENTION", False):
        raise RuntimeError(
            "BACKEND cannot be combined with legacy FORCE_USE_FLEX_ATTENTION. BACKEND supersedes "
            "the legacy knob; please drop FORCE_USE_FLEX_ATTENTION and only specify the desired "
            "BACKEND."
        )
    if backend not in _BACKENDS:
        raise ValueError(f"Invalid BACKEND value '{backend}'. Must be one of {_BACKENDS}")
    for name in ("OUTPUT_LOGSUMEXP", "OUTPUT_MAX"):
        if name in options:
            raise AssertionError(f"{name} must not be in kernel_options")
    if backend == "FLASH" and aux is not None and aux.max_scores:
        raise NotImplementedError(
            "Returning max scores is not supported with BACKEND='FLASH'. Use "
            "return_aux=AuxRequest(lse=True) or omit max_scores."
        )
