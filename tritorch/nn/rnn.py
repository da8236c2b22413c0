"""Recurrent layers and cells: RNN, LSTM, GRU."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

from ..ops import create, recurrent_layers as functions
from ..ops.api import PUBLIC
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _check_sizes(name: str, **values: Any) -> None:
    """PyTorch's rules for the arguments of recurrent layers."""
    for what in ("bias", "batch_first"):
        if not isinstance(values[what], bool):
            raise TypeError(
                f"{name}: {what} should be of type bool, got: {type(values[what]).__name__}"
            )
    for what in ("input_size", "hidden_size"):
        if not isinstance(values[what], int):
            raise TypeError(
                f"{name}: {what} should be of type int, got: {type(values[what]).__name__}"
            )
    for what in ("input_size", "hidden_size", "num_layers"):
        if values[what] <= 0:
            raise ValueError(f"{name}: {what} must be greater than zero, got {values[what]}")
    if values["proj_size"] < 0:
        raise ValueError(
            f"{name}: proj_size should be a positive integer or zero to disable projections"
        )
    if values["proj_size"] >= values["hidden_size"]:
        raise ValueError(f"{name}: proj_size has to be smaller than hidden_size")


class RNNBase(Module):
    """What recurrent layers share. `mode` is "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if mode not in GATES:
            raise ValueError(f"{name}: Unrecognized RNN mode: {mode}")
        number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
        if not number or not 0 <= dropout <= 1:
            raise ValueError(
                f"{name}: dropout should be a number in range [0, 1] representing the probability "
                f"of an element being zeroed, got {dropout!r}"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        _check_sizes(
            name,
            bias=bias,
            batch_first=batch_first,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            proj_size=proj_size,
        )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: self._directions]:
                self._add_layer(layer, suffix, device, dtype)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _state_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _add_layer(self, layer: int, suffix: str, device: Any, dtype: Any) -> None:
        rows, size = GATES[self.mode] * self.hidden_size, self._state_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, size * self._directions if layer else self.input_size),
            "weight_hh": (rows, size),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        names = []
        for kind, shape in shapes.items():
            names.append(f"{kind}_l{layer}{suffix}")
            made = create.empty(shape, device=device, dtype=dtype)
            self.register_parameter(names[-1], Parameter(made))
        self._all_weights.append(names)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, n) for n in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        for name, weight in zip(self._flat_weights_names, weights, strict=True):
            if weight is not getattr(self, name, None):
                setattr(self, name, weight)

    def flatten_parameters(self) -> None:
        """Nothing: parameters need no common memory here, whatever takes their place."""

    def reset_parameters(self) -> None:
        """Draw all parameters again, uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def check_input(self, input: Any, batch_sizes: Any) -> None:
        """Raises for an input, or the data of a packed one, that the weights do not fit."""
        name, weight = type(self).__name__, self._flat_weights[0]
        if input.dtype != weight.dtype:
            raise ValueError(
                f"{name}: RNN input dtype ({input.dtype}) does not match weight dtype "
                f"({weight.dtype}). Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        want = 3 if batch_sizes is None else 2
        if input.ndim != want:
            raise RuntimeError(f"{name}: input must have {want} dimensions, got {input.ndim}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {input.shape[-1]}"
            )

    def _expected_state(self, input: Any, batch_sizes: Any, size: int) -> tuple[int, int, int]:
        batch = input.shape[0 if self.batch_first else 1]
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        return self.num_layers * self._directions, batch, size

    def get_expected_hidden_size(self, input: Any, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of the hidden states for an input."""
        return self._expected_state(input, batch_sizes, self._state_size)

    def check_hidden_size(
        self,
        hx: Any,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raises for states of another shape."""
        if tuple(hx.shape) != expected_hidden_size:
            said = msg.format(expected_hidden_size, list(hx.shape))
            raise RuntimeError(f"{type(self).__name__}: {said}")

    def check_forward_args(self, input: Any, hidden: Any, batch_sizes: Any) -> None:
        """Raises for an input or states that do not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        """The states of sequences in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def _first_states(self, input: Any, hx: Any, batch: int) -> list[Tensor]:
        """The states to begin with, (layers * directions, B, size): zeros where not given."""
        lead = self.num_layers * self._directions
        sizes = [self._state_size] + [self.hidden_size] * (self.mode == "LSTM")
        if hx is None:
            return [
                create.zeros(lead, batch, n, dtype=input.dtype, device=input.device) for n in sizes
            ]
        states = list(hx) if self.mode == "LSTM" else [hx]
        for i, (state, n) in enumerate(zip(states, sizes, strict=True)):
            what = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
            self.check_hidden_size(state, (lead, batch, n), f"Expected {what} size {{}}, got {{}}")
        return states

    def _run(self, first: Any, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        how = (self._flat_weights, self.bias, self.num_layers, self.dropout, self.training)
        out, *last = PUBLIC[self.mode.lower()](first, *args, *how, self.bidirectional, **kwargs)
        return out, last

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The results of the last layer for all steps, and the last states of all layers."""
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        name, nested = type(self).__name__, self.mode == "LSTM"
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{name}: Expected input to be 2D or 3D, got {input.ndim}D tensor instead"
            )
        batched, batch_dim = input.ndim == 3, 0 if self.batch_first else 1
        given = None if hx is None else list(hx) if nested else [hx]
        for state in given or ():
            if state.ndim != input.ndim:
                kind = "batched 3-D" if batched else "unbatched 2-D"
                raise RuntimeError(
                    f"{name}: For {kind} input, hx should also be {input.ndim}-D but got "
                    f"{state.ndim}-D tensor"
                )
        if not batched:
            input = input.unsqueeze(batch_dim)
            given = None if given is None else [s.unsqueeze(1) for s in given]
        self.check_input(input, None)
        hx = given if given is None or nested else given[0]
        states = self._first_states(input, hx, input.shape[batch_dim])
        out, last = self._run(input, states, batch_first=self.batch_first)
        if not batched:
            out, last = out.squeeze(batch_dim), [s.squeeze(1) for s in last]
        return out, tuple(last) if nested else last[0]

    def _packed(self, packed: PackedSequence, hx: Any) -> tuple[Any, Any]:
        data, sizes, order, back = packed
        self.check_input(data, sizes)
        states = self._first_states(data, hx, int(sizes[0]))
        if hx is not None and order is not None:
            states = [s.index_select(1, order) for s in states]  # type: ignore[attr-defined]
        out, last = self._run(data, sizes, states)
        if back is not None:
            last = [s.index_select(1, back) for s in last]
        out = PackedSequence(out, sizes, order, back)
        return out, tuple(last) if self.mode == "LSTM" else last[0]

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        defaults |= {"dropout": 0, "bidirectional": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown


class RNN(RNNBase):
    """`h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`, in layers; relu by `nonlinearity`.

    `(T, B, input_size)` to `(T, B, D * hidden_size)`, with D = 2 where `bidirectional`; without a
    batch `(T, input_size)`, with `batch_first` `(B, T, input_size)`, or a `PackedSequence`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("RNN: proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNN: Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory, in layers; the states are a pair `(h, c)`.

    `(T, B, input_size)` to `(T, B, D * size)`, where size is `proj_size` if given, else
    `hidden_size`. Source: Hochreiter and Schmidhuber, 1997; projections: Sak et al., 2014.

    Example:
        >>> import tritorch as torch
        >>> out, (h, c) = torch.nn.LSTM(4, 5, num_layers=2)(torch.ones(3, 1, 4))
        >>> out.shape, h.shape
        (tritorch.Size([3, 1, 5]), tritorch.Size([2, 1, 5]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Any, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of the cells' states for an input."""
        return self._expected_state(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Any, hidden: Any, batch_sizes: Any) -> None:
        """Raises for an input, or a pair of states, that does not fit."""
        self.check_input(input, batch_sizes)
        sizes = (
            self.get_expected_hidden_size(input, batch_sizes),
            self.get_expected_cell_size(input, batch_sizes),
        )
        for i, size in enumerate(sizes):
            self.check_hidden_size(hidden[i], size, f"Expected hidden[{i}] size {{}}, got {{}}")

    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        """The pair of states of sequences in another order."""
        return hx if permutation is None else tuple(s.index_select(1, permutation) for s in hx)


class GRU(RNNBase):
    """Gated recurrent units, in layers: `(T, B, input_size)` to `(T, B, D * hidden_size)`.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("GRU: proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


# -- cells ----------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What recurrent cells share."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        for name, shape in shapes.items():
            self.register_parameter(
                name, Parameter(create.empty(shape, device=device, dtype=dtype))
            )
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(create.empty((rows,), device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            shown += f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return shown + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def reset_parameters(self) -> None:
        """Draw all parameters again, uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _prepare(self, input: Any, states: Any) -> tuple[Any, list[Any], bool]:
        """Input and states with a batch, and whether they had one."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        count = 2 if isinstance(self, LSTMCell) else 1
        if states is None:
            shape = (*input.shape[:-1], self.hidden_size)
            zeros = create.zeros(shape, dtype=input.dtype, device=input.device)
            states = [zeros] * count
        for i, state in enumerate(states):
            if state.ndim not in (1, 2):
                what = f"hx[{i}]" if count == 2 else "hidden"
                raise ValueError(
                    f"{name}: Expected {what} to be 1D or 2D, got {state.ndim}D instead"
                )
        batched = input.ndim == 2
        if not batched:
            input = input.unsqueeze(0)
            states = [s.unsqueeze(0) if s.ndim == 1 else s for s in states]
        self._check(input, states)
        return input, list(states), batched

    def _check(self, input: Any, states: Any) -> None:
        name = type(self).__name__
        if input.shape[1] != self.input_size:
            raise RuntimeError(
                f"{name}: input has inconsistent input_size: got {input.shape[1]} expected "
                f"{self.input_size}"
            )
        for i, s in enumerate(states):
            if s.shape[0] != input.shape[0]:
                raise RuntimeError(
                    f"{name}: Input batch size {input.shape[0]} doesn't match hidden{i} batch size "
                    f"{s.shape[0]}"
                )
            if s.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"{name}: hidden{i} has inconsistent hidden_size: got {s.shape[1]}, expected "
                    f"{self.hidden_size}"
                )

    def _weights(self) -> tuple:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh


class RNNCell(RNNCellBase):
    """One step of an `RNN`: `(B, input_size)` and states `(B, hidden_size)` to new states."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        x, states, batched = self._prepare(input, None if hx is None else [hx])
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: Unknown nonlinearity: {self.nonlinearity}")
        run = functions.rnn_tanh_cell if self.nonlinearity == "tanh" else functions.rnn_relu_cell
        out: Any = run(x, states[0], *self._weights())
        return out if batched else out.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: `(B, input_size)` and states `(h, c)` to new states."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        x, states, batched = self._prepare(input, hx)
        found: Any = functions.lstm_cell(x, states, *self._weights())
        return tuple(found) if batched else tuple(s.squeeze(0) for s in found)  # type: ignore


class GRUCell(RNNCellBase):
    """One step of a `GRU`: `(B, input_size)` and states `(B, hidden_size)` to new states."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        x, states, batched = self._prepare(input, None if hx is None else [hx])
        out: Any = functions.gru_cell(x, states[0], *self._weights())
        return out if batched else out.squeeze(0)
