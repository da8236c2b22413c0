"""Fractional max pooling: windows of one size at distances that vary by chance (Graham, 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .pooling import Sizes, publish, tuple_of
from .random import rand


def _starts(samples: np.ndarray, size: int, out: int, kernel: int) -> np.ndarray:
    """Where the windows begin along one dimension, for each sample: (..., out)."""
    steps = np.arange(out, dtype=samples.dtype)
    alpha = samples.dtype.type((size - kernel) / (out - 1) if out > 1 else 0)
    u = samples[..., None]
    starts = ((steps + u) * alpha).astype(np.int64) - (u * alpha).astype(np.int64)
    starts[..., -1] = size - kernel
    return starts


def _places(
    samples: np.ndarray, size: Sequence[int], out: Sequence[int], kernel: Sequence[int]
) -> np.ndarray:
    """The index in the plane of each element of each window: (N, C, *out, elements)."""
    n = len(size)
    order = range(n) if n == 3 else (1, 0)  # PyTorch's samples begin with the width in images
    total = np.zeros((*samples.shape[:2], *(1,) * (2 * n)), np.int64)
    for d, at in enumerate(order):
        starts = _starts(samples[..., at], size[d], out[d], kernel[d])
        one = starts[..., None] + np.arange(kernel[d])
        shape = [1] * (2 * n)
        shape[d], shape[n + d] = out[d], kernel[d]
        total = total + one.reshape(*samples.shape[:2], *shape) * math.prod(size[d + 1 :])
    return total.reshape(*samples.shape[:2], *out, math.prod(kernel))


def _output_size(name: str, n: int, size: Sequence[int], output_size: Any, ratio: Any) -> tuple:
    if output_size is None and ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is not None:
        return tuple_of(name, "output_size", output_size, n)
    ratios = (ratio,) * n if isinstance(ratio, float) else tuple(ratio)
    if len(ratios) != n:
        raise ValueError(
            f"{name} requires output_ratio to either be a single Int or tuple of Ints."
        )
    return tuple(int(m * r) for m, r in zip(size, ratios, strict=True))


def _check(name: str, n: int, input: Tensor, kernel: Sequence[int], out: Sequence[int]) -> None:
    shape = input._data.shape
    if len(shape) not in (n + 1, n + 2) or 0 in shape[-n - 1 :]:
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor with non-zero size for non-batch "
            f"dimensions, but got: {list(shape)}"
        )
    for m, k, o in zip(shape[-n:], kernel, out, strict=True):
        if k <= 0 or o <= 0:
            raise RuntimeError(
                f"{name}(): kernel_size and output_size must be greater than zero, got "
                f"{tuple(kernel)} and {tuple(out)}"
            )
        if o + k - 1 > m:
            raise RuntimeError(
                f"{name}(): pool size {k} too large relative to input size {m} for output size {o}"
            )


def _fractional(n: int, with_indices: bool) -> Callable:
    name = f"fractional_max_pool{n}d"

    def function(
        input: Tensor,
        kernel_size: Sizes,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        size = input._data.shape[-n:]
        out = _output_size(name, n, size, output_size, output_ratio)
        kernel = tuple_of(name, "kernel_size", kernel_size, n)
        _check(name, n, input, kernel, out)
        x = input if input._data.ndim == n + 2 else input[None]
        lead = x._data.shape[:2]
        samples = _random_samples
        if samples is None:
            samples = rand(*lead, n, dtype=input.dtype, device=input.device)
        places = _places(samples.numpy(force=True), size, out, kernel)
        where = x.new_tensor(places.reshape(*lead, math.prod(places.shape[2:])), dtype=dtypes.int64)
        flat = x.reshape(*lead, math.prod(size)).gather(2, where)
        values, at = flat.reshape(places.shape).max(-1)
        indices = where.reshape(places.shape).gather(-1, at[..., None])[..., 0]
        if x is not input:
            values, indices = values[0], indices[0]
        return (values, indices) if return_indices or with_indices else values

    function.__name__ = function.__qualname__ = name + ("_with_indices" if with_indices else "")
    function.__doc__ = "The maxima of windows whose distances vary by chance."
    return function


for _n in (2, 3):
    publish(_fractional(_n, False), False)
    publish(_fractional(_n, True), False)
