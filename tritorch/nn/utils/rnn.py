"""Sequences of different lengths: packed for recurrent layers, or padded to one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import dtypes
from ...ops.create import as_tensor, full, tensor
from ...ops.join import stack
from ...ops.pad import constant_op
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(_Packed):
    """Sequences step by step: `data` (rows, *), and how many of them reach each step.

    The longest is the first; `sorted_indices` says where they came from.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise AssertionError("PackedSequence: Expected data to be a tuple of length 2")
            data, batch_sizes = data
        elif not batch_sizes.is_cpu:
            raise ValueError("PackedSequence: batch_sizes should always be on CPU")
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def pin_memory(self) -> PackedSequence:
        """A copy in page-locked memory."""
        return self._with(lambda t: t.pin_memory(), self.data.pin_memory())

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences in another dtype, on another device; the same where nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(lambda t: t.to(data.device), data)

    def _with(self, change: Any, data: Tensor) -> PackedSequence:
        order = (None if t is None else change(t) for t in self[2:])
        return type(self)(data, self.batch_sizes, *order)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences on a GPU."""
        return self.to(*args, **kwargs) if args or kwargs else self.to(device="cuda")

    def cpu(self) -> PackedSequence:
        """The sequences on the CPU."""
        return self.to(device="cpu")

    def double(self) -> PackedSequence:
        return self.to(dtype=dtypes.float64)

    def float(self) -> PackedSequence:
        return self.to(dtype=dtypes.float32)

    def half(self) -> PackedSequence:
        return self.to(dtype=dtypes.float16)

    def long(self) -> PackedSequence:
        return self.to(dtype=dtypes.int64)

    def int(self) -> PackedSequence:
        return self.to(dtype=dtypes.int32)

    def short(self) -> PackedSequence:
        return self.to(dtype=dtypes.int16)

    def char(self) -> PackedSequence:
        return self.to(dtype=dtypes.int8)

    def byte(self) -> PackedSequence:
        return self.to(dtype=dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the data is in page-locked memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes another."""
    return None if permutation is None else permutation.argsort()


def pack_padded_sequence(
    input: Any,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack padded sequences (T, B, *), or (B, T, *) with `batch_first`, of the given lengths.

    They must be sorted by length, the longest first, unless `enforce_sorted` is False.
    """
    name = "pack_padded_sequence"
    if isinstance(lengths, Tensor) and not lengths.is_cpu:
        raise RuntimeError(
            f"{name}: 'lengths' argument should be a 1D CPU int64 tensor, but got one on "
            f"{lengths.device}"
        )
    sizes = np.asarray(as_tensor(lengths, dtype=dtypes.int64)._data)
    if sizes.ndim != 1:
        raise RuntimeError(
            f"{name}: 'lengths' argument should be a 1D CPU int64 tensor, but got {sizes.ndim}D"
        )
    x = input.transpose(0, 1) if batch_first else input
    time, batch = x.shape[:2]
    if not x.numel():
        raise RuntimeError(f"{name}: Cannot pack empty tensors, got shape {tuple(input.shape)}")
    if sizes.size != batch:
        raise RuntimeError(
            f"{name}: Expected `len(lengths)` to be equal to batch_size, but got {sizes.size} "
            f"(batch_size={batch})"
        )
    order = None
    if not enforce_sorted:
        by_length = np.argsort(-sizes, kind="stable")
        sizes, order = sizes[by_length], tensor(by_length, device=input.device)
        x = x.index_select(1, order)
    if (sizes <= 0).any():
        raise RuntimeError(
            f"{name}: Length of all samples has to be greater than 0, but found an element in "
            "'lengths' that is <= 0"
        )
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            f"{name}: `lengths` array must be sorted in decreasing order when `enforce_sorted` is "
            "True. You can pass `enforce_sorted=False` to this function to sort them."
        )
    if sizes[0] > time:
        raise RuntimeError(
            f"{name}: Expected lengths up to {time}, the number of steps, but got {sizes[0]}"
        )
    rows = (sizes[None] > np.arange(sizes[0])[:, None]).sum(1)
    flat = x.reshape(time * batch, *x.shape[2:])
    data = flat.index_select(0, _places(rows, batch, input.device))
    return PackedSequence(data, tensor(rows, dtype=dtypes.int64), order, None)


def _places(rows: np.ndarray, batch: int, device: Any) -> Tensor:
    """Where the rows of packed sequences lie in (T * B, *)."""
    steps = np.repeat(np.arange(rows.size), rows)
    starts = np.repeat(np.cumsum(rows) - rows, rows)
    return tensor(steps * batch + np.arange(steps.size) - starts, device=device)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The packed sequences as (T, B, *) filled with `padding_value`, and their lengths."""
    rows = np.asarray(sequence.batch_sizes._data)
    time, batch, data = rows.size, int(rows[0]), sequence.data
    if total_length is not None:
        if total_length < time:
            raise ValueError(
                "pad_packed_sequence: Expected total_length to be at least the length of the "
                f"longest sequence in input, but got total_length={total_length} and max sequence "
                f"length being {time}"
            )
        time = total_length
    lengths: Any = tensor((rows[None] > np.arange(batch)[:, None]).sum(1), dtype=dtypes.int64)
    out: Any = full(
        (time * batch, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device
    )
    out = out.index_copy(0, _places(rows, batch, data.device), data)
    out = out.reshape(time, batch, *data.shape[1:])
    if sequence.unsorted_indices is not None:
        out = out.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return (out.transpose(0, 1) if batch_first else out), lengths


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L, *) padded to the longest: (T, B, *), or (B, T, *) with `batch_first`."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"pad_sequence: padding_side should be left or right, not {padding_side}"
        )
    items: list[Any] = list(sequences)
    if not items:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    longest = max(x.shape[0] for x in items)
    padded = []
    for x in items:
        if x.shape[1:] != items[0].shape[1:]:
            raise RuntimeError(
                f"pad_sequence: expected sequences of one trailing shape, got {tuple(x.shape)} "
                f"beside {tuple(items[0].shape)}"
            )
        gap = longest - x.shape[0]
        ends = (gap, 0) if padding_side == "left" else (0, gap)
        more = ((0, 0),) * (x.ndim - 1)
        padded.append(constant_op(x, pad=(ends, *more), value=padding_value) if gap else x)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded tensor, each of its length."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(x, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, *)."""
    lengths = [x.shape[0] for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
