"""Whole models, written once for both libraries: training steps and inference.

On a CPU they are small forms of themselves: ResNet-50 on 64 by 64 images, two layers of GPT-2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Model(NamedTuple):
    """`make(lib, device)` gives the module and its inputs and targets; `items` are what a batch
    counts, in `unit`."""

    name: str
    unit: str
    items: int
    make: Callable[[Any, str], tuple[Any, Any, Any]]


def sequential(lib: Any, *layers: Any) -> Any:
    return lib.nn.Sequential(*layers)


def digits(lib: Any) -> Any:
    """The network of the demo."""
    nn = lib.nn
    return sequential(
        lib,
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 2 * 2, 10)),
    )


def resnet50(lib: Any, classes: int = 1000) -> Any:
    """He et al. 2016, "Deep residual learning for image recognition", table 1."""
    nn = lib.nn

    class Bottleneck(nn.Module):
        def __init__(self, inner: int, width: int, stride: int) -> None:
            super().__init__()
            out = 4 * width
            self.body = nn.Sequential(
                *(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                nn.Conv2d(width, width, 3, stride, 1, bias=False),
                *(nn.BatchNorm2d(width), nn.ReLU()),
                *(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)),
            )
            self.short = (
                nn.Identity()
                if stride == 1 and inner == out
                else nn.Sequential(
                    nn.Conv2d(inner, out, 1, stride, bias=False), nn.BatchNorm2d(out)
                )
            )

        def forward(self, x: Any) -> Any:
            return (self.body(x) + self.short(x)).relu()

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inner = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            layers.append(Bottleneck(inner, width, stride if i == 0 else 1))
            inner = 4 * width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))
    return sequential(lib, *layers, *head)


def gpt2(lib: Any, layers: int, width: int, heads: int, vocabulary: int, length: int) -> Any:
    """Radford et al. 2019, "Language models are unsupervised multitask learners"."""
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            )

        def forward(self, x: Any) -> Any:
            b, t, _ = x.shape
            qkv = self.attn(self.ln_1(x)).view(b, t, 3, heads, width // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(b, t, width))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.h = nn.Sequential(*(Block() for _ in range(layers)))
            self.ln_f = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, ids: Any) -> Any:
            places = lib.arange(ids.shape[1], device=ids.device)
            x = self.ln_f(self.h(self.wte(ids) + self.wpe(places)))
            return self.head(x).flatten(0, 1)

    return GPT()


def lstm(lib: Any, vocabulary: int = 96, width: int = 256) -> Any:
    """A language model over characters: embedding, two layers, projection."""
    nn = lib.nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(vocabulary, width)
            self.rnn = nn.LSTM(width, width, 2, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, ids: Any) -> Any:
            return self.head(self.rnn(self.embed(ids))[0]).flatten(0, 1)

    return Network()


def images(build: Callable, n: int, channels: int, size: int, classes: int) -> Callable:
    def make(lib: Any, device: str) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((n, channels, size, size)).astype(np.float32)
        y = rng.integers(0, classes, n)
        net = build(lib).to(device)
        return net, lib.from_numpy(x).to(device), lib.from_numpy(y).to(device)

    return make


def tokens(build: Callable, n: int, length: int, vocabulary: int) -> Callable:
    def make(lib: Any, device: str) -> tuple[Any, Any, Any]:
        ids = np.random.default_rng(0).integers(0, vocabulary, (n, length + 1))
        x, y = (np.ascontiguousarray(a) for a in (ids[:, :-1], ids[:, 1:]))
        net = build(lib).to(device)
        return net, lib.from_numpy(x).to(device), lib.from_numpy(y.reshape(-1)).to(device)

    return make


def models(device: str) -> list[Model]:
    if device == "cpu":
        small = lambda lib: gpt2(lib, 2, 256, 4, 2048, 128)  # noqa: E731
        return [
            Model("digits CNN", "images", 64, images(digits, 64, 1, 8, 10)),
            Model("ResNet-50, 64x64", "images", 4, images(resnet50, 4, 3, 64, 1000)),
            Model("GPT-2, 2 layers of 256", "tokens", 4 * 128, tokens(small, 4, 128, 2048)),
            Model("LSTM, 2 layers of 256", "tokens", 16 * 64, tokens(lstm, 16, 64, 96)),
        ]
    full = lambda lib: gpt2(lib, 12, 768, 12, 50257, 1024)  # noqa: E731
    return [
        Model("digits CNN", "images", 64, images(digits, 64, 1, 8, 10)),
        Model("ResNet-50", "images", 64, images(resnet50, 64, 3, 224, 1000)),
        Model("GPT-2 124M", "tokens", 8 * 1024, tokens(full, 8, 1024, 50257)),
        Model("LSTM, 2 layers of 256", "tokens", 64 * 128, tokens(lstm, 64, 128, 96)),
    ]


def training(lib: Any, net: Any, x: Any, y: Any) -> Callable[[], Any]:
    """A step: loss, gradients, AdamW."""
    optimizer = lib.optim.AdamW(net.parameters(), lr=1e-4)

    def step() -> Any:
        optimizer.zero_grad()
        loss = lib.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def inference(lib: Any, net: Any, x: Any) -> Callable[[], Any]:
    net.eval()

    def run() -> Any:
        with lib.no_grad():
            return net(x)

    return run


def parameters(net: Any) -> int:
    return sum(math.prod(p.shape) for p in net.parameters())
