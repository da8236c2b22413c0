"""The same elements in other places: flip, roll, repeat, grids, pixel and channel shuffles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import Images, primitive, same_as
from ..runtime import host, layout
from ..tensor import Tensor, from_data
from .api import FUNCTIONAL, attach, public
from .copy import copy_op
from .join import check_list, copy_part, stack
from .view import _expand, _slice, ints

ALL = slice(None)

# -- reversing and shifting ----------------------------------------------------------------------


def _flip_vjp(g: Tensor, dims: tuple) -> Any:
    return flip_op(g, dims=dims)


@primitive(
    name="flip",
    meta=same_as("x"),
    triton="copy.flip",
    exact=True,
    strided=True,
    vjp=_flip_vjp,
    samples=lambda s: [
        s((2, 3), dims=(0,)),
        s((2, 3, 4), dims=(0, 2)),
        s((), dims=()),
        s((0, 3), dims=(1,)),
    ],
)
def flip_op(x: Any, *, dims: tuple[int, ...]) -> Any:
    out = host.empty(x.shape, x.dtype, x)
    copy_part(out, np.flip(x, dims))
    return out


@public(method=False)
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """A copy with the order of the elements along `dims` reversed."""
    order = errors.wrap_dims("flip", ints("flip", (dims,)), input._data.shape)
    return flip_op(input, dims=order if input._data.ndim else ())


@public()
def fliplr(input: Tensor) -> Tensor:
    """`flip` along dimension 1."""
    if input._data.ndim < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, got shape {tuple(input.shape)}.")
    return flip_op(input, dims=(1,))


@public()
def flipud(input: Tensor) -> Tensor:
    """`flip` along dimension 0."""
    if input._data.ndim < 1:
        raise RuntimeError(f"flipud: Input must be >= 1-d, got shape {tuple(input.shape)}.")
    return flip_op(input, dims=(0,))


def _roll_vjp(g: Tensor, shifts: tuple, dims: tuple) -> Any:
    return roll_op(g, shifts=tuple(-s for s in shifts), dims=dims)


@primitive(
    kind=Images,
    name="roll",
    meta=same_as("x"),
    triton="copy.roll",
    exact=True,
    vjp=_roll_vjp,
    samples=lambda s: [
        s((5,), shifts=(2,), dims=(0,)),
        s((3, 4), shifts=(-1, 5), dims=(0, 1)),
        s((0, 3), shifts=(1,), dims=(1,)),
    ],
)
def roll_op(x: Any, *, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Any:
    if len(dims) != 1 or not x.size:
        return np.roll(x, shifts, dims)
    (d,), out = dims, host.images(x.shape, x.dtype, x)
    n = x.shape[d]
    at, lead = shifts[0] % n, (ALL,) * dims[0]
    copy_part(out[(*lead, slice(at, n))], x[(*lead, slice(0, n - at))])
    copy_part(out[(*lead, slice(0, at))], x[(*lead, slice(n - at, n))])
    return out


@public()
def roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    """A copy shifted along `dims`; what passes the end comes back at the start.

    Without `dims` the tensor is shifted as if flattened.
    """
    by = ints("roll", (shifts,) if isinstance(shifts, int | Tensor) else (tuple(shifts),))
    along = (dims,) if isinstance(dims, int) else tuple(dims)
    if not by:
        raise RuntimeError("roll: `shifts` required")
    if not along and len(by) == 1:
        return roll_op(input.reshape(-1), shifts=by, dims=(0,)).reshape(input.shape)  # type: ignore
    if len(by) != len(along):
        raise RuntimeError(
            f"roll: shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}"
        )
    if not input._data.ndim:
        raise IndexError(f"roll: Dimension specified as {along[0]} but tensor has no dimensions")
    along = tuple(errors.wrap_dim("roll", d, input._data.shape) for d in along)
    return roll_op(input, shifts=by, dims=along)


@public()
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned by `k` quarter turns from the first of two dimensions to the second."""
    n = input._data.ndim
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"rot90: expected total dims >= 2, but got total dims = {n}")
    a, b = (errors.wrap_dim("rot90", d, input._data.shape) for d in dims)
    if a == b:
        raise RuntimeError(
            f"rot90: expected rotation dims to be different, but got dim0 = {dims[0]} and "
            f"dim1 = {dims[1]}"
        )
    turns = k % 4
    if turns == 0:
        return input.clone()  # type: ignore[attr-defined]
    if turns == 2:
        return flip_op(input, dims=(a, b))
    flipped = flip_op(input, dims=(b if turns == 1 else a,))
    return flipped.transpose(a, b)


# -- repeating -----------------------------------------------------------------------------------


