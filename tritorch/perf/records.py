"""How the operators of the record are called whose public form the record does not tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tritorch
from tritorch.nn.attention.varlen import varlen_attn
from tritorch.op import Op
from tritorch.ops.elementwise import Elementwise
from tritorch.testing import operators

from .linear_algebra import FLOPS as LINALG_FLOPS, LINALG
from .specs import Bools, Case, Complexes, Distinct, Ints, Reals, on
from .sweeps import SWEEPS, Point

M, N = (1024, 1024), 1 << 20
IMAGES, BATCH = (16, 64, 32, 32), (64, 128, 128)
matrix, image = on(M), on(IMAGES)
matrices, positives = on(M, M), on(Reals(M, 0.1, 2.0))
rows = on(M, (1024,), (1024,))
indexed, scattered = on(M, Ints(M, 1024)), on(M, Ints(M, 1024), M)
picked = on(M, Ints((1024,), 1024), M)


def recurrent(layer: str) -> Callable:
    """A layer of one direction over 64 steps of 16 sequences, width 256."""
    made: dict[Any, Any] = {}

    def call(lib: Any, x: Any) -> Any:
        net = made.get(x.dtype)
        if net is None:
            net = made[x.dtype] = getattr(lib.nn, layer)(256, 256).to(x.dtype)
            rng = np.random.default_rng(0)
            for p in net.parameters():
                p.data.copy_(lib.from_numpy(rng.uniform(-1 / 16, 1 / 16, p.shape)))
        return net(x)[0]

    return call


sequence = on((64, 16, 256))


def ctc_loss(lib: Any, x: Any, target: Any) -> Any:
    log_probs = lib.log_softmax(x, 2)
    return lib.nn.functional.ctc_loss(log_probs, target, (128,) * 32, (24,) * 32)


def grouped(lib: Any, x: Any, w: Any) -> Any:
    """Rows in eight groups of 128, each with a matrix of its own."""
    ends = lib.arange(128, 1025, 128, dtype=lib.int32)
    return lib.nn.functional.grouped_mm(x, w, offs=ends)


LENGTHS = (512, 128, 384, 1024)


def packed(lib: Any, q: Any, k: Any, v: Any) -> Any:
    """Attention of packed sequences; PyTorch has it on GPUs only, so there one after the other."""
    ends = np.cumsum(LENGTHS).tolist()
    if lib is tritorch:
        at = lib.tensor([0, *ends], dtype=lib.int32)
        return varlen_attn(q, k, v, at, at, max(LENGTHS), max(LENGTHS))
    parts = [
        lib.nn.functional.scaled_dot_product_attention(
            *(x[end - n : end].transpose(0, 1) for x in (q, k, v))
        ).transpose(0, 1)
        for n, end in zip(LENGTHS, ends)
    ]
    return lib.cat(parts)


def normal(lib: Any) -> Any:
    return lib.randn(N)


CASES: dict[str, Case] = {
    # elementwise, with parameters or forms of their own
    "add_scaled": matrices(lambda lib, x, y: lib.add(x, y, alpha=2.0)),
    "sub_scaled": matrices(lambda lib, x, y: lib.sub(x, y, alpha=2.0)),
    "scale_shift": matrix(lambda lib, x: lib.nn.functional.hardtanh(x * 2 + 1)),
    "addcdiv": on(M, M, Reals(M, 1, 2))(lambda lib, x, y, z: lib.addcdiv(x, y, z, value=0.5)),
    "addcmul": on(M, M, M)(lambda lib, x, y, z: lib.addcmul(x, y, z, value=0.5)),
    "binary_cross_entropy": on(Reals(M, 0.1, 0.9), Reals(M, 0, 1))(
        lambda lib, x, y: lib.nn.functional.binary_cross_entropy(x, y)
    ),
    "clamp": matrix(lambda lib, x: lib.clamp(x, -0.5, 0.5)),
    "clamp_max": matrix(lambda lib, x: lib.clamp_max(x, 0.5)),
    "clamp_min": matrix(lambda lib, x: lib.clamp_min(x, -0.5)),
    "conj_physical": on(Complexes(M))(lambda lib, x: lib.conj_physical(x)),
    "copy": matrices(lambda lib, x, y: x.detach().copy_(y)),
    "elu": matrix(lambda lib, x: lib.nn.functional.elu(x)),
    "fill": matrix(lambda lib, x: lib.full_like(x, 2.0)),
    "gelu_tanh": matrix(lambda lib, x: lib.nn.functional.gelu(x, approximate="tanh")),
    "hardtanh": matrix(lambda lib, x: lib.nn.functional.hardtanh(x)),
    "leaky_relu": matrix(lambda lib, x: lib.nn.functional.leaky_relu(x)),
    "lerp": matrices(lambda lib, x, y: lib.lerp(x, y, 0.3)),
    "log_sigmoid": matrix(lambda lib, x: lib.nn.functional.logsigmoid(x)),
    "logical_not": on(Bools(M))(lambda lib, x: lib.logical_not(x)),
    "round": on(Reals(M, -9, 9))(lambda lib, x: lib.round(x)),
    "softplus": matrix(lambda lib, x: lib.nn.functional.softplus(x)),
    "threshold": matrix(lambda lib, x: lib.nn.functional.threshold(x, 0.1, 2.0)),
    "trunc_divide": on(M, Reals(M, 1, 2))(lambda lib, x, y: lib.div(x, y, rounding_mode="trunc")),
    "where": on(Bools(M), M, M)(lambda lib, c, x, y: lib.where(c, x, y)),
    "complex": matrices(lambda lib, x, y: lib.complex(x, y)),
    "polygamma": positives(lambda lib, x: lib.polygamma(1, x)),
    # along dimensions
    **{
        name: matrix(lambda lib, x, name=name: getattr(lib, name)(x, 1))
        for name in (
            *("amax", "amin", "argmax", "argmin", "cummax", "cummin", "cumprod", "cumsum"),
            *("logcumsumexp", "logsumexp", "mean", "prod", "sum", "var", "mode"),
            *("log_softmax", "softmax", "std", "argsort"),
        )
    },
    "all": on(Bools(M))(lambda lib, x: lib.all(x, 1)),
    "any": on(Bools(M))(lambda lib, x: lib.any(x, 1)),
    "max_dim": matrix(lambda lib, x: lib.max(x, 1)),
    "min_dim": matrix(lambda lib, x: lib.min(x, 1)),
    "median": matrix(lambda lib, x: lib.median(x)),
    "median_dim": matrix(lambda lib, x: lib.median(x, 1)),
    "nanmedian": matrix(lambda lib, x: lib.nanmedian(x)),
    "nanmedian_dim": matrix(lambda lib, x: lib.nanmedian(x, 1)),
    "kthvalue": matrix(lambda lib, x: lib.kthvalue(x, 100, 1)),
    "norm": matrix(lambda lib, x: lib.norm(x, 2, 1)),
    "sort": matrix(lambda lib, x: lib.sort(x, 1)),
    "topk": matrix(lambda lib, x: lib.topk(x, 8, 1)),
    "searchsorted": on((1024,), M)(lambda lib, t, x: lib.searchsorted(lib.sort(t)[0], x)),
    # places and pieces
    "cat": matrices(lambda lib, x, y: lib.cat([x, y], 1)),
    "stack": matrices(lambda lib, x, y: lib.stack([x, y], 1)),
    "clone": matrix(lambda lib, x: lib.clone(x)),
    "constant_pad_nd": image(lambda lib, x: lib.nn.functional.pad(x, (1, 1, 1, 1))),
    "pad_borders": image(lambda lib, x: lib.nn.functional.pad(x, (1, 1, 1, 1), "reflect")),
    "flip": matrix(lambda lib, x: lib.flip(x, (1,))),
    "roll": matrix(lambda lib, x: lib.roll(x, 100, 1)),
    "tril": matrix(lambda lib, x: lib.tril(x)),
    "triu": matrix(lambda lib, x: lib.triu(x)),
    "gather": indexed(lambda lib, x, i: lib.gather(x, 1, i)),
    "index": on(M, Ints((1024,), 1024))(lambda lib, x, i: x[i]),
    "index_put": on(M, Distinct((1024,), 1024), M)(lambda lib, x, i, y: lib.index_put(x, (i,), y)),
    "index_add": picked(lambda lib, x, i, y: lib.index_add(x, 0, i, y)),
    "index_copy": on(M, Distinct((512,), 1024), (512, 1024))(
        lambda lib, x, i, y: lib.index_copy(x, 0, i, y)
    ),
    "index_fill": on(M, Ints((512,), 1024))(lambda lib, x, i: lib.index_fill(x, 0, i, 2.0)),
    "index_select": on(M, Ints((1024,), 1024))(lambda lib, x, i: lib.index_select(x, 0, i)),
    "masked_fill": on(M, Bools(M))(lambda lib, x, m: lib.masked_fill(x, m, 2.0)),
    "masked_scatter": on(M, Bools(M), M)(lambda lib, x, m, y: lib.masked_scatter(x, m, y)),
    "nonzero": on(Bools(M))(lambda lib, x: lib.nonzero(x)),
    "scatter": scattered(lambda lib, x, i, y: lib.scatter(x, 1, i, y)),
    "scatter_reduce": scattered(lambda lib, x, i, y: lib.scatter_reduce(x, 1, i, y, "sum")),
    "embedding": on((2048, 512), Ints((2048,), 2048))(
        lambda lib, w, i: lib.nn.functional.embedding(i, w)
    ),
    # normalisations and losses
    "batch_norm": on(IMAGES, (64,), (64,))(
        lambda lib, x, w, b: lib.nn.functional.batch_norm(x, None, None, w, b, training=True)
    ),
    "group_norm": on(IMAGES, (64,), (64,))(
        lambda lib, x, w, b: lib.nn.functional.group_norm(x, 8, w, b)
    ),
    "layer_norm": rows(lambda lib, x, w, b: lib.nn.functional.layer_norm(x, (1024,), w, b)),
    "rms_norm": on(M, (1024,))(lambda lib, x, w: lib.nn.functional.rms_norm(x, (1024,), w)),
    "cross_entropy": on(M, Ints((1024,), 1024))(
        lambda lib, x, t: lib.nn.functional.cross_entropy(x, t)
    ),
    "nll_loss": on(M, Ints((1024,), 1024))(lambda lib, x, t: lib.nn.functional.nll_loss(x, t)),
    "ctc": on((128, 32, 64), Ints((32, 24), 64, 1))(ctc_loss),
    # products, images, sequences
    "addmm": on(M, M, M)(lambda lib, c, a, b: lib.addmm(c, a, b)),
    "addmm_activation": on((1024,), M, M)(
        lambda lib, c, a, b: lib._addmm_activation(c, a, b, use_gelu=True)
    ),
    "matmul": matrices(lambda lib, a, b: lib.matmul(a, b)),
    "linear": on(M, M, (1024,))(lambda lib, x, w, b: lib.nn.functional.linear(x, w, b)),
    "attention": on(*((4, 8, 512, 64),) * 3)(
        lambda lib, q, k, v: lib.nn.functional.scaled_dot_product_attention(q, k, v)
    ),
    "grouped_mm": on(M, (8, 1024, 1024))(grouped),
    "varlen_attention": on(*((sum(LENGTHS), 8, 64),) * 3)(packed),
    "conv2d": on(IMAGES, (64, 64, 3, 3), (64,))(
        lambda lib, x, w, b: lib.nn.functional.conv2d(x, w, b, padding=1)
    ),
    "adaptive_avg_pool2d": image(lambda lib, x: lib.nn.functional.adaptive_avg_pool2d(x, 7)),
    "avg_pool2d": image(lambda lib, x: lib.nn.functional.avg_pool2d(x, 2)),
    "max_pool2d": image(lambda lib, x: lib.nn.functional.max_pool2d(x, 2, return_indices=True)),
    "max_pool2d_values": image(lambda lib, x: lib.nn.functional.max_pool2d(x, 2)),
    "grid_sample": on(IMAGES, (16, 32, 32, 2))(
        lambda lib, x, g: lib.nn.functional.grid_sample(x, g, align_corners=False)
    ),
    "resample": image(
        lambda lib, x: lib.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    ),
    "rnn_scan": sequence(recurrent("RNN")),
    "gru_scan": sequence(recurrent("GRU")),
    "lstm_scan": sequence(recurrent("LSTM")),
    # transforms
    "fft_c2c": on(Complexes(M))(lambda lib, x: lib.fft.fft(x)),
    "fft_c2r": on(Complexes(M))(lambda lib, x: lib.fft.irfft(x)),
    "fft_r2c": matrix(lambda lib, x: lib.fft.rfft(x)),
    "hash_tensor": matrix(lambda lib, x: lib.hash_tensor(x)),
    "frexp": matrix(lambda lib, x: lib.frexp(x)),
    **LINALG,
    # ranges
    "arange": on()(lambda lib: lib.arange(N)),
    "linspace": on()(lambda lib: lib.linspace(0, 1, N)),
    # random numbers
    "bernoulli": on(Reals(M, 0, 1))(lambda lib, p: lib.bernoulli(p)),
    "bernoulli_scalar": matrix(lambda lib, x: lib.bernoulli(x, 0.3)),
    "binomial": on(Reals(M, 5, 6), Reals(M, 0.1, 0.9))(
        lambda lib, n, p: lib.binomial(lib.round(n), p)
    ),
    "dropout": matrix(lambda lib, x: lib.nn.functional.dropout(x, 0.5)),
    "multinomial": on(Reals(M, 0.1, 1))(lambda lib, p: lib.multinomial(p, 16, True)),
    "normal": on()(normal),
    "poisson": on(Reals(M, 0.5, 4))(lambda lib, x: lib.poisson(x)),
    "random": on()(lambda lib: lib.randint(0, 100, (N,))),
    "sample_dirichlet": on(Reals(M, 0.5, 4))(lambda lib, x: lib._sample_dirichlet(x)),
    "standard_gamma": on(Reals(M, 0.5, 4))(lambda lib, x: lib._standard_gamma(x)),
    "uniform": on()(lambda lib: lib.rand(N)),
}

# records that other cases run, or that PyTorch has no counterpart of
INTERNAL = {
    "conv2d_input": "the derivative of conv2d",
    "conv2d_weight": "the derivative of conv2d",
    "dirichlet_grad": "the derivative of sample_dirichlet",
    "standard_gamma_grad": "the derivative of standard_gamma",
    "cofactor": "the derivative of det",
    "permutation_op": "part of lu",
    "row_order": "part of lu_factor",
    "resample_back": "the derivative of resample",
    "linear_entropy": "PyTorch has no cross entropy fused with its linear layer",
    "scaled_mm": "its operands are float8, of which the cases make none",
    "to_device": "a copy between devices",
}


FAMILIES = {
    "reduction": "all any amax amin argmax argmin logsumexp max_dim mean min_dim norm prod std sum "
    "var median median_dim nanmedian nanmedian_dim",
    "scan": "cummax cummin cumprod cumsum logcumsumexp",
    "sorting": "argsort kthvalue mode nonzero searchsorted sort topk",
    "copy": "cat clone constant_pad_nd copy flip pad_borders roll stack tril triu",
    "index": "embedding gather index index_add index_copy index_fill index_put index_select "
    "masked_scatter scatter scatter_reduce",
    "normalisation": "batch_norm group_norm layer_norm rms_norm",
    "softmax": "cross_entropy ctc log_softmax nll_loss softmax",
    "product": "addmm addmm_activation grouped_mm linear matmul",
    "attention": "attention",
    "convolution": "conv2d",
    "pooling": "adaptive_avg_pool2d avg_pool2d grid_sample max_pool2d max_pool2d_values resample",
    "linear algebra": " ".join(LINALG),
    "recurrence": "gru_scan lstm_scan rnn_scan",
    "transform": "fft_c2c fft_c2r fft_r2c",
    "random": "bernoulli bernoulli_scalar binomial dropout multinomial normal poisson random "
    "sample_dirichlet standard_gamma uniform",
}
# Multiplications and additions for each element, as the sweeps count them ...
PER_ELEMENT = {
    **dict.fromkeys(("elementwise", "reduction", "scan", "pooling"), 1.0),
    **{"softmax": 5.0, "normalisation": 8.0, "sorting": 10.0},
}
GATES = 2.0 * 64 * 16 * 256 * 512  # a product with the input and one with the state, for each gate
# ... and of what has more, all in all; of transforms 5 n log2(n) of n complex numbers.
FLOPS = {
    "addmm": 2.0 * 1024**3,
    "addmm_activation": 2.0 * 1024**3,
    "grouped_mm": 2.0 * 1024**3,
    "linear": 2.0 * 1024**3,
    "varlen_attention": 4.0 * 8 * 64 * sum(n * n for n in LENGTHS),
    "conv2d": 2.0 * N * 64 * 9,
    "resample": 8.0 * 4 * N,
    "grid_sample": 8.0 * N,
    **{"rnn_scan": GATES, "gru_scan": 3 * GATES, "lstm_scan": 4 * GATES},
    **{"fft_c2c": 50.0 * N, "fft_c2r": 50.0 * N, "fft_r2c": 25.0 * N},
    **{"nonzero": 0.0, "searchsorted": 10.0 * N, "nll_loss": 1024.0},
    **LINALG_FLOPS,
}
FAMILY = {name: family for family, names in FAMILIES.items() for name in names.split()}


def case_of(op: Op) -> Case | None:
    """The case in the table; for elementwise operators one made of the record."""
    if op.name in CASES:
        return CASES[op.name]
    if not isinstance(op, Elementwise) or found(tritorch, op.name) is None:
        return None
    n = len(op.inputs)
    if "floating" in op.deny:
        inputs: list = [Ints(M, 8, 1)] * n
    else:
        domains = op.domain if isinstance(op.domain[0], tuple) else (op.domain,) * n
        inputs = [Reals(M, *d) for d in domains]
    return Case(lambda lib, *xs, name=op.name: found(lib, name)(*xs), inputs)  # type: ignore


def found(lib: Any, name: str) -> Callable | None:
    """The public function of that name: of the library, `nn.functional`, `special`, `linalg`."""
    for space in (lib, lib.nn.functional, *(getattr(lib, s, None) for s in ("special", "linalg"))):
        if callable(getattr(space, name, None)):
            return getattr(space, name)
    return None


def internal(name: str) -> bool:
    """Whether it is measured as part of another."""
    return name in INTERNAL or name.endswith("_backward")


def cases() -> dict[str, Case | None]:
    """Of each operator of the record that can be called by itself; None where one is missing."""
    return {op.name: case_of(op) for op in operators() if not op.is_view and not internal(op.name)}


def points() -> list[Point]:
    """The operators that no sweep follows, at about a million elements in float32."""
    swept = {sweep.operator for sweep in SWEEPS}
    made = []
    for name, case in cases().items():
        if case is not None and name not in swept:
            family = FAMILY.get(name, "elementwise")
            shown, same = name.removesuffix("_op"), numpy_of(name, family)
            made.append(Point(family, shown, N, case, "float32", flops_of(name, family), same))
    return made


def flops_of(name: str, family: str) -> float:
    """Multiplications and additions of a call; none where it only moves or draws elements."""
    return FLOPS.get(name, PER_ELEMENT.get(family, 0) * N)


def numpy_of(name: str, family: str) -> Callable | None:
    """NumPy's function of the same name, for elementwise operators."""
    same = getattr(np, name, None)
    return same if family == "elementwise" and isinstance(same, np.ufunc) else None
