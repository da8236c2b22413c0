"""Pruning: parts of a parameter set to zero by a mask, in one way or in several in turn."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from ...ops import create
from ...ops.api import PUBLIC
from ..module import Module
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


class BasePruningMethod(ABC):
    """Base of the ways to prune: a subclass writes `compute_mask`, and sets `PRUNING_TYPE`.

    `apply` turns parameter `name` into parameter `<name>_orig` and buffer `<name>_mask`, whose
    product is computed before each forward. PRUNING_TYPE says what a further method looks at of
    what earlier ones left: "unstructured" the single elements, "structured" the whole slices,
    "global" all.
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask for a tensor, or its importance scores, within `default_mask`."""

    def apply_mask(self, module: Any) -> Any:
        """The parameter times its mask."""
        name = self._tensor_name
        original = getattr(module, f"{name}_orig")
        return getattr(module, f"{name}_mask").to(original.dtype) * original

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> Any:
        """Prune a parameter, by this method after those that it was pruned by before."""
        method = cls(*args, **kwargs)
        method._tensor_name = name
        method = _after_others(module, name, method)
        again = isinstance(method, PruningContainer)
        original = getattr(module, name)  # as the methods before have left it
        scores = original if importance_scores is None else importance_scores
        _same_shape(scores, original, f"parameter {name} of {module}")
        mask = getattr(module, f"{name}_mask").clone() if again else create.ones_like(original)
        mask = method.compute_mask(scores.detach(), default_mask=mask.detach())
        if not again:
            module.register_parameter(f"{name}_orig", original)
            del module._parameters[name]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """A tensor times its mask."""
        scores = t if importance_scores is None else importance_scores
        _same_shape(scores, t, "tensor t")
        mask = create.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    def remove(self, module: Any) -> None:
        """Make the pruned tensor the parameter, for good."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(f"{name}_orig")
        original.data = weight.data
        del module._buffers[f"{name}_mask"]
        setattr(module, name, original)


def _same_shape(scores: Any, t: Any, what: str) -> None:
    if scores.shape != t.shape:
        raise AssertionError(
            f"importance_scores should have the same shape as {what}, got {tuple(scores.shape)} "
            f"and {tuple(t.shape)}"
        )


def _after_others(module: Any, name: str, method: BasePruningMethod) -> BasePruningMethod:
    """The method itself, or where the parameter is pruned already a container with it."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            del module._forward_pre_hooks[key]
            container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
            container.add_pruning_method(method)
            return container
    return method


class PruningContainer(BasePruningMethod):
    """Several methods for one parameter, in turn."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Add a method for the same parameter."""
        if method is None:
            return
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator:
        return iter(self._pruning_methods)

    def __getitem__(self, index: Any) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The last method's mask of what the mask so far leaves."""
        method = self._pruning_methods[-1]
        where = _looked_at(method, t, default_mask)
        new = default_mask.to(t.dtype).clone()
        new[where] = method.compute_mask(t[where], default_mask=default_mask[where]).to(new.dtype)
        return new


def _looked_at(method: Any, t: Any, mask: Any) -> Any:
    """The index of what a further method sees."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    everything: list[Any] = [slice(None)] * t.ndim
    if method.PRUNING_TYPE == "structured":
        if not hasattr(method, "dim"):
            raise AttributeError(
                'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` '
                "defined."
            )
        dim = method.dim + t.ndim if method.dim < 0 else method.dim
        if dim < 0:
            raise IndexError(f"Index is out of bounds for tensor with dimensions {t.ndim}")
        everything[dim] = mask.sum(dim=[d for d in range(t.ndim) if d != dim]) != 0
    elif method.PRUNING_TYPE != "global":
        raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
    return tuple(everything)


class Identity(BasePruningMethod):
    """Prunes nothing: the mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """`default_mask`."""
        return default_mask


