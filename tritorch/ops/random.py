"""Random numbers: generators, random tensors, tensors filled in place.

The records take seed and offset of a Philox stream explicitly; the public functions take them
from a generator. One seed gives the same numbers on every device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..device import device as Device, get_default_device
from ..dtypes import DType
from ..op import Op, primitive
from ..runtime import random as streams
from ..tensor import Tensor, from_data, wrap
from .api import PUBLIC, attach, public, write_out
from .complex_view import view_as_complex, view_as_real
from .create import allocate, finish
from .view import _expand, ints

Number = int | float

# -- generators ---------------------------------------------------------------------------------------


class Generator(streams.Generator):
    """The position in a stream of random numbers: a seed and an offset.

    Example:
        >>> import tritorch as torch
        >>> g = torch.Generator().manual_seed(0)
        >>> a = torch.rand(2, generator=g)
        >>> bool((torch.rand(2, generator=g.manual_seed(0)) == a).all())
        True
    """

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()
        self.device = Device(device)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`."""
        super().manual_seed(seed)
        return self

    def get_state(self) -> Tensor:  # type: ignore[override]
        """Seed and offset as a uint8 tensor."""
        return from_data(super().get_state())

    def set_state(self, state: Any) -> Generator:
        """Continue where `get_state` was called."""
        if isinstance(state, Tensor):
            state = state.detach().cpu()._data  # type: ignore[attr-defined]
        elif not isinstance(state, np.ndarray):
            raise TypeError(f"expected a ByteTensor, but got {type(state).__name__}")
        super().set_state(state)
        return self

    def get_offset(self) -> int:
        """How many blocks of the stream are used."""
        return self._offset

    def set_offset(self, offset: int) -> Generator:
        """Move to another place of the stream."""
        with self._lock:
            self._offset = int(offset)
        return self

    def clone_state(self) -> Generator:
        """Another generator at the same place."""
        return Generator(self.device).set_state(self.get_state())

    graphsafe_get_state = clone_state

    def graphsafe_set_state(self, other: Generator) -> Generator:
        return self.set_state(other.get_state())

    def __getstate__(self) -> Any:
        return super().get_state().tobytes(), str(self.device)

    def __setstate__(self, state: Any) -> None:
        self.__init__(state[1])  # type: ignore[misc]
        self.set_state(np.frombuffer(state[0], np.uint8))


default_generator = Generator()
_defaults: dict[Device, Generator] = {Device("cpu"): default_generator}


def default(device: Device) -> Generator:
    """The generator of a device that functions without `generator=` use."""
    if device.type == "cpu":
        return default_generator
    key = Device(device.type, device.index or 0)
    if key not in _defaults:
        _defaults[key] = Generator(key).manual_seed(default_generator.initial_seed())
    return _defaults[key]


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; returns the CPU's."""
    for generator in _defaults.values():
        generator.manual_seed(int(seed))
    return default_generator


def seed() -> int:
    """Seed the default generators with a number from the operating system, and return it."""
    value = default_generator.seed()
    manual_seed(value)
    return value


