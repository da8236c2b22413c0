"""Meta-learning of sines: inner steps on a copy of the parameters by functional_call, gradients of
gradients, detach and requires_grad_, first-order variant, SGD outside.

Exercises what cbfinn/maml's ports and learn2learn do.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

rng = np.random.default_rng(0)
torch.manual_seed(0)
net = nn.Sequential(
    OrderedDict(
        [
            ("l1", nn.Linear(1, 24)),
            ("relu1", nn.ReLU()),
            ("l2", nn.Linear(24, 24)),
            ("relu2", nn.ReLU()),
            ("l3", nn.Linear(24, 1)),
        ]
    )
)


def task(k=8):
    amplitude, phase = rng.uniform(0.5, 2), rng.uniform(0, np.pi)
    x = rng.uniform(-3, 3, (2 * k, 1)).astype(np.float32)
    x = torch.from_numpy(x)
    y = amplitude * torch.sin(x + phase)
    return x[:k], y[:k], x[k:], y[k:]


def adapt(x, y, steps=2, lr=0.02, first_order=False):
    params = OrderedDict(net.named_parameters())
    for _ in range(steps):
        loss = F.mse_loss(functional_call(net, params, (x,)), y)
        grads = torch.autograd.grad(loss, params.values(), create_graph=not first_order)
        params = OrderedDict((n, p - lr * g) for (n, p), g in zip(params.items(), grads))
    return params


meta = torch.optim.Adam(net.parameters(), lr=2e-3)
for step in range(20):
    meta.zero_grad()
    total = torch.zeros(())
    for _ in range(3):
        xs, ys, xq, yq = task()
        params = adapt(xs, ys, first_order=step % 2 == 1)
        total = total + F.mse_loss(functional_call(net, params, xq), yq)
    (total / 3).backward()
    meta.step()
    print(f"step {step} loss {total.item() / 3:.7f}")
