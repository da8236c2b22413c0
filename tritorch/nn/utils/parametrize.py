"""Parametrizations: a parameter as a function of others, computed wherever it is read."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "cached",
    "ParametrizationList",
    "register_parametrization",
    "is_parametrized",
    "remove_parametrizations",
    "type_before_parametrizations",
    "transfer_parametrizations_and_params",
]

_cache_enabled = 0
_cache: dict[tuple[int, str], Any] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Inside the block every parametrized tensor is computed once, at its first use."""
    global _cache_enabled
    _cache_enabled += 1
    try:
        yield
    finally:
        _cache_enabled -= 1
        if not _cache_enabled:
            _cache.clear()


def _put(module: Module, name: str, tensor: Any) -> None:
    """Register a parameter, or another tensor as a buffer."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


@no_grad()
def _become(target: Any, value: Any) -> None:
    """The values of a tensor, which may have another shape."""
    if target.shape == value.shape:
        target.copy_(value)
    else:
        target.data = value.detach().clone()


def _alike(mine: str, theirs: str, a: tuple, b: tuple) -> None:
    """ValueError where the dtypes and shapes of two tensors differ."""
    for field, before, after in zip(("dtype", "shape"), a, b, strict=True):
        if before != after:
            raise ValueError(
                f"Registering a parametrization may not change the {field} of the tensor, unless "
                f"`unsafe` flag is enabled.\n{mine} {field}: {before}\n{theirs} {field}: {after}"
            )


def _a_tensor(value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what they are computed from.

    That is `original`, or `original0`, `original1` ... where the first one's `right_inverse` gives
    several tensors. A call computes the tensor.
    """

    original: Any

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        new = self._undone(original)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            self._keep_one(original, new)
        else:
            self._keep_several(original, new)
        if not unsafe:
            out = self()
            _a_tensor(out)
            _alike("unparametrized", "parametrized", (dtype, shape), (out.dtype, out.shape))

    @no_grad()
    def _undone(self, value: Any) -> Any:
        """What the parametrizations give `value` for, as far as they say."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    value = module.right_inverse(value)
        if not isinstance(value, Tensor | Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        return value

    def _keep_one(self, original: Any, new: Any) -> None:
        for field in ("dtype", "device"):
            if getattr(original, field) != getattr(new, field):
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the {field}.\n"
                    f"original.{field}: {getattr(original, field)}\n"
                    f"right_inverse(original).{field}: {getattr(new, field)}"
                )
        if new is not original:
            _become(original, new)
        _put(self, "original", original)

    def _keep_several(self, original: Any, new: Sequence) -> None:
        for i, tensor in enumerate(new):
            if not isinstance(tensor, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                    f"tuple...). Got element {i} of the sequence with type {type(tensor).__name__}."
                )
            own: Any = tensor.detach().clone()  # type: ignore[attr-defined]
            if isinstance(original, Parameter):
                own = Parameter(own, original.requires_grad)
            _put(self, f"original{i}", own)

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Set what the tensor is computed from so that it becomes `value`."""
        new: Any = value
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(
                    f"parametrization {type(module).__name__} does not implement right_inverse."
                )
            new = module.right_inverse(new)
        if self.is_tensor:
            if not isinstance(new, Tensor):
                raise ValueError(
                    f"`right_inverse` should return a tensor. Got {type(new).__name__}"
                )
            new = (new,)
        elif not isinstance(new, Sequence):
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}."
            )
        if len(new) != self.ntensors:
            raise ValueError(
                "'right_inverse' must return a sequence of tensors of length "
                f"{self.ntensors}. Got a sequence of length {len(new)}."
            )
        for i, (own, tensor) in enumerate(zip(self._originals(), new, strict=True)):
            if not isinstance(tensor, Tensor) or tensor.dtype is not own.dtype:
                found = getattr(tensor, "dtype", type(tensor).__name__)
                raise ValueError(
                    f"Tensor {i} returned by `right_inverse` has dtype {found} while its original "
                    f"has dtype {own.dtype}"
                )
            _become(own, tensor)

    def _originals(self) -> list[Any]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def forward(self) -> Any:
        """The tensor."""
        first, *rest = self
        out = first(*self._originals())
        for module in rest:
            out = module(out)
        return out


