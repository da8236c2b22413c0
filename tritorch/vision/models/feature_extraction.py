"""Features of any of a model's modules, by their qualified names.

The model runs as it is, watched by hooks, until all that is asked for has been seen. Nodes are
modules: what a `forward` computes between them has no name here.
"""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ... import nn

__all__ = ["create_feature_extractor", "get_graph_node_names"]

Nodes = dict[str, str]


class _Complete(Exception):
    """All results have been seen: the rest of the model need not run."""


def _called(name: str, modules: dict[str, nn.Module]) -> tuple[str, int]:
    """The module of a node's name, and which of its calls: `relu_1` is the second of `relu`."""
    if name in modules and name:
        return name, 0
    plain, _, count = name.rpartition("_")
    if plain in modules and count.isdigit():
        return plain, int(count)
    raise ValueError(
        f"create_feature_extractor: no module is named {name!r}. Nodes are modules, as "
        "get_graph_node_names lists them; functions between them have no names here"
    )


def _named(nodes: Sequence[str] | Nodes) -> Nodes:
    return dict(nodes) if isinstance(nodes, dict) else {n: n for n in nodes}


class FeatureExtractor(nn.Module):
    """A model that returns what some of its modules gave, by name; parameters keep their names."""

    def __init__(self, model: nn.Module, train: Nodes, evaluate: Nodes) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        self.nodes = {
            mode: {_called(name, modules): out for name, out in nodes.items()}
            for mode, nodes in ((True, train), (False, evaluate))
        }
        self.whole = (model,)  # in a tuple: no child, so that names stay
        self._modules, self._parameters = model._modules, model._parameters
        self._buffers = model._buffers
        self.train(model.training)

    def train(self, mode: bool = True) -> Any:
        self.whole[0].training = mode
        return super().train(mode)

    def forward(self, *args: Any, **kwargs: Any) -> OrderedDict[str, Any]:
        model, nodes = self.whole[0], self.nodes[self.training]
        modules, calls, found = dict(model.named_modules()), Counter(), {}

        def watch(name: str) -> Callable:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                at = name, calls[name]
                calls[name] += 1
                if at in nodes:
                    found[at] = output
                    if len(found) == len(nodes):
                        raise _Complete

            return hook

        handles = [
            modules[name].register_forward_hook(watch(name)) for name in {n for n, _ in nodes}
        ]
        try:
            with contextlib.suppress(_Complete):
                model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        never = [f"{name}_{call}" if call else name for name, call in nodes.keys() - found.keys()]
        if never:
            raise RuntimeError(f"create_feature_extractor: {never} did not run in this forward")
        return OrderedDict((out, found[at]) for at, out in nodes.items())


def create_feature_extractor(
    model: nn.Module,
    return_nodes: Sequence[str] | Nodes | None = None,
    train_return_nodes: Sequence[str] | Nodes | None = None,
    eval_return_nodes: Sequence[str] | Nodes | None = None,
    tracer_kwargs: dict | None = None,
    suppress_diff_warning: bool = False,
) -> FeatureExtractor:
    """A module that returns the outputs of the named modules of `model`, with which it shares all.

    Names are qualified, as `"layer1.0.relu"`; `"layer1.0.relu_1"` is that module's second call. A
    mapping renames results. Training and evaluation may return different ones, by both of
    `train_return_nodes` and `eval_return_nodes`. ValueError for a name that no module has.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.models import resnet18
        >>> from tritorch.vision.models.feature_extraction import create_feature_extractor
        >>> body = create_feature_extractor(resnet18(), {"layer1.1.conv2": "a", "avgpool": "b"})
        >>> {name: tuple(x.shape) for name, x in body(torch.zeros(1, 3, 64, 64)).items()}
        {'a': (1, 64, 16, 16), 'b': (1, 512, 1, 1)}
    """
    if (train_return_nodes is None) != (eval_return_nodes is None) or (
        (return_nodes is None) == (train_return_nodes is None)
    ):
        raise ValueError(
            "create_feature_extractor: give return_nodes, or both of train_return_nodes and "
            "eval_return_nodes"
        )
    train = _named(return_nodes if train_return_nodes is None else train_return_nodes)  # type: ignore
    evaluate = _named(return_nodes if eval_return_nodes is None else eval_return_nodes)  # type: ignore
    return FeatureExtractor(model, train, evaluate)


def get_graph_node_names(
    model: nn.Module, tracer_kwargs: dict | None = None, suppress_diff_warning: bool = False
) -> tuple[list[str], list[str]]:
    """The names of modules, which `create_feature_extractor` takes: in training, in evaluation."""
    names = [name for name, _ in model.named_modules() if name]
    return names, list(names)
