"""Feature maps of several sizes, each with what the smaller ones know."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ... import nn
from ...nn import functional as F
from .misc import Conv2dNormActivation


class FeaturePyramidNetwork(nn.Module):
    """From named maps, the largest first, the same names with `out_channels` channels each.

    Source: Lin et al., "Feature pyramid networks for object detection", 2017.
    """

    def __init__(
        self,
        in_channels_list: list[int],
        out_channels: int,
        extra_blocks: Callable | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if extra_blocks is not None:
            raise NotImplementedError("FeaturePyramidNetwork: extra_blocks are not served")
        if min(in_channels_list) <= 0:
            raise ValueError(f"in_channels are positive, got {in_channels_list}")

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

    def forward(self, x: dict[str, Any]) -> OrderedDict[str, Any]:
        names, maps = list(x), list(x.values())
        last: Any = None
        out = []
        for k in range(len(maps) - 1, -1, -1):
            here: Any = self.inner_blocks[k](maps[k])
            if last is not None:
                here = here + F.interpolate(last, size=here.shape[-2:], mode="nearest")
            last = here
            out.insert(0, self.layer_blocks[k](last))
        return OrderedDict(zip(names, out, strict=True))
