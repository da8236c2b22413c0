"""How tensors are shown: `repr`, `str`, `format`, as PyTorch prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .api import PUBLIC, attach
from .copy import to_array


@dataclass
class Options:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = Options()
PROFILES: dict[str, tuple[int, float, int, int]] = {
    "default": (4, 1000, 3, 80),
    "short": (2, 1000, 2, 80),
    "full": (4, math.inf, 3, 80),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed.

    `precision`: digits after the point. Above `threshold` elements only `edgeitems` at each end
    are shown. `sci_mode` forces (True) or forbids (False) scientific notation. `profile` is
    "default", "short" or "full".
    """
    names = ("precision", "threshold", "edgeitems", "linewidth")
    if profile is not None:
        if profile not in PROFILES:
            raise ValueError(f"set_printoptions: profile is one of {sorted(PROFILES)}: {profile!r}")
        for name, value in zip(names, PROFILES[profile], strict=True):
            setattr(OPTIONS, name, value)
    for name, value in zip(names, (precision, threshold, edgeitems, linewidth), strict=True):
        if value is not None:
            setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


class _Formatter:
    """One width and notation for all elements of an array."""

    def __init__(self, values: np.ndarray) -> None:
        self.floating = values.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        flat = values.reshape(-1)
        if not self.floating:
            self.width = max((len(str(v)) for v in flat.tolist()), default=1)
            return
        finite = flat[np.isfinite(flat) & (flat != 0)].astype(np.float64)
        if finite.size:
            self._choose(finite)

    def _choose(self, values: np.ndarray) -> None:
        size = np.abs(values)
        low, high = size.min(), size.max()
        self.whole = bool(np.all(values == np.ceil(values)))
        self.scientific = bool(high > 1000.0 * low or high > 1e8 or (low < 1e-4 and not self.whole))
        if OPTIONS.sci_mode is not None:
            self.scientific = OPTIONS.sci_mode
        if self.scientific:
            widths = (len(f"{v:.{OPTIONS.precision}e}") for v in values)
        elif self.whole:
            widths = (len(f"{v:.0f}") + 1 for v in values)
        else:
            widths = (len(f"{v:.{OPTIONS.precision}f}") for v in values)
        self.width = max(self.width, *widths)

    def __call__(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = f"{value:{self.width}.{OPTIONS.precision}e}"
        elif self.whole:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{OPTIONS.precision}f}"
        return text.rjust(self.width)


class _Complex:
    """A formatter of each part."""

    def __init__(self, values: Any) -> None:
        self.real, self.imag = _Formatter(values.real), _Formatter(values.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = (self.imag(value.imag) + "j").lstrip()
        return self.real(value.real) + (imag if imag[0] in "+-" else "+" + imag)


def _edges(a: np.ndarray) -> np.ndarray:
    """The elements that a summary shows."""
    for d, n in enumerate(a.shape):
        if n > 2 * OPTIONS.edgeitems:
            keep = [*range(OPTIONS.edgeitems), *range(n - OPTIONS.edgeitems, n)]
            a = np.take(a, keep, axis=d)
    return a


def _show(a: np.ndarray, indent: int, summary: bool, format: Any) -> str:
    """Nested brackets, with `...` where a summary leaves elements out."""
    if not a.ndim:
        return format(a.item())
    edge = OPTIONS.edgeitems
    short = summary and a.shape[0] > 2 * edge
    if a.ndim == 1:
        picked = [*a[:edge], None, *a[-edge:]] if short else [*a]
        texts = [" ..." if v is None else format(v.item()) for v in picked]
        per_line = max(1, (OPTIONS.linewidth - indent) // (format.width + 2))
        lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
        return "[" + f",\n{' ' * (indent + 1)}".join(lines) + "]"
    rows = [*a[:edge], *a[-edge:]] if short else [*a]
    texts = [_show(row, indent + 1, summary, format) for row in rows]
    if short:
        texts.insert(edge, "...")
    return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(texts) + "]"


def _elements(t: Tensor, indent: int) -> str:
    array = to_array(t)
    if t.dtype.category == 2 and t.itemsize < 4:
        array = array.astype(np.float32)
    summary = array.size > OPTIONS.threshold
    shown = _edges(array) if summary else array
    format = (_Complex if t.dtype.is_complex else _Formatter)(shown)
    return _show(array, indent, summary, format)


def _suffixes(t: Tensor) -> list[str]:
    """What follows the elements: device, size, dtype, history."""
    found = []
    if not t.is_cpu:
        found.append(f"device='{t.device}'")
    default = dtypes.get_default_dtype()
    empty = not t._data.size
    if (empty and t.ndim != 1) or t.is_meta:
        found.append(f"size={tuple(t.shape)}")
    implied = (default,) if empty else (default, default.to_complex(), dtypes.int64, dtypes.bool_)
    if t.dtype not in implied:
        found.append(f"dtype={t.dtype}")
    node = t.grad_fn
    if node is not None:
        found.append(f"grad_fn=<{node.name}>")
    elif t.requires_grad:
        found.append("requires_grad=True")
    return found


def show(self: Tensor, *, tensor_contents: str | None = None) -> str:
    """The text of `repr(tensor)`."""
    prefix = "tensor("
    indent = len(prefix)
    if tensor_contents is not None:
        text = tensor_contents
    elif self.is_meta:
        text = "..."
    else:
        text = _elements(self, indent) if self._data.size else "[]"
    text = prefix + text
    length = len(text) - text.rfind("\n") - 1 + 2
    for suffix in _suffixes(self):
        if length + len(suffix) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def _format(self: Tensor, spec: str) -> str:
    if not self.ndim and not self.is_meta and type(self) is Tensor:
        return self.item().__format__(spec)  # type: ignore[attr-defined]
    return object.__format__(self, spec)


attach("__repr__", show)
attach("__format__", _format)
PUBLIC["set_printoptions"] = set_printoptions
