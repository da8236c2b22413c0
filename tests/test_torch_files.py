"""PyTorch's own checkpoints: what is in them, and what damaged and hostile ones come to."""

from __future__ import annotations

import io
import os
import pickle
import random
import time
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_file import Call, Id, Name, archive, encode, pickled, row, storage, tensor

import tritorch as torch
from tritorch import models, nn
from tritorch.serialization import CheckpointError, load, save

FLOATS, LONGS = np.arange(12, dtype=np.float32), np.arange(3)


def state(old: bool = False) -> Call:
    """A state dict as PyTorch pickles it."""
    floats = storage("0", FLOATS, old=old)
    items = [
        ("w", tensor(floats, (3, 4), (4, 1))),
        ("t", tensor(floats, (4, 3), (1, 4))),
        ("part", tensor(floats, (2,), (5,), 3)),
        ("scalar", tensor(floats, (), (), 7)),
        ("empty", tensor(floats, (0, 3), (3, 1))),
        ("wide", tensor(floats, (2, 5), (0, 0), 1)),
        ("grad", tensor(floats, (12,), (1,), 0, True)),
        ("steps", tensor(storage("1", LONGS, old=old), (3,), (1,))),
    ]
    metadata = Call(Name("collections", "OrderedDict"), ([("", {"version": 1})],))
    return Call(Name("collections", "OrderedDict"), (items,), {"_metadata": metadata})


def zipped(x: Any) -> bytes:
    return archive(pickled(x), {"0": FLOATS.tobytes(), "1": LONGS.tobytes()})


def read(content: bytes, **kwargs: Any) -> Any:
    return load(io.BytesIO(content), **kwargs)


