"""Masks as functions of indices, joined, as tensors of scores, and as blocks."""

from __future__ import annotations

import enum
import inspect
import math
from collections.abc import Callable
from typing import Any

from ... import dtypes, errors
from ...ops.create import zeros
from ...ops.pad import constant_pad_nd
from ...ops.ranges import arange
from ...tensor import Tensor
from ._block_mask import DEFAULT_BLOCK_SIZE, BlockMask, to_ordered
from ._over_indices import over_indices


class ModificationType(enum.Enum):
    """What a function of indices is, by how many parameters it has without a default."""

    SCORE_MOD = 5
    MASK_MOD = 4


def kind_of(mod: Callable) -> ModificationType:
    """Whether a function takes a score before its indices; AssertionError where it is neither."""
    count = sum(p.default is p.empty for p in inspect.signature(mod).parameters.values())
    if count not in (4, 5):
        raise AssertionError(f"Expected 4 or 5 positional args, got {count}")
    return ModificationType(count)


def _check_callable(mask_mods: tuple) -> None:
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")


def or_masks(*mask_mods: Callable) -> Callable:
    """A `mask_mod` that lets through what one of `mask_mods` does; RuntimeError if not callable.

    Example:
        >>> from tritorch.nn.attention.flex_attention import create_mask, or_masks
        >>> prefix = lambda b, h, q, kv: kv < 1
        >>> diagonal = lambda b, h, q, kv: kv == q
        >>> create_mask(or_masks(prefix, diagonal), 1, 1, 3, 3).int()
        tensor([[[[1, 0, 0],
                  [1, 1, 0],
                  [1, 0, 1]]]], dtype=tritorch.int32)
    """
    _check_callable(mask_mods)

    def or_mask(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result = b.new_zeros((), dtype=dtypes.bool_)
        for mod in mask_mods:
            result = result | mod(b, h, q_idx, kv_idx)
        return result

    return or_mask


def and_masks(*mask_mods: Callable) -> Callable:
    """A `mask_mod` that lets through what all `mask_mods` do; RuntimeError if not callable.

    Example:
        >>> from tritorch.nn.attention.flex_attention import and_masks, create_mask
        >>> causal = lambda b, h, q, kv: q >= kv
        >>> window = lambda b, h, q, kv: q - kv < 2
        >>> create_mask(and_masks(causal, window), 1, 1, 3, 3).int()
        tensor([[[[1, 0, 0],
                  [1, 1, 0],
                  [0, 1, 1]]]], dtype=tritorch.int32)
    """
    _check_callable(mask_mods)

    def and_mask(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result = b.new_ones((), dtype=dtypes.bool_)
        for mod in mask_mods:
            result = result & mod(b, h, q_idx, kv_idx)
        return result

    return and_mask


def create_mask(
    mod_fn: Callable,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
) -> Tensor:
    """What a `mask_mod` gives for all indices: (B, H, Q_LEN, KV_LEN).

    Of a `score_mod`, a function of five parameters, bools: False where it makes zeros -inf. None
    for B or H is 1; `device` is the CPU by default. AssertionError for other numbers of parameters.

    Example:
        >>> from tritorch.nn.attention.flex_attention import create_mask
        >>> create_mask(lambda b, h, q, kv: q >= kv, 1, 1, 2, 2)
        tensor([[[[ True, False],
                  [ True,  True]]]])
    """
    shape = (1 if B is None else B, 1 if H is None else H, Q_LEN, KV_LEN)
    kind = kind_of(mod_fn)
    at = [arange(n, device=device) for n in shape]
    if kind is ModificationType.MASK_MOD:
        return over_indices("mask_mod", mod_fn, at).expand(shape).contiguous()  # type: ignore[attr-defined]
    out = over_indices("score_mod", mod_fn, at, zeros(shape, device=device))
    return (out != -math.inf).expand(shape).contiguous()  # type: ignore[attr-defined]


def create_block_mask(
    mask_mod: Callable,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = DEFAULT_BLOCK_SIZE,
    _compile: bool = False,
    separate_full_blocks: bool = True,
    compute_dq_write_order: bool = False,
    dq_kv_order: bool = True,
) -> BlockMask:
    """The blocks in which `mask_mod(b, h, q_idx, kv_idx)`, a bool for each score, is ever True.

    None or 1 for B and H makes a mask for all batches and heads. BLOCK_SIZE is one number or
    (queries, keys). With `separate_full_blocks` the blocks in which it is always True stand apart.
    `compute_dq_write_order` adds their order, descending with `dq_kv_order`, which has no effect
    here. `device` is the CPU by default.

    AssertionError where `mask_mod` does not take four parameters, or gives no bools.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.flex_attention import create_block_mask
        >>> documents = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
        >>> from_here = lambda b, h, q, kv: documents[q] <= documents[kv]
        >>> print(create_block_mask(from_here, 1, 1, 8, 8, BLOCK_SIZE=2).to_string().strip())
        (0, 0)
        ████████
        ████████
            ████
            ████
    """
    if kind_of(mask_mod) is not ModificationType.MASK_MOD:
        raise AssertionError(f"create_block_mask requires a mask_mod function! Got {mask_mod}")
    if _compile:
        errors.warn("create_block_mask: _compile has no effect", DeprecationWarning)
    if not isinstance(dq_kv_order, bool):
        raise ValueError("dq_kv_order must be a bool when using create_block_mask")
    size = (
        (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else (BLOCK_SIZE[0], BLOCK_SIZE[1])
    )
    partial, full = _blocks(create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device), *size)
    if not separate_full_blocks:
        partial, full = partial | full, None
    mask = BlockMask.from_kv_blocks(
        *to_ordered(partial),
        *((None, None) if full is None else to_ordered(full)),
        BLOCK_SIZE=size,
        mask_mod=mask_mod,
        seq_lengths=(Q_LEN, KV_LEN),
    )
    if compute_dq_write_order:
        mask.set_write_order(dq_kv_order)
    return mask


def _blocks(mask: Any, rows: int, columns: int) -> tuple[Any, Any]:
    """Where blocks of a mask (B, H, Q, KV) have some True and some False, and where only True."""
    if mask.dtype is not dtypes.bool_:
        raise AssertionError(f"mask.dtype must be torch.bool, got {mask.dtype}")
    batch, heads, q, kv = mask.shape
    mask = constant_pad_nd(mask, (0, -kv % columns, 0, -q % rows))
    blocks = mask.reshape(batch, heads, -(-q // rows), rows, -(-kv // columns), columns)  # type: ignore[attr-defined]
    count = blocks.sum((3, 5))
    full = count == rows * columns
    return (count > 0) & ~full, full
