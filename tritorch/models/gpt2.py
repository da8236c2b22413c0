"""GPT-2, with the names of parameters of Hugging Face's transformers.

Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3. The
weights of its linear layers are stored as `(in, out)`, as they were published.
"""

from __future__ import annotations

import math
from typing import Any

from .. import nn
from ..nn import functional as F
from ..ops.create import empty, zeros
from ..ops.ranges import arange
from ..tensor import Tensor


class Conv1D(nn.Module):
    """`x @ weight + bias` with a weight of `(nx, nf)`: `(..., nx)` to `(..., nf)`."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(empty(nx, nf).normal_(std=0.02))
        self.bias = nn.Parameter(zeros(nf))

    def extra_repr(self) -> str:
        return f"nf={self.nf}, nx={self.nx}"

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class GPT2Attention(nn.Module):
    """Causal self-attention in heads: `(N, L, C)` to the same."""

    def __init__(self, width: int, heads: int, attn_pdrop: float, resid_pdrop: float) -> None:
        super().__init__()
        self.heads, self.attn_pdrop = heads, attn_pdrop
        self.c_attn, self.c_proj = Conv1D(3 * width, width), Conv1D(width, width)
        self.resid_dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        split = (n, length, 3, self.heads, width // self.heads)
        q, k, v = self.c_attn(x).view(split).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.attn_pdrop if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(n, length, width)))


class GPT2MLP(nn.Module):
    """Linear, GELU by its approximation with tanh, linear: `(..., C)` to the same."""

    def __init__(self, width: int, inner: int, resid_pdrop: float) -> None:
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(inner, width), Conv1D(width, inner)
        self.dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class GPT2Block(nn.Module):
    """Attention, then an MLP, each of the normalised input and added to it."""

    def __init__(
        self, width: int, heads: int, inner: int, attn_pdrop: float, resid_pdrop: float, eps: float
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = GPT2Attention(width, heads, attn_pdrop, resid_pdrop)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = GPT2MLP(width, inner, resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2Model(nn.Module):
    """GPT-2 without a head: `(N, L)` of token numbers to `(N, L, n_embd)`.

    The defaults are those of the smallest published one, of 124 million parameters; the others have
    `n_embd, n_layer, n_head` of 1024, 24, 16, of 1280, 36, 20 and of 1600, 48, 25.

    Args:
        vocab_size: the number of tokens.
        n_positions: the greatest length L.
        n_embd, n_layer, n_head: width, blocks, and heads of attention, which divide the width.
        n_inner: the width within an MLP; four times `n_embd` if None.
        resid_pdrop, embd_pdrop, attn_pdrop: probabilities of dropout.
        layer_norm_epsilon: added to variances.

    Raises:
        ValueError: sizes that do not fit each other; more tokens than positions.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import GPT2Model
        >>> net = GPT2Model(vocab_size=100, n_positions=16, n_embd=32, n_layer=2, n_head=4)
        >>> net(torch.zeros(1, 5, dtype=torch.long)).shape
        tritorch.Size([1, 5, 32])
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        n_inner: int | None = None,
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"GPT2Model: n_head={n_head} must divide n_embd={n_embd}")
        self.n_positions = n_positions
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(n_positions, n_embd)
        self.drop = nn.Dropout(embd_pdrop)
        sizes = (n_embd, n_head, n_inner or 4 * n_embd, attn_pdrop, resid_pdrop, layer_norm_epsilon)
        self.h = nn.ModuleList(GPT2Block(*sizes) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd, layer_norm_epsilon)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):  # so that the sum over blocks keeps its size
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layer))
        for table in (self.wte, self.wpe):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[-1]
        if input_ids.ndim != 2 or length > self.n_positions:
            raise ValueError(
                f"GPT2Model: token numbers of shape {tuple(input_ids.shape)} do not fit; expected "
                f"(N, L) with L up to {self.n_positions}"
            )
        places = arange(length, device=input_ids.device)
        x = self.drop(self.wte(input_ids) + self.wpe(places))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)

    @staticmethod
    def published_name(name: str) -> str | None:
        """Files of the model with its head call all of this `transformer`; masks are no weights."""
        if name == "lm_head.weight" or name.endswith((".attn.bias", ".attn.masked_bias")):
            return None
        return name.removeprefix("transformer.")


class GPT2LMHeadModel(nn.Module):
    """GPT-2 as a language model: `(N, L)` of token numbers to logits `(N, L, vocab_size)`.

    The logits at a place are those of the token that comes next. The head shares its weight with
    the embedding of tokens. The arguments are those of `GPT2Model`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import GPT2LMHeadModel
        >>> net = GPT2LMHeadModel(vocab_size=100, n_positions=16, n_embd=32, n_layer=2, n_head=4)
        >>> net(torch.zeros(1, 5, dtype=torch.long)).shape
        tritorch.Size([1, 5, 100])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.transformer = GPT2Model(*args, **kwargs)
        words, width = self.transformer.wte.weight.shape
        self.lm_head = nn.Linear(width, words, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.lm_head(self.transformer(input_ids))

    @staticmethod
    def published_name(name: str) -> str | None:
        """Files of the model without its head do not say `transformer`; masks are no weights."""
        inner = GPT2Model.published_name(name)
        return inner and f"transformer.{inner}"
