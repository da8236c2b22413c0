"""Views: operators that change metadata and share the storage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import ViewOp, alias, primitive, share
from ..op import view as declare
from ..runtime import host
from ..tensor import Tensor, wrap
from .api import PUBLIC, attach, public


def ints(name: str, args: tuple) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = tuple(args[0])
    try:
        return tuple(int(a) if isinstance(a, Tensor) else a.__index__() for a in args)
    except AttributeError:
        raise TypeError(f"{name}(): expected integers, got {args}") from None


# -- records ----------------------------------------------------------------------------------


@declare(vjp=lambda g, dims: permute_op(g, dims=tuple(np.argsort(dims).tolist())))
def permute(x: Any, *, dims: tuple[int, ...]) -> Any:
    return x.transpose(dims)


permute_op = permute


@declare(name="view", vjp=lambda g, x_shape: g.reshape(x_shape))
def _view(x: Any, *, shape: tuple[int, ...]) -> Any:
    if x.__class__ is not np.ndarray:
        return x.reshape(shape)
    return np.reshape(x, shape, copy=False)


@declare(name="expand", vjp=lambda g: g)  # the engine undoes the broadcast
def _expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    if x.__class__ is np.ndarray:
        return np.lib.stride_tricks.as_strided(
            x, shape, _broadcast_strides(x.shape, x.strides, shape)
        )
    return x.strided(shape, _broadcast_strides(x.shape, x.strides, shape), x.offset)


def _broadcast_strides(have: tuple, strides: tuple, shape: tuple) -> tuple[int, ...]:
    lead = len(shape) - len(have)
    return (0,) * lead + tuple(
        0 if n == 1 != m else s for n, s, m in zip(have, strides, shape[lead:], strict=True)
    )


@declare(name="slice", vjp=lambda g, x_shape, key: put_back(g, x_shape, _slice, key=key))
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
)
def view_backward(g: Any, *, shape: tuple, view: ViewOp, params: dict) -> Any:
    out = host.zeros(shape, g.dtype)
    target = view.cpu(out, **params)  # type: ignore[misc]
    if view is _unfold:  # windows overlap, but not at one position inside them
        for i in range(target.shape[-1]):
            target[..., i] += g[..., i]
    else:
        target[...] = g
    return out


@declare(
    name="diagonal",
    vjp=lambda g, x_shape, offset, dim1, dim2: put_back(
        g, x_shape, _diagonal, offset=offset, dim1=dim1, dim2=dim2
    ),
)
def _diagonal(x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    rows, cols = x.shape[dim1], x.shape[dim2]
    n = max(0, min(rows + min(offset, 0), cols - max(offset, 0)))
    start = [slice(None)] * len(x.shape)
    if n:
        start[dim1], start[dim2] = slice(max(-offset, 0), None), slice(max(offset, 0), None)
    x = x[tuple(start)]
    keep = [d for d in range(len(x.shape)) if d not in (dim1, dim2)]
    shape = (*(x.shape[d] for d in keep), n)
    strides = (*(x.strides[d] for d in keep), x.strides[dim1] + x.strides[dim2])
    return _strided(x, shape, strides)


@declare(
    name="unfold",
    vjp=lambda g, x_shape, dim, size, step: put_back(
        g, x_shape, _unfold, dim=dim, size=size, step=step
    ),
)
def _unfold(x: Any, *, dim: int, size: int, step: int) -> Any:
    if not len(x.shape):
        return _strided(x, (size,), (x.itemsize if x.__class__ is np.ndarray else 1,))
    n = (x.shape[dim] - size) // step + 1
    shape = (*x.shape[:dim], n, *x.shape[dim + 1 :], size)
    strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
    return _strided(x, shape, strides)


def _strided(x: Any, shape: tuple, strides: tuple) -> Any:
    """Another geometry from the same first element; strides in the array's own unit."""
    if x.__class__ is np.ndarray:
        return np.lib.stride_tricks.as_strided(x, shape, strides)
    return x.strided(shape, strides, x.offset)


