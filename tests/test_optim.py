"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import nn, optim
from tritorch.optim import lr_scheduler
from tritorch.runtime import memory

# (class, options): every branch of every update.
SETTINGS: list[tuple[str, dict]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    *(
        (name, {"lr": 0.01, **options})
        for name in ("Adam", "AdamW")
        for options in (
            {},
            {"weight_decay": 0.1},
            {"amsgrad": True},
            {"maximize": True, "weight_decay": 0.1},
            {"betas": (0.8, 0.9), "eps": 1e-3, "amsgrad": True, "weight_decay": 0.5},
        )
    ),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
]
MORE: list[tuple[str, dict]] = [
    *(
        (name, {"lr": 0.01, **options})
        for name in ("Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop", "ASGD")
        for options in ({}, {"weight_decay": 0.1, "maximize": True})
    ),
    *(
        (name, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True})
        for name in ("NAdam", "RAdam")
    ),
    ("RAdam", {"lr": 0.01, "betas": (0.8, 0.5)}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.5, "initial_accumulator_value": 0.3, "eps": 0.1}),
    ("RMSprop", {"lr": 0.01, "centered": True, "alpha": 0.5}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True, "eps": 0.1}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"lr": 0.01, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.02), "maximize": True}),
    ("ASGD", {"lr": 0.01, "t0": 1, "alpha": 0.5, "lambd": 0.1}),
]
ALL = SETTINGS + MORE
NAMES = sorted({name for name, _ in ALL})
IDS = [f"{name}-{'-'.join(options)}" for name, options in ALL]
SHAPES = ((), (3,), (4, 6), (2, 0), (40000,), (150, 300))


def arrays(steps: int, dtype: Any = np.float32) -> tuple[list, list]:
    """Parameters, and their gradients at every step."""
    rng = np.random.default_rng(0)
    draw = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    return draw, [[rng.standard_normal(s).astype(dtype) for s in SHAPES] for _ in range(steps)]


def run(lib: Any, name: str, options: dict, steps: int = 4, change: Callable = lambda p: p) -> Any:
    """The parameters and the state after some steps."""
    start, gradients = arrays(steps)
    params = [lib.nn.Parameter(change(lib.from_numpy(np.array(a)))) for a in start]
    optimizer = getattr(lib.optim, name)(params, **options)
    for step in gradients:
        for p, g in zip(params, step):
            p.grad = change(lib.from_numpy(np.array(g))).to(p.dtype)
        optimizer.step()
    return params, optimizer


def by_formula(name: str, options: dict, steps: int = 4) -> list[np.ndarray]:
    """The same in float64, straight from the papers."""
    start, gradients = arrays(steps)
    o = {"betas": (0.9, 0.999), "eps": 1e-8, "momentum": 0, "dampening": 0, **options}
    decay = o.get("weight_decay", 0.01 if name == "AdamW" else 0)
    decoupled = name == "AdamW" or o.get("decoupled_weight_decay", False)
    out = []
    for i, p in enumerate(start):
        p, m, v, top = p.astype(np.float64), 0.0, 0.0, 0.0
        for t, step in enumerate(gradients, 1):
            g = step[i].astype(np.float64) * (-1 if o.get("maximize") else 1)
            if decoupled:
                p = p - o["lr"] * decay * p
            else:
                g = g + decay * p
            if name == "SGD":
                m = g if t == 1 else o["momentum"] * m + (1 - o["dampening"]) * g
                g = g + o["momentum"] * m if o.get("nesterov") else m if o["momentum"] else g
                p = p - o["lr"] * g
                continue
            (b1, b2) = o["betas"]
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            top = np.maximum(top, v)
            second = (top if o.get("amsgrad") else v) / (1 - b2**t)
            p = p - o["lr"] * (m / (1 - b1**t)) / (np.sqrt(second) + o["eps"])
        out.append(p)
    return out


