"""flex_attention and its masks: against the formula, literal values, and PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn.attention import flex_attention as own
from tritorch.nn.attention._over_indices import over_indices

flex: Any = own
BATCHES, HEADS, LENGTH = 2, 2, 10
RNG = np.random.default_rng(0)
DOCUMENTS = np.array([0] * 4 + [1] * 3 + [2] * 3)
TABLE = RNG.standard_normal((HEADS, 2 * LENGTH))
FULL = RNG.standard_normal((BATCHES, HEADS, LENGTH, LENGTH))
VECTORS = RNG.standard_normal((LENGTH, 3))


def score_mods(lib: Any) -> dict[str, Callable]:
    """Functions of a score by name, for tritorch or PyTorch: what a library reads is its own."""
    table, full, documents = map(lib.from_numpy, (TABLE, FULL, DOCUMENTS))
    slopes = lib.exp2(-4.0 * lib.arange(1, HEADS + 1))
    return {
        "relative": lambda s, b, h, i, j: s + table[h, i - j + LENGTH],
        "from the end": lambda s, b, h, i, j: s + table[h, i - j],
        "one head": lambda s, b, h, i, j: s + table[1, i + j],
        "alibi": lambda s, b, h, i, j: s - slopes[h] * (i - j).abs(),
        "soft cap": lambda s, b, h, i, j: 2 * lib.tanh(s / 2),
        "causal": lambda s, b, h, i, j: lib.where(i >= j, s, -float("inf")),
        "documents": lambda s, b, h, i, j: lib.where(documents[i] == documents[j], s, -1e3),
        "all": lambda s, b, h, i, j: s * full[b, h, i, j],
        "arithmetic": lambda s, b, h, i, j: s * 0.5 ** (i // 2 - j % 3).abs() + (h == b),
        "constant": lambda s, b, h, i, j: s.new_zeros(()),
    }


def mixing(lib: Any) -> dict[str, Callable]:
    """Functions with operators over more than one number, called for each score."""
    table, vectors = map(lib.from_numpy, (TABLE, VECTORS))
    return {
        "dot": lambda s, b, h, i, j: s + (vectors[i] * vectors[j]).sum(),
        "row of a table": lambda s, b, h, i, j: s + table[h][i + j],
        "largest": lambda s, b, h, i, j: lib.stack([s, s * 2]).max(),
    }


def mask_mods(lib: Any) -> dict[str, Callable]:
    documents = lib.from_numpy(DOCUMENTS)
    return {
        "causal": lambda b, h, i, j: i >= j,
        "window": lambda b, h, i, j: (i >= j) & (i - j < 3),
        "documents": lambda b, h, i, j: documents[i] == documents[j],
        "heads": lambda b, h, i, j: (h > 0) | (i >= j),
        "batches": lambda b, h, i, j: i + 4 * b >= j,
        "rows without keys": lambda b, h, i, j: (j < 4) & (i > 5),
        "nothing": lambda b, h, i, j: j < 0,
    }


SCORE_MODS, MIXING, MASK_MODS = score_mods(torch), mixing(torch), mask_mods(torch)


def inputs(heads: int = HEADS, d: int = 3, lengths: tuple = (LENGTH, LENGTH)) -> list[np.ndarray]:
    q, kv = lengths
    shapes = (BATCHES, HEADS, q, d), (BATCHES, heads, kv, d), (BATCHES, heads, kv, d + 1)
    return [RNG.standard_normal(shape) for shape in shapes]


def naive(
    arrays: list[np.ndarray], score_mod: Callable | None, mask_mod: Callable | None
) -> tuple[np.ndarray, ...]:
    """Output, log-sum-exp and maximum of each row, one score after another."""
    q, k, v = arrays
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    for at in np.ndindex(scores.shape):
        index = [torch.tensor(i) for i in at]
        if score_mod is not None:
            scores[at] = score_mod(torch.tensor(scores[at]), *index).item()
        if mask_mod is not None and not mask_mod(*index).item():
            scores[at] = -np.inf
    top = scores.max(-1)
    e = np.exp(scores - np.where(np.isinf(top), 0, top)[..., None])
    total = e.sum(-1)
    with np.errstate(divide="ignore"):
        lse = np.log(total) + np.where(np.isinf(top), 0, top)
    return e @ v / np.where(total == 0, 1, total)[..., None], lse, top


def block_mask(mask_mod: Callable, **options: Any) -> Any:
    lengths = BATCHES, HEADS, LENGTH, LENGTH
    return flex.create_block_mask(mask_mod, *lengths, **{"BLOCK_SIZE": 4, **options})


CASES = [(None, None)]
CASES += [(name, None) for name in SCORE_MODS] + [(None, name) for name in MASK_MODS]
CASES += [("relative", "heads"), ("alibi", "rows without keys"), ("all", "batches")]


@pytest.mark.parametrize("score, mask", CASES)
@pytest.mark.parametrize("heads", [HEADS, 1])
def test_against_the_formula(score: Any, mask: Any, heads: int) -> None:
    arrays = inputs(heads)
    score_mod, mask_mod = SCORE_MODS.get(score), MASK_MODS.get(mask)
    want = naive(arrays, score_mod, mask_mod)
    how = {"block_mask": mask_mod and block_mask(mask_mod), "enable_gqa": heads != HEADS}
    tensors = [torch.from_numpy(x) for x in arrays]
    aux = flex.AuxRequest(lse=True, max_scores=True)
    out, (lse, top) = flex.flex_attention(*tensors, score_mod, return_aux=aux, **how)
    for got, wanted in zip((out, lse, top), want, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)
    out, aux = flex.flex_attention(*tensors, score_mod, return_aux=flex.AuxRequest(lse=True), **how)
    np.testing.assert_allclose(out.numpy(), want[0], atol=1e-12)
    np.testing.assert_allclose(aux.lse.numpy(), want[1], atol=1e-12)
    assert aux.max_scores is None


@pytest.mark.parametrize("name", MIXING)
def test_functions_that_do_not_broadcast(name: str) -> None:
    arrays = [x[:, :, :4] for x in inputs()]
    got = flex.flex_attention(*map(torch.from_numpy, arrays), MIXING[name])
    np.testing.assert_allclose(got.numpy(), naive(arrays, MIXING[name], None)[0], atol=1e-12)


def calls_of(mod: Callable, *args: Any) -> int:
    """How often a function of indices is called."""
    count = 0

    def counted(*given: Any) -> Any:
        nonlocal count
        count += 1
        return mod(*given)

    over_indices("mod", counted, [torch.arange(3) for _ in range(4)], *args)
    return count


def test_functions_that_broadcast_are_called_once() -> None:
    score = torch.zeros(3, 3, 3, 3)
    table = torch.zeros(3, 3)
    assert calls_of(lambda s, b, h, i, j: s + table[h, i - j], score) == 1
    assert calls_of(lambda b, h, i, j: table[h, 0] < i) == 1
    assert calls_of(lambda b, h, i, j: table[h][0] < i) == 1 + 3**4
    assert calls_of(lambda s, b, h, i, j: s.clone().mul_(2), score) == 1 + 3**4


@pytest.mark.parametrize("mask", [None, "heads", "rows without keys"])
def test_gradients(mask: Any) -> None:
    tensors = [torch.from_numpy(x[:1, :, :3]).requires_grad_() for x in inputs(d=2)]
    table = torch.from_numpy(TABLE[:, :7].copy()).requires_grad_()
    blocks = None
    if mask is not None:
        blocks = flex.create_block_mask(
            lambda b, h, i, j: MASK_MODS[mask](b, h, i + 4, j), 1, HEADS, 3, 3, BLOCK_SIZE=2
        )

    def biased(q: Any, k: Any, v: Any, table: Any) -> Any:
        aux = flex.AuxRequest(lse=mask is None)
        out, (lse, _) = flex.flex_attention(
            *(q, k, v, lambda s, b, h, i, j: torch.tanh(s) * table[h, i - j + 3], blocks),
            return_aux=aux,
        )
        return out if lse is None else (out, lse)

    def plain(q: Any, k: Any, v: Any) -> Any:
        return flex.flex_attention(q, k, v, block_mask=blocks)

    for call, given in ((biased, (*tensors, table)), (plain, tuple(tensors))):
        assert torch.autograd.gradcheck(call, given)
        assert torch.autograd.gradgradcheck(call, given)


def test_dtypes() -> None:
    tensors = [torch.from_numpy(x).bfloat16() for x in inputs()]
    seen = []

    def mod(score: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
        seen.append((score.dtype, b.dtype, j.dtype))
        return score

    want = flex.flex_attention(*(x.double() for x in tensors))
    for score_mod in (None, mod):
        out, aux = flex.flex_attention(*tensors, score_mod, return_aux=flex.AuxRequest(lse=True))
        assert (out.dtype, aux.lse.dtype) == (torch.bfloat16, torch.float32)
        torch.testing.assert_close(out.double(), want, rtol=0.02, atol=0.02)
    assert seen == [(torch.float32, torch.int64, torch.int64)]
    mixed = flex.flex_attention(tensors[0].float(), *tensors[1:])
    torch.testing.assert_close(mixed.double(), want, rtol=0.02, atol=0.02)
    with torch.autocast("cpu"):
        assert flex.flex_attention(*(x.float() for x in tensors), mod).dtype is torch.bfloat16
    assert seen[1][0] is torch.float32


def test_blocks_that_are_not_there_are_not_computed() -> None:
    x = torch.ones(1, 1, 8, 2)
    x[:, :, 4:] = torch.nan
    mask = flex.create_block_mask(lambda b, h, i, j: (i < 4) & (j < 4), 1, 1, 8, 8, BLOCK_SIZE=4)
    sizes = []

    def mod(score: Any, *at: Any) -> Any:
        sizes.append(tuple(score.shape))
        return score

    out = flex.flex_attention(x, x, x, mod, mask)
    assert sizes == [(1, 1, 4, 4)]
    assert (out[:, :, :4] == 1).all() and (out[:, :, 4:] == 0).all()
    one = flex.BlockMask.from_kv_blocks(
        torch.tensor([[[1, 1]]]).int(), torch.tensor([[[[0, 1], [0, 1]]]]).int(), BLOCK_SIZE=4
    )
    assert (flex.flex_attention(x[:, :, :4].repeat(1, 1, 2, 1), x, x, block_mask=one) == 1).all()


def test_a_part_of_a_mask_and_shorter_lengths() -> None:
    q, k, v = map(torch.from_numpy, inputs())
    causal = MASK_MODS["causal"]
    mask = block_mask(causal)
    part = mask[:, :, 1]
    part.seq_lengths = (4, LENGTH)
    with pytest.raises(RuntimeError, match="mask_mod from a sliced BlockMask"):
        flex.flex_attention(q[:, :, 4:8], k, v, block_mask=part)
    part.mask_mod = lambda b, h, i, j: causal(b, h, i + 4, j)
    whole = flex.flex_attention(q, k, v, block_mask=mask)
    torch.testing.assert_close(
        flex.flex_attention(q[:, :, 4:8], k, v, block_mask=part), whole[:, :, 4:8]
    )
    short = mask._adjust(5, 5)
    assert short.shape == (BATCHES, HEADS, 5, 5) and short.kv_indices.shape[-2:] == (2, 2)
    got = flex.flex_attention(q[:, :, :5], k[:, :, :5], v[:, :, :5], block_mask=short)
    torch.testing.assert_close(got, whole[:, :, :5])


def test_a_mask_of_blocks() -> None:
    mask = flex.create_block_mask(MASK_MODS["causal"], 1, 1, 6, 6, BLOCK_SIZE=2)
    assert mask.shape == (1, 1, 6, 6) and mask.numel() == 36 and mask.seq_lengths == (6, 6)
    assert mask.to_dense().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]]
    assert mask.kv_num_blocks.tolist() == [[[1, 1, 1]]]
    assert mask.kv_indices.tolist() == [[[[0, 1, 2], [1, 0, 2], [2, 0, 1]]]]
    assert mask.full_kv_num_blocks.tolist() == [[[0, 1, 2]]]
    assert mask.full_q_num_blocks.tolist() == [[[2, 1, 0]]]
    assert mask.sparsity() == pytest.approx(100 / 3)
    assert str(mask) == (
        "BlockMask(shape=(1, 1, 6, 6), sparsity=33.33%, \n(0, 0)\n██    \n████  \n██████\n)"
    )
    assert repr(mask).endswith("    sparsity=33.33%,\n    mask_mod=<lambda>\n)")
    whole = flex.create_block_mask(
        MASK_MODS["causal"], None, None, 6, 6, BLOCK_SIZE=2, separate_full_blocks=False
    )
    assert whole.full_kv_indices is None and whole.kv_num_blocks.tolist() == [[[1, 2, 3]]]
    moved = mask.to("cpu")
    assert moved is not mask and moved.kv_indices.equal(mask.kv_indices)
    flat = mask.as_tuple()
    assert len(flat) == 17 and flat[:2] == (6, 6) and flat[-3:] == (2, 2, mask.mask_mod)
    assert [len(mask.as_tuple(flatten=False)), mask.as_tuple(flatten=False)[0]] == [15, (6, 6)]


def test_what_is_wrong() -> None:
    x, short = torch.ones(2, 4, 8, 2), torch.ones(2, 4, 4, 2)
    mask = flex.create_block_mask(MASK_MODS["causal"], 1, 1, 8, 8, BLOCK_SIZE=4)
    heads = flex.create_block_mask(MASK_MODS["causal"], 1, 3, 8, 8, BLOCK_SIZE=4)
    aux = flex.AuxRequest(lse=True)
    rows: list[tuple] = [
        (ValueError, "same number of heads", (x, x[:, :2], x[:, :2]), {}),
        (ValueError, "multiple of kv heads", (x, x[:, :3], x[:, :3]), {"enable_gqa": True}),
        (ValueError, "same embedding dimension", (x, x[..., :1], x), {}),
        (ValueError, "same batch size", (x, x[:1], x[:1]), {}),
        (ValueError, "at least 2 dimensional", (x[0, 0, 0], x, x), {}),
        (NotImplementedError, "4D tensors", (x[0], x[0], x[0]), {}),
        (RuntimeError, "key .* and value", (x, x, short), {}),
        (TypeError, "argument 'key' must be Tensor", (x, 1, x), {}),
        (RuntimeError, "floating-point", (x.int(), x.int(), x.int()), {}),
        (ValueError, "larger length", (x, short, short), {"block_mask": mask}),
        (ValueError, "smaller length", (x.repeat(1, 1, 2, 1), x, x), {"block_mask": mask}),
        (ValueError, "does not broadcast", (x, x, x), {"block_mask": heads}),
        (ValueError, "both return_lse", (x, x, x), {"return_lse": True, "return_aux": aux}),
        (ValueError, "BACKEND", (x, x, x), {"kernel_options": {"BACKEND": "NONE"}}),
        (ValueError, "score_mod must only return", (x, x, x, lambda *at: 1.0), {}),
    ]
    for kind, match, args, options in rows:
        with pytest.raises(kind, match=match):
            flex.flex_attention(*args, **options)
    with pytest.raises(RuntimeError, match="score_mod must return a scalar"):
        y = x[:1, :1, :2]
        flex.flex_attention(y, y, y, lambda s, b, h, i, j: s + x[0, 0, 0])
    with pytest.warns(FutureWarning, match="return_lse is deprecated"):
        assert flex.flex_attention(x, x, x, return_lse=True)[1].shape == (2, 4, 8)


def test_masks_that_are_wrong() -> None:
    size = (1, 1, 4, 4)
    for make in (flex.create_block_mask, flex.create_mask):
        with pytest.raises(AssertionError, match="Expected 4 or 5 positional args, got 2"):
            make(lambda a, b: a, *size)
    with pytest.raises(AssertionError, match="requires a mask_mod"):
        flex.create_block_mask(SCORE_MODS["causal"], *size)
    with pytest.raises(AssertionError, match=r"must be torch.bool, got tritorch.int64"):
        flex.create_block_mask(lambda b, h, i, j: i, *size)
    with pytest.raises(ValueError, match="must only return Tensors"):
        flex.create_mask(lambda b, h, i, j: True, *size)
    for join in (flex.and_masks, flex.or_masks):
        with pytest.raises(RuntimeError, match="should be callable"):
            join(MASK_MODS["causal"], 1)


def joined(lib: Any, names: Any) -> dict[str, Callable]:
    given = mask_mods(lib)
    causal, documents = given["causal"], given["documents"]
    return {
        **given,
        "and": names.and_masks(causal, documents),
        "or": names.or_masks(causal, documents),
        "neither": names.or_masks(),
        "all": names.noop_mask,
        "score": lambda s, b, h, i, j: lib.where(i > j, s, -float("inf")),
    }


@pytest.mark.parametrize("name", joined(torch, flex))
def test_masks_by_index(name: str) -> None:
    mod = joined(torch, flex)[name]
    got = flex.create_mask(mod, BATCHES, HEADS, 4, LENGTH)
    assert got.shape == (BATCHES, HEADS, 4, LENGTH) and got.dtype is torch.bool
    for at in np.ndindex(*got.shape):
        index = [torch.tensor(i) for i in at]
        want = mod(torch.tensor(0.0), *index) != -np.inf if name == "score" else mod(*index)
        assert got[at].item() == want.item()


# -- PyTorch --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs() -> Any:
    module = pytest.importorskip("torch.nn.attention.flex_attention")
    module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True
    yield module
    module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = False


ORACLE_CASES = [*CASES, *((name, None) for name in MIXING), ("relative", "documents")]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("score, mask", ORACLE_CASES)
def test_against_pytorch(theirs: Any, score: Any, mask: Any) -> None:
    import torch as oracle

    arrays = [x[:, :, :6] if score in MIXING else x for x in inputs(1)]
    results = []
    for lib, names in ((oracle, theirs), (torch, flex)):
        mods, masks = {**score_mods(lib), **mixing(lib)}, mask_mods(lib)
        blocks = None
        if mask is not None:
            lengths = BATCHES, HEADS, LENGTH, LENGTH
            blocks = names.create_block_mask(masks[mask], *lengths, device="cpu", BLOCK_SIZE=4)
        aux = names.AuxRequest(lse=True)
        tensors = [lib.from_numpy(x) for x in arrays]
        given = {"block_mask": blocks, "enable_gqa": True, "return_aux": aux}
        out, (lse, _) = names.flex_attention(*tensors, mods.get(score), **given)
        results.append((out.numpy(), lse.numpy()))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("name", mask_mods(torch))
@pytest.mark.parametrize("size", [4, (3, 8), 128])
@pytest.mark.parametrize("separate", [True, False])
def test_masks_against_pytorch(theirs: Any, name: str, size: Any, separate: bool) -> None:
    import torch as oracle

    masks = []
    for lib, names in ((oracle, theirs), (torch, flex)):
        lengths = BATCHES, HEADS, LENGTH, LENGTH
        options = {"separate_full_blocks": separate, "compute_dq_write_order": True}
        mod = mask_mods(lib)[name]
        masks.append(names.create_block_mask(mod, *lengths, "cpu", size, **options))
    for pick in (lambda m: m, lambda m: m[1], lambda m: m[:, -1, 0], lambda m: m._adjust(7, 5)):
        want, got = map(pick, masks)
        assert str(got) == str(want) and got.to_string(2) == want.to_string(2)
        assert repr(got) == repr(want).replace("torch.Size", "tritorch.Size")
        for ours, other in zip(got.as_tuple()[:-1], want.as_tuple()[:-1], strict=True):
            if isinstance(ours, torch.Tensor):
                assert ours.dtype is torch.int32 and ours.tolist() == other.tolist()
            else:
                assert ours == other
        assert got.to_dense().tolist() == want.to_dense().tolist()


@pytest.mark.oracle
@pytest.mark.parametrize(
    "name", ["flex_attention", "create_block_mask", "create_mask", "BlockMask"]
)
def test_parameters_against_pytorch(theirs: Any, name: str) -> None:
    ours, other = (list(inspect.signature(getattr(m, name)).parameters) for m in (flex, theirs))
    assert ours == other
    assert flex.__all__ == theirs.__all__
