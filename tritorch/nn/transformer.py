"""Transformers. Source: Vaswani et al., "Attention Is All You Need", 2017; with `norm_first` the
normalisation stands before each block: Xiong et al., 2020."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from ..autograd.mode import state
from ..backends import mha
from ..ops import create
from ..ops.autocast import settings
from ..ops.multihead import canonical_mask
from ..tensor import Tensor
from . import functional as F, init
from .activation import GELU, ReLU
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .multihead import MultiheadAttention
from .norm import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Tensor], Tensor]


def _later_masked(size: int, device: Any = None, dtype: Any = None) -> Any:
    """-inf above the diagonal, zeros elsewhere."""
    full: Any = create.full((size, size), float("-inf"), dtype=dtype, device=device)
    return full.triu(1)


def _is_causal(mask: Any, is_causal: bool | None, length: int) -> bool:
    """Whether a mask is the causal one: what was said, or by comparison."""
    if is_causal is None and mask is not None:
        causal = _later_masked(length, mask.device, mask.dtype) if mask.dtype.category else None
        same = causal is not None and causal.shape == mask.shape
        return same and bool((mask == causal).all())
    return is_causal is True


def _length(x: Any, batch_first: bool) -> int:
    return x.shape[1 if batch_first and x.ndim == 3 else 0]


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"Transformer: activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu


def _copies(layer: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(n)])


class _Layer(Module):
    """What encoder and decoder layers share: the block of two linear layers, and attention."""

    self_attn: Any
    linear1: Any
    linear2: Any
    dropout: Any

    def _add_feed_forward(
        self, d_model: int, width: int, dropout: float, bias: bool, made: dict
    ) -> None:
        self.linear1 = Linear(d_model, width, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(width, d_model, bias=bias, **made)

    def _two_layers(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))  # type: ignore[operator]

    @staticmethod
    def _attend(
        attention: Any, x: Tensor, memory: Tensor, mask: Any, padding: Any, is_causal: bool
    ) -> Tensor:
        return attention(
            x,
            memory,
            memory,
            attn_mask=mask,
            key_padding_mask=padding,
            need_weights=False,
            is_causal=is_causal,
        )[0]


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself and two linear layers: `(S, B, d_model)` to the same.

    With `batch_first` `(B, S, d_model)`; also without a batch.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **made
        )
        self._add_feed_forward(d_model, dim_feedforward, dropout, bias, made)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        activation = _activation(activation)
        self.activation_relu_or_gelu = (
            1
            if activation is F.relu or isinstance(activation, ReLU)
            else 2
            if activation is F.gelu or isinstance(activation, GELU)
            else 0
        )
        self.activation = activation

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        src_key_padding_mask = canonical_mask(
            src_key_padding_mask,
            "src_key_padding_mask",
            None if src_mask is None else src_mask.dtype,
            "src_mask",
            src.dtype,
        )
        src_mask = canonical_mask(src_mask, "src_mask", None, "", src.dtype, False)

        masks, x = (src_mask, src_key_padding_mask), src
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *masks, is_causal=is_causal)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(x + self._sa_block(x, *masks, is_causal=is_causal))
        return self.norm2(x + self._ff_block(x))

    def _sa_block(
        self, x: Tensor, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False
    ) -> Tensor:
        """The block of attention, which a subclass may change."""
        out = self._attend(self.self_attn, x, x, attn_mask, key_padding_mask, is_causal)
        return self.dropout1(out)

    def _ff_block(self, x: Tensor) -> Tensor:
        """The block of linear layers, which a subclass may change."""
        return self.dropout2(self._two_layers(x))


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself and to `memory`, and two linear layers.

    `tgt` (T, B, d_model) and `memory` (S, B, d_model) to (T, B, d_model).
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        for name in ("self_attn", "multihead_attn"):
            attention = MultiheadAttention(
                d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **made
            )
            setattr(self, name, attention)
        self._add_feed_forward(d_model, dim_feedforward, dropout, bias, made)
        self.norm_first = norm_first
        for i in (1, 2, 3):
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)
            setattr(self, f"norm{i}", norm)
        for i in (1, 2, 3):
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own: Any = self
        x, masks = tgt, (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._sa_block(own.norm1(x), *masks)
            x = x + self._mha_block(own.norm2(x), *other)
            return x + self._ff_block(own.norm3(x))
        x = own.norm1(x + self._sa_block(x, *masks))
        x = own.norm2(x + self._mha_block(x, *other))
        return own.norm3(x + self._ff_block(x))

    def _sa_block(
        self, x: Tensor, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False
    ) -> Tensor:
        """The block of attention to the sequence itself, which a subclass may change."""
        out = self._attend(self.self_attn, x, x, attn_mask, key_padding_mask, is_causal)
        return self.dropout1(out)  # type: ignore[operator]

    def _mha_block(
        self, x: Tensor, mem: Tensor, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False
    ) -> Tensor:
        """The block of attention to `mem`, which a subclass may change."""
        attention: Any = self.multihead_attn
        out = self._attend(attention, x, mem, attn_mask, key_padding_mask, is_causal)
        return self.dropout2(out)  # type: ignore[operator]

    def _ff_block(self, x: Tensor) -> Tensor:
        """The block of linear layers, which a subclass may change."""
        return self.dropout3(self._two_layers(x))  # type: ignore[operator]


def _not_nested(layer: Any) -> str:
    """Why PyTorch would not leave padding out of the sequences with such layers, if so."""
    if not isinstance(layer, TransformerEncoderLayer):
        return " was not TransformerEncoderLayer"
    attention: Any = layer.self_attn
    reasons = {
        ".norm_first was True": layer.norm_first,
        ".self_attn.batch_first was not True(use batch_first for better inference performance)": (
            not attention.batch_first
        ),
        ".self_attn was passed bias=False": attention.in_proj_bias is None,
        ".activation_relu_or_gelu was not True": not layer.activation_relu_or_gelu,
        ".norm1.eps was not equal to encoder_layer.norm2.eps": layer.norm1.eps != layer.norm2.eps,
        ".self_attn.num_heads is odd": attention.num_heads % 2,
    }
    return next((reason for reason, found in reasons.items() if found), "")


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer, one after the other, and `norm`.

    In `eval`, where no gradient is wanted, what `src_key_padding_mask` marks comes out as zeros
    before `norm`, if the layers have `batch_first` and no mask is given beside it.
    """

    def __init__(
        self,
        encoder_layer: Any,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check
        reason = _not_nested(encoder_layer) if enable_nested_tensor else ""
        if reason:
            warnings.warn(
                "enable_nested_tensor is True, but self.use_nested_tensor is False because "
                f"encoder_layer{reason}",
                stacklevel=2,
            )
        self.use_nested_tensor = enable_nested_tensor and not reason

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        src_key_padding_mask = canonical_mask(
            src_key_padding_mask,
            "src_key_padding_mask",
            None if mask is None else mask.dtype,
            "mask",
            src.dtype,
        )
        mask = canonical_mask(mask, "mask", None, "", src.dtype, False)
        first: Any = self.layers[0]
        causal = _is_causal(mask, is_causal, _length(src, first.self_attn.batch_first))
        out = src
        for layer in self.layers:
            out = layer(
                out,
                src_mask=mask,
                is_causal=causal,
                src_key_padding_mask=src_key_padding_mask,
            )
        if mask is None and src_key_padding_mask is not None:
            padded = src_key_padding_mask != 0
            if self._leaves_out(padded, src):
                out = out.masked_fill(padded.unsqueeze(-1), 0.0)
        return out if self.norm is None else self.norm(out)

    def _leaves_out(self, padded: Any, src: Any) -> bool:
        """Whether what is padded comes out as zeros: where PyTorch leaves it out of the sequences,
        when it does not train and no gradient is wanted."""
        first: Any = self.layers[0]
        usable = self.use_nested_tensor and mha.get_fastpath_enabled()
        if not usable or first.training or src.ndim != 3 or settings.enabled:
            return False
        if state.grad and any(t.requires_grad for t in (src, *first.parameters())):
            return False
        return not (self.mask_check and (padded[:, :-1] > padded[:, 1:]).any())


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer, one after the other, and `norm`."""

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        first: Any = self.layers[0]
        causal = _is_causal(tgt_mask, tgt_is_causal, _length(tgt, first.self_attn.batch_first))
        out = tgt
        for layer in self.layers:
            out = layer(
                out,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        return out if self.norm is None else self.norm(out)


class Transformer(Module):
    """An encoder of `src` and a decoder of `tgt`: (S, B, E) and (T, B, E) to (T, B, E).

    Example:
        >>> import tritorch as torch
        >>> model = torch.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        >>> model(torch.ones(4, 10, 16), torch.ones(4, 7, 16)).shape
        tritorch.Size([4, 7, 16])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        shape = (d_model, nhead, dim_feedforward, dropout, activation)
        how = (layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)

        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*shape, *how, **made)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*shape, *how, **made)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self._reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        at = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[at] != tgt.shape[at]:
            raise RuntimeError(
                "Transformer: the batch number of src and tgt must be equal, got "
                f"{tuple(src.shape)} and {tuple(tgt.shape)}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                "Transformer: the feature number of src and tgt must be equal to d_model, got "
                f"{tuple(src.shape)} and {tuple(tgt.shape)} for {self.d_model}"
            )
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask of a sequence: -inf for what comes later, zeros elsewhere."""
        return _later_masked(sz, device, dtype)

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)
