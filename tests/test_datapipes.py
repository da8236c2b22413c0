"""Pipes, alone and in loaders; what the tests expect is so in PyTorch too."""

from __future__ import annotations

import functools
import importlib
import io
import operator
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tritorch.utils import data

pytestmark = pytest.mark.filterwarnings("ignore:.*is not supported by pickle:UserWarning")


@pytest.fixture(params=["tritorch", pytest.param("torch", marks=pytest.mark.oracle)])
def lib(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param)


@pytest.fixture
def p(lib: ModuleType) -> SimpleNamespace:
    """The parts of `utils.data` that the tests use."""
    data = f"{lib.__name__}.utils.data"
    part = {k: importlib.import_module(f"{data}.datapipes.{k}") for k in ("iter", "map")}
    graph = {k: importlib.import_module(f"{data}.{k}") for k in ("graph", "graph_settings")}
    common = importlib.import_module(f"{data}.datapipes.utils.common")
    every = {**part, **graph, "common": common, "data": importlib.import_module(data)}
    return SimpleNamespace(
        wrap=part["iter"].IterableWrapper, seq=part["map"].SequenceWrapper, **every
    )


def parity(n: int) -> int:
    return n % 2


def no_zero(n: int) -> int | None:
    return n % 2 if n else None


def swap(pair: tuple) -> tuple:
    return pair[1], pair[0]


# name -> (pipe, its samples, its length or None)
ROWS: dict[str, tuple[Callable[[Any], Any], list, int | None]] = {
    "map": (lambda p: p.wrap(range(3)).map(lambda x: x + 1), [1, 2, 3], 3),
    "map of a column": (
        lambda p: p.wrap([(1, 2), (3, 4)]).map(str, input_col=0),
        [("1", 2), ("3", 4)],
        2,
    ),
    "map of columns": (
        lambda p: p.wrap([(1, 2, 3)]).map(operator.add, input_col=[0, 2]),
        [(4, 2)],
        1,
    ),
    "map to the end": (
        lambda p: p.wrap([[1, 2]]).map(operator.add, input_col=[0, 1], output_col=-1),
        [[1, 2, 3]],
        1,
    ),
    "map to a key": (
        lambda p: p.wrap([{"a": 1}]).map(str, input_col="a", output_col=["b"]),
        [{"a": 1, "b": "1"}],
        1,
    ),
    "filter": (lambda p: p.wrap(range(6)).filter(lambda x: x % 3 == 0), [0, 3], None),
    "filter of a column": (
        lambda p: p.wrap([(1, 2), (3, 0)]).filter(operator.lt, input_col=(0, 1)),
        [(1, 2)],
        None,
    ),
    "batch": (lambda p: p.wrap(range(5)).batch(2), [[0, 1], [2, 3], [4]], 3),
    "batch of tuples": (lambda p: p.wrap(range(5)).batch(2, True, tuple), [(0, 1), (2, 3)], 2),
    "unbatch": (lambda p: p.wrap([[[0], [1]], [[2]]]).unbatch(), [[0], [1], [2]], None),
    "unbatch two": (
        lambda p: p.wrap([[[0], [1]], [[2]]]).unbatch(unbatch_level=2),
        [0, 1, 2],
        None,
    ),
    "unbatch all": (lambda p: p.wrap([[[0], 1], 2]).unbatch(-1), [0, 1, 2], None),
    "group": (lambda p: p.wrap("abcab").groupby(ord), [["a", "a"], ["b", "b"], ["c"]], None),
    "group of a size": (
        lambda p: p.wrap("aababa").groupby(ord, group_size=2),
        [["a", "a"], ["b", "b"], ["a", "a"]],
        None,
    ),
    "group with keys": (
        lambda p: p.wrap("aba").groupby(str.upper, keep_key=True),
        [("A", ["a", "a"]), ("B", ["b"])],
        None,
    ),
    "group in a small buffer": (
        lambda p: p.wrap("aabcccd").groupby(ord, buffer_size=3),
        [["a", "a"], ["c", "c"], ["b"], ["c"], ["d"]],
        None,
    ),
    "group what is left": (
        lambda p: p.wrap("aabbbc").groupby(
            ord, buffer_size=3, group_size=3, guaranteed_group_size=2
        ),
        [["a", "a"], ["b", "b", "b"], ["c"]],
        None,
    ),
    "group, the small ones dropped": (
        lambda p: p.wrap("abcde").groupby(
            ord, buffer_size=3, group_size=3, guaranteed_group_size=2, drop_remaining=True
        ),
        [["d"], ["e"]],
        None,
    ),
    "concat": (lambda p: p.wrap(range(2)).concat(p.wrap("ab"), p.wrap([])), [0, 1, "a", "b"], 4),
    "zip": (lambda p: p.wrap(range(3)).zip(p.wrap("ab")), [(0, "a"), (1, "b")], 2),
    "mux": (
        lambda p: p.wrap(range(3)).mux(p.wrap("abcd"), p.wrap((7, 8))),
        [0, "a", 7, 1, "b", 8],
        6,
    ),
    "sampler": (lambda p: p.iter.Sampler(p.wrap("abc")), [0, 1, 2], 3),
    "shards": (lambda p: p.wrap(range(5)).sharding_filter(), [0, 1, 2, 3, 4], 5),
    "no shuffling": (lambda p: p.wrap(range(5)).shuffle().set_shuffle(False), [0, 1, 2, 3, 4], 5),
    "seeded": (
        lambda p: p.wrap(range(20)).shuffle(buffer_size=4).set_seed(3),
        [1, 4, 2, 3, 0, 8, 7, 6, 5, 12, 10, 14, 15, 13, 17, 18, 16, 11, 9, 19],
        20,
    ),
    "batches shuffled": (
        lambda p: p.wrap([[1, 2], [3]]).shuffle(unbatch_level=1).set_seed(1),
        [1, 2, 3],
        None,
    ),
    "fork of one": (lambda p: p.wrap(range(3)).fork(1), [0, 1, 2], 3),
    "a class": (lambda p: p.wrap(range(5)).demux(2, parity)[1], [1, 3], None),
    "a class without the zero": (
        lambda p: p.wrap(range(5)).demux(2, no_zero, drop_none=True)[0],
        [2, 4],
        None,
    ),
    "keys": (lambda p: p.seq(range(3)).map(lambda x: x * 2), [0, 2, 4], 3),
    "batches of keys": (lambda p: p.seq(range(5)).batch(2), [[0, 1], [2, 3], [4]], 3),
    "full batches of keys": (
        lambda p: p.seq(range(5)).batch(2, drop_last=True),
        [[0, 1], [2, 3]],
        2,
    ),
    "keys one after the other": (
        lambda p: p.seq(range(2)).concat(p.seq("ab")),
        [0, 1, "a", "b"],
        4,
    ),
    "keys side by side": (lambda p: p.seq(range(2)).zip(p.seq("abc")), [(0, "a"), (1, "b")], 2),
    "keys shuffled": (
        lambda p: p.seq(range(9)).shuffle().set_seed(5),
        [2, 3, 1, 0, 8, 7, 6, 5, 4],
        9,
    ),
    "some keys in order": (
        lambda p: p.seq("abc").shuffle(indices=[2, 0]).set_shuffle(False),
        ["c", "a"],
        3,
    ),
}

REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "no function": (lambda p: p.wrap("a").map(1), TypeError, "callable function is expected"),
    "too many parameters": (
        lambda p: p.wrap("a").map(operator.add, input_col=0),
        ValueError,
        "takes 2 positional parameters, but 1",
    ),
    "keywords only": (
        lambda p: p.wrap("a").map(lambda x, *, y: x, input_col=0),
        ValueError,
        "keyword-only",
    ),
    "output alone": (lambda p: p.wrap("a").map(str, output_col=0), ValueError, "`output_col`"),
    "two outputs": (
        lambda p: p.wrap("a").map(str, input_col=0, output_col=[0, 1]),
        ValueError,
        "single-element",
    ),
    "no bool": (lambda p: list(p.wrap("a").filter(str)), ValueError, "Boolean output"),
    "batch of none": (lambda p: p.wrap("a").batch(0), AssertionError, "larger than 0"),
    "buffer of none": (lambda p: p.wrap("a").shuffle(buffer_size=0), AssertionError, "larger"),
    "too deep": (lambda p: list(p.wrap([1]).unbatch()), IndexError, "exceeds the depth"),
    "wrong depth": (lambda p: list(p.wrap([1]).unbatch(-2)), ValueError, "-1 or >= 0"),
    "group too large": (
        lambda p: p.wrap("a").groupby(ord, buffer_size=2, group_size=3),
        AssertionError,
        "group_size must be > 0 and <= buffer_size",
    ),
    "guaranteed without a size": (
        lambda p: p.wrap("a").groupby(ord, guaranteed_group_size=1),
        AssertionError,
        "group_size must be set",
    ),
    "groups too small": (
        lambda p: list(p.wrap("abc").groupby(ord, buffer_size=2, group_size=2)),
        RuntimeError,
        "Failed to group items",
    ),
    "nothing to put together": (lambda p: p.iter.Concater(), ValueError, "at least one"),
    "no pipe": (lambda p: p.wrap("a").concat([1]), TypeError, "IterDataPipe"),
    "no pipe beside it": (lambda p: p.wrap("a").zip([1]), TypeError, "IterDataPipe"),
    "no keys": (lambda p: p.seq("a").concat(p.wrap("a")), TypeError, "MapDataPipe"),
    "a sampler without a length": (
        lambda p: p.iter.Sampler(p.wrap("a").filter(bool)),
        AssertionError,
        "`__len__`",
    ),
    "fork into none": (lambda p: p.wrap("a").fork(0), ValueError, "larger than 0"),
    "a copy of another kind": (lambda p: p.wrap("a").fork(2, copy="x"), ValueError, "Unknown copy"),
    "a small buffer": (
        lambda p: list(p.wrap("abc").fork(2, buffer_size=2)[0]),
        BufferError,
        "buffer size 2 is insufficient",
    ),
    "a small buffer of classes": (
        lambda p: list(p.wrap(range(9)).demux(2, parity, buffer_size=2)[0]),
        BufferError,
        "buffer size 2 is insufficient",
    ),
    "no such class": (lambda p: list(p.wrap("a").demux(2, ord)[0]), ValueError, "between 0 and 1"),
    "class None": (
        lambda p: list(p.wrap([0]).demux(2, no_zero)[0]),
        ValueError,
        "None is returned",
    ),
    "beyond the end": (lambda p: p.seq("ab").concat(p.seq("c"))[3], IndexError, "out of range"),
    "beyond the batches": (lambda p: p.seq("ab").batch(2)[1], IndexError, "out of bound"),
    "beyond one": (lambda p: p.seq("ab").zip(p.seq("a"))[1], IndexError, "one of the input"),
    "no such method": (lambda p: p.wrap("a").nothing, AttributeError, "no attribute 'nothing"),
    "a name again": (
        lambda p: p.data.functional_datapipe("map")(p.iter.Filter),
        Exception,
        "already taken",
    ),
    "a class that is no pipe": (
        lambda p: p.data.non_deterministic(int),
        TypeError,
        "Only `IterDataPipe` can be decorated",
    ),
    "a decorated method": (
        lambda p: p.data.runtime_validation(parity),
        TypeError,
        "runtime_validation",
    ),
    "shards": (lambda p: p.wrap("a").sharding_filter().apply_sharding(2, 2), ValueError, "smaller"),
    "shards of shards": (
        lambda p: p.graph_settings.apply_sharding(
            p.wrap("a").sharding_filter().map(str).sharding_filter(), 2, 0
        ),
        RuntimeError,
        "Sharding twice",
    ),
    "no graph": (lambda p: p.graph.traverse_dps([1]), RuntimeError, "Expected `IterDataPipe`"),
    "a mode": (lambda p: p.wrap("a").open_files("w"), ValueError, "Invalid mode"),
    "an encoding of bytes": (lambda p: p.wrap("a").open_files("b", "utf8"), ValueError, "encoding"),
    "no name": (lambda p: list(p.wrap([1]).open_files()), TypeError, "pathname"),
}