@pytest.fixture(params=["archive", "archive, mapped", "row"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    old = request.param == "row"
    path = tmp_path / "model.pt"
    content = row(pickled(state(True)), {"0": FLOATS, "1": LONGS}) if old else zipped(state())
    path.write_bytes(content)
    return load(path, mmap=request.param == "archive, mapped")


def test_tensors_are_what_they_were(loaded: Any) -> None:
    assert type(loaded) is OrderedDict and list(loaded)[:2] == ["w", "t"]
    assert loaded._metadata == OrderedDict({"": {"version": 1}})
    assert loaded["w"].tolist() == FLOATS.reshape(3, 4).tolist()
    assert loaded["t"].stride() == (1, 4) and (loaded["t"] == loaded["w"].t()).all()
    assert loaded["part"].tolist() == [3, 8] and loaded["part"].storage_offset() == 3
    assert loaded["scalar"].shape == () and loaded["scalar"] == 7
    assert loaded["empty"].shape == (0, 3) and loaded["wide"].tolist() == [[1] * 5] * 2
    assert loaded["steps"].dtype is torch.int64 and loaded["steps"].tolist() == [0, 1, 2]
    assert loaded["grad"].requires_grad and not loaded["w"].requires_grad
    assert all(t.device == torch.device("cpu") for t in loaded.values() if torch.is_tensor(t))
    np.testing.assert_array_equal(loaded["w"].numpy(), FLOATS.reshape(3, 4))
    loaded["w"].fill_(5)
    assert loaded["part"].tolist() == [5, 5] and loaded["t"]._version == loaded["w"]._version == 1


VALUES = [
    *(None, True, 3, -(1 << 70), 1.5, "é\0", [], (), {}, [1, [2, (3,)]], {1: "x", (2, 3): 4.0}),
]
NUMPY = Name("numpy.core.multiarray", "_reconstruct"), Name("numpy", "ndarray")
F8 = Call(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0))
BYTES = Name("_codecs", "encode")
OBJECTS: list[tuple[Any, Any]] = [
    (Name("torch", "float16"), torch.float16),
    (Name("torch", "strided"), torch.strided),
    (Call(Name("torch", "Size"), ((2, 3),)), torch.Size([2, 3])),
    (Call(Name("torch", "device"), ("cuda", 1)), torch.device("cuda", 1)),
    (Call(BYTES, ("\0ÿ", "latin1")), b"\0\xff"),
    (Call(Name("__builtin__", "bytearray"), ("\0ÿ", "latin-1")), bytearray(b"\0\xff")),
    (Call(Name("__builtin__", "complex"), (1.0, 2.0)), 1 + 2j),
    (Call(Name("__builtin__", "set"), ([1, 2],)), {1, 2}),
    (Call(Name("builtins", "frozenset"), ([3],)), frozenset({3})),
    (Call(Name("collections", "Counter"), ({3: 2},)), Counter([3, 3])),
    (Call(Name("collections", "defaultdict"), (Name("builtins", "list"),)), defaultdict(list)),
    (Call(Name("numpy.core.multiarray", "scalar"), (F8, Call(BYTES, ("\0" * 8, "latin1")))), 0.0),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(value: Any, protocol: int) -> None:
    out = read(archive(pickle.dumps({"x": [value]}, protocol), {}))["x"][0]
    assert out == value and type(out) is type(value)


@pytest.mark.parametrize(("made", "value"), OBJECTS, ids=[repr(v) for _, v in OBJECTS])
def test_objects_that_checkpoints_hold(made: Any, value: Any) -> None:
    out = read(archive(pickled([made]), {}))[0]
    assert out == value and isinstance(out, type(value))


def test_arrays_of_numpy() -> None:
    raw = Call(BYTES, (np.arange(6.0).tobytes().decode("latin1"), "latin1"))
    made = Call(NUMPY[0], (NUMPY[1], (0,), raw), (1, (2, 3), F8, True, raw))
    out = read(archive(pickled(made), {}))
    assert out.dtype == np.float64 and out.tolist() == [[0, 2, 4], [1, 3, 5]]
    wrong = Call(NUMPY[0], (NUMPY[1], (0,), raw), (1, (1 << 40, 3), F8, False, raw))
    with pytest.raises(CheckpointError, match="wrong size"):
        read(archive(pickled(wrong), {}))


def test_parameters_and_devices() -> None:
    weight = tensor(storage("0", FLOATS, "cuda:3"), (12,), (1,))
    kind = Name("torch._utils", "_rebuild_parameter")
    content = zipped(
        {"p": Call(kind, (weight, True, Call(Name("collections", "OrderedDict"), ())))}
    )
    places = []
    out = read(content, map_location=lambda t, where: places.append(where))
    assert type(out["p"]) is nn.Parameter and out["p"].requires_grad and places == ["cuda:3"]
    assert read(content, map_location="cpu")["p"].device.type == "cpu"
    assert read(content, map_location={"cuda:3": "meta"})["p"].is_meta
    with pytest.raises(RuntimeError, match="on a CUDA device but there is none"):
        read(content)
    of_type = Name("torch._tensor", "_rebuild_from_type_v2")
    made = tensor(storage("0", FLOATS), (12,), (1,))
    args = (made.fn, Name("torch.nn.parameter", "Parameter"), made.args, {"name": "x"})
    assert type(read(zipped(Call(of_type, args)))) is nn.Parameter


def test_weights_of_a_network(tmp_path: Path) -> None:
    net = models.MLP([3, 4])
    w, b = (np.random.default_rng(0).random(s, np.float32) for s in ((4, 3), 4))
    entries = {
        "module.0.weight": tensor(storage("0", w.reshape(-1)), (4, 3), (3, 1)),
        "module.0.bias": tensor(storage("1", b), (4,), (1,)),
    }
    path = tmp_path / "mlp.pth"
    content = pickled({"epoch": 3, "state_dict": entries})
    path.write_bytes(archive(content, {"0": w.tobytes(), "1": b.tobytes()}))
    models.load_weights(net, path)
    assert net[0].weight.tolist() == w.tolist() and net[0].bias.tolist() == b.tolist()


# -- hostile files ------------------------------------------------------------------------------

W = storage("0", FLOATS)


def of_shape(shape: Any, strides: Any, offset: Any = 0) -> bytes:
    args = (W, offset, shape, strides, False, Call(Name("collections", "OrderedDict"), ()))
    return zipped(Call(Name("torch._utils", "_rebuild_tensor_v2"), args))


def often(first: bytes, again: bytes, n: int, last: bytes = b"") -> bytes:
    return archive(b"\x80\x02" + first + again * n + last + b".", {})


def overlapping() -> bytes:
    """A thousand storages that are the same bytes of the file."""
    content = bytearray(zipped(None))
    ids = [Id(("storage", W.id[1], f"{i:04}", "cpu", 250_000)) for i in range(1000)]
    records = {f"{i:04}": bytes(0 if i else 1_000_000) for i in range(1000)}
    content = bytearray(archive(pickled(ids), records))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as out:
        first, start = out.getinfo("model/data/0000"), out.start_dir
    sizes = (first.CRC, 1_000_000, 1_000_000)
    at = content.find(b"PK\x01\x02", start)
    while at >= 0:
        n = int.from_bytes(content[at + 28 : at + 30], "little")
        if b"/data/" in content[at + 46 : at + 46 + n]:
            for place, value in zip((16, 20, 24), sizes):
                content[at + place : at + place + 4] = value.to_bytes(4, "little")
            content[at + 42 : at + 46] = first.header_offset.to_bytes(4, "little")
        at = content.find(b"PK\x01\x02", at + 46)
    return bytes(content)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a shape beyond the storage": (lambda: of_shape((13,), (1,)), "beyond its storage"),
    "a huge shape": (lambda: of_shape((1 << 40, 1 << 40), (1, 1)), "beyond its storage"),
    "a huge shape of no memory": (lambda: of_shape((1 << 40, 1 << 40), (0, 0)), "has the shape"),
    "an offset": (lambda: of_shape((1,), (1,), 12), "beyond its storage"),
    "a negative offset": (lambda: of_shape((1,), (1,), -1), "offset -1"),
    "a negative stride": (lambda: of_shape((2,), (-1,), 3), r"strides \(-1,\)"),
    "many dimensions": (lambda: of_shape((1,) * 100, (1,) * 100), "too many dimensions"),
    "a shape of strings": (lambda: of_shape(("a",), (1,)), "has shape"),
    "a larger storage": (
        lambda: zipped(tensor(Id((*W.id[:4], 1 << 50)), (1,), (1,))),
        "has 48 bytes, not",
    ),
    "a storage that is missing": (
        lambda: zipped(Id(("storage", W.id[1], "../0", "cpu", 12))),
        "'../0' is missing",
    ),
    "a zip bomb": (
        lambda: archive(pickled(W), {"0": bytes(1 << 24)}, zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    "overlapping storages": (overlapping, "larger than the file"),
    "deep lists": (lambda: often(b"", b"](", 100_000), "1000 deep"),
    "deep tuples as a key": (lambda: often(b"}K\1", b"\x85", 50, b"K\1s"), "long or nested"),
    "a memo that is empty": (lambda: often(b"h\5", b"", 0), "memo, which has none"),
    "copies of a list": (
        lambda: often(b"](" + b"K\1" * 9999 + b"e\x85q\0cbuiltins\nlist\nq\1((", b"h\1h\0R", 9999),
        "more objects than it has bytes",
    ),
    "a long integer": (lambda: often(b"\x8b\0\0\1\0" + bytes(1 << 16), b"", 0), "65536 bytes"),
    "a call of data": (lambda: archive(pickled(Call("x", ())), {}), "calls str"),
    "the state of data": (lambda: often(b"]}b", b"", 0), "sets the state of a list"),
    "nothing": (lambda: often(b"0", b"", 0), "no operand"),
    "an opcode of classes": (lambda: often(b"(c__main__\nX\no", b"", 0), "__main__.X"),
    "text opcodes": (lambda: often(b"I1\n", b"", 0), "INT makes no data"),
    "no pickle": (lambda: archive(b"", {}), "cut off"),
    "a device": (lambda: archive(pickled(Call(OBJECTS[3][0].fn, ("x:y",))), {}), "cannot be"),
    "another zip": (lambda: archive(b"", {}).replace(b"data.pkl", b"data.txt"), "none that torch"),
    "a script": (lambda: archive(pickled(1), {}, **{"constants.pkl": b""}), "TorchScript"),
    "big-endian": (lambda: archive(pickled(1), {}, byteorder=b"big"), "not little-endian"),
    "another pickle": (lambda: pickle.dumps({"a": 1}, 2) * 3, "none that torch.save wrote"),
    "a record elsewhere": (
        lambda: (
            zipped(state())
            .replace(b"PK\x03\x04", b"PK\x03\x05")
            .replace(b"PK\x03\x05", b"PK\x03\x04", 1)
        ),
        "where the archive says",
    ),
    "damaged values": (
        lambda: zipped(state()).replace(FLOATS.tobytes(), FLOATS[::-1].tobytes()),
        "model/data/0' is damaged",
    ),
    "integers with gradients": (
        lambda: zipped(tensor(storage("1", LONGS), (3,), (1,), 0, True)),
        "cannot require gradients",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str) -> None:
    content, words = HOSTILE[name][0](), HOSTILE[name][1]
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(content) + (1 << 21)
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 5


FUNCTIONS = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("subprocess", "Popen"),
    ("torch", "load"),
    ("torch.serialization", "load"),
    ("numpy", "load"),
    ("tritorch", "load"),
    ("torch.nn.modules.linear", "Linear"),
]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_nothing_else_is_ever_called(module: str, name: str, tmp_path: Path) -> None:
    made = Call(Name(module, name), (f"touch {tmp_path / 'executed'}",))
    named = b"\x80\x04" + encode(module) + encode(name) + b"\x93" + encode(made.args) + b"R."
    for content in (archive(pickled(made), {}), archive(named, {}), row(pickled(made), {})):
        with pytest.raises(CheckpointError, match=f"{module}.{name}, which is no data; save a"):
            read(content)
    assert not (tmp_path / "executed").exists()


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One or a few small things are changed."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, n = rng.randrange(len(out)), rng.randrange(1, 9)
        change = rng.randrange(6)
        if change == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[at : at + n] = rng.randbytes(n)
        elif change == 2:
            out[at : at + n] = b""
        elif change == 3:
            out[at:at] = rng.randbytes(n)
        elif change == 4:
            begin = rng.randrange(len(out))
            out[at : at + n] = out[begin : begin + n]
        elif rng.random() < 0.3:
            del out[at:]
        else:
            out[at : at + n] = rng.choice((b"\0", b"\xff", b"\x80")) * n
        if not out:
            return b"\0"
    return bytes(out)


def whole_files() -> list[Callable[[random.Random], bytes]]:
    """Files of every form, and ways to damage them: also behind the checksums."""
    saved = io.BytesIO()
    save({"x": torch.arange(20), "n": {"y": torch.ones(3, 3).t(), "z": 1.5}}, saved)
    from safetensors.numpy import save as plain_save

    plain = plain_save({"a": FLOATS, "b": LONGS})
    content, old = zipped(state()), row(pickled(state(True)), {"0": FLOATS, "1": LONGS})
    inner = pickled(state())
    storages = {"0": FLOATS.tobytes(), "1": LONGS.tobytes()}
    return [
        lambda rng: damaged(saved.getvalue(), rng),
        lambda rng: damaged(plain, rng),
        lambda rng: damaged(content, rng),
        lambda rng: damaged(old, rng),
        lambda rng: archive(damaged(inner, rng), storages),
    ]


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 1000), pytest.param(1, 10_000, marks=pytest.mark.slow)]
)
def test_damaged_files(seed: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read, or is a CheckpointError; nothing is run, and none takes long."""

    def never(*args: Any) -> None:
        raise AssertionError("code was run")

    monkeypatch.setattr(os, "system", never)
    monkeypatch.setattr(pickle, "loads", never)
    rng, kinds, refused = random.Random(seed), whole_files(), 0
    for i in range(count):
        content = kinds[i % len(kinds)](rng)
        begin = time.process_time()
        try:
            read(content, map_location="cpu")
        except CheckpointError:
            refused += 1
        assert time.process_time() - begin < 2
    assert refused > count * 0.7


# -- files of PyTorch's -------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["archive", "row"])
def test_files_that_pytorch_wrote(new: bool, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")

    def through(obj: Any) -> Any:
        oracle.save(obj, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        return load(tmp_path / "x.pt")

    names = (
        "uint8 uint16 uint32 uint64 int8 int16 int32 int64 bool float16 bfloat16 float32 float64"
    )
    for name in f"{names} float8_e4m3fn float8_e5m2 complex64 complex128".split():
        x = oracle.arange(24).view(4, 6).to(getattr(oracle, name))
        parts = {"x": x, "t": x.t(), "s": x[1:, ::2], "e": x[:0]}
        out = through(parts)
        for k, want in parts.items():
            assert out[k].dtype is getattr(torch, name) and out[k].stride() == want.stride()
            assert out[k].shape == want.shape
            values = want.to(oracle.complex128).numpy()
            np.testing.assert_array_equal(out[k].to(torch.complex128).numpy(), values, name)
        assert out["x"].data_ptr() == out["t"].data_ptr() == out["s"].data_ptr() - 6 * x.itemsize


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["archive", "row"])
def test_pytorch_reads_what_we_write(new: bool, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")

    def through(obj: Any, **how: Any) -> Any:
        torch.save(obj, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        return oracle.load(tmp_path / "x.pt", **how)

    names = (
        "uint8 uint16 uint32 uint64 int8 int16 int32 int64 bool float16 bfloat16 float32 float64"
    )
    for name in f"{names} float8_e4m3fn float8_e5m2 complex64 complex128".split():
        if not new and (name.startswith("float8") or name in ("uint16", "uint32", "uint64")):
            continue  # PyTorch does not read what it writes of these in a row
        x = torch.arange(24).view(4, 6).to(getattr(torch, name))
        parts = {"x": x, "t": x.t(), "s": x[1:, ::2], "e": x[:0].clone()}
        out = through(parts)
        for k, want in parts.items():
            assert out[k].dtype is getattr(oracle, name) and out[k].shape == want.shape
            assert out[k].stride() == want.stride()
            values = want.to(torch.complex128).numpy()
            np.testing.assert_array_equal(out[k].to(oracle.complex128).numpy(), values, name)
        assert out["x"].data_ptr() == out["t"].data_ptr() == out["s"].data_ptr() - 6 * x.itemsize
    if new:
        base = torch.arange(6, dtype=torch.int32)
        views = {"bytes": base.view(torch.uint8)[1:], "floats": base.view(torch.float32)}
        out = through({"ints": base, **views})
        out["ints"].fill_(-1)
        assert out["bytes"].tolist() == [255] * 23 and out["floats"].isnan().all()
    same(PLAIN, through(PLAIN))
    arrays = through({"a": np.arange(3), "n": np.float32(0.5)}, weights_only=False)
    assert arrays["a"].tolist() == [0, 1, 2] and arrays["n"] == 0.5
    same(through({"m": torch.ones(2, 3, device="meta")})["m"].is_meta, True)


class Settings:
    """What a program keeps beside its weights."""

    def __init__(self) -> None:
        self.rate = 0.1


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["archive", "row"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")
def test_objects_that_pytorch_wrote(new: bool, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    net = oracle.nn.Sequential(
        oracle.nn.Conv2d(1, 2, 3, padding=1),
        oracle.nn.BatchNorm2d(2),
        oracle.nn.ReLU(),
        oracle.nn.Flatten(),
        oracle.nn.LSTM(18, 3),
    ).eval()
    path = tmp_path / "x.pt"
    saved = {"net": net, "settings": Settings()}
    oracle.save(saved, path, _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match="Weights only load failed"):
        load(path)
    with pytest.raises(pickle.UnpicklingError, match="weights_only=False"):
        load(path)
    found = load(path, weights_only=False)
    assert found["settings"].rate == 0.1 and type(found["net"]) is nn.Sequential
    x = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    out, expected = found["net"](torch.from_numpy(x))[0], net(oracle.from_numpy(x))[0]
    np.testing.assert_allclose(out.detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    oracle.save([Settings()], path, _use_new_zipfile_serialization=new)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == [f"{__name__}.Settings"]
    with torch.serialization.safe_globals([Settings]):
        assert load(path)[0].rate == 0.1


@pytest.mark.oracle
def test_files_without_checksums(tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    oracle.serialization.set_crc32_options(False)
    try:
        oracle.save(oracle.ones(3), tmp_path / "x")
    finally:
        oracle.serialization.set_crc32_options(True)
    assert load(tmp_path / "x").tolist() == [1, 1, 1]


def test_checksums_may_be_left_unread(tmp_path: Path) -> None:
    file = io.BytesIO()
    save(torch.zeros(4, dtype=torch.uint8), file)
    content = bytearray(file.getvalue())
    content[content.index(b"archive/data/0") + 64 : -1].index(0)
    start = content.index(b"Z\0\0\0\0") + 1
    content[start] = 7
    with pytest.raises(CheckpointError, match="checksum"):
        load(io.BytesIO(content))
    torch.serialization.set_crc32_options(False)
    try:
        assert load(io.BytesIO(content)).tolist() == [7, 0, 0, 0]
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.serialization.get_crc32_options()


def test_maps_may_be_shared(tmp_path: Path) -> None:
    import mmap

    save(torch.zeros(4), tmp_path / "x")
    with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
        load(tmp_path / "x", mmap=True).fill_(1)
    load(tmp_path / "x", mmap=True).fill_(2)
    assert load(tmp_path / "x", mmap=True).tolist() == [1] * 4
    with pytest.raises(ValueError, match="Invalid argument"):
        torch.serialization.set_default_mmap_options(0)
    assert torch.serialization.get_default_mmap_options() == mmap.MAP_PRIVATE


def test_locations() -> None:
    file = io.BytesIO()
    save(torch.ones(2), file)
    back = torch.serialization.default_restore_location
    kinds = ["meta", torch.device("meta"), {"cpu": "meta"}, lambda x, at: back(x, "meta")]
    for where in kinds:
        assert load(io.BytesIO(file.getvalue()), where).is_meta
    assert load(io.BytesIO(file.getvalue()), lambda x, at: None).tolist() == [1, 1]


PLAIN = {
    "numbers": [None, True, 3, -(1 << 70), 1.5, 1 + 2j, float("inf")],
    ("a", 1): ("é", b"\0\xff", {1, 2}, [], (), {}),
    "ordered": OrderedDict(b=1, a=OrderedDict()),
}


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["archive", "row"])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "LBFGS", "Adafactor", "Rprop"])
def test_pytorch_goes_on_from_our_state_of_training(kind: str, new: bool, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")

    def parts(lib: Any) -> tuple[Any, Any, Any]:
        net = lib.nn.Sequential(lib.nn.Linear(3, 4, bias=False), lib.nn.BatchNorm1d(4))
        settings = {"momentum": 0.9} if kind == "SGD" else {}
        step = getattr(lib.optim, kind)(net.parameters(), **settings)
        return net, step, lib.optim.lr_scheduler.MultiStepLR(step, [1, 2])

    def go(lib: Any, net: Any, step: Any, schedule: Any) -> None:
        def loss() -> Any:
            step.zero_grad()
            out = net(lib.arange(12.0).view(4, 3).sin() * 2).pow(3).sum()
            out.backward()
            return out

        step.step(loss)
        schedule.step()

    ours, theirs = parts(torch), parts(oracle)
    go(torch, *ours)
    states = [part.state_dict() for part in ours]
    torch.save([*states, ours[0][0].weight], tmp_path / "x", _use_new_zipfile_serialization=new)
    *found, weight = oracle.load(tmp_path / "x")
    assert type(weight) is oracle.nn.Parameter and weight.requires_grad
    assert found[0]._metadata == states[0]._metadata
    for part, state in zip(theirs, found):
        part.load_state_dict(state)
    go(torch, *ours)
    go(oracle, *theirs)
    for name, value in ours[0].state_dict().items():
        expected = theirs[0].state_dict()[name]
        np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["archive", "row"])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "LBFGS", "Adafactor", "Rprop"])
def test_state_of_training_that_pytorch_wrote(kind: str, new: bool, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")

    def parts(lib: Any) -> tuple[Any, Any, Any]:
        net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4))
        settings = {"momentum": 0.9} if kind == "SGD" else {}
        step = getattr(lib.optim, kind)(net.parameters(), **settings)
        return net, step, lib.optim.lr_scheduler.MultiStepLR(step, [1, 2])

    net, step, schedule = parts(oracle)
    for _ in range(2):

        def loss() -> Any:
            step.zero_grad()
            out = net(oracle.ones(2, 3)).square().sum()
            out.backward()
            return out

        step.step(loss)
        schedule.step()
    saved = {
        "net": net.state_dict(),
        "step": step.state_dict(),
        "schedule": schedule.state_dict(),
        "parameter": net[0].weight,
        "rng": oracle.get_rng_state(),
    }
    oracle.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    found = load(tmp_path / "x.pt")
    assert type(found["parameter"]) is nn.Parameter
    same(saved, {**found})
    for part, name in zip(parts(torch), ("net", "step", "schedule")):
        part.load_state_dict(found[name])


def same(a: Any, b: Any) -> None:
    if hasattr(a, "detach"):
        assert a.requires_grad == b.requires_grad and a.shape == b.shape
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, dict):
        assert type(a) is type(b) and list(a) == list(b)
        assert getattr(a, "_metadata", None) == getattr(b, "_metadata", None)
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b or a != a
