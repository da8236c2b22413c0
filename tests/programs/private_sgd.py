"""Gradients of single samples by torch.func, clipped and averaged as in private training, then an
ensemble of models under one vmap, and curvature of the loss by hvp and jacrev.

Exercises what the tutorials on torch.func and pytorch/opacus do.
"""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, grad, grad_and_value, jacrev, jvp, stack_module_state, vmap

rng = np.random.default_rng(0)
labels = torch.from_numpy(rng.integers(0, 4, 64))
inputs = torch.tensor(rng.normal(0, 0.5, (64, 1, 6, 6)), dtype=torch.float32)
for k in range(64):
    inputs[k, 0, labels[k]] += 1.0


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4 * 4 * 4, 4)

    def forward(self, x):
        return self.fc(torch.flatten(F.relu(self.norm(self.conv(x))), 1))


model = SmallNet()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)


def compute_loss(params, buffers, sample, target):
    predictions = functional_call(model, (params, buffers), (sample.unsqueeze(0),))
    return F.cross_entropy(predictions, target.unsqueeze(0))


per_sample = vmap(grad_and_value(compute_loss), in_dims=(None, None, 0, 0))
limit = 1.0
for step in range(15):
    at = slice(16 * (step % 4), 16 * (step % 4) + 16)
    params = {k: v.detach() for k, v in model.named_parameters()}
    buffers = {k: v.detach() for k, v in model.named_buffers()}
    grads, losses = per_sample(params, buffers, inputs[at], labels[at])
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()], 1).norm(dim=1)
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for name, p in model.named_parameters():
        p.grad = torch.einsum("n,n...->...", factor, grads[name]) / 16
    optimizer.step()
    print(f"step {step:03d} loss {losses.mean().item():.6f} norm {norms.max().item():.4f}")

models = [copy.deepcopy(model) for _ in range(3)]
with torch.no_grad():
    for k, m in enumerate(models):
        for p in m.parameters():
            p.mul_(1 + 0.1 * k)
params, buffers = stack_module_state(models)
base = copy.deepcopy(models[0]).to("meta")


def call_one(params, buffers, x):
    return functional_call(base, (params, buffers), (x,))


together = vmap(call_one, in_dims=(0, 0, None))(params, buffers, inputs)
apart = torch.stack([m(inputs) for m in models])
assert torch.allclose(together, apart, atol=1e-5)
for k, out in enumerate(together):
    print(f"member {k} loss {F.cross_entropy(out, labels).item():.6f}")

params = {k: v.detach() for k, v in model.named_parameters()}


def batch_loss(weight):
    out = functional_call(model, {**params, "fc.weight": weight}, (inputs,))
    return F.cross_entropy(out, labels)


direction = torch.linspace(-1, 1, 256).view(4, 64).cos()
_, curve = jvp(grad(batch_loss), (params["fc.weight"],), (direction,))
rows = jacrev(lambda x: functional_call(model, params, (x.unsqueeze(0),)).squeeze(0))(inputs[0])
print(f"curvature loss {(curve * direction).sum().item():.6f} rows {tuple(rows.shape)}")