# -- updates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=IDS[: len(SETTINGS)])
def test_steps_are_the_formula(name: str, options: dict) -> None:
    params, _ = run(tritorch, name, options)
    for p, expected in zip(params, by_formula(name, options)):
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=2e-5, atol=2e-6)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(
        a.detach().double().numpy(), b.detach().double().numpy(), rtol=2e-5, atol=2e-6
    )


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "options"), ALL, ids=IDS)
def test_steps_and_state_are_those_of_pytorch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    (ours, mine), (theirs, other) = run(tritorch, name, options), run(torch, name, options)
    for a, b in zip(ours, theirs):
        close(a, b)
    a, b = mine.state_dict(), other.state_dict()
    assert a["param_groups"] == b["param_groups"] and list(a["state"]) == list(b["state"])
    for key, state in a["state"].items():
        assert list(state) == list(b["state"][key])
        for k, v in state.items():
            assert v.dtype.name == str(b["state"][key][k].dtype).removeprefix("torch.")
            close(v, b["state"][key][k])
    assert repr(mine) == repr(other)


@pytest.mark.parametrize(("name", "options"), ALL, ids=IDS)
def test_composed_update_is_the_direct_one(name: str, options: dict) -> None:
    """What runs where a gradient is recorded, and on devices without a kernel."""
    direct, _ = run(tritorch, name, options)
    composed, _ = run(tritorch, name, {**options, "differentiable": False})
    start, gradients = arrays(4)
    params = [nn.Parameter(tritorch.from_numpy(np.array(a))) for a in start]
    optimizer = getattr(optim, name)(params, **options)
    with tritorch.no_grad():
        for step in gradients:
            for p, g in zip(params, step):
                group = optimizer.param_groups[0]
                n = optimizer.advance(p, optimizer.state, group)
                kept = [optimizer.state[p][k] for k in optimizer.arrays_of(group)]
                optimizer.update(
                    p, tritorch.from_numpy(np.array(g)), *kept, optimizer.constants(group, n)
                )
    for a, b, c in zip(direct, composed, params):
        close(a, b)
        close(a, c)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_layouts_and_dtypes(name: str) -> None:
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    start, gradients = arrays(3)
    for shape_at, turn in itertools.product((2, 5), (np.asarray, np.asfortranarray)):
        a = nn.Parameter(tritorch.from_numpy(turn(start[shape_at])))
        b = nn.Parameter(tritorch.from_numpy(start[shape_at].copy()))
        one, two = (getattr(optim, name)([p], **options) for p in (a, b))
        for step in gradients:
            a.grad = tritorch.from_numpy(np.ascontiguousarray(step[shape_at]))
            b.grad = tritorch.from_numpy(turn(step[shape_at]))
            one.step()
            two.step()
        close(a, b)
    for dtype in (tritorch.float64, tritorch.bfloat16, tritorch.float16):
        params, _ = run(tritorch, name, options, change=lambda t, d=dtype: t.to(d))
        expected, _ = run(tritorch, name, options)
        for p, e in zip(params, expected):
            assert p.dtype is dtype
            tolerance = 1e-6 if dtype is tritorch.float64 else 0.1
            np.testing.assert_allclose(
                p.detach().double().numpy(), e.detach().double().numpy(), tolerance, tolerance
            )


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_complex_parameters(name: str) -> None:
    torch = pytest.importorskip("torch")
    options = {"lr": 0.1} if name == "Rprop" else {"lr": 0.1, "weight_decay": 0.1}
    results = []
    for lib in (tritorch, torch):
        p = lib.nn.Parameter(lib.tensor([[1 + 2j, 3 - 1j], [2j, -1.0]]))
        optimizer = getattr(lib.optim, name)([p], **options)
        for _ in range(3):
            p.grad = lib.tensor([[1 - 1j, 2j], [3.0, 1 + 1j]]).t()
            optimizer.step()
        results.append(p.detach().numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_sums_do_not_depend_on_threads() -> None:
    threads, results = tritorch.get_num_threads(), []
    for n in (1, 3):
        tritorch.set_num_threads(n)
        results.append(run(tritorch, "AdamW", {"lr": 0.01})[0][-1].detach().numpy())
    tritorch.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "Rprop"])
