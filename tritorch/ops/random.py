"""Random tensors of a shape, and random choices; published as `tritorch.random` too.

The records take seed and offset of a Philox stream explicitly; the public functions take them
from a generator. One seed gives the same numbers on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..device import device as Device, placed
from ..dtypes import DType
from ..op import primitive
from ..runtime import counts, parallel, random as streams
from ..tensor import Tensor, from_data, wrap
from .api import PUBLIC, write_out
from .complex_view import view_as_complex
from .copy import to
from .create import allocate, finish, given_size, in_order_of
from .generator import (
    Generator as Generator,
    default_generator as default_generator,
    fork_rng as fork_rng,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
    set_rng_state as set_rng_state,
    take,
)
from .sort import sort
from .view import _expand, ints

# -- records -------------------------------------------------------------------------------------


def _like(x: Tensor, **params: Any) -> tuple:
    return tuple(x._data.shape), x.dtype


def _launcher(name: str) -> Callable:
    def launch_(launch: Any, out: Any, x: Any, **params: Any) -> Any:
        from ..kernels import random

        return getattr(random, name)(launch, out, **params)

    return launch_


def _drawing(name: str, kernel: str, *samples: dict) -> Callable:
    """An operator whose result has the shape and dtype of `x`, and none of its values."""
    return primitive(
        name=name,
        meta=_like,
        triton=_launcher(kernel),
        exact=True,
        vjp=lambda g: g * 0,
        samples=lambda s: [s(shape, **p) for shape in ((3, 4), (), (0, 2), (7,)) for p in samples],
    )


@_drawing("uniform", "uniform", {"seed": 1, "offset": 3, "low": 0.5, "high": 1.25})
def uniform_op(x: Any, *, seed: int, offset: int, low: float, high: float) -> Any:
    return streams.uniform(seed, offset, x.shape, x.dtype, low, high)


@_drawing("normal", "normal", {"seed": 1, "offset": 3, "mean": 1.0, "std": 0.5})
def normal_op(x: Any, *, seed: int, offset: int, mean: float, std: float) -> Any:
    return streams.normal(seed, offset, x.shape, x.dtype, mean, std)


@_drawing("random", "integers", {"seed": 1, "offset": 3, "low": -2, "high": 5})
def integers_op(x: Any, *, seed: int, offset: int, low: int, high: int) -> Any:
    return streams.integers(seed, offset, x.shape, low, high, x.dtype)


def _launch_bernoulli(launch: Any, out: Any, x: Any, *, p: float, **params: Any) -> Any:
    from ..kernels import random

    return random.bernoulli(launch, out, p, **params)


@primitive(
    name="bernoulli_scalar",
    meta=_like,
    triton=_launch_bernoulli,
    exact=True,
    vjp=lambda g: g * 0,
    samples=lambda s: [s((3, 4), p=0.3, seed=1, offset=3), s((0,), p=0.5, seed=1, offset=0)],
)
def bernoulli_scalar(x: Any, *, p: float, seed: int, offset: int) -> Any:
    return streams.bernoulli(seed, offset, x.shape, p).astype(x.dtype)


@primitive(
    name="bernoulli",
    meta=_like,
    triton="random.bernoulli",
    vjp=lambda g: g * 0,
    samples=lambda s: [
        s(s.reals(shape, 0, 1), seed=1, offset=3, smooth=False) for shape in ((3, 4), (), (0, 2))
    ],
)
def bernoulli_op(p: Any, *, seed: int, offset: int) -> Any:
    return streams.bernoulli(seed, offset, p.shape, np.asarray(p)).astype(p.dtype)


def _searched(total: np.ndarray, u: np.ndarray) -> np.ndarray:
    """For each line of running sums, where its `u` in [0, 1) of the last sum is passed.

    All lines are one sorted array, line i moved by i.
    """
    n, last = total.shape[-1], total[:, -1:].copy()
    line = np.arange(len(total), dtype=np.float64)[:, None]
    total /= last
    end = np.argmax(total >= 1, axis=1)[:, None]
    total += line
    found = np.searchsorted(total.ravel(), (u + line).ravel(), "right").reshape(u.shape)
    found -= n * np.arange(len(total))[:, None]
    return np.clip(found, 0, end)  # rounding may reach the end


def _multinomial_meta(
    p: Tensor, *, num_samples: int, replacement: bool, seed: int, offset: int
) -> tuple:
    return (*p._data.shape[:-1], num_samples), dtypes.int64


@primitive(
    name="multinomial",
    meta=_multinomial_meta,
    triton="search.multinomial",
    vjp=(None,),
    samples=lambda s: [
        s(s.reals((4,), 0, 1), num_samples=3, replacement=False, seed=1, offset=0, smooth=False),
        s(s.reals((2, 4), 0, 1), num_samples=6, replacement=True, seed=1, offset=0, smooth=False),
    ],
)
def multinomial_op(p: Any, *, num_samples: int, replacement: bool, seed: int, offset: int) -> Any:
    """Positions drawn with probabilities proportional to each line of `p`.

    Without replacement: the first arrivals of exponential clocks with rates `p`.
    """
    lines = p.reshape(-1, p.shape[-1])
    if replacement or num_samples == 1:
        u = streams.uniform(seed, offset, (len(lines), num_samples), np.float64)
        out = np.empty(u.shape, np.int64)

        def body(start: int, stop: int) -> None:
            total = np.cumsum(lines[start:stop], axis=1, dtype=np.float64)
            out[start:stop] = _searched(total, u[start:stop])

        parallel.run(body, len(lines), max(1, parallel.BIG // max(lines.shape[1], 1)))
    else:
        u = streams.uniform(seed, offset, lines.shape, np.float64)
        clocks = -np.log1p(-u) / lines.astype(np.float64)
        out = np.argsort(clocks, axis=1, kind="stable")[:, :num_samples]
    return np.ascontiguousarray(out).reshape(*p.shape[:-1], num_samples)


def host_generator(seed: int, offset: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=offset))


@primitive(
    name="poisson",
    meta=_like,
    triton="counts.poisson",
    vjp=lambda g: g * 0,
    samples=lambda s: [
        s(s.reals((3, 4), 0, 5), seed=1, offset=0, smooth=False),
        s(s.reals((7,), 9, 50), seed=1, offset=3, smooth=False),
    ],
)
def poisson_op(rate: Any, *, seed: int, offset: int) -> Any:
    return counts.poisson(seed, offset, rate).astype(rate.dtype)


@primitive(
    name="binomial",
    meta=lambda n, p, **params: (
        errors.broadcast_shapes("binomial", n._data.shape, p._data.shape),
        n.dtype,
    ),
    triton="counts.binomial",
    vjp=(lambda g: g * 0, lambda g: g * 0),
    samples=lambda s: [
        s(s.ints(5, (3, 4)).astype(float), s.reals((4,), 0, 1), seed=1, offset=0, smooth=False),
        s(s.ints(90, (7,)).astype(float), s.reals((7,), 0, 1), seed=1, offset=3, smooth=False),
    ],
)
def binomial_op(count: Any, prob: Any, *, seed: int, offset: int) -> Any:
    return counts.binomial(seed, offset, count, prob).astype(count.dtype)


# -- tensors of a shape --------------------------------------------------------------------------


class Blank:
    """What a drawing is like: shape, dtype and device, without elements."""

    __slots__ = ("device", "dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: DType, device: Device) -> None:
        self.shape, self.dtype, self.device = tuple(shape), dtype, device


class _Form:
    """Shape and dtype of an array, all that the NumPy forms of drawings look at."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype


