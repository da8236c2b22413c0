"""What the processes of `test_distributed.py` run: each check in every process, in one order.

They are run with tritorch and, where it is installed, with PyTorch.
"""

from __future__ import annotations

import importlib
import itertools
from datetime import timedelta
from typing import Any

import numpy as np


def rows(rank: int, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    """The values that a rank has, known to all."""
    return np.random.default_rng(rank).integers(-8, 9, shape).astype(dtype)


def equal(t: Any, expected: Any) -> None:
    np.testing.assert_array_equal(t.detach().numpy(), expected)


def all_reduce(torch: Any, rank: int, size: int) -> None:
    dist, op = torch.distributed, torch.distributed.ReduceOp
    for dtype, shape in itertools.product((np.float32, np.float64, np.int64), [(5, 7), (), (1,)]):
        every = [rows(r, *shape, dtype=dtype) for r in range(size)]
        ops = {
            op.SUM: np.add.reduce,
            op.PRODUCT: np.multiply.reduce,
            op.MIN: np.minimum.reduce,
            op.MAX: np.maximum.reduce,
        }
        for kind, expected in ops.items():
            t = torch.from_numpy(np.array(every[rank]))
            assert dist.all_reduce(t, kind) is None
            equal(t, expected(every))
    bits = torch.from_numpy(np.array([1 << rank, 7, 5], np.int32))
    dist.all_reduce(bits, op.BOR)
    equal(bits, [(1 << size) - 1, 7, 5])
    half = torch.ones(3, dtype=torch.bfloat16) * (rank + 1)
    dist.all_reduce(half)
    assert half.dtype is torch.bfloat16 and half.tolist() == [size * (size + 1) / 2] * 3


def all_reduce_of_other_layouts(torch: Any, rank: int, size: int) -> None:
    """A view of a larger tensor, a leaf that requires a gradient, no element at all."""
    dist = torch.distributed
    whole = torch.zeros(4, 6)
    part = whole[1:3, ::2].clone().t().contiguous().t()
    part += rank
    dist.all_reduce(part)
    equal(part, np.full((2, 3), size * (size - 1) / 2))
    leaf = torch.ones(3, requires_grad=True)
    dist.all_reduce(leaf.detach())
    equal(leaf, [size] * 3)
    dist.all_reduce(torch.zeros(0))


def large_sums_are_the_same_bits_everywhere(torch: Any, rank: int, size: int) -> None:
    rng = np.random.default_rng(rank)
    t = torch.from_numpy(rng.standard_normal(300_001).astype(np.float32))
    torch.distributed.all_reduce(t)
    found = [torch.zeros(300_001) for _ in range(size)]
    torch.distributed.all_gather(found, t)
    for other in found:
        equal(other, t.numpy())


def from_one_to_all_and_back(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    every = [rows(r, 4, 3) for r in range(size)]
    for root in range(size):
        t = torch.from_numpy(every[rank].copy())
        dist.broadcast(t, root)
        equal(t, every[root])
        t = torch.from_numpy(every[rank].copy())
        dist.reduce(t, root)
        if rank == root:
            equal(t, sum(every))
        elif torch.__name__ == "tritorch":  # PyTorch's gloo leaves partial sums there
            equal(t, every[rank])
        found = [torch.zeros(4, 3) for _ in range(size)] if rank == root else None
        dist.gather(torch.from_numpy(every[rank]), found, dst=root)
        for t, expected in zip(found or (), every):
            equal(t, expected)
        t = torch.zeros(4, 3)
        parts = [torch.from_numpy(a) for a in every] if rank == root else None
        dist.scatter(t, parts, src=root)
        equal(t, every[rank])


def from_all_to_all(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    every = [rows(r, 2, 3) for r in range(size)]
    mine = torch.from_numpy(every[rank].copy())
    found = [torch.zeros(2, 3) for _ in range(size)]
    dist.all_gather(found, mine)
    for t, expected in zip(found, every):
        equal(t, expected)
    one = torch.zeros(2 * size, 3)
    dist.all_gather_into_tensor(one, mine)
    equal(one, np.concatenate(every))
    wide = [rows(10 + r, size, 2) for r in range(size)]
    out = torch.zeros(2)
    dist.reduce_scatter(out, list(torch.from_numpy(wide[rank]).unbind(0)))
    equal(out, sum(wide)[rank])
    out = torch.zeros(1, 2)
    dist.reduce_scatter_tensor(out, torch.from_numpy(wide[rank]))
    equal(out, sum(wide)[rank : rank + 1])
    out = torch.zeros(size, 2)
    dist.all_to_all_single(out, torch.from_numpy(wide[rank]))
    equal(out, np.stack([a[rank] for a in wide]))
    lengths = [r + 1 for r in range(size)]  # rank r sends r + 1 rows to each
    out = torch.zeros(sum(lengths))
    source = torch.full((size * (rank + 1),), float(rank))
    dist.all_to_all_single(out, source, lengths, [rank + 1] * size)
    equal(out, np.repeat(np.arange(size), lengths))


def later(torch: Any, rank: int, size: int) -> None:
    """Operations that were begun and not waited for keep their order, also with others."""
    dist = torch.distributed
    ts = [torch.full((1000,), float(i + rank)) for i in range(6)]
    work = [dist.all_reduce(t, async_op=True) for t in ts]
    last = torch.ones(3)
    dist.all_reduce(last)
    equal(last, [size] * 3)
    for i, (w, t) in enumerate(zip(work, ts)):
        w.wait()
        assert w.is_completed()
        equal(t, np.full(1000, size * i + size * (size - 1) / 2))
    dist.barrier(async_op=True).wait()


def objects(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    found: list = [None] * size
    dist.all_gather_object(found, {"rank": rank, "long": "x" * rank * 1000})
    assert found == [{"rank": r, "long": "x" * r * 1000} for r in range(size)]
    shared = ["a", {1: (2, 3)}] if rank == size - 1 else [None, None]
    dist.broadcast_object_list(shared, src=size - 1)
    assert shared == ["a", {1: (2, 3)}]
    heard: list | None = [None] * size if rank == 0 else None
    dist.gather_object(rank * 10, heard)
    assert heard is None or heard == [r * 10 for r in range(size)]
    got = [None]
    dist.scatter_object_list(got, [f"for {r}" for r in range(size)] if rank == 1 else None, src=1)
    assert got == [f"for {rank}"]


def messages(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    if rank == 0:
        for i in range(4):
            dist.send(torch.full((3,), float(i)), 1)
        sent = [torch.tensor([7]), torch.tensor([8])]
        for work in [dist.isend(t, 1, tag=5 + i) for i, t in enumerate(sent)]:
            work.wait()
    if rank == 1:
        a, b = torch.zeros(3), torch.zeros(3)
        first, second = dist.irecv(a, 0), dist.irecv(b, 0)
        second.wait()
        first.wait()
        equal(torch.stack([a, b]), [[0] * 3, [1] * 3])
        assert dist.recv(a, 0) == 0 and dist.recv(b) == 0
        equal(torch.stack([a, b]), [[2] * 3, [3] * 3])
        t = torch.zeros(1, dtype=torch.int64)
        dist.recv(t, 0, tag=6)
        equal(t, [8])
        dist.recv(t, 0, tag=5)
        equal(t, [7])
    # around a ring, more than the sockets' buffers hold
    big, got = torch.full((1 << 20,), float(rank)), torch.zeros(1 << 20)
    to, source = (rank + 1) % size, (rank - 1) % size
    ops = [dist.P2POp(dist.isend, big, to), dist.P2POp(dist.irecv, got, source)]
    for work in dist.batch_isend_irecv(ops):
        work.wait()
    assert got[0] == source and got[-1] == source


def groups(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    assert dist.get_rank() == rank and dist.get_world_size() == size
    assert dist.get_backend() == "gloo" and dist.is_initialized()
    assert dist.get_process_group_ranks(dist.group.WORLD) == [*range(size)]
    last = dist.new_group([size - 1])
    ends = dist.new_group([0, size - 1])
    every = dist.new_group()
    inside = rank in (0, size - 1)
    assert dist.get_rank(ends) == ((0 if rank == 0 else 1) if inside else -1)
    assert (ends == dist.GroupMember.NON_GROUP_MEMBER) is not inside
    if inside:
        t = torch.tensor([rank + 1.0])
        dist.all_reduce(t, group=ends)
        equal(t, [size + 1])
        dist.broadcast(t * 0 + rank, src=size - 1, group=ends)
        assert (
            dist.get_group_rank(ends, size - 1) == 1 and dist.get_global_rank(ends, 1) == size - 1
        )
    t = torch.ones(1)
    dist.all_reduce(t, group=every)
    equal(t, [size])
    if rank == size - 1:
        dist.all_reduce(t, group=last)
        equal(t, [size])
        dist.destroy_process_group(last)


def samplers(torch: Any, rank: int, size: int) -> None:
    sampler = torch.utils.data.DistributedSampler(range(10), shuffle=False)
    assert (sampler.rank, sampler.num_replicas) == (rank, size)
    assert list(sampler) == [*range(10), *range(10)][rank : rank + size * len(sampler) : size]


def _net(torch: Any) -> Any:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32)))
    return net


def training_is_that_of_one_process(torch: Any, rank: int, size: int) -> None:
    """SGD with momentum on parts of a batch, as on the whole batch; also over two backwards."""
    alone, mine = _net(torch), _net(torch)
    if rank:
        for p in mine.parameters():
            p.data.zero_()  # the first process's values are taken
    many = torch.nn.parallel.DistributedDataParallel(mine, bucket_cap_mb=2e-4)
    steps = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (alone, many)]
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((4 * size, 3)).astype(np.float32))
    y = torch.from_numpy(np.random.default_rng(2).standard_normal((4 * size, 2)).astype(np.float32))
    part = slice(4 * rank, 4 * rank + 4)
    loss = torch.nn.functional.mse_loss
    for step in range(4):
        for s in steps:
            s.zero_grad()
        loss(alone(x), y).backward()
        if step % 2:
            with many.no_sync():
                (loss(many(x[part][:2]), y[part][:2]) / 2).backward()
            (loss(many(x[part][2:]), y[part][2:]) / 2).backward()
        else:
            loss(many(x[part]), y[part]).backward()
        for a, b in zip(alone.parameters(), many.module.parameters()):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-6)
        for s in steps:
            s.step()
    names = [f"module.{k}" for k in alone.state_dict()]
    assert list(many.state_dict()) == names


