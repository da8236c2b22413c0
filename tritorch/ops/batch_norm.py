"""batch_norm: statistics of each channel over the batch, fused; with known statistics, elementwise.

Statistics of pieces of the batch, two passes each, are merged. Source of the merging: Chan, Golub
and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import no_grad
from ..op import Images, fused, joint, through_ref
from ..runtime import host, layout, parallel
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL, PUBLIC
from .elementwise import Elementwise, loop
from .norm import affine_specs

SHORT = 512  # elements of a channel's image below which loops over it alone are too short

# -- over blocks of the batch ---------------------------------------------------------------------


def pixels_of(x: np.ndarray, last: bool) -> np.ndarray:
    """`channels_of`; (N, C, ...) with channels `last` in memory as (N * inner, C, 1)."""
    if not last:
        return channels_of(x)
    return lines.contiguous(np.moveaxis(x, 1, -1)).reshape(-1, x.shape[1], 1)


def channels_of(x: np.ndarray) -> np.ndarray:
    """(N, C, ...) as (N, C, inner), contiguous."""
    return lines.contiguous(x).reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:]))


def over_batch(body: Any, x: np.ndarray) -> None:
    """`body(start, stop)` over blocks of the batch, on the threads."""
    if x.size <= lines.SMALL:
        body(0, x.shape[0])
        return
    parallel.run(body, x.shape[0], max(1, lines.BLOCK // max(x.shape[1] * x.shape[2], 1)))


def inner_sums(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The sums of (N, C, inner) `x`, or of `x * y`, over inner; (N, C)."""
    n, c, inner = x.shape
    if inner == 1:
        return (x if y is None else x * y)[:, :, 0]
    y = None if y is None else y.reshape(n * c, inner)
    return lines.total(x.reshape(n * c, inner), y).reshape(n, c)


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums of the columns of (n, C) `x`, of sums of about sqrt(n) rows each: NumPy adds row
    after row, whose errors would grow with n."""
    each = max(math.isqrt(x.shape[0]), 1)
    rest = x.shape[0] % each
    parts = np.add.reduce(x[rest:].reshape(-1, each, x.shape[1]), axis=1)
    total = np.add.reduce(parts, axis=0)
    return np.add.reduce(x[:rest], axis=0) + total if rest else total


def channel_sums(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The sums of (N, C, inner) `x`, or of `x * y`, over N and inner; (C,).

    Where inner is short, whole images are added first: loops over it would be too many.
    """
    if x.shape[2] >= SHORT or x.shape[0] > SHORT:
        return column_sums(inner_sums(x, y))
    over = x if y is None else np.multiply(x, y, out=lines.scratch(x, 1))
    return np.add.reduce(np.add.reduce(over, axis=0), axis=1)