def _as_strided_vjp(
    g: Tensor, x_shape: tuple, geometry: tuple, size: tuple, stride: tuple, shift: int
) -> Tensor:
    """Sum what lands on each element of memory, then read it back through the input's geometry."""
    have = _reach(x_shape, geometry)
    low, high = min(0, shift), max(have, shift + _reach(size, stride), 1)
    memory = g.new_zeros(high - low)
    positions = memory.new_tensor(np.arange(high - low))  # int64, by NumPy
    where = positions.as_strided(size, stride, shift - low).reshape(-1)
    memory = memory.index_add(0, where, g.reshape(-1))
    out = memory.as_strided(tuple(x_shape), geometry, -low)
    shared = math.prod([n for n, s in zip(x_shape, geometry, strict=True) if s == 0])
    return out / shared if shared > 1 else out


def _reach(shape: tuple, strides: tuple) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


@declare(name="as_strided", vjp=_as_strided_vjp)
def _as_strided(x: Any, *, geometry: tuple, size: tuple, stride: tuple, shift: int) -> Any:
    if x.__class__ is not np.ndarray:
        return x.strided(size, stride, x.offset + shift)
    item = x.itemsize
    start = np.lib.stride_tricks.as_strided(x, (), ())
    if shift:
        line = np.lib.stride_tricks.as_strided(
            x, (abs(shift) + 1,), (item if shift > 0 else -item,)
        )
        start = line[abs(shift) :].reshape(1)[0:1].reshape(())
    return np.lib.stride_tricks.as_strided(start, size, tuple(s * item for s in stride))


def _to_complex(d: dtypes.DType) -> dtypes.DType:
    return d.to_complex()


def _to_real(d: dtypes.DType) -> dtypes.DType:
    return d.to_real()


@declare(name="real", result=_to_real, vjp=lambda g: g.to(g.dtype.to_complex()))
def _real(x: Any) -> Any:
    return x.real


@declare(name="imag", result=_to_real, vjp=lambda g: g.to(g.dtype.to_complex()) * 1j)
def _imag(x: Any) -> Any:
    return x.imag


@declare(name="view_as_real", result=_to_real, vjp=lambda g: view_as_complex(g.contiguous()))
def _view_as_real(x: Any) -> Any:
    half = x.real
    return np.lib.stride_tricks.as_strided(half, (*half.shape, 2), (*half.strides, half.itemsize))


@declare(name="view_as_complex", result=_to_complex, vjp=lambda g: view_as_real(g))
def _view_as_complex(x: Any) -> Any:
    return x.view(np.complex64 if x.itemsize == 4 else np.complex128)[..., 0]


# -- public -----------------------------------------------------------------------------------


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


def view(self: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape, or read as another dtype.

    Raises RuntimeError where the elements' strides do not allow it: use `reshape`.
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.DType):
        return view_dtype(self, shape[0])
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
    share(out, self, lambda base: view_dtype(base, dtype), {})
    return out


@public()
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape: a view where possible, else a copy."""
    want = _resolve("reshape", ints("reshape", shape), input._data.shape)
    try:
        return _view(input, shape=want)
    except ValueError:
        return _view(input.clone(memory_format="contiguous"), shape=want)  # type: ignore[attr-defined]


@public()
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of `other`."""
    return reshape(self, other.shape)


