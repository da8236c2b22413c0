"""Data parallelism over processes: each has its part of the batch, gradients are averaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ... import distributed as dist, dtypes
from ...autograd import engine
from ...autograd.mode import no_grad, state
from ...distributed.group import current
from ...ops.copy import to_array
from ...tensor import Tensor, wrap
from ..module import Module
from .data_parallel import moved, only_device

__all__ = ["DistributedDataParallel"]

FIRST_BUCKET_MB, BUCKET_MB = 1, 25


class DistributedDataParallel(Module):
    """A module, under the name `module`, of which each process of a group has a copy.

    All begin with the parameters and buffers of the group's first process. A backward averages
    the gradients: in buckets of `bucket_cap_mb`, each sent as soon as it is full, while the rest is
    still computed. After it every process has the same gradients, so that equal optimizers keep the
    copies equal. With `broadcast_buffers` every forward in training begins with the first process's
    buffers (running statistics).

    Every parameter must take part in each backward, or a later forward raises; with
    `find_unused_parameters` those that did not count as zeros, and keep `grad` as it is where no
    process used them. A call is synchronised by all processes of the group: they must call
    forward and backward equally often.

    Raises:
        ValueError: without a process group.
        RuntimeError: no parameter requires a gradient; other shapes in other processes; parameters
            without a gradient in the step before.

    Example:
        >>> import tempfile
        >>> import tritorch as torch
        >>> import tritorch.distributed as dist
        >>> directory = tempfile.TemporaryDirectory()
        >>> dist.init_process_group("gloo", f"file://{directory.name}/new", world_size=1, rank=0)
        >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
        >>> model(torch.ones(2, 3)).sum().backward()
        >>> model.module.bias.grad
        tensor([2.])
        >>> dist.destroy_process_group()
        >>> directory.cleanup()
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence | None = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        delay_all_reduce_named_params: Any = None,
        param_to_hook_all_reduce: Any = None,
        mixed_precision: Any = None,
        device_mesh: Any = None,
        skip_all_reduce_unused_params: bool = False,
    ) -> None:
        super().__init__()
        absent = {
            "delay_all_reduce_named_params": delay_all_reduce_named_params,
            "param_to_hook_all_reduce": param_to_hook_all_reduce,
            "mixed_precision": mixed_precision,
            "device_mesh": device_mesh,
        }
        for name, value in absent.items():
            if value is not None:
                raise NotImplementedError(f"DistributedDataParallel: {name} does not exist here")
        self.process_group: Any = current(process_group)
        if self.process_group is None:
            raise ValueError("DistributedDataParallel: this process is not in the process group")
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        named = [(n, p) for n, p in module.named_parameters() if n not in ignored]
        trained = [(n, p) for n, p in named if p.requires_grad]
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameters "
                "that require a gradient."
            )
        self.module, self.dim, self.broadcast_buffers = module, dim, broadcast_buffers
        self.device_ids, self.output_device = device_ids, output_device
        self.find_unused_parameters = find_unused_parameters or static_graph
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self._place = only_device("DistributedDataParallel", device_ids, output_device)
        self._buffers_sent = [b for n, b in module.named_buffers() if n not in ignored]
        if init_sync:
            self._verify(named)
            self._send([p for _, p in named] + self._buffers_sent)
        self._reducer = _Reducer(
            self.process_group, trained, bucket_cap_mb, self.find_unused_parameters
        )

    def _verify(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """That all processes have the same parameters."""
        mine = [(n, tuple(p.shape), str(p.dtype)) for n, p in named]
        everyone: list = [None] * self.process_group.size()
        dist.all_gather_object(everyone, mine, group=self.process_group)
        for rank, theirs in zip(self.process_group.ranks, everyone):
            other = next((b for a, b in zip(mine, theirs) if a != b), None)
            if other is not None or len(mine) != len(theirs):
                what = f"{len(theirs)} parameters" if other is None else f"the parameter {other}"
                raise RuntimeError(
                    f"DistributedDataParallel: rank {rank} has {what}, which differs from the "
                    f"{len(mine)} of this process; all must wrap the same module"
                )

    def _send(self, tensors: Sequence[Tensor]) -> None:
        """Take the values of the group's first process."""
        root = self.process_group.ranks[0]
        for part in _by_dtype(tensors):
            flat = wrap(_joined(part), part[0].dtype)
            dist.broadcast(flat, root, group=self.process_group)
            if self.process_group.rank() > 0:
                _spread(to_array(flat), part)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backwards within only add to this process's gradients; the next one after averages."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """`module(*inputs, **kwargs)`; the backward of what it returns averages gradients."""
        synchronises = state.grad and self.require_backward_grad_sync
        if synchronises:
            self._reducer.prepare()
        if (
            self.broadcast_buffers
            and self.training
            and self._buffers_sent
            and (self.require_backward_grad_sync)
        ):
            self._send(self._buffers_sent)
        if self._place is not None:
            inputs, kwargs = moved(inputs, self._place), moved(kwargs, self._place)
        return self.module(*inputs, **kwargs)

    def register_comm_hook(self, state: Any, hook: Any) -> None:
        """NotImplementedError: gradients are averaged as they are."""
        raise NotImplementedError("DistributedDataParallel: communication hooks do not exist here")


class _Bucket:
    """Parameters whose gradients travel together."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params, self.left = params, 0
        self.work: Any = None
        self.flat: Any = None


class _Reducer:
    """Averages gradients as a backward brings them.

    Buckets go out in one order, the last parameters first, which all processes keep.
    """

    def __init__(self, group: Any, named: list, cap_mb: float | None, unused: bool) -> None:
        self.group, self.unused = group, unused
        self.names = {id(p): n for n, p in named}
        self.buckets = _buckets([p for _, p in named], cap_mb)
        self.bucket_of = {id(p): b for b in self.buckets for p in b.params}
        self.armed = False  # whether the next backward averages
        self.begun = False
        self.ready: set[int] = set()
        self.sent = 0
        for p in (p for _, p in named):
            p.register_post_accumulate_grad_hook(self._arrived)

    def prepare(self) -> None:
        """Before a forward: the backward that belongs to it averages."""
        if self.begun:
            missing = [n for i, n in self.names.items() if i not in self.ready]
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration before starting a new "
                "one: the module has parameters that were not used in producing the loss, "
                f"{missing}. With find_unused_parameters=True they count as zeros."
            )
        self.armed = True

    def _arrived(self, p: Tensor) -> None:
        if not self.armed:
            return
        if not self.begun:
            self.begun, self.sent, self.ready = True, 0, set()
            for bucket in self.buckets:
                bucket.left, bucket.work = len(bucket.params), None
            engine.outermost().callbacks.append(self._finish)
        if id(p) in self.ready:
            raise RuntimeError(
                f"Expected to mark a variable ready only once: the gradient of "
                f"{self.names[id(p)]} came twice in one backward"
            )
        self.ready.add(id(p))
        self.bucket_of[id(p)].left -= 1
        self._send_full()

    def _send_full(self) -> None:
        while self.sent < len(self.buckets) and not self.buckets[self.sent].left:
            bucket = self.buckets[self.sent]
            grads = [_gradient(p) for p in bucket.params]
            bucket.flat = wrap(_joined(grads), grads[0].dtype)
            bucket.work = dist.all_reduce(
                bucket.flat, dist.ReduceOp.AVG, group=self.group, async_op=True
            )
            self.sent += 1

    def _finish(self) -> None:
        """At the end of the backward: all buckets, and their means where they belong."""
        used: Any = None
        if self.unused:
            for bucket in self.buckets:
                bucket.left = 0
            self._send_full()
            mine = [id(p) in self.ready for b in self.buckets for p in b.params]
            used = wrap(np.array(mine, np.uint8), dtypes.uint8)
            dist.all_reduce(used, dist.ReduceOp.MAX, group=self.group)
        elif self.sent < len(self.buckets):
            return  # `prepare` says so
        somewhere = [True] * len(self.names) if used is None else used.tolist()
        with no_grad():
            for bucket in self.buckets:
                bucket.work.wait()
                here, somewhere = somewhere[: len(bucket.params)], somewhere[len(bucket.params) :]
                for p, yes in zip(bucket.params, here):
                    if yes and p.grad is None:
                        p.grad = p.detach().new_zeros(p.shape)
                kept = [p.grad if yes else None for p, yes in zip(bucket.params, here)]
                _spread(to_array(bucket.flat), kept, bucket.params)
                bucket.flat = None
        self.armed = self.begun = False


def _gradient(p: Tensor) -> Tensor:
    return p.detach().new_zeros(p.shape) if p.grad is None else p.grad


def _buckets(params: list[Tensor], cap_mb: float | None) -> list[_Bucket]:
    """The last parameters first, those of one dtype together, up to so many bytes."""
    first = FIRST_BUCKET_MB if cap_mb is None else cap_mb
    buckets, open_, limit = [], {}, first * 2**20
    for p in reversed(params):
        part = open_.setdefault(p.dtype, [])
        part.append(p)
        if sum(q.numel() * q.element_size() for q in part) >= limit:
            buckets.append(_Bucket(open_.pop(p.dtype)))
            limit = (BUCKET_MB if cap_mb is None else cap_mb) * 2**20
    return buckets + [_Bucket(part) for part in open_.values()]


def _by_dtype(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    parts: dict[Any, list[Tensor]] = {}
    for t in tensors:
        parts.setdefault(t.dtype, []).append(t)
    return list(parts.values())


def _joined(tensors: Sequence[Tensor]) -> np.ndarray:
    return np.concatenate([to_array(t.detach()).reshape(-1) for t in tensors])


def _spread(flat: np.ndarray, targets: Sequence[Any], like: Any = None) -> None:
    """Write the parts of a flat array into tensors, which lie in it one after the other."""
    start = 0
    with no_grad():
        for t, shaped in zip(targets, like or targets):
            stop = start + shaped.numel()
            if t is not None:
                t.detach().copy_(wrap(flat[start:stop].reshape(shaped.shape), shaped.dtype))
            start = stop
