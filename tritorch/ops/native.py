"""Operators under the names that PyTorch's own layers call: compositions of the published ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import DType, bool_, uint8
from ..errors import check_dtype
from ..op import users_level
from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import where
from .attention import attention_op
from .autocast import listed
from .batch_norm import batch_norm, batch_norm_op, check_channels
from .convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .create import empty_like, ones_like
from .dropout import dropout
from .group_norm import group_norm_op
from .norm import check_shapes, layer_norm_op
from .positions import index_put
from .scatter import scatter
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .vector_norm import norm

CONVOLUTIONS: dict[tuple[bool, int], Callable] = {
    (False, 3): conv1d,
    (False, 4): conv2d,
    (False, 5): conv3d,
    (True, 3): conv_transpose1d,
    (True, 4): conv_transpose2d,
    (True, 5): conv_transpose3d,
}


def _statistics(input: Any, weight: Any, *found: Any) -> tuple:
    """Statistics, which on the CPU have the dtype of the input where the weight has it too."""
    if input.is_cpu and (weight is None or weight.dtype is input.dtype):
        return tuple(t.to(input.dtype) for t in found)
    return found


@listed
def native_layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`layer_norm`, with mean and 1 / standard deviation of each row."""
    n = check_shapes("native_layer_norm", input, normalized_shape, weight, bias)
    out, mean, rstd = layer_norm_op(input, weight, bias, n=n, eps=eps)
    shape = (*input.shape[: input.ndim - n], *(1,) * n)
    return out, *_statistics(input, weight, mean.reshape(shape), rstd.reshape(shape))


