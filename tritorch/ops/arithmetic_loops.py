"""The NumPy loops of arithmetic that NumPy has no vectorised function for.

Each writes `out` last, so that it may be the memory of an input. What is made on the way goes into
scratch memory; without `out` the arrays are small and plain expressions are as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .lines import scratch

INTEGERS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
_EXACT = float(1 << 28)  # quotients of float32 below it are exact to the integer in float64


def select(mask: Any, x: Any, y: Any, out: Any = None) -> Any:
    """`x` where `mask` holds, `y` elsewhere: on the bits, as a branch an element costs ten times.

    `x` and `y` have one dtype; any may be of no dimensions.
    """
    kind = INTEGERS.get(x.dtype.itemsize)
    if out is None or mask.size < 2048 or kind is None or mask.dtype != np.bool_:
        r = np.where(mask, x, y)
        return r if out is None else _put(r, out)
    if not x.ndim and y.ndim:  # a number last: one operand less to read
        x, y, mask = y, x, np.logical_not(mask, out=scratch(mask, 5))
    y = y.view(kind)
    differ = np.bitwise_xor(x.view(kind), y, out=scratch(out, 6, kind))
    differ &= mask_bits(mask, kind)
    np.bitwise_xor(differ, y, out=out.view(kind))
    return out


def mask_bits(mask: np.ndarray, kind: Any) -> np.ndarray:
    """All bits where the mask holds, in scratch memory: a cast of bytes, twice as fast as a
    negation that casts."""
    bytes = np.negative(mask.view(np.int8), out=scratch(mask, 7, np.int8))
    return bytes if kind is np.int8 else _put(bytes, scratch(mask, 7, kind))


def _put(r: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.copyto(out, r, casting="same_kind")
    return out


def where(c: Any, x: Any, y: Any, out: Any = None) -> Any:
    return select(c, x, y, out)


def logical_not(x: Any, out: Any = None) -> Any:
    if x.dtype == np.bool_:  # one byte of 0 or 1
        r = np.bitwise_xor(x.view(np.uint8), 1, out=None if out is None else out.view(np.uint8))
        return r.view(np.bool_)
    return np.equal(x, 0, out=out)


def logical_and(x: Any, y: Any, out: Any = None) -> Any:
    return _logical(np.bitwise_and, x, y, out)


def logical_or(x: Any, y: Any, out: Any = None) -> Any:
    return _logical(np.bitwise_or, x, y, out)


def logical_xor(x: Any, y: Any, out: Any = None) -> Any:
    return _logical(np.bitwise_xor, x, y, out)


def _logical(combine: Callable, x: Any, y: Any, out: Any) -> Any:
    """Of bools, which numbers become first: NumPy's own loops over numbers take four times as
    long."""
    x, y = (
        a if a.dtype == np.bool_ else np.not_equal(a, 0, out=scratch(a, slot, np.bool_))
        for slot, a in enumerate((x, y))
    )
    return combine(x, y, out=out)


def add_scaled(x: Any, y: Any, a: Any, out: Any = None) -> Any:
    if out is None:
        return x + y * a
    return np.add(x, np.multiply(y, a, out=scratch(out)), out=out)


def sub_scaled(x: Any, y: Any, a: Any, out: Any = None) -> Any:
    if out is None:
        return x - y * a
    return np.subtract(x, np.multiply(y, a, out=scratch(out)), out=out)


def addcmul(x: Any, a: Any, b: Any, v: Any, out: Any = None) -> Any:
    if out is None:
        return x + v * a * b
    t = np.multiply(a, v, out=scratch(out)) if not _one(v) else a
    return np.add(x, np.multiply(t, b, out=scratch(out)), out=out)


def addcdiv(x: Any, a: Any, b: Any, v: Any, out: Any = None) -> Any:
    if out is None:
        return x + v * a / b
    t = np.multiply(a, v, out=scratch(out)) if not _one(v) else a
    return np.add(x, np.divide(t, b, out=scratch(out)), out=out)


def _one(v: Any) -> bool:
    return not np.ndim(v) and v == 1


def lerp(x: Any, y: Any, w: Any, out: Any = None) -> Any:
    """From the nearer end, so that the ends are met exactly."""
    if out is None or np.ndim(w):
        r = np.where(np.abs(w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w))
        return r if out is None else _put(r, out)
    t = np.subtract(y, x, out=scratch(out))
    if np.abs(w) < 0.5:
        t *= w
        return np.add(x, t, out=out)
    t *= 1 - w
    return np.subtract(y, t, out=out)


def clamp(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    if out is None:
        return np.minimum(high, np.maximum(low, x))  # of equal operands the second: -0.0 stays
    if np.ndim(low) or np.ndim(high):
        return np.minimum(high, np.maximum(low, x, out=scratch(out)), out=out)
    return np.clip(x, low, high, out=out)


def _bounded(f: np.ufunc, clip: Callable) -> Callable:
    """`f` of floats and one number as a `clip`: NumPy's `f` takes those one element at a time."""

    def loop(x: Any, bound: Any, out: Any = None) -> Any:
        if out is None or np.ndim(bound) or out.dtype.kind != "f":
            return f(x, bound, out=out)
        return clip(x, bound, out)

    return loop


