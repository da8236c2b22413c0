"""Forward mode: tensors that carry a tangent, and the tangents of what was computed from them.

A dual tensor begins a history of its own. The tangent of a result is found when it is asked for, by
two passes backward through that history: the derivative by u of the product of u and the Jacobian.
So every operator with a second derivative has a forward one, and a dual tensor requires grad.
Operators inside `no_grad` leave no history, and their results have no tangent.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any, NamedTuple

from ..tensor import Tensor
from . import engine
from .mode import enable_grad, state
from .node import AccumulateGrad

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]


class UnpackedDualTensor(NamedTuple):
    """A tensor's value and its tangent, None where it has none."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    """The dual tensors of a block, their tangents, and the nodes at which their histories begin."""

    def __init__(self) -> None:
        self.duals: list[Tensor] = []
        self.tangents: list[Tensor] = []
        self.starts: list[Any] = []

    def add(self, tensor: Any, tangent: Any) -> Tensor:
        with enable_grad():
            dual = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach()
            dual.requires_grad_()
        self.duals.append(dual)
        self.tangents.append(tangent)
        self.starts.append(dual.current_edge()[0])
        return dual

    def reached(self, tensor: Any) -> tuple[bool, bool]:
        """Whether a tensor depends on a dual one of this block, and on anything else."""
        edge = tensor.current_edge()
        nodes = {} if edge is None else engine._count([edge[0]])
        leaves = [n for n in nodes if type(n) is AccumulateGrad and n not in self.starts]
        return any(n in nodes for n in self.starts), bool(leaves)

    def tangent(self, out: Any, more: bool) -> Tensor:
        """`J t`, with a history where there is more than the block to depend on."""
        more = more or any(t.requires_grad for t in self.tangents)
        with enable_grad():
            u = out.detach().new_zeros(out.shape).requires_grad_()
            rows = engine.grad([out], self.duals, [u], True, True, allow_unused=True)
            pairs = [
                (r, t)
                for r, t in zip(rows, self.tangents, strict=True)
                if r is not None and r.requires_grad
            ]
            if not pairs:
                return out.detach().new_zeros(out.shape)
            roots, given = zip(*pairs, strict=True)
            found = engine.grad(roots, [u], given, True, more, allow_unused=True)[0]
        if found is None:
            return out.detach().new_zeros(out.shape)
        return found if more else found.detach()  # type: ignore[attr-defined]


_levels: list[_Level] = []


def enter_dual_level() -> int:
    """Begins a block; RuntimeError inside of one, as they do not nest."""
    if _levels:
        raise RuntimeError(
            "Nested forward mode AD is not supported at the moment. torch.func.jvp nests"
        )
    _levels.append(_Level())
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the block; its dual tensors have no tangents any more."""
    if not _levels:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created"
        )
    _levels.pop()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """The tensor with a tangent of its shape and dtype. RuntimeError outside of a block.

    Example:
        >>> import tritorch as torch
        >>> import tritorch.autograd.forward_ad as fwAD
        >>> with fwAD.dual_level():
        ...     x = fwAD.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
        ...     fwAD.unpack_dual(x**2).tangent
        tensor([ 2., 40.])
    """
    if not _levels:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    for what, x in (("primal", tensor), ("tangent", tangent)):
        if not (x.dtype.is_floating_point or x.dtype.is_complex):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {x.dtype}")
    if tangent.shape != tensor.shape or tangent.dtype is not tensor.dtype:
        raise RuntimeError(
            f"make_dual: expected a tangent of shape {tuple(tensor.shape)} and {tensor.dtype}, got "
            f"{tuple(tangent.shape)} and {tangent.dtype}"
        )
    return _levels[-1].add(tensor, tangent)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent, which is None where the tensor depends on no dual one."""
    if not _levels:
        return UnpackedDualTensor(tensor, None)
    own = _levels[-1]
    inside, more = own.reached(tensor)
    if not inside:
        return UnpackedDualTensor(tensor, None)
    for dual, tangent in zip(own.duals, own.tangents, strict=True):
        if dual is tensor:
            return UnpackedDualTensor(tensor if more else tensor.detach(), tangent)  # type: ignore
    more = more and state.grad
    return UnpackedDualTensor(tensor if more else tensor.detach(), own.tangent(tensor, more))  # type: ignore


class dual_level(ContextDecorator):
    """A block, or a decorated function, in which tensors may be made dual.

    Example:
        >>> import tritorch as torch
        >>> import tritorch.autograd.forward_ad as fwAD
        >>> with fwAD.dual_level():
        ...     x = fwAD.make_dual(torch.tensor(3.0), torch.tensor(1.0))
        ...     value, tangent = fwAD.unpack_dual(x * x)
        >>> value, tangent
        (tensor(9.), tensor(6.))
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()
