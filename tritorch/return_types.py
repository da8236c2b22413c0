"""The named results of functions that return several tensors."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

FIELDS = {
    "values indices": "max min median nanmedian mode kthvalue sort topk cummax cummin",
    "min max": "aminmax",
}


def _repr(self: Any) -> str:
    body = ",\n".join(f"{k}={v!r}" for k, v in zip(self._fields, self, strict=True))
    return f"tritorch.return_types.{type(self).__name__}(\n{body})"


def _named(name: str, fields: str) -> type:
    base = namedtuple(name, fields)  # noqa: PYI024
    return type(name, (base,), {"__slots__": (), "__repr__": _repr, "__module__": __name__})


for _fields, _names in FIELDS.items():
    for _name in _names.split():
        globals()[_name] = _named(_name, _fields)
