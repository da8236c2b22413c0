"""AlexNet. Source: Krizhevsky, "One weird trick for parallelizing convolutional networks", 2014."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...tensor import Tensor
from ._build import builder, weights_enum

AlexNet_Weights = weights_enum("AlexNet_Weights", "IMAGENET1K_V1")


class AlexNet(nn.Module):
    """Five convolutions and three linear layers, for images (N, 3, 224, 224).

    Example:
        >>> from tritorch.vision.models import alexnet
        >>> sum(p.numel() for p in alexnet(num_classes=10).parameters())
        57044810
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, out, kernel, stride, pad, pool in (
            (3, 64, 11, 4, 2, True),
            (64, 192, 5, 1, 2, True),
            (192, 384, 3, 1, 1, False),
            (384, 256, 3, 1, 1, False),
            (256, 256, 3, 1, 1, True),
        ):
            layers += [nn.Conv2d(n, out, kernel, stride, pad), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2)] if pool else []
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@builder
def alexnet(**kwargs: Any) -> AlexNet:
    """AlexNet of one tower."""
    return AlexNet(**kwargs)
