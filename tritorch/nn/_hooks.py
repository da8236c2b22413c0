"""Hooks of modules: their registration, and the tape's nodes that call those for gradients."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.mode import no_grad, state
from ..autograd.node import Node, NodeName, RemovableHandle
from ..tensor import Tensor


def add_hook(
    hooks: OrderedDict,
    hook: Callable,
    prepend: bool = False,
    notes: Sequence[tuple[dict, bool]] = (),
) -> RemovableHandle:
    """Register a hook, and note it in each dictionary of `notes` that is marked."""
    handle = RemovableHandle(hooks, extra_dict=[d for d, _ in notes])
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    for noted, marked in notes:
        if marked:
            noted[handle.id] = True
    return handle


class EveryModule:
    """The hooks of all modules, which `tritorch.nn.modules.module` registers.

    `calls` has those around calls, so that a call without any asks one dictionary.
    """

    def __init__(self) -> None:
        self.calls: dict[int, bool] = {}
        self.forward_pre, self.forward = OrderedDict(), OrderedDict()
        self.with_kwargs: dict[int, bool] = {}
        self.always_called: dict[int, bool] = {}
        self.backward_pre, self.backward = OrderedDict(), OrderedDict()
        self.full_backward = True  # of which kind those in `backward` are
        self.registration = {kind: OrderedDict() for kind in ("buffer", "module", "parameter")}

    def registered(self, kind: str, module: Any, name: str, value: Any) -> Any:
        """What the hooks of registrations make of a value."""
        for hook in list(self.registration[kind].values()):
            new = hook(module, name, value)
            if new is not None:
                value = new
        return value


EVERY = EveryModule()


class _Boundary(Node):
    """Passes gradients on as `rule(grads)` returns them: the edge of a module."""

    __slots__ = ("rule",)
    name = NodeName("BackwardHookFunctionBackward")

    def __init__(self, tensors: Sequence[Tensor], rule: Callable[[list], Sequence]) -> None:
        super().__init__(
            tuple(t.current_edge() for t in tensors),
            tuple((t._data.shape, t.dtype) for t in tensors),
        )
        self.rule = rule

    def backward(self, grads: list, needs: list[bool]) -> Sequence:
        return self.rule(grads)


def _through(values: tuple, rule: Callable[[list], Sequence]) -> tuple[tuple, list[int] | None]:
    """The values with their tensors led through a boundary, and which are tensors.

    None for the latter where nothing is recorded.
    """
    at = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    if not state.grad or not any(values[i].requires_grad for i in at):
        return values, None
    node = _Boundary([values[i] for i in at], rule)
    out = list(values)
    for k, i in enumerate(at):
        out[i] = values[i].detach()
        if values[i].requires_grad:
            with no_grad():
                out[i] = values[i][...]
            out[i]._view.forbidden = "function"
            out[i]._edge = (node, k)
    fields = hasattr(values, "_fields")
    return (type(values)(*out) if fields else tuple(out)), at


def _spread(grads: Sequence, at: Sequence[int], n: int) -> tuple:
    """Gradients of the tensors among n values; None for the other values."""
    out: list = [None] * n
    for i, g in zip(at, grads):
        out[i] = g
    return tuple(out)


class BackwardHooks:
    """The full backward (pre-)hooks of one call of a module."""

    def __init__(self, module: Any, hooks: Sequence[Callable], pre: Sequence[Callable]) -> None:
        self.module, self.hooks, self.pre = module, list(hooks), list(pre)
        self.grad_outputs: tuple | None = None
        self.inputs_at: list[int] | None = None

    def enter(self, args: tuple) -> tuple:
        self.n_inputs = len(args)
        args, self.inputs_at = _through(args, self._at_inputs)
        return args

    def leave(self, result: Any) -> Any:
        single = not isinstance(result, tuple)
        values = (result,) if single else result
        self.n_outputs = len(values)
        values, self.outputs_at = _through(values, self._at_outputs)
        return values[0] if single else values

    def _at_outputs(self, grads: list) -> Sequence:
        at: Any = self.outputs_at
        self.grad_outputs = _spread(grads, at, self.n_outputs)
        for hook in self.pre:
            new = hook(self.module, self.grad_outputs)
            if new is not None:
                new = new if isinstance(new, tuple) else (new,)
                _check_count("Backward pre hook", "grad_output", new, self.n_outputs)
                self.grad_outputs = new
        outputs = self.grad_outputs
        if self.inputs_at is None:
            self._without_inputs()
        return [outputs[i] for i in at]

    def _without_inputs(self) -> None:
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.hooks:
            new = hook(self.module, (None,) * self.n_inputs, self.grad_outputs)
            if new is not None and any(g is not None for g in new):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _at_inputs(self, grads: list) -> Sequence:
        at: Any = self.inputs_at
        if self.grad_outputs is None:
            return grads
        inputs = _spread(grads, at, self.n_inputs)
        for hook in self.hooks:
            new = hook(self.module, inputs, self.grad_outputs)
            if new is not None:
                new = new if isinstance(new, tuple) else (new,)
                _check_count("Backward hook", "grad_input", new, self.n_inputs)
                inputs = new
        self.grad_outputs = None
        return [inputs[i] for i in at]


def _check_count(what: str, grad: str, got: Sequence, expected: int) -> None:
    if len(got) != expected:
        raise RuntimeError(
            f"{what} returned an invalid number of {grad}, got {len(got)}, but expected {expected}"
        )


def hook_node(module: Any, hooks: Sequence[Callable], args: Any, result: Any) -> None:
    """Register hooks that are not full ones at the node that made the first tensor of a result."""
    first = result
    while not isinstance(first, Tensor):
        if isinstance(first, dict):
            first = next(v for v in first.values() if isinstance(v, Tensor))
        else:
            first = first[0]
    node: Any = first.grad_fn
    if node is None:
        return
    owner = weakref.ref(module)
    for hook in hooks:
        node.register_hook(lambda inputs, outputs, hook=hook: hook(owner(), inputs, outputs))
    missing = _missing(node, args, result)
    if missing:
        warnings.warn(
            f"Using a non-full backward hook {missing}. Please use register_full_backward_hook to "
            "get the documented behavior.",
            FutureWarning,
            stacklevel=5,
        )


def _missing(node: Any, args: Any, result: Any) -> str:
    """What a hook at the node that made a result does not see, if anything."""
    outputs = (result,) if isinstance(result, Tensor) else result
    if not (isinstance(outputs, tuple) and all(isinstance(r, Tensor) for r in outputs)):
        return (
            "on a Module that does not return a single Tensor or a tuple of Tensors is deprecated: "
            "it will be missing some of the grad_output"
        )
    if not all(isinstance(a, Tensor) for a in args):
        return (
            "on a Module that does not take as input a single Tensor or a tuple of Tensors is "
            "deprecated: it will be missing some of the grad_input"
        )
    if len({r.grad_fn for r in outputs if r.grad_fn is not None}) > 1:
        return (
            "when outputs are generated by different autograd Nodes is deprecated: it will be "
            "missing some grad_output"
        )
    taken = {a.grad_fn for a in args if a.grad_fn is not None}
    if taken != {before for before, _ in node.next_functions}:
        return (
            "when the forward contains multiple autograd Nodes is deprecated: it will be missing "
            "some grad_input"
        )
    return ""


class HookMethods:
    """What `Module` offers for hooks around `forward` and the gradients that pass a module."""

    _backward_hooks: OrderedDict
    _backward_pre_hooks: OrderedDict
    _forward_hooks: OrderedDict
    _forward_hooks_always_called: OrderedDict
    _forward_hooks_with_kwargs: OrderedDict
    _forward_pre_hooks: OrderedDict
    _forward_pre_hooks_with_kwargs: OrderedDict
    _is_full_backward_hook: bool | None = None
    forward: Callable[..., Any]

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)`, or `hook(module, args, kwargs)`, before `forward`.

        What it returns replaces the arguments: a value or a tuple, or (args, kwargs).
        """
        notes = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return add_hook(self._forward_pre_hooks, hook, prepend, notes)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)`, or `hook(module, args, kwargs, output)`, after
        `forward`; what it returns replaces the output. `always_call`: also when that raised."""
        notes = (
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        )
        return add_hook(self._forward_hooks, hook, prepend, notes)

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the gradients of the outputs enter the module;
        what it returns replaces them."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the module's inputs
        are known; what it returns replaces `grad_input`."""
        self._backward_hooks_are(True)
        return add_hook(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` at the node that made the output: with the
        gradients of what that operator took, which in a module of several need not be its inputs.

        Deprecated: `register_full_backward_hook`. A module takes hooks of one of the two only.
        """
        self._backward_hooks_are(False)
        return add_hook(self._backward_hooks, hook)

    def _backward_hooks_are(self, full: bool) -> None:
        if self._is_full_backward_hook not in (None, full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    def _get_backward_hooks(self) -> tuple[list[Callable], list[Callable]]:
        """The full backward hooks of this and of every module, and the other ones."""
        found: tuple[list[Callable], list[Callable]] = [], []
        found[not EVERY.full_backward].extend(EVERY.backward.values())
        found[self._is_full_backward_hook is False].extend(self._backward_hooks.values())
        return found

    def _get_backward_pre_hooks(self) -> list[Callable]:
        return [*EVERY.backward_pre.values(), *self._backward_pre_hooks.values()]

    def _call_with_hooks(self, args: tuple, kwargs: dict) -> Any:
        called: set[int] = set()
        result: list = [None]
        try:
            return self._hooked_forward(args, kwargs, called, result)
        except Exception:
            always = {**EVERY.always_called, **self._forward_hooks_always_called}
            hooks = {**EVERY.forward, **self._forward_hooks}
            for key in always:
                if key in hooks and key not in called:
                    self._call_after_error(key, hooks[key], args, kwargs, result[0])
            raise

    def _hooked_forward(self, args: tuple, kwargs: dict, called: set[int], kept: list) -> Any:
        for key, hook in [*EVERY.forward_pre.items(), *self._forward_pre_hooks.items()]:
            args, kwargs = self._before(key, hook, args, kwargs)
        around = None
        hooks, at_node = self._get_backward_hooks()
        pre = self._get_backward_pre_hooks()
        if hooks or pre:
            around = BackwardHooks(self, hooks, pre)
            args = around.enter(args)
        result = kept[0] = self.forward(*args, **kwargs)
        for key, hook in [*EVERY.forward.items(), *self._forward_hooks.items()]:
            called.add(key)
            replaced = hook(self, args, *self._kwargs_for(key, kwargs), result)
            if replaced is not None:
                result = kept[0] = replaced
        if around is not None:
            if not isinstance(result, Tensor | tuple):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple "
                    f"of Tensors but received {type(result)}",
                    stacklevel=4,
                )
            result = around.leave(result)
        if at_node:
            hook_node(self, at_node, args, result)
        return result

    def _before(self, key: int, hook: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if key not in self._forward_pre_hooks_with_kwargs:
            replaced = hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
            return args, kwargs
        replaced = hook(self, args, kwargs)
        if replaced is None:
            return args, kwargs
        if not isinstance(replaced, tuple) or len(replaced) != 2:
            raise RuntimeError(
                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                f"{replaced}."
            )
        return replaced

    def _kwargs_for(self, key: int, kwargs: dict) -> tuple:
        wanted = key in self._forward_hooks_with_kwargs or key in EVERY.with_kwargs
        return (kwargs,) if wanted else ()

    def _call_after_error(
        self, key: int, hook: Callable, args: tuple, kwargs: dict, result: Any
    ) -> None:
        try:
            hook(self, args, *self._kwargs_for(key, kwargs), result)
        except Exception as error:
            warnings.warn(
                "module forward hook with ``always_call=True`` raised an exception that was "
                f"silenced as another error was raised in forward: {error}",
                stacklevel=4,
            )
