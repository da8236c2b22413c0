"""Operators of computer vision: boxes, regions, losses and layers."""

from .boxes import (
    batched_nms as batched_nms,
    box_area as box_area,
    box_convert as box_convert,
    box_iou as box_iou,
    clip_boxes_to_image as clip_boxes_to_image,
    complete_box_iou as complete_box_iou,
    distance_box_iou as distance_box_iou,
    generalized_box_iou as generalized_box_iou,
    masks_to_boxes as masks_to_boxes,
    nms as nms,
    remove_small_boxes as remove_small_boxes,
)
from .feature_pyramid_network import (
    FeaturePyramidNetwork as FeaturePyramidNetwork,
    LastLevelMaxPool as LastLevelMaxPool,
    LastLevelP6P7 as LastLevelP6P7,
)
from .losses import (
    complete_box_iou_loss as complete_box_iou_loss,
    distance_box_iou_loss as distance_box_iou_loss,
    generalized_box_iou_loss as generalized_box_iou_loss,
    sigmoid_focal_loss as sigmoid_focal_loss,
)
from .misc import (
    MLP as MLP,
    Conv2dNormActivation as Conv2dNormActivation,
    Conv3dNormActivation as Conv3dNormActivation,
    ConvNormActivation as ConvNormActivation,
    FrozenBatchNorm2d as FrozenBatchNorm2d,
    Permute as Permute,
    SqueezeExcitation as SqueezeExcitation,
    StochasticDepth as StochasticDepth,
    stochastic_depth as stochastic_depth,
)
from .poolers import MultiScaleRoIAlign as MultiScaleRoIAlign
from .regions import (
    RoIAlign as RoIAlign,
    RoIPool as RoIPool,
    roi_align as roi_align,
    roi_pool as roi_pool,
)
