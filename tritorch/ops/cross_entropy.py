"""cross_entropy, fused, and what it shares with nll_loss.

Both are `-sum(q * log p)` along the class dimension with weights `q` of the classes: the weight of
the target's class, smoothed over all classes where asked.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import fused, joint, through_ref, users_level
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL
from .arithmetic import where
from .softmax import log_softmax_op

REDUCTIONS = ("none", "mean", "sum")


def reduction_name(name: str, number: int) -> str:
    """The reduction's name by its number: 0 for none, 1 for mean, 2 for sum."""
    if not isinstance(number, int):
        raise TypeError(f"{name}(): argument 'reduction' must be int, not {type(number).__name__}")
    if not 0 <= number < 3:
        raise ValueError(f"{name}: reduction is 0 (none), 1 (mean) or 2 (sum), got {number}")
    return REDUCTIONS[number]


def reduction_of(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """The reduction's name, also from PyTorch's two old flags."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' "
            "instead.",
            stacklevel=users_level(),
        )
    if reduction == "elementwise_mean":
        errors.deprecated("reduction='elementwise_mean'", "reduction='mean'")
        return "mean"
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: {reduction} is not a valid value for reduction")
    return reduction


# -- what both share ------------------------------------------------------------------------------


def picked(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The element at `index` of each line of a canonical array."""
    if x.ndim == 2:
        return x[np.arange(x.shape[0]), index]
    return np.take_along_axis(x, index[:, None], 1)[:, 0]


def lines_of(target: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Something one a line, in the shape of the lines of the canonical `x`."""
    if target.ndim == 1 and x.ndim == 2:
        return target
    return target.reshape(x.shape[:1] + x.shape[2:])


def checked(t: np.ndarray, classes: int, ignore_index: int) -> tuple[np.ndarray, Any]:
    """Class indices, 0 where ignored, and a mask of the lines that count, or None for all."""
    if not t.size:
        return t, None
    if not 0 <= ignore_index < classes and _inside(t, classes):
        return t, None
    valid = t != ignore_index
    bad = valid & ((t < 0) | (t >= classes))
    if bad.any():
        raise IndexError(
            f"Target {t[bad][0]} is out of bounds for {classes} classes (cross_entropy, nll_loss)"
        )
    return np.where(valid, t, 0), None if valid.all() else valid


def _inside(t: np.ndarray, classes: int) -> bool:
    if t.dtype == np.int64:  # a negative index is a very large unsigned one
        return bool(np.maximum.reduce(t.view(np.uint64), axis=None) < classes)
    return bool(t.max() < classes)


def line_weights(t: np.ndarray, valid: Any, weight: Any, dtype: np.dtype) -> Any:
    """The weight of each line, 0 where ignored; None where all are 1."""
    if weight is None:
        return None if valid is None else valid.astype(dtype)
    w = weight[t]
    return w if valid is None else np.where(valid, w, w.dtype.type(0))


def reduced(loss: np.ndarray, w: Any, shape: tuple, reduction: str) -> tuple[Any, Any]:
    """The result, and the sum of the lines' weights."""
    scalar = loss.dtype.type
    total = scalar(loss.size) if w is None else np.add.reduce(w, axis=None)
    if reduction == "none":
        return loss.reshape(shape), total
    out = np.add.reduce(loss, axis=None)
    return (np.divide(out, total) if reduction == "mean" else out), total


def distribution(
    x: Tensor, target: Tensor, weight: Tensor | None, dim: int, ignore_index: int, smoothing: float
) -> tuple[Any, Any, Any]:
    """As tensors: the weights `q` of all classes, the lines' weights, and which lines count."""
    n, d = x._data.shape[dim], dim
    along = (1,) * d + (n,) + (1,) * (x.ndim - d - 1)
    classes = x.new_tensor(np.arange(n), dtype=dtypes.int64).reshape(along)  # type: ignore[attr-defined]
    hot = (target.unsqueeze(d) == classes).to(x.dtype)  # type: ignore[attr-defined]
    each = hot.new_ones(along) if weight is None else weight.reshape(along)  # type: ignore[attr-defined]
    hot = hot * each
    q = hot if not smoothing else hot * (1 - smoothing) + each * (smoothing / n)
    valid = target != ignore_index
    return q, where(valid, hot.sum(d), 0), valid


def coefficient(grad: Tensor, total: Tensor, valid: Tensor, dim: int, reduction: str) -> Any:
    """The factor of each line in the gradient."""
    a = grad / total if reduction == "mean" else grad
    return where(valid, a, 0).unsqueeze(dim)


def line_factors(grad: Any, total: Any, t: np.ndarray, valid: Any, reduction: str) -> Any:
    a = grad / total if reduction == "mean" else grad
    a = np.broadcast_to(a, t.shape) if reduction != "none" else a.reshape(t.shape)
    return a if valid is None else np.where(valid, a, a.dtype.type(0))


def subtract_at(out: np.ndarray, t: np.ndarray, values: np.ndarray) -> None:
    """Subtract one value from each line of a canonical array, at its index."""
    if out.ndim == 2:
        out[np.arange(out.shape[0]), t] -= values
    else:
        at = t[:, None]
        np.put_along_axis(out, at, np.take_along_axis(out, at, 1) - values[:, None], 1)


# -- cross entropy --------------------------------------------------------------------------------


def _entropy_meta(x: Tensor, target: Tensor, weight: Any, *, reduction: str, **params: Any) -> list:
    wide = dtypes.accumulation(x.dtype)
    shape = tuple(target._data.shape)
    return [(shape if reduction == "none" else (), x.dtype), (shape, wide), ((), wide)]


def _lse_block(x: np.ndarray, lse: np.ndarray) -> None:
    top = np.maximum.reduce(x, axis=1, keepdims=True)
    e = np.subtract(x, top, out=lines.scratch(x))
    np.exp(e, out=e)
    np.add(np.log(lines.total(e)), top, out=lse)


def _entropy(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> tuple:
    if not (x.ndim == 2 and x.flags.c_contiguous):
        x = lines.canonical(x, dim)
    n = x.shape[1]
    t, valid = checked(lines_of(target, x), n, ignore_index)
    lse = np.empty((x.shape[0], 1, *x.shape[2:]), x.dtype)
    if 0 < x.size <= lines.SMALL:
        _lse_block(x, lse)
    elif x.size:
        lines.blocks(_lse_block, x, lse)
    lse = lse.reshape(t.shape)
    loss = lse - picked(x, t)
    w = line_weights(t, valid, weight, x.dtype)
    if w is not None:
        loss *= w
    if smoothing:
        spread = _spread(x, lse, weight)
        if valid is not None:
            spread = np.where(valid, spread, spread.dtype.type(0))
        loss = loss * (1 - smoothing) + spread * (smoothing / n)
    out, total = reduced(loss, w, target.shape, reduction)
    return out, lse.reshape(target.shape), total


def _spread(x: np.ndarray, lse: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The sum over all classes of `-w log p`."""
    if weight is None:
        return lse * x.shape[1] - np.add.reduce(x, axis=1)
    return lse * np.add.reduce(weight) - np.einsum("ij...,j->i...", x, weight)


def _entropy_backward(
    grad: np.ndarray,
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    lse: np.ndarray,
    total: np.ndarray,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> np.ndarray:
    out = lines.like(x)
    x, result = lines.canonical(x, dim), lines.canonical(out, dim)
    n = x.shape[1]
    t, valid = checked(lines_of(target, x), n, ignore_index)
    a = line_factors(grad, total, t, valid, reduction).astype(x.dtype, copy=False)
    hot = a if weight is None else a * weight[t]
    u = hot
    if smoothing:
        hot = hot * (1 - smoothing)
        u = hot + a * (smoothing if weight is None else np.add.reduce(weight) * (smoothing / n))
    line = (x.shape[0], 1, *x.shape[2:])
    even = None
    if smoothing:
        each = np.full(n, smoothing / n, x.dtype) if weight is None else weight * (smoothing / n)
        even = (a.reshape(line), each.astype(x.dtype).reshape(1, n, *(1,) * (x.ndim - 2)))

    def block(x: Any, lse: Any, u: Any, out: Any, a: Any = None) -> None:
        np.subtract(x, lse, out=out)
        np.exp(out, out=out)
        np.multiply(out, u, out=out)
        if a is not None:
            out -= a * even[1]  # type: ignore[index]

    if x.size:
        more = () if even is None else (even[0],)
        run = block if x.size <= lines.SMALL else lambda *arrays: lines.blocks(block, *arrays)
        run(x, lse.reshape(line), u.reshape(line), result, *more)
        subtract_at(result, t, hot)
    return out


def entropy_samples(s: Any) -> list:
    plain = {"ignore_index": -100, "smoothing": 0.0, "reduction": "mean"}
    weight = s.reals((5,), 0.5, 1.5)
    return [
        s((3, 5), s.ints(5, (3,)), None, dim=1, **plain),
        s((3, 5), s.ints(5, (3,)), weight, dim=1, **plain | {"smoothing": 0.2}),
        s((5,), s.ints(5, ()), None, dim=0, **plain | {"reduction": "sum"}),
        s((2, 5, 3), s.ints(5, (2, 3)), weight, dim=1, **plain | {"reduction": "none"}),
        s((4, 5), np.array([1, 2, 0, 2]), None, dim=1, **plain | {"ignore_index": 2}),
        s((2, 131), s.ints(131, (2,)), None, dim=1, **plain | {"smoothing": 0.1}),
        s((0, 5), s.ints(5, (0,)), None, dim=1, **plain | {"reduction": "sum"}),
    ]


def _entropy_backward_samples(s: Any) -> list:
    plain = {"ignore_index": -100, "reduction": "mean", "dim": 1}
    x, t = s.reals((3, 5)), s.ints(5, (3,))
    lse = np.log(np.exp(x).sum(1))
    weight = s.reals((5,), 0.5, 1.5)
    one, many = np.asarray(3.0), np.asarray(weight[t].sum())
    return [
        s(s.reals(()), x, t, None, lse, one, smoothing=0.0, **plain),
        s(s.reals(()), x, t, weight, lse, many, smoothing=0.2, **plain),
        s(s.reals((3,)), x, t, None, lse, one, smoothing=0.0, **plain | {"reduction": "none"}),
        s((), x[:0], t[:0], None, lse[:0], one, smoothing=0.0, **plain),
    ]


@fused(
    meta=lambda grad, x, *rest, **params: (tuple(x._data.shape), x.dtype),
    cpu=_entropy_backward,
    triton="loss.cross_entropy_backward",
    samples=_entropy_backward_samples,
)
def cross_entropy_backward(
    grad: Any,
    x: Any,
    target: Any,
    weight: Any,
    lse: Any,
    total: Any,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> Any:
    """`a (exp(x - lse) sum(q) - q)` with a factor `a` a line."""
    q, _, valid = distribution(x, target, weight, dim, ignore_index, smoothing)
    a = coefficient(grad, total, valid, dim, reduction)
    return a * ((x - lse.unsqueeze(dim)).exp() * q.sum(dim, keepdim=True) - q)


def _entropy_vjp(
    g: Any,
    g_lse: Any,
    g_total: Any,
    x: Any,
    target: Any,
    weight: Any,
    lse: Any,
    total: Any,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
    needs: Any,
) -> Any:
    more = dim, ignore_index, smoothing, reduction
    if g is None or g_lse is not None or g_total is not None or needs[2]:
        rule = through_ref(cross_entropy_op)
        return rule(g, g_lse, g_total, x, target, weight, *more, needs)
    names = ("dim", "ignore_index", "smoothing", "reduction")
    params = dict(zip(names, more, strict=True))
    return cross_entropy_backward(g, x, target, weight, lse, total, **params), None, None


@fused(
    name="cross_entropy",
    outputs=("out", "lse", "total"),
    meta=_entropy_meta,
    cpu=_entropy,
    triton="loss.cross_entropy_forward",
    vjp=joint(_entropy_vjp),
    samples=entropy_samples,
)
def cross_entropy_op(
    x: Any,
    target: Any,
    weight: Any,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> Any:
    """The loss, the logsumexp of each line, and the sum of the lines' weights."""
    q, w, valid = distribution(x, target, weight, dim, ignore_index, smoothing)
    terms = where(q == 0, 0, -q * log_softmax_op(x, dim=dim)).sum(dim)
    loss, total = where(valid, terms, 0), w.sum()
    if reduction != "none":
        loss = loss.sum() / total if reduction == "mean" else loss.sum()
    return loss, x.logsumexp(dim), total


# -- public ---------------------------------------------------------------------------------------


def one_target(x: Tensor, target: Tensor) -> Tensor:
    """The target of a row of classes, which may be of shape (1,), as one of shape ()."""
    single = x._data.ndim == 1 and tuple(target._data.shape) == (1,)
    return target.reshape(()) if single else target  # type: ignore[attr-defined]


def class_dim(name: str, x: Tensor, target: Tensor, weight: Tensor | None) -> int:
    """The class dimension, after checks of class indices against the input."""
    shape, have = x._data.shape, target._data.shape
    if not shape:
        raise ValueError(f"{name}: Expected 1 or more dimensions (got 0)")
    dim = 0 if len(shape) == 1 else 1
    if dim and (not have or shape[0] != have[0]):
        raise ValueError(
            f"{name}: Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({have[0] if have else 0})."
        )
    if lines.reduced(shape, dim) != have:
        raise RuntimeError(
            f"{name}: expected a target of shape {lines.reduced(shape, dim)} for an input of shape "
            f"{tuple(shape)}, got {tuple(have)}"
        )
    if target.dtype.name not in ("int64", "uint8"):
        raise RuntimeError(f"{name}: expected scalar type Long but found {target.dtype.name}")
    if weight is not None and tuple(weight._data.shape) != (shape[dim],):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {shape[dim]} classes or no "
            f"classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if weight is not None and weight.dtype is not x.dtype:
        raise RuntimeError(
            f"{name}: expected scalar type {x.dtype.name} but found {weight.dtype.name}"
        )
    _need_float(name, x)
    return dim


def _need_float(name: str, x: Tensor) -> None:
    if x.dtype.category != 2:
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype.name} tensors')


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy between `softmax(input)` and class indices or probabilities.

    `-sum(q log softmax(input))` along the classes; `label_smoothing` moves that part of `q` to all
    classes evenly. Shapes: input `(C,)` or `(N, C, ...)`, target `()` or `(N, ...)` of class
    indices, or that of the input for probabilities. Source: Szegedy et al., 2015, section 7.

    Example:
        >>> import tritorch as torch
        >>> x = torch.zeros(2, 4)
        >>> torch.nn.functional.cross_entropy(x, torch.tensor([0, 3]))
        tensor(1.3863)
    """
    reduction = reduction_of("cross_entropy", reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if input._data.shape == target._data.shape and input._data.ndim:
        return _with_probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
    target = one_target(input, target)
    dim = class_dim("cross_entropy", input, target, weight)
    return cross_entropy_op(
        input,
        target,
        weight,
        dim=dim,
        ignore_index=ignore_index,
        smoothing=label_smoothing,
        reduction=reduction,
    )[0]


def _with_probabilities(
    input: Tensor,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    if target.dtype.category != 2:
        raise RuntimeError(
            f"cross_entropy: Expected floating point type for target with class probabilities, got "
            f"{target.dtype.name}"
        )
    if ignore_index >= 0:
        raise RuntimeError("cross_entropy: ignore_index is not supported for floating point target")
    _need_float("cross_entropy", input)
    shape = input._data.shape
    dim = 0 if len(shape) == 1 else 1
    n = shape[dim]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / n
    if weight is not None:
        target = target * weight.reshape((n, *(1,) * (len(shape) - dim - 1)))
    loss: Any = -(log_softmax_op(input, dim=dim) * target)
    if reduction == "none":
        return loss.sum(dim)
    return loss.sum() / (math.prod(shape) / n) if reduction == "mean" else loss.sum()


FUNCTIONAL["cross_entropy"] = cross_entropy