@public("swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    n = input._data.ndim
    a = errors.wrap_dim("transpose", dim0, input._data.shape)
    b = errors.wrap_dim("transpose", dim1, input._data.shape)
    dims = list(range(n))
    if n:
        dims[a], dims[b] = dims[b], dims[a]
    return permute_op(input, dims=tuple(dims))


@public()
def permute(input: Tensor, *dims: Any) -> Tensor:  # type: ignore[no-redef]
    """A view with its dimensions in another order."""
    order = ints("permute", dims)
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


Tensor.T = property(_reversed)  # type: ignore[attr-defined]
Tensor.mT = property(_matrix_transpose)  # type: ignore[attr-defined]
Tensor.H = property(lambda self: _reversed(self).conj())  # type: ignore[attr-defined]
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
def expand(self: Tensor, *sizes: Any) -> Tensor:
    """A view in which dimensions of size 1 are repeated without copying; -1 keeps a size."""
    want, have = ints("expand", sizes), self._data.shape
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
        n = size if n == -1 else n
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


attach("broadcast_to", lambda self, *size: expand(self, *ints("broadcast_to", size)))


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


def index_of(name: str, index: Any, n: int, d: int, shape: tuple) -> int:
    """An index into a dimension of size n, counted from the front."""
    i = int(index)
    if not -n <= i < n:
        raise IndexError(
            f"{name}: index {i} is out of bounds for dimension {d} with size {n} of "
            f"shape {tuple(shape)}"
        )
    return i + n if i < 0 else i


@public()
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The view at one index of a dimension, without that dimension."""
    shape = input._data.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = errors.wrap_dim("select", dim, shape)
    i = index_of("select()", index, shape[d], d, shape)
    return _slice(input, key=(slice(None),) * d + (i,))


@public()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """The view of `length` elements of a dimension from `start` on."""
    shape = input._data.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d, start, n = errors.wrap_dim("narrow", dim, shape), int(start), 0
    n = shape[d]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"narrow: Dimension out of range (expected start in [{-n}, {n}], got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})."
        )
    return _slice(input, key=(slice(None),) * d + (slice(start, start + length),))


@public()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The view of a diagonal of two dimensions, as the last dimension."""
    shape = input._data.shape
    a = errors.wrap_dim("diagonal", dim1, shape)
    b = errors.wrap_dim("diagonal", dim2, shape)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(input, offset=offset, dim1=a, dim2=b)


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The view of all windows of `size` elements, `step` apart, as a new last dimension."""
    shape = self._data.shape
    d = errors.wrap_dim("unfold", dimension, shape)
    n = shape[d] if shape else 1
    if size < 0 or size > n:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {d} is {n} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    return _unfold(self, dim=d, size=size, step=step)


attach("unfold", unfold)


def multiple(parts: list[Tensor]) -> tuple[Tensor, ...]:
    """Mark views as results of one operator, which may not be changed in place when recorded."""
    for part in parts:
        part._view.forbidden = part._view.forbidden or "multi"  # type: ignore[union-attr]
    return tuple(parts)


def pieces(name: str, input: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    shape = input._data.shape
    if not shape:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor")
    d, start, found = errors.wrap_dim(name, dim, shape), 0, []
    for n in sizes:
        found.append(_slice(input, key=(slice(None),) * d + (slice(start, start + n),)))
        start += n
    return multiple(found)


@public(method=False)
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces: of one size, the last smaller, or of the sizes in a list."""
    if not tensor._data.shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    n = tensor._data.shape[errors.wrap_dim("split", dim, tensor._data.shape)]
    size = split_size_or_sections
    if isinstance(size, int):
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be positive, but got split_size={size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
        return pieces("split", tensor, sizes, dim)
    sizes = [int(s) for s in size]
    if sum(sizes) != n or any(s < 0 for s in sizes):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {dim}), but got split_sizes={sizes}"
        )
    return pieces("split", tensor, sizes, dim)


PUBLIC["split_with_sizes"] = split
attach("split", lambda self, split_size, dim=0: split(self, split_size, dim))
attach("split_with_sizes", lambda self, split_sizes, dim=0: split(self, split_sizes, dim))


