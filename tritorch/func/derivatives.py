"""Functions that give the derivatives of a function: gradients, products with Jacobians.

The inputs become leaves of a tape of their own. What comes back has a history only where it depends
on a tensor outside of the call that requires grad, so the functions nest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import engine
from ..autograd.mode import enable_grad, state
from ..autograd.node import AccumulateGrad
from ..tensor import Tensor
from . import trees

__all__ = ["Call", "grad", "grad_and_value", "jvp", "linearize", "vjp"]


def chosen(name: str, argnums: int | tuple[int, ...], args: tuple) -> tuple[int, ...]:
    """Which arguments `argnums` names, counted from the front."""
    wanted = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(wanted, tuple) or not all(isinstance(i, int) for i in wanted):
        raise RuntimeError(f"{name}: argnums must be int or Tuple[int, ...], got {argnums!r}")
    if not wanted:
        raise RuntimeError(f"{name}: argnums must not be an empty tuple")
    for i in wanted:
        if not -len(args) <= i < len(args):
            raise RuntimeError(
                f"{name}: Got argnum={i}, but only {len(args)} positional inputs were given"
            )
    found = tuple(i % len(args) for i in wanted)
    if len(set(found)) != len(found):
        raise RuntimeError(f"{name}: argnums elements must be unique, got {argnums}")
    return found


def split_aux(name: str, has_aux: bool, result: Any) -> tuple[Any, Any]:
    """The output of a function and what it returns beside it."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True, "
            f"got {type(result).__name__}"
        )
    return result


