"""The table over all operators: what must hold of each record, on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.autograd import gradcheck, gradgradcheck
from tritorch.op import Op
from tritorch.ops.copy import clone
from tritorch.tensor import Tensor

OPERATORS = testing.operators()
LAYOUTS = {"transposed": testing.transposed, "gapped": testing.gapped}
READS_MEMORY = ("as_strided", "view", "view_as_complex")  # what they do depends on the layout
FROM_32_BIT = ("view_as_complex",)  # there is no complex dtype of 16-bit parts
LIMIT = 40  # elements above which finite differences are left out

every_operator = pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.name)


def outputs(result: object) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]  # type: ignore[list-item]


@every_operator
def test_declares_samples(op: Op) -> None:
    assert op.samples is not None, f"{op.name} declares no samples"
    assert testing.samples_of(op)


@every_operator
def test_meta_rule_tells_shape_and_dtype(op: Op) -> None:
    for sample in testing.samples_of(op):
        for dtype in (torch.float32, torch.float64):
            args = sample.tensors(dtype)
            skipped = op.name in ("view_as_complex", "to_device")
            if skipped or any(
                isinstance(a, Tensor) and (a.dtype.is_complex or a.ndim == 0) for a in args
            ):
                continue
            real = outputs(op(*args, **sample.params))
            meta = [a.to("meta") if isinstance(a, Tensor) else a for a in args]
            for r, m in zip(real, outputs(op(*meta, **sample.params)), strict=True):
                assert (tuple(r.shape), r.dtype) == (tuple(m.shape), m.dtype), sample


@every_operator
def test_layout_does_not_matter(op: Op) -> None:
    for sample in testing.samples_of(op):
        expected = outputs(op(*sample.tensors(torch.float64), **sample.params))
        for name, layout in LAYOUTS.items():
            if op.name in READS_MEMORY:
                continue
            got = outputs(op(*sample.tensors(torch.float64, layout=layout), **sample.params))
            for g, e in zip(got, expected, strict=True):
                assert np.allclose(g.numpy(), e.numpy(), equal_nan=True), (name, sample)


@pytest.mark.parametrize(
    "op",
    [op for op in OPERATORS if op.name not in FROM_32_BIT and testing.serves(op, torch.bfloat16)],
    ids=lambda op: op.name,
)
def test_16_bit_results_are_rounded_float32_results(op: Op) -> None:
    for sample in testing.samples_of(op):
        args = sample.tensors(torch.bfloat16)
        wide = [
            a.to(torch.float32) if isinstance(a, Tensor) and a.dtype is torch.bfloat16 else a
            for a in args
        ]
        for g, e in zip(
            outputs(op(*args, **sample.params)), outputs(op(*wide, **sample.params)), strict=True
        ):
            if g.dtype is torch.bfloat16:
                testing.assert_close(
                    g.float(), e.bfloat16().float(), rtol=1.6e-2, atol=1e-2, equal_nan=True
                )


def differentiable(op: Op, sample: testing.Sample) -> list[Tensor] | None:
    """The sample's float64 inputs that require grad, where finite differences apply."""
    if (op.rules is None and op.ref is None) or not sample.smooth:
        return None
    args = sample.tensors(torch.float64)
    size = sum(a._data.size for a in args if isinstance(a, Tensor))
    if size > LIMIT or not any(isinstance(a, Tensor) and a.dtype is torch.float64 for a in args):
        return None
    rules = op.rules.rules if op.rules is not None and not op.rules.joint else ()
    for i, a in enumerate(args):
        fixed = i < len(rules) and rules[i] is None
        if isinstance(a, Tensor) and a.dtype is torch.float64 and not fixed:
            a.requires_grad_()
    return args


@every_operator
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck], ids=["first", "second"])
def test_gradients(op: Op, check: object) -> None:
    for sample in testing.samples_of(op):
        args = differentiable(op, sample)
        if args is None or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            continue
        assert check(lambda *xs, s=sample: op(*xs, **s.params), args), sample  # type: ignore


@pytest.mark.parametrize(
    "op", [op for op in OPERATORS if op.ref and op.cpu], ids=lambda op: op.name
)
def test_fused_operator_equals_its_reference(op: Op) -> None:
    for sample in testing.samples_of(op):
        args = sample.tensors(torch.float64)
        with torch.no_grad():
            got, ref = op(*args, **sample.params), op.ref(*args, **sample.params)
        for g, e in zip(outputs(got), outputs(ref), strict=True):
            testing.assert_close(g, e, equal_nan=True)


@every_operator
def test_what_is_no_tensor_is_an_error_that_names_the_operator(op: Op) -> None:
    with pytest.raises(TypeError, match=op.name):
        op("not a tensor", **testing.samples_of(op)[0].params)


def test_samples_do_not_share_memory_with_results() -> None:
    x = torch.tensor([1.0, 2.0])
    assert clone(x).data_ptr() != x.data_ptr()
