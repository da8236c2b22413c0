"""Custom autograd functions: a straight-through sign, an exponential with its own backward, a swish that
saves memory; ctx.needs_input_grad, mark_non_differentiable, gradcheck; hooks on tensors and modules.

Exercises what PyTorch's tutorials on extending autograd do.
"""

import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Function, gradcheck


class SignSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input.sign()

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input.abs() > 1] = 0
        return grad_input


class LinearFunction(Function):
    @staticmethod
    def forward(ctx, input, weight, bias=None):
        ctx.save_for_backward(input, weight, bias)
        output = input.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        input, weight, bias = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = grad_output.mm(weight)
        if ctx.needs_input_grad[1]:
            grad_weight = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]:
            grad_bias = grad_output.sum(0)
        return grad_input, grad_weight, grad_bias


class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        x = ctx.saved_tensors[0]
        s = torch.sigmoid(x)
        return grad * (s * (1 + x * (1 - s)))


class Own(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(o, i))
        self.bias = nn.Parameter(torch.empty(o))
        nn.init.uniform_(self.weight, -0.5, 0.5)
        nn.init.uniform_(self.bias, -0.5, 0.5)

    def forward(self, x):
        return LinearFunction.apply(x, self.weight, self.bias)

    def extra_repr(self):
        return "in_features={}, out_features={}".format(self.weight.shape[1], self.weight.shape[0])


rng = np.random.default_rng(0)
torch.manual_seed(0)
x = torch.from_numpy(rng.standard_normal((32, 10))).float()
y = (x[:, :1] * x[:, 1:2] > 0).float()
args = (
    torch.randn(4, 3, dtype=torch.double, requires_grad=True),
    torch.randn(2, 3, dtype=torch.double, requires_grad=True),
)
assert gradcheck(LinearFunction.apply, (*args, None), eps=1e-6, atol=1e-4)
net = nn.Sequential(Own(10, 32), nn.Tanh(), Own(32, 16), nn.Identity(), Own(16, 1))
norms, seen = [], []
net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
net[0].weight.register_hook(lambda g: norms.append(g.norm().item()))
handle = net[2].register_full_backward_hook(lambda m, gi, go: None)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
for step in range(20):
    hidden = Swish.apply(net[:3](x))
    out = net[4](hidden + 0.01 * SignSTE.apply(hidden))
    loss = nn.functional.binary_cross_entropy_with_logits(out, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step} loss {loss.item():.7f}")
handle.remove()
assert len(norms) == 20 and seen[0] == torch.Size([32, 32])
print(net)
