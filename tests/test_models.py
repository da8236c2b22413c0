"""Reference networks: names and shapes as published, weights from files, and PyTorch's results."""

from __future__ import annotations

import copy
import io
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import models
from tritorch.models import load_weights

# Of torchvision 0.29 and transformers 5.24: {name: shape}, "{0-11}" standing for each of a range.
PUBLISHED = json.loads((Path(__file__).parent / "published_names.json").read_text())
BUILDERS = {"resnet18", "resnet34", "resnet50", "vit_b_16", "vit_l_16"}


def spelled_out(name: str) -> list[str]:
    parts = re.split(r"\{(\d+)-(\d+)\}", name)
    ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3])]
    texts = parts[::3]
    return [
        "".join(itertools.chain(*zip(texts, map(str, chosen)), [texts[-1]]))
        for chosen in itertools.product(*ranges)
    ]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        net = getattr(models, name)()
    want = {n: shape for k, shape in PUBLISHED[name].items() for n in spelled_out(k)}
    assert {k: list(v.shape) for k, v in net.state_dict().items()} == want


def small_vit(**kwargs: Any) -> models.VisionTransformer:
    return models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10, **kwargs)


NETWORKS = {
    "mlp": (lambda: models.MLP([12, 8, 10], dropout=0.1), (4, 12), (4, 10)),
    "lenet": (lambda: models.LeNet(channels=3), (2, 3, 32, 32), (2, 10)),
    "resnet18": (lambda: models.resnet18(num_classes=10), (2, 3, 32, 32), (2, 10)),
    "bottlenecks": (
        lambda: models.ResNet(
            *(models.Bottleneck, [1, 1, 1, 2]),
            num_classes=10,
            groups=2,
            width_per_group=32,
            replace_stride_with_dilation=[False, True, True],
            zero_init_residual=True,
        ),
        (2, 3, 32, 32),
        (2, 10),
    ),
    "vit": (small_vit, (2, 3, 32, 32), (2, 10)),
    "vit with a representation": (
        lambda: small_vit(representation_size=7),
        (2, 3, 32, 32),
        (2, 10),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward(name: str) -> None:
    torch.manual_seed(0)
    build, shape, out = NETWORKS[name]
    net = build()
    result = net(torch.randn(shape))
    assert result.shape == out
    result.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="a multiple of 7"):
        models.VisionTransformer(32, 7, 1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 32\) do not fit; expected \(N, 3, 32, 32\)"):
        small_vit()(torch.zeros(2, 3, 16, 32))
    with pytest.raises(ValueError, match=r"expected \(N, 1, 32, 32\)"):
        models.LeNet()(torch.zeros(2, 1, 28, 28))
    with pytest.raises(ValueError, match="at least input and output"):
        models.MLP([3])
    with pytest.raises(ValueError, match="Bottleneck takes others"):
        models.BasicBlock(4, 4, groups=2)
    with pytest.raises(ValueError, match="layers 2 to 4"):
        models.ResNet(models.BasicBlock, [1] * 4, replace_stride_with_dilation=[True])


def test_an_import_of_the_package_leaves_them_out() -> None:
    code = "import sys, tritorch as t; assert 'tritorch.models' not in sys.modules; t.models.MLP"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- weights ------------------------------------------------------------------------------------


def test_weights_from_a_file(tmp_path: Path) -> None:
    source, target = models.LeNet(), models.LeNet()
    path = tmp_path / "lenet.safetensors"
    torch.save(source.state_dict(), path)
    assert load_weights(target, path) is target
    assert all((a == b).all() for a, b in zip(source.parameters(), target.parameters()))
    wrapped = {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}
    target = models.LeNet()
    load_weights(target, wrapped)
    assert (target.fc3.bias == source.fc3.bias).all()


def test_names_of_the_first_vision_transformers() -> None:
    net = small_vit()
    old = {
        k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v + 1
        for k, v in net.state_dict().items()
    }
    assert any("linear_1" in k for k in old)
    want = {k: v.clone() + 1 for k, v in net.state_dict().items()}
    load_weights(net, old)
    assert all((v == want[k]).all() for k, v in net.state_dict().items())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    net = models.LeNet()
    before = net.fc1.weight.clone()
    state = dict(net.state_dict())
    state["extra.weight"] = torch.zeros(1)
    state["fc1.weight"] = torch.ones(120, 7)
    state["fc2.weight"] = torch.full((84, 120), 3.0)
    del state["fc3.bias"]
    with pytest.raises(ValueError) as error:
        load_weights(net, state)
    assert str(error.value) == (
        "load_weights: the state dict does not fit LeNet: missing: fc3.bias; unknown: "
        "extra.weight; of another shape: fc1.weight is (120, 7) in the file and (120, 400) in the "
        "model"
    )
    assert (net.fc2.weight != 3).any(), "nothing is loaded where an error is raised"
    load_weights(net, state, strict=False)
    assert (net.fc2.weight == 3).all() and (net.fc1.weight == before).all()
    with pytest.raises(ValueError, match=r"missing: conv1\.weight, conv1\.bias, conv2"):
        load_weights(net, {"other": torch.zeros(1)}, strict=False)
    with pytest.raises(FileNotFoundError, match="weights are not downloaded"):
        load_weights(net, tmp_path / "nowhere.pt")
    file = io.BytesIO()
    torch.save({"a": 1}, file)
    with pytest.raises(ValueError, match="the open file holds no state dict"):
        load_weights(net, io.BytesIO(file.getvalue()))


# -- against PyTorch ----------------------------------------------------------------------------


def follow(ours: Any, theirs: Any, inputs: np.ndarray, targets: np.ndarray, lr: float) -> None:
    """PyTorch's weights, its outputs, and those after each of 5 steps with momentum.

    Rounding grows over steps of a deep network, so PyTorch in float64 says by how much: ours may be
    off by four times what PyTorch in float32 is, or by 1e-5 of the greatest value.
    """
    oracle = pytest.importorskip("torch")
    exact = copy.deepcopy(theirs).double()
    state = {k: torch.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    load_weights(ours, state)
    nets = ((torch, ours), (oracle, theirs), (oracle, exact))
    steps = [lib.optim.SGD(net.parameters(), lr, momentum=0.9) for lib, net in nets]
    for i in range(5):
        outputs = []
        for (lib, net), step in zip(nets, steps):
            step.zero_grad()
            x = lib.from_numpy(inputs)
            out = net(x.double() if net is exact and x.is_floating_point() else x).flatten(0, -2)
            lib.nn.functional.cross_entropy(out, lib.from_numpy(targets.reshape(-1))).backward()
            step.step()
            outputs.append(out)
        assert_close(f"output {i}", *outputs)
    for (name, p), q, r in zip(ours.named_parameters(), theirs.parameters(), exact.parameters()):
        assert_close(name, p, q, r)


def assert_close(name: str, ours: Any, theirs: Any, exact: Any) -> None:
    a, b, want = (t.detach().numpy().astype(np.float64) for t in (ours, theirs, exact))
    error, allowed = np.abs(a - want).max(), 4 * np.abs(b - want).max()
    assert error <= max(allowed, 1e-5 * np.abs(want).max()), f"{name}: {error} > {allowed}"


@pytest.mark.oracle
def test_resnet18_follows_pytorch() -> None:
    oracle = pytest.importorskip("torch")
    import torch_models

    oracle.manual_seed(0)  # of a seed by which no input of a ReLU is 0 but for rounding
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 8)
    follow(models.resnet18(num_classes=10), torch_models.ResNet18(10), x, y, 0.01)


@pytest.mark.oracle
def test_gradients_of_resnet18_in_float64_are_pytorch_s() -> None:
    oracle = pytest.importorskip("torch")
    import torch_models

    oracle.manual_seed(1)
    theirs, ours = torch_models.ResNet18(10).double(), models.resnet18(num_classes=10).double()
    load_weights(
        ours, {k: torch.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )
    x = np.random.default_rng(1).standard_normal((4, 3, 64, 64))
    for lib, net in ((torch, ours), (oracle, theirs)):
        net(lib.from_numpy(x)).square().sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        want = q.grad.numpy()
        np.testing.assert_allclose(
            p.grad.numpy(), want, 1e-9, 1e-9 * np.abs(want).max(), err_msg=name
        )
