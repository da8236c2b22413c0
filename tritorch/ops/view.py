"""Views: operators that change metadata and share the storage."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..formats import contiguous_format
from ..op import ViewOp, alias, primitive, users_level, view as declare
from ..runtime import host
from ..tensor import Tensor, wrap
from .api import PUBLIC, attach, called, public
from .arguments import renamed


def ints(name: str, args: tuple) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = tuple(args[0])
    try:
        return tuple(int(a) if isinstance(a, Tensor) else a.__index__() for a in args)
    except AttributeError:
        raise TypeError(f"{name}(): expected integers, got {args}") from None


@declare(
    vjp=lambda g, dims: permute_op(g, dims=tuple(np.argsort(dims).tolist())),
    samples=lambda s: [s((2, 3, 4), dims=(2, 0, 1)), s((0, 3), dims=(1, 0))],
)
def permute(x: Any, *, dims: tuple[int, ...]) -> Any:  # type: ignore
    return x.transpose(dims)


permute_op = permute


@declare(
    name="view",
    vjp=lambda g, x_shape: g.reshape(x_shape),
    samples=lambda s: [s((2, 6), shape=(3, 4)), s((1,), shape=()), s((0, 2), shape=(2, 0))],
)
def _view(x: Any, *, shape: tuple[int, ...]) -> Any:
    if x.__class__ is not np.ndarray:
        return x.reshape(shape)
    return np.reshape(x, shape, copy=False)


@declare(
    name="expand",
    vjp=lambda g: g,
    samples=lambda s: [s((3, 1), shape=(2, 3, 4)), s((), shape=(2,))],
)
def _expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    if x.__class__ is np.ndarray:
        return np.lib.stride_tricks.as_strided(
            x, shape, _broadcast_strides(x.shape, x.strides, shape)
        )
    return x.strided(shape, _broadcast_strides(x.shape, x.strides, shape))


def _broadcast_strides(have: tuple, strides: tuple, shape: tuple) -> tuple[int, ...]:
    lead = len(shape) - len(have)
    return (0,) * lead + tuple(
        0 if n == 1 != m else s for n, s, m in zip(have, strides, shape[lead:], strict=True)
    )


@declare(
    name="slice",
    vjp=lambda g, x_shape, key: put_back(g, x_shape, _slice, key=key),  # type: ignore
    samples=lambda s: [
        s((3, 4), key=(slice(None), slice(1, 4, 2))),
        s((3, 4), key=(1, None, 2)),
        s((3,), key=(0,)),
    ],
)
def _slice(x: Any, *, key: tuple) -> Any:
    return x[(*key, ...)]


def put_back(g: Tensor, shape: tuple[int, ...], view: ViewOp, **params: Any) -> Tensor:
    """Zeros of `shape` with `g` added where the view looks: the transpose of the view."""
    return view_backward(g, shape=tuple(shape), view=view, params=params)


def _view_backward_meta(g: Tensor, *, shape: tuple, view: ViewOp, params: dict) -> tuple:
    return shape, g.dtype


@primitive(
    meta=_view_backward_meta,
    exact=True,
    triton="copy.view_backward",
    vjp=lambda g, view, params: view(g, **params),
    samples=lambda s: [s((2, 4), shape=(3, 4), view=_slice, params={"key": (slice(0, 2),)})],
)
def view_backward(g: Any, *, shape: tuple, view: ViewOp, params: dict) -> Any:
    out = host.zeros(shape, g.dtype)
    target = view.cpu(out, **params)  # type: ignore[misc]
    if view.overlaps:  # windows overlap, but not at one position inside them
        for i in range(target.shape[-1]):
            target[..., i] += g[..., i]
    else:
        target[...] = g
    return out


@public()
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of `other`."""
    return view(self, other.shape)


