"""Vision transformer: patches by unfold-like reshapes, a class token parameter expanded, pre-norm
blocks, stochastic depth off, label smoothing, OneCycleLR, parameter counts, summary of named_modules.

Exercises what lucidrains/vit-pytorch and timm do.
"""

from functools import partial

import numpy as np
import torch
from torch import nn


class PatchEmbed(nn.Module):
    def __init__(self, size=16, patch=4, channels=3, dim=32):
        super().__init__()
        self.count = (size // patch) ** 2
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=True)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = torch.einsum("bhid,bhjd->bhij", q, k) * self.scale
        attn = attn.softmax(dim=-1)
        x = torch.einsum("bhij,bhjd->bhid", attn, v).transpose(1, 2).reshape(B, N, C)
        return self.proj(x)


class DropPath(nn.Module):
    def __init__(self, p=0.0):
        super().__init__()
        self.p = p

    def forward(self, x):
        if self.p == 0.0 or not self.training:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * keep.div_(1 - self.p)


class Block(nn.Module):
    def __init__(self, dim, drop, norm_layer):
        super().__init__()
        self.norm1, self.norm2 = norm_layer(dim), norm_layer(dim)
        self.attn, self.drop_path = Attention(dim), DropPath(drop)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Linear(dim * 2, dim))

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ViT(nn.Module):
    def __init__(self, classes=4, dim=32, depth=3, drop_path=0.0):
        super().__init__()
        self.patch_embed = PatchEmbed(dim=dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.patch_embed.count + 1, dim))
        dpr = [x.item() for x in torch.linspace(0, drop_path, depth)]
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(*[Block(dim, dpr[i], norm) for i in range(depth)])
        self.norm = norm(dim)
        self.head = nn.Linear(dim, classes) if classes > 0 else nn.Identity()
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    @torch.jit.ignore
    def no_weight_decay(self):
        return {"pos_embed", "cls_token"}

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


rng = np.random.default_rng(0)
labels = torch.from_numpy(rng.integers(0, 4, 64))
images = torch.from_numpy(rng.normal(0, 0.5, (64, 3, 16, 16)).astype("float32"))
for image, label in zip(images, labels.tolist()):
    image[:, 8 * (label // 2) : 8 * (label // 2) + 8, 8 * (label % 2) : 8 * (label % 2) + 8] += 1
torch.manual_seed(0)
model = ViT()
skip = model.no_weight_decay()
decay = [p for n, p in model.named_parameters() if p.ndim > 1 and n not in skip]
rest = [p for n, p in model.named_parameters() if p.ndim <= 1 or n in skip]
optimizer = torch.optim.AdamW([{"params": decay}, {"params": rest, "weight_decay": 0.0}], lr=1e-3)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=12)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
print(sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")
for step in range(12):
    pick = slice(16 * (step % 4), 16 * (step % 4) + 16)
    loss = criterion(model(images[pick]), labels[pick])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    print(f"step {step} loss {loss.item():.7f} lr {scheduler.get_last_lr()[0]:.6f}")
assert len(list(model.named_modules())) == len(set(dict(model.named_modules())))