at_least = _bounded(np.maximum, lambda x, low, out: np.clip(x, low, np.inf, out=out))
at_most = _bounded(np.minimum, lambda x, high, out: np.clip(x, -np.inf, high, out=out))


def nextafter(x: Any, y: Any, out: Any = None) -> Any:
    """One more or less in the bits of a number, except at zero, at `y` and of NaN."""
    if out is None or out.dtype.char not in "fd" or out.size < 2048:
        return np.nextafter(x, y, out=out)
    kind = INTEGERS[out.itemsize]
    grows = np.equal(np.greater(y, x), np.greater(x, 0)).view(np.int8)
    step = np.add(grows, grows, out=grows)
    step -= 1
    special = np.equal(x, y)
    special |= np.equal(x, 0)
    special |= np.isnan(np.add(x, y, out=scratch(out)))
    at = np.flatnonzero(special)
    found = None
    if at.size:
        a, b = (np.broadcast_to(z, out.shape).reshape(-1)[at] for z in (x, y))
        found = np.nextafter(a, b)
    bits = _put(step, scratch(out, 1, kind))
    np.add(x.view(kind), bits, out=out.view(kind))
    if found is not None:
        np.put(out, at, found)
    return out


def frac(x: Any, out: Any = None) -> Any:
    return x - np.trunc(x) if out is None else np.subtract(x, np.trunc(x, scratch(x)), out=out)


def rsqrt(x: Any, out: Any = None) -> Any:
    if out is None or x.dtype.kind == "c":
        r = 1 / np.sqrt(x)
        return r if out is None else _put(r, out)
    return np.reciprocal(np.sqrt(x, out=scratch(x)), out=out)


def sgn(x: Any, out: Any = None) -> Any:
    """The sign; of NaN it is 0, of True 1, unlike NumPy's."""
    if x.dtype.kind == "c":
        return np.sign(x, out=out)
    if x.dtype.kind == "b":
        return x.copy() if out is None else _put(x, out)
    if x.dtype.kind == "u":
        return np.minimum(x, x.dtype.type(1), out=out)
    positive, negative = np.greater(x, 0), np.less(x, 0)
    r = np.subtract(np.asarray(positive).view(np.int8), np.asarray(negative).view(np.int8))
    return r.astype(x.dtype) if out is None else _put(r, out)


def _log_of_sum(exp: np.ufunc, log: Callable) -> Callable:
    """log(exp(x) + exp(y)) as the larger one and what the other adds to it.

    Of complex numbers the larger one is that of the larger real part.
    """

    def loop(x: Any, y: Any, out: Any = None) -> Any:
        far: Any = np.subtract(x, y, out=None if out is None else scratch(out))
        if far.dtype.kind == "c":
            far, first = np.where(x == y, 0, far), far.real >= 0
            near = log(exp(np.where(first, -far, far)))
            return np.add(np.where(first, x, y), near, out=out)
        if not far.ndim:
            return log(exp(-np.fmax(np.abs(far), 0))) + np.maximum(x, y)
        far = np.abs(far, out=far)
        np.negative(far, out=far)
        np.fmin(far, 0, out=far)  # equal infinities differ by NaN, which is to be 0
        log(exp(far, out=far), far)
        high = np.maximum(x, y, out=None if out is None else scratch(out, 1))
        return np.add(high, far, out=out)

    return loop


def _log2_1p(x: Any, out: Any = None) -> Any:
    r = np.log1p(x, out=out)
    return np.multiply(r, 1 / math.log(2), out=out)


