"""What tests of operators need: samples, tolerances, comparisons. Public: test your own with it.

A sample is one call of an operator record: arrays, numbers or None as inputs, and parameters. An
operator declares a function of a `Sampler` that yields them; the elementwise family derives
its own from the operator's domain.

    samples=lambda s: [s((3, 4), dim=0), s(s.ints(5, (2, 3)), dim=1)]
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import dtypes
from .dtypes import DType
from .op import FALLBACKS, REGISTRY, Op
from .ops.api import PUBLIC
from .runtime import memory
from .runtime.launch import launch
from .tensor import Tensor, wrap

# PyTorch's default tolerances (relative, absolute) of `torch.testing.assert_close`.
TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


@dataclass
class Sample:
    """One call: `inputs` are NumPy arrays, numbers, None; `params` the keywords of the record.

    `smooth` is False where finite differences fail: at kinks, ties, jumps.
    """

    inputs: tuple
    params: dict = field(default_factory=dict)
    smooth: bool = True

    def tensors(
        self,
        dtype: DType | None = None,
        device: str = "cpu",
        layout: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> list:
        """The inputs as tensors, floating-point ones in `dtype`, laid out by `layout`."""
        return [_tensor(x, dtype, device, layout) for x in self.inputs]

    def __repr__(self) -> str:
        shown = [
            f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)
            for x in self.inputs
        ]
        return ", ".join([*shown, *(f"{k}={v!r}" for k, v in self.params.items())])


class Sampler:
    """Makes the arrays of samples from a seed. Called with shapes it makes a `Sample`."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, *inputs: Any, smooth: bool = True, **params: Any) -> Sample:
        """A sample; a shape among the inputs becomes an array of reals in [-1, 1]."""
        made = tuple(self.reals(x) if isinstance(x, tuple) else x for x in inputs)
        return Sample(made, params, smooth)

    def reals(self, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> np.ndarray:
        return np.asarray(self.rng.uniform(low, high, tuple(shape)))

    def ints(self, high: int, shape: Sequence[int], low: int = 0) -> np.ndarray:
        return np.asarray(self.rng.integers(low, high, tuple(shape)))

    def bools(self, shape: Sequence[int]) -> np.ndarray:
        return np.asarray(self.rng.random(tuple(shape)) < 0.5)

    def distinct(self, shape: Sequence[int]) -> np.ndarray:
        """Reals of which no two are near each other: for maxima, sorting, medians."""
        n = int(np.prod(shape))
        return (self.rng.permutation(n) / max(n, 1) * 2 - 1).reshape(tuple(shape))


def samples_of(op: Op, seed: int = 0) -> list[Sample]:
    """The declared samples of an operator."""
    if op.samples is None:
        raise ValueError(f"{op.name}: declares no samples")
    return list(op.samples(Sampler(seed)))


def _tensor(x: Any, dtype: DType | None, device: str, layout: Callable | None) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype == np.float64 and dtype is not None:
        x = x.astype(dtype.np)
    x = x.copy() if layout is None else layout(x)
    t = wrap(x, dtypes.of(x.dtype))
    return t if device == "cpu" else placed(t, device)


def placed(t: Tensor, device: Any) -> Tensor:
    """The same values with the same strides on a device; `Tensor.to` makes some contiguous."""
    strides = t.stride()
    if t.is_contiguous() or not t.numel() or min(strides) < 0:
        return t.to(device)  # type: ignore[attr-defined]
    span = sum((n - 1) * s for n, s in zip(t.shape, strides, strict=True)) + 1
    flat = PUBLIC["zeros"](span, dtype=t.dtype)
    index = np.zeros(t.shape, np.int64)
    for d, (n, s) in enumerate(zip(t.shape, strides, strict=True)):
        index += (np.arange(n) * s).reshape(-1, *[1] * (t.ndim - d - 1))
    flat._data[index] = t._data
    return flat.to(device).as_strided(tuple(t.shape), strides)


def transposed(x: np.ndarray) -> np.ndarray:
    """The same values with dimensions in the reverse order in memory."""
    return x.copy(order="F")


def gapped(x: np.ndarray) -> np.ndarray:
    """The same values in memory with gaps between them."""
    if not x.ndim:
        return x.copy()
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1] + 1), np.asarray(77).astype(x.dtype), x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    allow_subclasses: bool = True,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless tensors, or sequences and mappings of them, agree.

    Without `rtol` and `atol` the tolerances are those of the dtypes. `msg` replaces the message, or
    makes another of it.

    Example:
        >>> import tritorch as torch
        >>> torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol must both be specified or both unspecified")
    options: dict[str, Any] = {
        "rtol": rtol,
        "atol": atol,
        "equal_nan": equal_nan,
        "check_device": check_device,
        "check_dtype": check_dtype,
        "check_stride": check_stride,
    }
    try:
        _compare(actual, expected, **options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


def _compare(actual: Any, expected: Any, **options: Any) -> None:
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or actual.keys() != expected.keys():
            raise AssertionError(f"expected a mapping of {list(expected)}, got {actual!r}")
        for key in expected:
            _compare(actual[key], expected[key], **options)
        return
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            raise AssertionError(f"expected a sequence of {len(expected)}, got {actual!r}")
        for a, e in zip(actual, expected, strict=True):
            _compare(a, e, **options)
        return
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    _compare_tensors(a, e, **options)


def _compare_tensors(
    a: Any,
    e: Any,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_device: bool,
    check_dtype: bool,
    check_stride: bool,
) -> None:
    same = {"shape": True, "dtype": check_dtype, "device": check_device}
    for name, asked in same.items():
        x, y = getattr(a, name), getattr(e, name)
        if asked and x != y:
            raise AssertionError(f"The values for attribute '{name}' do not match: {x} != {y}.")
    if check_stride and a.stride() != e.stride():
        raise AssertionError(
            f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}."
        )
    wide = dtypes.promote_types(a.dtype, e.dtype)
    default = max(TOLERANCES.get(a.dtype.name, (0, 0)), TOLERANCES.get(e.dtype.name, (0, 0)))
    r, t = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    work = np.complex128 if wide.is_complex else np.float64 if wide.category == 2 else wide.np
    x, y = (v.detach().cpu()._data.astype(work) for v in (a, e))
    with np.errstate(all="ignore"):
        whole = wide.category < 2 and not (r or t)
        close = x == y if whole else np.isclose(x, y, r, t, equal_nan=equal_nan)
    if not np.all(close):
        raise AssertionError(_difference(x, y, close, r, t))


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """`assert_close` of values only; deprecated in PyTorch too."""
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    assert_close(
        a,
        e,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=False,
        check_dtype=False,
        msg=msg or None,
    )


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random elements in [low, high): by default [-9, 9), [0, 10) of uint8, and bools.

    With `noncontiguous` its elements lie two apart; with `exclude_zero` none is zero.
    """
    low, high = _limits_of(dtype, low, high)
    size = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "make_tensor: noncontiguous and memory_format are mutually exclusive, got "
            f"{noncontiguous=} and {memory_format=}"
        )
    out: Any = PUBLIC["empty"](size, dtype=dtype, device=device)
    if dtype.is_complex:
        for part in (out.real, out.imag):
            part.uniform_(low, high)
    elif dtype.category == 2:
        out.copy_(PUBLIC["rand"](size, device=device) * (high - low) + low)
    else:
        out.random_(math.ceil(low), math.ceil(high))
    if exclude_zero:
        out[out == 0] = 1 if dtype.category < 2 else dtypes.finfo(dtype).tiny
    if noncontiguous and out.numel() > 1 and size:
        out = out.repeat_interleave(2, dim=-1)[..., ::2].detach()
    elif memory_format is not None:
        out = out.clone(memory_format=memory_format)
    return out.requires_grad_() if requires_grad else out


def _limits_of(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The limits asked for or the usual ones, within what the dtype holds."""
    if dtype is dtypes.bool_:
        usual: tuple[float, float] = (0, 2)
    elif dtype.category == 1:
        usual = (0 if not dtype.is_signed else -9, 10)
    else:
        usual = (-9.0, 9.0)
    a, b = usual[0] if low is None else low, usual[1] if high is None else high
    if a != a or b != b:
        raise ValueError(f"make_tensor: `low` and `high` cannot be NaN, but got {low=} and {high=}")
    if not a < b:
        raise ValueError(f"make_tensor: `low` must be less than `high`, but got {a} >= {b}")
    if dtype.category == 1:
        info = dtypes.iinfo(dtype)
        a, b = max(a, info.min), min(b, info.max)
    return a, b


