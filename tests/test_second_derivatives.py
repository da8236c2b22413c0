"""That second derivatives are checked of nearly every record, and why not of the others.

`test_table` checks those whose samples are smooth. Here stand the rest: functions of them that are
smooth, and the list of what has no second derivative to check.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import test_table

import tritorch as torch
from tritorch import testing
from tritorch.autograd import grad, gradcheck, gradgradcheck
from tritorch.nn.attention.varlen import varlen_attn
from tritorch.op import REGISTRY, Op
from tritorch.tensor import Tensor

GENERATOR = testing.Sampler(3)


def draw(*shape: int) -> Tensor:
    return torch.from_numpy(GENERATOR.reals(shape)).requires_grad_()


def definite(a: Tensor) -> Tensor:
    """A symmetric matrix with positive eigenvalues far apart."""
    n = a.shape[-1]
    return a @ a.mT / n + torch.diag(torch.arange(1.0, n + 1, dtype=a.dtype))


OFFSETS = torch.tensor([0, 1, 3], dtype=torch.int32)


def op(name: str) -> Op:
    return REGISTRY[name]


# Smooth functions of records whose inputs must be special, or whose results are not unique.
COMPOSED: dict[str, tuple[Callable, list[Tensor]]] = {
    "cholesky_op": (lambda a: op("cholesky_op")(definite(a))[0], [draw(2, 2)]),
    "cholesky_inverse": (
        lambda a: op("cholesky_inverse")(torch.linalg.cholesky(definite(a)), upper=False),
        [draw(2, 2)],
    ),
    "cholesky_solve": (
        lambda b, a: op("cholesky_solve")(b, torch.linalg.cholesky(definite(a)), upper=False),
        [draw(2, 1), draw(2, 2)],
    ),
    "eigh_op": (
        lambda a: (lambda w, v: (w, v**2))(*op("eigh_op")(definite(a), lower=True)),
        [draw(2, 2)],
    ),
    "eigvalsh_op": (lambda a: op("eigvalsh_op")(definite(a), lower=True), [draw(2, 2)]),
    "eig_op": (
        lambda a: (lambda w, v: (w.real, v.abs()))(*op("eig_op")(definite(a))),
        [draw(2, 2)],
    ),
    "eigvals_op": (lambda a: op("eigvals_op")(definite(a)).real, [draw(2, 2)]),
    "varlen_attention": (  # sequences of one and of two
        lambda q, k, v: varlen_attn(q, k, v, OFFSETS, OFFSETS, 2, 2, scale=0.6),
        [draw(3, 1, 2), draw(3, 1, 2), draw(3, 1, 2)],
    ),
}
# The derivatives of these records are records themselves: their second derivative is the third of
# the operator, taken through the tape.
BACKWARDS = {
    "attention_backward": "attention",
    "batch_norm_backward": "batch_norm",
    "ctc_backward": "ctc",
    "gru_scan_backward": "gru_scan",
    "linear_entropy_backward": "linear_entropy",
    "lstm_scan_backward": "lstm_scan",
    "max_pool2d_values_backward": "max_pool2d_values",
    "rnn_scan_backward": "rnn_scan",
    "varlen_attention_backward": "varlen_attention",
}
NONE = {
    "bernoulli": "draws: the derivative is 0 everywhere",
    "binomial": "draws: the derivative is 0 everywhere",
    "heaviside": "a step: the derivative is 0 or infinite",
    "nextafter": "a step between neighbouring numbers: no derivative by finite differences",
    "poisson": "draws: the derivative is 0 everywhere",
    "sample_dirichlet": "a derivative by implicit functions, of first order as in PyTorch",
    "scaled_mm": "of float8: no finite differences",
    "standard_gamma": "a derivative by implicit functions, of first order as in PyTorch",
}


def differentiable(record: Op) -> bool:
    """Whether some input of a sample can have a gradient."""
    rules = record.rules
    if rules is None and record.ref is None:
        return False
    if rules is not None and not rules.joint and all(r is None for r in rules.rules):
        return False
    arrays = [x for s in testing.samples_of(record) for x in s.tensors(torch.float64)]
    return any(isinstance(x, Tensor) and x.dtype is torch.float64 for x in arrays)


def in_table(record: Op) -> bool:
    """Whether `test_table.test_gradients` checks the record with at least one element."""
    for sample in testing.samples_of(record):
        args = test_table.differentiable(record, sample)
        if args and any(isinstance(a, Tensor) and a.requires_grad and a.numel() for a in args):
            return True
    return False


def test_nearly_all_are_checked() -> None:
    records = {r.name for r in testing.operators() if differentiable(r)}
    table = {name for name in records if in_table(REGISTRY[name])}
    here = {*COMPOSED, *BACKWARDS}
    assert not here & table and not set(NONE) & (table | here), "listed, and not needed there"
    assert records - table - here == set(NONE)
    assert len(table | here) >= 0.95 * len(records)


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name: str) -> None:
    f, inputs = COMPOSED[name]
    assert gradcheck(f, inputs) and gradgradcheck(f, inputs)


def first(out: Tensor | tuple) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def replaced(args: list, old: list, new: list) -> list:
    """The arguments with `new` in place of `old`."""
    found = {id(x): y for x, y in zip(old, new, strict=True)}
    return [found.get(id(a), a) for a in args]


@pytest.mark.parametrize("name", BACKWARDS)
def test_backwards(name: str) -> None:
    """Of the first smooth sample: gradients of the record that an operator's derivative calls."""
    record = REGISTRY[BACKWARDS[name]]
    sample = next(s for s in testing.samples_of(record) if s.smooth)
    args = sample.tensors(torch.float64)
    inputs = [a for a in args if isinstance(a, Tensor) and a.dtype is torch.float64 and a.numel()]

    def derivative(g: Tensor, *given: Tensor) -> Tensor:
        with torch.enable_grad():  # finite differences come without
            xs = [x if x.requires_grad else x.detach().requires_grad_() for x in given]
            out = record(*replaced(args, inputs, xs), **sample.params)
            found = grad(first(out), xs, g, create_graph=True, materialize_grads=True)
            return torch.stack([(d * w).sum() for d, w in zip(found, weights, strict=True)])

    g = draw(*first(record(*args, **sample.params)).shape)
    free = [x.requires_grad_() for x in inputs]
    weights = [draw(*x.shape).detach() for x in inputs]
    assert gradgradcheck(derivative, [g, *free])
