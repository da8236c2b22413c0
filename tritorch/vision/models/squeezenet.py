"""SqueezeNet. Source: Iandola et al., 2016, table 1."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...ops.api import PUBLIC
from ...tensor import Tensor
from ._build import builder, weights_enum

SqueezeNet1_0_Weights = weights_enum("SqueezeNet1_0_Weights", "IMAGENET1K_V1")
SqueezeNet1_1_Weights = weights_enum("SqueezeNet1_1_Weights", "IMAGENET1K_V1")


class Fire(nn.Module):
    """Few channels, then many: of 1 by 1 and of 3 by 3 convolutions side by side."""

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one = self.expand1x1_activation(self.expand1x1(x))
        return PUBLIC["cat"]([one, self.expand3x3_activation(self.expand3x3(x))], 1)


FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class SqueezeNet(nn.Module):
    """A convolution, eight fire modules with poolings between, a convolution for the classes."""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in ("1_0", "1_1"):
            raise ValueError(f"Unsupported SqueezeNet version {version}: 1_0 or 1_1 expected")
        first = version == "1_0"
        width = 96 if first else 64
        layers = [nn.Conv2d(3, width, 7 if first else 3, 2), nn.ReLU(inplace=True)]
        pools = (0, 3, 7) if first else (0, 2, 4)
        for k, (inner, outer) in enumerate(FIRES):
            if k in pools:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(width, inner, outer, outer))
            width = 2 * outer
        self.num_classes, self.features = num_classes, nn.Sequential(*layers)
        final = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), final, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                if m is final:
                    nn.init.normal_(m.weight, 0.0, 0.01)
                else:
                    nn.init.kaiming_uniform_(m.weight)
                nn.init.constant_(m.bias, 0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


@builder
def squeezenet1_0(**kwargs: Any) -> SqueezeNet:
    """The network of the paper."""
    return SqueezeNet("1_0", **kwargs)


@builder
def squeezenet1_1(**kwargs: Any) -> SqueezeNet:
    """The authors' second one, of less than half the arithmetic."""
    return SqueezeNet("1_1", **kwargs)