def _from(x: Any) -> Tensor:
    array = np.asarray(x)
    return wrap(array, dtypes.of(array.dtype))


def _difference(x: np.ndarray, y: np.ndarray, close: np.ndarray, r: float, t: float) -> str:
    bad = np.atleast_1d(~close)
    with np.errstate(all="ignore"):
        gap = np.atleast_1d(np.abs(x.astype(np.complex128) - y.astype(np.complex128)))
    worst = np.unravel_index(np.nanargmax(np.where(bad, gap, -1)), gap.shape)
    at = tuple(int(i) for i in worst) if x.ndim else ()
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {int(bad.sum())} / {bad.size}\n"
        f"Greatest absolute difference: {gap[worst]} at index {at}: {x[at]!r} against {y[at]!r} "
        f"(tolerances: {r} relative, {t} absolute)"
    )


def operators() -> list[Op]:
    """All operator records, in order of their names."""
    return [REGISTRY[name] for name in sorted(REGISTRY)]


def serves(op: Op, dtype: DType) -> bool:
    """Whether an operator takes a dtype: elementwise ones may name some that they refuse."""
    return dtype.name not in getattr(op, "deny", ())


# -- operators of one's own ------------------------------------------------------------------------

LAYOUTS: dict[str, Callable | None] = {
    "contiguous": None,
    "transposed": transposed,
    "gapped": gapped,
}
KERNEL_TOLERANCES = {  # of a kernel's own exp, log and sums against NumPy's
    "float32": (2e-5, 2e-5),
    "float16": (2e-3, 2e-3),
    "bfloat16": (2e-2, 2e-2),
}
DIFFERENCED = 40  # elements above which finite differences are left out


