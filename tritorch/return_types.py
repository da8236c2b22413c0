"""The named results of functions that return several tensors."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def _repr(self: Any) -> str:
    body = ",\n".join(f"{k}={v!r}" for k, v in zip(self._fields, self, strict=True))
    return f"tritorch.return_types.{type(self).__name__}(\n{body})"


def named(name: str, fields: str = "values indices") -> Any:
    """A class of results, published here under its name."""
    base = namedtuple(name, fields)
    made = type(name, (base,), {"__slots__": (), "__repr__": _repr, "__module__": __name__})
    return globals().setdefault(name, made)


max, min = named("max"), named("min")
median, nanmedian = named("median"), named("nanmedian")
mode, kthvalue = named("mode"), named("kthvalue")
sort, topk = named("sort"), named("topk")
cummax, cummin = named("cummax"), named("cummin")
aminmax = named("aminmax", "min max")
frexp = named("frexp", "mantissa exponent")
histogram = named("histogram", "hist bin_edges")
histogramdd = named("histogramdd", "hist bin_edges")
