"""DenseNet. Source: Huang et al., "Densely connected convolutional networks", 2016, table 1."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ... import nn
from ...nn import functional as F
from ...ops.api import PUBLIC
from ...tensor import Tensor
from ...utils.checkpoint import checkpoint
from ._build import builder, weights_enum

DenseNet121_Weights = weights_enum("DenseNet121_Weights", "IMAGENET1K_V1")
DenseNet161_Weights = weights_enum("DenseNet161_Weights", "IMAGENET1K_V1")
DenseNet169_Weights = weights_enum("DenseNet169_Weights", "IMAGENET1K_V1")
DenseNet201_Weights = weights_enum("DenseNet201_Weights", "IMAGENET1K_V1")


class _DenseLayer(nn.Module):
    def __init__(
        self, n: int, growth_rate: int, bn_size: int, drop_rate: float, efficient: bool
    ) -> None:
        super().__init__()
        inner = bn_size * growth_rate
        self.norm1, self.relu1 = nn.BatchNorm2d(n), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(n, inner, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(inner), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, growth_rate, 3, padding=1, bias=False)
        self.drop_rate, self.memory_efficient = float(drop_rate), efficient

    def narrow(self, *inputs: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(PUBLIC["cat"](inputs, 1))))

    def forward(self, inputs: list[Any]) -> Tensor:
        if self.memory_efficient and any(x.requires_grad for x in inputs):
            inner: Any = checkpoint(self.narrow, *inputs, use_reentrant=False)
        else:
            inner = self.narrow(*inputs)
        out = self.conv2(self.relu2(self.norm2(inner)))
        return F.dropout(out, self.drop_rate, self.training) if self.drop_rate > 0 else out


class _DenseBlock(nn.ModuleDict):
    def __init__(
        self, count: int, n: int, bn_size: int, growth_rate: int, drop_rate: float, efficient: bool
    ) -> None:
        super().__init__()
        for k in range(count):
            layer = _DenseLayer(n + k * growth_rate, growth_rate, bn_size, drop_rate, efficient)
            self.add_module(f"denselayer{k + 1}", layer)

    def forward(self, init_features: Tensor) -> Tensor:
        features = [init_features]
        for layer in self.values():
            features.append(layer(features))
        return PUBLIC["cat"](features, 1)


class DenseNet(nn.Module):
    """Four blocks in which each layer sees all before it, with halvings between."""

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: tuple[int, int, int, int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        n = num_init_features
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, n, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(n),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for k, count in enumerate(block_config, 1):
            parts[f"denseblock{k}"] = _DenseBlock(
                count, n, bn_size, growth_rate, drop_rate, memory_efficient
            )
            n += count * growth_rate
            if k < len(block_config):
                parts[f"transition{k}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(n),
                        relu=nn.ReLU(inplace=True),
                        conv=nn.Conv2d(n, n // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2, 2),
                    )
                )
                n //= 2
        parts["norm5"] = nn.BatchNorm2d(n)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(n, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
            elif isinstance(m, nn.Linear):
                nn.init.constant_(m.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))  # type: ignore[attr-defined]


@builder
def densenet121(**kwargs: Any) -> DenseNet:
    """121 layers."""
    return DenseNet(32, (6, 12, 24, 16), 64, **kwargs)


@builder
def densenet161(**kwargs: Any) -> DenseNet:
    """161 layers, with a growth of 48."""
    return DenseNet(48, (6, 12, 36, 24), 96, **kwargs)


@builder
def densenet169(**kwargs: Any) -> DenseNet:
    """169 layers."""
    return DenseNet(32, (6, 12, 32, 32), 64, **kwargs)


@builder
def densenet201(**kwargs: Any) -> DenseNet:
    """201 layers."""
    return DenseNet(32, (6, 12, 48, 32), 64, **kwargs)