@public()
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of consecutive pieces of equal size, the last smaller."""
    if not input._data.shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._data.shape[errors.wrap_dim("chunk", dim, input._data.shape)]
    size = -(-n // chunks)
    return pieces("chunk", input, [0] * chunks, dim) if n == 0 else split(input, size, dim)


@public()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces: that many of nearly equal size, or cut at the given indices."""
    if not input._data.shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    n = input._data.shape[errors.wrap_dim("tensor_split", dim, input._data.shape)]
    cut = indices_or_sections
    if isinstance(cut, Tensor):
        cut = cut.tolist()  # type: ignore[attr-defined]
    if isinstance(cut, int):
        if cut <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cut}")
        return pieces("tensor_split", input, [n // cut + (i < n % cut) for i in range(cut)], dim)
    edges = [0, *(min(max(i + n if i < 0 else i, 0), n) for i in cut), n]
    d = errors.wrap_dim("tensor_split", dim, input._data.shape)
    return multiple(
        [
            _slice(input, key=(slice(None),) * d + (slice(a, max(a, b)),))
            for a, b in zip(edges, edges[1:], strict=False)
        ]
    )


@public()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all slices of a dimension."""
    shape = input._data.shape
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = errors.wrap_dim("unbind", dim, shape)
    return multiple([select(input, d, i) for i in range(shape[d])])


def storage_offset(self: Tensor) -> int:
    """The position of the first element in the storage, in elements."""
    data = self._data
    if data.__class__ is not np.ndarray:
        return data.offset
    if self._storage is None or self._storage.owner is data:
        return 0
    owner = self._storage.owner
    start = owner.__array_interface__["data"][0] if owner.size else 0
    return (data.__array_interface__["data"][0] - start) // data.itemsize if data.size else 0


attach("storage_offset", storage_offset)


@public()
def stride(self: Tensor, dim: int | None = None) -> Any:
    """The distance in elements between neighbours along each dimension, or along `dim`."""
    data = self._data
    unit = data.itemsize if data.__class__ is np.ndarray else 1
    if data.size == 0 or 1 in data.shape:
        strides = _canonical_strides(data, unit)
    else:
        strides = tuple(s // unit for s in data.strides)
    if dim is None:
        return strides
    return strides[errors.wrap_dim("stride", dim, data.shape)]


def _canonical_strides(data: Any, unit: int) -> tuple[int, ...]:
    if not data.size:
        out, step = [], 1
        for n in reversed(data.shape):
            out.append(step)
            step *= max(n, 1)
        return tuple(reversed(out))
    return tuple(s // unit for s in data.strides)


@public()
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the storage with any shape and strides, in elements."""
    size, steps = tuple(size), tuple(stride)
    if len(size) != len(steps):
        raise RuntimeError(f"as_strided: mismatch in length of strides {steps} and shape {size}")
    if any(n < 0 for n in size) or any(s < 0 for s in steps):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got "
            f"strides: {list(steps)}"
        )
    have = input.storage_offset()  # type: ignore[attr-defined]
    offset = have if storage_offset is None else storage_offset
    held = storage_size(input)
    reach = _reach(size, steps)
    if offset < 0 or (reach and offset + reach > held):
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(steps)}, storage offset {offset}, and "
            f"itemsize {input.itemsize} requiring a storage size of "
            f"{(offset + reach) * input.itemsize} are out of bounds for storage of size "
            f"{held * input.itemsize}"
        )
    return _as_strided(
        input,
        geometry=input.stride(),
        size=size,
        stride=steps,  # type: ignore[attr-defined]
        shift=offset - have,
    )


def storage_size(t: Tensor) -> int:
    """The number of elements, of `t`'s dtype, in its storage."""
    owner = t.storage_.owner
    if owner.__class__ is np.ndarray:
        if not owner.size:
            return 0
        reach = sum((n - 1) * s for n, s in zip(owner.shape, owner.strides, strict=True))
        return (reach + owner.itemsize) // t.itemsize
    return owner.memory.nbytes // t.itemsize


@public()
def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as a real one with a last dimension of size 2."""
    if not input.dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input.dtype}")
    return _view_as_real(input)


@public()
def view_as_complex(input: Tensor) -> Tensor:
    """A real tensor with a last dimension of size 2 as a complex one."""
    shape, strides = input._data.shape, input.stride()  # type: ignore[attr-defined]
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for floating point tensors, but got a "
            f"tensor of scalar type: {input.dtype.name}"
        )
    if not shape or shape[-1] != 2:
        raise RuntimeError(
            "view_as_complex: Tensor must have a last dimension of size 2, got shape "
            f"{tuple(shape)}"
        )
    if strides[-1] != 1 or any(s % 2 for s, n in zip(strides[:-1], shape, strict=False) if n > 1):
        raise RuntimeError(
            "view_as_complex: Tensor must have a last dimension with stride 1, and "
            "even strides elsewhere"
        )
    return _view_as_complex(input)


@public(method=False)
def real(input: Tensor) -> Tensor:
    """The real part as a view; a real tensor as it is."""
    return _real(input) if input.dtype.is_complex else input


@public(method=False)
def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor as a view."""
    if not input.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _imag(input)


def _assign(part: Any) -> Any:
    return lambda self, value: part(self).copy_(value)


Tensor.real = property(real, _assign(real))  # type: ignore[attr-defined]
Tensor.imag = property(imag, _assign(imag))  # type: ignore[attr-defined]


def _metadata_in_place(op: ViewOp, name: str, derive: Any) -> None:
    """`transpose_` and its like: the tensor itself gets the view's geometry."""

    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        view = derive(self, *args, **kwargs)._view
        return op.inplace(self, **view.params)

    change.__name__ = f"{name}_"
    attach(f"{name}_", change)


for _op, _derive, _names in (
    (permute_op, transpose, ("transpose", "swapaxes", "swapdims")),
    (permute_op, t, ("t",)),
    (_slice, unsqueeze, ("unsqueeze",)),
    (_slice, squeeze, ("squeeze",)),
    (_as_strided, as_strided, ("as_strided",)),
):
    for _name in _names:
        _metadata_in_place(_op, _name, _derive)
