"""Order: sort, topk, kthvalue, mode, and what counts on it: unique, bincount, histc, isin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes, errors, return_types
from ..autograd.rules import joint
from ..op import primitive
from ..runtime import host, layout, parallel
from ..tensor import Tensor, from_data
from . import distinct
from .api import attach, public
from .arithmetic import where
from .copy import to, to_array
from .order import kth_lines, sort_lines, top_lines
from .scatter import _add_at, zeros_for


def _along_last(f: Any, x: np.ndarray, dim: int, *args: Any) -> tuple[np.ndarray, np.ndarray]:
    """A function of lines applied to any dimension."""
    if not x.ndim:
        values, indices = f(x.reshape(1, 1), *args)
        return values.reshape(()), indices.reshape(())
    if dim == x.ndim - 1 and x.size and x.flags.c_contiguous:
        lines = x.reshape(-1, x.shape[-1])
        return tuple(r.reshape(*x.shape[:-1], -1) for r in f(lines, *args))  # type: ignore
    moved = np.moveaxis(x, dim, -1)
    shape = moved.shape
    lines = np.ascontiguousarray(moved).reshape(-1, shape[-1]) if x.size else moved.reshape(0, 0)
    if not x.size:
        n = shape[-1] if f is sort_lines else args[0] if f is top_lines else 1
        made = np.empty((*shape[:-1], n), x.dtype), np.empty((*shape[:-1], n), np.int64)
    else:
        made = tuple(r.reshape(*shape[:-1], -1) for r in f(lines, *args))
    return tuple(np.ascontiguousarray(np.moveaxis(r, -1, dim)) for r in made)  # type: ignore


def _picked_vjp(gv: Tensor | None, gi: Any, x_shape: tuple, indices: Tensor, dim: int) -> tuple:
    """The gradient of picked elements goes back to where they were."""
    if gv is None:
        return (None,)
    return (_add_at(zeros_for(gv, x_shape), indices.detach(), gv, dim),)


def _sort_meta(x: Tensor, *, dim: int, descending: bool) -> list:
    shape = tuple(x._data.shape)
    return [(shape, x.dtype), (shape, dtypes.int64)]


@primitive(
    name="sort",
    meta=_sort_meta,
    triton="sort.sort",
    outputs=("values", "indices"),
    strided=True,
    vjp=joint(_picked_vjp),
    samples=lambda s: [
        s(s.distinct((3, 5)), dim=1, descending=False),
        s(s.distinct((4, 3)), dim=0, descending=True),
        s((), dim=0, descending=False),
        s((2, 0), dim=1, descending=False),
    ],
)
def sort_op(x: Any, *, dim: int, descending: bool) -> tuple:
    found = _along_last(sort_lines, x, dim, descending)
    if layout.order(x.shape, x) is None:
        return found
    return tuple(parallel.copy(host.empty(x.shape, r.dtype, x), r) for r in found)


def _not_complex(name: str, x: Tensor, kind: type[Exception] = RuntimeError) -> None:
    if x.dtype.is_complex:
        raise kind(f"{name}: complex tensors have no order, got {x.dtype}")


@public(out=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements in order along a dimension, and where they were: (values, indices).

    Always stable: equal elements keep their order. NaN counts as the largest value.

    Example:
        >>> import tritorch as torch
        >>> torch.sort(torch.tensor([3.0, 1.0, 2.0])).indices
        tensor([1, 2, 0])
    """
    _not_complex("sort", input)
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"sort(): argument 'dim' must be int, not {type(dim).__name__}")
    d = errors.wrap_dim("sort", dim, input._data.shape)
    return return_types.sort(*sort_op(input, dim=d, descending=bool(descending)))


@public(out=True)
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The positions of the elements in the order of `sort`."""
    return sort(input.detach(), dim, descending)[1]


@public(out=True)
def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension."""
    return sort(input, 0)[0]


def _top_meta(x: Tensor, *, k: int, dim: int, largest: bool) -> list:
    shape = list(x._data.shape)
    if shape:
        shape[dim] = k
    return [(tuple(shape), x.dtype), (tuple(shape), dtypes.int64)]


