"""`torch.compile`: the callable it returns runs operator by operator, with the same results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .module import Module

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable | None = None,
    mode: str | None = None,
    options: dict | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: Any = None,
) -> Any:
    """A callable with the results of `model`, a function or a module; without one, a decorator.

    Nothing is traced: kernels are compiled at their first launch and kept, whether called from here
    or not. A module comes back in an `OptimizedModule`, whose `_orig_mod` it is.

    Example:
        >>> import tritorch as torch
        >>> torch.compile(lambda x: x + 1, fullgraph=True)(torch.ones(2))
        tensor([2., 2.])
    """
    check_options(mode, options)
    if model is None:
        return functools.partial(compile, disable=disable)
    if not callable(model):
        raise RuntimeError(f"compile: expected a callable or a Module, got {type(model).__name__}")
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)

    @functools.wraps(model)
    def run(*args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    run._torchdynamo_orig_callable = model  # type: ignore[attr-defined]
    return run


def check_options(mode: str | None = None, options: dict | None = None, **others: Any) -> None:
    """Refuse a mode that PyTorch does not know, and a mode beside options."""
    if mode is not None and options is not None:
        raise RuntimeError(
            "compile: Either mode or options can be specified, but both can't be specified at the "
            "same time."
        )
    if mode is not None and mode not in MODES:
        raise RuntimeError(f"compile: Unrecognized mode={mode}, should be one of: {list(MODES)}")


class OptimizedModule(Module):
    """What `compile` makes of a module: the same parameters, under the names `_orig_mod.*`."""

    _orig_mod: Module

    def __init__(self, mod: Module) -> None:
        super().__init__()
        self._orig_mod = mod
        self.training = mod.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """`forward` of the module, with its hooks."""
        return self._orig_mod(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__.get("_modules", {}).get("_orig_mod")
        if own is None:
            raise AttributeError(f"'OptimizedModule' object has no attribute {name!r}")
        return own if name == "_orig_mod" else getattr(own, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})