@pytest.mark.parametrize("name", ROWS)
def test_samples(p: SimpleNamespace, name: str) -> None:
    make, samples, length = ROWS[name]
    pipe = make(p)
    assert list(pipe) == samples
    if length is not None:
        assert len(pipe) == length
    else:
        with pytest.raises(TypeError):
            len(pipe)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(p: SimpleNamespace, name: str) -> None:
    call, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        call(p)


def test_passes(p: SimpleNamespace) -> None:
    source = p.wrap(range(6))
    pipe = source.shuffle(buffer_size=2).map(str)
    assert sorted(pipe) == sorted(pipe) == list("012345")
    assert repr(pipe) == str(pipe) == "MapperIterDataPipe"
    assert {"map", "fork", "sharding_filter"} <= set(dir(pipe))
    assert pipe._number_of_samples_yielded == 6
    first = iter(pipe)
    next(first)
    second = iter(pipe)
    next(second)
    with pytest.raises(RuntimeError, match="This iterator has been invalidated"):
        next(first)


def test_an_iterator_that_is_the_pipe(p: SimpleNamespace) -> None:
    class Count(p.data.IterDataPipe):
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            self.n += 1
            if self.n > 3:
                raise StopIteration
            return self.n

        def reset(self) -> None:
            self.n = 0

    pipe = Count()
    assert list(pipe) == list(pipe) == [1, 2, 3]
    old = iter(pipe)
    iter(pipe)
    with pytest.raises(RuntimeError, match="invalidated"):
        next(old)
    assert pipe._number_of_samples_yielded == 0


