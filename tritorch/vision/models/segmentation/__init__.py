"""Segmentations by torchvision's names, with its names of parameters.

`weights` is None or a local file, and `weights_backbone` the same for the network below.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision.models import segmentation
    >>> net = segmentation.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=3).eval()
    >>> net(torch.zeros(1, 3, 64, 48))["out"].shape
    tritorch.Size([1, 3, 64, 48])
"""

from .deeplabv3 import (
    DeepLabV3 as DeepLabV3,
    DeepLabV3_MobileNet_V3_Large_Weights as DeepLabV3_MobileNet_V3_Large_Weights,
    DeepLabV3_ResNet50_Weights as DeepLabV3_ResNet50_Weights,
    DeepLabV3_ResNet101_Weights as DeepLabV3_ResNet101_Weights,
    deeplabv3_mobilenet_v3_large as deeplabv3_mobilenet_v3_large,
    deeplabv3_resnet50 as deeplabv3_resnet50,
    deeplabv3_resnet101 as deeplabv3_resnet101,
)
from .fcn import (
    FCN as FCN,
    FCN_ResNet50_Weights as FCN_ResNet50_Weights,
    FCN_ResNet101_Weights as FCN_ResNet101_Weights,
    fcn_resnet50 as fcn_resnet50,
    fcn_resnet101 as fcn_resnet101,
)
from .lraspp import (
    LRASPP as LRASPP,
    LRASPP_MobileNet_V3_Large_Weights as LRASPP_MobileNet_V3_Large_Weights,
    lraspp_mobilenet_v3_large as lraspp_mobilenet_v3_large,
)
