"""Look-up tables: embedding with its gradient, one_hot, bucketize, searchsorted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import no_grad
from ..op import fused, primitive
from ..runtime import host, parallel
from ..tensor import Tensor, from_data
from . import rows
from .along import _check, select_op
from .api import FUNCTIONAL, PUBLIC, public, write_out
from .copy import to
from .elementwise import promoted
from .index import index_put_op
from .scatter import scatter_op, zeros_for

# -- embedding -----------------------------------------------------------------------------------


def _meta(
    weight: Tensor, index: Tensor, *, padding_idx: int | None, scale_grad_by_freq: bool
) -> tuple:
    return (*index._data.shape, weight._data.shape[1]), weight.dtype


def _launch(launch: Any, out: Any, weight: Any, index: Any, **_: Any) -> Any:
    from ..kernels import embedding as kernels

    return kernels.forward(launch, out, weight, index)


@primitive(
    name="embedding",
    meta=_meta,
    triton=_launch,
    exact=True,
    vjp=(
        lambda g, weight_shape, index, padding_idx, scale_grad_by_freq: embedding_backward(
            g,
            index,
            num=weight_shape[0],
            padding_idx=padding_idx,
            scale_grad_by_freq=scale_grad_by_freq,
        ),
        None,
    ),
    samples=lambda s: [
        s((5, 3), s.ints(5, (2, 4)), padding_idx=None, scale_grad_by_freq=False),
        s((5, 3), s.ints(5, (6,)), padding_idx=2, scale_grad_by_freq=False, smooth=False),
        s((4, 2), s.ints(4, ()), padding_idx=None, scale_grad_by_freq=False),
        s((4, 2), s.ints(4, (5,)), padding_idx=None, scale_grad_by_freq=True, smooth=False),
        s((4, 2), s.ints(4, (0, 3)), padding_idx=None, scale_grad_by_freq=False),
    ],
)
def embedding_op(
    weight: Any, index: Any, *, padding_idx: int | None, scale_grad_by_freq: bool
) -> Any:
    """Rows of a table."""
    _check(index, weight.shape[0])
    return rows.take(weight, index, 0, checked=True)


def _backward_meta(
    g: Tensor, index: Tensor, *, num: int, padding_idx: int | None, scale_grad_by_freq: bool
) -> tuple:
    if tuple(g._data.shape[:-1]) != tuple(index._data.shape) or index.dtype.category != 1:
        raise RuntimeError(
            f"embedding_backward: expected an integer index for each row of the gradient, got "
            f"{index.dtype} of {tuple(index.shape)} for {tuple(g.shape)}"
        )
    return (num, g._data.shape[-1]), g.dtype


def _backward(
    g: Any, index: Any, *, num: int, padding_idx: int | None, scale_grad_by_freq: bool
) -> Any:
    width = g.shape[-1]
    index, g = index.reshape(-1), g.reshape(-1, width)
    out = host.zeros((num, width), g.dtype)
    rows.check_bounds(index, num, 0, wrap=False)
    rows.add_rows(out, index, g)
    if scale_grad_by_freq:
        out /= np.maximum(np.bincount(index, minlength=num), 1).astype(g.dtype)[:, None]
    if padding_idx is not None:
        out[padding_idx] = 0
    return out


@fused(
    meta=_backward_meta,
    cpu=_backward,
    triton="embedding.backward",
    samples=lambda s: [
        s((2, 4, 3), s.ints(5, (2, 4)), num=5, padding_idx=None, scale_grad_by_freq=False),
        s((6, 3), s.ints(5, (6,)), num=5, padding_idx=2, scale_grad_by_freq=False),
        s((6, 2), s.ints(4, (6,)), num=4, padding_idx=1, scale_grad_by_freq=True),
        s((0, 2), s.ints(4, (0,)), num=4, padding_idx=None, scale_grad_by_freq=False),
    ],
)
def embedding_backward(
    g: Tensor, index: Tensor, *, num: int, padding_idx: int | None, scale_grad_by_freq: bool
) -> Tensor:
    """The gradient of the table: rows of `g` added up by index, in order."""
    width = g._data.shape[-1]
    index = index.reshape(-1)  # type: ignore[attr-defined]
    g = g.reshape(-1, width)  # type: ignore[attr-defined]
    if padding_idx is not None:
        g = g.masked_fill((index == padding_idx).unsqueeze(1), 0.0)
    if scale_grad_by_freq:
        counts = index.bincount(minlength=num).clamp(min=1)  # type: ignore[attr-defined]
        g = g / select_op(counts, index, dim=0).unsqueeze(1)
    return index_put_op(zeros_for(g, (num, width)), g, index, dims=(0,), accumulate=True)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` at the positions `input`: `(*)` and `(V, D)` give `(*, D)`.

    The row `padding_idx` gets no gradient. With `max_norm` rows of a larger `norm_type`-norm are
    first scaled down, in place. `scale_grad_by_freq` divides a row's gradient by how often it is
    used. Gradients are dense.

    Example:
        >>> import tritorch as torch
        >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> torch.nn.functional.embedding(torch.tensor([1, 0]), table).tolist()
        [[3.0, 4.0], [1.0, 2.0]]
    """
    if input.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            f"embedding: Expected tensor for argument #1 'indices' to have one of the following "
            f"scalar types: Long, Int; but got {input.dtype} instead"
        )
    if weight._data.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {tuple(weight.shape)}")
    n = weight._data.shape[0]
    if padding_idx is not None:
        if not -n <= padding_idx < n:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= n
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    return embedding_op(
        weight, input, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )


