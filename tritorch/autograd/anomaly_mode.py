"""Anomaly mode: a backward that fails, or that makes NaN, names the line of its forward."""

from __future__ import annotations

import itertools
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from . import engine
from .node import Node, OpNode

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled"]
__all__ += ["set_detect_anomaly"]

_PACKAGE = __name__.partition(".")[0] + "."
_lines: weakref.WeakKeyDictionary[Node, traceback.StackSummary] = weakref.WeakKeyDictionary()
_on = False
DEPTH = 20  # calls that are shown of a forward
_check_nan = True


class _CheckedRun(engine.Run):
    """A backward pass that looks at what each node returns."""

    def derive(self, node: Node, grads: list, needs: list[bool]) -> Sequence:
        try:
            out = super().derive(node, grads, needs)
        except Exception as error:
            error.add_note(_forward_of(node))
            raise
        if _check_nan:
            found = out if isinstance(out, tuple | list) else (out,)
            for i, g in enumerate(found):
                if g is not None and _has_nan(g):
                    raise RuntimeError(
                        f"Function '{node.name}' returned nan values in its {i}th output. "
                        + _forward_of(node)
                    )
        return out


def _has_nan(g: Any) -> bool:
    return g.dtype.category >= 2 and bool((g != g).any().item())


def _forward_of(node: Node) -> str:
    """Where the user called the operator, the innermost call last."""
    lines = _lines.get(node)
    if lines is None:
        return (
            f"No forward pass information available for {node.name}. Enable detect anomaly during "
            "forward pass for more information."
        )
    last = lines[-1]
    return (
        f'{node.name} was recorded at File "{last.filename}", line {last.lineno}: {last.line}\n'
        "Traceback of forward call that caused the error:\n" + "".join(lines.format())
    )


def _noting(init: Callable) -> Callable:
    """`Node.__init__` that remembers the user's lines from which it was called."""

    def noting(self: Node, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        frame: Any = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            frame = frame.f_back
        inner = list(itertools.islice(traceback.walk_stack(frame), DEPTH))
        _lines[self] = traceback.StackSummary.extract(reversed(inner))

    noting.plain = init  # type: ignore[attr-defined]
    return noting


def _switch(mode: bool, check_nan: bool) -> None:
    """Nodes note their lines, and passes are checked, only while the mode is on."""
    global _on, _check_nan
    _check_nan = check_nan
    if mode == _on:
        return
    _on = mode
    engine.set_run(_CheckedRun if mode else engine.Run)
    for kind in (Node, OpNode):
        init: Any = kind.__init__
        kind.__init__ = _noting(init) if mode else init.plain  # type: ignore[method-assign]


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _on


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return _check_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switch the mode on or off from here on."""
    _switch(enabled, check_nan)


class set_detect_anomaly:
    """Switch anomaly mode on or off, at once; the end of a block restores it."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.outer = _on, _check_nan
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _switch(*self.outer)


class detect_anomaly:
    """Inside the block, in all threads, each recorded operator notes the line that called it; a
    backward that raises, or with `check_nan` makes NaN, names that line. It is slow: for debugging.

    Example:
        >>> import tritorch as torch
        >>> x = torch.zeros(1, requires_grad=True)
        >>> with torch.autograd.set_detect_anomaly(True):
        ...     y = (x.sqrt() * 0).sum()
        ...     y.backward()
        Traceback (most recent call last):
        RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output. ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.outer = _on, _check_nan
        _switch(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        _switch(*self.outer)
