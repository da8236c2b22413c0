"""Derivatives of functions: Jacobians, Hessians, and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from . import engine
from .mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Any, ...]


def _tuple(values: Any, what: str, name: str) -> tuple[bool, Tensors]:
    """Whether there are several, and all of them as a tuple; TypeError for what is no tensor."""
    many = isinstance(values, tuple)
    if not many:
        values = tuple(values) if isinstance(values, list) else (values,)
    for i, v in enumerate(values):
        if not isinstance(v, Tensor):
            raise TypeError(
                f"{name}: The {what} given must be either a Tensor or a tuple of Tensors but the "
                f"value at index {i} has type {type(v)}."
            )
    return many, values


def _apart(inputs: Tensors, create_graph: bool, need_graph: bool = True) -> Tensors:
    """The inputs as leaves, or as views that keep their history."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_(need_graph)
        for x in inputs
    )


class _Call:
    """A function evaluated at inputs of its own, and how its derivatives are given back."""

    def __init__(
        self, name: str, func: Callable, inputs: Any, create_graph: bool, strict: bool
    ) -> None:
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.many_inputs, given = _tuple(inputs, "inputs", name)
        with enable_grad():
            self.inputs = _apart(given, create_graph)
            result = func(*self.inputs)
        self.many_outputs, self.outputs = _tuple(
            result, "outputs of the user-provided function", name
        )
        self.check_outputs()

    def check_outputs(self) -> None:
        if not self.strict:
            return
        for i, out in enumerate(self.outputs):
            if not out.requires_grad:
                raise RuntimeError(
                    f"{self.name}: Output {i} of the user-provided function does not require "
                    "gradients. The outputs must be computed in a differentiable manner from the "
                    "input when running in strict mode."
                )

    def single_output(self) -> Any:
        """The only output, of one element."""
        if self.many_outputs or len(self.outputs) != 1:
            raise RuntimeError(
                f"{self.name}: The tensor returned by the function given to {self.name} should be "
                "a single Tensor"
            )
        out = self.outputs[0]
        if out.numel() != 1:
            raise RuntimeError(
                f"{self.name}: The Tensor returned by the function given to {self.name} should "
                f"contain a single element, got shape {tuple(out.shape)}"
            )
        return out

    def vector(self, v: Any, like: Tensors) -> Tensors:
        """The vector of a product, checked against what it multiplies; one where it may be left
        out."""
        if v is None:
            if len(like) == 1 and like[0].numel() == 1:
                return (like[0].detach().new_ones(like[0].shape),)
            raise RuntimeError(
                f"{self.name}: The vector v can only be None if what it multiplies is a single "
                "Tensor with one element"
            )
        _, given = _tuple(v, "vector v", self.name)
        given = _apart(given, self.create_graph, False)
        if len(given) != len(like):
            raise RuntimeError(
                f"{self.name}: v is a tuple of invalid length: should be {len(like)} but got "
                f"{len(given)}."
            )
        for i, (a, b) in enumerate(zip(given, like, strict=True)):
            if a.shape != b.shape:
                raise RuntimeError(
                    f"{self.name}: v has invalid size at entry {i}: should be {tuple(b.shape)} "
                    f"but got {tuple(a.shape)}."
                )
        return given

    def grad(
        self, outputs: Sequence, inputs: Sequence, vectors: Sequence | None, create: bool
    ) -> tuple:
        """The gradients; None for inputs that the outputs do not depend on."""
        vectors = [None] * len(outputs) if vectors is None else vectors
        used = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
        if not used:
            return (None,) * len(inputs)
        roots, given = zip(*used, strict=True)
        with enable_grad():
            return engine.grad(
                roots, inputs, given, create_graph=create, retain_graph=True, allow_unused=True
            )

    def filled(self, grads: Sequence, like: Sequence, what: str) -> tuple:
        """Zeros for None, which `strict` refuses; without history unless that was asked for."""
        found = []
        for i, (g, x) in enumerate(zip(grads, like, strict=True)):
            if g is None:
                if self.strict:
                    raise RuntimeError(
                        f"{self.name}: {what} {i} is independent of the other side of the "
                        "derivative. This is not allowed in strict mode."
                    )
                g = x.new_zeros(x.shape)
            elif self.strict and self.create_graph and not g.requires_grad:
                raise RuntimeError(
                    f"{self.name}: the derivative for {what} {i} is independent of the input, so "
                    "that it has no gradient. This is not allowed in strict mode when "
                    "create_graph=True."
                )
            found.append(g if self.create_graph else g.detach())
        return tuple(found)

    def value(self) -> Any:
        outs = self.outputs if self.create_graph else tuple(o.detach() for o in self.outputs)
        return outs if self.many_outputs else outs[0]