def test_differentiable(name: str) -> None:
    """The gradient of a loss after two steps with respect to the first parameters."""
    options = {"lr": 0.1, "differentiable": True}
    if name == "SGD":
        options["momentum"] = 0.9

    def after(start: Any) -> Any:
        p = start.clone()
        optimizer = getattr(optim, name)([p], **options)
        for _ in range(2):
            p.grad = p.detach() * 0 + start * start
            optimizer.step()
        return (p * p).sum()

    start = tritorch.tensor([1.0, -2.0, 0.5], dtype=tritorch.float64, requires_grad=True)
    (got,) = tritorch.autograd.grad(after(start), start)
    h = 1e-6
    for i in range(3):
        values = []
        for sign in (1, -1):
            moved = start.detach().clone()
            moved[i] += sign * h
            values.append(after(moved.requires_grad_()).item())
        assert abs((values[0] - values[1]) / (2 * h) - got[i].item()) < 1e-4


def device_step(name: str, options: dict) -> None:
    """Steps by kernels against those on the CPU."""
    results = []
    for where in ("cpu", "cuda"):
        start, gradients = arrays(2)
        params = [nn.Parameter(tritorch.from_numpy(a).to(where)) for a in start[:4]]
        optimizer = getattr(optim, name)(params, **options)
        for step in gradients:
            for p, g in zip(params, step):
                p.grad = tritorch.from_numpy(np.array(g)).to(where)
            optimizer.step()
        assert all(p._version >= 2 for p in params)
        results.append(params)
    for a, b in zip(*results):
        close(a, b.cpu())


KERNELS = [s for s in SETTINGS if len(s[1]) > 1]


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
@pytest.mark.parametrize(("name", "options"), [*KERNELS, MORE[0]])
def test_steps_in_the_interpreter(name: str, options: dict) -> None:
    device_step(name, options)


COUNTED = [s for s in [*KERNELS, *MORE] if s[0] not in ("SGD", "Adagrad")]


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
@pytest.mark.parametrize(("name", "options"), COUNTED)
def test_capturable_steps_in_the_interpreter(name: str, options: dict) -> None:
    """Steps counted in the device's memory are those counted on the host."""
    results = []
    for where, capturable in (("cpu", False), ("cuda", True)):
        start, gradients = arrays(6)
        lr = tritorch.tensor(options["lr"], device=where)
        params = [nn.Parameter(tritorch.from_numpy(a).to(where)) for a in start[:3]]
        given = {**options, "lr": lr, "capturable": capturable}
        optimizer = getattr(optim, name)(params, **given)
        for i, step in enumerate(gradients):
            for p, g in zip(params, step):
                p.grad = tritorch.from_numpy(np.array(g)).to(where)
            params[0].grad = None if i == 2 else params[0].grad  # a count of its own
            if i == 4:
                lr.mul_(0.5)
            optimizer.step()
        results.append(params)
        counts = [optimizer.state[p]["step"] for p in params]
        assert [c.item() for c in counts] == [5, 6, 6]
        assert {(c.dtype, c.device.type, tuple(c.shape)) for c in counts} == {
            (tritorch.float32, where, ())
        }
        again = getattr(optim, name)(params)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert again.state[params[1]]["step"].device.type == where
    for a, b in zip(*results):
        close(a, b.cpu())


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
@pytest.mark.parametrize("dtype", [tritorch.float64, tritorch.complex128])
def test_a_learning_rate_on_the_device(dtype: tritorch.dtype) -> None:
    """SGD reads it where it lies, also where no kernel serves, as for complex parameters."""
    results = []
    for where in ("cpu", "cuda"):
        lr = tritorch.tensor(0.5, device=where)
        p = nn.Parameter(tritorch.ones(3, dtype=dtype, device=where))
        optimizer = optim.SGD([p], lr=lr, momentum=0.5)
        for _ in range(3):
            p.grad = tritorch.full_like(p, 2)
            optimizer.step()
            lr.mul_(0.5)
        results.append(p.detach().cpu())
    assert [r.real.tolist() for r in results] == [[1 - 1 - 0.25 * 3 - 0.125 * 3.5] * 3] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not memory.available() or memory.interpreted(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "options"), ALL, ids=IDS)