def test_an_error_names_the_pipe(p: SimpleNamespace) -> None:
    pipe = p.wrap("ab").map(int)
    with pytest.raises(ValueError, match=r"literal(.|\n)*__iter__ of MapperIterDataPipe\(.*fn="):
        list(pipe)


def test_forks(p: SimpleNamespace) -> None:
    one, two = p.wrap([[0], [1], [2]]).fork(2)
    assert len(one) == 3 and [a is b for a, b in zip(one, two)] == [True] * 3
    copied = p.wrap([[0], [1]]).fork(2, copy="deep")
    assert [a is b for a, b in zip(*copied)] == [False] * 2
    a, b = iter(one), iter(two)
    assert next(a) == [0] == next(b)
    with pytest.warns(UserWarning, match="Some child DataPipes are not exhausted"):
        again = iter(one)
        next(again)
    with pytest.raises(RuntimeError, match="invalidated"):
        next(b)
    assert list(two) == [[0], [1], [2]] and next(again) == [1]
    with pytest.warns(UserWarning, match="Unlimited buffer size"):
        p.wrap("a").fork(2, buffer_size=-1)


def test_classes(p: SimpleNamespace) -> None:
    evens, odds = p.wrap(range(7)).demux(2, parity)
    assert list(evens) == [0, 2, 4, 6] and list(odds) == [1, 3, 5]
    assert list(odds) == [1, 3, 5] and list(evens) == [0, 2, 4, 6]
    with pytest.raises(TypeError):
        len(evens)


def test_pipes_are_pickled(p: SimpleNamespace) -> None:
    fork = p.wrap(range(5)).map(str).fork(2)
    pipes = [*fork, *p.wrap(range(4)).demux(2, parity), p.wrap(range(9)).batch(2)]
    pipes += [p.wrap("aba").groupby(ord), p.wrap("a").mux(p.wrap("b")), p.seq("ab").map(ord)]
    for pipe, again in zip(pipes, pickle.loads(pickle.dumps(pipes))):
        assert sorted(map(repr, again)) == sorted(map(repr, pipe))
    dumped = pickle.loads(pickle.dumps(p.seq(range(9)).shuffle().set_seed(1)))
    assert list(dumped) == list(p.seq(range(9)).shuffle().set_seed(1))


def test_own_pipes(p: SimpleNamespace) -> None:
    name = f"twice_{p.data.__name__.partition('.')[0]}"

    @p.data.functional_datapipe(name)
    class Twice(p.data.IterDataPipe):
        """All samples twice."""

        def __init__(self, source: Any) -> None:
            self.source = source

        def __iter__(self) -> Iterator[Any]:
            for x in self.source:
                yield from (x, x)

    try:
        assert list(getattr(p.wrap("ab"), name)()) == list("aabb")
        assert getattr(p.wrap("ab"), name).__doc__ == "All samples twice."
        assert issubclass(p.data.IterDataPipe, p.data.IterableDataset)
        assert p.data.DFIterDataPipe()._is_dfpipe()
    finally:
        del p.data.IterDataPipe.functions[name]


def test_decorators(p: SimpleNamespace) -> None:
    @p.data.non_deterministic
    class Always(p.data.IterDataPipe):
        pass

    @p.data.non_deterministic(lambda x: x > 0)
    class Sometimes(p.data.IterDataPipe):
        def __init__(self, x: int) -> None:
            self.x = x

    Always()
    with p.data.guaranteed_datapipes_determinism():
        assert Sometimes(0).x == 0
        for make in (Always, functools.partial(Sometimes, 1)):
            with pytest.raises(TypeError, match="is non-deterministic"):
                make()
    assert Sometimes(1).x == 1


