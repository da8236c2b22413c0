"""Networks for images as the backbones of detectors: their maps, alone or in a pyramid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .... import nn
from ...ops import FrozenBatchNorm2d
from ...ops.feature_pyramid_network import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
)
from .. import mobilenetv2, mobilenetv3, resnet
from .._utils import IntermediateLayerGetter
from .._whole import trainable as _validate_trainable_layers

Norm = Callable[..., nn.Module]
__all__ = [
    "BackboneWithFPN",
    "_validate_trainable_layers",
    "mobilenet_backbone",
    "resnet_fpn_backbone",
    "stages",
]


class BackboneWithFPN(nn.Module):
    """Maps of a network's layers, by `return_layers`, through a pyramid of `out_channels`."""

    def __init__(
        self,
        backbone: nn.Module,
        return_layers: dict[str, str],
        in_channels_list: list[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(backbone, return_layers)
        self.fpn = FeaturePyramidNetwork(
            in_channels_list, out_channels, extra_blocks or LastLevelMaxPool(), norm_layer
        )
        self.out_channels = out_channels

    def forward(self, x: Any) -> dict[str, Any]:
        return self.fpn(self.body(x))


def resnet_fpn_backbone(
    *,
    backbone_name: str,
    weights: Any = None,
    norm_layer: Norm = FrozenBatchNorm2d,
    trainable_layers: int = 3,
    returned_layers: list[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
) -> BackboneWithFPN:
    """A ResNet in a pyramid; of its five layers the last `trainable_layers` learn.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.models.detection.backbone_utils import resnet_fpn_backbone
        >>> net = resnet_fpn_backbone(backbone_name="resnet18", trainable_layers=3)
        >>> {k: v.shape[-1] for k, v in net(torch.zeros(1, 3, 64, 64)).items()}
        {'0': 16, '1': 8, '2': 4, '3': 2, 'pool': 1}
    """
    net = getattr(resnet, backbone_name)(weights=weights, norm_layer=norm_layer)
    return _resnet_fpn_extractor(net, trainable_layers, returned_layers, extra_blocks)


def _resnet_fpn_extractor(
    backbone: Any,
    trainable_layers: int,
    returned_layers: list[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
    norm_layer: Norm | None = None,
) -> BackboneWithFPN:
    if not 0 <= trainable_layers <= 5:
        raise ValueError(f"Trainable layers should be in the range [0,5], got {trainable_layers}")
    learns = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable_layers]
    learns += ["bn1"] if trainable_layers == 5 else []
    for name, p in backbone.named_parameters():
        if not any(name.startswith(layer) for layer in learns):
            p.requires_grad_(False)
    returned = returned_layers or [1, 2, 3, 4]
    if min(returned) <= 0 or max(returned) >= 5:
        raise ValueError(f"Each returned layer should be in the range [1,4]. Got {returned}")
    return BackboneWithFPN(
        backbone,
        {f"layer{k}": str(i) for i, k in enumerate(returned)},
        [backbone.inplanes // 8 * 2 ** (k - 1) for k in returned],
        256,
        extra_blocks,
        norm_layer,
    )


def stages(features: Any) -> list[int]:
    """Where the sizes of maps change in a MobileNet's features: the first and the last too."""
    changing = [k for k, block in enumerate(features) if getattr(block, "_is_cn", False)]
    return [0, *changing, len(features) - 1]


def freeze(features: Any, starts: list[int], trainable_layers: int) -> None:
    """Lets only the last stages learn."""
    if not 0 <= trainable_layers <= len(starts):
        raise ValueError(
            f"Trainable layers should be in the range [0,{len(starts)}], got {trainable_layers}"
        )
    before = len(features) if trainable_layers == 0 else starts[len(starts) - trainable_layers]
    for block in features[:before]:
        for p in block.parameters():
            p.requires_grad_(False)


def mobilenet_backbone(
    *,
    backbone_name: str,
    weights: Any = None,
    fpn: bool,
    norm_layer: Norm = FrozenBatchNorm2d,
    trainable_layers: int = 2,
    returned_layers: list[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
) -> nn.Module:
    """A MobileNet in a pyramid, or its last map alone, of 256 channels."""
    kinds: Any = mobilenetv3 if hasattr(mobilenetv3, backbone_name) else mobilenetv2
    net = getattr(kinds, backbone_name)(weights=weights, norm_layer=norm_layer)
    return _mobilenet_extractor(net, fpn, trainable_layers, returned_layers, extra_blocks)


def _mobilenet_extractor(
    backbone: Any,
    fpn: bool,
    trainable_layers: int,
    returned_layers: list[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
    norm_layer: Norm | None = None,
) -> nn.Module:
    features = backbone.features
    starts = stages(features)
    freeze(features, starts, trainable_layers)
    if not fpn:
        last = nn.Conv2d(features[-1].out_channels, 256, 1)
        out = nn.Sequential(features, last)
        out.out_channels = 256  # type: ignore[assignment]
        return out
    n = len(starts)
    returned = returned_layers or [n - 2, n - 1]
    if min(returned) < 0 or max(returned) >= n:
        raise ValueError(f"Each returned layer should be in the range [0,{n - 1}], got {returned}")
    return BackboneWithFPN(
        features,
        {str(starts[k]): str(i) for i, k in enumerate(returned)},
        [features[starts[k]].out_channels for k in returned],
        256,
        extra_blocks,
        norm_layer,
    )
