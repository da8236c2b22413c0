"""Published architectures written with PyTorch, in few lines, for comparison."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if stride != 1 or inner != width:
            short = nn.Conv2d(inner, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inner = 64
        for i, width in enumerate((64, 128, 256, 512)):
            blocks = Block(inner, width, 2 if i else 1), Block(width, width, 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            inner = width
        self.fc = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class GPT2(nn.Module):
    """Two layers of width 32, 4 heads; linear weights as (in, out)."""

    def __init__(self, words: int, places: int) -> None:
        super().__init__()
        self.transformer = nn.Module()
        self.transformer.wte = nn.Embedding(words, 32)
        self.transformer.wpe = nn.Embedding(places, 32)
        self.transformer.h = nn.ModuleList(self.block() for _ in range(2))
        self.transformer.ln_f = nn.LayerNorm(32)

    def block(self) -> nn.Module:
        block = nn.Module()
        block.ln_1, block.ln_2 = nn.LayerNorm(32), nn.LayerNorm(32)
        block.attn, block.mlp = nn.Module(), nn.Module()
        block.attn.c_attn, block.attn.c_proj = self.linear(32, 96), self.linear(32, 32)
        block.mlp.c_fc, block.mlp.c_proj = self.linear(32, 128), self.linear(128, 32)
        return block

    def linear(self, inner: int, out: int) -> nn.Module:
        made = nn.Module()
        made.weight = nn.Parameter(torch.randn(inner, out) / inner**0.5)
        made.bias = nn.Parameter(torch.randn(out) / 10)
        return made

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        def apply(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
            return x @ layer.weight + layer.bias

        net, (n, length) = self.transformer, ids.shape
        x = net.wte(ids) + net.wpe.weight[:length]
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        for block in net.h:
            qkv = apply(block.attn.c_attn, block.ln_1(x)).chunk(3, -1)
            q, k, v = (t.view(n, length, 4, 8).transpose(1, 2) for t in qkv)
            scores = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(hidden, -torch.inf)
            y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, 32)
            x = x + apply(block.attn.c_proj, y)
            y = nn.functional.gelu(apply(block.mlp.c_fc, block.ln_2(x)), approximate="tanh")
            x = x + apply(block.mlp.c_proj, y)
        return net.ln_f(x) @ net.wte.weight.t()


class BERT(nn.Module):
    """Two layers of width 32, 4 heads, with the head of the masked language model.

    PyTorch's own encoder of layers that normalise last, under the published names.
    """

    def __init__(self, words: int, places: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 32, padding_idx=0)
        self.places, self.types = nn.Embedding(places, 32), nn.Embedding(2, 32)
        self.norm = nn.LayerNorm(32, 1e-12)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", 1e-12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.dense, self.last = nn.Linear(32, 32), nn.LayerNorm(32, 1e-12)
        self.bias = nn.Parameter(torch.randn(words))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.places.weight[: ids.shape[1]] + self.types.weight[0]
        x = self.encoder(self.norm(x), src_key_padding_mask=ids == 0)
        return self.last(nn.functional.gelu(self.dense(x))) @ self.words.weight.t() + self.bias

    def published(self) -> dict[str, torch.Tensor]:
        """The parameters, under the published names."""
        top = {
            "words": "bert.embeddings.word_embeddings",
            "places": "bert.embeddings.position_embeddings",
            "types": "bert.embeddings.token_type_embeddings",
            "norm": "bert.embeddings.LayerNorm",
            "dense": "cls.predictions.transform.dense",
            "last": "cls.predictions.transform.LayerNorm",
            "bias": "cls.predictions",
        }
        inside = {
            "self_attn.out_proj": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm2": "output.LayerNorm",
        }
        out = {}
        for name, p in self.named_parameters():
            path, _, kind = name.rpartition(".")
            if not name.startswith("encoder."):
                out[f"{top[path or name]}.{kind}"] = p
                continue
            _, _, i, part = path.split(".", 3)
            prefix = f"bert.encoder.layer.{i}"
            if "in_proj" in kind:
                for n, q in zip(("query", "key", "value"), p.chunk(3)):
                    out[f"{prefix}.attention.self.{n}.{kind.removeprefix('in_proj_')}"] = q
            else:
                out[f"{prefix}.{inside[part]}.{kind}"] = p
        return out


class LSTM(nn.Module):
    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Embedding(words, width)
        self.rnn = nn.LSTM(width, width, 2)
        self.decoder = nn.Linear(width, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.rnn(self.encoder(ids))[0])