def spread(v: np.ndarray, inner: int) -> np.ndarray:
    """(C,) to be met by (N, C, inner): in full where inner is short, so that loops are long."""
    return np.repeat(v[:, None], inner, axis=1) if 1 < inner < SHORT else v[:, None]


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel of (N, C, inner)."""
    n, _, inner = x.shape
    means: dict[int, np.ndarray] = {}
    squares: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}

    def body(start: int, stop: int) -> None:
        part = x[start:stop]
        counts[start] = (stop - start) * inner
        mean = means[start] = channel_sums(part) / x.dtype.type(counts[start])
        apart = lines.across(np.subtract, part, spread(mean, inner), lines.scratch(part))
        squares[start] = channel_sums(apart, apart)

    over_batch(body, x)
    order = sorted(means)
    if len(order) == 1:
        return means[0], squares[0] / x.dtype.type(n * inner)
    size = np.array([counts[k] for k in order], np.float64)[:, None] / max(n * inner, 1)
    each = np.stack([means[k] for k in order]).astype(np.float64)
    mean = (size * each).sum(0)
    within = np.stack([squares[k] for k in order]).sum(0, dtype=np.float64) / (n * inner)
    var = within + (size * (each - mean) ** 2).sum(0)
    return mean.astype(x.dtype), var.astype(x.dtype)


def _batch_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, eps: float
) -> tuple:
    out, last = host.images(x.shape, x.dtype, x), layout.channels_last(x) is not None
    if not x.size:
        nothing = np.full(x.shape[1], np.nan, x.dtype)
        return out, nothing, nothing.copy()
    whole, result = pixels_of(x, last), pixels_of(out, last)
    mean, var = _moments(whole)
    scale = 1 / np.sqrt(var + x.dtype.type(eps))
    if weight is not None:
        scale = scale * weight
    inner = whole.shape[2]
    centre, factor = spread(mean, inner), spread(scale, inner)
    added = None if bias is None else spread(bias, inner)

    def body(start: int, stop: int) -> None:
        o = result[start:stop]
        lines.across(np.subtract, whole[start:stop], centre, o)
        np.multiply(o, factor, out=o)
        if added is not None:
            np.add(o, added, out=o)

    over_batch(body, whole)
    return out, mean, var


def _batch_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
    affine: tuple[bool, bool],
) -> tuple:
    out, last = host.images(x.shape, x.dtype, x), layout.channels_last(x) is not None
    g, whole, result = (pixels_of(a, last) for a in (grad, x, out))
    n = x.dtype.type(max(whole.shape[0] * whole.shape[2], 1))
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    inner = whole.shape[2]
    centre = spread(mean, inner)
    sums: dict[int, np.ndarray] = {}

    def add(start: int, stop: int) -> None:
        part = g[start:stop]
        apart = lines.across(np.subtract, whole[start:stop], centre, lines.scratch(part))
        sums[start] = np.stack([channel_sums(part), channel_sums(part, apart)])

    over_batch(add, whole)
    parts = [sums[k] for k in sorted(sums)] or [np.zeros((2, x.shape[1]))]
    total = np.stack(parts).sum(0, dtype=np.float64).astype(x.dtype)
    shift, slope = spread(total[0] / n, inner), spread(total[1] * rstd * rstd / n, inner)
    scale = spread(rstd if weight is None else rstd * weight, inner)

    def body(start: int, stop: int) -> None:
        o = result[start:stop]
        lines.across(np.subtract, whole[start:stop], centre, o)
        np.multiply(o, slope, out=o)
        np.subtract(g[start:stop], o, out=o)
        np.subtract(o, shift, out=o)
        np.multiply(o, scale, out=o)

    over_batch(body, whole)
    none = np.empty(0, x.dtype)
    return out, total[1] * rstd if affine[0] else none, total[0] if affine[1] else none


# -- records --------------------------------------------------------------------------------------


def along_channels(t: Any, x: Any) -> Any:
    """(C,) as (1, C, 1, ...) for `x`."""
    return None if t is None else t.reshape((1, -1, *(1,) * (x.ndim - 2)))


def _apart(x: Any) -> tuple[int, ...]:
    """All dimensions but the channels'."""
    return (0, *range(2, x.ndim))


def _samples(s: Any) -> list:
    return [
        s((3, 4), (4,), (4,), eps=1e-5),
        s((2, 3, 4), None, None, eps=1e-3),
        s((2, 2, 3, 2), (2,), None, eps=1e-5),
        s((131, 3), (3,), (3,), eps=1e-5),
    ]


def _backward_samples(s: Any) -> list:
    x = s.reals((3, 2, 4))
    more = {"eps": 1e-5, "affine": (True, True)}
    return [
        s((3, 2, 4), x, (2,), x.mean((0, 2)), x.var((0, 2)), **more),
        s((3, 2, 4), x, None, x.mean((0, 2)), x.var((0, 2)), **more | {"affine": (False, False)}),
    ]


