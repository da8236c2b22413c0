"""Detectors by torchvision's names, with its names of parameters.

`weights` is None or a local file, and `weights_backbone` the same for the network below.

Example:
    >>> from tritorch.vision.models.detection import ssdlite320_mobilenet_v3_large
    >>> net = ssdlite320_mobilenet_v3_large(weights_backbone=None, num_classes=2)
    >>> sum(p.numel() for p in net.parameters())
    2206520
"""

from .faster_rcnn import (
    FasterRCNN as FasterRCNN,
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights as FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    FasterRCNN_MobileNet_V3_Large_FPN_Weights as FasterRCNN_MobileNet_V3_Large_FPN_Weights,
    FasterRCNN_ResNet50_FPN_V2_Weights as FasterRCNN_ResNet50_FPN_V2_Weights,
    FasterRCNN_ResNet50_FPN_Weights as FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_mobilenet_v3_large_320_fpn as fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_mobilenet_v3_large_fpn as fasterrcnn_mobilenet_v3_large_fpn,
    fasterrcnn_resnet50_fpn as fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2 as fasterrcnn_resnet50_fpn_v2,
)
from .fcos import (
    FCOS as FCOS,
    FCOS_ResNet50_FPN_Weights as FCOS_ResNet50_FPN_Weights,
    fcos_resnet50_fpn as fcos_resnet50_fpn,
)
from .keypoint_rcnn import (
    KeypointRCNN as KeypointRCNN,
    KeypointRCNN_ResNet50_FPN_Weights as KeypointRCNN_ResNet50_FPN_Weights,
    keypointrcnn_resnet50_fpn as keypointrcnn_resnet50_fpn,
)
from .mask_rcnn import (
    MaskRCNN as MaskRCNN,
    MaskRCNN_ResNet50_FPN_V2_Weights as MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights as MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn as maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2 as maskrcnn_resnet50_fpn_v2,
)
from .retinanet import (
    RetinaNet as RetinaNet,
    RetinaNet_ResNet50_FPN_V2_Weights as RetinaNet_ResNet50_FPN_V2_Weights,
    RetinaNet_ResNet50_FPN_Weights as RetinaNet_ResNet50_FPN_Weights,
    retinanet_resnet50_fpn as retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2 as retinanet_resnet50_fpn_v2,
)
from .ssd import (
    SSD as SSD,
    SSD300_VGG16_Weights as SSD300_VGG16_Weights,
    ssd300_vgg16 as ssd300_vgg16,
)
from .ssdlite import (
    SSDLite320_MobileNet_V3_Large_Weights as SSDLite320_MobileNet_V3_Large_Weights,
    ssdlite320_mobilenet_v3_large as ssdlite320_mobilenet_v3_large,
)
