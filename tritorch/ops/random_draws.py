"""Draws whose parameters are tensors: `normal`, `bernoulli`, `multinomial` and their like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..device import placed
from ..dtypes import DType
from ..tensor import Tensor
from .api import PUBLIC, attach, write_out
from .create import finish
from .generator import take
from .random import (
    Blank,
    bernoulli_op,
    bernoulli_scalar,
    binomial_op,
    draw,
    multinomial_op,
    need_floating,
    normal_op,
    poisson_op,
    random_like,
)
from .view import ints


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal numbers; `mean` and `std` are numbers with a `size`, or tensors that broadcast."""
    if not isinstance(std, Tensor) and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not given:
        kind = dtype or (dtypes.get_default_dtype() if out is None else out.dtype)
        need_floating("normal", kind)
        place = placed(device)
        like = Blank(ints("normal", (size,)), kind, place)
        made = random_like(normal_op, like, generator, mean=float(mean), std=float(std))
    else:
        if isinstance(std, Tensor) and std._data.size and not std.is_meta and float(std.min()) < 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
        place = given[0].device
        kind = given[0].dtype if len(given) == 1 else dtypes.promote_types(mean.dtype, std.dtype)
        shape = errors.broadcast_shapes("normal", *(t._data.shape for t in given))
        noise = random_like(normal_op, Blank(shape, kind, place), generator, mean=0.0, std=1.0)
        made = noise * _constant(std) + _constant(mean)
    return write_out("normal", out, made) if out is not None else finish(made, place, requires_grad)


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def probability(name: str, p: Any) -> float:
    if not 0 <= p <= 1:
        raise RuntimeError(f"{name} expects p to be in [0, 1], but got p={p}")
    return float(p)


def bernoulli(
    input: Tensor, p: Any = None, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Ones with the probabilities in `input`, or with probability `p`, and zeros."""
    if p is not None:
        errors.check_dtype("bernoulli", input.dtype, "bool", "integral", "floating")
        like = Blank(input._data.shape, input.dtype, input.device)
        made = draw(bernoulli_scalar, like, generator, 32, p=probability("bernoulli", p))
    else:
        if input.dtype.category != 2:
            raise NotImplementedError(f'"bernoulli" not implemented for {input.dtype}')
        _between("bernoulli", input)
        stream = take(input._data.size, 32, generator, input.device)
        made = bernoulli_op(input, **stream)
    return made if out is None else write_out("bernoulli", out, made.detach())


def _between(name: str, p: Tensor) -> None:
    if p.is_cpu and p._data.size and not (p._data.min() >= 0 and p._data.max() <= 1):
        raise RuntimeError(f"{name}: Expected p_in >= 0 && p_in <= 1 to be true, but got false.")


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Positions drawn from each line of a vector or matrix, in proportion to its elements."""
    if input.dtype.category != 2:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {input.dtype}"
        )
    if input._data.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got {tuple(input.shape)}")
    n = input._data.shape[-1]
    if num_samples <= 0:
        raise RuntimeError("multinomial: cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > n:
        raise RuntimeError(
            f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without "
            f"replacement, got {num_samples} of {n}"
        )
    p = input.detach()
    if p.is_cpu and p._data.size:
        weights = p._data if p.dtype.itemsize > 2 else p._data.astype(np.float32)
        if not (weights.min() >= 0 and weights.max() < np.inf):
            raise RuntimeError(
                "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
            )
        if not weights.max(-1).all():
            raise RuntimeError(
                "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
            )
    lines = p._data.size // max(n, 1)
    stream = take(lines * max(n, num_samples), 64, generator, p.device)
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype}")
    made = multinomial_op(p, num_samples=num_samples, replacement=bool(replacement), **stream)
    return made if out is None else write_out("multinomial", out, made)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Numbers of a Poisson distribution with the rates in `input`."""
    if input.dtype.category != 2:
        raise NotImplementedError(f'"poisson" not implemented for {input.dtype}')
    if input.is_cpu and input._data.size and input._data.min() < 0:
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    return poisson_op(input, **take(4 * input._data.size, 64, generator, input.device))


def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials with probability `prob` succeed."""
    n = math.prod(errors.broadcast_shapes("binomial", count._data.shape, prob._data.shape))
    return binomial_op(count, prob, **take(4 * n, 64, generator, count.device))


for _f in (normal, bernoulli, multinomial, poisson, binomial):
    PUBLIC[_f.__name__] = _f
attach("bernoulli", bernoulli)
attach("multinomial", multinomial)
