"""Networks by torchvision's names, with its names of parameters.

`weights` is None or a local file; published weights are not downloaded.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision import models
    >>> models.resnet18(num_classes=10).fc
    Linear(in_features=512, out_features=10, bias=True)
"""

from . import detection as detection, segmentation as segmentation
from ._build import (
    Weights as Weights,
    get_model as get_model,
    get_model_builder as get_model_builder,
    list_models as list_models,
)
from .alexnet import (
    AlexNet as AlexNet,
    AlexNet_Weights as AlexNet_Weights,
    alexnet as alexnet,
)
from .densenet import (
    DenseNet as DenseNet,
    DenseNet121_Weights as DenseNet121_Weights,
    DenseNet161_Weights as DenseNet161_Weights,
    DenseNet169_Weights as DenseNet169_Weights,
    DenseNet201_Weights as DenseNet201_Weights,
    densenet121 as densenet121,
    densenet161 as densenet161,
    densenet169 as densenet169,
    densenet201 as densenet201,
)
from .googlenet import (
    GoogLeNet as GoogLeNet,
    GoogLeNet_Weights as GoogLeNet_Weights,
    GoogLeNetOutputs as GoogLeNetOutputs,
    googlenet as googlenet,
)
from .mobilenetv2 import (
    MobileNet_V2_Weights as MobileNet_V2_Weights,
    MobileNetV2 as MobileNetV2,
    mobilenet_v2 as mobilenet_v2,
)
from .mobilenetv3 import (
    MobileNet_V3_Large_Weights as MobileNet_V3_Large_Weights,
    MobileNet_V3_Small_Weights as MobileNet_V3_Small_Weights,
    MobileNetV3 as MobileNetV3,
    mobilenet_v3_large as mobilenet_v3_large,
    mobilenet_v3_small as mobilenet_v3_small,
)
from .resnet import (
    ResNet as ResNet,
    ResNet18_Weights as ResNet18_Weights,
    ResNet34_Weights as ResNet34_Weights,
    ResNet50_Weights as ResNet50_Weights,
    ResNet101_Weights as ResNet101_Weights,
    ResNet152_Weights as ResNet152_Weights,
    ResNeXt50_32X4D_Weights as ResNeXt50_32X4D_Weights,
    ResNeXt101_32X8D_Weights as ResNeXt101_32X8D_Weights,
    Wide_ResNet50_2_Weights as Wide_ResNet50_2_Weights,
    Wide_ResNet101_2_Weights as Wide_ResNet101_2_Weights,
    resnet18 as resnet18,
    resnet34 as resnet34,
    resnet50 as resnet50,
    resnet101 as resnet101,
    resnet152 as resnet152,
    resnext50_32x4d as resnext50_32x4d,
    resnext101_32x8d as resnext101_32x8d,
    wide_resnet50_2 as wide_resnet50_2,
    wide_resnet101_2 as wide_resnet101_2,
)
from .squeezenet import (
    SqueezeNet as SqueezeNet,
    SqueezeNet1_0_Weights as SqueezeNet1_0_Weights,
    SqueezeNet1_1_Weights as SqueezeNet1_1_Weights,
    squeezenet1_0 as squeezenet1_0,
    squeezenet1_1 as squeezenet1_1,
)
from .vgg import (
    VGG as VGG,
    VGG11_BN_Weights as VGG11_BN_Weights,
    VGG11_Weights as VGG11_Weights,
    VGG13_BN_Weights as VGG13_BN_Weights,
    VGG13_Weights as VGG13_Weights,
    VGG16_BN_Weights as VGG16_BN_Weights,
    VGG16_Weights as VGG16_Weights,
    VGG19_BN_Weights as VGG19_BN_Weights,
    VGG19_Weights as VGG19_Weights,
    vgg11 as vgg11,
    vgg11_bn as vgg11_bn,
    vgg13 as vgg13,
    vgg13_bn as vgg13_bn,
    vgg16 as vgg16,
    vgg16_bn as vgg16_bn,
    vgg19 as vgg19,
    vgg19_bn as vgg19_bn,
)
from .vision_transformer import (
    VisionTransformer as VisionTransformer,
    ViT_B_16_Weights as ViT_B_16_Weights,
    ViT_B_32_Weights as ViT_B_32_Weights,
    ViT_H_14_Weights as ViT_H_14_Weights,
    ViT_L_16_Weights as ViT_L_16_Weights,
    ViT_L_32_Weights as ViT_L_32_Weights,
    vit_b_16 as vit_b_16,
    vit_b_32 as vit_b_32,
    vit_h_14 as vit_h_14,
    vit_l_16 as vit_l_16,
    vit_l_32 as vit_l_32,
)