def check_operator(op: Op, *, targets: Sequence[str] = (), dtype: DType | None = None) -> list[str]:
    """Test an operator record on its samples; the list of what was checked.

    The meta rule against results; results against layouts of the inputs; a `cpu=` against the
    composition; first and second derivatives against finite differences, on samples that are
    `smooth` and small; where there is a device (a GPU, or TRITORCH_EXECUTOR=interpreter) its
    kernels against the CPU in float32 and the 16-bit floats, or in `dtype` alone; and for each of
    `targets` ("sm_90" ...) that the kernels compile, do not spill and fit its shared memory.
    AssertionError where something differs, ValueError for an operator without samples.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.op import fused, same_as
        >>> @fused(name="cube_root_of_e", meta=same_as("x"), samples=lambda s: [s((2, 3))])
        ... def cube_root_of_e(x):
        ...     return (x / 3).exp()
        >>> torch.testing.check_operator(cube_root_of_e)[:2]
        ['meta rule', 'transposed inputs']
    """
    samples = samples_of(op)
    done = [f"{name} inputs" for name in ("transposed", "gapped")]
    for sample in samples:
        _check_result(op, sample)
    if op.meta is not None:
        done.insert(0, "meta rule")
    if op.ref is not None and op.cpu is not None:
        done.append("composition")
    checked = [_check_gradients(op, sample) for sample in samples]
    done += ["first derivatives", "second derivatives"] if any(checked) else []
    if op.triton is not None and memory.available():
        for kind in [dtypes.float32, dtypes.float16, dtypes.bfloat16] if dtype is None else [dtype]:
            done += [f"kernels, {kind.name}, {name}" for name in _check_kernels(op, kind)]
    for target in targets if op.triton is not None else ():
        done += [f"{target}: {name}" for name in _check_compiled(op, target)]
    return done