def renormalise(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are used down to a norm of at most `max_norm`, in place."""
    errors.check_dtype("embedding_renorm_", weight.dtype, "floating", "complex")
    with no_grad():
        used = from_data(np.unique(index.detach().cpu()._data))  # type: ignore[attr-defined]
        used = used.to(weight.device)  # type: ignore[attr-defined]
        table = weight.detach()
        picked = select_op(table, used, dim=0)
        norms = (picked.abs() ** norm_type).sum(1, keepdim=True) ** (1 / norm_type)
        factor = (max_norm / (norms + 1e-7)).masked_fill(norms <= max_norm, 1.0)
        index_put_op.inplace(table, picked * factor, used, dims=(0,), accumulate=False)


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows of a table that are used down to a norm of at most `max_norm`."""
    renormalise(input, indices, max_norm, norm_type)
    return input


PUBLIC["embedding_renorm_"] = embedding_renorm_
FUNCTIONAL["embedding"] = embedding


def _aten_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """`nn.functional.embedding` with the table first."""
    padding = None if padding_idx == -1 else padding_idx
    return embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq)


PUBLIC["embedding"] = _aten_embedding


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """`(*)` of class numbers as `(*, num_classes)` of zeros and a one; all classes up to the
    highest by default."""
    if input.dtype is not dtypes.int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {input.dtype}"
        )
    if not input._data.size:
        if num_classes <= 0:
            raise RuntimeError("one_hot: Can not infer total number of classes from empty input.")
        return input.new_zeros((*input.shape, num_classes))  # type: ignore[attr-defined]
    data = input.detach().cpu()._data  # type: ignore[attr-defined]
    low, high = int(data.min()), int(data.max())
    if low < 0:
        raise RuntimeError(f"one_hot: Class values must be non-negative, got {low}.")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1:
        raise RuntimeError(f"one_hot: num_classes should be positive, got {num_classes}")
    elif high >= num_classes:
        raise RuntimeError(
            f"one_hot: Class values must be smaller than num_classes, got {high} of {num_classes}."
        )
    if input.is_cpu:
        out = host.zeros((data.size, num_classes), np.dtype(np.int64))
        out[np.arange(data.size), data.reshape(-1)] = 1
        return from_data(out.reshape(*data.shape, num_classes))
    zeros = zeros_for(input, (*input._data.shape, num_classes))
    at, one = input.detach().unsqueeze(-1), input.new_ones(())  # type: ignore[attr-defined]
    one = one.expand(at.shape)
    return scatter_op(zeros, at, one, dim=input._data.ndim, reduce=None, include_self=True)


FUNCTIONAL["one_hot"] = one_hot


# -- sorted tables -------------------------------------------------------------------------------


def _search_meta(table: Tensor, values: Tensor, *, right: bool, dtype: dtypes.DType) -> tuple:
    return tuple(values._data.shape), dtype


