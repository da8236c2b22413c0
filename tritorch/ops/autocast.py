"""Mixed precision: which operators run in a lower precision, in float32, or in the widest type.

While autocast is on, `handler` is one of the active transforms. It sees operator records and casts
what they get; functions that are compositions take their place in the same lists by `listed`, and
what they call is then left alone. Lists and rules are PyTorch's, for each kind of device.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import outside, state
from ..dtypes import DType
from ..tensor import Tensor

DEVICES = ("cuda", "cpu")


class _Settings(threading.local):
    """What autocast does in this thread."""

    def __init__(self) -> None:
        self.enabled: frozenset[str] = frozenset()
        self.dtypes: dict[str, DType] = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}
        self.cache: dict[tuple, tuple] = {}
        self.cache_enabled = True
        self.nesting = 0


settings = _Settings()


def handler(op: Any, inputs: Sequence, params: dict) -> Any:
    """The transform: cast what the operator gets, and run it outside of autocast."""
    with outside():
        rule = _rule(RECORDS, op.name, inputs)
        return op(*(inputs if rule is None else rule(inputs)), **params)


def set_enabled(enabled: frozenset[str]) -> None:
    """Switch autocast on for these kinds of devices, and off for the others, in this thread."""
    settings.enabled = enabled
    rest = tuple(t for t in state.transforms if t is not handler)
    state.transforms = (*rest, handler) if enabled else rest


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Nothing is cast inside the block."""
    outer = state.transforms
    state.transforms = tuple(t for t in outer if t is not handler)
    try:
        yield
    finally:
        state.transforms = outer


def listed(f: Callable, space: str | None = None) -> Callable:
    """`f`, with its arguments cast while autocast is on, if its name is in one of the lists."""
    name = f"{space}.{f.__name__}" if space else f.__name__
    if not any(name in lists for lists in FUNCTIONS.values()):
        return f

    @functools.wraps(f)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not state.transforms or handler not in state.transforms:
            return f(*args, **kwargs)
        rule = _rule(FUNCTIONS, name, (*args, *kwargs.values()))
        given = kwargs.get("dtype") is not None or kwargs.get("out") is not None
        if rule is None or given:  # PyTorch casts where none of them is given
            return f(*args, **kwargs)
        with paused():
            cast = rule((*args, *kwargs.values()))
            n = len(args)
            return f(*cast[:n], **dict(zip(kwargs, cast[n:], strict=True)))

    return function


def _rule(lists: dict[str, dict[str, Callable]], name: str, values: Sequence) -> Callable | None:
    """The rule for an operator on the device of its first tensor."""
    x = _first(values)
    if x is None:
        return None
    kind = "cpu" if x.is_cpu else x.device.type
    if kind not in settings.enabled:
        return None
    rule = lists[kind].get(name)
    return None if rule is None else functools.partial(rule, kind)


def _first(values: Sequence) -> Any:
    for v in values:
        if isinstance(v, Tensor):
            return v
        if isinstance(v, list | tuple) and (found := _first(v)) is not None:
            return found
    return None


# -- casting --------------------------------------------------------------------------------------


def eligible(t: Any, kind: str) -> bool:
    """Whether autocast may change its dtype: floating, not float64, and on that kind of device."""
    return (
        isinstance(t, Tensor)
        and t.dtype.category == 2
        and t.dtype is not dtypes.float64
        and (kind == "cpu" if t.is_cpu else t.device.type == kind)
    )


def _cast(value: Any, dtype: DType, kind: str) -> Any:
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_cast(v, dtype, kind) for v in value)
    t: Any = value
    if not eligible(t, kind) or t.dtype is dtype:
        return value
    return _cached(t, dtype) if dtype is settings.dtypes[kind] else t.to(dtype)


def _cached(t: Any, dtype: DType) -> Any:
    """A copy in the lower precision; that of a parameter is made once, until it changes."""
    leaf = t.dtype is dtypes.float32 and t._view is None and t.requires_grad and t.is_leaf
    if not (leaf and settings.cache_enabled and settings.nesting):
        return t.to(dtype)
    key = id(t), dtype, state.grad
    kept = settings.cache.get(key)
    if kept is None or kept[0] is not t or kept[1] != t._version:
        kept = settings.cache[key] = t, t._version, t.to(dtype)
    return kept[2]


def lower(kind: str, values: Sequence) -> list:
    """All in the lower precision of that kind of device."""
    return [_cast(v, settings.dtypes[kind], kind) for v in values]


def single(kind: str, values: Sequence) -> list:
    """All in float32."""
    return [_cast(v, dtypes.float32, kind) for v in values]


