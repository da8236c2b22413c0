"""Normalisation over the last dimensions: layer_norm and rms_norm, fused.

Statistics take two passes over a block in the cache: the mean first, then the squares of what is
left. They are kept in float32 for 16-bit inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import Images, fused, joint, through_ref
from ..runtime import parallel
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL, PUBLIC


def rows_of(x: np.ndarray, n: int) -> np.ndarray:
    """The array as rows of its last `n` dimensions."""
    split = x.ndim - n
    return lines.contiguous(x).reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:]))


def flat(weight: np.ndarray | None) -> np.ndarray | None:
    return None if weight is None else lines.contiguous(weight).reshape(-1)


def centred(x: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means and variances of rows, (R, N) to (R, 1); each row less its mean goes to `c`."""
    n = x.dtype.type(max(x.shape[1], 1))
    mean = lines.total(x) / n
    lines.across(np.subtract, x, mean, c)
    return mean, lines.total(c, c) / n


def affine(x: np.ndarray, weight: Any, bias: Any) -> None:
    """`x * weight + bias`, in place; each may be None."""
    if weight is not None:
        np.multiply(x, weight, out=x)
    if bias is not None:
        np.add(x, bias, out=x)


class Partial:
    """Sums over rows that come block by block, in any order: the same whatever the threads do."""

    def __init__(self, n: int, dtype: np.dtype) -> None:
        self.n, self.dtype = n, dtype
        self.parts: dict[int, np.ndarray] = {}

    def add(self, start: int, block: np.ndarray) -> None:
        self.parts[start] = np.add.reduce(block, axis=0)

    def sum(self) -> np.ndarray:
        if not self.parts:
            return np.zeros(self.n, self.dtype)
        if len(self.parts) == 1:
            return self.parts[0]
        ordered = [self.parts[k] for k in sorted(self.parts)]
        return np.add.reduce(np.stack(ordered), axis=0, dtype=np.float64).astype(self.dtype)


def by_rows(body: Any, rows: int, width: int) -> None:
    """`body(start, stop)` over blocks of rows, on the threads."""
    if rows * width <= lines.SMALL:
        body(0, rows)
    else:
        parallel.run(body, rows, max(1, lines.BLOCK // max(width, 1)))


# -- layer norm -----------------------------------------------------------------------------------


def _stat_specs(x: Tensor, n: int, count: int) -> list:
    lead = tuple(x._data.shape[: x._data.ndim - n])
    return [(tuple(x._data.shape), x.dtype)] + [(lead, dtypes.accumulation(x.dtype))] * count


def _layer_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, n: int, eps: float
) -> tuple:
    out = lines.like(x)
    rows, result, w, b = rows_of(x, n), rows_of(out, n), flat(weight), flat(bias)
    lead = x.shape[: x.ndim - n]
    mean = np.empty((rows.shape[0], 1), x.dtype)
    rstd = np.empty((rows.shape[0], 1), x.dtype)

    def body(start: int, stop: int) -> None:
        o = result[start:stop]
        mean[start:stop], var = centred(rows[start:stop], o)
        r = rstd[start:stop] = 1 / np.sqrt(var + x.dtype.type(eps))
        np.multiply(o, r, out=o)
        affine(o, w, b)

    by_rows(body, *rows.shape)
    return out, mean.reshape(lead), rstd.reshape(lead)


def _layer_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    n: int,
    affine: tuple[bool, bool],
) -> tuple:
    out = lines.like(x)
    g, rows, result, w = rows_of(grad, n), rows_of(x, n), rows_of(out, n), flat(weight)
    mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    width = rows.shape[1]
    sums = Partial(width, x.dtype), Partial(width, x.dtype)

    def body(start: int, stop: int) -> None:
        gb, o, r = g[start:stop], result[start:stop], rstd[start:stop]
        c = lines.across(np.subtract, rows[start:stop], mean[start:stop], lines.scratch(gb))
        c *= r
        if affine[0]:
            sums[0].add(start, np.multiply(gb, c, out=o))
        if affine[1]:
            sums[1].add(start, gb)
        gw = gb if w is None else np.multiply(gb, w, out=lines.scratch(gb, 1))
        c *= lines.total(gw, c) / width
        np.subtract(gw, c, out=o)
        o -= lines.total(gw) / width
        o *= r

    by_rows(body, *rows.shape)
    shape = x.shape[x.ndim - n :]
    return out, *(
        s.sum().reshape(shape) if need else np.empty(0, x.dtype)
        for s, need in zip(sums, affine, strict=True)
    )


def _layer_samples(s: Any) -> list:
    return [
        s((3, 4), (4,), (4,), n=1, eps=1e-5),
        s((3, 4), None, None, n=1, eps=1e-5),
        s((2, 3, 4), (3, 4), None, n=2, eps=1e-3),
        s((131,), (131,), (131,), n=1, eps=1e-5),
        s((0, 4), (4,), (4,), n=1, eps=1e-5),
    ]


