"""`torch.compiler`: what programs ask about compilation; nothing is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .nn._compile import compile as compile
from .tensor import Tensor


def is_compiling() -> bool:
    """Whether a function is being traced: never."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(
    fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None
) -> Any:
    """The function itself, which runs as it is; without one, a decorator."""
    return (lambda f: f) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """The function, or functions, themselves."""
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def reset() -> None:
    """Forget what was traced: nothing was."""


def list_backends(exclude_tags: tuple = ("debug", "experimental")) -> list[str]:
    """The names of backends: what runs operator by operator."""
    return ["eager"]


def cudagraph_mark_step_begin() -> None:
    """The mark between two runs of a graph: there is none here."""


def cond(
    pred: bool | int | float | Tensor,
    true_fn: Callable,
    false_fn: Callable,
    operands: tuple | list = (),
) -> Any:
    """`true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`."""
    if not isinstance(pred, bool | int | float | Tensor):
        raise RuntimeError(f"cond: Expected pred to be bool or tensor, but got {pred!r}")
    if isinstance(pred, Tensor) and pred._data.size != 1:
        raise RuntimeError(
            f"cond: Expected pred to be bool or single-element tensor, but got {tuple(pred.shape)}"
        )
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError("cond: Expected both branches to be callable")
    return true_fn(*operands) if pred else false_fn(*operands)
