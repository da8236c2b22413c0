"""The table of distributions: derivatives by parameters, dtypes, samples, devices."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import pytest
from distribution_rows import IDS, TABLE, build

import tritorch as torch
from tritorch.autograd import gradcheck
from tritorch.runtime import memory

every_row = pytest.mark.parametrize("row", range(len(TABLE)), ids=IDS)
# Their parameters are not free: rows sum to 1, matrices are symmetric or triangular.
BOUND = ("covariance_matrix", "precision_matrix", "scale_tril")


def drawn(row: int, shape: tuple[int, ...] = (4,), dtype: str = "float64") -> torch.Tensor:
    torch.manual_seed(row)
    return build(torch, row, dtype=dtype)[0].sample(shape)


def remade(row: int, values: list[torch.Tensor], names: list[str], rest: dict[str, Any]) -> Any:
    parameters = {**rest, **dict(zip(names, values, strict=True))}
    kind = getattr(torch.distributions, TABLE[row][0])
    return kind(**parameters, validate_args=False)


@every_row
@pytest.mark.parametrize("function", ["log_prob", "entropy"])
def test_derivatives_by_parameters(row: int, function: str) -> None:
    _, made = build(torch, row, dtype="float64")
    names = [k for k, v in made.items() if isinstance(v, torch.Tensor) and k not in BOUND]
    rest = {k: v for k, v in made.items() if k not in names}
    if TABLE[row][0] == "Categorical" and "probs" in names:
        made["probs"] = made["probs"] + 0.1  # a probability of 0 has no derivative
    if "rate" in names and TABLE[row][0] == "Poisson":
        made["rate"] = made["rate"] + 0.1
    x = drawn(row)

    def f(*values: torch.Tensor) -> torch.Tensor:
        d = remade(row, list(values), names, rest)
        return d.log_prob(x) if function == "log_prob" else d.entropy()

    values = [made[n].requires_grad_() for n in names]
    try:
        f(*values)
    except NotImplementedError:
        return
    if values and f(*values).requires_grad:
        assert gradcheck(f, values, atol=1e-4, rtol=1e-3)


@every_row
def test_samples_lie_in_the_support_and_have_finite_gradients(row: int) -> None:
    d, made = build(torch, row, grad=True)
    torch.manual_seed(row)
    x = d.sample((3, 200))
    assert tuple(x.shape) == (3, 200, *d.batch_shape, *d.event_shape)
    assert not x.requires_grad and bool(d.support.check(x).all())
    assert bool(torch.isfinite(d.log_prob(x)).all())
    wanted = [v for v in made.values() if isinstance(v, torch.Tensor)]
    if d.has_rsample and wanted:
        grads = torch.autograd.grad(d.rsample((20,)).sum(), wanted, allow_unused=True)
        assert all(g is None or bool(torch.isfinite(g).all()) for g in grads)
        assert any(g is not None for g in grads)


@every_row
def test_single_precision_agrees_with_double(row: int) -> None:
    x = drawn(row)
    (narrow, made), (wide, _) = (build(torch, row, dtype=dtype) for dtype in ("float32", "float64"))
    a = narrow.log_prob(x.float() if x.is_floating_point() else x)
    assert a.dtype is torch.float32
    torch.testing.assert_close(a.double(), wide.log_prob(x).double(), rtol=2e-3, atol=2e-3)
    samples = narrow.sample()
    assert samples.dtype in (torch.float32, torch.int64) or not made


@every_row
def test_expanded_distribution_draws_independent_values(row: int) -> None:
    d, _ = build(torch, row)
    torch.manual_seed(row)
    x = d.expand((50, *d.batch_shape)).sample()
    assert tuple(x.shape) == (50, *d.batch_shape, *d.event_shape)
    assert len(np.unique(x.reshape(50, -1).numpy(), axis=0)) > 1


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
@every_row
def test_on_a_device(row: int) -> None:
    """Samples, densities and entropies of parameters on a device stay there and are the CPU's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operators that run on the host
        here, made = build(torch, row, dtype="float32")
        kind = getattr(torch.distributions, TABLE[row][0])
        moved = {k: v.to("cuda") if isinstance(v, torch.Tensor) else v for k, v in made.items()}
        there = kind(**moved)
        x = drawn(row, dtype="float32")
        device = "cpu" if not any(isinstance(v, torch.Tensor) for v in made.values()) else "cuda"
        assert there.sample((2,)).device.type == device
        got = there.log_prob(x.to(device))
        assert got.device.type == device
        torch.testing.assert_close(got.cpu(), here.log_prob(x), rtol=1e-4, atol=1e-4)
        with contextlib.suppress(NotImplementedError):
            torch.testing.assert_close(
                there.entropy().cpu(), here.entropy(), rtol=1e-4, atol=1e-4, equal_nan=True
            )
