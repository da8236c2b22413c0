"""Batch normalisation folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any

from ...ops import create
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """One convolution that does what `bn(conv(x))` does; both in evaluation mode."""
    fused = _checked("fuse_conv_bn_eval", conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        bn.running_mean,
        bn.running_var,
        bn.eps,
        bn.weight,
        bn.bias,
        transpose,
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """`w * s` and `(b - mean) * s + bn_b` with `s = bn_w / sqrt(var + eps)`.

    `conv_w` is (O, I / groups, ...), or with `transpose` (I, O / groups, ...).
    """
    scale, shift = _line(conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    shape = (1, -1) if transpose else (-1, 1)
    weight = conv_w * scale.reshape(*shape, *(1,) * (conv_w.ndim - 2))
    return _parameters(conv_w, weight, conv_b, shift)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """One linear layer that does what `bn(linear(x))` does; both in evaluation mode."""
    fused = _checked("fuse_linear_bn_eval", linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"{linear.out_features} and {bn.num_features}"
        )
    fused.weight, fused.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """`w * s` and `(b - mean) * s + bn_b` with `s = bn_w / sqrt(var + eps)`; `linear_w` (N, K)."""
    scale, shift = _line(linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    return _parameters(linear_w, linear_w * scale.unsqueeze(-1), linear_b, shift)


def _checked(name: str, layer: Module, bn: Module) -> Any:
    if layer.training or bn.training:
        raise AssertionError(f"{name}: Fusion only for eval!")
    if getattr(bn, "running_mean", None) is None or getattr(bn, "running_var", None) is None:
        raise AssertionError(
            f"{name}: expected the normalisation to have running_mean and running_var, got {bn!r}"
        )
    return copy.deepcopy(layer)


def _line(b: Any, mean: Any, var: Any, eps: float, bn_w: Any, bn_b: Any) -> tuple[Any, Any]:
    """What batch normalisation multiplies by, and what it adds."""
    scale = (var + eps).rsqrt()
    scale = scale if bn_w is None else bn_w * scale
    b = create.zeros_like(mean) if b is None else b
    shift = (b - mean) * scale
    return scale, shift if bn_b is None else shift + bn_b


def _parameters(w: Any, new_w: Any, b: Any, new_b: Any) -> tuple[Parameter, Parameter]:
    recorded = b.requires_grad if b is not None else w.requires_grad
    return (
        Parameter(new_w.to(w.dtype), w.requires_grad),
        Parameter(new_b.to(w.dtype if b is None else b.dtype), recorded),
    )
