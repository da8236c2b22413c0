"""Parameters and buffers: tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

from ..op.overrides import disabled
from ..ops import create
from ..serialization_writer import CLASSES
from ..tensor import Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


class Parameter(Tensor):
    """A leaf tensor that belongs to a module's `parameters()`, and requires grad unless told.

    It shares the memory of `data`.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.Parameter(torch.zeros(2)).requires_grad
        True
    """

    __torch_function__ = classmethod(disabled)  # its results are plain tensors

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        data = create.empty(0) if data is None else data
        if not isinstance(data, Tensor):
            raise TypeError(f"{cls.__name__}: expected a Tensor, got {type(data).__name__}")
        out = create.as_subclass(data.detach(), cls)
        return out.requires_grad_() if requires_grad else out

    def __deepcopy__(self, memo: dict) -> Any:
        """A leaf of its own with the same values, without their gradient."""
        out = super().__deepcopy__(memo)  # type: ignore[misc]
        out.grad = None
        return out

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


CLASSES["parameter"] = Parameter


class Buffer(Tensor):
    """A tensor that a module registers as a buffer; `persistent` says whether it is saved."""

    persistent: bool
    __torch_function__ = classmethod(disabled)

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        data = create.empty(0) if data is None else data
        out = create.as_subclass(data.detach(), cls)
        out.persistent = persistent
        return out.requires_grad_() if data.requires_grad else out


class _Uninitialized:
    """A tensor whose shape the first call of its module decides."""

    __slots__ = ()
    becomes: type

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an ordinary parameter, or tensor, of this shape with undefined contents."""
        data = Tensor.data.__get__(self)
        made = create.empty(shape, device=device or data.device, dtype=dtype or data.dtype)
        self.__class__ = self.becomes
        self.data = made

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self: Any, memo: dict) -> Any:
        if id(self) not in memo:
            data = Tensor.data.__get__(self)
            memo[id(self)] = type(self)(self.requires_grad, data.device, data.dtype)
        return memo[id(self)]

    def __reduce_ex__(self: Any, protocol: Any) -> tuple:
        return type(self), (self.requires_grad,)


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet."""

    becomes = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return Parameter.__new__(cls, create.empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer whose shape is not known yet."""

    becomes = Buffer

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        data = create.empty(0, device=device, dtype=dtype)
        return Buffer.__new__(cls, data, persistent=persistent)


def is_lazy(param: Any) -> bool:
    """Whether its shape is not known yet."""
    return isinstance(param, _Uninitialized)
