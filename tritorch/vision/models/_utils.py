"""Features of a model's layers by name, of layers that its forward calls one after the other."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ... import nn


class IntermediateLayerGetter(nn.ModuleDict):
    """The children of a model up to the last one asked for, run in their order.

    `return_layers` maps children's names to those of the results. Children that `forward` uses
    otherwise than in a row are not served by it.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.models import _utils, resnet18
        >>> body = _utils.IntermediateLayerGetter(resnet18(), {"layer1": "a", "layer2": "b"})
        >>> {name: tuple(x.shape) for name, x in body(torch.zeros(1, 3, 32, 32)).items()}
        {'a': (1, 64, 8, 8), 'b': (1, 128, 4, 4)}
    """

    def __init__(self, model: nn.Module, return_layers: dict[str, str]) -> None:
        children = dict(model.named_children())
        unknown = [name for name in return_layers if name not in children]
        if unknown:
            raise ValueError(
                f"return_layers are not present in model: {', '.join(unknown)}; it has "
                f"{', '.join(children)}"
            )
        names = list(children)
        last = max(names.index(name) for name in return_layers)
        super().__init__(OrderedDict((name, children[name]) for name in names[: last + 1]))
        self.return_layers = {str(k): str(v) for k, v in return_layers.items()}

    def forward(self, x: Any) -> OrderedDict[str, Any]:
        out: OrderedDict[str, Any] = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        return out