def running_statistics(torch: Any, rank: int, size: int) -> None:
    norm = torch.nn.BatchNorm1d(2)
    model = torch.nn.parallel.DistributedDataParallel(norm)
    for _ in range(2):
        model(torch.randn(6, 2) * (rank + 1) + rank).sum().backward()
    before = norm.running_mean.clone()
    first = before.clone()
    torch.distributed.broadcast(first, 0)
    model(torch.zeros(6, 2))  # begins with those of rank 0
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.9 * first.numpy(), rtol=1e-5)
    if rank:
        assert not np.allclose(before.numpy(), first.numpy())


class Branches:
    """Made for a library: a module that uses one of its parts."""

    def __new__(cls, torch: Any) -> Any:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = (torch.nn.Linear(2, 2) for _ in range(3))

            def forward(self, x: Any, which: str) -> Any:
                return getattr(self, which)(x)

        return Net()


def parameters_without_a_gradient(torch: Any, rank: int, size: int) -> None:
    ddp = torch.nn.parallel.DistributedDataParallel
    model = ddp(Branches(torch), find_unused_parameters=True)
    x = torch.ones(1, 2)
    model(x, "a" if rank == 0 else "b").sum().backward()
    np.testing.assert_allclose(model.module.a.bias.grad.numpy(), [1 / size] * 2, rtol=1e-6)
    np.testing.assert_allclose(model.module.b.bias.grad.numpy(), [(size - 1) / size] * 2, rtol=1e-6)
    assert model.module.c.bias.grad is None
    model = ddp(Branches(torch))
    model(x, "a").sum().backward()
    try:
        model(x, "a")
    except RuntimeError as error:
        assert "Expected to have finished reduction in the prior iteration" in str(error)
    else:
        raise AssertionError("no error")


