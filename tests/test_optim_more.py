"""LBFGS, Adafactor, Muon, SparseAdam, averages of weights, hooks of all optimizers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import nn, optim
from tritorch.optim import swa_utils
from tritorch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

SHAPES = ((4, 6), (6, 3), (2, 5, 3))
SETTINGS: list[tuple[str, dict]] = [
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {"lr": 0.5, "d": 1.5, "beta2_decay": -0.5, "eps": (1e-3, 1e-2)}),
    ("Muon", {}),
    ("Muon", {"lr": 0.1, "nesterov": False, "weight_decay": 0.0, "momentum": 0.5}),
    ("Muon", {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}),
    ("LBFGS", {"lr": 0.1, "max_iter": 3}),
    ("LBFGS", {"lr": 0.5, "history_size": 2, "max_iter": 4}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 4}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in SETTINGS]


def quadratic(lib: Any, name: str, options: dict, steps: int = 3) -> Any:
    """Parameters and optimizer after some steps downhill on `sum(c * (p - t)^2)`."""
    rng = np.random.default_rng(3)
    draw = [[rng.standard_normal(s).astype(np.float32) for s in SHAPES] for _ in range(2)]
    scale = [rng.uniform(0.3, 2, s).astype(np.float32) for s in SHAPES]
    n = 2 if name == "Muon" else 3
    params = [nn_parameter(lib, a) for a in draw[0][:n]]
    optimizer = getattr(lib.optim, name)(params, **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(
            (lib.from_numpy(c) * (p - lib.from_numpy(t)) ** 2).sum()
            for p, t, c in zip(params, draw[1], scale)
        )
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
    losses.append(closure().item())
    return params, optimizer, losses


def nn_parameter(lib: Any, a: np.ndarray) -> Any:
    return lib.nn.Parameter(lib.from_numpy(a.copy()))


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=IDS)
def test_steps_and_state_are_those_of_pytorch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours, mine, losses = quadratic(tritorch, name, options)
    theirs, other, expected = quadratic(torch, name, options)
    tolerance = {"rtol": 2e-2, "atol": 2e-3} if name == "Muon" else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(losses, expected, rtol=1e-2 if name == "Muon" else 1e-4)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **tolerance)
    a, b = mine.state_dict(), other.state_dict()
    assert a["param_groups"] == b["param_groups"] and list(a["state"]) == list(b["state"])
    for key in a["state"]:
        assert list(a["state"][key]) == list(b["state"][key])
        for own, of_torch in zip(a["state"][key].values(), b["state"][key].values()):
            assert getattr(own, "shape", ()) == getattr(of_torch, "shape", ())
    assert repr(mine) == repr(other)


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=IDS)
def test_losses_fall_and_reloaded_optimizers_go_on(name: str, options: dict) -> None:
    params, optimizer, losses = quadratic(tritorch, name, options)
    assert losses[-1] < losses[0] or options.get("maximize")
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    other = getattr(optim, name)(twins, **options)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def again(of: Any, ps: list) -> Any:
        def closure() -> Any:
            of.zero_grad()
            loss = sum(((p - 1) ** 2).sum() for p in ps)
            loss.backward()
            return loss

        return closure

    optimizer.step(again(optimizer, params))
    other.step(again(other, twins))
    for p, q in zip(params, twins):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_lbfgs_finds_the_minimum_of_rosenbrocks_function() -> None:
    p = nn.Parameter(tritorch.tensor([-1.2, 1.0], dtype=tritorch.float64))
    optimizer = optim.LBFGS([p], max_iter=60, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-6)
    assert optimizer.state[p]["n_iter"] < 60


def test_lbfgs_refuses() -> None:
    a, b = (nn.Parameter(tritorch.ones(1)) for _ in range(2))
    with pytest.raises(ValueError, match="parameter groups"):
        optim.LBFGS([{"params": [a]}, {"params": [b]}])
    optimizer = optim.LBFGS([a], line_search_fn="weak")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="strong_wolfe"):
        optimizer.step(closure)


def test_lbfgs_of_complex_parameters() -> None:
    p = nn.Parameter(tritorch.tensor([1 + 2j, -1j]))
    optimizer = optim.LBFGS([p])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p - (2 - 1j)).abs().pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [2 - 1j, 2 - 1j], atol=1e-5)


def test_muon_makes_steps_with_singular_values_near_one() -> None:
    for shape in ((8, 4), (4, 8), (5, 5)):
        p = nn.Parameter(tritorch.zeros(shape))
        rng = np.random.default_rng(0)
        p.grad = tritorch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        optim.Muon([p], lr=1.0, weight_decay=0.0, adjust_lr_fn="original").step()
        values = np.linalg.svd(p.detach().numpy(), compute_uv=False)
        values = values / max(1, shape[0] / shape[1]) ** 0.5
        assert values.min() > 0.5 and values.max() < 1.3


class Rows:
    """A sparse gradient: some rows of a matrix."""

    is_sparse = True

    def __init__(self, rows: list[int], values: Any) -> None:
        self.rows, self.values = rows, values

    def coalesce(self) -> Rows:
        return self

    def _indices(self) -> Any:
        return tritorch.tensor([self.rows])

    def _values(self) -> Any:
        return self.values


def test_sparse_adam_is_adam_where_the_gradient_has_rows() -> None:
    p, q = (nn.Parameter(tritorch.ones(4, 3)) for _ in range(2))
    sparse, dense = optim.SparseAdam([p], lr=0.1), optim.Adam([q], lr=0.1)
    rng = np.random.default_rng(0)
    for _ in range(3):
        values = rng.standard_normal((2, 3)).astype(np.float32)
        p._grad = Rows([1, 3], tritorch.from_numpy(values))  # type: ignore[assignment]
        q.grad = tritorch.zeros(4, 3)
        q.grad[[1, 3]] = tritorch.from_numpy(values)
        sparse.step()
        dense.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-6)
    assert (
        list(sparse.state[p]) == ["step", "exp_avg", "exp_avg_sq"] and sparse.state[p]["step"] == 3
    )


REFUSED: dict[str, Any] = {
    "dense": lambda lib, p: lib.optim.SparseAdam([p]).step(),
    "complex": lambda lib, p: lib.optim.SparseAdam([lib.nn.Parameter(lib.ones(1) * 1j)]),
    "sparse lr": lambda lib, p: lib.optim.SparseAdam([p], lr=0.0),
    "vector": lambda lib, p: lib.optim.Muon([p]),
    "rule": lambda lib, p: lib.optim.Muon([p[None].detach()], adjust_lr_fn="other"),
    "muon momentum": lambda lib, p: lib.optim.Muon([p[None].detach()], momentum=-1),
    "decay": lambda lib, p: lib.optim.Adafactor([p], beta2_decay=0.5),
    "threshold": lambda lib, p: lib.optim.Adafactor([p], d=0.5),
    "eps": lambda lib, p: lib.optim.Adafactor([p], eps=(None, -1)),
    "lr": lambda lib, p: lib.optim.LBFGS([p], lr=-1),
    "ema": lambda lib, p: lib.optim.swa_utils.get_ema_avg_fn(2.0),
    "strategy": lambda lib, p: lib.optim.swa_utils.SWALR(
        lib.optim.SGD([p], 0.1), 0.1, anneal_strategy="other"
    ),
    "epochs": lambda lib, p: lib.optim.swa_utils.SWALR(
        lib.optim.SGD([p], 0.1), 0.1, anneal_epochs=-1
    ),
}


def refusal(lib: Any, name: str) -> Exception:
    p = lib.nn.Parameter(lib.ones(2))
    p.grad = lib.ones(2)
    with pytest.raises(Exception) as caught:
        REFUSED[name](lib, p)
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_bad_options_are_refused(name: str) -> None:
    assert type(refusal(tritorch, name)) in (ValueError, RuntimeError)


@pytest.mark.oracle
@pytest.mark.parametrize("name", REFUSED)
def test_bad_options_are_refused_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert type(refusal(tritorch, name)) is type(refusal(torch, name))


# -- averages of weights --------------------------------------------------------------------------

AVERAGES: dict[str, tuple[dict, list[float]]] = {
    "equal": ({}, [1.0, 2.0, 3.0]),
    "ema": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75)}, [1.0, 1.5, 2.375]),
    "ema of one": ({"avg_fn": swa_utils.get_ema_avg_fn(0.75)}, [1.0, 1.5, 2.375]),
    "swa of one": ({"avg_fn": swa_utils.get_swa_avg_fn()}, [1.0, 2.0, 3.0]),
    "buffers": ({"use_buffers": True}, [1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_models(name: str) -> None:
    options, expected = AVERAGES[name]
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = swa_utils.AveragedModel(model, **options)
    for value, mean in zip((1.0, 3.0, 5.0), expected):
        nn.init.constant_(model[0].weight, value)
        model[1].running_mean.fill_(value)
        average.update_parameters(model)
        assert (average.module[0].weight == mean).all()
        kept = mean if "use_buffers" in options else value
        assert (average.module[1].running_mean == kept).all()
    assert average.n_averaged.item() == 3 and model[0].weight[0, 0].item() == 5
    other = swa_utils.AveragedModel(model)
    other.load_state_dict(average.state_dict())
    assert (other.module[0].weight == expected[-1]).all()
    assert list(average.state_dict())[:2] == ["n_averaged", "module.0.weight"]


def test_update_bn() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)).eval()
    model[0].running_mean.fill_(9.0)
    x = tritorch.arange(12.0).reshape(6, 2)
    swa_utils.update_bn([(x[:3], 1), (x[3:], 2)], model)
    np.testing.assert_allclose(model[0].running_mean.numpy(), x.numpy().mean(0))
    assert model[0].momentum == 0.1 and not model.training


# -- hooks ----------------------------------------------------------------------------------------


def test_hooks_of_all_optimizers() -> None:
    p, calls = nn.Parameter(tritorch.ones(1)), []
    p.grad = tritorch.ones(1)
    before = register_optimizer_step_pre_hook(lambda o, args, kwargs: calls.append(("pre", o)))
    after = register_optimizer_step_post_hook(lambda o, args, kwargs: calls.append(("post", o)))
    optimizers = optim.SGD([p]), optim.Adam([p])
    with before, after:
        for o in optimizers:
            o.step()
    optimizers[0].step()
    assert calls == [(when, o) for o in optimizers for when in ("pre", "post")]


def test_swapped_parameters_and_state() -> None:
    p = nn.Parameter(tritorch.ones(2))
    p.grad = tritorch.ones(2)
    optimizer = optim.Adam([p], lr=0.1)
    with (
        pytest.raises(RuntimeError, match="make a step first"),
        optim.swap_in_optimizer_params_and_state(optimizer, {"p": p}, optimizer.state_dict()),
    ):
        pass
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.5
    q = nn.Parameter(tritorch.zeros(2))
    q.grad = tritorch.ones(2)
    before = p.detach().clone()
    with optim.swap_in_optimizer_params_and_state(optimizer, {"q": q}, state):
        optimizer.step()
    assert (p == before).all() and optimizer.param_groups[0]["params"] == [p]
    np.testing.assert_allclose(q.detach().numpy(), -0.5, rtol=1e-5)
    assert optimizer.state[p]["step"].item() == 1 and optimizer.param_groups[0]["lr"] == 0.1
    with (
        pytest.raises(RuntimeError, match="got 0 parameters"),
        optim.swap_in_optimizer_params_and_state(optimizer, {}, state),
    ):
        pass


@pytest.mark.oracle
def test_centered_rmsprop_where_the_variance_vanishes_is_that_of_pytorch() -> None:
    """Under a constant gradient `v` comes so close to `mean^2` that rounding decides."""
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    found = []
    for lib in (tritorch, torch):
        p = lib.nn.Parameter(lib.zeros(len(g)))
        optimizer = lib.optim.RMSprop([p], lr=1e-3, centered=True)
        for _ in range(1400):
            p.grad = lib.from_numpy(g)
            optimizer.step()
        found.append([p.detach().numpy(), *(s.numpy() for s in optimizer.state[p].values())])
    (ours, _, v, mean), (theirs, _, v2, mean2) = found
    assert abs(theirs[~np.isnan(theirs)]).max() > 100  # where it is that far from a step of 1e-3
    np.testing.assert_array_equal(v, v2)
    np.testing.assert_array_equal(mean, mean2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.oracle
def test_repr_sets_groups_apart_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")

    def two(lib: Any) -> Any:
        a, b = lib.ones(2, requires_grad=True), lib.ones(3, requires_grad=True)
        return lib.optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b]}], lr=0.01)

    assert repr(two(tritorch)) == repr(two(torch))
