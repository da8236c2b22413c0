"""MobileNetV3. Source: Howard et al., "Searching for MobileNetV3", 2019, tables 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ... import nn
from ...tensor import Tensor
from ..ops.misc import Conv2dNormActivation, SqueezeExcitation
from ._build import builder, weights_enum
from .mobilenetv2 import _make_divisible

MobileNet_V3_Large_Weights = weights_enum(
    "MobileNet_V3_Large_Weights", "IMAGENET1K_V1", "IMAGENET1K_V2"
)
MobileNet_V3_Small_Weights = weights_enum("MobileNet_V3_Small_Weights", "IMAGENET1K_V1")
# input, kernel, expanded, output, whether it squeezes, activation, stride; "tail" rows may be
# narrower and dilated
LARGE = (
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", 2),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", 2),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", 2),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
)
LARGE_TAIL = (
    (112, 5, 672, 160, True, "HS", 2),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
)
SMALL = (
    (16, 3, 16, 16, True, "RE", 2),
    (16, 3, 72, 24, False, "RE", 2),
    (24, 3, 88, 24, False, "RE", 1),
    (24, 5, 96, 40, True, "HS", 2),
    (40, 5, 240, 40, True, "HS", 1),
    (40, 5, 240, 40, True, "HS", 1),
    (40, 5, 120, 48, True, "HS", 1),
    (48, 5, 144, 48, True, "HS", 1),
)
SMALL_TAIL = (
    (48, 5, 288, 96, True, "HS", 2),
    (96, 5, 576, 96, True, "HS", 1),
    (96, 5, 576, 96, True, "HS", 1),
)


class InvertedResidualConfig:
    """A row of the paper's tables; `activation` is "RE" (ReLU) or "HS" (hard swish)."""

    def __init__(
        self,
        input_channels: int,
        kernel: int,
        expanded_channels: int,
        out_channels: int,
        use_se: bool,
        activation: str,
        stride: int,
        dilation: int,
        width_mult: float,
    ) -> None:
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.kernel, self.use_se, self.use_hs = kernel, use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """The nearest multiple of eight."""
        return _make_divisible(channels * width_mult, 8)


class InvertedResidual(nn.Module):
    """Wide inside, narrow outside, with channels weighted by what the map holds."""

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Callable[..., nn.Module],
        se_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {cnf.stride}")
        wide, k = cnf.expanded_channels, cnf.kernel
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        settings: dict[str, Any] = {
            "norm_layer": norm_layer,
            "activation_layer": nn.Hardswish if cnf.use_hs else nn.ReLU,
        }
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(Conv2dNormActivation(cnf.input_channels, wide, 1, **settings))
        stride = 1 if cnf.dilation > 1 else cnf.stride
        spread = {"stride": stride, "groups": wide, "dilation": cnf.dilation}
        layers.append(Conv2dNormActivation(wide, wide, k, **spread, **settings))
        if cnf.use_se:
            squeeze = se_layer or partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)
            layers.append(squeeze(wide, _make_divisible(wide // 4, 8)))
        settings["activation_layer"] = None
        layers.append(Conv2dNormActivation(wide, cnf.out_channels, 1, **settings))
        self.block = nn.Sequential(*layers)
        self.out_channels, self._is_cn = cnf.out_channels, cnf.stride > 1

    def forward(self, input: Tensor) -> Tensor:
        out = self.block(input)
        return out + input if self.use_res_connect else out


class MobileNetV3(nn.Module):
    """The blocks of `inverted_residual_setting`, and two linear layers over their mean."""

    def __init__(
        self,
        inverted_residual_setting: Sequence[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        rows = list(inverted_residual_setting)
        if not rows or not all(isinstance(r, InvertedResidualConfig) for r in rows):
            raise TypeError(
                "MobileNetV3: inverted_residual_setting should be List[InvertedResidualConfig]"
            )
        block = block or InvertedResidual
        norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        settings: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.Hardswish}
        last = rows[-1].out_channels
        self.features = nn.Sequential(
            Conv2dNormActivation(3, rows[0].input_channels, 3, stride=2, **settings),
            *(block(row, norm) for row in rows),
            Conv2dNormActivation(last, 6 * last, 1, **settings),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(p=dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
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
            else:
                continue
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _rows(
    body: Any, tail: Any, width_mult: float, reduced_tail: bool, dilated: bool
) -> list[InvertedResidualConfig]:
    """The settings of a network; the tail's own channels, not its input's, are reduced."""
    divider, dilation = 2 if reduced_tail else 1, 2 if dilated else 1
    config: Any = InvertedResidualConfig
    rows = [config(*row, 1, width_mult) for row in body]
    for k, (before, kernel, wide, out, *rest) in enumerate(tail):
        if k:
            before, wide = before // divider, wide // divider
        rows.append(config(before, kernel, wide, out // divider, *rest, dilation, width_mult))
    return rows


def _mobilenet_v3(body: Any, tail: Any, last: int, kwargs: dict[str, Any]) -> MobileNetV3:
    width, reduced = kwargs.pop("width_mult", 1.0), kwargs.pop("reduced_tail", False)
    rows = _rows(body, tail, width, reduced, kwargs.pop("dilated", False))
    last = InvertedResidualConfig.adjust_channels(last // (2 if reduced else 1), width)
    return MobileNetV3(rows, last, **kwargs)


@builder
def mobilenet_v3_large(**kwargs: Any) -> MobileNetV3:
    """The paper's large network; `reduced_tail`, `dilated`, `width_mult` change it."""
    return _mobilenet_v3(LARGE, LARGE_TAIL, 1280, kwargs)


@builder
def mobilenet_v3_small(**kwargs: Any) -> MobileNetV3:
    """The paper's small network; `reduced_tail`, `dilated`, `width_mult` change it."""
    return _mobilenet_v3(SMALL, SMALL_TAIL, 1024, kwargs)
