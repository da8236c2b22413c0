"""GoogLeNet with batch normalisation. Source: Szegedy et al., "Going deeper", 2014, table 1."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ... import nn
from ...nn import functional as F
from ...ops.api import PUBLIC
from ...tensor import Tensor
from ._build import builder, weights_enum

GoogLeNet_Weights = weights_enum("GoogLeNet_Weights", "IMAGENET1K_V1")
GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ("logits", "aux_logits2", "aux_logits1"))
# input; 1x1; 3x3 and what precedes it; 5x5 and what precedes it; after the pooling
SIZES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class BasicConv2d(nn.Module):
    """A convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches side by side; the one of 5 by 5 has a kernel of 3, as published weights do."""

    def __init__(
        self, n: int, one: int, red3: int, three: int, red5: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(n, one, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(n, red3, kernel_size=1), BasicConv2d(red3, three, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(n, red5, kernel_size=1), BasicConv2d(red5, five, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv2d(n, pool, kernel_size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return PUBLIC["cat"](
            [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1
        )


class InceptionAux(nn.Module):
    """A classifier half way, for training."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, (4, 4))).flatten(1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(nn.Module):
    """Nine inception modules; in training with `aux_logits` a tuple of three results."""

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = True,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        for name, size in SIZES.items():
            setattr(self, f"inception{name}", Inception(*size))
            if name in ("3b", "4e"):
                pool = nn.MaxPool2d(3 if name == "3b" else 2, 2, ceil_mode=True)
                setattr(self, f"maxpool{name[0]}", pool)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights:
            for m in self.modules():
                if isinstance(m, nn.Conv2d | nn.Linear):
                    nn.init.trunc_normal_(m.weight, 0.0, 0.01, -2, 2)

    def forward(self, x: Any) -> Any:
        if self.transform_input:  # from ImageNet's normalisation to the one of -1 to 1
            scale = x.new_tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1) / 0.5
            shift = (x.new_tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1) - 0.5) / 0.5
            x = x * scale + shift
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        helped = self.aux_logits and self.training
        aux: dict[str, Any] = {}
        for name in SIZES:
            x = getattr(self, f"inception{name}")(x)
            if name in ("3b", "4e"):
                x = getattr(self, f"maxpool{name[0]}")(x)
            elif helped and name in ("4a", "4d"):
                aux[name] = (self.aux1 if name == "4a" else self.aux2)(x)  # type: ignore[misc]
        x = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return GoogLeNetOutputs(x, aux["4d"], aux["4a"]) if helped else x


@builder
def googlenet(**kwargs: Any) -> GoogLeNet:
    """GoogLeNet."""
    return GoogLeNet(**kwargs)
