"""What a program is warned of, at its own line, and the old forms that still work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn import functional as F

X = torch.arange(6.0).view(2, 3)
LEAF = torch.ones((), requires_grad=True)
COMPLEX = torch.tensor([1 + 2j])
SQUARE = torch.eye(3)

# call -> what the warning says
WARNED: dict[str, tuple[Callable, str]] = {
    "T of a vector": (lambda: torch.ones(3).T, "x.T"),
    "T of a batch": (lambda: torch.ones(1, 2, 3).T, "x.mT"),
    "T of a number": (lambda: torch.ones(()).T, "0-D"),
    "H of a number": (lambda: torch.ones(()).H, "0-D"),
    "meshgrid": (lambda: torch.meshgrid(torch.ones(2)), "indexing"),
    "float": (lambda: float(LEAF), "detach"),
    "float with a history": (lambda: float(LEAF * 2), "detach"),
    "complex": (lambda: complex(LEAF), "detach"),
    "tensor of a tensor": (lambda: torch.tensor(X), "clone"),
    "new_tensor of a tensor": (lambda: X.new_tensor(X), "clone"),
    "tensor of arrays": (lambda: torch.tensor([np.zeros(2), np.zeros(2)]), "numpy.array"),
    "complex to real": (lambda: COMPLEX.to(torch.float32), "imaginary"),
    "complex to integers": (lambda: COMPLEX.int(), "imaginary"),
    "complex into real": (lambda: torch.zeros(1).copy_(COMPLEX), "imaginary"),
    "where": (lambda: torch.where(X.to(torch.uint8), X, X), "boolean"),
    "qr": (lambda: torch.qr(X), "linalg.qr"),
    "cholesky": (lambda: torch.cholesky(SQUARE), "linalg.cholesky"),
    "lu": (lambda: torch.lu(SQUARE), "lu_factor"),
    "chain_matmul": (lambda: torch.chain_matmul(X, X.t()), "multi_dot"),
    "cross": (lambda: torch.cross(SQUARE, SQUARE), "dim"),
    "backward": (lambda: (LEAF * LEAF).backward(create_graph=True), "cycle"),
    "dropout2d": (lambda: F.dropout2d(torch.ones(2, 3, 4)), "dropout1d"),
    "elementwise_mean": (lambda: F.mse_loss(X, X, reduction="elementwise_mean"), "mean"),
    "default type": (lambda: torch.set_default_tensor_type(torch.FloatTensor), "dtype"),
}
SILENT: dict[str, Callable] = {
    "T of a matrix": lambda: X.T,
    "mT of a batch": lambda: torch.ones(1, 2, 3).mT,
    "meshgrid": lambda: torch.meshgrid(torch.ones(2), indexing="ij"),
    "float": lambda: float(LEAF.detach()),
    "int": lambda: int(LEAF),
    "item": lambda: LEAF.item(),
    "format": lambda: f"{LEAF:.2f}",
    "tensor of numbers": lambda: torch.tensor([X[0, 0], 1.0, np.float32(2)]),
    "complex to bool": lambda: COMPLEX.bool(),
    "linalg": lambda: (torch.linalg.qr(X), torch.linalg.cholesky(SQUARE)),
    "cross": lambda: torch.cross(SQUARE, SQUARE, dim=1),
    "grad": lambda: torch.autograd.grad(LEAF * LEAF, LEAF, create_graph=True),
}
# an old form, and what it is now
OLD: dict[str, tuple[Callable, Callable]] = {
    "add": (lambda: torch.add(X, 2, X), lambda: torch.add(X, X, alpha=2)),
    "add method": (lambda: X.add(2, X), lambda: X.add(X, alpha=2)),
    "add_": (lambda: X.clone().add_(2, X), lambda: X.add(X, alpha=2)),
    "sub": (lambda: torch.sub(X, 2, X), lambda: torch.sub(X, X, alpha=2)),
    "sub_": (lambda: X.clone().sub_(2, X), lambda: X.sub(X, alpha=2)),
    "addcmul": (lambda: X.addcmul(2, X, X), lambda: X.addcmul(X, X, value=2)),
    "addcmul_": (lambda: X.clone().addcmul_(2, X, X), lambda: X.addcmul(X, X, value=2)),
    "addcdiv_": (lambda: X.clone().addcdiv_(2, X, X + 1), lambda: X.addcdiv(X, X + 1, value=2)),
}


@pytest.mark.parametrize("name", WARNED)
def test_warned(name: str) -> None:
    call, text = WARNED[name]
    with pytest.warns(UserWarning, match=text) as found:
        call()
    assert {w.filename for w in found} == {__file__}


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str) -> None:
    SILENT[name]()  # a warning would be an error


@pytest.mark.parametrize("name", OLD)
def test_numbers_before_the_tensors(name: str) -> None:
    old, now = OLD[name]
    with pytest.warns(UserWarning, match="overload of .* is deprecated"):
        torch.testing.assert_close(old(), now())


def test_old_places_and_names() -> None:
    with pytest.warns(FutureWarning, match=r"torch.amp.autocast\('cpu'"):
        torch.cpu.amp.autocast()
    with pytest.warns(FutureWarning, match=r"torch.amp.GradScaler\('cpu'"):
        torch.cpu.amp.GradScaler()
    with pytest.warns(FutureWarning, match="NLLLoss"):
        torch.nn.NLLLoss2d()


def test_wrong_orders() -> None:
    for call in (lambda: X.add(X, X), lambda: X.addcmul(X, X, X), lambda: X.add(2, 3, X)):
        with pytest.raises(TypeError, match="add"):
            call()
    with pytest.raises(RuntimeError, match=r"tensor\.H.*3-D"):
        _ = torch.ones(1, 2, 3).H


def test_complex_numbers_as_bools_are_what_is_not_zero() -> None:
    x = torch.tensor([0j, 1j, 1 + 0j])
    assert x.bool().tolist() == [False, True, True]
    assert torch.zeros(3, dtype=torch.bool).copy_(x).tolist() == [False, True, True]
