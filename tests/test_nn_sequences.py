"""Recurrent layers, packed sequences, multi-head attention, transformers; against PyTorch too."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import nn
from tritorch.nn.utils import rnn

RNG = np.random.default_rng(0)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def sequences(*lengths: int) -> list[torch.Tensor]:
    return [torch.from_numpy(reals(n, 3)) for n in lengths]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [(5, 3, 3, 1), (2, 5, 1), (4,)])
def test_pack_and_unpack(lengths: tuple, batch_first: bool) -> None:
    items = sequences(*lengths)
    padded = rnn.pad_sequence(items, batch_first, padding_value=7.0)
    packed = rnn.pack_padded_sequence(padded, list(lengths), batch_first, enforce_sorted=False)
    assert packed.data.shape[0] == sum(lengths)
    assert packed.batch_sizes.tolist() == [sum(n > t for n in lengths) for t in range(max(lengths))]
    again, sizes = rnn.pad_packed_sequence(packed, batch_first, padding_value=7.0)
    assert torch.equal(again, padded) and sizes.tolist() == list(lengths)
    for a, b in zip(rnn.unpack_sequence(packed), items, strict=True):
        assert torch.equal(a, b)


def test_left_padding_and_more_length() -> None:
    a, b = sequences(2, 3)
    padded = rnn.pad_sequence([a, b], batch_first=True, padding_side="left")
    assert torch.equal(padded[0, 1:], a) and not padded[0, 0].any()
    longer, _ = rnn.pad_packed_sequence(rnn.pack_sequence([b, a]), total_length=6)
    assert longer.shape == (6, 2, 3) and not longer[3:].any()


BAD_PACKS: list[tuple[Any, str]] = [
    ([2, 5], "sorted in decreasing order"),
    ([5, 0], "greater than 0"),
    ([5], "len"),
    ([9, 2], "Expected lengths up to 5"),
]


@pytest.mark.parametrize("lengths, says", BAD_PACKS)
def test_packing_refuses(lengths: list, says: str) -> None:
    with pytest.raises(RuntimeError, match=f"pack_padded_sequence: .*{says}"):
        rnn.pack_padded_sequence(torch.ones(5, 2, 3), lengths)


LAYERS = [nn.RNN, nn.LSTM, nn.GRU]


@pytest.mark.parametrize("kind", LAYERS)
def test_packed_sequences_run_as_if_alone(kind: Any) -> None:
    torch.manual_seed(0)
    layer = kind(3, 4, num_layers=2, bidirectional=True).double()
    items = sequences(2, 5, 3)
    packed, last = layer(rnn.pack_sequence(items, enforce_sorted=False))
    for i, (x, out) in enumerate(zip(items, rnn.unpack_sequence(packed), strict=True)):
        alone, state = layer(x)
        torch.testing.assert_close(out, alone)
        for h, s in zip(
            torch.atleast_1d(*[last]) if isinstance(last, tuple) else [last],
            state if isinstance(state, tuple) else [state],
            strict=True,
        ):
            torch.testing.assert_close(h[:, i], s)


@pytest.mark.parametrize(
    "kind, cell", [(nn.RNN, nn.RNNCell), (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)]
)
def test_layers_repeat_their_cells(kind: Any, cell: Any) -> None:
    layer, step = kind(3, 4).double(), cell(3, 4).double()
    step.load_state_dict({k[:-3]: v for k, v in layer.state_dict().items()})
    x = torch.from_numpy(reals(5, 2, 3))
    out, _ = layer(x)
    state: Any = None
    for t in range(5):
        state = step(x[t], state)
        torch.testing.assert_close(out[t], state[0] if kind is nn.LSTM else state)


BAD_LAYERS: list[tuple[dict, type[Exception], str]] = [
    ({"input_size": 0}, ValueError, "greater than zero"),
    ({"hidden_size": 2.5}, TypeError, "type int"),
    ({"bias": 1}, TypeError, "type bool"),
    ({"dropout": 2.0}, ValueError, "range"),
    ({"proj_size": 4}, ValueError, "smaller than hidden_size"),
]


@pytest.mark.parametrize("wrong, error, says", BAD_LAYERS)
def test_layers_refuse_sizes(wrong: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"LSTM: .*{says}"):
        nn.LSTM(**{"input_size": 3, "hidden_size": 4} | wrong)


def test_layers_refuse_inputs() -> None:
    layer = nn.GRU(3, 4)
    with pytest.raises(ValueError, match="GRU: Expected input to be 2D or 3D"):
        layer(torch.ones(3))
    with pytest.raises(RuntimeError, match=r"GRU: input.size\(-1\)"):
        layer(torch.ones(5, 2, 4))
    with pytest.raises(RuntimeError, match="GRU: Expected hidden size"):
        layer(torch.ones(5, 2, 3), torch.ones(1, 3, 4))
    with pytest.raises(RuntimeError, match="RNNCell: input has inconsistent"):
        nn.RNNCell(3, 4)(torch.ones(2, 5))


def test_causal_mask_is_detected() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0).double()
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    x = torch.from_numpy(reals(5, 2, 8))
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    torch.testing.assert_close(encoder(x, mask), encoder(x, mask != 0))
    torch.testing.assert_close(encoder(x, mask)[:3], encoder(x[:3], mask[:3, :3]))


# -- against PyTorch ------------------------------------------------------------------------------


def both(oracle: Any, make: Any, run: Any) -> None:
    """State names, results and gradients of a module equal PyTorch's."""
    theirs = make(oracle.nn).double()
    ours = make(nn).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    state = {k: torch.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    found = []
    for library, module in ((oracle, theirs), (torch, ours)):
        outs = [o for o in run(library, module) if o is not None]
        weights = [np.cos(np.arange(o.numel()) + 1.0).reshape(tuple(o.shape)) for o in outs]
        total = sum((o * library.from_numpy(w)).sum() for o, w in zip(outs, weights, strict=True))
        grads = library.autograd.grad(total, list(module.parameters()), allow_unused=True)
        found.append(
            [o.detach().numpy() for o in outs] + [g.numpy() for g in grads if g is not None]
        )
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, 1e-9, 1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_against_pytorch(kind: str) -> None:
    oracle = pytest.importorskip("torch")
    for layers, bias, first, two in itertools.product((1, 2), *[(False, True)] * 3):
        how: dict[str, Any] = {"num_layers": layers, "bias": bias, "batch_first": first}
        how["bidirectional"] = two
        if kind == "LSTM" and layers == 2:
            how["proj_size"] = 2
        x = reals(3, 5, 3)

        def run(library: Any, module: Any, x: np.ndarray = x, first: bool = first) -> list:
            pack = library.nn.utils.rnn.pack_padded_sequence
            data = library.from_numpy(x)
            lengths = [5, 2, 4] if first else [3, 1, 2, 2, 3]
            packed, _ = module(pack(data, lengths, batch_first=first, enforce_sorted=False))
            out, state = module(data)
            return [packed.data, out, *(state if isinstance(state, tuple) else [state])]

        both(oracle, lambda library, how=how: getattr(library, kind)(3, 4, **how), run)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"kdim": 3, "vdim": 5},
        {"add_bias_kv": True, "bias": False},
        {"add_zero_attn": True},
        {"batch_first": True},
    ],
)
@pytest.mark.parametrize("weights", [False, True])
def test_multihead_attention_against_pytorch(how: dict, weights: bool) -> None:
    oracle = pytest.importorskip("torch")
    q, k, v = reals(4, 4, 6), reals(4, 4, how.get("kdim", 6)), reals(4, 4, how.get("vdim", 6))
    padding = np.zeros((4, 4), bool)
    padding[1, 2:] = True

    def run(library: Any, module: Any) -> list:
        inputs = [library.from_numpy(x) for x in (q, k, v)]
        mask = library.ones(4, 4).triu(1).bool()
        outs = [*module(*inputs, need_weights=weights)]
        outs += module(*inputs, attn_mask=mask, average_attn_weights=False, need_weights=weights)
        hidden = library.from_numpy(padding)
        return [*outs, *module(*inputs, key_padding_mask=hidden, need_weights=weights)]

    both(oracle, lambda library: library.MultiheadAttention(6, 2, **how), run)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "how", [{}, {"norm_first": True, "activation": "gelu"}, {"bias": False}, {"batch_first": True}]
)
def test_transformer_against_pytorch(how: dict) -> None:
    oracle = pytest.importorskip("torch")
    src, tgt = reals(4, 4, 6), reals(4, 4, 6)

    def run(library: Any, module: Any) -> list:
        a, b = library.from_numpy(src), library.from_numpy(tgt)
        mask = module.generate_square_subsequent_mask(4, dtype=library.float64)
        hidden = library.zeros(4, 4).bool()
        hidden[1, 3] = True
        return [
            module(a, b),
            module(a, b, tgt_mask=mask, src_mask=mask),
            module(a, b, src_key_padding_mask=hidden, memory_key_padding_mask=hidden),
        ]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that PyTorch has no nested tensors for
            both(oracle, lambda library: library.Transformer(6, 2, 1, 2, 8, 0.0, **how), run)
