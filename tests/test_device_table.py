"""The table over all operators on a device: the same calls as on the CPU, through the kernels.

In Triton's interpreter (TRITORCH_EXECUTOR=interpreter, a process of its own), on a GPU where there
is one, and compiled ahead of time for targets that need not be present. Fresh device memory is
filled with NaN, so an output that a kernel does not write is seen.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import compile_ahead
import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine, testing
from tritorch.op import Op
from tritorch.runtime import memory
from tritorch.tensor import Tensor

OPERATORS = [op for op in testing.operators() if not op.is_view and op.triton is not None]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LAYOUTS = {"contiguous": None, "transposed": testing.transposed, "gapped": testing.gapped}
# Inputs of derivatives that only the forward's kernels make.
KEPT = ("mean", "rstd", "lse", "total", "gates", "cells", "alpha", "beta")
# Relative and absolute tolerances: the kernels' own exp, log and sums against NumPy's.
TOLERANCE = {"float32": (2e-5, 2e-5), "float16": (2e-3, 2e-3), "bfloat16": (2e-2, 2e-2)}


def outputs(result: object) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]  # type: ignore[list-item]


def copied(a: object) -> object:
    """A tensor of the same strides and values in memory of its own."""
    if not isinstance(a, Tensor):
        return a
    span = sum((n - 1) * s for n, s in zip(a.shape, a.stride())) + 1 if a.numel() else 0
    other = torch.zeros(span, dtype=a.dtype, device=a.device).as_strided(a.shape, a.stride())
    return other.copy_(a) if a.numel() and 0 not in a.stride() else a.clone()


def bits(a: Tensor) -> np.ndarray:
    a = torch.view_as_real(a) if a.is_complex() else a
    return np.ascontiguousarray(a.cpu().numpy()).view(np.uint8)


def placed(a: Tensor, name: str | None) -> Tensor:
    """On the device with the same strides; what a forward kept is dense."""
    return a.contiguous().cuda() if name in KEPT else testing.placed(a, "cuda")


def calls(
    op: Op, dtype: torch.dtype, layout: str
) -> Iterator[tuple[testing.Sample, list, list, dict]]:
    """The samples: what each is, its inputs on the CPU and on the device, parameters there."""
    for sample in testing.samples_of(op):
        args = sample.tensors(dtype, layout=LAYOUTS[layout])
        if any(isinstance(a, Tensor) and a.is_complex() for a in args):
            continue
        params = {
            k: torch.device("cuda:0") if k == "device" else v for k, v in sample.params.items()
        }
        there = [
            placed(a, name) if isinstance(a, Tensor) else a
            for a, name in itertools.zip_longest(args, op.inputs)
        ]
        yield sample, args, there, params


def check(op: Op, dtype: torch.dtype, layout: str) -> None:
    spine.FALLBACKS.clear()
    for sample, args, there, params in calls(op, dtype, layout):
        with torch.no_grad():
            expected, got = outputs(op(*args, **sample.params)), outputs(op(*there, **params))
            again = outputs(op(*[copied(a) for a in there], **params))
        rtol, atol = TOLERANCE[dtype.name]
        for g, h in zip(got, again, strict=True):
            # launches done again, on other memory: the same bits
            assert np.array_equal(bits(g), bits(h)), sample
        for g, e in zip(got, expected, strict=True):
            assert g.is_cuda, "the result left the device"
            assert (tuple(g.shape), g.dtype) == (tuple(e.shape), e.dtype), sample
            wide = torch.complex128 if e.is_complex() else torch.float64
            a, b = g.cpu().to(wide).numpy(), e.to(wide).numpy()
            assert np.allclose(a, b, rtol, atol, equal_nan=True), (sample, np.abs(a - b).max())
    assert not spine.FALLBACKS, f"{op.name}: ran on the host"


cases = [
    pytest.param(op, dtype, layout, id=f"{op.name}-{dtype.name}-{layout}")
    for op in OPERATORS
    for dtype, layout in (
        *((d, "contiguous") for d in DTYPES),
        (torch.float32, "transposed"),
        (torch.float32, "gapped"),
    )
    if testing.serves(op, dtype)
]


@pytest.fixture(scope="session")
def compiled_ahead(request: pytest.FixtureRequest) -> None:
    """All kernels of the cases in Triton's cache: one process would compile for half an hour."""
    chosen = [item for item in request.session.items if "compiled_ahead" in item.fixturenames]
    compile_ahead.by_all_cores(dict.fromkeys(item.callspec.params["op"].name for item in chosen))


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
@pytest.mark.parametrize(("op", "dtype", "layout"), cases)
def test_interpreted(op: Op, dtype: torch.dtype, layout: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the interpreter's NumPy
        check(op, dtype, layout)


@pytest.mark.gpu
@pytest.mark.skipif(memory.interpreted() or not memory.available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("compiled_ahead")
@pytest.mark.parametrize(("op", "dtype", "layout"), cases)
def test_on_gpu(op: Op, dtype: torch.dtype, layout: str) -> None:
    try:
        check(op, dtype, layout)
    except ModuleNotFoundError as missing:
        pytest.skip(f"{op.name} of the CPU needs {missing.name}")


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
def test_a_network_trains_on_the_device() -> None:
    def losses(device: str) -> list[float]:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        x = torch.tensor(rng.standard_normal((8, 5)), dtype=torch.float32, device=device)
        y = torch.tensor(rng.integers(0, 3, 8), device=device)
        w = torch.tensor(rng.standard_normal((3, 5)) * 0.5, dtype=torch.float32, device=device)
        w.requires_grad_()
        found = []
        for _ in range(3):
            loss = torch.nn.functional.cross_entropy(torch.nn.functional.linear(x.tanh(), w), y)
            (g,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= 0.5 * g
            found.append(loss.item())
        return found

    assert np.allclose(losses("cuda"), losses("cpu"), rtol=1e-5)


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
def test_an_operator_without_a_kernel_falls_back_with_one_warning() -> None:
    spine.FALLBACKS.clear()
    plain = Op("test_fallback", ("x",), meta=spine.same_as("x"), cpu=lambda x: x * 3)
    try:
        x = torch.ones(3, device="cuda")
        with pytest.warns(UserWarning, match="test_fallback: no Triton kernel"):
            y = plain(x)
        assert plain(x).is_cuda and y.cpu().tolist() == [3, 3, 3]
        assert spine.FALLBACKS["test_fallback"] == 2
    finally:
        del spine.REGISTRY["test_fallback"]


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
def test_channels_stay_last() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((2, 5, 4, 3))).to("cuda").permute(0, 3, 1, 2)
    w = torch.from_numpy(rng.standard_normal((6, 3, 3, 3))).to("cuda").requires_grad_()
    x = x.detach().requires_grad_()
    y = (torch.nn.functional.conv2d(x, w, padding=1) * 2).relu()
    assert y.stride() == (120, 1, 24, 6)
    (g,) = torch.autograd.grad(y.sum(), x)
    plain = x.detach().cpu().contiguous().requires_grad_()
    z = (torch.nn.functional.conv2d(plain, w.detach().cpu(), padding=1) * 2).relu()
    (h,) = torch.autograd.grad(z.sum(), plain)
    assert np.allclose(y.detach().cpu().numpy(), z.detach().numpy())
    assert np.allclose(g.cpu().numpy(), h.numpy())
