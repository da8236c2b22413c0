"""A physics-informed network: second derivatives by autograd.grad with create_graph, collocation points
with requires_grad_, losses of boundary and equation, tanh, float64, LBFGS with strong Wolfe after Adam.

Exercises what repositories of PINNs do.
"""

import numpy as np
import torch
from torch import nn
from torch.autograd import grad

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
rng = np.random.default_rng(0)


class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        for linear in self.linears:
            nn.init.xavier_normal_(linear.weight.data, gain=1.0)
            nn.init.zeros_(linear.bias.data)

    def forward(self, x):
        for linear in self.linears[:-1]:
            x = torch.tanh(linear(x))
        return self.linears[-1](x)


net = Net([1, 16, 16, 1])
inner = torch.tensor(rng.uniform(0, np.pi, (64, 1)), requires_grad=True)
edge = torch.tensor([[0.0], [np.pi]])


def residual():
    u = net(inner)
    (du,) = grad(u, inner, torch.ones_like(u), create_graph=True, retain_graph=True)
    (d2u,) = torch.autograd.grad(outputs=du.sum(), inputs=inner, create_graph=True)
    return d2u + torch.sin(inner)


def loss_of():
    return residual().pow(2).mean() + net(edge).pow(2).mean()


adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(12):
    adam.zero_grad()
    loss = loss_of()
    loss.backward()
    adam.step()
    print(f"step {step} loss {loss.item():.10f}")
lbfgs = torch.optim.LBFGS(
    net.parameters(), max_iter=6, line_search_fn="strong_wolfe", tolerance_grad=1e-9
)


def closure():
    lbfgs.zero_grad()
    loss = loss_of()
    loss.backward()
    print(f"step loss {loss.item():.10f}")
    return loss


lbfgs.step(closure)
torch.set_default_dtype(torch.float32)
