"""BERT, with the names of parameters of Hugging Face's transformers.

Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language
understanding", section 3.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..nn import functional as F
from ..ops.create import zeros, zeros_like
from ..ops.ranges import arange
from ..tensor import Tensor


class BertEmbeddings(nn.Module):
    """The sum of embeddings of tokens, places and segments, normalised: `(N, L)` to `(N, L, C)`."""

    def __init__(
        self, words: int, width: int, places: int, types: int, dropout: float, eps: float
    ) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(places, width)
        self.token_type_embeddings = nn.Embedding(types, width)
        self.LayerNorm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        length, most = input_ids.shape[-1], self.position_embeddings.num_embeddings
        if input_ids.ndim != 2 or length > most:
            raise ValueError(
                f"BertModel: token numbers of shape {tuple(input_ids.shape)} do not fit; expected "
                f"(N, L) with L up to {most}"
            )
        types = zeros_like(input_ids) if token_type_ids is None else token_type_ids
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        x = x + self.position_embeddings(arange(length, device=input_ids.device))
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(nn.Module):
    """Attention in heads, of queries, keys and values: `(N, L, C)` to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, length, width = x.shape
        q, k, v = (
            layer(x).view(n, length, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        return y.transpose(1, 2).reshape(n, length, width)


class BertOutput(nn.Module):
    """A linear layer, whose result is added to `residual` and normalised."""

    def __init__(self, inner: int, width: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inner, width), nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class BertAttention(nn.Module):
    """Self-attention and its output layer."""

    def __init__(
        self, width: int, heads: int, dropout: float, attention_dropout: float, eps: float
    ) -> None:
        super().__init__()
        self.self = BertSelfAttention(width, heads, attention_dropout)
        self.output = BertOutput(width, width, dropout, eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.output(self.self(x, mask), x)


class BertIntermediate(nn.Module):
    """A linear layer and GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class BertLayer(nn.Module):
    """Attention and an MLP, each added to its input and then normalised."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        dropout: float,
        attention_dropout: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.attention = BertAttention(width, heads, dropout, attention_dropout, eps)
        self.intermediate = BertIntermediate(width, inner)
        self.output = BertOutput(inner, width, dropout, eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, layers: int, *sizes: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(*sizes) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertPooler(nn.Module):
    """A linear layer and tanh, of the first token: `(N, L, C)` to `(N, C)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x[:, 0]).tanh()


class BertModel(nn.Module):
    """BERT without a head: the states of all tokens, and one vector for the whole.

    The defaults are those of bert-base-uncased, of 110 million parameters.

    Args:
        vocab_size: the number of tokens; token 0 is padding.
        hidden_size, num_hidden_layers, num_attention_heads: width, layers, and heads of attention,
            which divide the width.
        intermediate_size: the width within an MLP.
        hidden_dropout_prob, attention_probs_dropout_prob: probabilities of dropout.
        max_position_embeddings: the greatest length L.
        type_vocab_size: the number of segments.
        layer_norm_eps: added to variances.
        add_pooling_layer: whether there is the vector for the whole.

    Shapes: token numbers `(N, L)`; segment numbers `token_type_ids` `(N, L)`, all 0 if not given;
    `attention_mask` `(N, L)`, 0 where a token is padding. Returns `(N, L, hidden_size)` and
    `(N, hidden_size)`, or None for the second without a pooling layer.

    Raises:
        ValueError: sizes that do not fit each other; more tokens than positions.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import BertModel
        >>> net = BertModel(100, 32, num_hidden_layers=2, num_attention_heads=4)
        >>> states, pooled = net(torch.tensor([[5, 6, 7, 0]]), attention_mask=torch.ones(1, 4))
        >>> states.shape, pooled.shape
        (tritorch.Size([1, 4, 32]), tritorch.Size([1, 32]))
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        layer_norm_eps: float = 1e-12,
        add_pooling_layer: bool = True,
    ) -> None:
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"BertModel: num_attention_heads={num_attention_heads} must divide "
                f"hidden_size={hidden_size}"
            )
        self.embeddings = BertEmbeddings(
            *(vocab_size, hidden_size, max_position_embeddings, type_vocab_size),
            *(hidden_dropout_prob, layer_norm_eps),
        )
        self.encoder = BertEncoder(
            *(num_hidden_layers, hidden_size, num_attention_heads, intermediate_size),
            *(hidden_dropout_prob, attention_probs_dropout_prob, layer_norm_eps),
        )
        self.pooler = BertPooler(hidden_size) if add_pooling_layer else None
        self.apply(_initialize)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        x = self.embeddings(input_ids, token_type_ids)
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != input_ids.shape:
                raise ValueError(
                    f"BertModel: attention_mask of shape {tuple(attention_mask.shape)} must have "
                    f"the shape of input_ids, {tuple(input_ids.shape)}"
                )
            mask = (attention_mask != 0)[:, None, None]
        x = self.encoder(x, mask)
        return x, None if self.pooler is None else self.pooler(x)

    def published_name(self, name: str) -> str | None:
        """Files of models with heads call all of this `bert`; the first ones have other names."""
        name = _modern(name)
        foreign = name.startswith("cls.") or name.endswith("position_ids")
        if foreign or (self.pooler is None and "pooler." in name):
            return None
        return name.removeprefix("bert.")


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def _modern(name: str) -> str:
    """The names of normalisations in the files that were converted from TensorFlow."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


class BertPredictionHeadTransform(nn.Module):
    """A linear layer, GELU and a normalisation."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(width, width), nn.LayerNorm(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class BertLMPredictionHead(nn.Module):
    """The logits of tokens, by the weight of their embedding: `(N, L, C)` to `(N, L, V)`."""

    def __init__(self, embedding: nn.Embedding, eps: float) -> None:
        super().__init__()
        words, width = embedding.weight.shape
        self.transform = BertPredictionHeadTransform(width, eps)
        self.decoder = nn.Linear(width, words)
        self.decoder.weight = embedding.weight
        self.bias = nn.Parameter(zeros(words))
        self.decoder.bias = self.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x))


class BertOnlyMLMHead(nn.Module):
    """The head of the masked language model, alone."""

    def __init__(self, embedding: nn.Embedding, eps: float) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(embedding, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.predictions(x)


class BertForMaskedLM(nn.Module):
    """BERT as a masked language model: `(N, L)` of token numbers to logits `(N, L, vocab_size)`.

    The arguments are those of `BertModel`, and of its call.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import BertForMaskedLM
        >>> net = BertForMaskedLM(100, 32, num_hidden_layers=2, num_attention_heads=4)
        >>> net(torch.tensor([[5, 6, 7, 0]])).shape
        tritorch.Size([1, 4, 100])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.bert = BertModel(*args, **kwargs, add_pooling_layer=False)
        embeddings = self.bert.embeddings
        self.cls = BertOnlyMLMHead(embeddings.word_embeddings, embeddings.LayerNorm.eps)
        self.cls.predictions.transform.apply(_initialize)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        return self.cls(self.bert(input_ids, attention_mask, token_type_ids)[0])

    def published_name(self, name: str) -> str | None:
        """The head for the next sentence and the pooling layer are not needed."""
        name = _modern(name)
        if name.startswith("cls."):
            return None if name.startswith("cls.seq_relationship.") else name
        inner = self.bert.published_name(name)
        return inner and f"bert.{inner}"
