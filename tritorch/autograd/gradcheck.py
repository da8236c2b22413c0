"""Derivatives compared with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import engine
from .mode import no_grad


class GradcheckError(RuntimeError):
    """A derivative differs from its finite difference."""


def _tensors(x: Any) -> list[Tensor]:
    return [t for t in (x if isinstance(x, tuple | list) else (x,)) if isinstance(t, Tensor)]


def _outputs(f: Callable, inputs: Sequence) -> list[Tensor]:
    return [o for o in _tensors(f(*inputs)) if o.dtype.category > 1]


def _flat(x: Any) -> np.ndarray:
    """Values as a float64 vector, complex ones as pairs."""
    array = np.ascontiguousarray(x.detach().cpu()._data)
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.astype(wide).reshape(-1).view(np.float64)


def _numerical(f: Callable, inputs: Sequence, i: int, eps: float) -> list[np.ndarray]:
    """d outputs / d input i: for each output a matrix (elements of the input, of the output)."""
    columns: list[list[np.ndarray]] = []
    base = inputs[i].detach().clone()
    steps = (eps, 1j * eps) if base.dtype.is_complex else (eps,)
    with no_grad():
        for k in np.ndindex(base._data.shape):
            for step in steps:
                sides = []
                for sign in (1, -1):
                    moved = base.detach().clone()
                    moved._data[k] += sign * step
                    args = [*inputs[:i], moved, *inputs[i + 1 :]]
                    sides.append([_flat(o) for o in _outputs(f, args)])
                columns.append([(a - b) / (2 * eps) for a, b in zip(*sides, strict=True)])
    return [np.stack(c) for c in zip(*columns, strict=True)]


def _analytical(out: Tensor, wanted: list[Tensor]) -> list[np.ndarray]:
    """d out / d each input, one cotangent at a time, as matrices like `_numerical`'s."""
    rows: list[list[np.ndarray]] = [[] for _ in wanted]
    units = (1, 1j) if out.dtype.is_complex else (1,)
    for k in range(out._data.size):
        for unit in units:
            g = out.detach().new_zeros(out.shape)
            g._data.reshape(-1)[k] = unit
            found = engine.grad(out, wanted, g, retain_graph=True, allow_unused=True)
            for row, t, d in zip(rows, wanted, found, strict=True):
                row.append(_flat(t.new_zeros(t.shape) if d is None else d))
    return [
        np.stack(r, axis=1) if r else np.zeros((_flat(t).size, 0))
        for r, t in zip(rows, wanted, strict=True)
    ]


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` agree with central differences of width `eps`.

    Inputs that require grad should be float64. Raises GradcheckError that says which derivative
    is off, unless `raise_exception` is False.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([0.5, 1.5], dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.gradcheck(lambda x: x.exp() * x, (x,))
        True
    """
    args = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    wanted = [(i, t) for i, t in enumerate(args) if isinstance(t, Tensor) and t.requires_grad]
    if not wanted:
        raise ValueError("gradcheck expects at least one input tensor to require gradient")
    outs = _outputs(func, args)
    numeric = {i: _numerical(func, args, i, eps) for i, _ in wanted}
    for j, out in enumerate(outs):
        if not out.requires_grad:
            exact = [np.zeros((_flat(t).size, _flat(out).size)) for _, t in wanted]
        else:
            exact = _analytical(out, [t for _, t in wanted])
        for (i, _), a in zip(wanted, exact, strict=True):
            n = numeric[i][j] if numeric[i] else a
            if not np.allclose(a, n, rtol, atol, equal_nan=True):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {j} with respect to input {i},\n"
                    f"numerical:\n{n}\nanalytical:\n{a}"
                )
    return True


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    gen_non_contig_grad_outputs: bool = False,
    **_: Any,
) -> bool:
    """`gradcheck` of the gradients of `func`, as functions of its inputs and cotangents."""
    args = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    outs = [o for o in _outputs(func, args) if o.requires_grad]
    rng = np.random.default_rng(0)
    if grad_outputs is None:
        grad_outputs = [_random_like(o, rng) for o in outs]
    cotangents = _tensors(grad_outputs)
    wanted = [i for i, t in enumerate(args) if isinstance(t, Tensor) and t.requires_grad]

    def gradients(*all_args: Any) -> tuple:
        own, g = list(all_args[: len(args)]), all_args[len(args) :]
        results = [o for o in _outputs(func, own) if o.requires_grad]
        sources = [own[i] for i in wanted]
        found = engine.grad(results, sources, g, create_graph=True, allow_unused=True)
        return tuple(d for d in found if d is not None)

    def with_history(*all_args: Any) -> tuple:
        from .mode import enable_grad

        with enable_grad():  # finite differences run without recording
            own = [
                t.detach().requires_grad_() if i in wanted and not t.requires_grad else t
                for i, t in enumerate(all_args)
            ]
            return gradients(*own)

    return gradcheck(
        with_history,
        [*args, *cotangents],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
    )


def _random_like(t: Tensor, rng: np.random.Generator) -> Tensor:
    g = t.detach().new_zeros(t.shape)
    g._data[...] = rng.uniform(0.5, 1.5, t.shape)
    return g.requires_grad_()
