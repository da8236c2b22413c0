"""Denoising diffusion: schedules by cumprod, gather of coefficients, sinusoidal time embeddings, SiLU
and GroupNorm, an EMA copy by deepcopy and lerp_, sampling under inference_mode.

Exercises what lucidrains/denoising-diffusion-pytorch does.
"""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def extract(a, t, x_shape):
    b, *_ = t.shape
    out = a.gather(-1, t)
    return out.reshape(b, *((1,) * (len(x_shape) - 1)))


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half = self.dim // 2
        emb = math.log(10000) / (half - 1)
        emb = torch.exp(torch.arange(half, device=x.device) * -emb)
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class ResBlock(nn.Module):
    def __init__(self, dim, time_dim):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, dim), nn.GroupNorm(4, dim)
        self.conv1, self.conv2 = (nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, dim * 2))

    def forward(self, x, t):
        scale, shift = self.mlp(t)[..., None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (scale + 1) + shift
        return x + self.conv2(F.silu(h))


class Denoiser(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.time = nn.Sequential(
            SinusoidalPosEmb(dim), nn.Linear(dim, 32), nn.GELU(), nn.Linear(32, 32)
        )
        self.inp, self.out = nn.Conv2d(1, dim, 3, padding=1), nn.Conv2d(dim, 1, 1)
        self.blocks = nn.ModuleList([])
        for _ in range(2):
            self.blocks.append(nn.ModuleList([ResBlock(dim, 32), nn.Identity()]))

    def forward(self, x, time):
        t, x = self.time(time), self.inp(x)
        for block, same in self.blocks:
            x = same(block(x, t))
        return self.out(x)


class GaussianDiffusion(nn.Module):
    def __init__(self, model, timesteps=50):
        super().__init__()
        self.model, self.num_timesteps = model, timesteps
        betas = torch.linspace(1e-4, 0.2, timesteps, dtype=torch.float64)
        alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        prev = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
        register = lambda name, val: self.register_buffer(name, val.to(torch.float32))  # noqa: E731
        register("betas", betas)
        register("sqrt_alphas_cumprod", torch.sqrt(alphas_cumprod))
        register("sqrt_one_minus", torch.sqrt(1.0 - alphas_cumprod))
        register("sqrt_recip_alphas", torch.rsqrt(1.0 - betas))
        register("posterior_variance", betas * (1.0 - prev) / (1.0 - alphas_cumprod))

    def p_losses(self, x_start, t, noise):
        x = extract(self.sqrt_alphas_cumprod, t, x_start.shape) * x_start
        x = x + extract(self.sqrt_one_minus, t, x_start.shape) * noise
        loss = F.mse_loss(self.model(x, t), noise, reduction="none")
        return loss.flatten(1).mean(dim=1).mean()

    @torch.inference_mode()
    def sample(self, shape):
        img = torch.randn(shape, device=self.betas.device)
        for i in reversed(range(0, self.num_timesteps)):
            t = torch.full((shape[0],), i, dtype=torch.long)
            eps = self.model(img, t)
            img = extract(self.sqrt_recip_alphas, t, shape) * (
                img - extract(self.betas, t, shape) * eps / extract(self.sqrt_one_minus, t, shape)
            )
            if i > 0:
                img += extract(self.posterior_variance, t, shape).sqrt() * torch.randn_like(img)
        return img.clamp_(-1.0, 1.0)


rng = np.random.default_rng(0)
torch.manual_seed(0)
diffusion = GaussianDiffusion(Denoiser())
optimizer = torch.optim.Adam(diffusion.parameters(), lr=2e-3, betas=(0.9, 0.99))
ema = copy.deepcopy(diffusion).eval().requires_grad_(False)
data = torch.from_numpy(
    np.sign(rng.standard_normal((32, 1, 1, 8))) * np.ones((32, 1, 8, 8))
).float()
for step in range(12):
    x = data[torch.from_numpy(rng.integers(0, 32, 8))]
    t = torch.from_numpy(rng.integers(0, 50, 8)).long()
    loss = diffusion.p_losses(x, t, torch.from_numpy(rng.standard_normal(x.shape)).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for a, b in zip(ema.parameters(), diffusion.parameters()):
            a.lerp_(b, 0.1)
    print(f"step {step} loss {loss.item():.7f}")
assert ema.sample((2, 1, 8, 8)).abs().max() <= 1
