"""linear_cross_entropy: a linear layer and cross-entropy; in chunks of rows, so that the logits of
all rows are never in memory together.

The chunked form is fused: its backward computes the logits of a chunk again. Source: Wijmans et
al., "Cut your losses in large-vocabulary language models", 2024.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np

from .. import dtypes
from ..op import fused, joint, through_ref, users_level
from ..tensor import Tensor
from .api import FUNCTIONAL
from .cross_entropy import checked, cross_entropy, reduction_of
from .matmul import linear
from .matmul_host import product

POLICIES = ("auto", "accurate", "balanced", "compact")
ACCUMULATORS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` cuts its rows into chunks.

    `batch_chunk_size` rows at a time; or "auto", or "aspect_ratio:k" which makes a chunk's logits
    about k times smaller than the input. Policy and dtype of accumulation are PyTorch's names; here
    sums are kept in float32 for 16-bit inputs, and a backward may run again.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.DType | None = None

    def __post_init__(self) -> None:
        name, size = "LinearCrossEntropyOptions", self.batch_chunk_size
        if self.acc_policy not in POLICIES:
            raise ValueError(f"{name}: invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            kind, colon, factor = str(self.chunking_method).partition(":")
            factor = factor if colon else "1"
            if not (kind == "aspect_ratio" and factor.isdigit() and int(factor) > 0):
                raise ValueError(f"{name}: invalid chunking_method: {self.chunking_method!r}")
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"{name}: batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and self.acc_dtype.name not in ACCUMULATORS:
            raise ValueError(
                f"{name}: acc_dtype must be None or one of {ACCUMULATORS}, got {self.acc_dtype!r}"
            )

    def chunk(self, rows: int, features: int, classes: int) -> int:
        """The rows of a chunk."""
        method = self.chunking_method
        if self.batch_chunk_size is not None and method in (None, "auto"):
            return max(1, min(self.batch_chunk_size, rows))
        if method is None:
            return max(1, rows)
        factor = int(method.partition(":")[2] or 1)
        target = -(-rows // -(-classes // max(features, 1))) if classes else 1
        size = max(1, min((1 << (max(target, 1) - 1).bit_length()) // factor, rows))
        if self.batch_chunk_size not in (None, size):
            raise ValueError(
                f"linear_cross_entropy: batch_chunk_size (={self.batch_chunk_size}) and "
                f"chunking_method ('{method}') give different chunk sizes; pass only one"
            )
        return size


# -- on NumPy arrays ------------------------------------------------------------------------------


def _logits(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    out = product(x, w.T)
    return out if bias is None else np.add(out, bias, out=out)


def _forward(
    x: np.ndarray,
    w: np.ndarray,
    target: np.ndarray,
    bias: np.ndarray | None,
    *,
    ignore_index: int,
    chunk: int,
) -> tuple:
    t, valid = checked(target, w.shape[0], ignore_index)
    loss, lse = np.empty(x.shape[0], x.dtype), np.empty(x.shape[0], x.dtype)
    for start in range(0, x.shape[0], chunk):
        rows = slice(start, start + chunk)
        z = _logits(x[rows], w, bias)
        picked = z[np.arange(z.shape[0]), t[rows]]
        top = np.maximum.reduce(z, axis=1, keepdims=True)
        z -= top
        np.exp(z, out=z)
        lse[rows] = np.log(np.add.reduce(z, axis=1)) + top[:, 0]
        np.subtract(lse[rows], picked, out=loss[rows])
    return (loss if valid is None else np.where(valid, loss, loss.dtype.type(0))), lse


def _backward(
    grad: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    target: np.ndarray,
    bias: np.ndarray | None,
    lse: np.ndarray,
    *,
    ignore_index: int,
    chunk: int,
) -> tuple:
    t, valid = checked(target, w.shape[0], ignore_index)
    a = grad if valid is None else np.where(valid, grad, grad.dtype.type(0))
    gx, gw = np.empty(x.shape, x.dtype), np.zeros(w.shape, w.dtype)
    gb = np.zeros(0 if bias is None else w.shape[0], w.dtype)
    for start in range(0, x.shape[0], chunk):
        rows = slice(start, start + chunk)
        z = _logits(x[rows], w, bias)
        z -= lse[rows, None]
        np.exp(z, out=z)
        z[np.arange(z.shape[0]), t[rows]] -= 1
        z *= a[rows, None]
        gx[rows] = product(z, w)
        gw += product(z.T, x[rows])
        if bias is not None:
            gb += np.add.reduce(z, axis=0)
    return gx, gw, gb


# -- records --------------------------------------------------------------------------------------


def _samples(s: Any) -> list:
    t = s.ints(3, (4,))
    plain = {"ignore_index": -100, "chunk": 3}
    return [
        s((4, 2), (3, 2), t, None, **plain),
        s((4, 2), (3, 2), t, (3,), **plain | {"ignore_index": int(t[0]), "chunk": 1}),
        s((9, 5), (131, 5), s.ints(131, (9,)), (131,), **plain | {"chunk": 4}),
        s((0, 2), (3, 2), s.ints(3, (0,)), None, **plain),
    ]


def _backward_samples(s: Any) -> list:
    found = []
    for x in _samples(s):
        loss, lse = _forward(*x.inputs, **x.params)
        found.append(s(loss.shape, *x.inputs, lse, smooth=False, **x.params))
    return found


def _backward_meta(
    grad: Tensor, x: Tensor, w: Tensor, target: Tensor, bias: Any, *more: Any, **params: Any
) -> list:
    shapes = x._data.shape, w._data.shape, (0,) if bias is None else bias._data.shape
    return [(tuple(shape), x.dtype) for shape in shapes]


@fused(
    outputs=("gx", "gw", "gb"),
    meta=_backward_meta,
    cpu=_backward,
    triton="linear_entropy.backward",
    samples=_backward_samples,
)
def linear_entropy_backward(
    grad: Any,
    x: Any,
    w: Any,
    target: Any,
    bias: Any,
    lse: Any,
    *,
    ignore_index: int,
    chunk: int,
) -> Any:
    """The gradients of input, weight and bias."""
    needs = (True, True, False, bias is not None)
    inputs = (x, w, target, bias)
    gx, gw, _, gb = through_ref(linear_entropy_op)(grad, None, *inputs, ignore_index, chunk, needs)
    return gx, gw, x.new_empty(0) if gb is None else gb


def _vjp(
    g: Any,
    g_lse: Any,
    x: Any,
    w: Any,
    target: Any,
    bias: Any,
    lse: Any,
    ignore_index: int,
    chunk: int,
    needs: Any,
) -> Any:
    params = {"ignore_index": ignore_index, "chunk": chunk}
    if g is None or g_lse is not None:
        inputs = (x, w, target, bias)
        return through_ref(linear_entropy_op)(g, g_lse, *inputs, *params.values(), needs)
    found = linear_entropy_backward(g, x, w, target, bias, lse.detach(), **params)
    return found[0], found[1], None, found[2] if needs[3] else None


@fused(
    name="linear_entropy",
    outputs=("out", "lse"),
    meta=lambda x, *rest, **params: [
        (tuple(x._data.shape[:1]), x.dtype),
        (tuple(x._data.shape[:1]), dtypes.accumulation(x.dtype)),
    ],
    cpu=_forward,
    triton="linear_entropy.forward",
    vjp=joint(_vjp),
    samples=_samples,
)
def linear_entropy_op(
    x: Any, w: Any, target: Any, bias: Any, *, ignore_index: int, chunk: int
) -> Any:
    """The loss of each row of `x` (N, E) under the logits `x w^T + bias`, and their log-sum-exp."""
    logits = linear(x, w, bias)
    loss = cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    return loss, logits.logsumexp(1)  # type: ignore[attr-defined]


# -- public ---------------------------------------------------------------------------------------


def _check(x: Tensor, w: Tensor, bias: Any) -> None:
    name, (shape, weight) = "linear_cross_entropy", (tuple(x.shape), tuple(w.shape))
    if len(shape) not in (1, 2):
        raise RuntimeError(f"{name}: expected input with dimensionality 1 or 2, got {len(shape)}")
    if len(weight) < 2:
        raise RuntimeError(
            f"{name}: expected linear_weight with dimensionality at least 2, got {len(weight)}"
        )
    if shape[-1] != weight[-1]:
        raise RuntimeError(
            f"{name}: expected equal input and linear_weight last dimensions (in_features), got "
            f"{shape[-1]} and {weight[-1]}, respectively"
        )
    if bias is not None and tuple(bias.shape) != weight[:-1]:
        raise RuntimeError(
            f"{name}: expected linear_bias shape {weight[:-1]}, got {tuple(bias.shape)}"
        )
    if len(weight) > 2 and len(shape) == 1:
        raise RuntimeError(
            f"{name}: K-dimensional loss defined by linear_weight shape {weight} requires batched "
            f"input, (N, {shape[-1]}), got unbatched input with shape {shape}"
        )


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target, ...)`.

    `input` is (E,) or (N, E), `linear_weight` (C, E) or (C, d_1, ..., d_K, E), `target` class
    indices (N, d_1, ...) or probabilities (N, C, d_1, ...). With `options` the rows are taken in
    chunks, so that the logits of one chunk alone are in memory.

    Example:
        >>> import tritorch as torch
        >>> F = torch.nn.functional
        >>> F.linear_cross_entropy(torch.zeros(2, 3), torch.ones(4, 3), torch.tensor([0, 1]))
        tensor(1.3863)
    """
    _check(input, linear_weight, linear_bias)
    classes, *more = linear_weight.shape[:-1]
    shape = (*input.shape[:-1], classes, *more)
    indices = tuple(target.shape) != shape
    if not indices and ignore_index is not None:
        raise RuntimeError(
            "linear_cross_entropy: ignore_index cannot be specified when target contains "
            "probabilities"
        )
    ignored = -100 if ignore_index is None else ignore_index
    if options is not None:
        direct = not more and not label_smoothing and target.dtype is dtypes.int64
        if direct and reduction in ("mean", "sum", "none"):
            return _chunked(
                input, linear_weight, target, linear_bias, weight, reduction, ignored, options
            )
        warnings.warn(
            "linear_cross_entropy: options are ignored: chunks need class indices of dtype int64, "
            f"a weight of two dimensions and no label smoothing, got target {target.dtype}, weight "
            f"{tuple(linear_weight.shape)}, label_smoothing={label_smoothing}",
            stacklevel=users_level(),
        )
    if more:
        rows = math.prod(more, start=classes)
        linear_weight = linear_weight.reshape(rows, input.shape[-1])
        linear_bias = None if linear_bias is None else linear_bias.reshape(rows)
    logits: Any = linear(input, linear_weight, linear_bias)
    return cross_entropy(
        logits.reshape(shape),
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=ignored,
        label_smoothing=label_smoothing,
    )


def _chunked(
    x: Any,
    w: Any,
    target: Any,
    bias: Any,
    weight: Any,
    reduction: str,
    ignore_index: int,
    options: LinearCrossEntropyOptions,
) -> Tensor:
    reduction = reduction_of("linear_cross_entropy", reduction)
    single = x.ndim == 1
    x, target = (x.unsqueeze(0), target.unsqueeze(0)) if single else (x, target)
    if target.shape != x.shape[:1]:
        raise ValueError(
            f"linear_cross_entropy: Expected input batch_size ({x.shape[0]}) to match target "
            f"batch_size ({tuple(target.shape)})."
        )
    chunk = options.chunk(x.shape[0], x.shape[1], w.shape[0])
    loss: Any = linear_entropy_op(x, w, target, bias, ignore_index=ignore_index, chunk=chunk)[0]
    valid = target != ignore_index
    each: Any = valid.to(loss.dtype)
    if weight is not None:
        each = each * weight[target.masked_fill(~valid, 0)]
        loss = loss * each
    if reduction == "none":
        return loss.squeeze(0) if single else loss
    return loss.sum() if reduction == "sum" else loss.sum() / each.sum()


FUNCTIONAL["linear_cross_entropy"] = linear_cross_entropy
