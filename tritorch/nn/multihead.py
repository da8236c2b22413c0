"""MultiheadAttention."""

from __future__ import annotations

from typing import Any

from ..ops import create
from ..tensor import Tensor
from . import functional as F, init
from .linear import NonDynamicallyQuantizableLinear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Several attentions side by side, each on its part of a projection of the inputs.

    `query` (L, B, E), `key` (S, B, kdim), `value` (S, B, vdim) give `(L, B, E)` and the weights;
    with `batch_first` (B, L, E); also without a batch. A boolean mask says with True what takes no
    part. Source: Vaswani et al., "Attention Is All You Need", 2017.

    Example:
        >>> import tritorch as torch
        >>> layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = torch.ones(3, 5, 8)
        >>> out, weights = layer(x, x, x)
        >>> out.shape, weights.shape
        (tritorch.Size([3, 5, 8]), tritorch.Size([3, 5, 5]))
    """

    in_proj_weight: Any
    in_proj_bias: Any
    q_proj_weight: Any
    k_proj_weight: Any
    v_proj_weight: Any
    bias_k: Any
    bias_v: Any

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "MultiheadAttention: embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.dropout, self.batch_first = dropout, batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"MultiheadAttention: embed_dim must be divisible by num_heads, got {embed_dim} "
                f"and {num_heads}"
            )

        def parameter(name: str, *shape: int, wanted: bool) -> None:
            made = create.empty(shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if made is None else Parameter(made))

        same = self._qkv_same_embed_dim
        parameter("q_proj_weight", embed_dim, embed_dim, wanted=not same)
        parameter("k_proj_weight", embed_dim, self.kdim, wanted=not same)
        parameter("v_proj_weight", embed_dim, self.vdim, wanted=not same)
        parameter("in_proj_weight", 3 * embed_dim, embed_dim, wanted=same)
        parameter("in_proj_bias", 3 * embed_dim, wanted=bias)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        parameter("bias_k", 1, 1, embed_dim, wanted=add_bias_kv)
        parameter("bias_v", 1, 1, embed_dim, wanted=add_bias_kv)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for name in ("bias_k", "bias_v"):
            if getattr(self, name) is not None:
                init.xavier_normal_(getattr(self, name))

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one, `(B, num_heads, L, L)`, and its kind: 1 for padding alone, else 2.

        Masks of numbers are added. The kind is None where there is no mask.
        """
        padding: Any = key_padding_mask
        if attn_mask is None:
            return padding, None if padding is None else 1
        batch, length, _ = query.shape
        shape = (batch, -1) if attn_mask.ndim == 3 else (1, 1)
        mask: Any = attn_mask.view(*shape, length, length)  # type: ignore[attr-defined]
        if attn_mask.ndim == 2:
            mask = mask.expand(batch, self.num_heads, -1, -1)
        if padding is not None:
            wide = padding.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
            mask = mask + wide
        return mask, 2

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        turned = self.batch_first and query.ndim == 3
        if turned:
            found: dict[int, Any] = {}  # what is one tensor stays one: it is projected at once
            query, key, value = (
                found.setdefault(id(x), x.transpose(1, 0)) for x in (query, key, value)
            )
        out: Any
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (out.transpose(1, 0) if turned else out), weights
