"""The collective operations on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ..tensor import Tensor
from . import algorithms
from .algorithms import as_bytes
from .group import member, place
from .mesh import Comm
from .tensors import ReduceOp, check, combining, flat, mean, put, put_bytes

__all__ = [
    *("all_gather", "all_gather_into_tensor", "all_reduce", "all_to_all", "all_to_all_single"),
    *("barrier", "broadcast", "gather", "monitored_barrier", "reduce", "reduce_scatter"),
    *("reduce_scatter_tensor", "scatter"),
]


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """Every process's tensor becomes the sum, or what else `op` says, of all of them.

    All get the same bits: sums are formed in the order of ranks. With `async_op` a `Work` is
    returned, and the tensor is not to be touched before its `wait()`.

    Raises:
        DistBackendError: shapes or dtypes differ, or another process runs another operation.
        DistNetworkError: a process has gone, or does not answer within the group's timeout.
    """
    check("all_reduce", tensor)
    own = member(group, "all_reduce")
    if own is None:
        return None
    combine = combining("all_reduce", op, tensor)

    def work(comm: Comm) -> None:
        a = flat(tensor)
        algorithms.all_reduce(comm, a, combine)
        mean(op, a, comm.size)
        put("all_reduce", tensor, a)

    return own.run("all_reduce", work, tensor, async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """The tensor of process `dst` becomes the sum of all; the others' keep their values."""
    check("reduce", tensor)
    own = member(group, "reduce")
    if own is None:
        return None
    root, combine = place(own, dst, group_dst, "dst", None), combining("reduce", op, tensor)

    def work(comm: Comm) -> None:
        a = flat(tensor)
        algorithms.reduce(comm, a, root, combine)
        if comm.rank == root:
            mean(op, a, comm.size)
            put("reduce", tensor, a)

    return own.run("reduce", work, tensor, async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """Every process's tensor takes the values of that of process `src`."""
    check("broadcast", tensor)
    own = member(group, "broadcast")
    if own is None:
        return None
    root = place(own, src, group_src, "src", None)

    def work(comm: Comm) -> None:
        a = flat(tensor)
        algorithms.broadcast(comm, a, root)
        if comm.rank != root:
            put("broadcast", tensor, a)

    return own.run("broadcast", work, tensor, async_op)


def _all_gather(own: Any, outputs: Sequence[Tensor], tensor: Tensor, async_op: bool) -> Any:
    def work(comm: Comm) -> None:
        mine = as_bytes(flat(tensor))
        sizes = [t.numel() * t.element_size() for t in outputs]
        found = algorithms.exchange_bytes(comm, [mine] * comm.size, sizes)
        for out, data in zip(outputs, found):
            put_bytes("all_gather", out, data)

    return own.run("all_gather", work, list(outputs), async_op)


def all_gather(
    tensor_list: Sequence[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """`tensor_list[i]` takes the values of the tensor of the process of rank i, everywhere.

    Raises:
        ValueError: not one tensor for each process, or dtypes differ.
    """
    check("all_gather", tensor, *tensor_list)
    own = member(group, "all_gather")
    if own is None:
        return None
    _count("all_gather", tensor_list, own.size())
    _size("all_gather", tensor_list[own.rank()], tensor.numel())
    return _all_gather(own, tensor_list, tensor, async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """The same into one tensor: those of all processes one after the other, or stacked."""
    check("all_gather_into_tensor", output_tensor, input_tensor)
    own = member(group, "all_gather_into_tensor")
    if own is None:
        return None
    _size("all_gather_into_tensor", output_tensor, own.size() * input_tensor.numel())
    return _all_gather(own, _rows(output_tensor, own.size()), input_tensor, async_op)


def gather(
    tensor: Tensor,
    gather_list: Sequence[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """At process `dst` (0), `gather_list[i]` takes the values of the tensor of rank i."""
    check("gather", tensor, *(gather_list or ()))
    own = member(group, "gather")
    if own is None:
        return None
    root = place(own, dst, group_dst, "dst", 0)
    outputs = _lists("gather", gather_list, own, root, "dst")

    def work(comm: Comm) -> None:
        a = flat(tensor)
        found = algorithms.gather_bytes(comm, as_bytes(a), root, a.nbytes)
        for out, data in zip(outputs, found or ()):
            put_bytes("gather", out, data)

    return own.run("gather", work, list(outputs), async_op)


def scatter(
    tensor: Tensor,
    scatter_list: Sequence[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """The tensor of rank i takes the values of `scatter_list[i]` of process `src` (0)."""
    check("scatter", tensor, *(scatter_list or ()))
    own = member(group, "scatter")
    if own is None:
        return None
    root = place(own, src, group_src, "src", 0)
    inputs = _lists("scatter", scatter_list, own, root, "src")
    for t in inputs:
        _size("scatter", t, tensor.numel())

    def work(comm: Comm) -> None:
        parts = [as_bytes(flat(t)) for t in inputs]
        size = tensor.numel() * tensor.element_size()
        put_bytes("scatter", tensor, algorithms.scatter_bytes(comm, parts, root, size))

    return own.run("scatter", work, tensor, async_op)


def _reduce_scatter(own: Any, output: Tensor, inputs: Sequence, op: ReduceOp, later: bool) -> Any:
    combine = combining("reduce_scatter", op, output)

    def work(comm: Comm) -> None:
        total = algorithms.reduce_parts(comm, [flat(t) for t in inputs], combine)
        mean(op, total, comm.size)
        put("reduce_scatter", output, total)

    return own.run("reduce_scatter", work, output, later)


def reduce_scatter(
    output: Tensor,
    input_list: Sequence[Tensor],
    op: ReduceOp = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """The output of rank i becomes the sum of all processes' `input_list[i]`."""
    check("reduce_scatter", output, *input_list)
    own = member(group, "reduce_scatter")
    if own is None:
        return None
    _count("reduce_scatter", input_list, own.size())
    _size("reduce_scatter", input_list[own.rank()], output.numel())
    return _reduce_scatter(own, output, input_list, op, async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """The same of one input, whose equal parts are for the processes in turn."""
    check("reduce_scatter_tensor", output, input)
    own = member(group, "reduce_scatter_tensor")
    if own is None:
        return None
    _size("reduce_scatter_tensor", input, own.size() * output.numel())
    return _reduce_scatter(own, output, _rows(input.contiguous(), own.size()), op, async_op)


def all_to_all(
    output_tensor_list: Sequence[Tensor],
    input_tensor_list: Sequence[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """`output_tensor_list[i]` takes the values of what rank i has for this process."""
    check("all_to_all", *output_tensor_list, *input_tensor_list)
    own = member(group, "all_to_all")
    if own is None:
        return None
    _count("all_to_all", output_tensor_list, own.size())
    _count("all_to_all", input_tensor_list, own.size())

    def work(comm: Comm) -> None:
        parts = [as_bytes(flat(t)) for t in input_tensor_list]
        sizes = [t.numel() * t.element_size() for t in output_tensor_list]
        _size("all_to_all", output_tensor_list[comm.rank], input_tensor_list[comm.rank].numel())
        for out, data in zip(output_tensor_list, algorithms.exchange_bytes(comm, parts, sizes)):
            put_bytes("all_to_all", out, data)

    return own.run("all_to_all", work, list(output_tensor_list), async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """The same of parts of one tensor, cut along its first dimension, by default equally.

    Raises:
        RuntimeError: split sizes that do not sum up to the first dimension.
    """
    own = member(group, "all_to_all_single")
    if own is None:
        return None
    pieces = []
    for t, sizes in ((output, output_split_sizes), (input, input_split_sizes)):
        if not sizes:
            if t.shape[0] % own.size():
                raise RuntimeError(
                    f"all_to_all_single: dim 0 of {tuple(t.shape)} is not divisible by the "
                    f"group's size, {own.size()}"
                )
            sizes = [t.shape[0] // own.size()] * own.size()
        if sum(sizes) != t.shape[0]:
            raise RuntimeError(
                f"all_to_all_single: split sizes {list(sizes)} do not sum up to dim 0 of "
                f"{tuple(t.shape)}"
            )
        pieces.append(list(t.detach().split(list(sizes))))
    return all_to_all(*pieces, group=group, async_op=async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Any:
    """Returns when all processes of the group have called it."""
    own = member(group, "barrier")
    if own is None:
        return None

    def work(comm: Comm) -> None:
        algorithms.exchange_bytes(comm, [b""] * comm.size, [0] * comm.size)

    return own.run("barrier", work, [], async_op)


def monitored_barrier(
    group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False
) -> None:
    """The same with a timeout of its own; RuntimeError that names a rank that did not come."""
    own = member(group, "monitored_barrier")
    if own is None:
        return
    seconds = own.seconds if timeout is None else timeout.total_seconds()

    def work(comm: Comm) -> None:
        comm.seconds = seconds
        algorithms.exchange_bytes(comm, [b""] * comm.size, [0] * comm.size)

    own.run("barrier", work, None, False)


def _count(name: str, tensors: Sequence, count: int) -> None:
    if len(tensors) != count:
        raise ValueError(f"{name}: {len(tensors)} tensors for a group of {count} processes")


def _size(name: str, t: Tensor, numel: int) -> None:
    if t.numel() != numel:
        raise ValueError(
            f"{name}: a tensor of shape {tuple(t.shape)} where {numel} elements are needed"
        )


def _lists(name: str, tensors: Sequence | None, own: Any, root: int, what: str) -> Sequence:
    if own.rank() != root:
        if tensors:
            raise ValueError(f"Argument ``{name}_list`` must NOT be specified on non-{what} ranks.")
        return []
    if not tensors:
        raise ValueError(f"Argument ``{name}_list`` must be specified on {what} rank.")
    _count(name, tensors, own.size())
    return tensors


def _rows(t: Tensor, count: int) -> list[Tensor]:
    """So many equal parts of a contiguous tensor, as views."""
    if not t.is_contiguous():
        raise ValueError(f"a tensor of shape {tuple(t.shape)} must be contiguous here")
    return list(t.detach().view(count, -1).unbind(0)) if t.numel() else [t] * count
