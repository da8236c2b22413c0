"""Datasets, samplers, collation and the loader."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i

    def __len__(self) -> int:
        return self.n


class Stream(IterableDataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))


class Sized(Stream):
    def __len__(self) -> int:
        return 5


def tensors(n: int = 10) -> TensorDataset:
    return TensorDataset(torch.arange(n).float(), torch.arange(2 * n).view(n, 2))


def batches(*args: Any, **kwargs: Any) -> list:
    return [b.tolist() for b in DataLoader(*args, **kwargs)]


# -- datasets -------------------------------------------------------------------------------------


def test_tensor_dataset() -> None:
    data = tensors()
    assert len(data) == 10 and data[3][0] == 3 and data[3][1].tolist() == [6, 7]
    with pytest.raises(AssertionError, match=r"\(2,\), \(3,\)"):
        TensorDataset(torch.zeros(2), torch.zeros(3))


def test_concat_chain_stack_subset() -> None:
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1] and both[-1] == 1 and len(both) == 5
    with pytest.raises(ValueError, match="absolute value"):
        both[-6]
    assert list(Stream(2) + Stream(2)) == [0, 1, 0, 1]
    assert len(ChainDataset([Sized(5), Sized(5)])) == 10
    pairs = StackDataset(Squares(3), Squares(3))
    assert pairs[2] == (4, 4) and pairs.__getitems__([1, 2]) == [(1, 1), (4, 4)]
    assert StackDataset(a=Squares(3), b=Squares(3)).__getitems__([2]) == [{"a": 4, "b": 4}]
    part = Subset(Squares(5), [4, 2])
    assert len(part) == 2 and part[1] == 4 and part.__getitems__([0, 1]) == [16, 4]


def test_older_name_of_sizes() -> None:
    both = Squares(3) + Squares(2)
    with pytest.warns(FutureWarning, match="renamed to cumulative_sizes"):
        assert both.cummulative_sizes == [3, 5] == ConcatDataset.cumsum([Squares(3), Squares(2)])


def test_random_split() -> None:
    parts = random_split(Squares(10), [0.55, 0.25, 0.2], torch.Generator().manual_seed(3))
    assert [len(p) for p in parts] == [6, 2, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    again = random_split(Squares(10), [0.55, 0.25, 0.2], torch.Generator().manual_seed(3))
    assert [p.indices for p in parts] == [p.indices for p in again]
    assert [len(p) for p in random_split(Squares(5), [2, 3])] == [2, 3]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(Squares(5), [2, 2])
    with pytest.warns(UserWarning, match="index 1 is 0"):
        random_split(Squares(1), [0.9, 0.1])


# -- samplers -------------------------------------------------------------------------------------


def test_samplers() -> None:
    assert list(SequentialSampler(range(3))) == [0, 1, 2]
    assert sorted(RandomSampler(range(50))) == list(range(50)) != list(RandomSampler(range(50)))
    assert sorted(SubsetRandomSampler([3, 5])) == [3, 5]
    drawn = list(RandomSampler(range(4), num_samples=10))
    assert len(drawn) == 10 and sorted(drawn[:4]) == sorted(drawn[4:8]) == [0, 1, 2, 3]
    assert max(RandomSampler(range(4), replacement=True, num_samples=40)) < 4
    weighted = list(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert weighted.count(0) == 0 and abs(weighted.count(2) / 4000 - 0.75) < 0.05
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    dropping = BatchSampler(range(5), 2, True)
    assert list(dropping) == [[0, 1], [2, 3]] and len(dropping) == 2


def test_indices_with_replacement_need_no_end() -> None:
    """`num_samples=int(1e10)` is what training loops counted in steps give."""
    endless = RandomSampler(range(7), replacement=True, num_samples=10**10)
    first = list(itertools.islice(endless, 2000))
    assert len(endless) == 10**10 and set(first) == set(range(7))
    assert len(list(RandomSampler(range(4), replacement=True, num_samples=700))) == 700

    def drawn(between: int) -> list[int]:
        torch.manual_seed(3)
        indices = iter(RandomSampler(range(50), replacement=True, num_samples=600))
        head = list(itertools.islice(indices, 10))
        torch.rand(between + 1)
        return head + list(indices)

    assert drawn(0) == drawn(40) and len(drawn(0)) == 600


def test_generator_decides_the_order() -> None:
    orders = [
        list(RandomSampler(range(20), generator=torch.Generator().manual_seed(s)))
        for s in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    torch.manual_seed(5)
    first = list(RandomSampler(range(20)))
    torch.manual_seed(5)
    assert first == list(RandomSampler(range(20)))


def stream(d: Any) -> Any:
    return type("Empty", (d.IterableDataset,), {"__iter__": lambda self: iter(())})()


REFUSED: dict[str, Callable[[Any], Any]] = {
    "workers": lambda d: d.DataLoader(range(3), num_workers=-1),
    "timeout": lambda d: d.DataLoader(range(3), timeout=-1),
    "prefetch": lambda d: d.DataLoader(range(3), prefetch_factor=2),
    "persistent": lambda d: d.DataLoader(range(3), persistent_workers=True),
    "sampler and shuffle": lambda d: d.DataLoader(range(3), sampler=range(3), shuffle=True),
    "batch sampler": lambda d: d.DataLoader(range(3), batch_sampler=[[0]], batch_size=2),
    "drop last": lambda d: d.DataLoader(range(3), batch_size=None, drop_last=True),
    "stream and shuffle": lambda d: d.DataLoader(stream(d), shuffle=True),
    "stream and sampler": lambda d: d.DataLoader(stream(d), sampler=range(3)),
    "set later": lambda d: setattr(d.DataLoader(range(3)), "batch_size", 3),
    "batch size": lambda d: d.BatchSampler(range(3), 0, False),
    "drop last of a sampler": lambda d: d.BatchSampler(range(3), 1, 2),
    "replacement": lambda d: d.RandomSampler(range(3), 3),
    "samples": lambda d: d.RandomSampler(range(3), num_samples=0),
    "no data": lambda d: d.RandomSampler([]),
    "weights": lambda d: d.WeightedRandomSampler([[1.0]], 3),
    "number of weighted samples": lambda d: d.WeightedRandomSampler([1.0], 0),
    "unequal lists": lambda d: d.default_collate([[1], [1, 2]]),
    "objects": lambda d: d.default_collate([object()]),
    "text arrays": lambda d: d.default_collate([np.array(["a"])]),
    "no dataset": lambda d: d.ConcatDataset([]),
    "stream in a list": lambda d: d.ConcatDataset([stream(d)]),
    "stack of two lengths": lambda d: d.StackDataset([1], [1, 2]),
    "fraction": lambda d: d.random_split(range(3), [1.5, -0.5]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    with pytest.raises((ValueError, TypeError, AssertionError, RuntimeError)):
        REFUSED[name](torch.utils.data)


@pytest.mark.oracle
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_those_of_pytorch(name: str) -> None:
    theirs = pytest.importorskip("torch.utils.data")
    with pytest.raises(Exception) as expected:
        REFUSED[name](theirs)
    with pytest.raises(expected.type) as got:
        REFUSED[name](torch.utils.data)
    words = [w for w in str(expected.value).split() if w.isalpha()]
    assert sum(w in str(got.value) for w in words) >= 0.8 * len(words)


# -- collation ------------------------------------------------------------------------------------

Point = namedtuple("Point", ["x", "y"])


def same(a: Any, b: Any) -> bool:
    """Equal in structure, types of containers, dtypes and values, whichever library's tensors."""
    if hasattr(a, "detach"):
        dtypes = [str(t.dtype).rpartition(".")[2] for t in (a, b)]
        return dtypes[0] == dtypes[1] and a.tolist() == b.tolist() and a.shape == tuple(b.shape)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


