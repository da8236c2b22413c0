"""Style transfer: features of named layers by forward hooks, Gram matrices, an image as the parameter,
LBFGS with closures, total variation, in-place clamping under no_grad.

Exercises what PyTorch's neural style tutorial and pytorch/examples' fast_neural_style do.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

rng = np.random.default_rng(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.set_default_dtype(torch.float32)


def image(a, b):
    ys, xs = np.mgrid[:24, :24]
    x = 0.5 + 0.5 * np.stack([np.sin(xs * a + k) * np.cos(ys * b) for k in range(3)])
    return torch.from_numpy(x[None].astype(np.float32)).to(device)


content_img, style_img = image(0.2, 0.3), image(1.1, 0.9)
features = (
    nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
    )
    .to(device)
    .eval()
)
for p in features.parameters():
    fan = int(np.prod(p.shape[1:])) if p.dim() > 1 else p.shape[0]
    p.data.copy_(torch.from_numpy(rng.uniform(-1, 1, tuple(p.shape)) / fan**0.5))
    p.requires_grad_(False)
mean = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
kept = {}


def keep(name):
    def hook(module, inputs, output):
        kept[name] = output

    return hook


for name, layer in features.named_children():
    if isinstance(layer, nn.ReLU):
        layer.inplace = False
        layer.register_forward_hook(keep(name))


def gram_matrix(input):
    a, b, c, d = input.size()
    features = input.view(a * b, c * d)
    return torch.mm(features, features.t()).div(a * b * c * d)


def look(x):
    features((x - mean) / std)
    return dict(kept)


with torch.no_grad():
    content = look(content_img)["6"].detach()
    styles = {k: gram_matrix(v) for k, v in look(style_img).items()}


class Image(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.pixels = start.clone().requires_grad_(True)


input_img = Image(content_img).pixels
seen = []
optimizer = optim.Adam([{"params": [torch.nn.Parameter(torch.zeros(1))]}], lr=0.01)
optimizer.add_param_group({"params": [input_img], "lr": 0.02})
with torch.no_grad():
    input_img.copy_(content_img)
for step in range(15):
    with torch.no_grad():
        input_img.clamp_(0, 1)
    optimizer.zero_grad()
    found = look(input_img)
    style = sum(F.mse_loss(gram_matrix(found[k]), g) for k, g in styles.items())
    variation = (input_img[..., 1:] - input_img[..., :-1]).abs().mean()
    variation = variation + (input_img[..., 1:, :] - input_img[..., :-1, :]).abs().mean()
    loss = 1e4 * style + F.mse_loss(found["6"], content) + 1e-2 * variation
    loss.backward()
    optimizer.step()
    seen.append(loss.item())
    print(f"step {step} loss {loss.item():.6f}")