def initial_seed() -> int:
    """The seed of the CPU's default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the CPU's default generator, a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the CPU's default generator."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, device_type: str = "cuda", **_: Any
) -> Iterator[None]:
    """A block after which the default generators are where they were before."""
    saved = {d: g.get_state() for d, g in _defaults.items()} if enabled else {}
    try:
        yield
    finally:
        for d, state in saved.items():
            _defaults[d].set_state(state)


def _take(n: int, bits: int, generator: Any, device: Device) -> dict[str, int]:
    """Seed and offset of `n` numbers of so many bits."""
    if generator is None:
        generator = default(device)
    elif not isinstance(generator, streams.Generator):
        raise TypeError(
            f"argument 'generator' must be tritorch.Generator, not {type(generator).__name__}"
        )
    elif getattr(generator, "device", device).type != device.type and device.type != "meta":
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found "
            f"'{generator.device.type}'"
        )
    seed, offset = generator.take(streams.blocks(n, bits))
    return {"seed": seed, "offset": offset}


# -- records ------------------------------------------------------------------------------------------


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
    samples=lambda s: [s(s.reals((3, 4), 0, 1), seed=1, offset=3, smooth=False)],
)
def bernoulli_op(p: Any, *, seed: int, offset: int) -> Any:
    return streams.bernoulli(seed, offset, p.shape, np.asarray(p)).astype(p.dtype)


def _multinomial_meta(
    p: Tensor, *, num_samples: int, replacement: bool, seed: int, offset: int
) -> tuple:
    return (*p._data.shape[:-1], num_samples), dtypes.int64


@primitive(
    name="multinomial",
    meta=_multinomial_meta,
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
    lines = p.reshape(-1, p.shape[-1]).astype(np.float64)
    if replacement:
        u = streams.uniform(seed, offset, (len(lines), num_samples), np.float64)
        total = np.cumsum(lines, axis=1)
        found = [np.searchsorted(t, v * t[-1], "right") for t, v in zip(total, u, strict=True)]
        out = np.asarray(found, np.int64)
    else:
        u = streams.uniform(seed, offset, lines.shape, np.float64)
        out = np.argsort(-np.log1p(-u) / lines, axis=1, kind="stable")[:, :num_samples]
    return np.ascontiguousarray(out).reshape(*p.shape[:-1], num_samples)


def _host_generator(seed: int, offset: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=offset))


@primitive(
    name="poisson",
    meta=_like,
    vjp=lambda g: g * 0,
    samples=lambda s: [s(s.reals((3, 4), 0, 5), seed=1, offset=0, smooth=False)],
)
def poisson_op(rate: Any, *, seed: int, offset: int) -> Any:
    return _host_generator(seed, offset).poisson(rate).astype(rate.dtype)


@primitive(
    name="binomial",
    meta=lambda n, p, **params: (
        errors.broadcast_shapes("binomial", n._data.shape, p._data.shape),
        n.dtype,
    ),
    vjp=(lambda g: g * 0, lambda g: g * 0),
    samples=lambda s: [s(s.ints(5, (3, 4)).astype(float), s.reals((4,), 0, 1), seed=1, offset=0, smooth=False)],
)
def binomial_op(count: Any, prob: Any, *, seed: int, offset: int) -> Any:
    return _host_generator(seed, offset).binomial(count.astype(np.int64), prob).astype(count.dtype)


# -- tensors of a shape -------------------------------------------------------------------------------


def _blank(shape: Sequence[int], dtype: DType, device: Device) -> Tensor:
    """A tensor of a shape that takes no memory: what a drawing is like."""
    return _expand(allocate((), dtype, device, None), shape=tuple(shape)).detach()


def _draw(op: Op, x: Tensor, generator: Any, bits: int, **params: Any) -> Tensor:
    """A fresh tensor like `x`."""
    stream = _take(x._data.size, bits, generator, x.device)
    return wrap(op.compute((x,), {**stream, **params}), x.dtype)


def _bits(dtype: DType) -> int:
    return 64 if dtype.itemsize == 8 else 32


def _floating(name: str, dtype: DType) -> None:
    if dtype.category < 2:
        raise NotImplementedError(f'"{name}" not implemented for {dtype}')


def _random(op: Op, x: Tensor, generator: Any, scale: float = 1.0, **params: Any) -> Tensor:
    """Uniform or normal numbers; complex ones have random parts."""
    if not x.dtype.is_complex:
        return _draw(op, x, generator, _bits(x.dtype), **params)
    parts = _blank((*x._data.shape, 2), x.dtype.to_real(), x.device)
    if "std" in params:
        params["std"] *= math.sqrt(0.5)
    return view_as_complex(_draw(op, parts, generator, _bits(parts.dtype), **params))


def _placed(device: Any) -> Device:
    return get_default_device() if device is None else Device(device)


def _factory(name: str, op: Op, doc: str, params: dict) -> None:
    def make(
        *size: Any,
        generator: Any = None,
        names: Any = None,
        out: Tensor | None = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        **named: Any,
    ) -> Tensor:
        shape = ints(name, (named["size"],) if "size" in named else size)
        if any(n < 0 for n in shape):
            raise RuntimeError(
                f"{name}: Trying to create tensor with negative dimension: {list(shape)}"
            )
        kind = dtype or (dtypes.get_default_dtype() if out is None else out.dtype)
        _floating(name, kind)
        place = _placed(device) if out is None or device is not None else out.device
        made = _random(op, _blank(shape, kind, place), generator, **params)
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
        _floating(f"{name}_like", kind)
        place = input.device if device is None else Device(device)
        made = _random(op, _blank(input._data.shape, kind, place), generator, **params)
        return finish(made, place, requires_grad)

    make.__name__ = make.__qualname__ = name
    like.__name__ = like.__qualname__ = f"{name}_like"
    make.__doc__, like.__doc__ = f"A tensor of {doc}.", f"A tensor like `input` of {doc}."
    PUBLIC[name], PUBLIC[like.__name__] = make, like


_factory("rand", uniform_op, "numbers uniform in [0, 1)", {"low": 0.0, "high": 1.0})
_factory("randn", normal_op, "standard normal numbers", {"mean": 0.0, "std": 1.0})
rand, randn = PUBLIC["rand"], PUBLIC["randn"]


def _range(name: str, low: Any, high: Any, dtype: DType) -> tuple[int, int]:
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
    low, high = _range("randint", low, high, kind)
    place = _placed(device)
    blank = _blank(ints("randint", (size,)), kind, place)
    made = _draw(integers_op, blank, generator, 64, low=low, high=high)
    return write_out("randint", out, made) if out is not None else finish(made, place, requires_grad)


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
        low, high = (low, args[0]) if len(args) == 1 and high is None else (args[0], *args[1:], high)[:2]
    kind, place = dtype or input.dtype, input.device if device is None else Device(device)
    low, high = _range("randint_like", low, high, kind)
    blank = _blank(input._data.shape, kind, place)
    made = _draw(integers_op, blank, generator, 64, low=low, high=high)
    return finish(made, place, requires_grad)


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
    place = _placed(device)
    stream = _take(n, 64, generator, place)
    data = streams.permutation(stream["seed"], stream["offset"], n)
    made = from_data(data.astype(kind.np, copy=False))
    return write_out("randperm", out, made) if out is not None else finish(made, place, requires_grad)


# -- distributions ------------------------------------------------------------------------------------


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
        _floating("normal", kind)
        place = _placed(device)
        blank = _blank(ints("normal", (size,)), kind, place)
        made = _random(normal_op, blank, generator, mean=float(mean), std=float(std))
    else:
        if isinstance(std, Tensor) and std._data.size and not std.is_meta and float(std.min()) < 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
        place = given[0].device
        kind = given[0].dtype if len(given) == 1 else dtypes.promote_types(mean.dtype, std.dtype)
        shape = errors.broadcast_shapes("normal", *(t._data.shape for t in given))
        noise = _random(normal_op, _blank(shape, kind, place), generator, mean=0.0, std=1.0)
        made = noise * _constant(std) + _constant(mean)
    return write_out("normal", out, made) if out is not None else finish(made, place, requires_grad)


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _probability(name: str, p: Any) -> float:
    if not 0 <= p <= 1:
        raise RuntimeError(f"{name} expects p to be in [0, 1], but got p={p}")
    return float(p)


def bernoulli(
    input: Tensor, p: Any = None, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Ones with the probabilities in `input`, or with probability `p`, and zeros."""
    if p is not None:
        made = _draw(bernoulli_scalar, input, generator, 32, p=_probability("bernoulli", p))
    else:
        if input.dtype.category != 2:
            raise NotImplementedError(f'"bernoulli" not implemented for {input.dtype}')
        _between("bernoulli", input)
        stream = _take(input._data.size, 32, generator, input.device)
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
    """Positions drawn from each line of a vector or matrix with probabilities proportional to it."""
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
        wide = p._data.astype(np.float64)
        if not (np.isfinite(wide).all() and wide.min() >= 0):
            raise RuntimeError(
                "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
            )
        if (wide.sum(-1) <= 0).any():
            raise RuntimeError(
                "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
            )
    lines = p._data.size // max(n, 1)
    stream = _take(lines * max(n, num_samples), 64, generator, p.device)
    made = multinomial_op(p, num_samples=num_samples, replacement=bool(replacement), **stream)
    return made if out is None else write_out("multinomial", out, made)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Numbers of a Poisson distribution with the rates in `input`."""
    if input.dtype.category != 2:
        raise NotImplementedError(f'"poisson" not implemented for {input.dtype}')
    if input.is_cpu and input._data.size and input._data.min() < 0:
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    return poisson_op(input, **_take(4 * input._data.size, 64, generator, input.device))


def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials with probability `prob` succeed."""
    n = max(count._data.size, prob._data.size)
    return binomial_op(count, prob, **_take(4 * n, 64, generator, count.device))