@fused(
    kind=Images,
    outputs=("gx", "gw", "gb"),
    meta=lambda grad, x, *rest, affine, **params: affine_specs(x, x._data.shape[1:2], affine),
    cpu=_batch_norm_backward,
    triton="norm.batch_norm_backward",
    samples=_backward_samples,
)
def batch_norm_backward(
    grad: Any,
    x: Any,
    weight: Any,
    mean: Any,
    var: Any,
    *,
    eps: float,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of input, weight and bias for fixed `mean` and `var` of the channels."""
    dims = _apart(x)
    rstd = (var + eps).rsqrt()
    y = (x - along_channels(mean, x)) * along_channels(rstd, x)
    scale = rstd if weight is None else rstd * weight
    shift, slope = grad.mean(dims, keepdim=True), (grad * y).mean(dims, keepdim=True)
    none = x.new_empty(0)
    return (
        (grad - shift - y * slope) * along_channels(scale, x),
        (grad * y).sum(dims) if affine[0] else none,
        grad.sum(dims) if affine[1] else none,
    )


def _vjp(
    g: Any,
    g_mean: Any,
    g_var: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    eps: float,
    needs: Any,
) -> Any:
    if g is None or g_mean is not None or g_var is not None:
        return through_ref(batch_norm_op)(g, g_mean, g_var, x, weight, bias, eps, needs)
    affine = bool(needs[1]), bool(needs[2])
    return batch_norm_backward(g, x, weight, mean, var, eps=eps, affine=affine)


def _meta(x: Tensor, weight: Any, bias: Any, *, eps: float) -> list:
    channels = tuple(x._data.shape[1:2])
    wide = dtypes.accumulation(x.dtype)
    return [(tuple(x._data.shape), x.dtype), (channels, wide), (channels, wide)]


@fused(
    kind=Images,
    name="batch_norm",
    outputs=("out", "mean", "var"),
    meta=_meta,
    cpu=_batch_norm,
    triton="norm.batch_norm_forward",
    vjp=joint(_vjp),
    samples=_samples,
)
def batch_norm_op(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """The result, and mean and biased variance of each channel."""
    dims = _apart(x)
    mean = x.mean(dims)
    apart = x - along_channels(mean, x)
    var = (apart * apart).mean(dims)
    out = apart * along_channels((var + eps).rsqrt(), x)
    out = out if weight is None else out * along_channels(weight, x)
    return out if bias is None else out + along_channels(bias, x), mean, var


@loop
def _scale_shift(x: Any, mean: Any, scale: Any, shift: Any) -> Any:
    y = x * scale
    y += shift - mean * scale
    return y


scale_shift = Elementwise(
    "scale_shift",
    ("x", "mean", "scale", "shift"),
    _scale_shift,
    deny=("bool", "integral", "complex"),
    vjp=(
        lambda g, scale: g * scale,
        lambda g, scale: -g * scale,
        lambda g, x, mean: g * (x - mean),
        lambda g: g,
    ),
)


def known(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Normalisation of (N, C, ...) with known statistics."""
    scale = (var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = mean.new_zeros(()) if bias is None else along_channels(bias, x)
    out = scale_shift(x, along_channels(mean, x), along_channels(scale, x), shift)
    return out if out.dtype is x.dtype else out.to(x.dtype)


# -- public ---------------------------------------------------------------------------------------


def check_channels(name: str, x: Tensor, **tensors: Tensor | None) -> None:
    """That the input has channels, and that each of `tensors` has one element for each."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    shape = x._data.shape
    if len(shape) < 2:
        raise RuntimeError(f"{name}: expected an input of shape (N, C, ...), got {tuple(shape)}")
    for what, t in tensors.items():
        if t is not None and tuple(t._data.shape) != (shape[1],):
            raise RuntimeError(
                f"{name}: {what} should contain {shape[1]} elements not {t._data.size}, a vector, "
                f"for an input of shape {tuple(shape)}, got shape {tuple(t.shape)}"
            )
    if x.dtype.category != 2:
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype.name} tensors')


def update(running: Any, value: Any, momentum: float, name: str = "batch_norm") -> None:
    """Move running statistics towards new ones, in place."""
    with no_grad():
        if running.is_cpu and running.dtype is value.dtype:
            data = running._data
            data *= data.dtype.type(1 - momentum)
            data += value._data * data.dtype.type(momentum)
            running.storage_.bump(name)
        else:
            running.lerp_(value.to(running.dtype), momentum)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel of `(N, C, ...)`.

    In training with the biased statistics of the batch, which move the running ones by `momentum`,
    the variance unbiased; else with the running ones. Source: Ioffe and Szegedy, 2015.
    """
    check_channels(
        "batch_norm",
        input,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if eps < 0 or (training and not eps):
        raise ValueError(f"batch_norm eps must be positive, or 0 in evaluation, but got {eps}")
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: Expected running_mean to be defined in evaluation mode")
        return known(input, running_mean, running_var, weight, bias, eps)
    shape = input._data.shape
    n = input._data.size // max(shape[1], 1)
    if n == 1:
        raise ValueError(
            f"batch_norm: Expected more than 1 value per channel when training, got input size "
            f"{input.shape}"
        )
    out, mean, var = batch_norm_op(input, weight, bias, eps=eps)
    momentum = momentum or 0.0
    if not n:  # nothing was seen
        return out
    if running_mean is not None:
        update(running_mean, mean, momentum)
    if running_var is not None:
        with no_grad():
            update(running_var, var * (n / (n - 1)), momentum)
    return out


def _batch_norm_public(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


FUNCTIONAL["batch_norm"] = batch_norm
PUBLIC["batch_norm"] = _batch_norm_public
