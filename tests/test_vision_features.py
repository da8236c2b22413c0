"""Features of a model's modules by name: `IntermediateLayerGetter`, `create_feature_extractor`."""

from __future__ import annotations

import pytest

import tritorch as torch
from tritorch import nn
from tritorch.vision.models._utils import IntermediateLayerGetter
from tritorch.vision.models.feature_extraction import (
    create_feature_extractor,
    get_graph_node_names,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.relu = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)
        self.ran = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.body(self.relu(self.stem(x))))
        self.ran += 1  # not reached where all has been seen before
        return self.head(self.drop(x))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def test_outputs_of_modules_by_name(net: Net) -> None:
    x = torch.randn(5, 3)
    nodes = {"stem": "a", "relu": "first", "relu_1": "second", "body": "b"}
    features = create_feature_extractor(net, nodes)
    out = features(x)
    stem = net.stem(x)
    assert list(out) == list(nodes.values())
    assert torch.equal(out["a"], stem) and torch.equal(out["first"], stem.relu())
    assert torch.equal(out["b"], net.body(stem.relu()))
    assert torch.equal(out["second"], out["b"].relu())
    assert net.ran == 0 and not net.relu._forward_hooks
    out["second"].sum().backward()
    assert net.stem.weight.grad is not None and net.head.weight.grad is None


def test_it_shares_the_model_and_its_names(net: Net) -> None:
    features = create_feature_extractor(net, ["body.0"])
    assert features.state_dict().keys() == net.state_dict().keys()
    assert all(p is q for p, q in zip(features.parameters(), net.parameters(), strict=True))
    features.double()
    assert features(torch.ones(1, 3).double())["body.0"].dtype is torch.float64


def test_training_and_evaluation_may_differ(net: Net) -> None:
    features = create_feature_extractor(
        net, train_return_nodes=["head"], eval_return_nodes={"stem": "s"}
    )
    assert not features.training and list(features(torch.ones(1, 3))) == ["s"]
    assert features.train() is features and net.training and net.drop.training
    assert list(features(torch.ones(1, 3))) == ["head"]


def test_what_is_not_there_is_refused(net: Net) -> None:
    with pytest.raises(ValueError, match="no module is named 'add'"):
        create_feature_extractor(net, ["add"])
    with pytest.raises(ValueError, match="both of train_return_nodes"):
        create_feature_extractor(net, train_return_nodes=["stem"])
    with pytest.raises(RuntimeError, match=r"\['relu_2'\] did not run"):
        create_feature_extractor(net, ["stem", "relu_2"])(torch.ones(1, 3))
    assert not net.stem._forward_hooks
    with pytest.raises(ValueError, match="return_layers are not present in model: neck"):
        IntermediateLayerGetter(net, {"neck": "0"})


def test_names_that_may_be_asked_for(net: Net) -> None:
    train, evaluate = get_graph_node_names(net)
    assert train == evaluate == ["stem", "body", "body.0", "body.1", "relu", "drop", "head"]
    assert list(create_feature_extractor(net, ["stem", "body.1"])(torch.ones(1, 3))) == [
        "stem",
        "body.1",
    ]


def test_children_in_a_row() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.Linear(4, 1))
    body = IntermediateLayerGetter(model, {"0": "wide", "2": "last"})
    out = body(torch.ones(1, 2))
    assert list(out) == ["wide", "last"] and list(body) == ["0", "1", "2"]
    assert torch.equal(out["last"], model[2](out["wide"].relu()))
