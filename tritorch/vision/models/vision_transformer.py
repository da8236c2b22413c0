"""Vision transformers: `tritorch.models`' in torchvision's sizes. Dosovitskiy et al., 2020."""

from __future__ import annotations

from typing import Any

from ... import models
from ...models.vit import VisionTransformer as VisionTransformer
from ._build import builder, weights_enum

V1 = "IMAGENET1K_V1"
SWAG = "IMAGENET1K_SWAG_E2E_V1"
ViT_B_16_Weights = weights_enum("ViT_B_16_Weights", SWAG, V1)
ViT_B_32_Weights = weights_enum("ViT_B_32_Weights", V1)
ViT_L_16_Weights = weights_enum("ViT_L_16_Weights", SWAG, V1)
ViT_L_32_Weights = weights_enum("ViT_L_32_Weights", V1)
ViT_H_14_Weights = weights_enum("ViT_H_14_Weights", SWAG)


@builder
def vit_b_16(**kwargs: Any) -> VisionTransformer:
    """Base, with patches of 16 pixels."""
    return models.vit_b_16(**kwargs)


@builder
def vit_b_32(**kwargs: Any) -> VisionTransformer:
    """Base, with patches of 32 pixels."""
    return models.vit_b_32(**kwargs)


@builder
def vit_l_16(**kwargs: Any) -> VisionTransformer:
    """Large, with patches of 16 pixels."""
    return models.vit_l_16(**kwargs)


@builder
def vit_l_32(**kwargs: Any) -> VisionTransformer:
    """Large, with patches of 32 pixels."""
    return models.vit_l_32(**kwargs)


@builder
def vit_h_14(**kwargs: Any) -> VisionTransformer:
    """Huge, with patches of 14 pixels."""
    return models.vit_h_14(**kwargs)