def native_group_norm(
    input: Any, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`group_norm`, with mean and 1 / standard deviation of each group, (N, groups)."""
    if input.numel() != N * C * HxW or C % group:
        raise RuntimeError(
            f"native_group_norm: expected an input of {N} x {C} x {HxW} elements and channels "
            f"divisible by {group}, got {tuple(input.shape)}"
        )
    check_dtype("native_group_norm", input.dtype, "floating")
    out, mean, rstd = group_norm_op(input, weight, bias, groups=group, eps=eps)
    return out, *_statistics(input, weight, mean.reshape(N, group), rstd.reshape(N, group))


def native_batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`batch_norm`, with mean and 1 / standard deviation of each channel; empty in evaluation."""
    out = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return out, input.new_empty(0), input.new_empty(0)
    _, mean, var = batch_norm_op(input.detach(), None, None, eps=eps)
    return out, *_statistics(input, weight, mean, (var + eps).rsqrt())


def batch_norm_update_stats(
    input: Any, running_mean: Any, running_var: Any, momentum: float
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, towards which the running ones move."""
    check_channels(
        "batch_norm_update_stats", input, running_mean=running_mean, running_var=running_var
    )
    batch_norm(input.detach(), running_mean, running_var, None, None, True, momentum, 1e-5)
    _, mean, var = batch_norm_op(input, None, None, eps=1e-5)
    return mean, var


def native_dropout(input: Any, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """`dropout`, with the mask of what is kept."""
    if train is False or not input.numel():
        return input.clone(), ones_like(input, dtype=bool_)
    mask = dropout(ones_like(input.detach()), p) != 0
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * mask * scale, mask


def _batch_norm_with_update(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`native_batch_norm` in training, and an empty reserve for libraries that are not here."""
    found = native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps)
    return (*found, input.new_empty(0, dtype=uint8))


def native_dropout_backward(grad_output: Any, mask: Any, scale: float) -> Tensor:
    """The gradient of the input of `native_dropout`."""
    return grad_output * mask * scale


def _clamped(self: Any, indices: Sequence) -> tuple:
    """Indices of `self[indices]`, those out of bounds at the next bound; None stays."""
    return tuple(
        slice(None) if i is None else i.clamp(-n, n - 1)
        for i, n in zip(indices, self.shape, strict=False)
    )


def _unsafe_masked_index(self: Any, mask: Any, indices: Sequence, fill: Any) -> Tensor:
    """`self[indices]` with `fill` where the mask is false, whatever the indices are there."""
    if not self.numel():
        return (self.new_zeros(()) + fill).expand(mask.shape).clone()
    return self[_clamped(self, indices)].masked_fill(~mask, fill)


def _unsafe_masked_index_put_accumulate(
    self: Any, mask: Any, indices: Sequence, values: Any
) -> Tensor:
    """`self` with `values` added at `indices` where the mask is true."""
    if not self.numel():
        return self.clone()
    put = values.masked_fill(~mask, 0)
    return index_put(self, _clamped(self, indices), put, accumulate=True)


def _softmax_like(f: Callable, name: str) -> None:
    def function(input: Any, dim: int, half_to_float: bool) -> Tensor:
        if half_to_float:
            raise RuntimeError(f"{name}: softmax with half to float conversion is not supported")
        return f(input, dim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{f.__name__}` of a floating-point tensor."
    PUBLIC[name] = function


def _backward_data(record: Any, name: str) -> None:
    def function(grad_output: Any, output: Any, dim: int, input_dtype: DType) -> Tensor:
        out = record(grad_output, output, dim=dim % max(output.ndim, 1))
        return out if out.dtype is input_dtype else out.to(input_dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The gradient of the input from that of the result, and the result."
    PUBLIC[name] = function


_softmax_like(softmax, "_softmax")
_softmax_like(log_softmax, "_log_softmax")
_backward_data(softmax_backward, "_softmax_backward_data")
_backward_data(log_softmax_backward, "_log_softmax_backward_data")


def _safe_softmax(input: Any, dim: int, dtype: DType | None = None) -> Tensor:
    """`softmax` with zeros for a line in which all is -inf."""
    masked = (input == -math.inf).all(dim, keepdim=True)
    return where(masked, 0.0, softmax(where(masked, 0.0, input), dim, dtype))


def convolution(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """The convolutions of 1 to 3 dimensions, and the transposed ones."""
    run = CONVOLUTIONS.get((bool(transposed), weight.ndim))
    if run is None:
        raise RuntimeError(
            f"convolution: expected a weight of 3 to 5 dimensions, got {tuple(weight.shape)}"
        )
    if transposed:
        return run(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return run(input, weight, bias, stride, padding, dilation, groups)


def _convolution(*args: Any) -> Tensor:
    """`convolution`, with flags for libraries that are not here."""
    return convolution(*args[:9])


@listed
def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Tensor:
    """The convolution of `input` (T, B, C) with `weight` (K, C, O), along time."""
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError(
            "conv_tbc: Input must have 3 dims: time, batch, in_channel; weight 3; bias 1, got "
            f"{tuple(input.shape)}, {tuple(weight.shape)}, {tuple(bias.shape)}"
        )
    if input.shape[2] != weight.shape[1] or weight.shape[2] != bias.shape[0]:
        raise RuntimeError(
            f"conv_tbc: channels do not match: input {tuple(input.shape)}, weight "
            f"{tuple(weight.shape)}, bias {tuple(bias.shape)}"
        )
    out: Any = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return out.permute(2, 0, 1)


def norm_except_dim(v: Any, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dimensions but `dim`, which are kept with size 1; of all for -1."""
    if dim == -1:
        return norm(v, pow)
    return norm(v, pow, [d for d in range(v.ndim) if d != dim % v.ndim], keepdim=True)


def _weight_norm(v: Any, g: Any, dim: int = 0) -> Tensor:
    """`v * g / |v|`. Source: Salimans and Kingma, "Weight normalization", 2016."""
    return v * (g / norm_except_dim(v, 2, dim))


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """`softmax((logits + gumbel noise) / tau)`; with `hard` one-hot, with the gradient of the soft.

    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-Softmax", 2017.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=users_level())
    noise = -empty_like(logits.detach()).exponential_().log()  # type: ignore[attr-defined]
    soft: Any = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    chosen = scatter(soft.detach() * 0, dim, index, 1.0)
    return chosen - soft.detach() + soft


def _scaled_dot_product_flash_attention_for_cpu(
    query: Any,
    key: Any,
    value: Any,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Any = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention (B, H, L, E), and the log-sum-exp of the scores of each row."""
    if dropout_p:
        raise RuntimeError("_scaled_dot_product_flash_attention_for_cpu: dropout is not supported")
    if attn_mask is not None:
        attn_mask = attn_mask.reshape((1,) * (4 - attn_mask.ndim) + tuple(attn_mask.shape))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    params = {"is_causal": is_causal, "scale": scale, "dropout": 0.0, "seed": 0, "offset": 0}
    return attention_op(query, key, value, attn_mask, **params)


FUNCTIONAL["gumbel_softmax"] = gumbel_softmax
FUNCTIONAL["conv_tbc"] = conv_tbc
for _f in (
    native_layer_norm,
    native_group_norm,
    native_batch_norm,
    batch_norm_update_stats,
    native_dropout,
    native_dropout_backward,
    _batch_norm_with_update,
    _unsafe_masked_index,
    _unsafe_masked_index_put_accumulate,
    _safe_softmax,
    convolution,
    _convolution,
    conv_tbc,
    norm_except_dim,
    _weight_norm,
    _scaled_dot_product_flash_attention_for_cpu,
):
    PUBLIC[_f.__name__] = _f
