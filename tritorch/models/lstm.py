"""A language model of LSTM layers, with the names of parameters of PyTorch's example.

Zaremba, Sutskever, Vinyals 2014, "Recurrent neural network regularization", section 3; the shared
weight is that of Press, Wolf 2017, "Using the output embedding to improve language models".
"""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor


class LSTMLanguageModel(nn.Module):
    """Embedding, LSTM layers and a decoder, with dropout between them.

    Args:
        ntoken: the number of tokens.
        ninp, nhid, nlayers: the width of the embedding; width and number of the LSTM layers.
        dropout: a probability.
        tie_weights: whether decoder and embedding share their weight; `nhid` must be `ninp` then.

    Shapes: `(T, N)` of token numbers, and the state that the last call returned, if any, to logits
    `(T, N, ntoken)` and the new state.

    Raises:
        ValueError: weights that cannot be shared.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import LSTMLanguageModel
        >>> net = LSTMLanguageModel(50, 16, 16, 2, tie_weights=True)
        >>> logits, state = net(torch.zeros(7, 3, dtype=torch.long))
        >>> logits.shape, state[0].shape
        (tritorch.Size([7, 3, 50]), tritorch.Size([2, 3, 16]))
    """

    def __init__(
        self,
        ntoken: int,
        ninp: int = 200,
        nhid: int = 200,
        nlayers: int = 2,
        dropout: float = 0.2,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        if tie_weights and nhid != ninp:
            raise ValueError(f"LSTMLanguageModel: with tie_weights nhid={nhid} must be ninp={ninp}")
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout if nlayers > 1 else 0.0)
        self.decoder = nn.Linear(nhid, ntoken)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if tie_weights:
            self.decoder.weight = self.encoder.weight

    def forward(
        self, input: Tensor, hidden: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if input.ndim != 2:
            raise ValueError(
                f"LSTMLanguageModel: token numbers of shape {tuple(input.shape)} do not fit; "
                "expected (T, N)"
            )
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        return self.decoder(self.drop(output)), hidden  # type: ignore[return-value]