def test_validation() -> None:
    @data.argument_validation
    def count(pipe: data.IterDataPipe, n: int) -> int:
        return len(list(pipe)) + n

    class Numbers(data.IterDataPipe):
        def __init__(self, values: list) -> None:
            self.values = values

        @data.runtime_validation
        def __iter__(self) -> Iterator[int]:
            yield from self.values

    assert count(Numbers([1, 2]), 1) == 3
    with pytest.raises(TypeError, match="Expected argument 'pipe' as a IterDataPipe"):
        count([1], 1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="Expected an instance as subtype of <class 'int'>"):
        list(Numbers([1, "a"]))
    with data.runtime_validation_disabled():
        assert list(Numbers(["a"])) == ["a"]


def test_chunks(p: SimpleNamespace) -> None:
    chunk = p.data.DataChunk(iter("ab"))
    assert chunk == list("ab") == chunk.items == list(chunk.raw_iterator())
    assert chunk.as_str("> ") == "> [a, b]"


def test_files(p: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "in" / "c.json").write_text('{"n": 3}')
    (tmp_path / "in" / "d.cls").write_text("4")
    (tmp_path / "in" / "e.id").write_bytes(b"5")
    names = p.iter.FileLister(str(tmp_path), "*.txt")
    assert [Path(n).name for n in names] == ["a.txt", "b.txt"]
    with pytest.raises(TypeError, match="valid length"):
        len(names)
    texts = names.open_files().read_from_stream(chunk=2)
    assert [text for _, text in texts] == ["on", "e", "tw", "o"]
    masks = ["*.json", "*.cls", "*.id"]
    every = p.wrap([str(tmp_path)]).list_files(masks, recursive=True, length=2)
    assert len(every) == 2
    with pytest.warns(FutureWarning, match=r"routed_decode\(\)` are"):
        decoded = every.open_files("b").routed_decode()
    assert [value for _, value in decoded] == [{"n": 3}, 4, 5]


def test_decoders() -> None:
    """PyTorch takes a `.pt` for text."""
    import tritorch
    from tritorch.utils.data.datapipes.utils import decoder

    file = io.BytesIO()
    tritorch.save(tritorch.arange(3), file)
    picture = b"P6 2 1 255 " + bytes(range(1, 7))
    decode = decoder.Decoder(decoder.basichandlers, decoder.imagehandler("torchrgb8"))
    decode.add_handler(decoder.handle_extension("seg.ppm npy", len))
    found = decode([("a.pt", file.getvalue()), ("b.PPM", picture), ("_c", b"x"), ("d.npy", b"abc")])
    assert found["a.pt"].tolist() == [0, 1, 2]
    assert found["b.PPM"].tolist() == [[[1, 4]], [[2, 5]], [[3, 6]]]
    assert found["_c"] == "x" and found["d.npy"] == 3
    assert decode(("e.ppm", picture))["e.ppm"].shape == (3, 1, 2)
    grey = decoder.imagehandler("l8")("ppm", picture)
    assert grey.shape == (1, 2) and decoder.imagehandler("pil")("txt", b"") is None


def test_streams_close_themselves(p: SimpleNamespace) -> None:
    wrapped = p.common.StreamWrapper
    streams = [io.StringIO(text) for text in "abc"]
    kept = list(
        p.wrap([(s.getvalue(), wrapped(s)) for s in streams], deepcopy=False).filter(
            lambda pair: pair[0] == "b"
        )
    )
    assert [s.closed for s in streams] == [True, False, True]
    assert kept[0][1].read() == "b" and repr(kept[0][1]).startswith("StreamWrapper<")
    archive = wrapped(io.StringIO(), name="archive")
    parts = [wrapped(io.StringIO(), archive) for _ in range(2)]
    archive.autoclose()
    parts[0].close()
    assert not archive.closed
    parts[1].close()
    assert archive.closed and archive.file_obj.closed


def test_graphs(p: SimpleNamespace) -> None:
    source = p.wrap(range(4))
    left, right = source.fork(2)
    pipe = left.map(lambda x: x).zip(right.shuffle())
    graph = p.graph.traverse_dps(pipe)
    every = p.graph_settings.get_all_graph_pipes(graph)
    assert len(every) == 7 and every[0] is pipe and source in every
    shuffler = next(x for x in every if hasattr(x, "set_seed") and "_rng" in vars(x))
    p.graph_settings.apply_shuffle_settings(pipe, False)
    assert list(pipe) == [(i, i) for i in range(4)]
    p.graph_settings.apply_shuffle_settings(pipe, True)
    assert shuffler._enabled
    with pytest.warns(FutureWarning, match="traverse_dps"):
        assert set(p.graph.traverse(source)) == {id(source)}


