"""VGG. Source: Simonyan and Zisserman, "Very deep convolutional networks", 2014, table 1."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...tensor import Tensor
from ._build import builder, weights_enum

cfgs: dict[str, list[Any]] = {
    "A": [1, 1, 2, 2, 2],
    "B": [2, 2, 2, 2, 2],
    "D": [2, 2, 3, 3, 3],
    "E": [2, 2, 4, 4, 4],
}  # how many convolutions stand before each of the five poolings
VGG11_Weights = weights_enum("VGG11_Weights", "IMAGENET1K_V1")
VGG11_BN_Weights = weights_enum("VGG11_BN_Weights", "IMAGENET1K_V1")
VGG13_Weights = weights_enum("VGG13_Weights", "IMAGENET1K_V1")
VGG13_BN_Weights = weights_enum("VGG13_BN_Weights", "IMAGENET1K_V1")
VGG16_Weights = weights_enum("VGG16_Weights", "IMAGENET1K_V1")
VGG16_BN_Weights = weights_enum("VGG16_BN_Weights", "IMAGENET1K_V1")
VGG19_Weights = weights_enum("VGG19_Weights", "IMAGENET1K_V1")
VGG19_BN_Weights = weights_enum("VGG19_BN_Weights", "IMAGENET1K_V1")


class VGG(nn.Module):
    """Blocks of 3 by 3 convolutions, and three linear layers."""

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            self._init_weights()

    def _init_weights(self) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
            if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None:
                nn.init.constant_(m.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def make_layers(cfg: list[int], batch_norm: bool = False) -> nn.Sequential:
    """The convolutions: `cfg` says how many there are in each block."""
    layers: list[nn.Module] = []
    before = 3
    for count, width in zip(cfg, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            before = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


@builder
def vgg11(**kwargs: Any) -> VGG:
    """11 layers."""
    return VGG(make_layers(cfgs["A"]), **kwargs)


@builder
def vgg11_bn(**kwargs: Any) -> VGG:
    """11 layers, with batch normalisation."""
    return VGG(make_layers(cfgs["A"], True), **kwargs)


@builder
def vgg13(**kwargs: Any) -> VGG:
    """13 layers."""
    return VGG(make_layers(cfgs["B"]), **kwargs)


@builder
def vgg13_bn(**kwargs: Any) -> VGG:
    """13 layers, with batch normalisation."""
    return VGG(make_layers(cfgs["B"], True), **kwargs)


@builder
def vgg16(**kwargs: Any) -> VGG:
    """16 layers."""
    return VGG(make_layers(cfgs["D"]), **kwargs)


@builder
def vgg16_bn(**kwargs: Any) -> VGG:
    """16 layers, with batch normalisation."""
    return VGG(make_layers(cfgs["D"], True), **kwargs)


@builder
def vgg19(**kwargs: Any) -> VGG:
    """19 layers."""
    return VGG(make_layers(cfgs["E"]), **kwargs)


@builder
def vgg19_bn(**kwargs: Any) -> VGG:
    """19 layers, with batch normalisation."""
    return VGG(make_layers(cfgs["E"], True), **kwargs)