def _layer_backward_samples(s: Any) -> list:
    x = s.reals((3, 4))
    mean = x.mean(1)
    rstd = 1 / np.sqrt(x.var(1) + 1e-5)
    more = {"n": 1, "affine": (True, True)}
    return [
        s((3, 4), x, (4,), mean, rstd, **more),
        s((3, 4), x, None, mean, rstd, **more | {"affine": (False, False)}),
        s((0, 4), (0, 4), (4,), (0,), (0,), **more),
    ]


def affine_specs(x: Tensor, shape: Sequence[int], affine: tuple[bool, bool]) -> list:
    """Specs of the gradients of an input, a weight and a bias; empty where not asked for."""
    wide = dtypes.accumulation(x.dtype)
    return [
        (tuple(x._data.shape), x.dtype),
        *((tuple(shape) if need else (0,), wide) for need in affine),
    ]


@fused(
    outputs=("gx", "gw", "gb"),
    meta=lambda grad, x, *rest, n, affine, **params: affine_specs(
        x, x._data.shape[x._data.ndim - n :], affine
    ),
    cpu=_layer_norm_backward,
    triton="norm.layer_norm_backward",
    samples=_layer_backward_samples,
)
def layer_norm_backward(
    grad: Any, x: Any, weight: Any, mean: Any, rstd: Any, *, n: int, affine: tuple[bool, bool]
) -> Any:
    """The gradients of input, weight and bias for fixed `mean` and `rstd` of the rows."""
    dims = tuple(range(x.ndim - n, x.ndim))
    lead = tuple(range(x.ndim - n))
    r = _beside(rstd, x)
    y = (x - _beside(mean, x)) * r
    gw = grad if weight is None else grad * weight
    gx = r * (gw - gw.mean(dims, keepdim=True) - y * (gw * y).mean(dims, keepdim=True))
    none = x.new_empty(0)
    return (
        gx,
        _sum(grad * y, lead) if affine[0] else none,
        _sum(grad, lead) if affine[1] else none,
    )


def _beside(statistic: Any, x: Any) -> Any:
    """A statistic of the rows of `x` with as many dimensions as `x`."""
    return statistic.reshape((*statistic.shape, *(1,) * (x.ndim - statistic.ndim)))


def _sum(x: Any, dims: tuple[int, ...]) -> Any:
    return x.sum(dims) if dims else x


def _layer_norm_vjp(
    g: Any,
    g_mean: Any,
    g_rstd: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    rstd: Any,
    n: int,
    eps: float,
    needs: Any,
) -> Any:
    if g is None or g_mean is not None or g_rstd is not None:
        return through_ref(layer_norm_op)(g, g_mean, g_rstd, x, weight, bias, n, eps, needs)
    affine = bool(needs[1]), bool(needs[2])
    return layer_norm_backward(g, x, weight, mean, rstd, n=n, affine=affine)


@fused(
    name="layer_norm",
    outputs=("out", "mean", "rstd"),
    meta=lambda x, weight, bias, *, n, eps: _stat_specs(x, n, 2),
    cpu=_layer_norm,
    triton="norm.layer_norm_forward",
    vjp=joint(_layer_norm_vjp),
    samples=_layer_samples,
)
def layer_norm_op(x: Any, weight: Any, bias: Any, *, n: int, eps: float) -> Any:
    """The result, and mean and 1 / standard deviation of each row."""
    dims = tuple(range(x.ndim - n, x.ndim))
    mean = x.mean(dims, keepdim=True)
    c = x - mean
    rstd = ((c * c).mean(dims, keepdim=True) + eps).rsqrt()
    out = c * rstd
    out = out if weight is None else out * weight
    lead = x.shape[: x.ndim - n]
    return out if bias is None else out + bias, mean.reshape(lead), rstd.reshape(lead)


