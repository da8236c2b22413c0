"""Tensor: a strided view of storage, and its place on the tape.

No operator is imported here: operators attach their methods to `Tensor` (see `op.method`).
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .autograd.mode import state
from .autograd.node import AccumulateGrad, Detached, Edge, EmptyView, RemovableHandle
from .device import CPU, device
from .dtypes import DType

_PACKAGE = __name__.rsplit(".", 1)[0] + "."
new = object.__new__


class Size(tuple):
    """A shape: a tuple of ints with `numel()`."""

    def numel(self) -> int:
        n = 1
        for d in self:
            n *= d
        return n

    def __add__(self, other: tuple) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __getitem__(self, key: Any) -> Any:
        got = tuple.__getitem__(self, key)
        return Size(got) if isinstance(key, slice) else got

    def __repr__(self) -> str:
        return f"tritorch.Size({list(self)})"


class Storage:
    """What owns memory, shared by a tensor and its views, with their common version counter.

    A tensor has none until something shares with it: a tensor nobody has viewed, detached or
    changed in place is at version 0.
    """

    __slots__ = ("changed_by", "owner", "version")

    def __init__(self, owner: Any, version: int = 0) -> None:
        self.owner = owner
        self.version = version
        self.changed_by: tuple | None = None

    def bump(self, op: str) -> None:
        """Count a change in place, and remember which operator and which of the user's lines."""
        self.version += 1
        frame: Any = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            frame = frame.f_back
        self.changed_by = (op, frame.f_code.co_filename, frame.f_lineno)


FORBIDDEN = {
    "multi": "is the output of a function that returns multiple views",
    "no_grad": "was created in no_grad mode",
    "function": "was returned by a custom Function",
}


class View:
    """How a view comes from its base: `op(parent, **params)`, replayed from the base down.

    `version` is the storage's version at which the tensor's edge was right; `forbidden` says why
    it may not be changed in place under autograd, where it may not.
    """

    __slots__ = ("forbidden", "op", "params", "parent", "version")

    def __init__(self, op: Callable, params: dict, parent: View | None, version: int) -> None:
        self.op, self.params, self.parent, self.version = op, params, parent, version
        self.forbidden: str | None = None

    def absolute(self) -> bool:
        """Whether it begins with a view of the memory, which may reach beyond what it came from."""
        view = self
        while view.parent is not None:
            view = view.parent
        return getattr(view.op, "absolute", False)

    def replay(self, base: Tensor) -> Tensor:
        """This view, taken of another base of the same geometry."""
        chain: list[View] = []
        view: View | None = self
        while view is not None:
            chain.append(view)
            view = view.parent
        for view in reversed(chain):
            base = view.op(base, **view.params)
        return base