def draw(op: Any, like: Blank, generator: Any, bits: int, **params: Any) -> Tensor:
    """A fresh tensor like `like`."""
    stream = take(math.prod(like.shape), bits, generator, like.device)
    if like.device.type == "cpu":
        data = op.cpu(_Form(like.shape, like.dtype.np), **stream, **params)  # type: ignore[misc]
    else:
        x = _expand(allocate((), like.dtype, like.device, None), shape=like.shape)
        data = op.compute((x,), {**stream, **params})
    return wrap(data, like.dtype)


def bits_of(dtype: DType) -> int:
    return 64 if dtype.itemsize == 8 else 32


def need_floating(name: str, dtype: DType) -> None:
    if dtype.category < 2:
        raise NotImplementedError(f'"{name}" not implemented for {dtype}')


def random_like(op: Any, like: Blank, generator: Any, **params: Any) -> Tensor:
    """Uniform or normal numbers; complex ones have random parts."""
    if not like.dtype.is_complex:
        return draw(op, like, generator, bits_of(like.dtype), **params)
    parts = Blank((*like.shape, 2), like.dtype.to_real(), like.device)
    if "std" in params:
        params["std"] *= math.sqrt(0.5)
    return view_as_complex(draw(op, parts, generator, bits_of(parts.dtype), **params))