def test_priorities(p: SimpleNamespace) -> None:
    kind = importlib.import_module(f"{p.iter.__name__}.sharding").SHARDING_PRIORITIES
    pipe = p.wrap(range(12)).sharding_filter()
    pipe.apply_sharding(2, 1, kind.DISTRIBUTED)
    pipe.apply_sharding(3, 2, kind.MULTIPROCESSING)
    assert list(pipe) == [5, 11] and len(pipe) == 2
    with pytest.raises(RuntimeError, match="cannot mix"):
        pipe.apply_sharding(2, 1)


def test_a_pipe_goes_on_where_it_was(lib: ModuleType, p: SimpleNamespace) -> None:
    restore = importlib.import_module(f"{p.data.__name__}.datapipes.utils.snapshot")
    restore = restore._simple_graph_snapshot_restoration
    pipe = p.wrap(range(9)).shuffle().map(str)
    rng = lib.Generator()
    p.graph_settings.apply_random_seed(pipe, rng.manual_seed(3))
    whole = list(pipe)
    restore(pipe, 4, rng.manual_seed(3))
    with pytest.raises(RuntimeError, match="Snapshot restoration cannot be applied"):
        restore(pipe, 4)
    assert list(pipe) == whole[4:] and len(list(pipe)) == 9
    with pytest.raises(RuntimeError, match="exceeds the number of samples"):
        restore(p.wrap("ab"), 3)


def loaded(loader: Any) -> list:
    return [b.tolist() if hasattr(b, "tolist") else b for b in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(lib: ModuleType, p: SimpleNamespace, workers: int) -> None:
    load = functools.partial(p.data.DataLoader, num_workers=workers)
    assert sorted(loaded(load(p.wrap(range(7)).sharding_filter(), None))) == list(range(7))
    assert loaded(load(p.seq(range(4)).map(str), None)) == list("0123")
    pipe = p.wrap(range(40)).shuffle().sharding_filter()
    loader = load(pipe, batch_size=None)
    assert len(loader) == 40
    lib.manual_seed(1)
    first, second = loaded(loader), loaded(loader)
    assert sorted(first) == sorted(second) == list(range(40)) and first != second
    lib.manual_seed(1)
    assert loaded(loader) == first
    assert sorted(loaded(load(pipe, batch_size=None, shuffle=False))) == list(range(40))
    assert not pipe.source_datapipe._enabled


def test_orders_do_not_depend_on_the_number_of_workers(p: SimpleNamespace) -> None:
    pipe = p.wrap(range(12)).shuffle().sharding_filter()
    lib = importlib.import_module(p.data.__name__.partition(".")[0])
    orders = []
    for workers in (0, 2, 1):
        lib.manual_seed(7)
        orders.append(loaded(p.data.DataLoader(pipe, batch_size=None, num_workers=workers)))
    assert orders[0] == orders[1] == orders[2] == orders[0]


def test_a_loader_shuffles_where_no_pipe_does() -> None:
    """PyTorch warns and leaves the order as it is."""
    from tritorch.utils.data import DataLoader
    from tritorch.utils.data.datapipes.iter import IterableWrapper

    pipe = IterableWrapper(range(50))
    with pytest.warns(UserWarning, match="does not contain a `Shuffler`"):
        loader = DataLoader(pipe, batch_size=None, shuffle=True)
    assert sorted(loader) == list(range(50)) != list(loader)
    with pytest.raises(ValueError, match="unspecified sampler"):
        DataLoader(pipe, sampler=[1])
    random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(DataLoader(pipe, batch_size=25, collate_fn=sum)) == [300, 925]


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_get_their_parts_of_one_order(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tritorch import distributed
    from tritorch.utils.data.datapipes.iter import IterableWrapper

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "broadcast", lambda seed, src: seed.fill_(11))
    parts = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        pipe = IterableWrapper(range(12)).shuffle().sharding_filter()
        parts.append(list(data.DataLoader(pipe, batch_size=None, num_workers=workers)))
    assert list(map(len, parts)) == [6, 6] and sorted(parts[0] + parts[1]) == list(range(12))
    assert parts[0] != sorted(parts[0])