def test_steps_on_a_gpu(name: str, options: dict) -> None:
    device_step(name, options)


# -- the base class -------------------------------------------------------------------------------


def parameter(*values: float) -> Any:
    p = nn.Parameter(tritorch.tensor(list(values) or [1.0]))
    p.grad = tritorch.ones(len(values) or 1)
    return p


def test_parameters_without_gradients_stay() -> None:
    a, b = parameter(), parameter()
    b.grad = None
    optimizer = optim.Adam([a, b])
    optimizer.step()
    assert a.item() != 1 and b.item() == 1 and b not in optimizer.state


def test_versions_count_steps() -> None:
    p, q = parameter(), parameter()
    optimizer = optim.SGD([p, q], 0.1)
    y = (p * p).sum() + (q * q).sum()
    optimizer.step()
    assert p._version == q._version == 1
    with pytest.raises(RuntimeError, match=r"SGD.step changed it at File \".*test_optim.py\""):
        y.backward()


def test_groups() -> None:
    a, b, c = parameter(), parameter(), parameter()
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.1]
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [0.9, 0.5, 0.9])
    named = optim.SGD(nn.Linear(1, 1).named_parameters(), lr=0.1)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]


def test_closure_and_hooks() -> None:
    p, calls = parameter(), []
    optimizer = optim.SGD([p], 0.1)
    handle = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * 2).sum()
        loss.backward()
        return loss

    with tritorch.no_grad():
        assert optimizer.step(closure).item() == 2
    assert abs(p.item() - 0.8) < 1e-6 and calls == ["pre", "post"]
    handle.remove()
    optimizer.step()
    assert calls == ["pre", "post", "post"]