class Call:
    """A function evaluated at inputs of its own; `given` says which arguments they replace."""

    def __init__(
        self,
        name: str,
        func: Callable,
        args: tuple,
        kwargs: dict,
        given: Sequence[int],
        has_aux: bool = False,
    ) -> None:
        self.name, self.recorded = name, state.grad
        self.primals = tuple(args[i] for i in given)
        self.inputs: list[Tensor] = []
        self.own: set = set()
        with enable_grad():
            args_in = list(args)
            for i in given:
                args_in[i] = trees.mapped(self._input, args[i])
            result, self.aux = split_aux(name, has_aux, func(*args_in, **kwargs))
        self.result = result
        self.outputs = trees.leaves(result)
        for out in self.outputs:
            if not isinstance(out, Tensor):
                raise RuntimeError(
                    f"{name}: expected the function to return only tensors, got "
                    f"{type(out).__name__}"
                )

    def _input(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise RuntimeError(
                f"{self.name}: expected the inputs to be only tensors, got {type(x).__name__}"
            )
        if not (x.dtype.is_floating_point or x.dtype.is_complex):
            raise RuntimeError(
                f"{self.name}: only tensors of floating-point and complex dtypes have a "
                f"derivative, got {x.dtype}"
            )
        if x.requires_grad and self.recorded:
            made = x.view_as(x)
        else:
            made = x.detach().requires_grad_()
            self.own.add(made.current_edge()[0])  # type: ignore[index]
        self.inputs.append(made)
        return made

    def outside(self, tensors: Sequence) -> bool:
        """Whether one of the tensors depends on something outside of this call."""
        if not self.recorded:
            return False
        edges = [t.current_edge() for t in tensors if isinstance(t, Tensor)]
        found = engine._count([e[0] for e in edges if e is not None])
        return any(type(n) is AccumulateGrad and n not in self.own for n in found)

    def closed(self, tree: Any) -> Any:
        """The tensors, without their history where it ends at this call's inputs."""

        def value(t: Any) -> Any:
            tracked = isinstance(t, Tensor) and t.requires_grad
            return t.detach() if tracked and not self.outside([t]) else t

        return trees.mapped(value, tree)

    def value(self) -> Any:
        return self.closed(self.result)

    def pull(self, vectors: Sequence, create: bool | None = None) -> list:
        """`vectors' J`, one tensor an input."""
        pairs = [(o, v) for o, v in zip(self.outputs, vectors, strict=True) if o.requires_grad]
        if not pairs:
            return [x.detach().new_zeros(x.shape) for x in self.inputs]
        roots, given = zip(*pairs, strict=True)
        if create is None:
            create = self.outside([*roots, *given])
        grads = self._grad(roots, self.inputs, given, create)
        return [
            x.detach().new_zeros(x.shape) if g is None else g
            for g, x in zip(grads, self.inputs, strict=True)
        ]

    def _grad(self, roots: Any, inputs: Any, given: Any, create: bool) -> tuple:
        with enable_grad():
            return engine.grad(roots, inputs, given, True, create, allow_unused=True)

    def pusher(self) -> Callable[[Sequence], list]:
        """A function that gives `J tangents`: the derivative of `u' J` by u."""
        dual = [o.detach().new_zeros(o.shape).requires_grad_() for o in self.outputs]
        rows = self.pull(dual, create=True)
        self.own.update(d.current_edge()[0] for d in dual)  # type: ignore[index]

        def push(tangents: Sequence) -> list:
            pairs = [(r, t) for r, t in zip(rows, tangents, strict=True) if r.requires_grad]
            columns: tuple = (None,) * len(dual)
            if pairs:
                roots, given = zip(*pairs, strict=True)
                columns = self._grad(roots, dual, given, self.outside([*roots, *given]))
            return [d.detach() if c is None else c for c, d in zip(columns, dual, strict=True)]

        return push

    def matching(self, tree: Any, like: Any, what: str) -> list:
        """The tensors of a structure that must be that of `like`, with the same shapes."""
        given, wanted = trees.leaves(tree), trees.leaves(like)
        if len(given) != len(wanted):
            raise RuntimeError(
                f"{self.name}: expected {what} of the same structure as what they belong to, "
                f"{len(wanted)} tensors, got {len(given)}"
            )
        for g, w in zip(given, wanted, strict=True):
            if not isinstance(g, Tensor) or g.shape != w.shape:
                found = tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__
                raise RuntimeError(
                    f"{self.name}: expected {what} of shape {tuple(w.shape)}, got {found}"
                )
        return given


def grad_and_value(
    func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable:
    """A function that gives the gradient of `func`, and its value.

    `func` returns a tensor of one element; with `has_aux` a pair of that and anything else, and the
    value is that pair. Gradients have the structure of the arguments that `argnums` names.

    Example:
        >>> import tritorch as torch
        >>> torch.func.grad_and_value(lambda x: x**3)(torch.tensor(2.0))
        (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = chosen("grad", argnums, args)
        call = Call("grad", func, args, kwargs, given, has_aux)
        out = call.result
        if not isinstance(out, Tensor):
            raise RuntimeError(
                f"grad: expected the function to return a tensor, got {type(out).__name__}"
            )
        if out.ndim:
            raise RuntimeError(
                f"grad: expected the function to return a scalar tensor, got shape "
                f"{tuple(out.shape)}; did you mean to use vjp?"
            )
        found = iter(call.pull([out.detach().new_ones(())]))
        primals = call.primals[0] if isinstance(argnums, int) else call.primals
        grads = trees.rebuilt(primals, found)
        value = call.value()
        return grads, (value, call.closed(call.aux)) if has_aux else value

    return wrapper


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of `func`, which returns a tensor of one element.

    With `has_aux`, `func` returns a pair `(output, anything)`, and what comes is
    `(gradient, anything)`.

    Example:
        >>> import tritorch as torch
        >>> torch.func.grad(torch.func.grad(lambda x: x**3))(torch.tensor(2.0))
        tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """`(func(*primals), f)`, where `f(cotangents)` is the product of a vector and the Jacobian.

    The cotangents have the structure and shapes of the output. `f` gives a tuple of one entry each
    primal, or the entry itself for one primal, and may be called more than once. With `has_aux`,
    `func` returns `(output, anything)` and the last of three results is that.

    Example:
        >>> import tritorch as torch
        >>> out, pull = torch.func.vjp(torch.sin, torch.zeros(2))
        >>> pull(torch.tensor([1.0, 2.0]))
        (tensor([1., 2.]),)
    """
    call = Call("vjp", func, primals, {}, range(len(primals)), has_aux)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        vectors = call.matching(cotangents, call.result, "cotangents")
        return trees.rebuilt(primals, iter(call.pull(vectors, create_graph)))

    return (call.value(), pull, call.closed(call.aux)) if has_aux else (call.value(), pull)


def _tangents(call: Call, primals: tuple, tangents: Any) -> list:
    if not isinstance(tangents, tuple) or not tangents:
        raise RuntimeError(f"{call.name}: expected the tangents as a non-empty tuple")
    return call.matching(tangents, primals, "tangents")


def jvp(
    func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple:
    """`(func(*primals), J tangents)`: the product of the Jacobian and a vector.

    Primals and tangents are tuples of the same structure and shapes. `strict` raises RuntimeError
    where an output does not depend on the inputs, rather than to give zeros. With `has_aux`, `func`
    returns `(output, anything)` and the last of three results is that. It takes two passes
    backward.

    Example:
        >>> import tritorch as torch
        >>> torch.func.jvp(torch.sin, (torch.zeros(2),), (torch.tensor([1.0, 2.0]),))
        (tensor([0., 0.]), tensor([1., 2.]))
    """
    if not isinstance(primals, tuple) or not primals:
        raise RuntimeError("jvp: expected the primals as a non-empty tuple")
    call = Call("jvp", func, primals, {}, range(len(primals)), has_aux)
    given = _tangents(call, primals, tangents)
    if strict and not all(o.requires_grad for o in call.outputs):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): an output of f is independent of the inputs. "
            "This is not allowed in strict mode."
        )
    found = trees.rebuilt(call.result, iter(call.pusher()(given)))
    return (call.value(), found, call.closed(call.aux)) if has_aux else (call.value(), found)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """`(func(*primals), f)`, where `f(*tangents)` is the product of the Jacobian and a vector.

    `func` is evaluated once, however often `f` is called.

    Example:
        >>> import tritorch as torch
        >>> out, push = torch.func.linearize(torch.sin, torch.zeros(2))
        >>> push(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    call = Call("linearize", func, primals, {}, range(len(primals)))
    push = call.pusher()

    def of(*tangents: Any) -> Any:
        return trees.rebuilt(call.result, iter(push(_tangents(call, primals, tangents))))

    return call.value(), of
