"""Losses with a margin, and the distances and similarities that they stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..tensor import Tensor
from .activation import logsigmoid
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import minimum, where
from .autocast import listed
from .copy import to
from .cross_entropy import reduction_of
from .loss import by_number, functional, raised, reduced
from .vector_norm import norm

# -- distances ------------------------------------------------------------------------------------


@listed
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """`sum(x1 x2) / (|x1| |x2|)` along `dim`, each size held at `eps` at least.

    Example:
        >>> import tritorch as torch
        >>> torch.cosine_similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
        tensor([0.9600])
    """
    dtype = dtypes.promote_types(x1.dtype, x2.dtype)
    if dtype.category != 2:
        raise RuntimeError(
            f"cosine_similarity: expected common dtype to be floating point, yet common dtype is "
            f"{dtype.name}"
        )
    shape = errors.broadcast_shapes("cosine_similarity", x1._data.shape, x2._data.shape)
    errors.wrap_dim("cosine_similarity", dim, shape)
    a, b = (to(x, dtype).expand(shape) for x in (x1, x2))  # type: ignore[attr-defined]
    sizes = [raised(norm(x, 2, dim, True), eps) for x in (a, b)]
    return ((a / sizes[0]) * (b / sizes[1])).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of `x1 - x2 + eps` along the last dimension."""
    return norm(x1 - x2 + float(eps), p, -1, keepdim)


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows of `(N, M)`, in order; `(N (N - 1) / 2,)`."""
    if input._data.ndim != 2:
        raise RuntimeError(
            f"pdist only supports 2D tensors, got: {input._data.ndim}D of shape "
            f"{tuple(input.shape)}"
        )
    if input.dtype.category != 2:
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {input.dtype.name}")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    first, second = (
        input.new_tensor(k, dtype=dtypes.int64) for k in np.triu_indices(input._data.shape[0], 1)
    )
    return norm(input.index_select(0, first) - input.index_select(0, second), p, 1)


for _f in (cosine_similarity, pairwise_distance, pdist):
    FUNCTIONAL[_f.__name__] = PUBLIC[_f.__name__] = _f


# -- of two values --------------------------------------------------------------------------------


@functional
@by_number("input", "target", "margin", "reduction")
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`input` where the target is 1, `max(0, margin - input)` where it is -1."""
    reduction = reduction_of("hinge_embedding_loss", reduction, size_average, reduce)
    away = where(target != 1, (margin - input).clamp_min(0), 0)
    return reduced(away + where(target != -1, input, 0), reduction)