logaddexp = _log_of_sum(np.exp, np.log1p)
logaddexp2 = _log_of_sum(np.exp2, _log2_1p)


def hypot(x: Any, y: Any, out: Any = None) -> Any:
    """The root of the sum of squares where none overflows or vanishes; else NumPy's, one by one."""
    if out is None or out.dtype != np.float32:
        return np.hypot(x, y, out=out)
    s = np.multiply(x, x, out=scratch(out))
    s += np.multiply(y, y, out=scratch(out, 1))
    if not 1e-30 < s.min(initial=1) <= s.max(initial=1) < np.inf:
        return np.hypot(x, y, out=out)
    return np.sqrt(s, out=out)


def _wide(x: Any, slot: int) -> Any:
    """In float64: a loop of one dtype runs twice as fast as one that casts."""
    return _put(x, scratch(x, slot, np.float64))


def _quotients(x: Any, y: Any, out: Any) -> tuple[Any, Any, Any] | None:
    """x, y, x / y in float64, for float32; None where rounding could cross an integer, or where
    there are infinities, NaN, zeros in `y`: `fmod` in C treats those one by one."""
    if out is None or out.dtype != np.float32 or out.size < 2048:
        return None
    a, b = _wide(x, 0), _wide(y, 1)
    q = np.divide(a, b, out=scratch(out, 2, np.float64))
    if not (q.max() < _EXACT and q.min() > -_EXACT and np.isfinite(y.max() - y.min())):
        return None
    return a, b, q


def fmod(x: Any, y: Any, out: Any = None) -> Any:
    found = _quotients(x, y, out)
    if found is None:
        return np.fmod(x, y, out=out)
    a, b, q = found
    q = np.trunc(q, out=q)
    q *= b
    return _put(np.copysign(np.subtract(a, q, out=q), a, out=q), out)


def remainder(x: Any, y: Any, out: Any = None) -> Any:
    found = _quotients(x, y, out)
    if found is None:
        r = np.remainder(x, y, out=None if out is x else out)
    else:
        a, b, q = found
        q = np.floor(q, out=q)
        q *= b
        r = np.subtract(a, q, out=q)
    zero = np.equal(r, 0)
    if np.any(zero):  # C's remainder, which PyTorch takes: a zero has the sign of the dividend
        r = np.copysign(r, x, out=np.asarray(r), where=zero)
    return r if out is None or r is out else _put(r, out)


def _larger(pick: Callable, x: Any, y: Any, out: Any) -> Any:
    r = pick(y, x, out=None if out is x or out is y else out)  # the first of equal operands
    missing = np.isnan(r)
    if np.any(missing):
        r = np.where(missing, np.where(np.isnan(x), y, x), r)
    return r if out is None or r is out else _put(r, out)


def fmax(x: Any, y: Any, out: Any = None) -> Any:
    """NaN only where both are; of zeros the first, which NumPy's own leaves to its loops."""
    return _larger(np.maximum, x, y, out) if x.dtype.kind == "f" else np.fmax(x, y, out=out)


def fmin(x: Any, y: Any, out: Any = None) -> Any:
    """NaN only where both are; of zeros the first, which NumPy's own leaves to its loops."""
    return _larger(np.minimum, x, y, out) if x.dtype.kind == "f" else np.fmin(x, y, out=out)


def floor_divide(x: Any, y: Any, out: Any = None) -> Any:
    found = _quotients(x, y, out)
    if found is not None:
        return _put(np.floor(found[2], out=found[2]), out)
    r = np.where(np.equal(y, 0), np.true_divide(x, y), np.floor_divide(x, y))
    return r if out is None else _put(r, out)


def trunc_divide(x: Any, y: Any, out: Any = None) -> Any:
    r = np.true_divide(x, y, out=None if out is None else scratch(out))
    return np.trunc(r, out=out)


def whole_power(x: Any, y: Any) -> Any:
    """Powers of integers, whose negative ones are 0, 1 or -1; of bools to a number."""
    if x.dtype == bool:
        if not y.ndim:  # of a number
            return x | ~y
        raise NotImplementedError("pow: not implemented for two tensors of dtype bool")
    if y.dtype.kind == "i" and (y < 0).any():
        powers = np.power(x, np.maximum(y, 0))
        odd = np.where(y % 2 == 0, 1, -1)
        return np.where(y >= 0, powers, np.where(x == 1, 1, np.where(x == -1, odd, 0)))
    return np.power(x, y)
