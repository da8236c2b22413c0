"""What layers take, for the note of an error that was raised inside one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

_LENGTHS = {1: "L", 2: "H, W", 3: "D, H, W"}


def _spatial(module: Any) -> str:
    """The dimensions behind the channels: by the kernel, or by the name's number."""
    kernel = getattr(module, "kernel_size", None)
    n = len(kernel) if isinstance(kernel, tuple) else 0
    return _LENGTHS.get(
        n or next((k for k in (1, 2, 3) if f"{k}d" in type(module).__name__), 0), "*"
    )


def _recurrent(m: Any) -> str:
    order = "(N, L, {0})" if m.batch_first else "(L, N, {0})"
    return f"{order} or (L, {{0}})".format(m.input_size)


def _attention(m: Any) -> str:
    order = "(N, L, {0})" if m.batch_first else "(L, N, {0})"
    query = f"{order} or (L, {{0}})".format(m.embed_dim)
    if m.kdim == m.embed_dim == m.vdim:
        return f"query, key and value {query}"
    return f"query {query}, keys of {m.kdim} and values of {m.vdim} features"


def _model(m: Any, width: int, batch_first: bool) -> str:
    return f"(N, L, {width})" if batch_first else f"(L, N, {width})"


# By the names of classes, so that a subclass takes what its base takes.
TAKES: dict[str, Callable[[Any], str]] = {
    "Linear": lambda m: f"(*, {m.in_features})",
    "Bilinear": lambda m: f"(*, {m.in1_features}) and (*, {m.in2_features})",
    "_ConvNd": lambda m: f"(N, {m.in_channels}, {_spatial(m)}) or ({m.in_channels}, {_spatial(m)})",
    "BatchNorm1d": lambda m: f"(N, {m.num_features}) or (N, {m.num_features}, L)",
    "_NormBase": lambda m: f"(N, {m.num_features}, {_spatial(m)})",
    "GroupNorm": lambda m: f"(N, {m.num_channels}, *)",
    "LayerNorm": lambda m: f"(*, {', '.join(map(str, m.normalized_shape))})",
    "RMSNorm": lambda m: f"(*, {', '.join(map(str, m.normalized_shape))})",
    "Embedding": lambda m: f"integers from 0 to {m.num_embeddings - 1}, of any shape",
    "EmbeddingBag": lambda m: f"integers from 0 to {m.num_embeddings - 1}",
    "RNNBase": _recurrent,
    "RNNCellBase": lambda m: f"(N, {m.input_size}) or ({m.input_size},)",
    "MultiheadAttention": _attention,
    "TransformerEncoderLayer": lambda m: _model(m, m.self_attn.embed_dim, m.self_attn.batch_first),
    "PReLU": lambda m: "(N, *)" if m.num_parameters == 1 else f"(N, {m.num_parameters}, *)",
}


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        where = "" if value.is_cpu else f" on {value.device}"
        return f"{tuple(value._data.shape)} {value.dtype.name}{where}"
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
        return f"[{', '.join(map(_described, value))}]"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def called_with(module: Any, args: tuple, kwargs: dict[str, Any]) -> str:
    """`; called with (3, 11) float32, takes (*, 10)`, as far as that is known."""
    given = [_described(a) for a in args]
    given += [f"{k}={_described(v)}" for k, v in kwargs.items()]
    text = f"; called with {', '.join(given)}" if given else ""
    names = [kind.__name__ for kind in type(module).__mro__]
    take = next((TAKES[n] for n in names if n in TAKES), None)
    if take is None:
        return text
    try:
        return f"{text}, takes {take(module)}"
    except AttributeError:  # a subclass without the attributes of its base
        return text
