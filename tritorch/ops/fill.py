"""Tensors filled with random numbers in place: uniform_, normal_, random_, exponential_ ..."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes, errors
from ..tensor import Tensor
from .api import PUBLIC, attach
from .complex_view import view_as_real
from .generator import take
from .random import (
    Blank,
    bernoulli_scalar,
    bits_of,
    integers_op,
    need_floating,
    normal_op,
    random_like,
    uniform_op,
    whole_range,
)
from .random_draws import bernoulli, probability
from .view import _expand


def uniform_(
    self: Tensor, from_: float = 0, to: float = 1, *, generator: Any = None, **k: Any
) -> Tensor:
    """Fill with numbers uniform in `[from, to)`."""
    low, high = float(k.get("from", from_)), float(to)
    need_floating("uniform_", self.dtype)
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    stream = take(self._data.size, bits_of(self.dtype), generator, self.device)
    return uniform_op.inplace(self, **stream, low=low, high=high)


def normal_(self: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    need_floating("normal_", self.dtype)
    if std < 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std {std}")
    if self.dtype.is_complex:
        normal_(view_as_real(self), mean, std * math.sqrt(0.5), generator=generator)
        return self
    stream = take(self._data.size, bits_of(self.dtype), generator, self.device)
    return normal_op.inplace(self, **stream, mean=float(mean), std=float(std))


_EXACT = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}


def random_(self: Tensor, *args: Any, generator: Any = None, **named: Any) -> Tensor:
    """Fill with whole numbers: `random_()`, `random_(to)`, `random_(from, to)`."""
    low, high = named.get("from", 0), named.get("to")
    if len(args) == 1:
        high = args[0]
    elif len(args) == 2:
        low, high = args
    errors.check_dtype("random_", self.dtype, "bool", "integral", "floating")
    if high is None:
        exact = _EXACT.get(self.dtype.name)
        high = (1 << exact) + 1 if exact else dtypes.iinfo(self.dtype).max + 1
    low, high = whole_range("random_", low, high, self.dtype)
    stream = take(self._data.size, 64, generator, self.device)
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
    errors.check_dtype("bernoulli_", self.dtype, "bool", "integral", "floating")
    stream = take(self._data.size, 32, generator, self.device)
    return bernoulli_scalar.inplace(self, **stream, p=probability("bernoulli_", p))


def _unit(x: Tensor, generator: Any) -> Tensor:
    """Numbers uniform in [0, 1), in the dtype in which `x` is computed."""
    kind = x.dtype if x.dtype.category == 2 and x.itemsize > 2 else dtypes.float32
    kind = dtypes.float64 if x.dtype.category < 2 else kind
    return random_like(
        uniform_op, Blank(x._data.shape, kind, x.device), generator, low=0.0, high=1.0
    )


def _positive(name: str, what: str, value: float) -> None:
    if not value > 0:
        raise RuntimeError(f"{name} expects {what} > 0.0, but found {what}={value}")


def exponential_(self: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate `lambd`."""
    if self.dtype.category != 2:
        raise RuntimeError(
            "exponential_: Exponential distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {self.dtype}"
        )
    _positive("exponential_", "lambda", lambd)
    return self.copy_((-_unit(self, generator)).log1p() * (-1 / lambd))  # type: ignore


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers of a Cauchy distribution."""
    if self.dtype.category != 2:
        raise RuntimeError(
            f"cauchy_: dtype must be a floating point but you specified {self.dtype}"
        )
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
    like = Blank(self._data.shape, kind, self.device)
    made = random_like(normal_op, like, generator, mean=float(mean), std=float(std))
    return self.copy_(made.exp())  # type: ignore[attr-defined]


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials with probability `p` up to the first success."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    errors.check_dtype("geometric_", self.dtype, "integral", "floating")
    trials = (-_unit(self, generator)).log1p() * (1 / math.log1p(-p))
    return self.copy_(trials.floor() + 1)  # type: ignore[attr-defined]


for _f in (uniform_, normal_, random_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_):
    attach(_f.__name__, _f)
PUBLIC["bernoulli_"] = bernoulli_