def check_shapes(
    name: str, input: Tensor, normalized_shape: Sequence[int], weight: Any, bias: Any
) -> int:
    """The number of normalised dimensions, after checks of all shapes."""
    want = tuple(normalized_shape)
    n = len(want)
    if n < 1:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            f"least one element, but got normalized_shape = {list(want)}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t._data.shape) != want:
            raise RuntimeError(
                f"{name}: Expected {what} to be of same shape as normalized_shape, but got {what} "
                f"of shape {list(t.shape)} and normalized_shape = {list(want)}"
            )
    shape = input._data.shape
    if len(shape) < n or tuple(shape[len(shape) - n :]) != want:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(want)}, expected input with shape [*, "
            f"{', '.join(map(str, want))}], but got input of size {list(shape)}"
        )
    errors.check_dtype(name, input.dtype, "floating", *(["complex"] if name == "rms_norm" else []))
    return n


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` over the last dimensions.

    `normalized_shape` is the shape of these, and of weight and bias; the variance is the biased
    one. Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.functional.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
        tensor([[-1.0000,  1.0000]])
    """
    n = check_shapes("layer_norm", input, normalized_shape, weight, bias)
    return layer_norm_op(input, weight, bias, n=n, eps=eps)[0]


def _layer_norm_public(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return layer_norm(input, normalized_shape, weight, bias, eps)


# -- rms norm -------------------------------------------------------------------------------------


def _rms_norm(x: np.ndarray, weight: np.ndarray | None, *, n: int, eps: float) -> tuple:
    out = lines.like(x)
    rows, result, w = rows_of(x, n), rows_of(out, n), flat(weight)
    rstd = np.empty((rows.shape[0], 1), x.dtype)
    width = x.dtype.type(max(rows.shape[1], 1))

    def body(start: int, stop: int) -> None:
        b, o = rows[start:stop], result[start:stop]
        r = rstd[start:stop] = 1 / np.sqrt(lines.total(b, b) / width + x.dtype.type(eps))
        np.multiply(b, r, out=o)
        affine(o, w, None)

    by_rows(body, *rows.shape)
    return out, rstd.reshape(x.shape[: x.ndim - n])


def _rms_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray | None,
    rstd: np.ndarray,
    *,
    n: int,
    affine: tuple[bool, bool],
) -> tuple:
    out = lines.like(x)
    g, rows, result, w = rows_of(grad, n), rows_of(x, n), rows_of(out, n), flat(weight)
    rstd, width = rstd.reshape(-1, 1), rows.shape[1]
    sums = Partial(width, x.dtype)

    def body(start: int, stop: int) -> None:
        gb, o, r = g[start:stop], result[start:stop], rstd[start:stop]
        y = np.multiply(rows[start:stop], r, out=lines.scratch(gb))
        if affine[0]:
            sums.add(start, np.multiply(gb, y, out=o))
        gw = gb if w is None else np.multiply(gb, w, out=lines.scratch(gb, 1))
        y *= lines.total(gw, y) / width
        np.subtract(gw, y, out=o)
        o *= r

    by_rows(body, *rows.shape)
    gw = sums.sum().reshape(x.shape[x.ndim - n :]) if affine[0] else np.empty(0, x.dtype)
    return out, gw


def _rms_backward_samples(s: Any) -> list:
    x = s.reals((3, 4))
    rstd = 1 / np.sqrt((x * x).mean(1) + 1e-5)
    return [
        s((3, 4), x, (4,), rstd, n=1, affine=(True, False)),
        s((0, 4), (0, 4), (4,), (0,), n=1, affine=(True, False)),
    ]


@fused(
    kind=Images,
    outputs=("gx", "gw"),
    meta=lambda grad, x, *rest, n, affine, **params: affine_specs(
        x, x._data.shape[x._data.ndim - n :], affine
    )[:2],
    cpu=_rms_norm_backward,
    triton="norm.rms_norm_backward",
    samples=_rms_backward_samples,
)
def rms_norm_backward(
    grad: Any, x: Any, weight: Any, rstd: Any, *, n: int, affine: tuple[bool, bool]
) -> Any:
    """The gradients of input and weight for a fixed `rstd` of the rows."""
    dims = tuple(range(x.ndim - n, x.ndim))
    r = _beside(rstd, x)
    y = x * r
    gw = grad if weight is None else grad * weight
    gx = r * (gw - y * (gw * y).mean(dims, keepdim=True))
    lead = tuple(range(x.ndim - n))
    return gx, _sum(grad * y, lead) if affine[0] else x.new_empty(0)


def _rms_norm_vjp(
    g: Any, g_rstd: Any, x: Any, weight: Any, rstd: Any, n: int, eps: float, needs: Any
) -> Any:
    if g is None or g_rstd is not None:
        return through_ref(rms_norm_op)(g, g_rstd, x, weight, n, eps, needs)
    return rms_norm_backward(g, x, weight, rstd, n=n, affine=(bool(needs[1]), False))


@fused(
    kind=Images,
    name="rms_norm",
    outputs=("out", "rstd"),
    meta=lambda x, weight, *, n, eps: _stat_specs(x, n, 1),
    cpu=_rms_norm,
    triton="norm.rms_norm_forward",
    vjp=joint(_rms_norm_vjp),
    samples=lambda s: [
        s((3, 4), (4,), n=1, eps=1e-5),
        s((2, 3, 4), None, n=2, eps=1e-3),
        s((2, 131), (131,), n=1, eps=1e-5),
        s((0, 4), (4,), n=1, eps=1e-5),
    ],
)
def rms_norm_op(x: Any, weight: Any, *, n: int, eps: float) -> Any:
    """The result and the inverse root mean square of each row."""
    dims = tuple(range(x.ndim - n, x.ndim))
    rstd = ((x * x).mean(dims, keepdim=True) + eps).rsqrt()
    out = x * rstd if weight is None else x * rstd * weight
    return out, rstd.reshape(x.shape[: x.ndim - n])


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions.

    `eps` is the dtype's machine epsilon by default. Source: Zhang and Sennrich, "Root Mean Square
    Layer Normalization", 2019.
    """
    n = check_shapes("rms_norm", input, normalized_shape, weight, None)
    eps = dtypes.finfo(dtypes.accumulation(input.dtype)).eps if eps is None else eps
    if input.dtype.is_complex:
        return rms_norm_op.ref(input, weight, n=n, eps=eps)[0]
    return rms_norm_op(input, weight, n=n, eps=eps)[0]


FUNCTIONAL.update(layer_norm=layer_norm, rms_norm=rms_norm)
PUBLIC.update(layer_norm=_layer_norm_public, rms_norm=rms_norm)
