"""Whole Jacobians and Hessians of functions, by rows or by columns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..ops import join
from ..tensor import Tensor
from . import trees
from .derivatives import Call, chosen

__all__ = ["hessian", "jacfwd", "jacrev"]


def _units(like: Tensor) -> list[Tensor]:
    """The unit vectors of the shape of a tensor, one an element."""
    found = []
    for i in range(like.numel()):
        unit = like.detach().new_zeros(like.numel())
        unit[i] = 1
        found.append(unit.reshape(like.shape))
    return found


def _stack(parts: list[Tensor], like: Tensor) -> Tensor:
    return join.stack(parts) if parts else like.detach().new_zeros((0, *like.shape))


def _zeros_but(tensors: list, at: int, unit: Tensor) -> list:
    return [unit if i == at else t.detach().new_zeros(t.shape) for i, t in enumerate(tensors)]


def _assembled(call: Call, blocks: list[list], argnums: int | tuple[int, ...]) -> Any:
    """Blocks of (output, input) in the structure of the outputs, in each that of the inputs."""
    primals = call.primals[0] if isinstance(argnums, int) else call.primals
    rows = [trees.rebuilt(primals, iter(row)) for row in blocks]
    return trees.rebuilt(call.result, iter(rows))


def jacrev(
    func: Callable,
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that gives the Jacobian of `func`, by one pass backward an element of the output.

    For an output of shape (*O) and an input of shape (*I) it has shape (*O, *I), in the structure
    of the outputs and in each that of the inputs. With `has_aux`, `func` returns
    `(output, anything)`, and what comes is `(jacobian, anything)`. The rows are computed one after
    the other, so `chunk_size` changes nothing.

    Example:
        >>> import tritorch as torch
        >>> torch.func.jacrev(lambda x: x**2)(torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacrev", func, args, kwargs, chosen("jacrev", argnums, args), has_aux)
        blocks = []
        for k, out in enumerate(call.outputs):
            rows = [call.pull(_zeros_but(call.outputs, k, u)) for u in _units(out)]
            blocks.append(
                [
                    _stack([row[i] for row in rows], x).reshape((*out.shape, *x.shape))
                    for i, x in enumerate(call.inputs)
                ]
            )
        found = _assembled(call, blocks, argnums)
        return (found, call.closed(call.aux)) if has_aux else found

    return wrapper


def jacfwd(
    func: Callable,
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable:
    """A function that gives the Jacobian of `func`, by one product an element of the input.

    The result is that of `jacrev`; this is the shorter way where the outputs have more elements
    than the inputs. `func` is called once, so `randomness` changes nothing.

    Example:
        >>> import tritorch as torch
        >>> torch.func.jacfwd(lambda x: x**2)(torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacfwd", func, args, kwargs, chosen("jacfwd", argnums, args), has_aux)
        push = call.pusher()
        blocks: list[list] = [[] for _ in call.outputs]
        for i, x in enumerate(call.inputs):
            columns = [push(_zeros_but(call.inputs, i, u)) for u in _units(x)]
            for k, out in enumerate(call.outputs):
                block = _stack([c[k] for c in columns], out).movedim(0, -1)
                blocks[k].append(block.reshape((*out.shape, *x.shape)))
        found = _assembled(call, blocks, argnums)
        return (found, call.closed(call.aux)) if has_aux else found

    return wrapper


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that gives the Hessian of `func`: the Jacobian of its Jacobian.

    For an input of shape (*I) and an output of one element it has shape (*I, *I).

    Example:
        >>> import tritorch as torch
        >>> torch.func.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
