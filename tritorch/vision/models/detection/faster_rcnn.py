"""Faster R-CNN. Sources: Ren et al., 2015; Lin et al., "Feature pyramid networks", 2017.

The second version follows Li et al., "Benchmarking detection transfer learning", 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .... import nn
from ....tensor import Tensor
from ...ops import Conv2dNormActivation, MultiScaleRoIAlign
from .._build import weights_enum
from .._whole import Start, standing
from ..mobilenetv3 import mobilenet_v3_large
from ..resnet import resnet50
from ._utils import overwrite_eps
from .anchor_utils import AnchorGenerator
from .backbone_utils import _mobilenet_extractor, _resnet_fpn_extractor
from .generalized_rcnn import GeneralizedRCNN
from .roi_heads import RoIHeads
from .rpn import RegionProposalNetwork, RPNHead
from .transform import GeneralizedRCNNTransform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, channel by channel
FasterRCNN_ResNet50_FPN_Weights = weights_enum("FasterRCNN_ResNet50_FPN_Weights", "COCO_V1")
FasterRCNN_ResNet50_FPN_V2_Weights = weights_enum("FasterRCNN_ResNet50_FPN_V2_Weights", "COCO_V1")
FasterRCNN_MobileNet_V3_Large_FPN_Weights = weights_enum(
    "FasterRCNN_MobileNet_V3_Large_FPN_Weights", "COCO_V1"
)
FasterRCNN_MobileNet_V3_Large_320_FPN_Weights = weights_enum(
    "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights", "COCO_V1"
)


def _default_anchorgen() -> AnchorGenerator:
    """One size for each of five maps, three ratios."""
    sizes = ((32,), (64,), (128,), (256,), (512,))
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))


def need_out_channels(name: str, backbone: nn.Module) -> int:
    """The channels of a backbone's maps; ValueError where it does not say."""
    if not hasattr(backbone, "out_channels"):
        raise ValueError(
            f"{name}: backbone should contain an attribute out_channels specifying the number of "
            "output channels (assumed to be the same for all the levels)"
        )
    return backbone.out_channels  # type: ignore[return-value]


def classes_or_predictor(name: str, num_classes: int | None, predictor: Any, what: str) -> None:
    """ValueError unless just one of them is given."""
    if (num_classes is None) == (predictor is None):
        problem = "should be None when" if num_classes is not None else "should not be None when no"
        raise ValueError(f"{name}: num_classes {problem} {what} is specified")


class TwoMLPHead(nn.Module):
    """Two linear layers over a region."""

    def __init__(self, in_channels: int, representation_size: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_channels, representation_size)
        self.fc7 = nn.Linear(representation_size, representation_size)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)  # type: ignore[attr-defined]
        return nn.functional.relu(self.fc7(nn.functional.relu(self.fc6(x))))


