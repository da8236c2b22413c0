"""The vision transformer, with torchvision's names of parameters.

Dosovitskiy et al. 2021, "An image is worth 16x16 words: transformers for image recognition at
scale", section 3.1 and table 1.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .. import nn
from ..ops.create import zeros
from ..ops.join import cat
from ..tensor import Tensor
from ._weights import load_weights

Norm = Callable[..., nn.Module]
_NORM: Norm = functools.partial(nn.LayerNorm, eps=1e-6)


class MLPBlock(nn.Sequential):
    """Linear, GELU, dropout, linear, dropout: `(..., width)` to `(..., width)`."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(
            *(nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(inner, width), nn.Dropout(dropout)),
        )
        for layer in (self[0], self[3]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Self-attention, then an MLP, each of the normalised input and added to it."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Norm = _NORM,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, dropout=attention_dropout, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(x) + input
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Positions are added, then come the blocks and a normalisation: `(N, L, C)` to the same."""

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Norm = _NORM,
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(zeros(1, seq_length, hidden_dim).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        sizes = (num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer)
        blocks = ((f"encoder_layer_{i}", EncoderBlock(*sizes)) for i in range(num_layers))
        self.layers = nn.Sequential(OrderedDict(blocks))
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """A transformer over square patches of an image, and a classifier of its class token.

    Args:
        image_size, patch_size: in pixels; the second divides the first.
        num_layers, num_heads, hidden_dim, mlp_dim: of the encoder.
        dropout, attention_dropout: probabilities.
        num_classes: the size of the result.
        representation_size: the width of a layer with tanh before the classifier, if any.
        norm_layer: makes the normalisations, of their width.

    Shapes: `(N, 3, image_size, image_size)` to `(N, num_classes)`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import VisionTransformer
        >>> net = VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=10).eval()
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        tritorch.Size([2, 10])
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Norm = _NORM,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(
                f"VisionTransformer: patches of {patch_size} pixels do not fit into an image of "
                f"{image_size}; the size must be a multiple of {patch_size}"
            )
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.mlp_dim, self.num_classes = mlp_dim, num_classes
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.representation_size, self.norm_layer = representation_size, norm_layer
        self.conv_proj = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(
            *(self.seq_length, num_layers, num_heads, hidden_dim, mlp_dim),
            *(dropout, attention_dropout, norm_layer),
        )
        self.heads = self._head()
        fan_in = 3 * patch_size * patch_size
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(self.conv_proj.bias)

    def _head(self) -> nn.Sequential:
        width, layers = self.hidden_dim, OrderedDict()
        if self.representation_size is not None:
            layers["pre_logits"] = nn.Linear(width, self.representation_size)
            layers["act"] = nn.Tanh()
            nn.init.trunc_normal_(layers["pre_logits"].weight, std=math.sqrt(1 / width))
            nn.init.zeros_(layers["pre_logits"].bias)
            width = self.representation_size
        layers["head"] = nn.Linear(width, self.num_classes)
        nn.init.zeros_(layers["head"].weight)
        nn.init.zeros_(layers["head"].bias)
        return nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        size = self.image_size
        if x.ndim != 4 or x.shape[2:] != (size, size):
            raise ValueError(
                f"VisionTransformer: images of shape {tuple(x.shape)} do not fit; expected "
                f"(N, 3, {size}, {size})"
            )
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])

    @staticmethod
    def published_name(name: str) -> str:
        """The first files of torchvision call the layers of an MLP `linear_1` and `linear_2`."""
        return name.replace(".linear_1.", ".0.").replace(".linear_2.", ".3.")


def _vit(patch: int, sizes: tuple[int, int, int, int], weights: Any, kwargs: dict[str, Any]) -> Any:
    net = VisionTransformer(kwargs.pop("image_size", 224), patch, *sizes, **kwargs)
    return net if weights is None else load_weights(net, weights)


def vit_b_16(weights: Any = None, **kwargs: Any) -> VisionTransformer:
    """ViT-Base with patches of 16 by 16: 12 layers of width 768, 86.6 million parameters.

    `weights` is a local file for `load_weights`; the keywords are those of `VisionTransformer`,
    `image_size` being 224.
    """
    return _vit(16, (12, 12, 768, 3072), weights, kwargs)


def vit_b_32(weights: Any = None, **kwargs: Any) -> VisionTransformer:
    """ViT-Base with patches of 32 by 32; arguments as for `vit_b_16`."""
    return _vit(32, (12, 12, 768, 3072), weights, kwargs)


def vit_l_16(weights: Any = None, **kwargs: Any) -> VisionTransformer:
    """ViT-Large with patches of 16 by 16: 24 layers of width 1024; arguments as for `vit_b_16`."""
    return _vit(16, (24, 16, 1024, 4096), weights, kwargs)


def vit_l_32(weights: Any = None, **kwargs: Any) -> VisionTransformer:
    """ViT-Large with patches of 32 by 32; arguments as for `vit_b_16`."""
    return _vit(32, (24, 16, 1024, 4096), weights, kwargs)


def vit_h_14(weights: Any = None, **kwargs: Any) -> VisionTransformer:
    """ViT-Huge with patches of 14 by 14: 32 layers of width 1280; arguments as for `vit_b_16`."""
    return _vit(14, (32, 16, 1280, 5120), weights, kwargs)