@primitive(
    name="searchsorted",
    meta=_search_meta,
    triton="search.searchsorted",
    vjp=(None, None),
    samples=lambda s: [
        s(np.sort(s.reals((5,))), (2, 3), right=False, dtype=dtypes.int64, smooth=False),
        s(np.sort(s.reals((2, 5))), (2, 3), right=True, dtype=dtypes.int32, smooth=False),
    ],
)
def search_op(table: Any, values: Any, *, right: bool, dtype: dtypes.DType) -> Any:
    """Where each value belongs in the sorted last dimension of the table."""
    side = "right" if right else "left"
    if table.ndim <= 1:
        return _search_line(table.reshape(-1), values, side, dtype.np)
    n, m = table.shape[-1], values.shape[-1] if values.ndim else 1
    out = np.empty(values.shape, dtype.np)
    lines = out.reshape(-1, m) if m else out.reshape(0, 0)
    for line, t, v in zip(lines, table.reshape(-1, n), values.reshape(-1, m), strict=False):
        line[:] = np.searchsorted(t, v, side)
    return out


def _search_line(table: np.ndarray, values: np.ndarray, side: Any, dtype: np.dtype) -> np.ndarray:
    out, flat = np.empty(values.shape, dtype), values.reshape(-1)
    target = out.reshape(-1)

    def body(start: int, stop: int) -> None:
        target[start:stop] = np.searchsorted(table, flat[start:stop], side)

    parallel.run(body, flat.size, parallel.BLOCK)
    return out


@public(method=False)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Where each value of `input` must be inserted to keep the last dimension sorted.

    The first such place, or with `right` (`side="right"`) the last. Both are compared in the dtype
    that they promote to. `sorter` is the order, as of
    `argsort`, of a sequence that is not sorted itself.
    """
    return _search(sorted_sequence, input, out_int32, right, side, sorter, out)


def _search(
    table: Tensor,
    input: Any,
    out_int32: bool,
    right: bool,
    side: str | None,
    sorter: Tensor | None,
    out: Tensor | None,
) -> Tensor:
    name = "searchsorted"
    if side not in (None, "left", "right"):
        raise RuntimeError(f"{name}(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            f"{name}(): side and right can't be set to opposites, got side of left while right was "
            "True"
        )
    common = promoted((table, input))
    values = input if isinstance(input, Tensor) else table.new_tensor(input, dtype=common)  # type: ignore
    a, b = tuple(table._data.shape), tuple(values._data.shape)
    if len(a) == 0:
        raise RuntimeError(f"{name}(): boundary tensor should have positive dimension, got {a}")
    if len(a) > 1 and (len(a) != len(b) or a[:-1] != b[:-1]):
        raise RuntimeError(
            f"{name}(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            f"boundaries tensor and input value tensor must match, but we got boundaries tensor "
            f"{list(a)} and input value tensor {list(b)}"
        )
    if sorter is not None:
        table = _sorted_by(name, table, sorter)
    dtype = dtypes.int32 if out_int32 else dtypes.int64
    if out is not None and out.dtype is not dtype:
        raise RuntimeError(
            f"{name}(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) "
            f"depending on whether out_int32 flag is True, but we got output tensor's dtype "
            f"{out.dtype} and out_int32 flag is {out_int32}"
        )
    errors.check_dtype(name, common, "integral", "floating")
    table, values = to(table.detach(), common), to(values.detach(), common)
    found = search_op(table, values, right=right or side == "right", dtype=dtype)
    if out is None:
        return found
    return write_out(name, out, found)


def _sorted_by(name: str, table: Tensor, sorter: Tensor) -> Tensor:
    if tuple(sorter._data.shape) != tuple(table._data.shape):
        raise RuntimeError(
            f"{name}(): boundary and sorter must have the same size, but got boundary tensor "
            f"{list(table.shape)} and got sorter tensor {list(sorter.shape)}"
        )
    if sorter.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}(): sorter must be a tensor of long dtype but got dtype {sorter.dtype}"
        )
    data = sorter._data
    if sorter.is_cpu and data.size and (data.min() < 0 or data.max() >= table._data.shape[-1]):
        raise RuntimeError(f"{name}(): sorter index out of range")
    return table.detach().gather(-1, sorter)  # type: ignore[attr-defined]


@public(method=False)
def bucketize(
    input: Any,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The number of the bucket between sorted boundaries that each value falls in.

    Bucket i is `boundaries[i-1] < v <= boundaries[i]`; with `right` `<=` and `<`.
    """
    if boundaries._data.ndim != 1:
        raise RuntimeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got "
            f"dim({boundaries._data.ndim})"
        )
    return _search(boundaries, input, out_int32, right, None, None, out)