def _resolve(name: str, shape: tuple[int, ...], have: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with its -1 worked out."""
    n = math.prod(have)
    if -1 in shape:
        rest = -math.prod(shape)
        if shape.count(-1) > 1:
            raise RuntimeError(f"{name}: only one dimension can be inferred, got {shape}")
        if rest == 0 or n % rest:
            reason = "cannot be inferred: it is ambiguous" if rest == 0 == n else "is invalid"
            raise RuntimeError(f"{name}: shape '{list(shape)}' {reason} for input of size {n}")
        return tuple(n // rest if d == -1 else d for d in shape)
    if any(d < 0 for d in shape):
        raise RuntimeError(f"{name}: invalid negative dimension in shape {list(shape)}")
    if math.prod(shape) != n:
        raise RuntimeError(f"{name}: shape '{list(shape)}' is invalid for input of size {n}")
    return shape


_DTYPES = (dtypes.DType, type)


def view(self: Tensor, *shape: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """The same memory in another shape, or read as another dtype.

    Raises RuntimeError where the elements' strides do not allow it: use `reshape`.
    """
    if not shape:
        shape = tuple(given for given in (size, dtype) if given is not None)
    if len(shape) == 1 and isinstance(shape[0], _DTYPES):
        return view_dtype(self, dtypes.given("view", shape[0]))
    want = _resolve("view", ints("view", shape), self._data.shape)
    try:
        return _view(self, shape=want)
    except ValueError:
        raise RuntimeError(
            f"view: view size is not compatible with input tensor's size {tuple(self.shape)} and "
            f"stride {self.stride()} (at least one dimension spans across two contiguous "
            "subspaces). Use .reshape(...) instead."
        ) from None


attach("view", view)


def view_dtype(self: Tensor, dtype: dtypes.DType) -> Tensor:
    """The same bytes read as another dtype; without history."""
    if dtype is self.dtype:
        return alias(self)
    data = self._data
    if not self.is_cpu:
        raise RuntimeError("view: reading memory as another dtype is done on the CPU")
    if data.ndim == 0 and dtype.itemsize != self.itemsize:
        raise RuntimeError(
            "view: self.dim() cannot be 0 to view a tensor as a dtype of another size"
        )
    try:
        out = wrap(data.view(dtype.np), dtype)
    except ValueError as error:
        raise RuntimeError(
            f"view: {self.dtype} of shape {tuple(self.shape)} as {dtype}: {error}"
        ) from None
    out._storage = self.storage_  # without a base: through bytes read anew flows no gradient
    return out


@public()
def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape: a view where possible, else a copy."""
    if shape is not None:
        sizes = (shape,)
    want = _resolve("reshape", ints("reshape", sizes), input._data.shape)
    try:
        return _view(input, shape=want)
    except ValueError:
        out = _view(input.clone(memory_format=contiguous_format), shape=want)  # type: ignore[attr-defined]
        out._base = out._view = None  # nobody sees the copy, so this is no view of it
        return out


@public()
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of `other`."""
    return reshape(self, other.shape)


@public("swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    n = input._data.ndim
    a = errors.wrap_dim("transpose", dim0, input._data.shape)
    b = errors.wrap_dim("transpose", dim1, input._data.shape)
    dims = list(range(n))
    if n:
        dims[a], dims[b] = dims[b], dims[a]
    return permute_op(input, dims=tuple(dims))


PUBLIC["swapaxes"] = renamed(transpose, dim0="axis0", dim1="axis1")
attach("swapaxes", PUBLIC["swapaxes"])


@public()
def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:  # type: ignore[no-redef]
    """A view with its dimensions in another order."""
    order = ints("permute", order if dims is None else (dims,))
    if len(order) != input._data.ndim:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input._data.ndim} "
            f"is not equal to len(dims) = {len(order)}".replace("(sparse_coo)", "")
        )
    return permute_op(input, dims=errors.wrap_dims("permute", order, input._data.shape))


@public()
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector as it is."""
    if input._data.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, 1) if input._data.ndim == 2 else alias(input)


def _reversed(self: Tensor) -> Tensor:
    return permute_op(self, dims=tuple(range(self._data.ndim))[::-1])


def _matrix_transpose(self: Tensor) -> Tensor:
    if self._data.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{self._data.ndim}-D tensor."
        )
    return transpose(self, -2, -1)