# -- in place -----------------------------------------------------------------------------------------


def uniform_(self: Tensor, from_: float = 0, to: float = 1, *, generator: Any = None, **k: Any) -> Tensor:
    """Fill with numbers uniform in `[from, to)`."""
    low, high = float(k.get("from", from_)), float(to)
    _floating("uniform_", self.dtype)
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    stream = _take(self._data.size, _bits(self.dtype), generator, self.device)
    return uniform_op.inplace(self, **stream, low=low, high=high)


def normal_(self: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    _floating("normal_", self.dtype)
    if std < 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std {std}")
    if self.dtype.is_complex:
        normal_(view_as_real(self), mean, std * math.sqrt(0.5), generator=generator)
        return self
    stream = _take(self._data.size, _bits(self.dtype), generator, self.device)
    return normal_op.inplace(self, **stream, mean=float(mean), std=float(std))


_EXACT = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}


def random_(self: Tensor, *args: Any, generator: Any = None, **named: Any) -> Tensor:
    """Fill with whole numbers: `random_()`, `random_(to)`, `random_(from, to)`."""
    low, high = named.get("from", 0), named.get("to")
    if len(args) == 1:
        high = args[0]
    elif len(args) == 2:
        low, high = args
    if high is None:
        exact = _EXACT.get(self.dtype.name)
        high = (1 << exact) + 1 if exact else dtypes.iinfo(self.dtype).max + 1
    low, high = _range("random_", low, high, self.dtype)
    stream = _take(self._data.size, 64, generator, self.device)
    return integers_op.inplace(self, **stream, low=low, high=high)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with ones with probability `p`, a number or a tensor, and zeros."""
    if isinstance(p, Tensor):
        if p.dtype.category != 2:
            raise RuntimeError(
                f"bernoulli_: expected a floating-point tensor of probabilities, got {p.dtype}"
            )
        wide = _expand(p.detach(), shape=tuple(self._data.shape))
        return self.copy_(bernoulli(wide, generator=generator))  # type: ignore[attr-defined]
    stream = _take(self._data.size, 32, generator, self.device)
    return bernoulli_scalar.inplace(self, **stream, p=_probability("bernoulli_", p))


def _unit(x: Tensor, generator: Any) -> Tensor:
    """Numbers uniform in [0, 1), in the dtype in which `x` is computed."""
    kind = x.dtype if x.dtype.category == 2 and x.itemsize > 2 else dtypes.float32
    kind = dtypes.float64 if x.dtype.category < 2 else kind
    return _random(uniform_op, _blank(x._data.shape, kind, x.device), generator, low=0.0, high=1.0)


def _positive(name: str, what: str, value: float) -> None:
    if not value > 0:
        raise RuntimeError(f"{name} expects {what} > 0.0, but found {what}={value}")


def exponential_(self: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate `lambd`."""
    if self.dtype.category != 2:
        raise RuntimeError(
            "exponential_: Exponential distribution is a continuous probability distribution. dtype "
            f"must be a floating point but you specified {self.dtype}"
        )
    _positive("exponential_", "lambda", lambd)
    return self.copy_((-_unit(self, generator)).log1p() * (-1 / lambd))  # type: ignore


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers of a Cauchy distribution."""
    if self.dtype.category != 2:
        raise RuntimeError(f"cauchy_: dtype must be a floating point but you specified {self.dtype}")
    _positive("cauchy_", "sigma", sigma)
    turn = (_unit(self, generator) - 0.5) * math.pi
    return self.copy_(turn.tan() * sigma + median)  # type: ignore[attr-defined]


def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Fill with numbers whose logarithms are normal."""
    if self.dtype.category != 2:
        raise RuntimeError(
            f"log_normal_: dtype must be a floating point but you specified {self.dtype}"
        )
    _positive("log_normal_", "std", std)
    kind = self.dtype if self.itemsize > 2 else dtypes.float32
    blank = _blank(self._data.shape, kind, self.device)
    made = _random(normal_op, blank, generator, mean=float(mean), std=float(std))
    return self.copy_(made.exp())  # type: ignore[attr-defined]


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials with probability `p` up to the first success."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    trials = (-_unit(self, generator)).log1p() * (1 / math.log1p(-p))
    return self.copy_(trials.floor() + 1)  # type: ignore[attr-defined]


for _f in (randint, randint_like, randperm, normal, bernoulli, multinomial, poisson, binomial,
           manual_seed, seed, initial_seed, get_rng_state, set_rng_state, Generator):  # fmt: skip
    PUBLIC[_f.__name__] = _f
for _f in (uniform_, normal_, random_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_):
    attach(_f.__name__, _f)
attach("bernoulli", bernoulli)
attach("multinomial", multinomial)
PUBLIC["default_generator"] = default_generator  # type: ignore[assignment]
PUBLIC["bernoulli_"] = bernoulli_
