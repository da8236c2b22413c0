"""MobileNetV2. Source: Sandler et al., "MobileNetV2: inverted residuals", 2018, table 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import nn
from ...tensor import Tensor
from ..ops.misc import Conv2dNormActivation
from ._build import builder, weights_enum

MobileNet_V2_Weights = weights_enum("MobileNet_V2_Weights", "IMAGENET1K_V1", "IMAGENET1K_V2")
# expansion, channels, blocks, first stride
SETTING = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The nearest multiple of `divisor`, not below 90% of `v`."""
    new = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return new + divisor if new < 0.9 * v else new


class InvertedResidual(nn.Module):
    """Wide inside, narrow outside: a depthwise convolution between two of 1 by 1."""

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm = norm_layer or nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        self.stride, self.use_res_connect = stride, stride == 1 and inp == oup
        layers: list[nn.Module] = []
        settings: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.ReLU6}
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, 1, **settings))
        layers.append(
            Conv2dNormActivation(hidden, hidden, stride=stride, groups=hidden, **settings)
        )
        layers += [nn.Conv2d(hidden, oup, 1, bias=False), norm(oup)]
        self.conv = nn.Sequential(*layers)
        self.out_channels = oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Seventeen inverted residuals; `width_mult` scales all widths."""

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Any = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        setting = inverted_residual_setting or SETTING
        if any(len(row) != 4 for row in setting):
            raise ValueError(
                f"inverted_residual_setting should be a list of 4-element lists, got {setting}"
            )
        settings: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.ReLU6}
        width = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, width, stride=2, **settings)]
        for t, c, n, s in setting:
            out = _make_divisible(c * width_mult, round_nearest)
            for k in range(n):
                features.append(block(width, out, s if k == 0 else 1, t, norm_layer=norm))
                width = out
        features.append(Conv2dNormActivation(width, self.last_channel, 1, **settings))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes)
        )
        self._init_weights()

    def _init_weights(self) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
            elif isinstance(m, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.ones_(m.weight)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
            bias = getattr(m, "bias", None)
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(x.flatten(1))  # type: ignore[attr-defined]


@builder
def mobilenet_v2(**kwargs: Any) -> MobileNetV2:
    """MobileNetV2 of the paper's width."""
    return MobileNetV2(**kwargs)