def _factory(name: str, op: Any, doc: str, params: dict) -> None:
    def make(
        *sizes: Any,
        size: Any = None,
        generator: Any = None,
        names: Any = None,
        out: Tensor | None = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        shape = ints(name, given_size(name, sizes, size))
        if any(n < 0 for n in shape):
            raise RuntimeError(
                f"{name}: Trying to create tensor with negative dimension: {list(shape)}"
            )
        kind = dtype or (dtypes.get_default_dtype() if out is None else out.dtype)
        need_floating(name, kind)
        place = placed(device) if out is None or device is not None else out.device
        made = random_like(op, Blank(shape, kind, place), generator, **params)
        if out is not None:
            return write_out(name, out, made)
        return finish(made, place, requires_grad)

    def like(
        input: Tensor,
        *,
        generator: Any = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        kind = dtype or input.dtype
        need_floating(f"{name}_like", kind)
        place = input.device if device is None else Device(device)
        made = in_order_of(
            input, lambda shape: random_like(op, Blank(shape, kind, place), generator, **params)
        )
        return finish(made, place, requires_grad)

    make.__name__ = make.__qualname__ = name
    like.__name__ = like.__qualname__ = f"{name}_like"
    make.__doc__, like.__doc__ = f"A tensor of {doc}.", f"A tensor like `input` of {doc}."
    PUBLIC[name], PUBLIC[like.__name__] = make, like


_factory("rand", uniform_op, "numbers uniform in [0, 1)", {"low": 0.0, "high": 1.0})
_factory("randn", normal_op, "standard normal numbers", {"mean": 0.0, "std": 1.0})
rand, randn = PUBLIC["rand"], PUBLIC["randn"]


def whole_range(name: str, low: Any, high: Any, dtype: DType) -> tuple[int, int]:
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(
            f"{name}: random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if dtype.category < 2:
        info = dtypes.iinfo(dtype)
        for what, value in (("from", low), ("to - 1", high - 1)):
            if not info.min <= value <= info.max:
                raise RuntimeError(f"{name}: {what} is out of bounds for {dtype}, got {value}")
    return low, high


def randint(
    *args: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Any = None,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Whole numbers in `[low, high)`: `randint(high, size)` or `randint(low, high, size)`."""
    given = list(args)
    if size is None:
        if not given or not isinstance(given[-1], list | tuple):
            raise TypeError("randint(): argument 'size' must be tuple of ints")
        size = given.pop()
    if high is None:
        if not given:
            raise TypeError("randint(): missing required argument 'high'")
        high = given.pop()
    low = given.pop() if given else low or 0
    kind = dtype or (dtypes.int64 if out is None else out.dtype)
    low, high = whole_range("randint", low, high, kind)
    place = placed(device)
    like = Blank(ints("randint", (size,)), kind, place)
    made = draw(integers_op, like, generator, 64, low=low, high=high)
    return (
        write_out("randint", out, made) if out is not None else finish(made, place, requires_grad)
    )


def randint_like(
    input: Tensor,
    *args: Any,
    low: Any = 0,
    high: Any = None,
    generator: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Whole numbers in `[low, high)` in the shape and dtype of `input`."""
    if args:
        low, high = (
            (low, args[0]) if len(args) == 1 and high is None else (args[0], *args[1:], high)[:2]
        )
    kind, place = dtype or input.dtype, input.device if device is None else Device(device)
    low, high = whole_range("randint_like", low, high, kind)

    def make(shape: tuple[int, ...]) -> Tensor:
        return draw(integers_op, Blank(shape, kind, place), generator, 64, low=low, high=high)

    return finish(in_order_of(input, make), place, requires_grad)


WORDS = {"low": 0, "high": 1 << 64}  # all of a word of the stream


def _permutation(seed: int, offset: int, n: int) -> np.ndarray:
    """`streams.permutation`, by a sort of words that hold their positions in their last bits.

    Where two words are equal before those the plain way decides.
    """
    bits = max(n - 1, 1).bit_length()
    words = streams.raw(seed, offset, n)
    words >>= np.uint64(bits)
    words <<= np.uint64(bits)
    words |= np.arange(n, dtype=np.uint64)
    words.sort()
    front = words >> np.uint64(bits)
    if n > 1 and bool((front[1:] == front[:-1]).any()):
        return streams.permutation(seed, offset, n)
    return (words & np.uint64((1 << bits) - 1)).view(np.int64)


def randperm(
    n: int,
    *,
    generator: Any = None,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The numbers from 0 to n - 1 in random order."""
    n = int(n)
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {n}")
    kind = dtype or (dtypes.int64 if out is None else out.dtype)
    place = placed(device)
    if place.type == "cuda":
        words = draw(integers_op, Blank((n,), dtypes.uint64, place), generator, 64, **WORDS)
        made = to(sort(words)[1], kind)
    else:
        stream = take(n, 64, generator, place)
        found = _permutation(stream["seed"], stream["offset"], n)
        made = from_data(found.astype(kind.np, copy=False))
    return (
        write_out("randperm", out, made) if out is not None else finish(made, place, requires_grad)
    )


for _f in (randint, randint_like, randperm):
    PUBLIC[_f.__name__] = _f
