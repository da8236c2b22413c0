"""BlockMask: which blocks of the scores of attention there are to compute."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...ops.ranges import arange
from ...tensor import Tensor

DEFAULT_BLOCK_SIZE = 128
TENSORS = (
    *("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"),
    *("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices"),
    *("dq_write_order", "dq_write_order_full", "dq_kv_order"),
)


def noop_mask(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    """A mask that lets every query see every key.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.flex_attention import create_mask, noop_mask
        >>> create_mask(noop_mask, 1, 1, 1, 2)
        tensor([[[[True, True]]]])
    """
    return batch.new_ones((), dtype=dtypes.bool_)


def _sliced_mask_mod_error(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    """The `mask_mod` of a part of a BlockMask: its indices would no longer be those it knows."""
    raise RuntimeError(
        "Cannot use mask_mod from a sliced BlockMask. When you slice a BlockMask using [], the "
        "mask_mod attribute is reset. You must set it from the original BlockMask's mask_mod, as "
        "in `part.mask_mod = shifted(whole.mask_mod, offset)`."
    )


def to_dense(num_blocks: Any, indices: Any, columns: int) -> Any:
    """Lists of blocks (..., R), (..., R, M) as int32 (..., R, columns) of zeros and ones."""
    there = arange(indices.shape[-1], device=indices.device) < num_blocks.unsqueeze(-1)
    at = indices.long().masked_fill(~there, columns)  # what is no entry goes past the end
    dense = indices.new_zeros((*indices.shape[:-1], columns + 1), dtype=dtypes.int32)
    return dense.scatter(-1, at, 1)[..., :columns].contiguous()


def to_ordered(dense: Any) -> tuple[Any, Any]:
    """How many blocks (..., R) a row has, and all columns (..., R, C), those with a block first."""
    dense = dense.to(dtypes.int32)
    order = dense.argsort(-1, descending=True, stable=True)
    return dense.sum(-1).to(dtypes.int32), order.to(dtypes.int32).contiguous()


def _transposed(num_blocks: Any, indices: Any) -> tuple[Any, Any]:
    if num_blocks is None:
        return None, None
    return to_ordered(to_dense(num_blocks, indices, indices.shape[-1]).transpose(-2, -1))


def _cropped(num_blocks: Any, indices: Any, rows: int, columns: int) -> tuple[Any, Any]:
    if num_blocks is None:
        return None, None
    indices = indices[:, :, :rows, :columns]
    limit = num_blocks[:, :, :rows].clamp(max=columns)
    return (indices < limit.unsqueeze(-1)).sum(-1).to(dtypes.int32), indices


class BlockMask:
    """The blocks of scores that `flex_attention` computes, and a function that masks within them.

    Scores (B, H, Q_LEN, KV_LEN) are cut in blocks of BLOCK_SIZE (queries, keys), R rows and C
    columns of them. `kv_num_blocks` (B, H, R) says how many blocks there are in a row, and
    `kv_indices` (B, H, R, C) which: of a row only so many are read. Blocks without a score to mask
    stand apart in `full_kv_num_blocks` and `full_kv_indices`, or these are None. `q_num_blocks`,
    `q_indices` and their full forms are the same by columns. All are int32. `mask_mod` masks single
    scores, and `seq_lengths` is (Q_LEN, KV_LEN). `dq_write_order` and its like are for kernels of
    other libraries and have no effect.

    Made by `create_block_mask` or `from_kv_blocks`. AssertionError where one of a pair is missing,
    RuntimeError where `kv_indices` has fewer than two dimensions.

    Example:
        >>> from tritorch.nn.attention.flex_attention import create_block_mask
        >>> causal = lambda b, h, q, kv: q >= kv
        >>> mask = create_block_mask(causal, 1, 1, 6, 6, BLOCK_SIZE=2)
        >>> mask.shape, mask.kv_num_blocks.tolist(), mask.full_kv_num_blocks.tolist()
        ((1, 1, 6, 6), [[[1, 1, 1]]], [[[0, 1, 2]]])
        >>> mask.to_dense()
        tensor([[[[1, 0, 0],
                  [1, 1, 0],
                  [1, 1, 1]]]], dtype=tritorch.int32)
    """

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None,
        full_kv_indices: Tensor | None,
        q_num_blocks: Tensor | None,
        q_indices: Tensor | None,
        full_q_num_blocks: Tensor | None,
        full_q_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int] = (DEFAULT_BLOCK_SIZE, DEFAULT_BLOCK_SIZE),
        mask_mod: Callable = noop_mask,
        *,
        dq_write_order: Tensor | None = None,
        dq_write_order_full: Tensor | None = None,
        dq_kv_order: Tensor | None = None,
        dq_kv_order_spt: bool | None = None,
    ) -> None:
        if kv_indices.dim() < 2:  # type: ignore[attr-defined]
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if kv_num_blocks is None:
            raise AssertionError("kv_num_blocks must be provided")
        for side, one, two in (
            ("kv", full_kv_num_blocks, full_kv_indices),
            ("q", full_q_num_blocks, full_q_indices),
        ):
            if (one is None) != (two is None):
                raise AssertionError(
                    f"full_{side}_num_blocks and full_{side}_indices must be both provided or "
                    "omitted"
                )
        if dq_write_order_full is not None and dq_write_order is None:
            raise ValueError("dq_write_order_full requires dq_write_order")
        self.seq_lengths, self.BLOCK_SIZE, self.mask_mod = seq_lengths, BLOCK_SIZE, mask_mod
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.dq_write_order, self.dq_write_order_full = dq_write_order, dq_write_order_full
        self.dq_kv_order, self.dq_kv_order_spt = dq_kv_order, dq_kv_order_spt

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = DEFAULT_BLOCK_SIZE,
        mask_mod: Callable | None = None,
        seq_lengths: tuple[int, int] | None = None,
        compute_q_blocks: bool = True,
        *,
        dq_write_order: Tensor | None = None,
        dq_write_order_full: Tensor | None = None,
        dq_kv_order: Tensor | bool | None = None,
    ) -> BlockMask:
        """A mask of blocks by rows; those by columns follow unless `compute_q_blocks` is False.

        `seq_lengths` are those of whole blocks by default. `mask_mod` masks nothing by default.

        Example:
            >>> import tritorch as torch
            >>> from tritorch.nn.attention.flex_attention import BlockMask
            >>> count = torch.tensor([[[1, 2]]], dtype=torch.int32)
            >>> which = torch.tensor([[[[1, 0], [0, 1]]]], dtype=torch.int32)
            >>> mask = BlockMask.from_kv_blocks(count, which, BLOCK_SIZE=16)
            >>> mask.shape, mask.q_num_blocks
            ((1, 1, 32, 32), tensor([[[1, 2]]], dtype=tritorch.int32))
        """
        if kv_indices.dim() < 2:  # type: ignore[attr-defined]
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError(
                "full_kv_num_blocks and full_kv_indices must be both provided or omitted"
            )
        if dq_kv_order is not None and not isinstance(dq_kv_order, bool | Tensor):
            raise ValueError("dq_kv_order must be a bool, Tensor, or None")
        by_columns: list = [None] * 4
        if compute_q_blocks:
            by_columns = [
                *_transposed(kv_num_blocks, kv_indices),
                *_transposed(full_kv_num_blocks, full_kv_indices),
            ]
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        if seq_lengths is None:
            seq_lengths = kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1]
        return cls(
            seq_lengths,
            *(kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, *by_columns),
            BLOCK_SIZE=size,
            mask_mod=noop_mask if mask_mod is None else mask_mod,
            dq_write_order=dq_write_order,
            dq_write_order_full=dq_write_order_full,
            dq_kv_order=dq_kv_order if isinstance(dq_kv_order, Tensor) else None,
            dq_kv_order_spt=dq_kv_order if isinstance(dq_kv_order, bool) else None,
        )

    def as_tuple(self, flatten: bool = True) -> tuple:
        """The lengths, the tensors, `dq_kv_order_spt`, the block size and `mask_mod`.

        Lengths and block size are two items each, or with `flatten=False` a pair each.
        """
        lengths, size = tuple(self.seq_lengths), tuple(self.BLOCK_SIZE)
        tensors = [getattr(self, name) for name in TENSORS]
        return (
            *(lengths if flatten else (lengths,)),
            *(*tensors, self.dq_kv_order_spt),
            *(size if flatten else (size,)),
            self.mask_mod,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the scores: (B, H, Q_LEN, KV_LEN)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many scores there are, whether computed or not."""
        return math.prod(self.shape)

    def sparsity(self) -> float:
        """The share of scores that is not computed, in percent; below 0 where blocks overhang."""
        counts = (self.kv_num_blocks, self.full_kv_num_blocks)
        blocks = sum(int(n.sum()) for n in counts if n is not None)  # type: ignore[attr-defined]
        return 100 * (1 - blocks * math.prod(self.BLOCK_SIZE) / self.numel())

    def to_dense(self) -> Tensor:
        """Int32 (B, H, R, C): 1 for each block that is computed."""
        dense = to_dense(self.kv_num_blocks, self.kv_indices, self.kv_indices.shape[-1])
        if self.full_kv_num_blocks is None:
            return dense
        full = self.full_kv_indices
        return dense | to_dense(self.full_kv_num_blocks, full, full.shape[-1])  # type: ignore[union-attr]

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture for each batch and head, at most `limit`: full blocks are drawn as `█`.

        It has at most `grid_size` rows and columns, of parts in which some blocks are computed
        (`░`) or none; -1 draws every block.

        Example:
            >>> from tritorch.nn.attention.flex_attention import create_block_mask
            >>> later = lambda b, h, q, kv: q <= kv
            >>> print(create_block_mask(later, 1, 1, 8, 8, BLOCK_SIZE=2).to_string((2, 4)).strip())
            (0, 0)
            ░░██████
                ░░██
        """
        dense: Any = self.to_dense().cpu()  # type: ignore[attr-defined]
        *batch, rows, columns = dense.shape
        most = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        steps = [
            max(1, 1 if m == -1 else -(-n // m)) for n, m in zip((rows, columns), most, strict=True)
        ]
        shown = []
        for i, at in enumerate(itertools.product(*map(range, batch))):
            if i == limit:
                shown += [
                    "...",
                    "To print out more, set BlockMask.to_string(limit=N)",
                    "You can also index (BlockMask[batch, head]) to choose a specific batch "
                    "or head",
                ]
                break
            shown.append(f"{at}\n{_picture(dense[at].numpy(), *steps)}")
        return "\n".join(shown)

    def __str__(self) -> str:
        body = self.to_string().strip()
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{body}\n)"

    def __repr__(self) -> str:
        shapes = {n: getattr(self, n) for n in TENSORS[:8]}
        lines = [f"{n}={None if x is None else x.shape}" for n, x in shapes.items()]
        name = getattr(self.mask_mod, "__name__", self.mask_mod)
        lines += [f"BLOCK_SIZE={self.BLOCK_SIZE}", f"shape={self.shape}"]
        lines += [f"sparsity={self.sparsity():.2f}%", f"mask_mod={name}"]
        return "BlockMask(\n    " + ",\n    ".join(lines) + "\n)"

    def __getitem__(self, index: Any) -> BlockMask:
        """The mask of some batches, heads and rows of blocks; an int keeps its dimension.

        Its `mask_mod` raises until another is set, and `seq_lengths` stays.

        Example:
            >>> from tritorch.nn.attention.flex_attention import create_block_mask
            >>> causal = lambda b, h, q, kv: q >= kv
            >>> mask = create_block_mask(causal, 4, 2, 512, 512)
            >>> mask[0, 1:, 2:].kv_indices.shape
            tritorch.Size([1, 1, 2, 4])
        """
        self._no_order("Slicing")
        given = index if isinstance(index, tuple) else (index,)
        padded = (*given, *[slice(None)] * 3)[:3]
        at = tuple(
            _one(i, n) if isinstance(i, int) else i
            for i, n in zip(padded, self.kv_num_blocks.shape, strict=False)
        )
        tensors = [getattr(self, n) for n in TENSORS[:4]]
        parts = [None if x is None else x[at] for x in tensors]
        return self._of(parts, _sliced_mask_mod_error, self.seq_lengths)

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The mask of the first queries and keys, with the same `mask_mod`."""
        self._no_order("Adjusting")
        rows, columns = -(-new_q_len // self.BLOCK_SIZE[0]), -(-new_kv_len // self.BLOCK_SIZE[1])
        parts = [
            *_cropped(self.kv_num_blocks, self.kv_indices, rows, columns),
            *_cropped(self.full_kv_num_blocks, self.full_kv_indices, rows, columns),
        ]
        return self._of(parts, self.mask_mod, (new_q_len, new_kv_len))

    def _no_order(self, what: str) -> None:
        if self.dq_kv_order is not None:
            raise NotImplementedError(
                f"{what} BlockMask with tensor dq_kv_order is not supported yet. Construct a new "
                "BlockMask with matching precomputed dq_write_order metadata."
            )

    def _of(self, parts: list, mask_mod: Callable, lengths: tuple[int, int]) -> BlockMask:
        """A mask of other blocks by rows, with the rest as here."""
        new = BlockMask.from_kv_blocks(
            *parts,
            BLOCK_SIZE=self.BLOCK_SIZE,
            mask_mod=mask_mod,
            seq_lengths=lengths,
            compute_q_blocks=self.q_indices is not None,
            dq_kv_order=self.dq_kv_order_spt,
        )
        if self.dq_write_order is not None:
            new.set_write_order(self.dq_kv_order_spt)
        return new

    def set_write_order(self, descending: bool | None) -> None:
        """Set `dq_write_order`: as the how-manieth of its row each block of a column is written."""
        if self.q_indices is None:
            raise ValueError(
                "BlockMask must have q_num_blocks and q_indices to compute dq_write_order"
            )
        dense: Any = self.to_dense()
        upto = dense.cumsum(-1)
        rank = (upto - dense).to(dtypes.int32)
        if descending:
            rank = (upto[..., -1:] - 1 - rank).to(dtypes.int32)
        by_column = rank.transpose(-2, -1)
        self.dq_kv_order_spt = descending
        self.dq_write_order = by_column.gather(-1, self.q_indices.long())  # type: ignore[attr-defined]
        if self.full_q_indices is not None:
            self.dq_write_order_full = by_column.gather(-1, self.full_q_indices.long())  # type: ignore[attr-defined]

    def to(self, device: Any) -> BlockMask:
        """The mask with its tensors on a device; what `mask_mod` has captured stays where it is."""
        tensors = {n: getattr(self, n) for n in TENSORS}
        moved: dict[str, Any] = {n: None if x is None else x.to(device) for n, x in tensors.items()}
        return BlockMask(
            self.seq_lengths,
            **moved,
            BLOCK_SIZE=self.BLOCK_SIZE,
            mask_mod=self.mask_mod,
            dq_kv_order_spt=self.dq_kv_order_spt,
        )


def _one(i: int, n: int) -> slice:
    """The index of one of n as a slice."""
    return slice(i + n, i + n + 1) if -n <= i < 0 else slice(i, i + 1)


def _picture(dense: Any, row_step: int, column_step: int) -> str:
    rows, columns = dense.shape
    lines = []
    for r in range(0, rows, row_step):
        parts = [
            dense[r : r + row_step, c : c + column_step].mean()
            for c in range(0, columns, column_step)
        ]
        lines.append("".join(2 * ("█" if p == 1 else "░" if p else " ") for p in parts))
    return "".join(f"{line}\n" for line in lines)