SAMPLES: list[Callable[[Any], list]] = [
    lambda t: [1, 2],
    lambda t: [1.5, 2.5],
    lambda t: [True, False],
    lambda t: ["a", "b"],
    lambda t: [b"a", b"b"],
    lambda t: [t.ones(2), t.zeros(2)],
    lambda t: [np.ones(2, np.float32), np.zeros(2, np.float32)],
    lambda t: [np.float32(1), np.float32(2)],
    lambda t: [np.int8(1), np.int8(2)],
    lambda t: [np.float64(1), np.float64(2)],
    lambda t: [(1, 2.0), (3, 4.0)],
    lambda t: [[1, t.ones(1)], [3, t.zeros(1)]],
    lambda t: [{"a": 1, "b": [2.0, "x"]}, {"a": 3, "b": [4.0, "y"]}],
    lambda t: [Point(1, 2), Point(3, 4)],
]


@pytest.mark.oracle
@pytest.mark.parametrize("make", SAMPLES)
def test_collation_is_that_of_pytorch(make: Callable) -> None:
    theirs = pytest.importorskip("torch")
    from torch.utils.data import default_collate as collate, default_convert as convert

    assert same(default_collate(make(torch)), collate(make(theirs)))
    assert same(default_convert(make(torch)[0]), convert(make(theirs)[0]))


