"""`torch.sym_max` and its like: arithmetic of sizes, which here are plain Python numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .api import PUBLIC


class _Symbol:
    """No value is of these classes: `isinstance(x.shape[0], torch.SymInt)` is False."""

    def __init__(self, node: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__}: sizes are plain Python numbers; there are no symbols for them"
        )


class SymInt(_Symbol):
    """A size that is not known; sizes are always known here, so that no value is one."""


class SymFloat(_Symbol):
    """A quotient of sizes that are not known; no value is one."""


class SymBool(_Symbol):
    """A comparison of sizes that are not known; no value is one."""


def sym_int(a: Any) -> int:
    """`a` as an int, rounded toward zero."""
    return int(a)


def sym_float(a: Any) -> float:
    """`a` as a float."""
    return float(a)


def sym_not(a: bool) -> bool:
    """`not a`."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float where either is one."""
    return _promoted(max(a, b), a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float where either is one."""
    return _promoted(min(a, b), a, b)


def _promoted(found: Any, a: Any, b: Any) -> Any:
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_sqrt(a: Any) -> float:
    """The square root."""
    return math.sqrt(a)


def sym_sum(args: Iterable) -> Any:
    """The sum of numbers."""
    return sum(args)


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """`t` where `b`, else `f`."""
    return t if b else f


for _f in (sym_int, sym_float, sym_not, sym_max, sym_min, sym_sqrt, sym_sum, sym_ite):
    PUBLIC[_f.__name__] = _f
