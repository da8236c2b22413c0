"""`Module`: what owns parameters, buffers and other modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..serialization_writer import BASES
from ..tensor import Tensor
from ._convert import ConvertMethods
from ._hooks import EVERY, HookMethods
from ._state import StateMethods
from ._takes import called_with
from .parameter import Buffer, Parameter

Self = TypeVar("Self", bound="Module")
_EVERYWHERE = EVERY.calls
_HOOKS = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_load_state_dict_post_hooks",
    "_load_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
)


class Module(HookMethods, StateMethods, ConvertMethods):
    """Base class of all neural network modules; a subclass writes `__init__` and `forward`.

    Parameters, buffers and modules that are assigned to attributes are registered, and found by
    `parameters()`, `state_dict()`, `to()` and their like, also inside other modules.

    Example:
        >>> import tritorch as torch
        >>> class Net(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(3, 2)
        ...
        ...     def forward(self, x):
        ...         return self.layer(x).relu()
        >>> Net()(torch.ones(4, 3)).shape
        tritorch.Size([4, 2])
    """

    training: bool
    call_super_init = False
    dump_patches = False
    T_destination = TypeVar("T_destination", bound=dict[str, Any])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            name = f"{type(self).__name__}.__init__()"
            if kwargs:
                raise TypeError(f"{name} got an unexpected keyword argument '{next(iter(kwargs))}'")
            raise TypeError(f"{name} takes 1 positional argument but {len(args) + 1} were given")
        own = self.__dict__
        own["training"] = True
        own["_parameters"], own["_buffers"], own["_modules"] = {}, {}, {}
        own["_non_persistent_buffers_set"] = set()
        for name in _HOOKS:
            own[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input: Any, **kwargs: Any) -> Any:
        """To be overridden: what a call of the module computes."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """`torch.compile` of this module's call, with its keywords; the call stays as it is."""
        from ._compile import compile as compile_

        compile_(self.__call__, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or _EVERYWHERE
            ):
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _note_path(error, self, args, kwargs)
            raise

    _call_impl = _wrapped_call_impl = __call__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes what was pickled, also by a version that knew fewer hooks."""
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())

    # -- attributes -------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "_parameters" in own:
            if name in own["_parameters"]:
                return own["_parameters"][name]
            if name in own["_buffers"]:
                return own["_buffers"][name]
            if name in own["_modules"]:
                return own["_modules"][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Tensor | Module):
            self._set_registered(name, value)
        elif "_parameters" in own and name in own["_parameters"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif "_modules" in own and (name in own["_modules"] or name in own["_buffers"]):
            if value is not None:
                module = name in own["_modules"]
                kind = "child module" if module else "buffer"
                expected = "torch.nn.Module" if module else "torch.nn.Buffer, torch.Tensor"
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as {kind} '{name}' "
                    f"({expected} or None expected)"
                )
            own["_modules" if name in own["_modules"] else "_buffers"][name] = None
        else:
            object.__setattr__(self, name, value)

    def _set_registered(self, name: str, value: Any) -> None:
        """Assign a tensor or a module."""
        own = self.__dict__
        if isinstance(value, Parameter | Module):
            parameter = isinstance(value, Parameter)
            if "_parameters" not in own:
                kind = "parameters" if parameter else "module"
                raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
            self._forget(name, keep="_parameters" if parameter else "_modules")
            if parameter:
                self.register_parameter(name, value)  # type: ignore[arg-type]
            else:
                own["_modules"][name] = EVERY.registered("module", self, name, value)
        elif name in own.get("_parameters", ()) or name in own.get("_modules", ()):
            module = name in own["_modules"]
            raise TypeError(
                f"cannot assign '{_typename(value)}' as {'child module' if module else 'parameter'}"
                f" '{name}' (torch.nn.{'Module' if module else 'Parameter'} or None expected)"
            )
        elif isinstance(value, Buffer) or name in own.get("_buffers", ()):
            persistent = name not in self._non_persistent_buffers_set
            if isinstance(value, Buffer):
                persistent = value.persistent
            self.register_buffer(name, value, persistent)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: str) -> None:
        own = self.__dict__
        own.pop(name, None)
        for kind in ("_parameters", "_buffers", "_modules"):
            if kind != keep:
                own[kind].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        for kind in (self._parameters, self._buffers, self._modules):
            if name in kind:
                del kind[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._buffers, self._modules)
        return sorted(n for n in names if not n[0].isdigit())

    # -- registration -----------------------------------------------------------------------

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is no parameter; saved in the `state_dict` if `persistent`."""
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = EVERY.registered("buffer", self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name."""
        self._check_name("parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                "the value in the forward() method."
            )
        self._parameters[name] = EVERY.registered("parameter", self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = EVERY.registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def _check_name(self, kind: str, name: str, where: str) -> None:
        if where not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[where] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # -- finding ------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; this module itself for the empty one."""
        found: Any = self
        for name in target.split(".") if target else ():
            found = _member(found, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted path; `strict`: only in place of another."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(_member(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        found = _member(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        found = _member(parent, name)
        if name not in parent._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def _named_members(
        self, members: Callable, prefix: str = "", recurse: bool = True, unique: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(None, prefix, unique) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in members(module):
                if value is None or id(value) in seen:
                    continue
                if unique:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; with `recurse`, those of the children too."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of all parameters."""
        return self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer) of all buffers."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below this one."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all below it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    # -- changing all of it ---------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every module below this one, then with this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode, which dropout, batch normalisation and others look at."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Begin or end to record operations on all parameters."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for p in self.parameters():
            if p._grad is None:
                continue
            if set_to_none:
                p._grad = None
            else:
                p._grad = p._grad.detach().zero_()  # type: ignore[attr-defined]

    # -- representation -------------------------------------------------------------------------

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """To be overridden: what `repr` shows between the brackets."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({k}): {indent(repr(m))}" for k, m in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        lines += children
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({body})"


def indent(text: str) -> str:
    """The lines after the first moved right by two columns."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"  {line}" for line in rest)])


def _member(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def _typename(value: Any) -> str:
    """`int`, `mypackage.Thing`, `torch.FloatTensor`."""
    kind = value if isinstance(value, type) else type(value)
    if kind is Tensor:
        return value.type()
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def _note_path(error: Exception, module: Module, args: tuple, kwargs: dict[str, Any]) -> None:
    """Say in the traceback which module raised, what it was called with, and what it takes:
    `in module layers.0.linear: Linear(...); called with (3, 11) float32, takes (*, 10)`.

    Every call on the way out adds its part, so that the path starts at the outermost module.
    """
    inner, path, note, call = getattr(error, "_module_path", (None, "", "", ""))
    if inner is None:
        inner, below, call = module, module, called_with(module, args, kwargs)
    else:
        below = error._module_below  # type: ignore[attr-defined]
    if below is not module:
        name = next((n for n, m in module.named_modules() if m is below), "?")
        path = f"{name}.{path}" if path else name
    notes = [n for n in getattr(error, "__notes__", ()) if n is not note]
    where = f"{module._get_name()}.{path}" if path else module._get_name()
    shown = repr(inner) if not inner._modules else f"{inner._get_name()}(...)"
    note = f"in module {where}" + (f": {shown}" if path or not inner._modules else "") + call
    try:
        error._module_path = inner, path, note, call  # type: ignore[attr-defined]
        error._module_below = module  # type: ignore[attr-defined]
        error.__notes__ = [*notes, note]
    except AttributeError:  # an exception class with slots
        return


BASES.append(Module)
