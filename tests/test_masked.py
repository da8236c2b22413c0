"""`torch.masked` against NumPy on the elements that are left, and against PyTorch's."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import masked
from tritorch.autograd import gradcheck
from tritorch.ops.api import SPACES

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 5))
MASK = rng.random((3, 5)) < 0.6
MASK[:, 0] = True

REDUCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "mean": np.mean,
    "var": lambda x: np.var(x, ddof=1) if len(x) > 1 else math.nan,
    "std": lambda x: np.std(x, ddof=1) if len(x) > 1 else math.nan,
    "norm": np.linalg.norm,
    "median": lambda x: np.sort(x)[(len(x) - 1) // 2],
    "logsumexp": lambda x: np.log(np.exp(x).sum()),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_see_only_what_is_left(name: str) -> None:
    f = getattr(masked, name)
    x, mask = torch.from_numpy(X), torch.from_numpy(MASK)
    lines = [REDUCTIONS[name](row[m]) for row, m in zip(X, MASK, strict=True)]
    np.testing.assert_allclose(f(x, dim=1, mask=mask).numpy(), lines)
    assert f(x, dim=1, keepdim=True, mask=mask).shape == (3, 1)
    whole = [REDUCTIONS[name](row) for row in X]
    np.testing.assert_allclose(f(x, dim=1).numpy(), whole)
    if name != "median":
        np.testing.assert_allclose(f(x, mask=mask).item(), REDUCTIONS[name](X[MASK]))
    if name not in ("var", "std"):
        g = x.clone().requires_grad_()
        assert gradcheck(lambda t: f(t, dim=1, mask=mask), (g,))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin", "normalize"])
def test_lines_are_normalised_over_what_is_left(name: str) -> None:
    x, mask = torch.from_numpy(X), torch.from_numpy(MASK)
    args = (2.0, 1) if name == "normalize" else (1,)
    out = getattr(masked, name)(x, *args, mask=mask).numpy()
    for row, m, have in zip(X, MASK, out, strict=True):
        e = np.exp(-row[m] if name == "softmin" else row[m])
        want = row[m] / np.linalg.norm(row[m]) if name == "normalize" else e / e.sum()
        np.testing.assert_allclose(have[m], np.log(want) if name == "log_softmax" else want)
        assert (have[~m] == (-math.inf if name == "log_softmax" else 0)).all()


def test_running_sums_pass_over_the_others() -> None:
    x, mask = torch.from_numpy(X), torch.from_numpy(MASK)
    np.testing.assert_allclose(
        masked.cumsum(x, 1, mask=mask).numpy(), np.cumsum(np.where(MASK, X, 0), 1)
    )
    np.testing.assert_allclose(
        masked.cumprod(x, 1, mask=mask).numpy(), np.cumprod(np.where(MASK, X, 1), 1)
    )
    both = masked.logaddexp(x, x, input_mask=mask, other_mask=~mask)
    np.testing.assert_allclose(both.numpy(), X)


def test_masks_that_do_not_fit_are_refused() -> None:
    x = torch.ones(2, 3)
    with pytest.raises(IndexError, match="sum: _input_mask expected broadcastable mask"):
        masked.sum(x, mask=torch.ones(1, 2, 3, dtype=torch.bool))
    with pytest.raises(RuntimeError, match="must match the existing size"):
        masked.sum(x, mask=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="fully masked out rows"):
        masked.median(torch.arange(6).reshape(2, 3), mask=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(NotImplementedError, match="identity of amax"):
        masked.amax(x.bool(), mask=torch.ones(3, dtype=torch.bool))


@pytest.mark.oracle
@pytest.mark.parametrize("name", [n for n in SPACES["masked"] if "masked_tensor" not in n])
def test_results_and_dtypes_are_pytorchs(name: str) -> None:
    pytorch: Any = pytest.importorskip("torch")
    theirs = getattr(importlib.import_module("torch.masked"), name)
    m = np.array([[True, False, True], [True, True, False]])
    kwargs: dict[str, Any] = {"ord": 2, "dim": 1} if name == "normalize" else {}
    if name in ("cumsum", "cumprod", "softmax", "log_softmax", "softmin", "median"):
        kwargs = {"dim": 1}
    for dtype in ("float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool"):
        results = []
        for lib, f in ((pytorch, theirs), (torch, getattr(masked, name))):
            x = lib.tensor([[3, 1, 2], [0, 4, 1]]).to(getattr(lib, dtype))
            masks = {"input_mask" if name == "logaddexp" else "mask": lib.tensor(m.tolist())}
            try:
                out = f(*((x, x) if name == "logaddexp" else (x,)), **kwargs, **masks)
            except (RuntimeError, ValueError, TypeError):  # NotImplementedError is the first
                results.append(None)
            else:
                results.append((str(out.dtype).split(".")[1], out.double().tolist()))
        want, have = results
        if want is not None:
            assert have is not None and have[0] == want[0], dtype
            near = 2e-2 if dtype == "bfloat16" else 1e-6
            np.testing.assert_allclose(have[1], want[1], near, near)