@primitive(
    name="topk",
    meta=_top_meta,
    triton="sort.topk",
    outputs=("values", "indices"),
    vjp=joint(_picked_vjp),
    samples=lambda s: [
        s(s.distinct((3, 5)), k=2, dim=1, largest=True),
        s(s.distinct((4, 3)), k=3, dim=0, largest=False),
        s(s.distinct((2, 128)), k=2, dim=1, largest=True),
        s((), k=1, dim=0, largest=True),
    ],
)
def topk_op(x: Any, *, k: int, dim: int, largest: bool) -> tuple:
    return _along_last(top_lines, x, dim, k, largest)


@public(out=True)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The `k` largest, or smallest, elements along a dimension: (values, indices), in order."""
    _not_complex("topk", input)
    if input.dtype.category == 0:
        raise RuntimeError("topk: does not support bool tensors")
    d = errors.wrap_dim("topk", dim, input._data.shape)
    n = input._data.shape[d] if input._data.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(
            f"topk: selected index k out of range: k={k} for dimension {d} of shape "
            f"{tuple(input.shape)}"
        )
    return return_types.topk(*topk_op(input, k=int(k), dim=d, largest=bool(largest)))


def _kth_meta(x: Tensor, *, k: int, dim: int) -> list:
    shape = tuple(1 if i == dim else n for i, n in enumerate(x._data.shape))
    return [(shape, x.dtype), (shape, dtypes.int64)]


@primitive(
    name="kthvalue",
    meta=_kth_meta,
    triton="sort.kthvalue",
    outputs=("values", "indices"),
    vjp=joint(_picked_vjp),
    samples=lambda s: [s(s.distinct((3, 5)), k=2, dim=1), s(s.distinct((4, 3)), k=4, dim=0)],
)
def kth_op(x: Any, *, k: int, dim: int) -> tuple:
    return _along_last(kth_lines, x, dim, k)


@public(out=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dimension, and where it is: (values, indices)."""
    _not_complex("kthvalue", input, NotImplementedError)
    if input.dtype.category == 0:
        raise NotImplementedError('"kthvalue" is not implemented for bool tensors')
    d = errors.wrap_dim("kthvalue", dim, input._data.shape)
    n = input._data.shape[d] if input._data.ndim else 1
    if not n:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError(
            f"kthvalue(): selected number k out of range for dimension {d}: k={k} of {n}"
        )
    values, indices = kth_op(input, k=int(k), dim=d)
    if not keepdim and input._data.ndim:
        values, indices = (t.squeeze(d) for t in (values, indices))
    return return_types.kthvalue(values, indices)


