"""`check_operator`: what an operator record declares, compared with what it does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..dtypes import DType
from ..op import FALLBACKS, Op
from ..runtime import memory
from ..runtime.launch import launch, operator
from ..tensor import Tensor
from .comparison import assert_close
from .samples import LAYOUTS, Sample, gapped, meta_of, samples_of, transposed

KERNEL_TOLERANCES = {  # of a kernel's own exp, log and sums against NumPy's
    "float32": (2e-5, 2e-5),
    "float16": (2e-3, 2e-3),
    "bfloat16": (2e-2, 2e-2),
}
DIFFERENCED = 40  # elements above which finite differences are left out


def check_operator(
    op: Op, *, targets: str | Sequence[str] = (), dtype: DType | None = None
) -> list[str]:
    """Test an operator record on its samples; the list of what was checked.

    The meta rule against results; results against layouts of the inputs; a `cpu=` against the
    composition; first and second derivatives against finite differences, on samples that are
    `smooth` and small; where there is a device (a GPU, or TRITORCH_EXECUTOR=interpreter) its
    kernels against the CPU in float32 and the 16-bit floats, or in `dtype` alone; and for each of
    `targets` ("sm_90" ...) that the kernels compile in these dtypes, do not spill and fit its
    shared memory. A process that interprets kernels cannot compile them, and leaves `targets` out.
    AssertionError where something differs, TypeError for what is no operator, ValueError for one
    without samples and for an unknown target.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.op import fused, same_as
        >>> @fused(name="cube_root_of_e", meta=same_as("x"), samples=lambda s: [s((2, 3))])
        ... def cube_root_of_e(x):
        ...     return (x / 3).exp()
        >>> torch.testing.check_operator(cube_root_of_e)[:2]
        ['meta rule', 'transposed inputs']
    """
    if not isinstance(op, Op):
        raise TypeError(f"check_operator: expected an operator record, got {type(op).__name__}")
    targets = _targets(targets)
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
    if op.triton is None:
        return done
    kinds = [dtypes.float32, dtypes.float16, dtypes.bfloat16] if dtype is None else [dtype]
    if memory.available():
        for kind in kinds:
            done += [f"kernels, {kind.name}, {name}" for name in _check_kernels(op, kind)]
    for target in targets:
        done += [f"{target}: {name}" for name in _check_compiled(op, target, kinds)]
    return done


def _targets(targets: str | Sequence[str]) -> list[str]:
    from ..runtime.aot import TARGETS

    found = [targets] if isinstance(targets, str) else list(targets)
    for name in found:
        if name not in TARGETS:
            raise ValueError(f"check_operator: target {name!r} is not one of {', '.join(TARGETS)}")
    return [] if memory.interpreted() else found


def _results(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def _about(op: Op, *what: Any) -> Callable[[str], str]:
    """The message of a comparison, behind the operator and what was compared of it."""
    return lambda text: f"{', '.join(str(x) for x in (op.name, *what))}: {text}"


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
        got = _results(op(*sample.tensors(dtypes.float64, layout=layout), **sample.params))
        about = _about(op, f"{layout.__name__} inputs", sample)
        assert_close(got, expected, equal_nan=True, msg=about)
    if op.ref is not None and op.cpu is not None:
        got = _results(op.ref(*args, **sample.params))
        assert_close(got, expected, equal_nan=True, msg=_about(op, "composition", sample))


def _check_gradients(op: Op, sample: Sample) -> bool:
    """Whether there were derivatives to compare."""
    from ..autograd import GradcheckError, gradcheck, gradgradcheck

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
        try:
            check(lambda *xs: op(*xs, **sample.params), args)
        except GradcheckError as error:
            raise AssertionError(f"{op.name}, {check.__name__}, {sample}: {error}") from error
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
            about = _about(op, dtype.name, name, sample)
            assert_close(
                got, expected, rtol=rtol, atol=atol, equal_nan=True, check_device=False, msg=about
            )
        else:
            served.append(name)
        FALLBACKS[op.name] = before
    if "contiguous" not in served:
        raise AssertionError(f"{op.name}: its kernels do not serve contiguous {dtype.name} arrays")
    return served


def _check_compiled(op: Op, target: str, kinds: Sequence[DType]) -> list[str]:
    """The kernels that the samples launch, each compiled without a problem."""
    from ..runtime.aot import compile_for

    launcher: Any = op.launcher()
    with compile_for(target) as aot, operator(op.name):
        for kind in kinds:
            for sample in samples_of(op):
                there = [meta_of(a) if isinstance(a, Tensor) else a for a in sample.tensors(kind)]
                outs: list[Any] = [o._data for o in _results(op(*there, **sample.params))]
                arrays = [a._data if isinstance(a, Tensor) else a for a in there]
                named = {k: v for k, v in sample.params.items() if k in op._named}
                if any(o.size for o in outs):
                    op._launched(launch, launcher, outs, arrays, named)
    if not aot.facts:
        raise AssertionError(f"{op.name}: its launcher runs no kernel on {target}")
    problems = [p for facts in aot.facts for p in facts.problems()]
    if problems:
        raise AssertionError("\n".join(problems))
    return sorted({facts.kernel for facts in aot.facts})