def test_hooks_run_once_around_an_inherited_step() -> None:
    class Twice(optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step()
            super().step()

    p, calls = parameter(), []
    optimizer = Twice([p], 0.25)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    optimizer.step()
    assert p.item() == 0.5 and calls == [1]


def test_zero_grad() -> None:
    p = parameter()
    optimizer = optim.SGD([p])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(("name", "options"), ALL, ids=IDS)
def test_reloaded_optimizers_go_on(name: str, options: dict) -> None:
    params, optimizer = run(tritorch, name, options)
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    other = getattr(optim, name)(twins, lr=5.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["lr"] == options["lr"]
    for p, q in zip(params, twins):
        q.grad = p.grad.clone()
    optimizer.step()
    other.step()
    for p, q in zip(params, twins):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["lr"] == options["lr"]


def test_state_hooks() -> None:
    optimizer, calls = optim.SGD([parameter()]), []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("pre"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: calls.append(s["more"]))
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("post"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["pre", 1, "post"]


def test_own_optimizers() -> None:
    class Sign(optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @tritorch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad.sign())

    p, calls = parameter(), []
    optimizer = Sign([p], 0.25)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    schedule = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    schedule.step()
    assert p.item() == 0.75 and calls == [1] and optimizer.param_groups[0]["lr"] == 0.025


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "tensor": lambda lib, p: lib.optim.SGD(p),
    "nothing": lambda lib, p: lib.optim.SGD([]),
    "number": lambda lib, p: lib.optim.SGD([3]),
    "set": lambda lib, p: lib.optim.SGD([{"params": {p}}]),
    "non-leaf": lambda lib, p: lib.optim.SGD([p * 2]),
    "twice": lambda lib, p: lib.optim.SGD([{"params": [p]}, {"params": [p]}]),
    "some names": lambda lib, p: lib.optim.SGD([("a", p), lib.nn.Parameter(lib.ones(1))]),
    "group": lambda lib, p: lib.optim.SGD([p]).add_param_group([p]),
    "lr": lambda lib, p: lib.optim.SGD([p], lr=-1),
    "momentum": lambda lib, p: lib.optim.SGD([p], momentum=-1),
    "decay": lambda lib, p: lib.optim.SGD([p], weight_decay=-1),
    "nesterov": lambda lib, p: lib.optim.SGD([p], nesterov=True),
    "tensor lr": lambda lib, p: lib.optim.SGD([p], lr=lib.ones(2)),
    "eps": lambda lib, p: lib.optim.Adam([p], eps=-1),
    "beta": lambda lib, p: lib.optim.Adam([p], betas=(1.0, 0.9)),
    "one tensor beta": lambda lib, p: lib.optim.Adam([p], betas=(lib.tensor(0.5), 0.9)),
    "foreach and tensor lr": lambda lib, p: lib.optim.Adam([p], lr=lib.tensor(0.1), foreach=True),
    "fused and foreach": lambda lib, p: lib.optim.AdamW([p], fused=True, foreach=True),
    "fused and differentiable": lambda lib, p: lib.optim.AdamW(
        [p], fused=True, differentiable=True
    ),
    "other groups": lambda lib, p: lib.optim.SGD([p]).load_state_dict(
        {"state": {}, "param_groups": []}
    ),
    "other sizes": lambda lib, p: lib.optim.SGD([p]).load_state_dict(
        {"state": {}, "param_groups": [{"params": [0, 1]}]}
    ),
    "no optimizer": lambda lib, p: lib.optim.lr_scheduler.StepLR(p, 1),
    "resumed": lambda lib, p: lib.optim.lr_scheduler.StepLR(lib.optim.SGD([p]), 1, last_epoch=3),
    "lambdas": lambda lib, p: lib.optim.lr_scheduler.LambdaLR(lib.optim.SGD([p]), [abs, abs]),
    "factor": lambda lib, p: lib.optim.lr_scheduler.ConstantLR(lib.optim.SGD([p]), 2.0),
    "plateau": lambda lib, p: lib.optim.lr_scheduler.ReduceLROnPlateau(lib.optim.SGD([p]), "x"),
    "no steps": lambda lib, p: lib.optim.lr_scheduler.OneCycleLR(lib.optim.SGD([p]), 0.1),
    "start": lambda lib, p: lib.optim.lr_scheduler.OneCycleLR(
        lib.optim.SGD([p]), 0.1, total_steps=3, pct_start=2.0
    ),
    "restarts": lambda lib, p: lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        lib.optim.SGD([p]), 0
    ),
    "no schedules": lambda lib, p: lib.optim.lr_scheduler.ChainedScheduler([]),
    "milestones": lambda lib, p: lib.optim.lr_scheduler.SequentialLR(
        (o := lib.optim.SGD([p])), [lib.optim.lr_scheduler.StepLR(o, 1)], [3]
    ),
}


def error_of(lib: Any, name: str) -> tuple[type, str]:
    with pytest.raises((ValueError, TypeError, RuntimeError, KeyError)) as error:
        REFUSED[name](lib, lib.nn.Parameter(lib.ones(1)))
    return error.type, str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    assert error_of(tritorch, name)


@pytest.mark.oracle
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    (kind, text), (expected, theirs) = error_of(tritorch, name), error_of(torch, name)
    assert kind is expected
    words = [w for w in theirs.replace("\\n", "\n").split("\n")[0].split() if w.isalpha()]
    assert sum(w in text for w in words) >= 0.8 * len(words), (text, theirs)


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*NAMES, *lr_scheduler.__all__])
def test_signatures_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    where = "optim" if name in NAMES else "optim.lr_scheduler"
    signatures = []
    for lib in (tritorch, torch):
        for part in where.split("."):
            lib = getattr(lib, part)
        found = inspect.signature(getattr(lib, name)).parameters.values()
        signatures.append([(p.name, p.kind, p.default) for p in found])
    assert signatures[0] == signatures[1]


