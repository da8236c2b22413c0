"""Density estimation: affine couplings trained by maximum likelihood, as a Transform of
torch.distributions with its own Jacobian, then a Gaussian process by Cholesky factors in float64.

Exercises what karpathy/pytorch-normalizing-flows and gpytorch's simplest examples do.
"""

import math

import numpy as np
import torch
import torch.distributions as dist
import torch.nn as nn
from torch.distributions import constraints
from torch.distributions.transforms import AffineTransform, ComposeTransform, Transform
from torch.nn.functional import softplus

rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, 256)
data = np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.1, (256, 2))
data = torch.tensor(data, dtype=torch.float32)


class Coupling(Transform, nn.Module):
    domain = constraints.independent(constraints.real, 1)
    codomain = constraints.independent(constraints.real, 1)
    bijective = True

    def __init__(self, parity, hidden=16):
        nn.Module.__init__(self)
        Transform.__init__(self, cache_size=1)
        self.parity = parity
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 2))

    __hash__ = nn.Module.__hash__

    def _parts(self, x):
        a, b = x[..., 0:1], x[..., 1:2]
        return (b, a) if self.parity else (a, b)

    def _joined(self, a, b):
        return torch.cat((b, a) if self.parity else (a, b), dim=-1)

    def _factors(self, a):
        scale, shift = self.net(a).chunk(2, dim=-1)
        return torch.tanh(scale), shift

    def _call(self, x):
        a, b = self._parts(x)
        scale, shift = self._factors(a)
        return self._joined(a, b * scale.exp() + shift)

    def _inverse(self, y):
        a, b = self._parts(y)
        scale, shift = self._factors(a)
        return self._joined(a, (b - shift) * (-scale).exp())

    def log_abs_det_jacobian(self, x, y):
        scale, _ = self._factors(self._parts(x)[0])
        return scale.sum(-1)


class Flow(nn.Module):
    def __init__(self, depth=4):
        super().__init__()
        self.layers = nn.ModuleList([Coupling(k % 2) for k in range(depth)])
        self.register_buffer("loc", torch.zeros(2))

    def distribution(self):
        base = dist.Independent(dist.Normal(self.loc, torch.ones_like(self.loc)), 1)
        scaling = AffineTransform(data.mean(0), data.std(0), event_dim=1)
        return dist.TransformedDistribution(base, [*self.layers, scaling])


flow = Flow()
optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3, weight_decay=1e-5)
for step in range(20):
    loss = -flow.distribution().log_prob(data).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step:03d} loss {loss.item():.6f}")
with torch.no_grad():
    samples = flow.distribution().sample((64,))
    back = ComposeTransform(list(flow.layers)).inv(data)
print(
    "samples", tuple(samples.shape), "latent", tuple(back.shape), torch.isfinite(back).all().item()
)

x = torch.linspace(0, 1, 24, dtype=torch.float64).unsqueeze(-1)
y = torch.sin(x.squeeze(-1) * 6) + torch.from_numpy(rng.normal(0, 0.1, 24))


class GP(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw_scale = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.raw_noise = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def kernel(self, a, b):
        length, size = softplus(self.raw_scale).unbind()
        return size * torch.exp(-0.5 * ((a - b.mT) / length).square())

    def factor(self):
        noise = softplus(self.raw_noise) * torch.eye(len(x), dtype=x.dtype)
        return torch.linalg.cholesky(self.kernel(x, x) + noise + 1e-6 * torch.eye(len(x)))

    def forward(self):
        L = self.factor()
        alpha = torch.cholesky_solve(y.unsqueeze(-1), L)
        fit = 0.5 * (y @ alpha).squeeze() + L.diagonal().log().sum()
        return (fit + 0.5 * len(x) * math.log(2 * math.pi)) / len(x)


gp = GP()
optimizer = torch.optim.LBFGS(gp.parameters(), lr=0.1, max_iter=2)
for step in range(8):

    def closure():
        optimizer.zero_grad()
        loss = gp()
        loss.backward()
        return loss

    print(f"step {step:03d} loss {optimizer.step(closure).item():.6f}")
with torch.no_grad():
    new = torch.rand(5, 1, dtype=torch.float64)
    L, cross = gp.factor(), gp.kernel(x, new)
    v = torch.linalg.solve_triangular(L, cross, upper=False)
    mean = cross.mT @ torch.cholesky_solve(y.unsqueeze(-1), L)
    covariance = gp.kernel(new, new) - v.mT @ v + 1e-4 * torch.eye(5)
print(dist.MultivariateNormal(mean.squeeze(-1), covariance).sample((3,)).shape)
