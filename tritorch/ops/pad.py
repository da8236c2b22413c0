"""Padding: with a constant, or with what the tensor holds near its borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..op import Images, primitive
from ..runtime import host
from ..tensor import Tensor
from .api import FUNCTIONAL, public
from .autocast import listed
from .join import copy_part

ALL = slice(None)
Pairs = tuple[tuple[int, int], ...]


def _meta(x: Tensor, *, pad: Pairs, value: Any) -> tuple:
    shape = tuple(n + a + b for n, (a, b) in zip(x._data.shape, pad, strict=True))
    if any(n < 0 for n in shape):
        d = next(d for d, n in enumerate(shape) if n < 0)
        raise RuntimeError(
            f"constant_pad_nd: The input size {x._data.shape[d]}, plus negative padding "
            f"{pad[d][0]} and {pad[d][1]}, resulted in a negative output size, which is invalid. "
            f"Check dimension {d} of your input of shape {tuple(x.shape)}."
        )
    return shape, x.dtype


def _vjp(g: Tensor, pad: Pairs) -> Tensor:
    return constant_op(g, pad=tuple((-a, -b) for a, b in pad), value=0)


@primitive(
    kind=Images,
    name="constant_pad_nd",
    meta=_meta,
    triton="pad.pad_constant",
    exact=True,
    vjp=_vjp,
    samples=lambda s: [
        s((2, 3), pad=((0, 0), (1, 2)), value=0.5),
        s((4, 3), pad=((-1, 1), (0, -1)), value=0.0),
        s((0,), pad=((1, 1),), value=2.0),
        s((2, 3, 2), pad=((1, 0), (0, 2), (1, 1)), value=0.0),
    ],
)
def constant_op(x: Any, *, pad: Pairs, value: Any) -> Any:
    """`x` with (before, after) elements of `value` at each dimension; negative ones crop."""
    out = host.images(tuple(n + a + b for n, (a, b) in zip(x.shape, pad, strict=True)), x.dtype, x)
    fill, rest = np.asarray(value).astype(x.dtype), out
    inner, source = [], []
    for d, (a, b) in enumerate(pad):
        m = rest.shape[d]
        lead = (ALL,) * d
        if a > 0:
            rest[(*lead, slice(0, a))] = fill
        if b > 0:
            rest[(*lead, slice(max(m - b, 0), m))] = fill
        inner.append(slice(max(a, 0), max(m - max(b, 0), max(a, 0))))
        source.append(slice(max(-a, 0), max(x.shape[d] + min(b, 0), max(-a, 0))))
        rest = rest[(*lead, inner[-1])]
    copy_part(rest, x[tuple(source)])
    return out


def _pairs(name: str, pad: Any, n: int) -> Pairs:
    """(before, after) for each dimension from PyTorch's list, which begins at the last one."""
    pad = [int(p) for p in pad]
    if len(pad) % 2:
        raise RuntimeError(f"{name}: Padding length must be divisible by 2, got {pad}")
    if len(pad) > 2 * n:
        raise RuntimeError(
            f"{name}: Padding length should be less than or equal to two times the input dimension "
            f"but got padding length {len(pad)} and input of dimension {n}"
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return ((0, 0),) * (n - len(pairs)) + tuple(reversed(pairs))


@public(method=False, out=True)
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """`input` with elements of `value` around it; `pad` as in `nn.functional.pad`."""
    if isinstance(value, Tensor):
        value = value.item()  # type: ignore[attr-defined]
    value = dtypes.held("constant_pad_nd", value, input.dtype)
    return constant_op(input, pad=_pairs("constant_pad_nd", pad, input._data.ndim), value=value)


MODES = ("reflect", "replicate", "circular")

# -- borders: one copy, and the borders from it --------------------------------------------------


def _borders(mode: str, d: int, m: int, before: int, after: int) -> Iterator[tuple[tuple, tuple]]:
    """(where a border lies, what of the rest it repeats) along dimension `d` of `m` elements."""
    end, lead = before + m, (ALL,) * d
    if mode == "reflect":
        stop = end - 2 - after
        left = slice(2 * before, before, -1)
        right = slice(end - 2, None if stop < 0 else stop, -1)
    elif mode == "replicate":
        left, right = slice(before, before + 1), slice(end - 1, end)
    else:
        left, right = slice(m, m + before), slice(before, before + after)
    if before:
        yield (*lead, slice(0, before)), (*lead, left)
    if after:
        yield (*lead, slice(end, end + after)), (*lead, right)


def _interior(shape: Sequence[int], pad: Pairs) -> tuple[tuple, tuple, list[int]]:
    """Where in the result the input lies, which part of the input, and the sizes of that."""
    inner, source, sizes = [], [], []
    for n, (a, b) in zip(shape, pad, strict=True):
        m = n + min(a, 0) + min(b, 0)
        inner.append(slice(max(a, 0), max(a, 0) + m))
        source.append(slice(max(-a, 0), max(-a, 0) + m))
        sizes.append(m)
    return tuple(inner), tuple(source), sizes


def _border_steps(shape: Sequence[int], pad: Pairs, mode: str) -> list[tuple[tuple, tuple]]:
    inner, _, sizes = _interior(shape, pad)
    steps = []
    for d, (a, b) in enumerate(pad):
        rest = inner[d + 1 :]
        for to, of in _borders(mode, d, sizes[d], max(a, 0), max(b, 0)):
            steps.append(((*to, *rest), (*of, *rest)))
    return steps


def _cropped(shape: Sequence[int], pad: Pairs, mode: str) -> list[tuple[int, np.ndarray]]:
    """Dimensions cropped at one side and extended at the other, and which element each place holds:
    edges are those of the whole, unless borders continue from end to start."""
    found = []
    for d, (n, (a, b)) in enumerate(zip(shape, pad, strict=True)):
        if mode != "circular" and min(a, b) < 0 < max(a, b):
            i = np.arange(n + a + b) - a
            if mode == "reflect":
                i = n - 1 - np.abs(n - 1 - np.abs(i))
            found.append((d, np.clip(i, 0, n - 1)))
    return found


def _without(pad: Pairs, dims: Sequence[int]) -> Pairs:
    return tuple((0, 0) if d in dims else p for d, p in enumerate(pad))


def _border_meta(x: Tensor, *, pad: Pairs, mode: str) -> tuple:
    return tuple(n + a + b for n, (a, b) in zip(x._data.shape, pad, strict=True)), x.dtype


def _border_vjp(g: Tensor, x_shape: tuple, pad: Pairs, mode: str) -> Any:
    return border_backward(g, shape=tuple(x_shape), pad=pad, mode=mode)


@primitive(
    kind=Images,
    name="pad_borders",
    meta=_border_meta,
    triton="border.pad",
    exact=True,
    vjp=_border_vjp,
    samples=lambda s: [
        s((2, 4), pad=((0, 0), (3, 2)), mode="reflect"),
        s((3, 4), pad=((2, 1), (-1, 2)), mode="reflect"),
        s((2, 3), pad=((1, 4), (2, 0)), mode="replicate"),
        s((3, 4), pad=((3, 1), (0, 4)), mode="circular"),
    ],
)
def border_op(x: Any, *, pad: Pairs, mode: str) -> Any:
    """`x` within borders that repeat it."""
    cropped = _cropped(x.shape, pad, mode)
    for d, index in cropped:
        x = x.take(index, axis=d)
    pad = _without(pad, [d for d, _ in cropped])
    inner, source, _ = _interior(x.shape, pad)
    out = host.images(tuple(n + a + b for n, (a, b) in zip(x.shape, pad, strict=True)), x.dtype, x)
    copy_part(out[inner], x[source])
    for to, of in _border_steps(x.shape, pad, mode):
        np.copyto(out[to], out[of])
    return out


def _border_backward_meta(g: Tensor, *, shape: tuple, pad: Pairs, mode: str) -> tuple:
    return shape, g.dtype


@primitive(
    kind=Images,
    name="pad_borders_backward",
    meta=_border_backward_meta,
    triton="border.pad_backward",
    vjp=lambda g, pad, mode: border_op(g, pad=pad, mode=mode),
    samples=lambda s: [
        s((2, 9), shape=(2, 4), pad=((0, 0), (3, 2)), mode="reflect"),
        s((6, 5), shape=(3, 4), pad=((2, 1), (-1, 2)), mode="reflect"),
        s((7, 5), shape=(2, 3), pad=((1, 4), (2, 0)), mode="replicate"),
        s((7, 8), shape=(3, 4), pad=((3, 1), (0, 4)), mode="circular"),
    ],
)
def border_backward(g: Any, *, shape: tuple, pad: Pairs, mode: str) -> Any:
    """The transpose: borders are added to what they repeat."""
    total = g.copy()
    cropped = _cropped(shape, pad, mode)
    for d, index in cropped:
        rows = np.zeros((shape[d], *total.shape[:d], *total.shape[d + 1 :]), g.dtype)
        np.add.at(rows, index, np.moveaxis(total, d, 0))
        total = np.ascontiguousarray(np.moveaxis(rows, 0, d))
    pad = _without(pad, [d for d, _ in cropped])
    for to, of in reversed(_border_steps(shape, pad, mode)):
        part, target = total[to], total[of]
        for d, (n, m) in enumerate(zip(part.shape, target.shape, strict=True)):
            if n != m:
                part = part.sum(axis=d, keepdims=True)
        target += part
    inner, source, _ = _interior(shape, pad)
    out = host.zeros(shape, g.dtype)
    out[source] = total[inner]
    return out


def _check_borders(mode: str, x: Tensor, pad: Sequence[int]) -> None:
    """What PyTorch's three modes that read the tensor ask of it."""
    n, k, shape = x._data.ndim, len(pad) // 2, list(x._data.shape)
    if k not in (1, 2, 3) or n not in (k + 1, k + 2):
        raise NotImplementedError(
            f"pad: Padding size {len(pad)} is not supported for {n}D input tensor of shape "
            f"{tuple(shape)}; mode '{mode}' pads the last 1, 2 or 3 dimensions of a tensor with "
            "one or two more"
        )
    if any(not m for m in shape[1 if n == k + 2 else 0 :]):
        raise RuntimeError(
            f"pad: Expected {k + 1}D or {k + 2}D (batch mode) tensor with possibly 0 batch size "
            f"and other non-zero dimensions for input, but got: {shape}"
        )
    if mode == "replicate" and x.dtype.name == "bool":
        raise NotImplementedError(f"\"replication_pad{k}d\" not implemented for 'Bool'")
    for i in range(k):
        before, after, m = pad[2 * i], pad[2 * i + 1], shape[n - 1 - i]
        if mode == "reflect" and (before >= m or after >= m):
            raise RuntimeError(
                "pad: Padding size should be less than the corresponding input dimension, but "
                f"got: padding ({before}, {after}) at dimension {n - 1 - i} of input {shape}"
            )
        left = m + min(before, 0) + min(after, 0)
        if mode == "circular" and (before > left or after > left):
            raise RuntimeError(
                f"pad: Padding value causes wrapping around more than once: ({before}, {after}) at "
                f"dimension {n - 1 - i} of input {shape}"
            )
        if m + before + after < 1:
            raise RuntimeError(
                f"pad: input of shape {shape} is too small for padding ({before}, {after}) at "
                f"dimension {n - 1 - i}"
            )


@listed
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """`input` made larger, or smaller, at its borders.

    `pad` is (before, after) of the last dimension, then of the one before it, and so on; negative
    sizes crop. `mode` is "constant" (elements of `value`, 0), "reflect", "replicate" or
    "circular"; the last three pad the last 1, 2 or 3 dimensions.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> torch.nn.functional.pad(x, (2, 1), mode="reflect").tolist()
        [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]
    """
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    pairs = _pairs("pad", pad, input._data.ndim)
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in MODES:
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    _check_borders(mode, input, [int(p) for p in pad])
    if mode == "circular":  # which PyTorch's composes into the ordinary order
        input = input.contiguous()  # type: ignore[attr-defined]
    return border_op(input, pad=pairs, mode=mode)


FUNCTIONAL["pad"] = pad