def vjp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`(func(*inputs), v' J)`: the product of a vector and the Jacobian of a function.

    `v` has the shapes of the outputs, and may be left out for one of one element. `strict` raises
    RuntimeError where an output does not depend on an input, rather than to give zeros.

    Example:
        >>> import tritorch as torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.ones(2)
        >>> torch.autograd.functional.vjp(lambda x: x**2, x, v)[1]
        tensor([2., 4.])
    """
    call = _Call("vjp", func, inputs, create_graph, strict)
    vector = call.vector(v, call.outputs)
    grads = call.grad(call.outputs, call.inputs, vector, create_graph)
    found = call.filled(grads, call.inputs, "input")
    return call.value(), found if call.many_inputs else found[0]


def jvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`(func(*inputs), J v)`: the product of the Jacobian of a function and a vector.

    `v` has the shapes of the inputs, and may be left out for one of one element. It is the
    derivative of `u' J` by u, so it takes two passes backward.

    Example:
        >>> import tritorch as torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.ones(2)
        >>> torch.autograd.functional.jvp(lambda x: x**2, x, v)[1]
        tensor([2., 4.])
    """
    call = _Call("jvp", func, inputs, create_graph, strict)
    vector = call.vector(v, call.inputs)
    dual = tuple(o.detach().new_zeros(o.shape).requires_grad_() for o in call.outputs)
    row = call.grad(call.outputs, call.inputs, dual, True)
    call.filled(row, call.inputs, "input")
    used = [(g, t) for g, t in zip(row, vector, strict=True) if g is not None]
    columns: tuple = (None,) * len(dual)
    if used:
        rows, vectors = zip(*used, strict=True)
        columns = call.grad(rows, dual, vectors, create_graph)
    found = call.filled(columns, call.outputs, "output")
    return call.value(), found if call.many_outputs else found[0]


def _check_strategy(name: str, strict: bool, vectorize: bool, strategy: str) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            "Expected strategy to be either 'forward-mode' or 'reverse-mode'. Hint: If your "
            "function has more outputs than inputs, 'forward-mode' tends to be more performant. "
            "Otherwise, prefer to use 'reverse-mode'."
        )
    if strict and vectorize:
        raise RuntimeError(
            f"torch.autograd.functional.{name}: `strict=True` and `vectorize=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            f'torch.autograd.functional.{name}: `strategy="forward-mode"` is only supported with '
            "`vectorize=True`."
        )


def jacobian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function: for each output and input a tensor of both their shapes.

    A tensor for one output and one input, a tuple for several of one kind, a tuple over outputs of
    tuples over inputs for several of both. `vectorize` and `strategy` are accepted; the rows are
    computed one after the other by passes backward.

    Example:
        >>> import tritorch as torch
        >>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    _check_strategy("jacobian", strict, vectorize, strategy)
    call = _Call("jacobian", func, inputs, create_graph, strict)
    rows = tuple(_rows(call, i, out) for i, out in enumerate(call.outputs))
    if not call.many_inputs:
        rows = tuple(row[0] for row in rows)  # type: ignore[assignment]
    return rows if call.many_outputs else rows[0]


def _rows(call: _Call, i: int, out: Any) -> tuple:
    """The Jacobian of one output with respect to each input, `(*out.shape, *input.shape)`."""
    n = out.numel()
    flat = out.reshape(-1)
    found: list[list] = [[] for _ in call.inputs]
    for k in range(n):
        unit = flat.detach().new_zeros(n)
        unit[k] = 1
        grads = call.grad((out,), call.inputs, (unit.reshape(out.shape),), call.create_graph)
        for column, g, x in zip(found, grads, call.inputs, strict=True):
            column.append(_entry(call, i, g, x))
    return tuple(
        _stacked(column, x).reshape(tuple(out.shape) + tuple(x.shape))
        for column, x in zip(found, call.inputs, strict=True)
    )


def _entry(call: _Call, i: int, g: Any, x: Any) -> Any:
    """One row: zeros where the output does not depend on the input."""
    if g is None:
        if call.strict:
            raise RuntimeError(
                f"{call.name}: Output {i} of the user-provided function is independent of an "
                "input. This is not allowed in strict mode."
            )
        return x.detach().new_zeros(x.shape)
    if call.strict and call.create_graph and not g.requires_grad:
        raise RuntimeError(
            f"{call.name}: The jacobian of output {i} is independent of the input. This is not "
            "allowed in strict mode when create_graph=True."
        )
    return g if call.create_graph else g.detach()