@functional
@by_number("input1", "input2", "target", "margin", "reduction")
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, -target (input1 - input2) + margin)`: a target of 1 wants the first larger."""
    reduction = reduction_of("margin_ranking_loss", reduction, size_average, reduce)
    if not input1._data.ndim == input2._data.ndim == target._data.ndim:
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"{errors.shapes(input1, input2, target)}"
        )
    return reduced((-target * (input1 - input2) + float(margin)).clamp_min(0), reduction)


@functional
def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`log(1 + exp(-target * input))` for targets 1 and -1."""
    reduction = reduction_of("soft_margin_loss", reduction, size_average, reduce)
    return reduced(-logsigmoid(target * input), reduction)


@functional
@by_number("input1", "input2", "target", "margin", "reduction")
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`1 - cos(input1, input2)` where the target is 1, `max(0, cos - margin)` where it is -1.

    Shapes: inputs `(N, D)` with target `(N,)`, or `(D,)` with target `()`.
    """
    name = "cosine_embedding_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    dim = target._data.ndim
    if dim > 1:
        raise RuntimeError(
            f"{name}: 0D or 1D target tensor expected, multi-target not supported; got shapes "
            f"{errors.shapes(input1, input2, target)}"
        )
    if input1._data.ndim != dim + 1 or input2._data.ndim != dim + 1:
        raise RuntimeError(
            f"{name}: {dim}D target tensor expects {dim + 1}D input tensors, but found inputs with "
            f"sizes {errors.shapes(input1, input2)}"
        )
    product = (input1 * input2).sum(dim)
    sizes = ((input1 * input1).sum(dim) + 1e-12) * ((input2 * input2).sum(dim) + 1e-12)
    cosine = product / sizes.sqrt()
    apart = where(target == -1, (cosine - margin).clamp_min(0), 0)
    return reduced(where(target == 1, 1 - cosine, 0) + apart, reduction)


# -- of classes -----------------------------------------------------------------------------------


def _rows(name: str, input: Any, target: Any, labels: bool) -> tuple[Any, Any]:
    """Input as (N, C) and target as (N,), or (N, C) for `labels`, after checks."""
    shape, have = tuple(input._data.shape), tuple(target._data.shape)
    if len(shape) > 2 or not len(shape) + 1 or 0 in shape[1:] or (len(shape) == 1 and not shape[0]):
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(shape)}"
        )
    want = (shape if labels else shape[:1]) if len(shape) == 2 else shape if labels else ()
    if have != want and not (not labels and len(shape) < 2 and have == (1,)):
        raise RuntimeError(
            f"{name}: inconsistent target size: {list(have)} for input of size: {list(shape)}"
        )
    if len(shape) == 2:
        return input, target
    row = input.reshape((1, -1))
    return row, target.reshape((1, -1) if labels else (1,))


@functional
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`sum_i max(0, margin - x[y] + x[i])^p / C` over the classes other than the target `y`."""
    name = "multi_margin_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"{name}: only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight._data.ndim != 1:
        raise ValueError(f"{name}: weight must be one-dimensional, got {tuple(weight.shape)}")
    x, y = _rows(name, input, target, False)
    errors.check_dtype(name, input.dtype, "floating")
    n = x._data.shape[1]
    if weight is not None and weight._data.size != n:
        raise RuntimeError(
            f"{name}: inconsistent weight size: expected {n} but got {list(weight.shape)}"
        )
    at = y.reshape((-1, 1))
    gaps = (margin - x.gather(1, at) + x).clamp_min(0)
    gaps = gaps if p == 1 else gaps.square()
    if weight is not None:
        gaps = gaps * weight.index_select(0, y).reshape((-1, 1))
    others = at != x.new_tensor(np.arange(n), dtype=at.dtype)
    loss = where(others, gaps, 0).sum(1) / n
    return reduced(loss if input._data.ndim == 2 else loss.reshape(()), reduction)


@functional
def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`sum_ij max(0, 1 - (x[y[j]] - x[i])) / C` over targets `y[j]` and classes `i` that are none.

    The targets of a row end at the first -1.
    """
    name = "multilabel_margin_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    x, y = _rows(name, input, target, True)
    errors.check_dtype(name, input.dtype, "floating")
    n = x._data.shape[1]
    given = (y < 0).to(dtypes.int64).cumsum(1) == 0
    at = where(given, y, 0)
    hits = x.detach().new_zeros(x.shape).scatter_add(1, at, given.to(x.dtype))
    others = (hits == 0).unsqueeze(1) & given.unsqueeze(2)
    gaps = (1 - x.gather(1, at).unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)
    loss = where(others, gaps, 0).sum((1, 2)) / n
    return reduced(loss if input._data.ndim == 2 else loss.reshape(()), reduction)


@functional
def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of `-(y log(s) + (1 - y) log(1 - s))` with `s = sigmoid(input)`."""
    reduction = reduction_of("multilabel_soft_margin_loss", reduction, size_average, reduce)
    loss: Any = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input._data.shape[-1], reduction)


# -- of three points ------------------------------------------------------------------------------


def _triplet(
    name: str, distance: Callable, points: tuple, margin: float, swap: bool, reduction: str
) -> Any:
    anchor, positive, negative = points
    if not anchor._data.ndim == positive._data.ndim == negative._data.ndim:
        raise RuntimeError(
            f"{name}: The anchor, positive, and negative tensors are expected to have the same "
            f"number of dimensions, but got shapes {errors.shapes(*points)}"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)


@functional
@by_number("anchor", "positive", "negative", "margin", "p", "eps", "swap", "reduction")
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, d(anchor, positive) - d(anchor, negative) + margin)` with the p-norm distance.

    `swap` takes the distance of positive and negative where that is smaller. Source: Balntas et
    al., 2016.
    """
    name = "triplet_margin_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(name, distance, (anchor, positive, negative), margin, swap, reduction)


@functional
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance; `pairwise_distance` by default."""
    name = "triplet_margin_with_distance_loss"
    reduction = reduction_of(name, reduction)
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")
    distance = distance_function or pairwise_distance
    return _triplet(name, distance, (anchor, positive, negative), margin, swap, reduction)
