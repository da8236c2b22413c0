"""Hooks that every module calls, before its own: for profilers, debuggers and the like."""

from __future__ import annotations

from collections.abc import Callable

from ...autograd.node import RemovableHandle
from .._hooks import EVERY, add_hook
from ..module import Module

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, args)` before every `forward`; what it returns replaces the arguments."""
    return add_hook(EVERY.forward_pre, hook, notes=((EVERY.calls, True),))


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after every `forward`; what it returns replaces the output.

    `with_kwargs`: it is `hook(module, args, kwargs, output)`. `always_call`: also after errors.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.modules.module import register_module_forward_hook
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
        >>> handle = register_module_forward_hook(lambda m, args, out: print(m._get_name()))
        >>> y = net(torch.ones(1, 3))
        Linear
        ReLU
        Sequential
        >>> handle.remove()
    """
    notes = (
        (EVERY.calls, True),
        (EVERY.with_kwargs, with_kwargs),
        (EVERY.always_called, always_call),
    )
    return add_hook(EVERY.forward, hook, notes=notes)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, grad_output)` before gradients enter any module."""
    return add_hook(EVERY.backward_pre, hook, notes=((EVERY.calls, True),))


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` when those of any module are known."""
    return _backward_hook(hook, full=True)


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """The same at the node that made the output of any module, as `Module.register_backward_hook`.

    RuntimeError where there are hooks of both kinds.
    """
    return _backward_hook(hook, full=False)


def _backward_hook(hook: Callable, full: bool) -> RemovableHandle:
    if EVERY.backward and EVERY.full_backward is not full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module "
            "hook. Please use only one of them."
        )
    EVERY.full_backward = full
    return add_hook(EVERY.backward, hook, notes=((EVERY.calls, True),))


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, buffer)` at every registration; what it returns takes its place."""
    return add_hook(EVERY.registration["buffer"], hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, submodule)` at every registration, likewise."""
    return add_hook(EVERY.registration["module"], hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, parameter)` at every registration, likewise."""
    return add_hook(EVERY.registration["parameter"], hook)


def _addindent(s_: str, numSpaces: int) -> str:
    """The lines after the first moved to the right, as a `__repr__` of one's own shows modules."""
    return s_.replace("\n", "\n" + " " * numSpaces)