# -- schedules ------------------------------------------------------------------------------------


def rates(make: Callable[[Any], Any], steps: int, lr: float = 1.0) -> list[float]:
    optimizer = optim.SGD([parameter()], lr=lr, momentum=0.9)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


CURVES: dict[str, tuple[Callable[[Any], Any], Callable[[int], float]]] = {
    "StepLR": (lambda o: lr_scheduler.StepLR(o, 3, 0.5), lambda n: 0.5 ** (n // 3)),
    "MultiStepLR": (
        lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 5], 0.5),
        lambda n: 0.5 ** (sum(n >= m for m in (2, 5, 5))),
    ),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda n: 0.9**n),
    "LambdaLR": (lambda o: lr_scheduler.LambdaLR(o, lambda n: 1 / (n + 1)), lambda n: 1 / (n + 1)),
    "MultiplicativeLR": (
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.5),
        lambda n: 0.5**n,
    ),
    "ConstantLR": (lambda o: lr_scheduler.ConstantLR(o, 0.5, 3), lambda n: 0.5 if n < 3 else 1.0),
    "LinearLR": (
        lambda o: lr_scheduler.LinearLR(o, 0.5, 1.0, 4),
        lambda n: 0.5 + 0.5 * min(n, 4) / 4,
    ),
    "PolynomialLR": (
        lambda o: lr_scheduler.PolynomialLR(o, 6, 2.0),
        lambda n: (1 - min(n, 6) / 6) ** 2,
    ),
    "CosineAnnealingLR": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.1),
        lambda n: 0.1 + 0.9 * (1 + math.cos(math.pi * n / 4)) / 2,
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
        lambda n: (1 + math.cos(math.pi * (n % 4) / 4)) / 2,
    ),
    "CyclicLR": (
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 4),
        lambda n: 0.1 + 0.4 * (1 - abs(n % 8 / 4 - 1)),
    ),
    "OneCycleLR": (
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, 10, pct_start=0.5, anneal_strategy="linear"),
        lambda n: 0.04 + 0.96 * n / 4 if n <= 4 else 4e-6 + (1 - 4e-6) * (9 - n) / 5,
    ),
    "SequentialLR": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.1, 99), lr_scheduler.ExponentialLR(o, 0.5)], [3]
        ),
        lambda n: 0.1 if n < 3 else 0.5 ** (n - 3),
    ),
    "ChainedScheduler": (
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.StepLR(o, 2, 0.5), lr_scheduler.ExponentialLR(o, 0.9)]
        ),
        lambda n: 0.5 ** (n // 2) * 0.9**n,
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves(name: str) -> None:
    make, formula = CURVES[name]
    np.testing.assert_allclose(rates(make, 10), [formula(n) for n in range(10)], rtol=1e-6)


def test_plateau() -> None:
    optimizer = optim.SGD([parameter()], lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1)
    found = []
    for metric in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5):
        schedule.step(metric)
        found.append(schedule.get_last_lr()[0])
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_schedule_before_optimizer_warns() -> None:
    schedule = lr_scheduler.StepLR(optim.SGD([parameter()]), 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()


def test_schedules_are_saved_and_loaded() -> None:
    def make() -> tuple[Any, Any]:
        optimizer = optim.AdamW([parameter()], lr=0.1)
        return optimizer, lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)

    optimizer, schedule = make()
    for _ in range(5):
        optimizer.step()
        schedule.step()
    other, resumed = make()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for o, s in ((optimizer, schedule), (other, resumed)):
        o.step()
        s.step()
    assert schedule.get_last_lr() == resumed.get_last_lr()
    assert optimizer.param_groups[0]["betas"] == other.param_groups[0]["betas"]
