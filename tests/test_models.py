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
from tritorch import models, nn
from tritorch.models import load_weights

# Of torchvision 0.29 and transformers 5.24: {name: shape}, "{0-11}" standing for each of a range.
PUBLISHED = json.loads((Path(__file__).parent / "published_names.json").read_text())


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


SMALL_BERT = (50, 32, 2, 4, 64)


def small_gpt2() -> models.GPT2LMHeadModel:
    return models.GPT2LMHeadModel(50, 16, 32, 2, 4)


def small_bert(**kwargs: Any) -> models.BertForMaskedLM:
    return models.BertForMaskedLM(*SMALL_BERT, **kwargs)


class Part(nn.Module):
    """A network of which one result is looked at."""

    def __init__(self, net: nn.Module, part: int, *rest: torch.Tensor) -> None:
        super().__init__()
        self.net, self.part, self.rest = net, part, rest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x, *self.rest)[self.part]


def first(net: nn.Module) -> Part:
    return Part(net, 0)


def pooled(net: nn.Module) -> Part:
    return Part(net, 1)


def small_clip() -> Part:
    net = models.CLIPModel(50, 8, 32, 2, 4, 32, 8, 48, 2, 4, 24)
    return Part(net, 0, torch.randn(3, 3, 32, 32))


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
    images = len(shape) == 4 or name == "mlp"
    result = net(torch.randn(shape) if images else torch.randint(0, 50, shape))
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
    with pytest.raises(ValueError, match="n_head=5 must divide n_embd=32"):
        models.GPT2Model(n_embd=32, n_head=5)
    with pytest.raises(
        ValueError, match=r"\(1, 17\) do not fit; expected \(N, L\) with L up to 16"
    ):
        small_gpt2()(torch.zeros(1, 17, dtype=torch.long))
    with pytest.raises(ValueError, match="num_attention_heads=5 must divide"):
        models.BertModel(50, 32, 2, 5)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(1, 4\)"):
        small_bert()(torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 4))
    with pytest.raises(ValueError, match="with L up to 6"):
        small_bert(max_position_embeddings=6)(torch.zeros(1, 7, dtype=torch.long))
    with pytest.raises(ValueError, match=r"expected \(N, 3, 32, 32\)"):
        small_clip().net.get_image_features(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match="with L up to 8"):
        small_clip().net.get_text_features(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="3 heads must divide the width 512"):
        models.CLIPModel(text_heads=3)
    with pytest.raises(ValueError, match="H and W at least 16"):
        models.UNet(width=4)(torch.zeros(1, 3, 8, 32))
    with pytest.raises(ValueError, match="nhid=12 must be ninp=8"):
        models.LSTMLanguageModel(50, 8, 12, tie_weights=True)
    with pytest.raises(ValueError, match=r"expected \(T, N\)"):
        models.LSTMLanguageModel(50, 8, 12)(torch.zeros(3, dtype=torch.long))
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