@public()
def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of matrices (..., M, N)."""
    if input._data.ndim < 2:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got "
            f"{input._data.ndim}-D tensor."
        )
    return transpose(input, -2, -1).conj()  # type: ignore[attr-defined]


def _transposed(self: Tensor) -> Tensor:
    if self._data.ndim == 0:
        errors.warn("Tensor.T is deprecated on 0-D tensors. It is the tensor itself")
    elif self._data.ndim != 2:
        errors.warn(
            f"The use of `x.T` on tensors of dimension other than 2 ({self._data.ndim}) to reverse "
            "their shape is deprecated. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor."
        )
    return _reversed(self)


def _adjoined(self: Tensor) -> Tensor:
    if self._data.ndim == 0:
        errors.warn("Tensor.H is deprecated on 0-D tensors. Consider using x.conj()")
    elif self._data.ndim != 2:
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self._data.ndim}-D "
            "tensor. For batches of matrices, consider using tensor.mH"
        )
    return _reversed(self).conj()  # type: ignore[attr-defined]


Tensor.T = property(_transposed)  # type: ignore[attr-defined]


Tensor.mT = property(_matrix_transpose)  # type: ignore[attr-defined]


Tensor.H = property(_adjoined)  # type: ignore[attr-defined]


Tensor.mH = property(lambda self: _matrix_transpose(self).conj())  # type: ignore[attr-defined]


@public("moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with dimensions moved to other places, the rest in their order."""
    shape = input._data.shape
    src, dst = ((s,) if isinstance(s, int) else tuple(s) for s in (source, destination))
    if len(src) != len(dst):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({src} dims) should "
            f"contain the same number of dims as destination ({dst} dims)"
        )
    src = errors.wrap_dims("movedim", src, shape)
    dst = errors.wrap_dims("movedim", dst, shape)
    order = [d for d in range(len(shape)) if d not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        order.insert(d, s)
    return permute_op(input, dims=tuple(order)) if shape else alias(input)


@public()
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 inserted at `dim`."""
    d = errors.wrap_dim("unsqueeze", dim, (*input._data.shape, 1))
    return _slice(input, key=(slice(None),) * d + (None,))


@public()
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without the dimensions of size 1, or without those in `dim` that have size 1."""
    shape = input._data.shape
    if dim is None:
        dims = tuple(range(len(shape)))
    else:
        dims = errors.wrap_dims("squeeze", (dim,) if isinstance(dim, int) else dim, shape)
    key = tuple(0 if d in dims and n == 1 else slice(None) for d, n in enumerate(shape))
    return _slice(input, key=key)


@public()
def expand(self: Tensor, *sizes: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """A view in which dimensions of size 1 are repeated without copying; -1 keeps a size."""
    want, have = ints("expand", sizes if size is None else (size,)), self._data.shape
    lead = len(want) - len(have)
    if lead < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(want)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({len(have)}) of shape {tuple(have)}"
        )
    shape = []
    for i, n in enumerate(want):
        size = have[i - lead] if i >= lead else None
        if n == -1 and size is None:
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({n}) isn't allowed in a "
                f"leading, non-existing dimension {i}"
            )
        n = size if n == -1 and size is not None else n
        if n < 0 or (size is not None and size not in (1, n)):
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({n}) must match the existing size "
                f"({size}) at non-singleton dimension {i}. Target sizes: {list(want)}. Tensor "
                f"sizes: {list(have)}"
            )
        shape.append(n)
    return _expand(self, shape=tuple(shape))


@public(method=False)
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`input.expand(size)`."""
    return expand(input, *size)


@called("broadcast_to")
def _broadcast_to(self: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """`self.expand(size)`."""
    return expand(self, *ints("broadcast_to", sizes if size is None else (size,)))


attach("broadcast_to", _broadcast_to)


@public()
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`self.expand(other.shape)`."""
    return expand(self, other.shape)


@public()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` as one."""
    shape = input._data.shape
    a = errors.wrap_dim("flatten", start_dim, shape)
    b = errors.wrap_dim("flatten", end_dim, shape)
    if not shape:
        return reshape(input, 1)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if a == b:
        return input
    return reshape(input, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


@public()
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several of `sizes`, of which one may be -1."""
    shape = input._data.shape
    d = errors.wrap_dim("unflatten", dim, shape)
    if not len(sizes):
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        want = _resolve("unflatten", tuple(sizes), (shape[d],))
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} "
            f"({shape[d]}) in the input tensor"
        ) from None
    return view(input, (*shape[:d], *want, *shape[d + 1 :]))


@public()
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension; a view of a contiguous tensor."""
    return reshape(input, -1)


def resize(self: Tensor, *sizes: Any) -> Tensor:
    """`self.view(sizes)`; deprecated in PyTorch too."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=users_level())
    want = ints("resize", sizes)
    if math.prod(want) != self._data.size:
        raise RuntimeError(
            f"resize: requested resize to {'x'.join(map(str, want))} ({math.prod(want)} elements "
            f"in total), but the given tensor has a size of {tuple(self.shape)} "
            f"({self._data.size} elements)"
        )
    return reshape(self.contiguous(), want)  # type: ignore[attr-defined]


def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """`self.view(tensor.shape)`; deprecated in PyTorch too."""
    return resize(self, *tensor._data.shape)


attach("resize", resize)
attach("resize_as", resize_as)


def metadata_in_place(op: ViewOp, name: str, derive: Any) -> None:
    """`transpose_` and its like: the tensor itself gets the view's geometry."""

    @functools.wraps(derive)
    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        view = derive(self, *args, **kwargs)._view
        return op.inplace(self, **view.params)

    change.__name__ = f"{name}_"
    attach(f"{name}_", change)


def _t_in_place(self: Tensor) -> Tensor:
    n = self._data.ndim
    return t(self) if n > 1 else permute_op(self, dims=tuple(range(n)))


for _name in ("transpose", "swapdims"):
    metadata_in_place(permute_op, _name, transpose)
metadata_in_place(permute_op, "swapaxes", PUBLIC["swapaxes"])
metadata_in_place(permute_op, "t", _t_in_place)
metadata_in_place(_slice, "unsqueeze", unsqueeze)
metadata_in_place(_slice, "squeeze", squeeze)
