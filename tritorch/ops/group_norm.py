"""Normalisation within each sample: group_norm, instance_norm, local_response_norm, normalize."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import no_grad
from ..op import Images, fused, joint, through_ref
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL, PUBLIC, write_out
from .batch_norm import (
    along_channels,
    channels_of,
    check_channels,
    inner_sums,
    known,
    over_batch,
    update,
)
from .join import cat
from .moments import var_mean
from .norm import Partial, affine_specs, centred
from .vector_norm import norm as vector_norm

# -- group norm -----------------------------------------------------------------------------------


def _group_norm(
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    *,
    groups: int,
    eps: float,
) -> tuple:
    out = lines.like(x)
    whole, result = channels_of(x), channels_of(out)
    n, c, inner = whole.shape
    mean, rstd = (np.empty((n, groups), x.dtype) for _ in range(2))

    def body(start: int, stop: int) -> None:
        o, k = result[start:stop], stop - start
        rows = whole[start:stop].reshape(k * groups, -1)
        apart = lines.scratch(rows)
        m, var = centred(rows, apart)
        r = 1 / np.sqrt(var + x.dtype.type(eps))
        mean[start:stop], rstd[start:stop] = m.reshape(k, groups), r.reshape(k, groups)
        apart = apart.reshape(k, c, inner)
        if weight is None:
            np.multiply(
                apart.reshape(k, groups, -1),
                rstd[start:stop, :, None],
                out=o.reshape(k, groups, -1),
            )
        else:
            scale = np.repeat(rstd[start:stop], c // groups, axis=1) * weight
            lines.across(np.multiply, apart, scale[:, :, None], o)
        if bias is not None:
            np.add(o, bias[:, None], out=o)

    if x.size:
        over_batch(body, whole)
    return out, mean, rstd


def _group_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    groups: int,
    affine: tuple[bool, bool],
) -> tuple:
    out = lines.like(x)
    g, whole, result = channels_of(grad), channels_of(x), channels_of(out)
    _, c, inner = whole.shape
    size, each = c // groups, x.dtype.type(c // groups * inner)
    sums = Partial(c, x.dtype), Partial(c, x.dtype)
    w = np.ones(c, x.dtype) if weight is None else weight

    def body(start: int, stop: int) -> None:
        gb, o, r = g[start:stop], result[start:stop], rstd[start:stop]
        spread = np.repeat(r, size, axis=1)
        centre = np.repeat(mean[start:stop], size, axis=1)[:, :, None]
        apart = lines.across(np.subtract, whole[start:stop], centre, lines.scratch(gb))
        plain, along = inner_sums(gb), inner_sums(gb, apart)
        sums[0].add(start, along * spread)
        sums[1].add(start, plain)

        def of_groups(s: np.ndarray) -> np.ndarray:
            return np.add.reduce((s * w).reshape(-1, groups, size), axis=2) / each

        shift = np.repeat(of_groups(plain) * r, size, axis=1)
        slope = np.repeat(of_groups(along) * r**3, size, axis=1)
        lines.across(np.multiply, gb, (spread * w)[:, :, None], o)
        apart *= slope[:, :, None]
        np.subtract(o, apart, out=o)
        np.subtract(o, shift[:, :, None], out=o)

    if x.size:
        over_batch(body, whole)
    none = np.empty(0, x.dtype)
    return out, *(s.sum() if need else none for s, need in zip(sums, affine, strict=True))


def _spread(statistic: Any, x: Any) -> Any:
    """(N, G) as (N, G, 1)."""
    return statistic.reshape((*statistic.shape, 1))


def _grouped(x: Any, groups: int) -> Any:
    return (
        x.reshape((x.shape[0], groups, -1)) if x._data.size else x.reshape((x.shape[0], groups, 0))
    )


def _backward_samples(s: Any) -> list:
    x = s.reals((2, 4, 3))
    rows = x.reshape(2, 2, 6)
    mean, rstd = rows.mean(2), 1 / np.sqrt(rows.var(2) + 1e-5)
    return [
        s((2, 4, 3), x, (4,), mean, rstd, groups=2, affine=(True, True)),
        s((2, 4, 3), x, None, mean, rstd, groups=2, affine=(False, False)),
        s((0, 4, 3), (0, 4, 3), (4,), (0, 2), (0, 2), groups=2, affine=(True, True)),
    ]


@fused(
    kind=Images,
    outputs=("gx", "gw", "gb"),
    meta=lambda grad, x, *rest, affine, **params: affine_specs(x, x._data.shape[1:2], affine),
    cpu=_group_norm_backward,
    triton="norm.group_norm_backward",
    samples=_backward_samples,
)
def group_norm_backward(
    grad: Any,
    x: Any,
    weight: Any,
    mean: Any,
    rstd: Any,
    *,
    groups: int,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of input, weight and bias for fixed `mean` and `rstd` of the groups."""
    r = _spread(rstd, x)
    y = (_grouped(x, groups) - _spread(mean, x)) * r
    gw = _grouped(grad if weight is None else grad * along_channels(weight, x), groups)
    gx = r * (gw - gw.mean(2, keepdim=True) - y * (gw * y).mean(2, keepdim=True))
    dims, none = (0, *range(2, x.ndim)), x.new_empty(0)
    return (
        gx.reshape(x.shape),
        (grad * y.reshape(x.shape)).sum(dims) if affine[0] else none,
        grad.sum(dims) if affine[1] else none,
    )


def _vjp(
    g: Any,
    g_mean: Any,
    g_rstd: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    rstd: Any,
    groups: int,
    eps: float,
    needs: Any,
) -> Any:
    if g is None or g_mean is not None or g_rstd is not None:
        return through_ref(group_norm_op)(g, g_mean, g_rstd, x, weight, bias, groups, eps, needs)
    affine = bool(needs[1]), bool(needs[2])
    return group_norm_backward(g, x, weight, mean, rstd, groups=groups, affine=affine)