def tied_and_recomputed_parts(torch: Any, rank: int, size: int) -> None:
    """A weight used twice, and a block whose backward runs within a backward."""
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    net = _net(torch)

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.again = net, net[2]

        def forward(self, x: Any) -> Any:
            h = self.inner[1](self.inner[0](x))
            h = checkpoint(self.inner[2:4], h, use_reentrant=False)
            return self.inner[4](self.again(h))

    model = torch.nn.parallel.DistributedDataParallel(Twice(), bucket_cap_mb=1e-4)
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((2 * size, 3)).astype(np.float32))
    model(x[2 * rank : 2 * rank + 2]).pow(2).mean().backward()
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net[4](net[2](net[3](net[2](net[1](net[0](x)))))).pow(2).mean().backward()
    for a, p in zip(found, net.parameters()):
        np.testing.assert_allclose(a.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-5)


def refusals(torch: Any, rank: int, size: int) -> None:
    dist = torch.distributed
    frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    wrong = [
        (ValueError, lambda: dist.init_process_group("gloo", rank=rank, world_size=size)),
        (RuntimeError, lambda: torch.nn.parallel.DistributedDataParallel(frozen)),
        (Exception, lambda: dist.broadcast(torch.ones(1), size + 3)),
        (ValueError, lambda: dist.new_group([0, size + 2])),
        (ValueError, lambda: dist.send(torch.ones(1), rank)),
        (ValueError, lambda: dist.gather(torch.ones(1), None if rank == 0 else [torch.ones(1)])),
        (Exception, lambda: dist.all_reduce(torch.ones(2), dist.ReduceOp.BAND)),
        (Exception, lambda: dist.all_gather([torch.ones(2)] * (size + 1), torch.ones(2))),
    ]
    for kind, run in wrong:
        try:
            run()
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__} from number {wrong.index((kind, run))}")


CHECKS = (
    *(all_reduce, all_reduce_of_other_layouts, large_sums_are_the_same_bits_everywhere),
    *(from_one_to_all_and_back, from_all_to_all, later, objects, messages, groups, samplers),
    *(training_is_that_of_one_process, running_statistics, parameters_without_a_gradient),
    tied_and_recomputed_parts,
)


def run(rank: int, size: int, lib: str, address: str, names: list[str]) -> None:
    """All checks of these names in this process."""
    torch = importlib.import_module(lib)
    importlib.import_module(f"{lib}.distributed")
    importlib.import_module(f"{lib}.utils.data")
    torch.distributed.init_process_group(
        "gloo", address, world_size=size, rank=rank, timeout=timedelta(seconds=90)
    )
    for name in names:
        try:
            globals()[name](torch, rank, size)
        except Exception as error:
            raise AssertionError(f"{name}, rank {rank} of {size}") from error
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()
