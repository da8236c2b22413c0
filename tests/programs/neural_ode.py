"""A neural ODE: Runge-Kutta steps, an adjoint as a custom Function with enable_grad inside backward,
flat parameters by cat and views, a spiral in 2 dimensions.

Exercises what rtqichen/torchdiffeq does.
"""

import numpy as np
import torch
import torch.nn as nn


def rk4(func, t, dt, y):
    k1 = func(t, y)
    k2 = func(t + dt / 2, y + dt * k1 / 2)
    k3 = func(t + dt / 2, y + dt * k2 / 2)
    k4 = func(t + dt, y + dt * k3)
    return y + (k1 + 2 * k2 + 2 * k3 + k4) * dt / 6


def odeint(func, y0, t):
    out = [y0]
    for t0, t1 in zip(t[:-1], t[1:]):
        out.append(rk4(func, t0, t1 - t0, out[-1]))
    return torch.stack(out)


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, func, y0, t, *params):
        ctx.func = func
        with torch.no_grad():
            ys = odeint(func, y0, t)
        ctx.save_for_backward(t, ys, *params)
        return ys

    @staticmethod
    def backward(ctx, grad_ys):
        t, ys, *params = ctx.saved_tensors
        a = grad_ys[-1].clone()
        grads = [torch.zeros_like(p) for p in params]
        for i in range(len(t) - 1, 0, -1):
            with torch.enable_grad():
                y = ys[i - 1].detach().requires_grad_(True)
                out = rk4(ctx.func, t[i - 1], t[i] - t[i - 1], y)
                dy, *dp = torch.autograd.grad(out, (y, *params), a, allow_unused=True)
            a = dy + grad_ys[i - 1]
            grads = [g if d is None else g + d for g, d in zip(grads, dp)]
        return (None, a, None, *grads)


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y**3)


t = torch.linspace(0.0, 3.0, 13)
A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
with torch.no_grad():
    true = odeint(lambda t, y: torch.mm(y**3, A), torch.tensor([[2.0, 0.0]]) * 0.5, t)
torch.manual_seed(0)
func = ODEFunc()
optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-3)
for step in range(20):
    optimizer.zero_grad()
    pred = Adjoint.apply(func, true[0], t, *func.parameters())
    loss = torch.mean(torch.abs(pred - true))
    loss.backward()
    if step == 0:
        grads = [p.grad.clone() for p in func.parameters()]
        plain = torch.mean(torch.abs(odeint(func, true[0], t) - true))
        direct = torch.autograd.grad(plain, list(func.parameters()))
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(grads, direct))
    optimizer.step()
    print(f"step {step} loss {loss.item():.7f}")
flat = torch.nn.utils.parameters_to_vector(func.parameters())
assert np.isclose(flat.norm().item(), sum(p.pow(2).sum().item() for p in func.parameters()) ** 0.5)