def _meta(x: Tensor, weight: Any, bias: Any, *, groups: int, eps: float) -> list:
    shape, wide = (x._data.shape[0], groups), dtypes.accumulation(x.dtype)
    return [(tuple(x._data.shape), x.dtype), (shape, wide), (shape, wide)]


@fused(
    kind=Images,
    name="group_norm",
    outputs=("out", "mean", "rstd"),
    meta=_meta,
    cpu=_group_norm,
    triton="norm.group_norm_forward",
    vjp=joint(_vjp),
    samples=lambda s: [
        s((2, 4, 3), (4,), (4,), groups=2, eps=1e-5),
        s((3, 4), None, None, groups=2, eps=1e-3),
        s((1, 3, 2, 2), (3,), None, groups=3, eps=1e-5),
        s((2, 6, 11), (6,), (6,), groups=1, eps=1e-5),
        s((0, 4, 3), (4,), (4,), groups=2, eps=1e-5),
    ],
)
def group_norm_op(x: Any, weight: Any, bias: Any, *, groups: int, eps: float) -> Any:
    """The result, and mean and 1 / standard deviation of each group of each sample."""
    rows = _grouped(x, groups)
    mean = rows.mean(2, keepdim=True)
    apart = rows - mean
    rstd = ((apart * apart).mean(2, keepdim=True) + eps).rsqrt()
    out = (apart * rstd).reshape(x.shape)
    out = out if weight is None else out * along_channels(weight, x)
    out = out if bias is None else out + along_channels(bias, x)
    return out, mean.reshape(mean.shape[:2]), rstd.reshape(rstd.shape[:2])


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` over groups of channels of `(N, C, ...)`.

    Statistics are those of each group of each sample, weight and bias of shape `(C,)`. Source: Wu
    and He, "Group Normalization", 2018.
    """
    check_channels("group_norm", input, weight=weight, bias=bias)
    c = input._data.shape[1]
    if num_groups < 1 or c % num_groups:
        raise RuntimeError(
            f"group_norm: Expected number of channels in input to be divisible by num_groups, but "
            f"got input of shape {list(input.shape)} and num_groups={num_groups}"
        )
    return group_norm_op(input, weight, bias, groups=num_groups, eps=eps)[0]


def _group_norm_functional(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    found = group_norm(input, num_groups, weight, bias, eps)
    shape = input._data.shape
    if shape[0] * shape[1] * math.prod(shape[2:]) == num_groups:
        raise ValueError(
            f"group_norm: Expected more than 1 value per channel when training, got input size "
            f"{list(shape)} and num_groups={num_groups}"
        )
    return found


_group_norm_functional.__name__ = _group_norm_functional.__qualname__ = "group_norm"
_group_norm_functional.__doc__ = group_norm.__doc__


def _group_norm_public(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    return group_norm(input, num_groups, weight, bias, eps)


# -- instance norm --------------------------------------------------------------------------------


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel of each sample.

    Running statistics move towards the mean over the batch of each sample's; without
    `use_input_stats` they are used. Source: Ulyanov et al., "Instance Normalization", 2016.
    """
    given = {"running_mean": running_mean, "running_var": running_var}
    shape = input._data.shape
    if use_input_stats and math.prod(shape[2:]) == 1:
        raise ValueError(
            f"instance_norm: Expected more than 1 spatial element when training, got input size "
            f"{input.shape}"
        )
    check_channels("instance_norm", input, weight=weight, bias=bias, **given)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "instance_norm: Expected running_mean and running_var to be defined when "
                "use_input_stats is false"
            )
        return known(input, running_mean, running_var, weight, bias, eps)
    if running_mean is not None or running_var is not None:
        with no_grad():
            var, mean = var_mean(input, tuple(range(2, len(shape))))
            for running, value in ((running_mean, mean), (running_var, var)):
                if running is not None:
                    update(running, value.mean(0), momentum, "instance_norm")
    return group_norm_op(input.contiguous(), weight, bias, groups=shape[1], eps=eps)[0]  # type: ignore


def _instance_norm_public(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


# -- composites -----------------------------------------------------------------------------------


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """`x / (k + alpha mean(x^2))^beta`, the mean over `size` neighbouring channels, zeros outside.

    Source: Krizhevsky et al., 2012, section 3.3.
    """
    shape = input._data.shape
    if len(shape) < 3:
        raise ValueError(
            f"local_response_norm: Expected 3D or higher dimensionality input (got "
            f"{len(shape)} dimensions)"
        )
    if not input._data.size:
        return input
    square = input * input

    def zeros(n: int) -> Any:
        return square.new_zeros((shape[0], n, *shape[2:]))

    padded = cat([zeros(size // 2), square, zeros((size - 1) // 2)], 1)
    windows = padded.unfold(1, size, 1).sum(-1)
    mean = windows / size if input.dtype.category > 1 else windows // size
    return input / (mean * alpha + k) ** beta


def normalize(
    input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """`x / max(norm(x, p), eps)` along `dim`.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.functional.normalize(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    if isinstance(dim, int):
        errors.wrap_dim("normalize", dim, input._data.shape)
    size: Any = vector_norm(input, p, dim, True)
    result = input / size.clamp_min(eps)
    if out is None:
        return result
    return write_out("normalize", out, result)


FUNCTIONAL.update(
    group_norm=_group_norm_functional,
    instance_norm=instance_norm,
    local_response_norm=local_response_norm,
    normalize=normalize,
)
PUBLIC.update(group_norm=_group_norm_public, instance_norm=_instance_norm_public)