def widest(kind: str, values: Sequence) -> list:
    """All in float32 if one is, else in the lower precision."""
    flat = [t for v in values for t in (v if isinstance(v, list | tuple) else (v,))]
    wide = any(eligible(t, kind) and t.dtype is dtypes.float32 for t in flat)
    return single(kind, values) if wide else lower(kind, values)


def borders(kind: str, values: Sequence) -> list:
    """`pad` on the CPU: in float32 where it reflects or replicates."""
    modes = {"replicate": 5, "reflect": 4}  # the largest number of dimensions that is listed
    most = next((modes.get(v, 0) for v in values if isinstance(v, str)), 0)
    return single(kind, values) if _first(values).ndim <= most else list(values)


def as_they_are(kind: str, values: Sequence) -> list:
    """Nothing cast, here and in what the function calls."""
    return list(values)


def refused(kind: str, values: Sequence) -> list:
    """`binary_cross_entropy` on a GPU."""
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast. "
        "Many models use a sigmoid layer right before the binary cross entropy layer. In this "
        "case, combine the two layers using binary_cross_entropy_with_logits or BCEWithLogitsLoss, "
        "which are safe to autocast."
    )


# -- the lists ------------------------------------------------------------------------------------


def _table(**rules: str) -> dict[str, Callable]:
    return {n: globals()[rule] for rule, names in rules.items() for n in names.split()}


_PRODUCTS = "matmul linear addmm conv2d attention"
_CONVOLUTIONS = " ".join(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))
_LOSSES = (
    "poisson_nll_loss cosine_embedding_loss nll_loss hinge_embedding_loss kl_div l1_loss "
    "smooth_l1_loss huber_loss mse_loss margin_ranking_loss multilabel_margin_loss "
    "soft_margin_loss triplet_margin_loss multi_margin_loss binary_cross_entropy_with_logits"
)
_CELLS = "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell lstm gru rnn_tanh rnn_relu"
_TRANSFORMS = " ".join(
    f"fft.{i}{name}{n}" for name in ("fft", "rfft") for i in ("", "i") for n in ("", "2", "n")
)

RECORDS: dict[str, dict[str, Callable]] = {
    "cpu": _table(
        lower=_PRODUCTS,
        single="prod nll_loss cross_entropy ctc grid_sample",
        widest="cat stack",
    ),
    "cuda": _table(
        lower=_PRODUCTS,
        single="acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow "
        "softplus layer_norm rms_norm group_norm norm nll_loss cross_entropy logsumexp resample "
        "prod softmax log_softmax cumprod cumsum sum",
        widest="addcdiv addcmul atan2 cross index_put cat stack grid_sample",
    ),
}

FUNCTIONS: dict[str, dict[str, Callable]] = {
    "cpu": _table(
        lower=f"{_CONVOLUTIONS} prelu baddbmm addbmm linalg.vecdot rnn_tanh rnn_relu lstm",
        single=f"{_LOSSES} {_TRANSFORMS} fft.hfft fft.ihfft avg_pool3d binary_cross_entropy polar "
        "grid_sample grid_sampler quantile nanquantile stft cdist trace cholesky cholesky_inverse "
        "cholesky_solve inverse lu_solve orgqr ormqr pinverse max_pool3d max_unpool2d max_unpool3d "
        "adaptive_avg_pool3d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d "
        "ctc_loss geqrf qr svd triangular_solve linalg.cond linalg.matrix_rank linalg.solve "
        "linalg.cholesky linalg.cholesky_ex linalg.svd linalg.svdvals linalg.eig linalg.eigvals "
        "linalg.eigh linalg.eigvalsh linalg.inv linalg.inv_ex linalg.lstsq linalg.qr "
        "linalg.householder_product linalg.tensorinv linalg.tensorsolve view_as_complex",
        widest="index_copy",
        borders="pad",
        as_they_are="mv addmv addr outer ger dot vdot inner kron bilinear lstm_cell gru_cell "
        "rnn_tanh_cell rnn_relu_cell gru",
    ),
    "cuda": _table(
        lower=f"{_CONVOLUTIONS} prelu addmv addr baddbmm addbmm linalg.vecdot conv_tbc {_CELLS}",
        single=f"{_LOSSES} frobenius_norm nuclear_norm cosine_similarity dist pdist cdist renorm "
        "native_layer_norm linalg.vector_norm linalg.matrix_norm softmax log_softmax prod sum "
        "cumprod cumsum",
        widest="bilinear dot vdot grid_sample grid_sampler tensordot scatter_add",
        refused="binary_cross_entropy",
    ),
}