def repeat(self: Tensor, *sizes: Any, repeats: Any = None) -> Tensor:
    """A copy tiled `repeats` times along each dimension; new dimensions come in front.

    Example:
        >>> import tritorch as torch
        >>> torch.tensor([1, 2]).repeat(2, 2).tolist()
        [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    times, shape = ints("repeat", sizes if repeats is None else (repeats,)), tuple(self._data.shape)
    lead = len(times) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"repeat: Number of dimensions of repeat dims can not be smaller than number of "
            f"dimensions of tensor, got {times} for shape {shape}"
        )
    if any(t < 0 for t in times):
        raise RuntimeError(
            f"repeat: Trying to create tensor with negative dimension: repeats {times}"
        )
    shape = (1,) * lead + shape
    if all(t == 1 for t in times):
        return self.clone().reshape(shape)  # type: ignore[attr-defined]
    key: list[Any] = [None] * lead
    wide = list(times[:lead])
    for t, n in zip(times[lead:], shape[lead:], strict=True):
        key += [ALL] if t == 1 else [None, ALL]
        wide += [n] if t == 1 else [t, n]
    spread = _expand(_slice(self, key=tuple(key)), shape=tuple(wide))
    out: Any = spread.reshape(tuple(t * n for t, n in zip(times, shape, strict=True)))
    return out.contiguous()  # a copy also of one element, of which `out` is a view


@public(method=False)
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """`repeat`, with as many ones put before `dims` as the tensor has more dimensions."""
    times = ints("tile", (dims,))
    return repeat(input, (1,) * (input._data.ndim - len(times)) + times)


@public()
def repeat_interleave(
    input: Any = None,
    repeats: Any = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element, or slice along `dim`, repeated: the same number of times or each its own.

    With `repeats` alone: the positions 0, 1, ... each as often as the tensor says.

    Example:
        >>> import tritorch as torch
        >>> torch.repeat_interleave(torch.tensor([5, 6]), torch.tensor([1, 3])).tolist()
        [5, 6, 6, 6]
    """
    if repeats is None or input is None:
        return _positions(input if repeats is None else repeats, output_size)  # type: ignore
    x = input.reshape(-1) if dim is None else input  # type: ignore[attr-defined]
    d = errors.wrap_dim("repeat_interleave", dim or 0, x._data.shape)
    if not x._data.ndim:
        x = x.reshape(1)  # type: ignore[attr-defined]
    n = x._data.shape[d]
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError(f"repeat_interleave: Repeats must be non-negative, got {repeats}")
        return _each(x, d, repeats)
    if not isinstance(repeats, Tensor):
        repeats = from_data(np.asarray(repeats))
    if repeats.ndim > 1:
        raise RuntimeError(
            f"repeat_interleave: repeats must be 0-dim or 1-dim tensor, got {tuple(repeats.shape)}"
        )
    if repeats.ndim == 0 or repeats._data.shape[0] == 1:
        repeats = repeats.reshape(1).expand(n)  # type: ignore[attr-defined]
    if repeats._data.shape[0] != n:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim, but got "
            f"repeats.size(0) = {repeats._data.shape[0]} and input.size({d}) = {n}"
        )
    return x.index_select(d, _positions(repeats, output_size))  # type: ignore[attr-defined]


def _each(x: Tensor, d: int, times: int) -> Tensor:
    shape = tuple(x._data.shape)
    wide = _slice(x, key=(ALL,) * (d + 1) + (None,))
    wide = _expand(wide, shape=(*shape[: d + 1], times, *shape[d + 1 :]))
    out = wide.reshape((*shape[:d], shape[d] * times, *shape[d + 1 :]))
    return out if out._view is None else out.clone()  # as with one repetition


def _positions(repeats: Tensor, size: int | None) -> Tensor:
    if repeats.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            f"repeat_interleave: repeats has to be Long or Int tensor, got {repeats.dtype}"
        )
    if repeats.ndim != 1:
        raise RuntimeError(
            f"repeat_interleave: repeat_interleave only accept 1D vector as repeat, got "
            f"{tuple(repeats.shape)}"
        )
    times = repeats.detach().cpu()._data  # type: ignore[attr-defined]
    if times.size and times.min() < 0:
        raise RuntimeError("repeat_interleave: repeats can not be negative")
    if size is not None and size != times.sum():
        raise RuntimeError(
            f"repeat_interleave: Allocated size does not match required size: {size}, the repeats "
            f"sum to {times.sum()}"
        )
    found = np.repeat(np.arange(times.size, dtype=times.dtype), times)
    return from_data(found).to(repeats.device)  # type: ignore[attr-defined]