class Tensor:
    """A multi-dimensional array of one dtype on one device, with PyTorch's semantics.

    Make one with `tensor`, `zeros`, `randn`, `from_numpy` and their like. `Tensor(2, 3)` is
    PyTorch's old constructor: an uninitialised float tensor of that shape, or one from a list.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_base",
        "_data",
        "_edge",
        "_storage",
        "_view",
        "dtype",
        "_grad",
    )
    _data: Any  # np.ndarray on the CPU, runtime.array.Array elsewhere
    dtype: DType
    _storage: Storage | None
    _edge: Edge | None
    _base: Tensor | None
    _view: View | None
    _grad: Tensor | None
    _inference: bool  # only where it is true
    _legacy: Callable  # set by ops.create
    __array_priority__ = 1000

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        return Tensor._legacy(cls, *args, **kwargs)

    # -- memory -----------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._data.shape)

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def device(self) -> device:
        data = self._data
        return CPU if data.__class__ is np.ndarray else data.device

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self._data.__class__ is np.ndarray

    @property
    def is_meta(self) -> bool:
        return self.device.type == "meta"

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._data.size * self.dtype.itemsize

    @property
    def storage_(self) -> Storage:
        """The storage, made at the first sharing."""
        if self._storage is None:
            self._storage = Storage(self._data)
        return self._storage

    @property
    def _version(self) -> int:
        if "_inference" in self.__dict__:
            raise RuntimeError("Inference tensors do not track version counter.")
        return 0 if self._storage is None else self._storage.version

    # -- history ----------------------------------------------------------------------------

    def current_edge(self) -> Edge | None:
        """The edge, derived anew for a view whose base has been changed since."""
        view = self._view
        if view is None:
            return self._edge
        base: Any = self._base
        if view.version == self._storage.version:  # type: ignore[union-attr]
            if self._edge is None and base._edge is not None:
                return Detached((), ((self._data.shape, self.dtype),)), 0
            return self._edge
        if self._edge is None and base._edge is None:
            return None
        if view.forbidden is not None:
            raise RuntimeError(
                f"a view {FORBIDDEN[view.forbidden]}, and its base or another view of its base has "
                "been modified inplace with grad mode enabled: its history is not known. Make the "
                "view anew, or clone() it"
            )
        outer, state.grad = state.grad, True
        try:
            if self._data.size or base._edge is None:
                self._edge = view.replay(base)._edge
            else:
                self._edge = EmptyView((base._edge,), ((self._data.shape, self.dtype),)), 0
        finally:
            state.grad = outer
        view.version = self._storage.version  # type: ignore[union-attr]
        return self._edge

    @property
    def requires_grad(self) -> bool:
        return self._edge is not None or (
            self._view is not None and self._base._edge is not None  # type: ignore[union-attr]
        )

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value is not True and value is not False:
            raise RuntimeError("requires_grad must be a bool")
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Any:
        edge = self.current_edge()
        if edge is None or type(edge[0]) in (AccumulateGrad, Detached):
            return None
        return edge[0].named()

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        edge = self.current_edge()
        return 0 if edge is None else edge[1]

    @property
    def grad(self) -> Tensor | None:
        edge = self._edge
        kept = edge is None or type(edge[0]) in (AccumulateGrad, Detached) or self.retains_grad
        if self._grad is None and not kept:
            warnings.warn(
                "The .grad of a tensor that is not a leaf is not kept by backward(): it is None. "
                "Call .retain_grad() on it before backward(), or read the .grad of a leaf.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of "
                    f"type {type(value).__name__}"
                )
            if value._data.shape != self._data.shape or value.dtype is not self.dtype:
                raise RuntimeError(
                    "attempting to assign a gradient of size "
                    f"'{list(value.shape)}' and dtype {value.dtype} to a tensor of size "
                    f"'{list(self.shape)}' and dtype {self.dtype}"
                )
            if value.device != self.device:
                raise RuntimeError(
                    f"assigned grad is on {value.device}, the tensor on {self.device}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Begin or end to record operations on this leaf; returns it."""
        if requires_grad is not True and requires_grad is not False:
            kind = type(requires_grad).__name__
            raise TypeError(f"requires_grad_(): argument 'requires_grad' must be bool, not {kind}")
        if requires_grad == self.requires_grad:
            return self
        if not self.is_leaf:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and self.dtype.category < 2:
            raise RuntimeError(
                f"only Tensors of floating point and complex dtype can require gradients, got "
                f"{self.dtype}"
            )
        if requires_grad and self.is_inference() and not state.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside "
                "InferenceMode is not allowed."
            )
        self._edge = (AccumulateGrad(self), 0) if requires_grad else None  # type: ignore
        return self

    def is_inference(self) -> bool:
        """Whether it was made in `inference_mode`."""
        return self.__dict__.get("_inference", False)

    def detach(self) -> Tensor:
        """The same memory without history; changes in place are seen, and counted, by both."""
        out = wrap(self._data, self.dtype)
        out._storage = self.storage_
        if "_inference" in self.__dict__:
            out._inference = True
        return out

    def detach_(self) -> Tensor:
        """Drop the history of this tensor itself."""
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._edge = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history, and with a version counter of its own."""
        out = wrap(self._data, self.dtype)
        out._storage = Storage(self.storage_.owner)
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: Variable data has to be a tensor, got {type(value).__name__}")
        if self.requires_grad and value.dtype.category < 2:
            raise RuntimeError(
                f"data set to a tensor that requires gradients must be floating point or complex "
                f"dtype, got {value.dtype}"
            )
        self._data = value._data
        self.dtype = value.dtype
        version = 0 if self._storage is None else self._storage.version
        self._storage = Storage(value.storage_.owner, version)
        if self._edge is not None and type(self._edge[0]) is AccumulateGrad:
            self._edge[0].outputs = ((value._data.shape, value.dtype),)

    # -- hooks ------------------------------------------------------------------------------

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known; what it returns replaces it."""
        edge = self.current_edge()
        if edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return edge[0].all_hooks().add("tensor", edge[1], hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(self)` after a backward has added to this leaf's `grad`."""
        edge = self._edge
        if edge is None or type(edge[0]) is not AccumulateGrad:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        leaf = edge[0].leaf  # a reference to the tensor itself would be a cycle
        return edge[0].all_hooks().add("post", lambda *grads: hook(leaf()))

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in `grad`."""
        edge = self.current_edge()
        if edge is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if type(edge[0]) is AccumulateGrad or self.retains_grad:
            return
        this = weakref.ref(self)  # the tensor holds the node: no cycle

        def keep(grad: Tensor | None) -> None:
            t = this()
            if t is not None and grad is not None:
                t._grad = grad if t._grad is None else t._grad + grad  # type: ignore

        self.__dict__["retains_grad"] = edge[0].all_hooks().add("grad", edge[1], keep), keep

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` has been called on this non-leaf."""
        return "retains_grad" in self.__dict__

    def move_retained(self) -> None:
        """After a change in place, keep the gradient of the new value, as PyTorch does."""
        if self._edge is not None and "retains_grad" in self.__dict__:
            handle, keep = self.__dict__["retains_grad"]
            handle.remove()
            added = self._edge[0].all_hooks().add("grad", self._edge[1], keep)
            self.__dict__["retains_grad"] = added, keep


def wrap(data: Any, dtype: DType) -> Tensor:
    """A tensor of this data without history; `data` is not looked at."""
    t = new(Tensor)
    t._data = data
    t.dtype = dtype
    t._storage = t._edge = t._base = t._view = t._grad = None
    return t


def from_data(data: Any) -> Tensor:
    """A tensor of an array, its dtype read off it."""
    if data.__class__ is np.ndarray:
        return wrap(data, dtypes.of(data.dtype))
    if isinstance(data, (np.ndarray, np.generic)):
        data = np.asarray(data)
        return wrap(data, dtypes.of(data.dtype))
    return wrap(data, data.dtype)
