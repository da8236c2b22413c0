"""Feature maps of several sizes, each with what the smaller ones know."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ... import nn
from ...nn import functional as F
from .misc import Conv2dNormActivation


class ExtraFPNBlock(nn.Module):
    """What adds smaller maps to a pyramid: from its maps, its inputs and the names, both longer."""

    def forward(self, results: list, x: list, names: list[str]) -> tuple[list, list[str]]:
        raise NotImplementedError(f"{type(self).__name__}: a block defines forward")


class LastLevelMaxPool(ExtraFPNBlock):
    """One more map, "pool": every other pixel of the smallest one."""

    def forward(self, x: list, y: list, names: list[str]) -> tuple[list, list[str]]:
        return [*x, F.max_pool2d(x[-1], 1, 2, 0)], [*names, "pool"]


class LastLevelP6P7(ExtraFPNBlock):
    """Two more maps, "p6" and "p7", by convolutions of stride 2. Source: Lin et al., RetinaNet.

    They begin at the smallest map of the pyramid, or, where the numbers of channels differ, at the
    last of its inputs.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for conv in (self.p6, self.p7):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.use_P5 = in_channels == out_channels

    def forward(self, p: list, c: list, names: list[str]) -> tuple[list, list[str]]:
        p6 = self.p6(p[-1] if self.use_P5 else c[-1])
        return [*p, p6, self.p7(F.relu(p6))], [*names, "p6", "p7"]


class FeaturePyramidNetwork(nn.Module):
    """From named maps, the largest first, the same names with `out_channels` channels each.

    `extra_blocks` adds further, smaller maps. State dicts of before its layers had a normalisation,
    with one number less in their names, load too.
    Source: Lin et al., "Feature pyramid networks for object detection", 2017.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.ops import FeaturePyramidNetwork
        >>> pyramid = FeaturePyramidNetwork([10, 20], 5)
        >>> maps = pyramid({"a": torch.zeros(1, 10, 8, 8), "b": torch.zeros(1, 20, 4, 4)})
        >>> {name: tuple(x.shape) for name, x in maps.items()}
        {'a': (1, 5, 8, 8), 'b': (1, 5, 4, 4)}
    """

    def __init__(
        self,
        in_channels_list: list[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if min(in_channels_list) <= 0:
            raise ValueError(f"in_channels are positive, got {in_channels_list}")
        if extra_blocks is not None and not isinstance(extra_blocks, ExtraFPNBlock):
            raise TypeError(
                "FeaturePyramidNetwork: extra_blocks should be of type ExtraFPNBlock not "
                f"{type(extra_blocks).__name__}"
            )

        def block(n: int, kernel: int) -> nn.Module:
            return Conv2dNormActivation(
                n, out_channels, kernel, norm_layer=norm_layer, activation_layer=None
            )

        self.inner_blocks = nn.ModuleList([block(n, 1) for n in in_channels_list])
        self.layer_blocks = nn.ModuleList([block(out_channels, 3) for _ in in_channels_list])
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_uniform_(m.weight, a=1)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        self.extra_blocks = extra_blocks

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for blocks in ("inner_blocks", "layer_blocks"):
            for k in range(len(self.inner_blocks)):
                for kind in ("weight", "bias"):
                    old = f"{prefix}{blocks}.{k}.{kind}"
                    if old in state_dict:
                        state_dict[f"{prefix}{blocks}.{k}.0.{kind}"] = state_dict.pop(old)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: dict[str, Any]) -> OrderedDict[str, Any]:
        names, maps = list(x), list(x.values())
        last: Any = None
        out: list = []
        for k in range(len(maps) - 1, -1, -1):
            here: Any = self.inner_blocks[k](maps[k])
            if last is not None:
                here = here + F.interpolate(last, size=here.shape[-2:], mode="nearest")
            last = here
            out.insert(0, self.layer_blocks[k](last))
        if self.extra_blocks is not None:
            out, names = self.extra_blocks(out, maps, names)
        return OrderedDict(zip(names, out, strict=True))
