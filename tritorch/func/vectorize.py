"""A function of one example, over a batch of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.mode import no_grad
from ..ops import generator, join
from ..tensor import Tensor
from . import trees

__all__ = ["vmap"]


def vmap(
    func: Callable,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable:
    """A function that maps `func` over a dimension of its inputs, and stacks what it returns.

    `in_dims` says which dimension: an int, None for an input that all calls share, or a structure
    of them like the inputs; keywords are shared. `out_dims` says where the new dimension stands in
    the results, likewise. `func` is called once for each index, with views, in order: so it may do
    anything, control flow by values included, and takes the time of its calls.

    A function that draws random numbers raises RuntimeError, unless `randomness` is "different" or
    "same" for all indices. Sizes that differ, and dims that do not fit, are a ValueError.

    Example:
        >>> import tritorch as torch
        >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
        tensor([ 6., 15.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return _Batch(func, in_dims, out_dims, randomness, args)(kwargs)

    return wrapper


def _drew(before: dict) -> bool:
    """Whether a default generator has moved."""
    now = generator.states()
    return any(bool((now[d] != s).any()) for d, s in before.items()) or len(now) > len(before)


class _Batch:
    """One call of a mapped function: its inputs by index."""

    def __init__(
        self, func: Callable, in_dims: Any, out_dims: Any, randomness: str, args: tuple
    ) -> None:
        self.func, self.out_dims, self.randomness, self.args = func, out_dims, randomness, args
        self.name = f"vmap({getattr(func, '__name__', repr(func))}, in_dims={in_dims}, ...)"
        self.values = trees.leaves(args)
        self.dims = self._in_dims(in_dims)
        for d in trees.leaves(out_dims):
            if d is not None and not isinstance(d, int):
                raise ValueError(
                    f"{self.name}: `out_dims` must be an int, None or a structure of them, got "
                    f"{out_dims!r}"
                )
        sizes = {v.shape[d] for v, d in zip(self.values, self.dims, strict=True) if d is not None}
        if len(sizes) != 1:
            raise ValueError(
                f"{self.name}: Expected all tensors to have the same size in the mapped "
                f"dimension, got sizes {sorted(sizes)} for the mapped dimension"
                if sizes
                else f"{self.name}: at least one input is to be mapped, all in_dims are None"
            )
        self.size = sizes.pop()

    def _in_dims(self, in_dims: Any) -> list:
        if not isinstance(in_dims, int | list | tuple):
            raise ValueError(
                f"{self.name}: expected `in_dims` to be int or a (potentially nested) tuple "
                f"matching the structure of inputs, got: {type(in_dims)}."
            )
        if not self.args:
            raise ValueError(
                f"{self.name}(<inputs>): got no inputs. Maybe you forgot to add inputs, or you "
                "are trying to vmap over a function with no inputs. The latter is unsupported."
            )
        given = tuple(in_dims) if isinstance(in_dims, list) else in_dims
        dims = trees.spread(given, self.args)
        if dims is None:
            raise ValueError(
                f"{self.name}(<inputs>): in_dims is not compatible with the structure of `inputs`"
            )
        return [self._in_dim(d, v) for d, v in zip(dims, self.values, strict=True)]

    def _in_dim(self, dim: Any, value: Any) -> int | None:
        if dim is None:
            return None
        if not isinstance(dim, int):
            raise ValueError(
                f"{self.name}(<inputs>): Got in_dim={dim!r} for an input but in_dim must be either "
                "an integer dimension or None."
            )
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{self.name}(<inputs>): Got in_dim={dim} for an input but the input is of type "
                f"{type(value)}. We cannot vmap over non-Tensor arguments, please use None as the "
                "respective in_dim"
            )
        if not -value.ndim <= dim < value.ndim:
            raise ValueError(
                f"{self.name}(<inputs>): Got in_dim={dim} for some input, but that input is a "
                f"Tensor of dimensionality {value.ndim} so expected in_dim to satisfy "
                f"-{value.ndim} <= in_dim < {value.ndim}."
            )
        return dim % value.ndim

    def at(self, index: int) -> Any:
        """The arguments of the call of one index."""
        parts = [
            v if d is None else v.select(d, index)
            for v, d in zip(self.values, self.dims, strict=True)
        ]
        return trees.rebuilt(self.args, iter(parts))

    def __call__(self, kwargs: dict) -> Any:
        if not self.size:
            return self._empty(kwargs)
        before = generator.states()
        results = []
        for i in range(self.size):
            if self.randomness == "same":
                generator.restore(before)
            results.append(self.func(*self.at(i), **kwargs))
            if self.randomness == "error" and _drew(before):
                raise RuntimeError(
                    f"{self.name}: called random operation while in randomness error mode. "
                    "Please either use the 'same' or 'different' randomness flags on vmap or "
                    "perform the randomness operation out of vmap"
                )
        return self._joined(results)

    def _empty(self, kwargs: dict) -> Any:
        """The results over no index, their shapes learnt from a call on zeros."""
        zeros = [
            v if d is None else v.new_zeros([n for k, n in enumerate(v.shape) if k != d])
            for v, d in zip(self.values, self.dims, strict=True)
        ]
        with no_grad():
            result = self.func(*trees.rebuilt(self.args, iter(zeros)), **kwargs)
        return self._joined([result], 0)

    def _joined(self, results: list, size: int | None = None) -> Any:
        first = results[0]
        dims = trees.spread(self.out_dims, first)
        if dims is None and isinstance(first, Tensor) and len(trees.leaves(self.out_dims)) == 1:
            dims = trees.leaves(self.out_dims)
        if dims is None:
            raise ValueError(
                f"{self.name}(<inputs>): out_dims={self.out_dims} is not compatible with the "
                "structure of `outputs`"
            )
        columns = zip(*[trees.leaves(r) for r in results], strict=True)
        found = [self._column(c, d, size) for c, d in zip(columns, dims, strict=True)]
        return trees.rebuilt(first, iter(found))

    def _column(self, column: tuple, dim: int | None, size: int | None) -> Any:
        if dim is None:
            return column[-1]
        for value in column:
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"{self.name}: the function must only return Tensors, got type {type(value)}. "
                    "Did you mean to set out_dims= to None for output?"
                )
        if size == 0:
            at = dim % (column[0].ndim + 1)
            shape = tuple(column[0].shape)
            return column[0].new_empty((*shape[:at], 0, *shape[at:]))
        return join.stack(list(column), dim)
