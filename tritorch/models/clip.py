"""CLIP, with the names of parameters of Hugging Face's transformers.

Radford et al. 2021, "Learning transferable visual models from natural language supervision",
section 2.
"""

from __future__ import annotations

import math

from .. import nn
from ..nn import functional as F
from ..ops.create import empty, tensor
from ..ops.join import cat
from ..ops.ranges import arange
from ..tensor import Tensor


class CLIPAttention(nn.Module):
    """Self-attention in heads, causal or not: `(N, L, C)` to the same."""

    def __init__(self, width: int, heads: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.causal, self.p = heads, causal, dropout
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = (
            layer(x).view(n, length, self.heads, -1).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(n, length, width))


class CLIPMLP(nn.Module):
    """Linear, `x * sigmoid(1.702 x)`, linear: `(..., C)` to the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * (1.702 * x).sigmoid())


class CLIPEncoderLayer(nn.Module):
    """Attention, then an MLP, each of the normalised input and added to it."""

    def __init__(self, width: int, heads: int, inner: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.self_attn = CLIPAttention(width, heads, causal, dropout)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = CLIPMLP(width, inner)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPEncoder(nn.Module):
    """The layers, one after another: `(N, L, C)` to the same."""

    def __init__(
        self, layers: int, width: int, heads: int, inner: int, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"CLIPModel: {heads} heads must divide the width {width}")
        sizes = (width, heads, inner, causal, dropout)
        self.layers = nn.ModuleList(CLIPEncoderLayer(*sizes) for _ in range(layers))
        for layer in self.layers:
            _initialize(layer, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def _initialize(layer: CLIPEncoderLayer, width: int, layers: int) -> None:
    """Radford et al.'s: results of layers are scaled by their number."""
    attention, mlp = layer.self_attn, layer.mlp
    scale = (2 * layers) ** -0.5
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
        nn.init.normal_(linear.weight, std=width**-0.5 * scale)
    nn.init.normal_(attention.out_proj.weight, std=width**-0.5)
    nn.init.normal_(mlp.fc1.weight, std=(2 * width) ** -0.5)
    nn.init.normal_(mlp.fc2.weight, std=width**-0.5 * scale)
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


class CLIPTextEmbeddings(nn.Module):
    """The sum of embeddings of tokens and places: `(N, L)` to `(N, L, C)`."""

    def __init__(self, words: int, places: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.position_embedding = nn.Embedding(places, width)
        for table in (self.token_embedding, self.position_embedding):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, input_ids: Tensor) -> Tensor:
        length, most = input_ids.shape[-1], self.position_embedding.num_embeddings
        if input_ids.ndim != 2 or length > most:
            raise ValueError(
                f"CLIPModel: token numbers of shape {tuple(input_ids.shape)} do not fit; expected "
                f"(N, L) with L up to {most}"
            )
        places = arange(length, device=input_ids.device)
        return self.token_embedding(input_ids) + self.position_embedding(places)


class CLIPTextTransformer(nn.Module):
    """The text: `(N, L)` of token numbers to the state of its end, `(N, C)`.

    The end is the token of the greatest number, as in CLIP's vocabulary.
    """

    def __init__(
        self,
        words: int,
        places: int,
        width: int,
        layers: int,
        heads: int,
        inner: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embeddings = CLIPTextEmbeddings(words, places, width)
        self.encoder = CLIPEncoder(layers, width, heads, inner, True, dropout)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.final_layer_norm(self.encoder(self.embeddings(input_ids)))
        return x[arange(x.shape[0], device=x.device), input_ids.argmax(-1)]


class CLIPVisionEmbeddings(nn.Module):
    """Patches of an image as vectors, after a class token, with places: to `(N, L, C)`."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.class_embedding = nn.Parameter(empty(width).normal_(std=width**-0.5))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((size // patch) ** 2 + 1, width)
        for table in (self.patch_embedding, self.position_embedding):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, pixel_values: Tensor) -> Tensor:
        size = self.size
        if pixel_values.ndim != 4 or pixel_values.shape[1:] != (3, size, size):
            raise ValueError(
                f"CLIPModel: images of shape {tuple(pixel_values.shape)} do not fit; expected "
                f"(N, 3, {size}, {size})"
            )
        x = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        return cat([first, x], 1) + self.position_embedding.weight


class CLIPVisionTransformer(nn.Module):
    """The image: `(N, 3, H, H)` to the state of the class token, `(N, C)`."""

    def __init__(
        self, size: int, patch: int, width: int, layers: int, heads: int, inner: int, dropout: float
    ) -> None:
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(size, patch, width)
        self.pre_layrnorm = nn.LayerNorm(width)  # the name under which it was published
        self.encoder = CLIPEncoder(layers, width, heads, inner, False, dropout)
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.encoder(self.pre_layrnorm(self.embeddings(pixel_values)))
        return self.post_layernorm(x[:, 0])


class CLIPModel(nn.Module):
    """CLIP: how well images and texts go together.

    The defaults are those of clip-vit-base-patch32, of 151 million parameters.

    Args:
        vocab_size, max_position_embeddings: the number of tokens, and the greatest length of texts;
            the token of the greatest number ends a text.
        text_width, text_layers, text_heads: of the transformer over the text.
        image_size, patch_size: in pixels.
        vision_width, vision_layers, vision_heads: of the transformer over the image.
        projection_dim: the width of what is compared.
        attention_dropout: a probability.

    Shapes: token numbers `(M, L)` and images `(N, 3, image_size, image_size)` to logits for each
    image `(N, M)` and for each text `(M, N)`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import CLIPModel
        >>> small = dict(text_width=16, text_layers=1, text_heads=2, vision_width=16)
        >>> net = CLIPModel(50, 8, **small, vision_layers=1, vision_heads=2, image_size=32)
        >>> texts = torch.tensor([[48, 3, 49], [48, 4, 49]])
        >>> per_image, per_text = net(texts, torch.zeros(3, 3, 32, 32))
        >>> per_image.shape, per_text.shape
        (tritorch.Size([3, 2]), tritorch.Size([2, 3]))
    """

    def __init__(
        self,
        vocab_size: int = 49408,
        max_position_embeddings: int = 77,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
        image_size: int = 224,
        patch_size: int = 32,
        vision_width: int = 768,
        vision_layers: int = 12,
        vision_heads: int = 12,
        projection_dim: int = 512,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(tensor(math.log(1 / 0.07)))
        self.text_model = CLIPTextTransformer(
            *(vocab_size, max_position_embeddings, text_width, text_layers, text_heads),
            *(4 * text_width, attention_dropout),
        )
        self.vision_model = CLIPVisionTransformer(
            *(image_size, patch_size, vision_width, vision_layers, vision_heads),
            *(4 * vision_width, attention_dropout),
        )
        self.visual_projection = nn.Linear(vision_width, projection_dim, bias=False)
        self.text_projection = nn.Linear(text_width, projection_dim, bias=False)
        for projection in (self.visual_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)

    def get_text_features(self, input_ids: Tensor) -> Tensor:
        """Texts as vectors: `(M, L)` of token numbers to `(M, projection_dim)`."""
        return self.text_projection(self.text_model(input_ids))

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Images as vectors: `(N, 3, H, H)` to `(N, projection_dim)`."""
        return self.visual_projection(self.vision_model(pixel_values))

    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        text, image = self.get_text_features(input_ids), self.get_image_features(pixel_values)
        text = text / text.norm(dim=-1, keepdim=True)
        image = image / image.norm(dim=-1, keepdim=True)
        per_text = text @ image.t() * self.logit_scale.exp()
        return per_text.t(), per_text

    @staticmethod
    def published_name(name: str) -> str | None:
        """The numbers of places that older files have are no weights."""
        return None if name.endswith("position_ids") else name
