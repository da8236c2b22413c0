"""The named results of functions that return several tensors."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def _repr(self: Any) -> str:
    body = ",\n".join(f"{k}={v!r}" for k, v in zip(self._fields, self, strict=True))
    return f"tritorch.return_types.{type(self).__name__}(\n{body})"


def _named(name: str, fields: str = "values indices") -> Any:
    base = namedtuple(name, fields)
    return type(name, (base,), {"__slots__": (), "__repr__": _repr, "__module__": __name__})


max, min = _named("max"), _named("min")
median, nanmedian = _named("median"), _named("nanmedian")
mode, kthvalue = _named("mode"), _named("kthvalue")
sort, topk = _named("sort"), _named("topk")
cummax, cummin = _named("cummax"), _named("cummin")
aminmax = _named("aminmax", "min max")