class FastRCNNConvFCHead(nn.Sequential):
    """Convolutions, then linear layers, over a region of `input_size` (C, H, W)."""

    def __init__(
        self,
        input_size: tuple[int, int, int],
        conv_layers: list[int],
        fc_layers: list[int],
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        channels, height, width = input_size
        blocks: list[nn.Module] = []
        for n in conv_layers:
            blocks.append(Conv2dNormActivation(channels, n, norm_layer=norm_layer))
            channels = n
        blocks.append(nn.Flatten())
        channels *= height * width
        for n in fc_layers:
            blocks += [nn.Linear(channels, n), nn.ReLU(inplace=True)]
            channels = n
        super().__init__(*blocks)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class FastRCNNPredictor(nn.Module):
    """The scores (K, C) of a region's classes, and a box (4) for each of them."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, num_classes * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim == 4:
            if tuple(x.shape[2:]) != (1, 1):
                raise ValueError(
                    "FastRCNNPredictor: x has the wrong shape, expecting the last two dimensions "
                    f"to be [1,1] instead of {list(x.shape[2:])}"
                )
            x = x.flatten(1)  # type: ignore[attr-defined]
        return self.cls_score(x), self.bbox_pred(x)


class FasterRCNN(GeneralizedRCNN):
    """Finds boxes of `num_classes` classes, of which 0 is the background.

    In training `model(images, targets)` gives a dict of losses: "loss_classifier", "loss_box_reg",
    "loss_objectness", "loss_rpn_box_reg". In evaluation `model(images)` gives for each image a dict
    of "boxes" (N, 4) in its pixels, "labels" (N,) and "scores" (N,), best first. Arguments that
    begin with `rpn_` and `box_` are those of `RegionProposalNetwork` and `RoIHeads`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.models.detection import FasterRCNN
        >>> from tritorch.vision.models.detection.anchor_utils import AnchorGenerator
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 16, 1), torch.nn.ReLU())
        >>> body.out_channels = 8
        >>> anchors = AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),))
        >>> net = FasterRCNN(body, 3, min_size=64, rpn_anchor_generator=anchors)
        >>> target = {"boxes": torch.tensor([[2.0, 2, 30, 40]]), "labels": torch.tensor([1])}
        >>> sorted(net([torch.rand(3, 48, 64)], [target]))
        ['loss_box_reg', 'loss_classifier', 'loss_objectness', 'loss_rpn_box_reg']
        >>> sorted(net.eval()([torch.rand(3, 48, 64)])[0])
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        min_size: int | tuple[int, ...] = 800,
        max_size: int = 1333,
        image_mean: Any = None,
        image_std: Any = None,
        rpn_anchor_generator: nn.Module | None = None,
        rpn_head: nn.Module | None = None,
        rpn_pre_nms_top_n_train: int = 2000,
        rpn_pre_nms_top_n_test: int = 1000,
        rpn_post_nms_top_n_train: int = 2000,
        rpn_post_nms_top_n_test: int = 1000,
        rpn_nms_thresh: float = 0.7,
        rpn_fg_iou_thresh: float = 0.7,
        rpn_bg_iou_thresh: float = 0.3,
        rpn_batch_size_per_image: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_thresh: float = 0.0,
        box_roi_pool: nn.Module | None = None,
        box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100,
        box_fg_iou_thresh: float = 0.5,
        box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 512,
        box_positive_fraction: float = 0.25,
        bbox_reg_weights: tuple[float, float, float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        channels = need_out_channels(name, backbone)
        classes_or_predictor(name, num_classes, box_predictor, "box_predictor")
        anchors: Any = rpn_anchor_generator or _default_anchorgen()
        rpn = RegionProposalNetwork(
            anchors,
            rpn_head or RPNHead(channels, anchors.num_anchors_per_location()[0]),
            rpn_fg_iou_thresh,
            rpn_bg_iou_thresh,
            rpn_batch_size_per_image,
            rpn_positive_fraction,
            {"training": rpn_pre_nms_top_n_train, "testing": rpn_pre_nms_top_n_test},
            {"training": rpn_post_nms_top_n_train, "testing": rpn_post_nms_top_n_test},
            rpn_nms_thresh,
            rpn_score_thresh,
        )
        pool: Any = box_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
        if box_head is None:
            box_head = TwoMLPHead(channels * pool.output_size[0] ** 2, 1024)
        if box_predictor is None:
            box_predictor = FastRCNNPredictor(1024, num_classes)  # type: ignore[arg-type]
        heads = RoIHeads(
            pool,
            box_head,
            box_predictor,
            box_fg_iou_thresh,
            box_bg_iou_thresh,
            box_batch_size_per_image,
            box_positive_fraction,
            bbox_reg_weights,
            box_score_thresh,
            box_nms_thresh,
            box_detections_per_img,
        )
        transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or [*MEAN], image_std or [*STD], **kwargs
        )
        super().__init__(backbone, rpn, heads, transform)


@standing("resnet50", then=lambda model: overwrite_eps(model, 0.0))
def fasterrcnn_resnet50_fpn(start: Start, num_classes: int, **kwargs: Any) -> FasterRCNN:
    """Faster R-CNN on a pyramid of ResNet-50."""
    body = resnet50(weights=start.file, norm_layer=start.norm)
    return FasterRCNN(_resnet_fpn_extractor(body, start.layers), num_classes, **kwargs)


def second_version(start: Start) -> dict[str, Any]:
    """The parts that the second version has otherwise: a deeper RPN, convolutions over regions."""
    body = _resnet_fpn_extractor(
        resnet50(weights=start.file), start.layers, norm_layer=nn.BatchNorm2d
    )
    anchors = _default_anchorgen()
    size = (body.out_channels, 7, 7)
    return {
        "backbone": body,
        "rpn_anchor_generator": anchors,
        "rpn_head": RPNHead(body.out_channels, anchors.num_anchors_per_location()[0], 2),
        "box_head": FastRCNNConvFCHead(size, [256] * 4, [1024], nn.BatchNorm2d),
    }


@standing("resnet50")
def fasterrcnn_resnet50_fpn_v2(start: Start, num_classes: int, **kwargs: Any) -> FasterRCNN:
    """Faster R-CNN on a pyramid of ResNet-50, with what was found later."""
    return FasterRCNN(num_classes=num_classes, **{**second_version(start), **kwargs})


def _on_mobilenet(start: Start, num_classes: int, kwargs: dict[str, Any]) -> FasterRCNN:
    body = mobilenet_v3_large(weights=start.file, norm_layer=start.norm)
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    return FasterRCNN(
        _mobilenet_extractor(body, True, start.layers),
        num_classes,
        **{"rpn_anchor_generator": anchors, "rpn_score_thresh": 0.05, **kwargs},
    )


@standing("mobilenet_v3_large", layers=(3, 6))
def fasterrcnn_mobilenet_v3_large_fpn(start: Start, num_classes: int, **kwargs: Any) -> FasterRCNN:
    """Faster R-CNN on a pyramid of MobileNetV3."""
    return _on_mobilenet(start, num_classes, kwargs)


@standing("mobilenet_v3_large", layers=(3, 6))
def fasterrcnn_mobilenet_v3_large_320_fpn(
    start: Start, num_classes: int, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN on a pyramid of MobileNetV3, for images of 320 pixels."""
    few = {"rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}
    return _on_mobilenet(start, num_classes, {"min_size": 320, "max_size": 640, **few, **kwargs})