class _Amount(BasePruningMethod):
    """Methods that prune a number, or a share, of the elements or slices."""

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        whole = isinstance(amount, numbers.Integral)
        if (whole and amount < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def count(self, n: int) -> int:
        """How many of n to prune."""
        if not isinstance(self.amount, numbers.Integral):
            return round(self.amount * n)
        if self.amount > n:
            raise ValueError(
                f"amount={self.amount} should be smaller than the number of parameters to prune={n}"
            )
        return int(self.amount)


class _Unstructured(_Amount):
    PRUNING_TYPE = "unstructured"

    def scores(self, t: Any) -> Any:
        """What the elements with the lowest of are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """`default_mask` with zeros where the scores are lowest."""
        n = self.count(t.numel())
        mask = default_mask.clone()
        if n:
            lowest = self.scores(t).reshape(-1).topk(n, largest=False).indices
            mask.view(-1)[lowest] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes elements at random."""

    def scores(self, t: Any) -> Any:
        return PUBLIC["rand_like"](t)


class L1Unstructured(_Unstructured):
    """Prunes the elements of the smallest absolute value."""

    def scores(self, t: Any) -> Any:
        return t.abs()


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def scores(self, t: Any) -> Any:
        """What the slices with the lowest of are pruned, one for each."""
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """`default_mask` with zeros in the slices whose scores are lowest."""
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {tuple(t.shape)} with {t.ndim} dims"
            )
        if self.dim >= t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {tuple(t.shape)}")
        size = t.shape[self.dim]
        n = self.count(size)
        if not n:
            return default_mask
        kept = self.scores(t).topk(size - n).indices
        mask = create.zeros_like(t)
        where: list[Any] = [slice(None)] * t.ndim
        where[self.dim] = kept
        mask[tuple(where)] = 1  # type: ignore[index]
        return mask * default_mask.to(mask.dtype)


class RandomStructured(_Structured):
    """Prunes slices along `dim` at random."""

    def scores(self, t: Any) -> Any:
        return PUBLIC["rand"](t.shape[self.dim], device=t.device)


class LnStructured(_Structured):
    """Prunes the slices along `dim` of the smallest n-norm."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def scores(self, t: Any) -> Any:
        dim = self.dim % t.ndim
        return PUBLIC["norm"](t, p=self.n, dim=[d for d in range(t.ndim) if d != dim])


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """`default_mask` times the mask that is given."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {tuple(default_mask.shape)} must match self.mask shape "
                f"{tuple(self.mask.shape)}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


# -- functions ------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Make a parameter a pruned one, without pruning anything."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune a number, or a share, of the elements of a parameter at random."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Any = None
) -> Module:
    """Prune the elements of a parameter with the smallest absolute values, or scores.

    Example:
        >>> import tritorch as torch
        >>> layer = torch.nn.Linear(4, 1)
        >>> _ = torch.nn.init.constant_(layer.weight, 1.0)
        >>> _ = torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5)
        >>> int((layer.weight == 0).sum()), list(layer.state_dict())
        (2, ['bias', 'weight_orig', 'weight_mask'])
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune slices along `dim` of a parameter at random."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Any = None
) -> Module:
    """Prune the slices along `dim` of a parameter with the smallest n-norms."""
    LnStructured.apply(
        module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
    )
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prune several parameters, given as pairs (module, name), as if they were one."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    tensors = [getattr(m, name) for m, name in pairs]
    values = [scores.get(pair, t) for pair, t in zip(pairs, tensors, strict=True)]
    masks = [getattr(m, f"{name}_mask", None) for m, name in pairs]
    masks = [create.ones_like(t) if k is None else k for k, t in zip(masks, tensors, strict=True)]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    flat = container.compute_mask(
        parameters_to_vector(values).detach(), parameters_to_vector(masks)
    )
    start = 0
    for (module, name), t in zip(pairs, tensors, strict=True):
        custom_from_mask(module, name, flat[start : start + t.numel()].view(t.shape))
        start += t.numel()


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prune a parameter by a mask."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """Make the pruned tensor an ordinary parameter; its zeros stay."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one below it, is pruned."""
    return any(
        isinstance(hook, BasePruningMethod)
        for m in module.modules()
        for hook in m._forward_pre_hooks.values()
    )
