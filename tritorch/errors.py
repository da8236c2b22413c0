"""Messages of errors: each begins with the operator's name and gives the shapes.

softmax: dim 3 is out of range for shape (2, 4); expected -2 to 1
"""

from __future__ import annotations

import dis
import sys
import warnings
from collections.abc import Sequence
from typing import Any


def wrap_dim(op: str, dim: int, shape: Sequence[int]) -> int:
    """`dim` counted from the front; IndexError where `shape` has no such dimension."""
    n = len(shape) or 1
    if not -n <= dim < n:
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], "
            f"but got {dim}) for shape {tuple(shape)}"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(op: str, dims: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Each of `dims` counted from the front; RuntimeError where one appears twice."""
    wrapped = tuple(wrap_dim(op, d, shape) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"{op}: dim {wrapped} appears multiple times in the list of dims")
    return wrapped


def shapes(*tensors: object) -> str:
    """The shapes of some tensors for a message: `(2, 3) and (4,)`."""
    return " and ".join(str(tuple(getattr(t, "shape", ()))) for t in tensors)


def broadcast_shapes(op: str, *all_shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all broadcast to; RuntimeError that names the operator where they do not."""
    out: list[int] = [1] * max((len(s) for s in all_shapes), default=0)
    for shape in all_shapes:
        for i in range(1, len(shape) + 1):
            n = shape[-i]
            if out[-i] == 1:
                out[-i] = n
            elif n not in (1, out[-i]):
                listed = " and ".join(str(tuple(s)) for s in all_shapes)
                raise RuntimeError(
                    f"{op}: The size of tensor a ({out[-i]}) must match the size of tensor b ({n}) "
                    f"at non-singleton dimension {len(out) - i}; shapes {listed} do not broadcast"
                )
    return tuple(out)


_CATEGORIES = ("bool", "integral", "floating", "complex")


def check_dtype(op: str, dtype: Any, *takes: str) -> None:
    """Refuse a dtype that is of none of these categories, and none of these dtypes by name."""
    if _CATEGORIES[dtype.category] not in takes and dtype.name not in takes:
        raise NotImplementedError(f'"{op}" is not implemented for {dtype.name} tensors')


_KINDS = (NotImplementedError, IndexError, ValueError, RuntimeError, TypeError)  # documented
_OTHERS = {AttributeError: TypeError, KeyError: TypeError, MemoryError: MemoryError}
_RAISE = dis.opmap["RAISE_VARARGS"]
_PACKAGE = f"{__package__}."
_LIBRARIES = (_PACKAGE, "numpy", "scipy", "ml_dtypes")


def named(
    op: str, error: Exception, inputs: Sequence[object], params: dict[str, object]
) -> Exception:
    """An error that nobody meant to raise, as one that names the operator and its inputs.

    A TypeError of NumPy, an error of LAPACK or a missing attribute become errors of a documented
    kind. What the package raises itself stays as it is, as does what comes from a user's function.
    """
    if isinstance(error, Warning) or not _accidental(error):  # a filter may make errors of warnings
        return error
    kinds = [kind for kind in _KINDS if isinstance(error, kind)]
    other = next((k for base, k in _OTHERS.items() if isinstance(error, base)), RuntimeError)
    kind = kinds[0] if kinds else other
    text = f"{type(error).__name__}: {error}" if not kinds else str(error)
    return kind(f"{op}: {text or type(error).__name__} (called with {described(inputs, params)})")


def note(op: str, error: Exception, inputs: Sequence[object], params: dict[str, object]) -> None:
    """Add to an error whose message does not say it which function was called with what."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    ours = trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE)
    said = (str(error), *getattr(error, "__notes__", ()))
    if ours and not any(op in text for text in said):
        error.add_note(f"in {op}({described(inputs, params)})")


def _accidental(error: Exception) -> bool:
    """Whether no `raise` of this package stands behind an error, and no code of others."""
    if type(error).__module__.startswith(_PACKAGE):
        return False
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if not module.startswith(_LIBRARIES):
            return False
        if trace.tb_next is None and module.startswith(_PACKAGE):
            return trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE
        trace = trace.tb_next
    return True


def described(inputs: Sequence[object], params: dict[str, object]) -> str:
    """The arguments of a call in few words: `float32[3, 4], None, dim=2`."""
    return ", ".join([_short(x) for x in inputs] + [f"{k}={_short(x)}" for k, x in params.items()])


def _short(x: object) -> str:
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{getattr(dtype, 'name', dtype)}{list(shape)}"
    text = repr(x)
    return text if len(text) < 40 else type(x).__name__


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line, outside of this package, that has called into it."""
    own = __name__.partition(".")[0] + "."
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(own):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def deprecated(name: str, instead: str) -> None:
    """Warn that a function is kept for old programs alone."""
    warn(f"{name} is deprecated in favor of {instead}")
