"""Dtypes that operators take, refuse and give."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import tritorch as torch
from tritorch.nn import functional as F
from tritorch.ops.api import FUNCTIONAL, PUBLIC, SPACES

STATEFUL = re.compile("set_|seed|save|load|from_file|printoptions|get_file_path")
X = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
BOOLS, WHOLE, COMPLEX = torch.tensor([[True, False]]), torch.tensor([[3, 1]]), X + 1j


MADE_OF: dict[str, Callable] = {
    "zeros": lambda kind: torch.zeros(2, dtype=kind),
    "rand": lambda kind: torch.rand_like(X, dtype=kind),
    "full": lambda kind: torch.full((2,), 1, dtype=kind),
    "arange": lambda kind: torch.arange(3, dtype=kind),
    "tensor": lambda kind: torch.tensor([1, 2], dtype=kind),
    "as_tensor": lambda kind: torch.as_tensor([1, 2], kind),
    "new_zeros": lambda kind: X.new_zeros(2, dtype=kind),
    "to": lambda kind: X.to(kind),
    "to, keyword": lambda kind: X.to("cpu", dtype=kind),
    "sum": lambda kind: X.sum(dtype=kind),
    "mean": lambda kind: torch.mean(WHOLE, dtype=kind),
    "softmax": lambda kind: F.softmax(X, 0, dtype=kind),
    "norm": lambda kind: torch.linalg.norm(X, dtype=kind),
    "view": lambda kind: X.double().view(kind),
    "module": lambda kind: torch.nn.Linear(2, 2, dtype=kind).weight,
}


@pytest.mark.parametrize("name", MADE_OF)
def test_types_of_python_are_dtypes(name: str) -> None:
    assert MADE_OF[name](float).dtype is torch.float64
    if name not in ("rand", "mean", "softmax", "norm", "module"):
        assert MADE_OF[name](int).dtype is torch.int64
    for wrong in ("float64", str):
        with pytest.raises((TypeError, RuntimeError)):
            MADE_OF[name](wrong)


def test_dtypes_of_python_promote() -> None:
    assert torch.promote_types(int, float) is torch.float64 and torch.can_cast(int, float)
    assert torch.iinfo(int).bits == torch.finfo(float).bits == 64
    assert X.to(bool).dtype is torch.bool and torch.ones(1, dtype=complex).dtype.itemsize == 16
    for f in (torch.promote_types, torch.can_cast):
        with pytest.raises(TypeError, match="must be dtype, not int"):
            f(1, 2)


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (lambda: torch.topk(BOOLS, 1), RuntimeError),
        (lambda: torch.kthvalue(BOOLS, 1), NotImplementedError),
        (lambda: torch.isin(BOOLS, BOOLS), RuntimeError),
        (lambda: torch.conv1d(BOOLS[None], BOOLS[None]), NotImplementedError),
        (lambda: torch.unique(COMPLEX), NotImplementedError),
        (lambda: torch.unique_consecutive(COMPLEX), NotImplementedError),
        (lambda: torch.mode(COMPLEX), NotImplementedError),
        (lambda: torch.isin(COMPLEX, COMPLEX), RuntimeError),
        (lambda: torch.heaviside(COMPLEX, COMPLEX), RuntimeError),
        (lambda: torch.nanmean(COMPLEX), RuntimeError),
        (lambda: F.glu(COMPLEX), NotImplementedError),
        (lambda: F.huber_loss(WHOLE, WHOLE), NotImplementedError),
        (lambda: F.kl_div(WHOLE, WHOLE, reduction="sum"), RuntimeError),
        (lambda: F.unfold(WHOLE[None], 1), NotImplementedError),
        (lambda: F.fold(WHOLE, (1, 1), 1), NotImplementedError),
        (lambda: F.embedding_bag(torch.tensor([[0]]), WHOLE), RuntimeError),
        (lambda: F.adaptive_max_pool1d(WHOLE, 1), NotImplementedError),
        (lambda: F.adaptive_avg_pool1d(COMPLEX, 1), NotImplementedError),
        (lambda: F.avg_pool1d(COMPLEX, 1), NotImplementedError),
        (lambda: F.avg_pool2d(WHOLE.int()[None], 1), NotImplementedError),
        (lambda: F.max_pool1d(BOOLS, 1), NotImplementedError),
        (lambda: F.max_pool2d(COMPLEX[None], 1), NotImplementedError),
        (lambda: F.max_unpool1d(WHOLE, WHOLE % 2, 1), NotImplementedError),
        (lambda: F.smooth_l1_loss(WHOLE, WHOLE), NotImplementedError),
        (lambda: F.multi_margin_loss(WHOLE, torch.tensor([0])), NotImplementedError),
        (
            lambda: torch.native_group_norm(COMPLEX[None], None, None, 1, 2, 2, 2, 1e-5),
            NotImplementedError,
        ),
        (lambda: F.embedding(WHOLE % 2, WHOLE.T, max_norm=1.0), NotImplementedError),
        (lambda: torch.abs(BOOLS), NotImplementedError),
        (lambda: torch.mvlgamma(BOOLS, 1), NotImplementedError),
        (lambda: torch.gradient(BOOLS[0]), NotImplementedError),
        (lambda: torch.searchsorted(BOOLS, BOOLS), NotImplementedError),
        (lambda: torch.bucketize(COMPLEX, X[0]), NotImplementedError),
        (lambda: torch.cosine_similarity(COMPLEX, COMPLEX), RuntimeError),
        (lambda: torch.tensor_split(X, torch.tensor([1.0])), RuntimeError),
        (lambda: torch.isin(WHOLE, COMPLEX), RuntimeError),
        (lambda: F.prelu(WHOLE, WHOLE[0, :1]), NotImplementedError),
        (lambda: torch.bernoulli(COMPLEX, 0.5), NotImplementedError),
        (lambda: COMPLEX.clone().bernoulli_(), NotImplementedError),
        (lambda: COMPLEX.clone().random_(), NotImplementedError),
        (lambda: BOOLS.clone().geometric_(0.5), NotImplementedError),
        (lambda: torch.bincount(X[0]), NotImplementedError),
        (lambda: torch.histc(WHOLE), NotImplementedError),
        (lambda: torch.round(WHOLE, decimals=1), NotImplementedError),
    ],
)
def test_dtypes_that_are_refused(f: Callable, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        f()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.deg2rad_(),
        lambda x: x.logit_(),
        lambda x: x.ldexp_(x),
        lambda x: x.polygamma_(1),
        lambda x: x.cumsum_(0, dtype=torch.float32),
    ],
)
def test_integers_hold_no_fractions_in_place(f: Callable) -> None:
    x = WHOLE.clone()
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type int64"):
        f(x)
    assert torch.equal(x, WHOLE)


KINDS = ("bool", "uint8", "int8", "int64", "uint16", "bfloat16", "float32", "float64", "complex64")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_results_hold_what_their_dtype_says(kind: str) -> None:
    """Each function of one or two tensors or a number: its array has the tensor's dtype."""
    dtype = getattr(torch, kind)
    whole, single = torch.tensor([[1, 2], [3, 1]]).to(dtype), torch.tensor(1).to(dtype)
    ways = [(x, *rest) for x in (whole, whole.T, single) for rest in ((), (x,), (1,), (0.5,))]
    checked = 0
    for table in (PUBLIC, FUNCTIONAL, *SPACES.values()):
        for name, f in table.items():
            if STATEFUL.search(name):
                continue
            for args in ways:
                try:
                    found = f(*(x.clone() if isinstance(x, torch.Tensor) else x for x in args))
                except (TypeError, ValueError, RuntimeError, IndexError):
                    continue
                for t in found if isinstance(found, tuple | list) else (found,):
                    if isinstance(t, torch.Tensor):
                        assert t._data.dtype == t.dtype.np, (name, args)
                        checked += 1
    assert checked > 500


def test_roundings_of_integers() -> None:
    for x in (WHOLE, WHOLE.T, WHOLE.to(torch.uint8)):
        assert torch.equal(torch.round(x), x) and torch.round(x).numpy().dtype.kind in "iu"
    with pytest.raises(NotImplementedError, match="bool"):
        BOOLS // True