OTHER_NAMES = {
    "gpt2 without the prefix": (
        small_gpt2,
        lambda k: k.removeprefix("transformer."),
        ["h.0.attn.bias", "h.1.attn.masked_bias"],
    ),
    "gpt2 with it": (
        lambda: small_gpt2().transformer,
        lambda k: f"transformer.{k}",
        ["lm_head.weight"],
    ),
    "bert as converted": (
        small_bert,
        lambda k: k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"),
        ["cls.seq_relationship.weight", "bert.pooler.dense.bias", "bert.embeddings.position_ids"],
    ),
    "bert without a head": (
        lambda: models.BertModel(*SMALL_BERT),
        lambda k: f"bert.{k}",
        ["cls.predictions.bias", "embeddings.position_ids"],
    ),
    "clip": (lambda: small_clip().net, lambda k: k, ["text_model.embeddings.position_ids"]),
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_published_names(name: str) -> None:
    build, rename, foreign = OTHER_NAMES[name]
    net = build()
    own = {id(p): k for k, p in reversed(list(net.named_parameters(remove_duplicate=False)))}
    want = {k: torch.rand(net.state_dict()[k].shape) for k in own.values()}
    load_weights(
        net,
        {rename(k): v for k, v in want.items()} | dict.fromkeys(foreign, next(iter(want.values()))),
    )
    assert all((v == want[k]).all() for k, v in net.state_dict().items() if k in want)
    tied = [k for k in net.state_dict() if k not in want]
    assert len(tied) == {"gpt2 without the prefix": 1, "bert as converted": 2}.get(name, 0)


def test_places_behind_the_end_of_a_sentence_are_masked() -> None:
    net = small_bert().eval()
    ids, other = torch.tensor([[5, 6, 7, 8, 9]]), torch.tensor([[5, 6, 7, 1, 2]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    a, b = net(ids, mask)[:, :3], net(other, mask)[:, :3]
    assert torch.allclose(a, b, atol=1e-6) and not torch.allclose(a, net(ids)[:, :3], atol=1e-3)
    a, b = (net(ids, mask, kind) for kind in (torch.zeros(1, 5).long(), torch.ones(1, 5).long()))
    assert not torch.allclose(a, b, atol=1e-3)


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
    published = getattr(theirs, "published", theirs.state_dict)
    load_weights(ours, {k: from_oracle(v) for k, v in published().items()})
    nets = ((torch, ours), (oracle, theirs), (oracle, exact))
    y = {lib: lib.from_numpy(targets.reshape(-1)) for lib in (torch, oracle)}
    steps = [lib.optim.SGD(net.parameters(), lr, momentum=0.9) for lib, net in nets]
    for i in range(5):
        outputs = []
        for (lib, net), step in zip(nets, steps):
            step.zero_grad()
            x = lib.from_numpy(inputs)
            out = net(x.double() if net is exact and x.is_floating_point() else x)
            out = out[0] if isinstance(out, tuple) else out
            loss = lib.nn.functional.cross_entropy(out.flatten(0, -2), y[lib])
            loss.backward()
            step.step()
            outputs.append(out)
        assert_close(f"output {i}", *outputs)
    found = ours.state_dict()
    ends = (getattr(net, "published", net.state_dict)() for net in (theirs, exact))
    for (name, q), r in zip(next(ends).items(), next(ends).values()):
        assert_close(name, found[name], q, r)


def from_oracle(t: Any) -> torch.Tensor:
    return torch.from_numpy(t.detach().numpy().copy())


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
    follow(models.resnet18(num_classes=10), torch_models.ResNet18(10), x, y, 0.001)


SENTENCES = np.random.default_rng(0).integers(1, 50, (4, 12))


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["GPT2", "BERT", "LSTM"])
def test_language_models_follow_pytorch(name: str) -> None:
    oracle = pytest.importorskip("torch")
    import torch_models

    oracle.manual_seed(0)
    ours, theirs = {
        "GPT2": lambda: (small_gpt2().eval(), torch_models.GPT2(50, 16)),
        "BERT": lambda: (padded_bert(), torch_models.BERT(50, 16)),
        "LSTM": lambda: (
            models.LSTMLanguageModel(50, 32, 32, dropout=0.0),
            torch_models.LSTM(50, 32),
        ),
    }[name]()
    ids = SENTENCES.copy()
    if name == "BERT":
        ids[1:3, 9:] = 0
    follow(ours, theirs, ids, np.roll(SENTENCES, -1, 1), 0.1)


class MaskedBert(models.BertForMaskedLM):
    """Token 0 is padding."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(input_ids, input_ids != 0)


def padded_bert() -> MaskedBert:
    return MaskedBert(*SMALL_BERT, max_position_embeddings=16).eval()


@pytest.mark.oracle
def test_gradients_of_resnet18_in_float64_are_pytorch_s() -> None:
    oracle = pytest.importorskip("torch")
    import torch_models

    oracle.manual_seed(1)
    theirs, ours = torch_models.ResNet18(10).double(), models.resnet18(num_classes=10).double()
    load_weights(ours, {k: from_oracle(v) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((4, 3, 64, 64))
    for lib, net in ((torch, ours), (oracle, theirs)):
        net(lib.from_numpy(x)).square().sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        want = q.grad.numpy()
        np.testing.assert_allclose(
            p.grad.numpy(), want, 1e-9, 1e-9 * np.abs(want).max(), err_msg=name
        )
