"""ctc_loss, linear_cross_entropy, the adaptive softmax, gumbel_softmax, native operators."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import nn
from tritorch.nn import functional as F

RNG = np.random.default_rng(0)


def spelled(path: tuple, blank: int) -> tuple:
    """What an alignment says: repetitions taken once, blanks left out."""
    once = [k for k, _ in itertools.groupby(path)]
    return tuple(k for k in once if k != blank)


@pytest.mark.parametrize("target", [(), (1,), (1, 1), (1, 2), (2, 1, 2)])
@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_all_alignments(target: tuple, blank: int) -> None:
    target = tuple([c for c in range(3) if c != blank][k - 1] for k in target)
    log_probs = F.log_softmax(torch.from_numpy(RNG.standard_normal((4, 3))), 1)
    p = log_probs.exp().numpy()
    total = sum(
        np.prod([p[t, k] for t, k in enumerate(path)])
        for path in itertools.product(range(3), repeat=4)
        if spelled(path, blank) == target
    )
    labels = torch.tensor(target, dtype=torch.int64)
    got = F.ctc_loss(log_probs, labels, (4,), (len(target),), blank, "sum")
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(got.item(), -np.log(total), 1e-9)


def test_ctc_losses_without_alignment() -> None:
    x = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    args = (torch.tensor([[1, 1]]), [2], [2])  # a blank between them needs three steps
    assert F.ctc_loss(x.log_softmax(2), *args).item() == float("inf")
    loss = F.ctc_loss(x.log_softmax(2), *args, zero_infinity=True)
    (g,) = torch.autograd.grad(loss, x)
    assert loss.item() == 0 and not g.any()


BAD: list[tuple[dict, type[Exception], str]] = [
    ({"input_lengths": [9]}, RuntimeError, "input_lengths to have value at most 4"),
    ({"input_lengths": [4, 4]}, RuntimeError, "input_lengths must be of size"),
    ({"target_lengths": [3]}, RuntimeError, "targets of shape"),
    ({"target_lengths": [-1]}, RuntimeError, "at least 0"),
    ({"targets": torch.tensor([[1, 7]])}, RuntimeError, "out of range"),
    ({"blank": 3}, RuntimeError, "label range"),
    ({"reduction": "median"}, ValueError, "reduction"),
    ({"log_probs": torch.zeros(4, 1, 3, dtype=torch.int64)}, NotImplementedError, "int64"),
]


@pytest.mark.parametrize("wrong, error, says", BAD)
def test_ctc_refuses(wrong: dict, error: type[Exception], says: str) -> None:
    right: dict[str, Any] = {"log_probs": torch.zeros(4, 1, 3), "targets": torch.tensor([[1, 2]])}
    right |= {"input_lengths": [4], "target_lengths": [2]}
    with pytest.raises(error, match=says):
        F.ctc_loss(**right | wrong)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_chunks_equal_the_whole(reduction: str, size: int) -> None:
    x, w, b = (torch.from_numpy(RNG.standard_normal(s)) for s in ((7, 4), (5, 4), (5,)))
    inputs = [t.requires_grad_() for t in (x, w, b)]
    target = torch.tensor([0, 1, 4, -100, 2, 2, 3])
    how = {"linear_bias": b, "weight": torch.rand(5).double(), "reduction": reduction}
    found = []
    for options in (None, nn.LinearCrossEntropyOptions(batch_chunk_size=size)):
        loss = F.linear_cross_entropy(x, w, target, **how, options=options)
        found.append([loss, *torch.autograd.grad((loss * loss).sum(), inputs)])
    for a, c in zip(*found, strict=True):
        torch.testing.assert_close(a, c)


def test_adaptive_softmax_is_a_distribution() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10], div_value=2.0).double()
    x, target = torch.from_numpy(RNG.standard_normal((6, 8))), torch.tensor([0, 4, 5, 9, 10, 19])
    full = layer.log_prob(x)
    torch.testing.assert_close(full.exp().sum(1), torch.ones(6).double())
    out, loss = layer(x, target)
    torch.testing.assert_close(out, full.gather(1, target[:, None])[:, 0])
    torch.testing.assert_close(loss, -out.mean())
    assert torch.equal(layer.predict(x), full.argmax(1))
    with pytest.raises(RuntimeError, match="AdaptiveLogSoftmaxWithLoss: Target values"):
        layer(x, target + 1)
    with pytest.raises(ValueError, match="AdaptiveLogSoftmaxWithLoss: cutoffs"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 5])


def test_gumbel_softmax_draws_by_probability() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(4000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, hard=True)
    assert (hard.sum(1) - 1).abs().max() < 1e-6
    np.testing.assert_allclose(hard.detach().mean(0).numpy(), [0.1, 0.6, 0.3], atol=0.03)
    (g,) = torch.autograd.grad(hard[:, 0].sum(), logits)
    assert g.abs().sum() > 0
    soft = F.gumbel_softmax(logits, tau=0.5, dim=0)
    np.testing.assert_allclose(soft.detach().sum(0).numpy(), 1, atol=1e-4)


# -- against PyTorch ------------------------------------------------------------------------------

X, IMAGES = RNG.standard_normal((3, 4, 5)), RNG.standard_normal((2, 4, 6, 5))
W, B, V = RNG.standard_normal(4), RNG.standard_normal(4), RNG.random(4) + 0.5
TABLE, PICKED, STARTS = RNG.standard_normal((5, 3)), RNG.integers(0, 5, 7), np.array([0, 2, 2])
NATIVE: list[tuple[str, tuple]] = [
    *(("embedding_bag", (TABLE, PICKED, STARTS, False, mode)) for mode in (1, 2)),
    ("_embedding_bag", (TABLE, PICKED, STARTS, False, 2, False, None, False, 2)),
    ("nn.functional.kl_div", (W, np.append(V[:2], [-0.5, 0.0]), None, None, "none")),
    *(("nn.functional.lp_pool1d", (X, p, 2, 1)) for p in (np.inf, -np.inf, 3.0)),
    ("native_layer_norm", (X, (4, 5), None, None, 1e-5)),
    ("native_group_norm", (IMAGES, W, B, 2, 4, 30, 2, 1e-5)),
    ("native_batch_norm", (IMAGES, W, B, W, V, True, 0.1, 1e-5)),
    ("native_batch_norm", (IMAGES, W, B, W, V, False, 0.1, 1e-5)),
    ("batch_norm_update_stats", (IMAGES, W, V, 0.1)),
    ("_softmax", (X, 1, False)),
    ("_log_softmax", (X, -1, False)),
    ("_safe_softmax", (X, -1)),
    ("conv_tbc", (X, RNG.standard_normal((3, 5, 2)), RNG.standard_normal(2), 1)),
    ("norm_except_dim", (X, 2, 1)),
    ("norm_except_dim", (X, 2, -1)),
    ("_weight_norm", (X, RNG.standard_normal((1, 1, 5)), 2)),
    (
        "convolution",
        (IMAGES, RNG.standard_normal((4, 2, 3, 3)), None, (2, 1), (1, 0), (1, 1), False, (0, 0), 2),
    ),
    (
        "convolution",
        (IMAGES, RNG.standard_normal((4, 2, 3, 3)), B, (2, 1), (1, 0), (1, 1), True, (1, 0), 2),
    ),
]


@pytest.mark.oracle
@pytest.mark.parametrize("name, args", NATIVE)
def test_native_operators_against_pytorch(name: str, args: tuple) -> None:
    oracle = pytest.importorskip("torch")
    found = []
    for library in (oracle, torch):
        given = [library.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
        out = operator.attrgetter(name)(library)(*given)
        kept = [g for g in given if isinstance(g, library.Tensor)]  # running statistics too
        found.append([*(out if isinstance(out, tuple) else [out]), *kept])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 1e-9, 1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_ctc_against_pytorch(soft: bool, reduction: str) -> None:
    oracle = pytest.importorskip("torch")
    x = RNG.standard_normal((9, 3, 5))
    x = x if soft else x - np.log(np.exp(x).sum(2, keepdims=True))
    rows, sizes = RNG.integers(1, 5, (3, 4)), ([9, 6, 7], [4, 2, 3])
    flat = np.concatenate([r[:n] for r, n in zip(rows, sizes[1], strict=True)])
    for target in (rows, flat):
        found = []
        for library in (oracle, torch):
            leaf = library.from_numpy(x.copy()).requires_grad_()
            given = leaf.log_softmax(2) if soft else leaf
            lengths = [library.tensor(n) for n in sizes]
            loss = library.nn.functional.ctc_loss(
                given, library.from_numpy(target), *lengths, reduction=reduction
            )
            g = np.cos(np.arange(loss.numel()) + 1.0).reshape(tuple(loss.shape))
            (grad,) = library.autograd.grad(loss, leaf, library.from_numpy(g))
            found.append((loss.detach().numpy(), grad.numpy()))
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


PAIR = (torch.tensor([[0.1, 0.7], [0.3, 0.5]]), torch.tensor([[0.6, 0.2], [0.9, 0.4]]))
SIGNS = torch.tensor([1.0, -1.0])
# the call at the top level and its counterpart in nn.functional
BY_NUMBER: dict[str, tuple[tuple, dict]] = {
    "binary_cross_entropy_with_logits": (PAIR, {}),
    "cosine_embedding_loss": ((*PAIR, SIGNS), {}),
    "ctc_loss": (
        (torch.zeros(4, 2, 3).log_softmax(2), torch.tensor([[1], [2]]), [4, 3], [1, 1]),
        {},
    ),
    "hinge_embedding_loss": (PAIR, {"margin": 0.5}),
    "kl_div": (PAIR, {"log_target": True}),
    "margin_ranking_loss": ((PAIR[0][0], PAIR[1][0], SIGNS), {}),
    "poisson_nll_loss": (PAIR, {"log_input": True, "full": False, "eps": 1e-8}),
    "triplet_margin_loss": ((*PAIR, PAIR[0] * 2), {"margin": 0.5}),
}


@pytest.mark.parametrize("name", BY_NUMBER)
@pytest.mark.filterwarnings("ignore:kl_div")
def test_losses_at_the_top_level_take_the_reduction_as_a_number(name: str) -> None:
    args, more = BY_NUMBER[name]
    function, reference = getattr(torch, name), getattr(F, name)
    for number, reduction in enumerate(("none", "mean", "sum")):
        got = function(*args, reduction=number, **more)
        torch.testing.assert_close(got, reference(*args, reduction=reduction, **more))
    if name != "poisson_nll_loss":  # nothing is optional there
        torch.testing.assert_close(
            function(*args, **more), reference(*args, reduction="none", **more)
        )
    with pytest.raises(TypeError, match=f"{name}.*reduction"):
        function(*args, reduction="mean", **more)
    with pytest.raises(ValueError, match=f"{name}: reduction is 0"):
        function(*args, reduction=3, **more)
