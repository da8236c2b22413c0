"""Contrastive pretraining: an image and a text encoder, a learned temperature clamped in place,
normalised features, a symmetric loss, zero-shot classification, weights kept under new names.

Exercises what openai/CLIP and open_clip do.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

rng = np.random.default_rng(0)
WORDS = ["a", "picture", "of", "left", "right", "top", "bottom", "<end>"]


class LayerNorm(nn.LayerNorm):
    """In float32 whatever comes."""

    def forward(self, x: torch.Tensor):
        return super().forward(x.type(torch.float32)).type(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor):
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, attn_mask: torch.Tensor = None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = LayerNorm(width), LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width * 2), QuickGELU(), nn.Linear(width * 2, width)
        )
        self.attn_mask = attn_mask

    def attention(self, x: torch.Tensor):
        mask = (
            self.attn_mask.to(dtype=x.dtype, device=x.device)
            if self.attn_mask is not None
            else None
        )
        return self.attn(x, x, x, need_weights=False, attn_mask=mask)[0]

    def forward(self, x: torch.Tensor):
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class CLIP(nn.Module):
    def __init__(self, width=32, length=6):
        super().__init__()
        self.visual = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, width),
        )
        mask = torch.empty(length, length).fill_(float("-inf")).triu_(1)
        self.transformer = nn.Sequential(
            *[ResidualAttentionBlock(width, 4, mask) for _ in range(2)]
        )
        self.token_embedding = nn.Embedding(len(WORDS), width)
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, width))
        self.logit_scale = nn.Parameter(torch.ones([1]) * np.log(1 / 0.07))
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    @property
    def dtype(self):
        return self.visual[0].weight.dtype

    def encode_text(self, text):
        x = self.token_embedding(text).type(self.dtype) + self.positional_embedding.type(self.dtype)
        x = self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        x = self.ln_final(x).type(self.dtype)
        return x[torch.arange(x.shape[0]), text.argmax(dim=-1)] @ self.text_projection

    def forward(self, image, text):
        image_features = self.visual(image.type(self.dtype))
        text_features = self.encode_text(text)
        image_features = image_features / image_features.norm(dim=1, keepdim=True)
        text_features = text_features / text_features.norm(dim=1, keepdim=True)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.t()
        return logits_per_image, logits_per_image.t()


def caption(kind):
    return torch.tensor([0, 1, 2, 3 + kind, 7, 0])


def picture(kind):
    x = rng.normal(0, 0.2, (1, 8, 8)).astype(np.float32)
    half = [np.s_[:, :, :4], np.s_[:, :, 4:], np.s_[:, :4], np.s_[:, 4:]][kind]
    x[half] += 1
    return torch.from_numpy(x)


torch.manual_seed(0)
model = CLIP()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.2, eps=1e-6)
truth = torch.arange(4)
for step in range(20):
    images, texts = (
        torch.stack([picture(k) for k in range(4)]),
        torch.stack([caption(k) for k in range(4)]),
    )
    per_image, per_text = model(images, texts)
    loss = (F.cross_entropy(per_image, truth) + F.cross_entropy(per_text, truth)) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, np.log(100))
    print(f"step {step} loss {loss.item():.6f}")
with torch.no_grad():
    probs = model(images, texts)[0].softmax(dim=-1).cpu().numpy()
    print(
        "zero-shot",
        (probs.argmax(1) == np.arange(4)).mean(),
        "scale %.3f" % float(model.logit_scale.exp()),
    )