def _mode_lines(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, indices = sort_lines(x, False)
    n = x.shape[-1]
    place = np.arange(n)
    begins = np.ones(values.shape, bool)
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    start = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    best = np.argmax(place - start, axis=1)[:, None]
    return np.take_along_axis(values, best, 1), np.take_along_axis(indices, best, 1)


def _mode_meta(x: Tensor, *, dim: int) -> list:
    shape = tuple(1 if i == dim else n for i, n in enumerate(x._data.shape))
    return [(shape, x.dtype), (shape, dtypes.int64)]


@primitive(
    name="mode",
    meta=_mode_meta,
    triton="sort.mode",
    outputs=("values", "indices"),
    vjp=joint(_picked_vjp),
    samples=lambda s: [
        s(s.ints(3, (3, 5)).astype(float), dim=1, smooth=False),
        s(s.ints(3, (4, 3)).astype(float), dim=0, smooth=False),
        s((), dim=0),
    ],
)
def mode_op(x: Any, *, dim: int) -> tuple:
    return _along_last(_mode_lines, x, dim)


@public(out=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along a dimension, the smallest of several, and its last position."""
    _not_complex("mode", input, NotImplementedError)
    d = errors.wrap_dim("mode", dim, input._data.shape)
    if input._data.ndim and not input._data.shape[d]:
        raise IndexError(
            f"mode(): Expected reduction dim {d} to have non-zero size, got {tuple(input.shape)}"
        )
    values, indices = mode_op(input, dim=d)
    if not keepdim and input._data.ndim:
        values, indices = (t.squeeze(d) for t in (values, indices))
    return return_types.mode(values, indices)


# -- sets and counts -----------------------------------------------------------------------------


def _tensors(input: Tensor, arrays: Any, inverse: bool, counts: bool) -> Any:
    values, back, count = (
        a if isinstance(a, Tensor) else from_data(np.asarray(a, order="C")).to(input.device)
        for a in arrays  # type: ignore
    )
    found = (values, *([back] if inverse else []), *([count] if counts else []))
    return found if len(found) > 1 else values


@public()
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order, or the distinct slices of a dimension.

    With `return_inverse` also where each element of the input is among them; with `return_counts`
    how often each occurs.

    Example:
        >>> import tritorch as torch
        >>> torch.unique(torch.tensor([2, 1, 2]), return_counts=True)
        (tensor([1, 2]), tensor([1, 2]))
    """
    _not_complex("unique", input, NotImplementedError)
    if dim is None and distinct.served(input):
        flat: Any = input.detach().reshape(-1)  # type: ignore[attr-defined]
        in_order, order = sort(flat)
        values, run, counts = distinct.runs(in_order)
        back = order.scatter(0, order, run).reshape(input.shape)
        return _tensors(input, (values, back, counts), return_inverse, return_counts)
    x: Any = to_array(input.detach())
    if dim is None:
        values, back, counts = np.unique(
            x.reshape(-1), return_inverse=True, return_counts=True, equal_nan=False
        )
        return _tensors(
            input, (values, back.reshape(x.shape), counts), return_inverse, return_counts
        )
    x, rows, d = _slices("unique", x, dim)
    order = np.lexsort(rows.T[::-1]) if rows.size else np.arange(0)
    firsts, back, counts = _runs(rows[order])
    inverse = np.empty_like(back)
    inverse[order] = back
    found = np.moveaxis(x[order[firsts]], 0, d)
    return _tensors(input, (found, inverse, counts), return_inverse, return_counts)


def _slices(name: str, x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The array with the dimension in front, its slices as rows of a matrix, and the dimension."""
    if not x.ndim:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    d = errors.wrap_dim(name, dim, x.shape)
    others = math.prod(n for i, n in enumerate(x.shape) if i != d)
    if not others:
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so {name} cannot be "
            f"applied to shape {x.shape}"
        )
    x = np.moveaxis(x, d, 0)
    return x, np.ascontiguousarray(x).reshape(x.shape[0], others), d


def _runs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of equal neighbours: where each run begins, the run of each row, and how long runs are."""
    n = rows.shape[0]
    begins = np.ones(n, bool)
    begins[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    firsts = np.flatnonzero(begins)
    return firsts, np.cumsum(begins) - 1, np.diff(np.append(firsts, n))


@public()
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The elements, or slices of a dimension, without those equal to the one before.

    Further results as in `unique`.
    """
    _not_complex("unique_consecutive", input, NotImplementedError)
    if dim is None and distinct.served(input):
        flat: Any = input.detach().reshape(-1)  # type: ignore[attr-defined]
        values, run, counts = distinct.runs(flat)
        found = (values, run.reshape(input.shape), counts)  # type: ignore[attr-defined]
        return _tensors(input, found, return_inverse, return_counts)
    x: Any = to_array(input.detach())
    if dim is None:
        firsts, back, counts = _runs(x.reshape(-1, 1))
        found = (x.reshape(-1)[firsts], back.reshape(x.shape), counts)
        return _tensors(input, found, return_inverse, return_counts)
    x, rows, d = _slices("unique_consecutive", x, dim)
    firsts, back, counts = _runs(rows)
    found = np.moveaxis(x[firsts], 0, d)
    return _tensors(input, (found, back, counts), return_inverse, return_counts)


@public()
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs in a vector of integers, or the sum of their weights."""
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, got {minlength}")
    if input.dtype.category != 1:
        raise NotImplementedError(f'"bincount_cpu" not implemented for {input.dtype}')
    on_device = weights is None and input.ndim == 1 and distinct.served(input)
    x: Any = input.detach() if on_device else to_array(input.detach())
    if x.ndim != 1 or (input._data.size and x.min() < 0):
        raise RuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, got shape {tuple(x.shape)}"
        )
    if on_device:
        n = max(int(x.max()) + 1 if x.numel() else 0, minlength)
        return distinct.counts_below(to(x, dtypes.int64), n)
    if weights is None:
        found = np.bincount(x, minlength=minlength)
    else:
        w = to_array(weights.detach())
        if w.shape != x.shape:
            raise RuntimeError(
                f"bincount: weights should be 1-d and have the same length as input, got shapes "
                f"{errors.shapes(input, weights)}"
            )
        kept = np.float32 if weights.dtype is dtypes.float32 else np.float64
        found = np.bincount(x, w.astype(np.float64), minlength).astype(kept)
    return from_data(found).to(input.device)  # type: ignore[attr-defined]


@public(out=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal intervals of [min, max].

    Where `min` equals `max` the range is that of the elements.
    """
    if input.dtype.category != 2:
        raise NotImplementedError(f'"histogram_cpu" not implemented for {input.dtype}')
    if bins <= 0:
        raise RuntimeError(f"histc(): bins must be > 0, got {bins}")
    on_device = distinct.served(input)
    x: Any = input.detach() if on_device else to_array(input.detach())
    work: Any = x.reshape(-1).double() if on_device else x.reshape(-1).astype(np.float64)
    low, high = float(min), float(max)
    if low == high and input._data.size:
        low, high = float(work.min()), float(work.max())
    if low == high:
        low, high = low - 1, high + 1
    if not np.isfinite([low, high]).all():
        raise RuntimeError(f"histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"histc: max must be larger than min, got {high} and {low}")
    if on_device:
        at = to((work - low) * bins / (high - low), dtypes.int64).clamp(max=bins - 1)  # type: ignore
        at = where((work >= low) & (work <= high), at, bins)
        return to(distinct.counts_below(at, bins + 1)[:bins], input.dtype)
    work = work[(work >= low) & (work <= high)]
    if low == high:  # so far out that 1 is lost: all are in the middle
        at = np.full(work.shape, bins // 2)
    else:
        at = ((work - low) * bins / (high - low)).astype(np.int64)
    found = np.bincount(np.minimum(at, bins - 1), minlength=bins)
    return from_data(found.astype(input.dtype.np)).to(input.device)  # type: ignore[attr-defined]


@public(method=False, out=True)
def isin(
    elements: Any = None,
    test_elements: Any = None,
    *,
    element: Any = None,
    test_element: Any = None,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Which elements are among the test elements; either may be a number, in PyTorch by the name
    `element` or `test_element`."""
    elements = element if elements is None else elements
    test_elements = test_element if test_elements is None else test_elements
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): at least one argument must be a Tensor")
    tensor = elements if isinstance(elements, Tensor) else test_elements
    for t in (elements, test_elements):
        if isinstance(t, Tensor) and t.dtype.category in (0, 3):
            raise RuntimeError(f"isin(): tensors of {t.dtype} are not supported")
    if isinstance(elements, Tensor) and isinstance(test_elements, Tensor):
        same = elements.device == test_elements.device and elements.dtype is test_elements.dtype
        if same and distinct.served(elements):
            found = distinct.among(elements.detach(), test_elements.detach())
            return ~found if invert else found  # type: ignore[operator]
    a, b = (
        to_array(v.detach()) if isinstance(v, Tensor) else np.asarray(v)
        for v in (elements, test_elements)
    )
    found = np.asarray(np.isin(a, b, invert=invert))
    return from_data(found).to(tensor.device)  # type: ignore[attr-defined]


def _unique(
    self: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """`tritorch.unique`."""
    return unique(self, sorted, return_inverse, return_counts, dim)


def _unique_consecutive(
    self: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """`tritorch.unique_consecutive`."""
    return unique_consecutive(self, return_inverse, return_counts, dim)


attach("unique", _unique)
attach("unique_consecutive", _unique_consecutive)