def _refuse_pickling(self: Any) -> Any:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(): save that, "
        "and load it into a module that was parametrized in the same way"
    )


def _deepcopy(self: Any, memo: dict) -> Any:
    if id(self) not in memo:
        memo[id(self)] = replica = self.__new__(self.__class__)
        replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    return memo[id(self)]


def _own_class(module: Any) -> None:
    """Give a module a class of its own, which can get properties."""
    kind = type(module)
    body: dict[str, Any] = {"__getstate__": _refuse_pickling}
    if not hasattr(kind, "__deepcopy__"):
        body["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), body)


def _property(name: str) -> property:
    def get(self: Any) -> Any:
        compute = self.parametrizations[name]
        if not _cache_enabled:
            return compute()
        key = id(self), name
        if key not in _cache:
            _cache[key] = compute()
        return _cache[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, put)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute the tensor of that name by `parametrization`, from now on.

    What it is computed from becomes a parameter `parametrizations.<name>.original`; its first value
    is `parametrization.right_inverse(tensor)`, where that is defined, which may also be several
    tensors. Assigning to the tensor goes through `right_inverse` too. Several registered ones are
    applied in turn. They keep shape and dtype unless `unsafe`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.utils import parametrize
        >>> class Symmetric(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).t()
        >>> layer = torch.nn.Linear(3, 3)
        >>> _ = parametrize.register_parametrization(layer, "weight", Symmetric())
        >>> bool((layer.weight == layer.weight.t()).all())
        True
    """
    parametrization.train(module.training)
    host: Any = module
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(host, tensor_name, parametrization)
        host.parametrizations[tensor_name].append(parametrization)
        host.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()  # type: ignore[assignment]
        setattr(type(module), tensor_name, _property(tensor_name))
        host.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_next(module: Any, name: str, parametrization: Any) -> None:
    """A further parametrization keeps shape and dtype, forward and back."""
    before = getattr(module, name)
    after = parametrization(before)
    _a_tensor(after)
    what = f"module.{name}"
    kind = before.dtype, before.shape
    _alike(what, f"parametrization({what})", kind, (after.dtype, after.shape))
    if hasattr(parametrization, "right_inverse"):
        with contextlib.suppress(NotImplementedError):
            back = parametrization.right_inverse(after)
            if not isinstance(back, Tensor):
                raise ValueError(
                    "parametrization.right_inverse must return a tensor. Got: "
                    f"{type(back).__name__}"
                )
            _alike(what, "parametrization.right_inverse", kind, (back.dtype, back.shape))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module is parametrized; any, where no name is given."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor an ordinary one: of its present value, or with `leave_parametrized=False`
    the one that it was computed from."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    host: Any = module
    listed = host.parametrizations[tensor_name]
    if listed.is_tensor:
        original = listed.original
        if leave_parametrized:
            with no_grad():
                _become(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value: Any = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del host.parametrizations[tensor_name]
    _put(module, tensor_name, original)
    if not is_parametrized(module):
        del host.parametrizations
        host.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give `to_module` the parametrizations of `from_module` and what they are computed from."""
    if not is_parametrized(from_module):
        return to_module
    source: Any = from_module
    target: Any = to_module
    for name in source.parametrizations if tensor_name is None else [tensor_name]:
        listed = source.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in listed:
            register_parametrization(to_module, name, parametrization)
        own = target.parametrizations[name]
        for key, value in listed._parameters.items() if listed.is_tensor else ():
            own._parameters[key] = value
        if not listed.is_tensor:
            for i in range(listed.ntensors):
                setattr(own, f"original{i}", getattr(listed, f"original{i}"))
    return to_module
