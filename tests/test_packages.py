"""Packages that know PyTorch's tensors take tritorch's: einops, safetensors, pandas, matplotlib.

einops and safetensors ask for the module `torch`, so their programs run under the import hook.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritorch as torch


def run(tmp_path: Path, program: str) -> list[str]:
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "tritorch", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


EINOPS = """
import torch
from einops import einsum, pack, rearrange, reduce, repeat
from einops.layers.torch import EinMix, Rearrange, Reduce

x = torch.arange(24.0).reshape(1, 2, 3, 4).requires_grad_()
y = rearrange(x, "b c h (w q) -> b (h w) (q c)", q=2)
print(y[0, 1].tolist(), torch.equal(rearrange(y, "b (h w) (q c) -> b c h (w q)", h=3, q=2), x))
more = repeat(x, "b c h w -> b (r c) h w", r=3)
print(reduce(x, "b c h w -> b c", "mean").tolist(), tuple(more.shape))
print(einsum(x, x, "b c h w, b d h w -> b c d").tolist(), tuple(pack([x, x], "b * h w")[0].shape))
net = torch.nn.Sequential(Reduce("b c (h 3) w -> b c h w", "max"),
                          Rearrange("b c h w -> b (c h w)"), torch.nn.Linear(8, 2))
net(x).sum().backward()
mix = EinMix("b c h w -> b c h o", weight_shape="w o", w=4, o=5)
print(x.grad.count_nonzero().item(), tuple(mix(x).shape))
"""


@pytest.mark.skipif(importlib.util.find_spec("einops") is None, reason="needs einops")
def test_einops(tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    gram = np.einsum("bchw,bdhw->bcd", x, x)
    assert run(tmp_path, EINOPS) == [
        "[2.0, 14.0, 3.0, 15.0] True",
        "[[5.5, 17.5]] (1, 6, 3, 4)",
        f"{gram.tolist()} (1, 4, 3, 4)",
        "8 (1, 2, 3, 5)",
    ]


SAFETENSORS = """
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, load_model, save, save_file, save_model

kept = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.ones(2, dtype=torch.bfloat16),
        "d": torch.tensor([True, False]), "e": torch.zeros(0, 3)}
save_file(kept, "x.safetensors", metadata={"format": "pt"})
for found in (load_file("x.safetensors"), load(save(kept))):
    print(all(torch.equal(v, found[k]) and v.dtype == found[k].dtype for k, v in kept.items()))
with safe_open("x.safetensors", framework="pt", device="cpu") as f:
    print(sorted(f.keys()), torch.equal(f.get_slice("a")[:, 1:3], kept["a"][:, 1:3]))
one, two = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
save_model(one, "m.safetensors")
load_model(two, "m.safetensors")
print(torch.equal(one.weight, two.weight))
"""


@pytest.mark.skipif(importlib.util.find_spec("safetensors") is None, reason="needs safetensors")
def test_safetensors_functions_for_pytorch(tmp_path: Path) -> None:
    keys = "['a', 'b', 'c', 'd', 'e'] True"
    assert run(tmp_path, SAFETENSORS) == ["True", "True", keys, "True"]


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")
    x = torch.tensor([0.5, 1.5, 4.0])
    frame = pd.DataFrame({"x": x, "n": torch.arange(3)})
    assert [str(d) for d in frame.dtypes] == ["float32", "int64"] and frame["x"].sum() == 6.0
    frame["y"] = x * 2
    assert torch.tensor(frame.values).shape == (3, 3)
    assert torch.tensor(frame["y"]).tolist() == [1, 3, 8]
    assert torch.equal(torch.Tensor(frame["x"]), x) and pd.Series(x).mean() == 2.0
    assert torch.from_numpy(frame["n"].to_numpy(copy=True)).dtype == torch.int64


def test_matplotlib(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    x = torch.linspace(0, 1, 5, requires_grad=True)
    figure, (left, right) = plt.subplots(1, 2)
    (line,) = left.plot(x.detach(), x.detach() ** 2)
    assert line.get_ydata()[1] == 0.0625
    left.scatter(torch.arange(5), x.detach())
    left.bar(torch.arange(3), torch.ones(3))
    assert left.hist(x.detach(), bins=2)[0].tolist() == [2, 3]
    shown = right.imshow(torch.rand(3, 4, 4).permute(1, 2, 0))
    right.axvline(torch.tensor(0.5))
    assert shown.get_array().shape == (4, 4, 3)
    figure.savefig(tmp_path / "figure.png")
    plt.close(figure)
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(x)


def test_old_constructors_take_sizes_and_sequences() -> None:
    for kind in (torch.Tensor, torch.FloatTensor):
        assert kind(torch.Size([2, 3])).shape == (2, 3) and kind((2.0, 3.0)).tolist() == [2, 3]
        assert kind(range(3)).tolist() == [0, 1, 2] and kind(2, 1).shape == (2, 1)


def test_storages_are_mapped_from_files(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(8)))
    storage = torch.UntypedStorage.from_file(str(tmp_path / "bytes"), False, 6)
    assert storage.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.asarray(storage[2:4], dtype=torch.uint8).tolist() == [2, 3]