def test_collation() -> None:
    out = default_collate([{"a": 1, "b": (2.0, "x")}, {"a": 3, "b": (4.0, "y")}])
    assert out["a"].tolist() == [1, 3] and out["b"][0].dtype is torch.float64
    assert out["b"][1] == ("x", "y") and isinstance(out["b"], list)
    assert default_collate([Point(1, 2), Point(3, 4)]).y.tolist() == [2, 4]
    assert isinstance(default_convert({"a": np.ones(2)})["a"], torch.Tensor)


# -- the loader -----------------------------------------------------------------------------------


def test_batches() -> None:
    assert batches(Squares(5), batch_size=2) == [[0, 1], [4, 9], [16]]
    assert batches(Squares(5), batch_size=2, drop_last=True) == [[0, 1], [4, 9]]
    assert batches(Squares(3), batch_sampler=[[2, 0], [1]]) == [[4, 0], [1]]
    assert batches(Squares(3), sampler=[2, 1], batch_size=2) == [[4, 1]]
    assert list(DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert list(DataLoader(Squares(3), batch_size=2, collate_fn=sum)) == [1, 4]
    loader = DataLoader(Squares(5), batch_size=2)
    assert len(loader) == 3 and len(list(loader)) == 3 == len(list(loader))


def test_streams() -> None:
    assert batches(Stream(5), batch_size=2) == [[0, 1], [2, 3], [4]]
    assert batches(Stream(5), batch_size=2, drop_last=True) == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(2), batch_size=None)) == [0, 1]
    assert len(DataLoader(Sized(5), batch_size=2)) == 3
    assert len(DataLoader(Sized(5), batch_size=2, drop_last=True)) == 2
    with pytest.raises(TypeError):
        len(DataLoader(Stream(5)))
    loader = DataLoader(Sized(8))
    assert sum(1 for _ in loader) == 8 and len(loader) == 5
    with pytest.warns(UserWarning, match="was reported to be 5"):
        list(loader)
    with pytest.raises(TypeError, match="abstract"):
        IterableDataset()  # type: ignore[abstract]


@pytest.mark.skipif(torch.cuda.is_available(), reason="memory is pinned for a GPU")
def test_memory_is_pinned_for_a_device_only() -> None:
    with pytest.warns(UserWarning, match="no accelerator is found"):
        (batch,) = DataLoader(Squares(3), batch_size=3, pin_memory=True)
    assert batch.tolist() == [0, 1, 4] and not batch.is_pinned()


def test_shuffling() -> None:
    loader = DataLoader(Squares(30), batch_size=30, shuffle=True)
    (a,), (b,) = list(loader), list(loader)
    assert sorted(a.tolist()) == sorted(b.tolist()) and a.tolist() != b.tolist()
    orders = [
        batches(Squares(30), 8, shuffle=True, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    assert orders[0] == orders[1]


def test_short_way_of_tensor_datasets_gives_the_same() -> None:
    def slow(samples: list) -> Any:
        return default_collate(samples)

    data = tensors()
    for dataset in (data, Subset(data, [3, 1, 9, 9]), Subset(data, np.array([2, 4]))):
        for kwargs in ({"batch_size": 4}, {"batch_sampler": [[0, 1], [-1]]}):
            fast = list(DataLoader(dataset, **kwargs))
            plain = list(DataLoader(dataset, collate_fn=slow, **kwargs))
            assert same(fast, plain)
    with pytest.raises(IndexError):
        list(DataLoader(data, batch_sampler=[[10]]))
    batch = next(iter(DataLoader(data, batch_size=10)))[0]
    batch.fill_(0)  # a batch is a copy
    assert data.tensors[0][3] == 3


def test_gradients_flow_into_a_dataset() -> None:
    x = torch.ones(4, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=2)))
    batch.sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]