def _results(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def _check_result(op: Op, sample: Sample) -> None:
    args = sample.tensors(dtypes.float64)
    expected = _results(op(*args, **sample.params))
    if op.meta is not None:
        specs = op.meta(*args, **sample.params)
        told = [(tuple(s), d) for s, d in (specs if isinstance(specs, list) else [specs])]
        found = [(tuple(t.shape), t.dtype) for t in expected]
        if told != found:
            raise AssertionError(f"{op.name}: meta says {told}, the result is {found}: {sample}")
    for layout in (transposed, gapped):
        got = op(*sample.tensors(dtypes.float64, layout=layout), **sample.params)
        assert_close(_results(got), expected, equal_nan=True)
    if op.ref is not None and op.cpu is not None:
        assert_close(_results(op.ref(*args, **sample.params)), expected, equal_nan=True)


def _check_gradients(op: Op, sample: Sample) -> bool:
    """Whether there were derivatives to compare."""
    from .autograd import gradcheck, gradgradcheck

    if (op.rules is None and op.ref is None) or not sample.smooth:
        return False
    args = sample.tensors(dtypes.float64)
    floating = [a for a in args if isinstance(a, Tensor) and a.dtype is dtypes.float64]
    if not floating or sum(a.numel() for a in floating) > DIFFERENCED:  # type: ignore
        return False
    rules = op.rules.rules if op.rules is not None and not op.rules.joint else ()
    for i, a in enumerate(args):
        if any(a is f for f in floating) and not (i < len(rules) and rules[i] is None):
            a.requires_grad_()
    for check in (gradcheck, gradgradcheck):
        if not check(lambda *xs: op(*xs, **sample.params), args):
            raise AssertionError(f"{op.name}: {check.__name__} fails for {sample}")
    return True


def _check_kernels(op: Op, dtype: DType) -> list[str]:
    """The layouts that the kernels serve; contiguous arrays they must."""
    served = []
    for name, layout in LAYOUTS.items():
        before = FALLBACKS[op.name]
        for sample in samples_of(op):
            there = sample.tensors(dtype, "cuda", layout)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = _results(op(*there, **sample.params))
            if FALLBACKS[op.name] > before:
                break
            expected = _results(op(*sample.tensors(dtype, layout=layout), **sample.params))
            rtol, atol = KERNEL_TOLERANCES.get(dtype.name, (1e-7, 1e-7))
            assert_close(
                got, expected, rtol=rtol, atol=atol, equal_nan=True, check_device=False,
                msg=lambda text, s=sample, n=name: f"{op.name}, {dtype.name}, {n}, {s}: {text}",
            )  # fmt: skip
        else:
            served.append(name)
        FALLBACKS[op.name] = before
    if "contiguous" not in served:
        raise AssertionError(f"{op.name}: its kernels do not serve contiguous {dtype.name} arrays")
    return served


def _check_compiled(op: Op, target: str) -> list[str]:
    from .runtime.aot import compile_for

    with compile_for(target) as aot:
        for sample in samples_of(op):
            there = [
                meta_of(a) if isinstance(a, Tensor) else a for a in sample.tensors(dtypes.float32)
            ]
            outs = _results(op(*there, **sample.params))
            arrays = [a._data if isinstance(a, Tensor) else a for a in there]
            launcher = op.launcher()
            named = {k: v for k, v in sample.params.items() if k in op._named}
            op._launched(launch, launcher, [o._data for o in outs], arrays, named)  # type: ignore
    problems = [p for facts in aot.facts for p in facts.problems()]
    if problems:
        raise AssertionError("\n".join(problems))
    return sorted({facts.kernel for facts in aot.facts})


def meta_of(t: Tensor) -> Tensor:
    """A tensor of the same shape, strides and dtype without memory."""
    from .runtime.memory import meta

    return wrap(meta(tuple(t.shape), t.dtype, t.stride()), t.dtype)