# -- grids ---------------------------------------------------------------------------------------


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors expanded to their common shape."""
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    shape = errors.broadcast_shapes("broadcast_tensors", *(t._data.shape for t in found))
    return tuple(_expand(t, shape=shape) for t in found)


@public(method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid from vectors: views, one for each vector.

    `indexing` "ij" (the default) numbers the dimensions in the order of the vectors; "xy" swaps
    the first two.
    """
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    found = check_list("meshgrid", found)
    if not found:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in found:
        if t._data.ndim > 1:
            raise RuntimeError(
                f"meshgrid: Expected 0D or 1D tensor in the tensor list but got: {tuple(t.shape)}"
            )
        if t.dtype is not found[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
        if t.device != found[0].device:
            raise RuntimeError("meshgrid expects all tensors to have the same device")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    if indexing is None:
        errors.warn(
            "meshgrid: give the indexing: it is 'ij' here, 'xy' in NumPy; a later release will "
            "require it"
        )
    swap = indexing == "xy" and len(found) > 1
    if swap:
        found[:2] = found[1::-1]
    shape = tuple(t._data.size for t in found)
    grids = [
        _expand(t.reshape((-1,) + (1,) * (len(found) - 1 - i)), shape=shape)  # type: ignore
        for i, t in enumerate(found)
    ]
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


@public(method=False)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All tuples of one element of each vector, a row each; of one vector, itself."""
    for t in tensors:
        if t._data.ndim != 1:
            raise RuntimeError(
                f"cartesian_prod: Expect a 1D vector, but got shape {tuple(t.shape)}"
            )
    if len(tensors) == 1:
        return tensors[0]
    return stack(meshgrid(*tensors, indexing="ij"), -1).reshape(-1, len(tensors))  # type: ignore


@public()
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector in order of their positions, a row each."""
    if input._data.ndim != 1:
        raise RuntimeError(f"combinations: Expect a 1D vector, but got shape {tuple(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)  # type: ignore[attr-defined]
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input._data.shape[0]), r)), np.int64).reshape(-1, r)
    return input[from_data(rows).to(input.device)]  # type: ignore[attr-defined, index]


@public(method=False, out=True)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix whose columns are the powers of a vector, from the highest down to 0."""
    if x._data.ndim != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {tuple(x.shape)}.")
    n = x._data.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {n}")
    wide = x if x.dtype.category else x.to(dtypes.int64)  # type: ignore[attr-defined]
    powers = from_data(np.arange(n, dtype=np.int64)).to(x.device)  # type: ignore[attr-defined]
    out = wide.unsqueeze(1) ** powers
    return out if increasing else out.flip(1)


# -- images --------------------------------------------------------------------------------------


def _image(name: str, x: Tensor, factor: int, what: str) -> tuple[tuple[int, ...], int, int, int]:
    shape = tuple(x._data.shape)
    if len(shape) < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {len(shape)} "
            f"dimension(s): {shape}"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {what}, but got {factor}")
    return shape[:-3], *shape[-3:]


def _as_images(x: Tensor, input: Tensor, order: tuple[int, ...]) -> Tensor:
    """The pieces `x` of images, copied in this order if the channels of `input` come last."""
    last = input._data.ndim == 4 and layout.channels_last(input._data) is not None
    return copy_op(x, order=order, dtype=x.dtype) if last else x


@public(method=False)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """`(*, C r^2, H, W)` as `(*, C, H r, W r)`: channels become sub-pixels.

    Source: Shi et al., "Real-time single image and video super-resolution", 2016.
    """
    r = upscale_factor
    lead, c, h, w = _image("pixel_shuffle", input, r, "upscale_factor")
    if c % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    x = input.reshape(*lead, c // (r * r), r, r, h, w)  # type: ignore[attr-defined]
    n = len(lead)
    x = x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    x = _as_images(x, input, (0, 2, 3, 4, 5, 1))
    return x.reshape(*lead, c // (r * r), h * r, w * r)


@public(method=False)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """`(*, C, H r, W r)` as `(*, C r^2, H, W)`: the inverse of `pixel_shuffle`."""
    r = downscale_factor
    lead, c, h, w = _image("pixel_unshuffle", input, r, "downscale_factor")
    for size, name, at in ((h, "height", -2), (w, "width", -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({at})={size} is not divisible by {r}"
            )
    x = input.reshape(*lead, c, h // r, r, w // r, r)  # type: ignore[attr-defined]
    n = len(lead)
    x = x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    x = _as_images(x, input, (0, 4, 5, 1, 2, 3))
    return x.reshape(*lead, c * r * r, h // r, w // r)


@public("native_channel_shuffle", method=False)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`(N, C, *)` with the channels of `groups` groups interleaved.

    Source: Zhang et al., "ShuffleNet", 2017, section 3.1.
    """
    shape = tuple(input._data.shape)
    if len(shape) < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}"
        )
    c = shape[1]
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"channel_shuffle: Number of groups to divide channels in must be positive and divide "
            f"the number of channels; got {groups} for {c} channels"
        )
    x = input.reshape(shape[0], groups, c // groups, *shape[2:]).transpose(1, 2)  # type: ignore
    return _as_images(x, input, (0, 3, 4, 1, 2)).reshape(shape)  # type: ignore[attr-defined]


for _f in (pixel_shuffle, pixel_unshuffle, channel_shuffle):
    FUNCTIONAL[_f.__name__] = _f
FUNCTIONAL["native_channel_shuffle"] = channel_shuffle


def _spread(f: Any) -> Any:
    """The method form: `x.f(0, 1)` and `x.f((0, 1))`."""

    def method(self: Tensor, *order: Any, dims: Any = None) -> Tensor:
        if dims is None:
            dims = order[0] if len(order) == 1 else order
        return f(self, dims)

    method.__name__, method.__doc__ = f.__name__, f.__doc__
    return method


attach("repeat", repeat)
attach("flip", _spread(flip))
attach("tile", _spread(tile))