def _stacked(rows: list, x: Any) -> Any:
    if not rows:
        return x.detach().new_zeros((0, *x.shape))
    with enable_grad():
        out = rows[0].new_empty((len(rows), *x.shape))
        if not any(r.requires_grad for r in rows):
            for k, row in enumerate(rows):
                out[k] = row
            return out
        return _joined(rows)


def _joined(rows: list) -> Any:
    """The rows stacked, with their history."""
    first = rows[0].new_zeros((len(rows), *rows[0].shape))
    for k, row in enumerate(rows):
        first[k] = row
    return first


def hessian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a function with one output of one element: the Jacobian of its gradient.

    A tensor for one input; for several, a tuple of tuples.

    Example:
        >>> import tritorch as torch
        >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "reverse-mode" or "forward-mode", got '
            f"{outer_jacobian_strategy!r}"
        )
    many, _ = _tuple(inputs, "inputs", "hessian")

    def gradient(*xs: Any) -> Any:
        def checked(*ys: Any) -> Any:
            return _one_element(func(*ys))

        found = jacobian(checked, xs, create_graph=True)
        found = tuple(g.reshape(x.shape) for g, x in zip(found, xs, strict=True))
        if strict:
            _check_linear(found)
        return found

    result = jacobian(gradient, inputs if many else (inputs,), create_graph, strict=strict)
    return result if many else result[0][0]


def _one_element(out: Any) -> Any:
    if not isinstance(out, Tensor):
        raise RuntimeError(
            "hessian: The tensor returned by the function given to hessian should be a single "
            f"Tensor, got {type(out).__name__}"
        )
    if out.numel() != 1:  # type: ignore[attr-defined]
        raise RuntimeError(
            "hessian: The Tensor returned by the function given to hessian should contain a single "
            f"element, got shape {tuple(out.shape)}"
        )
    return out.reshape(())  # type: ignore[attr-defined]


def _check_linear(grads: tuple) -> None:
    for i, g in enumerate(grads):
        if not g.requires_grad:
            raise RuntimeError(
                f"hessian: The jacobian of the user-provided function with respect to input {i} is "
                "independent of the input. This is not allowed in strict mode."
            )


def vhp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`(func(*inputs), v' H)`: the product of a vector and the Hessian of a function.

    Example:
        >>> import tritorch as torch
        >>> f = lambda x: (x**3).sum()
        >>> torch.autograd.functional.vhp(f, torch.tensor([1.0, 2.0]), torch.ones(2))[1]
        tensor([ 6., 12.])
    """
    call = _Call("vhp", func, inputs, create_graph, strict)
    vector = call.vector(v, call.inputs)
    first = _gradient(call)
    grads = call.grad(first, call.inputs, vector, create_graph)
    found = call.filled(grads, call.inputs, "input")
    return call.value(), found if call.many_inputs else found[0]


def hvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`(func(*inputs), H v)`: the product of the Hessian of a function and a vector.

    H is symmetric where the second derivatives are continuous; this is the derivative of `u' H` by
    u all the same. `vhp` takes one pass less.

    Example:
        >>> import tritorch as torch
        >>> f = lambda x: (x**3).sum()
        >>> torch.autograd.functional.hvp(f, torch.tensor([1.0, 2.0]), torch.ones(2))[1]
        tensor([ 6., 12.])
    """
    call = _Call("hvp", func, inputs, create_graph, strict)
    vector = call.vector(v, call.inputs)
    first = _gradient(call)
    dual = tuple(x.detach().new_zeros(x.shape).requires_grad_() for x in call.inputs)
    rows = call.grad(first, call.inputs, dual, True)
    call.filled(rows, call.inputs, "input")
    used = [(g, t) for g, t in zip(rows, vector, strict=True) if g is not None]
    columns: tuple = (None,) * len(dual)
    if used:
        left, right = zip(*used, strict=True)
        columns = call.grad(left, dual, right, create_graph)
    found = call.filled(columns, call.inputs, "input")
    return call.value(), found if call.many_inputs else found[0]


def _gradient(call: _Call) -> tuple:
    """The gradient of the only output, recorded."""
    grads = call.grad((call.single_output(),), call.inputs, None, True)
    if call.strict:
        for i, g in enumerate(grads):
            if g is None or not g.requires_grad:
                raise RuntimeError(
                    f"{call.name}: The jacobian of the user-provided function with respect to "
                    f"input {i} is independent of the input. This is not allowed in strict mode."
                )
    return tuple(
        x.new_zeros(x.shape) if g is None else g for g, x in zip(grads, call.inputs, strict=True)
    )
