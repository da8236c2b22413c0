"""Saving and loading: structures, sharing, dtypes, damage, and what happens when it is killed."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import nn, serialization
from tritorch.serialization import CheckpointError, load, save


def again(obj: Any, **kwargs: Any) -> Any:
    file = io.BytesIO()
    save(obj, file)
    return load(io.BytesIO(file.getvalue()), **kwargs)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        a, b = a.detach(), b.detach()
        equal = a._data.tobytes() == b._data.tobytes()
        return a.dtype is b.dtype and a.shape == b.shape and a.stride() == b.stride() and equal
    if isinstance(a, dict):
        return type(b) is type(a) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


VALUES: list[Any] = [
    *(None, True, 3, -(1 << 70), 1.5, float("nan"), float("-inf"), 1 + 2j, "é\0", b"\0\xff"),
    *(torch.float16, torch.bool, torch.device("cuda", 1), torch.Size([2, 3])),
    *([], (), {}, [1, [2, (3,)]], {"a": {"b": [None]}}, {1: "x", (2, 3): 4.0, None: 5}),
    *(OrderedDict(b=1, a=2), Counter([3, 3, 4]), {1, 2}, frozenset({3}), defaultdict(list, a=[1])),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values(value: Any) -> None:
    assert same(value, again({"x": [value]})["x"][0])


def test_numpy_values() -> None:
    out = again({"a": np.arange(3, dtype=np.int16), "f": np.float32(0.5), "b": np.bool_(True)})
    assert out["a"].dtype == np.int16 and out["a"].tolist() == [0, 1, 2]
    assert out["f"] == 0.5 and out["b"] is True


DTYPES = [
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16),
    *(torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.complex128),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mmap", [False, True])
def test_dtypes_shapes_and_layouts(dtype: Any, mmap: bool, tmp_path: Path) -> None:
    x = torch.arange(24).to(dtype)
    tensors = {
        "vector": x,
        "scalar": x[5].clone(),
        "empty": x[:0].clone().view(0, 3),
        "matrix": x.clone().view(4, 6),
        "transposed": x.clone().view(4, 6).t(),
        "permuted": x.clone().view(2, 3, 4).permute(2, 0, 1),
    }
    save(tensors, tmp_path / "x")
    assert same(tensors, load(tmp_path / "x", mmap=mmap))
    parts = {"rows": x.view(4, 6)[1:3], "columns": x.view(4, 6)[:, ::2]}
    if dtype is not torch.float8_e5m2:  # NumPy cannot stride over it
        parts["wide"] = x[:1].expand(5)
    out = again(parts)
    for name, t in parts.items():
        assert out[name].shape == t.shape and (out[name] == t).all()


def test_requires_grad_and_parameters() -> None:
    net = nn.Linear(2, 2)
    out = again({"p": net.weight, "x": torch.ones(2, requires_grad=True), "y": torch.ones(1)})
    assert type(out["p"]) is nn.Parameter and out["p"].requires_grad and out["p"].is_leaf
    assert type(out["x"]) is torch.Tensor and out["x"].requires_grad
    assert not out["y"].requires_grad


def test_memory_that_was_shared_is_shared() -> None:
    x = torch.arange(12).float()
    saved = {"x": x, "twin": x, "row": x.view(3, 4)[1], "t": x.view(3, 4).t(), "other": x.clone()}
    out = again(saved)
    assert same(saved, out)
    out["x"].fill_(7)
    assert out["twin"][0] == out["row"][0] == out["t"][2, 1] == 7 and out["other"][0] == 0
    assert out["row"]._version == out["x"]._version == 1
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    file = io.BytesIO()
    save(tied.state_dict(), file)
    state = load(io.BytesIO(file.getvalue()))
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr()
    assert len(file.getvalue()) < 2500


def test_state_dicts_of_a_model_an_optimizer_and_a_schedule(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters(), 0.1, amsgrad=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    net(torch.randn(4, 2)).square().sum().backward()
    optimizer.step()
    schedule.step()
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule}
    states = {name: part.state_dict() for name, part in parts.items()}
    save(states, tmp_path / "all")
    loaded = load(tmp_path / "all")
    assert same(states, loaded)
    assert loaded["net"]._metadata == states["net"]._metadata
    for name, part in parts.items():
        part.load_state_dict(loaded[name])


def test_other_programs_can_read_it_and_the_other_way(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    net = nn.Linear(2, 3)
    save({"model": net.state_dict(), "epoch": 3}, tmp_path / "a.safetensors")
    arrays = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(arrays["model.weight"], net.weight.detach().numpy())
    save_file({"x": np.arange(3)}, tmp_path / "b.safetensors", {"format": "np"})
    assert load(tmp_path / "b.safetensors")["x"].tolist() == [0, 1, 2]


def test_tensors_without_data() -> None:
    out = again({"x": torch.ones(2, 3, device="meta").t()})["x"]
    assert out.is_meta and out.shape == (3, 2)
    file = io.BytesIO()
    file.name = "x.safetensors"
    with pytest.raises(TypeError, match="meta device"):
        save({"x": torch.ones(2, device="meta")}, file)


def test_names_may_collide() -> None:
    out = again({"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, "__metadata__": torch.ones(2)})
    assert out["a.b"] == 0 and out["a"]["b"] == 1 and out["__metadata__"].shape == (2,)


def test_map_location() -> None:
    t = {"x": torch.ones(2)}
    assert again(t, map_location="meta")["x"].is_meta
    assert again(t, map_location={"cpu": "meta"})["x"].is_meta
    assert again(t, map_location={"cuda:0": "meta"})["x"].is_cpu
    moved = again(t, map_location=lambda x, where: x.double() if where == "cpu" else None)
    assert moved["x"].dtype is torch.float64
    assert again(t, map_location=torch.device("cpu"), weights_only=False)["x"].is_cpu


def local() -> type:
    class Local(nn.Module):
        pass

    return Local


Local = local()  # of a name under which pickle does not find it


@pytest.mark.parametrize(
    ("obj", "error", "words"),
    [
        ({"net": nn.Sequential(Local())}, TypeError, "Sequential at net: .*state_dict"),
        ([1, {"a": open}, {"b": iter}, (len, (v for v in "x"))], TypeError, "generator at 3.1"),
        (lambda: 1, TypeError, "function at the object itself"),
    ],
)
def test_what_cannot_be_saved(obj: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        save(obj, io.BytesIO())


def test_cycles_are_refused() -> None:
    loop: list = [{}]
    loop[0]["self"] = loop
    with pytest.raises(ValueError, match="contains itself"):
        save(loop, io.BytesIO())
    shared = [1]
    assert again([shared, shared]) == [[1], [1]]


# -- damage ---------------------------------------------------------------------------------------


WHOLE = {"x": torch.arange(20), "n": {"y": torch.ones(3, 3).t(), "z": 1.5}}


def content_of(name: str, folder: Path) -> bytes:
    save(WHOLE, folder / name, _use_new_zipfile_serialization=not name.startswith("row"))
    return (folder / name).read_bytes()


@pytest.fixture(params=["x.safetensors", "x.pt", "row.pt"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    return content_of(request.param, tmp_path)


def test_every_flipped_bit_is_noticed(content: bytes, tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "damaged.st"
    for _ in range(1000):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged\.st: "):
            load(path)


def test_every_cut_is_noticed(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.st"
    for n in [*range(0, len(content), 13), len(content) - 1]:
        path.write_bytes(content[:n])
        for mmap in (False, True):
            with pytest.raises(CheckpointError, match=r"cut\.st: "):
                load(path, mmap=mmap)


def test_header_that_lies(tmp_path: Path) -> None:
    content = content_of("x.safetensors", tmp_path)
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    for change in (
        {"shape": [21]},
        {"shape": [-20, -1]},
        {"dtype": "F3"},
        {"dtype": "I32"},
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": ["0", "160"]},
        {"shape": None},
    ):
        lie = json.dumps(header | {"x": header["x"] | change}).encode()
        file = io.BytesIO(len(lie).to_bytes(8, "little") + lie + content[8 + n :])
        with pytest.raises(CheckpointError, match="<file object>"):
            load(file)


def test_foreign_files(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, ("touch " + str(tmp_path / "executed"),)

    path = tmp_path / "model.pt"
    evil = pickle.dumps(Evil())
    for content, words in (
        (evil, "posix.system, which is no data"),
        (b"PK\x03\x04" + bytes(100), "File is not a zip file"),
        (b"\0" * 7, "it is no checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"model.pt: .*{words}"):
            load(path)
    assert not (tmp_path / "executed").exists()
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model.pt: the file is empty"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="name of a file"):
        load(io.BytesIO(b""), mmap=True)


# -- files ----------------------------------------------------------------------------------------


def test_mapped_memory_is_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save({"x": torch.zeros(5)}, path)
    x = load(path, mmap=True)["x"]
    assert x.device == torch.device("cpu") and x.numpy().tolist() == [0] * 5
    x.fill_(1)
    assert x.sum() == 5 and load(path)["x"].sum() == 0


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    save({"x": 1}, path)

    def refuse(*args: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(serialization.os, "fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        save({"x": 2}, path)
    assert load(path) == {"x": 1} and os.listdir(tmp_path) == ["x"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"save: the folder .*nowhere does not exist"):
        save(torch.ones(1), tmp_path / "nowhere" / "x.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_files_have_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save(1, tmp_path / "x")
    assert os.stat(tmp_path / "x").st_mode == os.stat(tmp_path / "plain").st_mode
    os.chmod(tmp_path / "x", 0o600)
    save(2, tmp_path / "x")
    assert os.stat(tmp_path / "x").st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "folder" / "x")
    save(3, link)
    assert link.is_symlink() and load(tmp_path / "folder" / "x") == 3


LOOP = """
import sys, tritorch as torch
x = torch.zeros(1 << 20)
print("ready", flush=True)
for n in range(1, 10000):
    torch.save({"n": n, "x": x.fill_(n)}, sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_during_save(kills: int, tmp_path: Path) -> None:
    """Whenever the process dies, the file is one that was saved completely."""
    path, rng = tmp_path / "x", random.Random(1)
    save({"n": 0, "x": torch.zeros(1 << 20)}, path)
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", LOOP, path], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.05 + 0.2 * rng.random())
            process.send_signal(signal.SIGKILL)
        found = load(path)
        assert (found["x"] == found["n"]).all()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Embedding(5, 4)
        self.decoder = torch.nn.Linear(4, 5)
        self.decoder.weight = self.encoder.weight
        self.act = torch.nn.functional.gelu
        self.register_buffer("seen", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.act(self.encoder(x)))


def test_whole_modules_come_back_where_the_file_is_trusted(tmp_path: Path) -> None:
    model, path = Net(), tmp_path / "model.pt"
    model.seen += 3
    save({"model": model, "epoch": 2}, path)
    for mmap in (False, True):
        with pytest.raises(CheckpointError, match=r"class .*Net, which could run.*weights_only=Fa"):
            load(path, mmap=mmap)
        found = load(path, weights_only=False, mmap=mmap)
        again, x = found["model"], torch.tensor([1, 4])
        assert torch.equal(again(x), model(x)) and found["epoch"] == 2
        assert again.decoder.weight is again.encoder.weight and again.seen.tolist() == [3, 3]
        assert type(again.decoder.bias) is torch.nn.Parameter
        again(x).sum().backward()
        assert again.decoder.bias.grad is not None
    optimizer = torch.optim.Adam(model.parameters())
    buffer = io.BytesIO()
    save([torch.nn.Transformer(4, 2, 1, 1, 8, batch_first=True), optimizer], buffer)
    load(io.BytesIO(buffer.getvalue()), weights_only=False)
    with pytest.raises(TypeError, match=r"cannot save builtins.function at hook"):
        save({"hook": lambda: None}, path)


def test_published_functions_are_pickled_by_name() -> None:
    F = nn.functional
    for f in (torch.add, torch.tanh, F.relu, F.gelu, F.mse_loss, torch.linalg.norm, torch.fft.fft):
        assert pickle.loads(pickle.dumps(f)) is f


class Harm:
    def __reduce__(self) -> tuple:
        return print, ("harm",)


def in_memory(obj: Any) -> io.BytesIO:
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return file


def test_listed_classes_are_made_of_files_that_nobody_trusts() -> None:
    model, allowed = Net(), torch.serialization.safe_globals
    with pytest.raises(CheckpointError, match=r"Net, which is not listed.*safe_globals"):
        load(in_memory(model))
    with allowed([Net]):
        assert torch.serialization.get_safe_globals() == [Net]
        again = load(in_memory(model))
    assert torch.serialization.get_safe_globals() == []
    x = torch.tensor([1, 4])
    assert torch.equal(again(x), model(x)) and again.decoder.weight is again.encoder.weight
    with allowed([(Net, "models.Other")]), pytest.raises(CheckpointError, match="not listed"):
        load(in_memory(model))
    layers = torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.TransformerEncoderLayer(4, 2))
    assert str(load(in_memory(layers))) == str(layers)  # these are known


def test_what_is_not_listed_is_never_called(capsys: pytest.CaptureFixture) -> None:
    with torch.serialization.safe_globals([Net]):
        for obj in (Harm(), {"x": Harm()}, np.random.default_rng(0)):
            with pytest.raises(CheckpointError, match="not listed"):
                load(in_memory(obj))
    assert not capsys.readouterr().out
    with pytest.raises(TypeError, match="classes and functions"):
        torch.serialization.add_safe_globals(["Net"])
    torch.serialization.add_safe_globals([Net])
    torch.serialization.clear_safe_globals()
    assert torch.serialization.get_safe_globals() == []
