"""What CONTRIBUTING.md promises to a file outside the package: its code runs, word for word."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine, testing
from tritorch.autograd import gradcheck, gradgradcheck
from tritorch.autograd.mode import outside, transform
from tritorch.op import Op, same_as
from tritorch.ops import api
from tritorch.ops.elementwise import Elementwise
from tritorch.runtime import memory
from tritorch.tensor import Tensor

ROOT = Path(__file__).parent.parent
KERNELS = """
import triton
import triton.language as tl

@triton.jit
def wave(x):
    return tl.sin(x)

@triton.jit
def double_kernel(p_out, p_x, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, 2 * tl.load(p_x + o, mask=o < n), mask=o < n)

def double(launch, out, x):
    if not x.is_contiguous():
        return NotImplemented
    launch(double_kernel, (triton.cdiv(x.size, 16),), [out, x, x.size], {"BLOCK": 16})
"""
DEVICE = """
import numpy as np
from tritorch.device import device
from tritorch.runtime.memory import Memory, Runtime, Target

def host(a):
    strides = tuple(s * a.itemsize for s in a.strides)
    return np.ndarray(a.shape, a.dtype.np, a.memory.buffer, a.offset * a.itemsize, strides)

class Own(Runtime):
    def device_count(self): return 1
    def current_device(self): return 0
    def set_device(self, index): pass
    def target(self, index=None): return Target("cuda", 90, 1, 1 << 16)
    def synchronize(self, index=None): pass
    def copy_to_host(self, array): return host(array).copy()
    def copy_from_host(self, source, target): host(target)[...] = source
    def copy(self, source, target): host(target)[...] = host(source).reshape(target.shape)
    def fill(self, array, byte): host(array).reshape(-1).view(np.uint8)[...] = byte
    def execute(self, kernel, grid, args, constants, warps, stages): raise NotImplementedError

    def allocate(self, nbytes, index=None):
        buffer = np.empty(max(nbytes, 1), np.uint8)
        memory = Buffered(buffer.ctypes.data, nbytes, device("cuda", 0))
        memory.buffer = buffer
        return memory

class Buffered(Memory):
    pass
"""


def blocks() -> tuple[str, str]:
    """The code of CONTRIBUTING.md: operators and transforms, and kernels."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    kernels = [b for b in found if "@triton.jit" in b]
    return "\n".join(b for b in found if b not in kernels), "\n".join(kernels)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A user's two files, imported; what they registered is gone afterwards."""
    folder = tmp_path_factory.mktemp("own")
    operators, kernels = blocks()
    (folder / "own_ops.py").write_text(operators)
    (folder / "own_kernels.py").write_text(kernels + KERNELS)
    before = dict(spine.REGISTRY), dict(api.PUBLIC), dict(Tensor.__dict__)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("own_ops")
    finally:
        sys.path.remove(str(folder))
        for known, was in zip((spine.REGISTRY, api.PUBLIC), before[:2], strict=True):
            for name in set(known) - set(was):
                del known[name]
            known.update(was)  # type: ignore[call-overload]
        for name in set(Tensor.__dict__) - set(before[2]):
            delattr(Tensor, name)
        for name, value in before[2].items():
            if Tensor.__dict__[name] is not value:
                setattr(Tensor, name, value)
        for name in ("own_ops", "own_kernels"):
            sys.modules.pop(name, None)


def records(own: ModuleType) -> list[Op]:
    return [own.gaussian.op, own.wave.op, own.gather_op, own.backwards, own.log_cosh]


def test_the_code_needs_no_triton_to_be_declared(own: ModuleType) -> None:
    assert own.results == {name: 3 for name in ("gaussian", "abs", "add", "div")}


def test_operators_agree_with_their_rules(own: ModuleType) -> None:
    for op in records(own):
        for sample in testing.samples_of(op):
            args = sample.tensors(torch.float64)
            out = op(*args, **sample.params)
            if op.meta is not None:
                assert tuple(op.meta(*args, **sample.params)[0]) == tuple(out.shape)
            if 0 < out.numel() < 20 and args[0].ndim:
                wanted = [a.requires_grad_() if a.is_floating_point() else a for a in args]

                def call(*xs: Any, op: Op = op, params: dict = sample.params) -> Tensor:
                    return op(*xs, **params)

                assert gradcheck(call, wanted) and gradgradcheck(call, wanted)


def test_an_elementwise_operator_has_all_its_forms(own: ModuleType) -> None:
    x = torch.linspace(-1, 1, 5)
    expected = np.exp(-(x.numpy() ** 2))
    out = torch.empty(0)
    forms = [own.gaussian(x), x.gaussian(), own.gaussian(x, out=out), out, x.clone().gaussian_()]
    for got in [*forms, own.gaussian(x.half()).float()]:
        assert np.allclose(got.numpy(), expected, atol=1e-3)
    with pytest.raises(TypeError, match="gaussian: takes tensors and numbers by position"):
        own.gaussian.op(x, width=2)


def test_an_elementwise_operator_declared_again_takes_the_place_of_the_first(
    own: ModuleType,
) -> None:
    source = """
import numpy as np
from tritorch.ops.api import unary

def times(x, out=None):
    return np.multiply(x, {0}, out=out)

test_times = unary("test_times", times, vjp=lambda g, x: {0} * g)
"""
    cell: dict[str, Any] = {"__name__": "a_notebook"}
    for factor in (2.0, 3.0):
        exec(source.format(factor), cell)
        x = torch.ones(1, requires_grad=True)
        cell["test_times"](x).backward()
        assert x.grad.item() == x.test_times().item() == factor
    with pytest.raises(ValueError, match="an operator named 'test_times' is registered already"):
        exec(source.format(4.0), {"__name__": "another"})


def test_a_rule_names_only_what_the_operator_has() -> None:
    def scaled(x: Tensor, *, by: float) -> Tensor:
        return x * by

    found = r"test_rule: a rule of its derivative asks for {!r}; here the inputs are called {}, the"
    with pytest.raises(ValueError, match=found.format("a", "x, y")):
        api.binary("test_rule", lambda x, a: x * a, vjp=(lambda g, a: g * a, lambda g, x: g * x))
    with pytest.raises(ValueError, match=found.format("input", "x")):
        api.unary("test_rule", np.sin, vjp=lambda g, input: g * input.cos())
    with pytest.raises(ValueError, match=found.format("beta", "x")):
        Op("test_rule", ("x",), ref=scaled, vjp=lambda g, beta: g * beta)
    assert "test_rule" not in spine.REGISTRY
    op = Op("test_rule", ("x",), ref=scaled, vjp=lambda g, by: g * by)
    del spine.REGISTRY["test_rule"]
    x = torch.ones(2, requires_grad=True)
    op(x, by=3.0).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_a_view_shares_memory_and_history(own: ModuleType) -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    own.backwards(y).mul_(torch.tensor([1.0, 2.0, 3.0]))
    y.sum().backward()
    assert x.grad.tolist() == [3, 2, 1]


def test_a_composition_has_shapes_without_memory(own: ModuleType) -> None:
    assert own.log_cosh(torch.ones(2, 3, device="meta"), beta=2.0).shape == (2, 3)


def test_same_as_means_the_input_of_that_name() -> None:
    with pytest.raises(ValueError, match="test_same: has no input 'z', only x, y"):
        Op("test_same", ("x", "y"), meta=same_as("z"))
    assert "test_same" not in spine.REGISTRY
    rule = same_as("y").rule("test_same", ("x", "y"))
    assert rule(torch.ones(2), torch.ones(3, dtype=torch.int32)) == ((3,), torch.int32)


class Jvp:
    """Forward mode for views and elementwise operators."""

    def __init__(self, x: Tensor, tangent: Tensor) -> None:
        self.tangents = {id(x): (x, tangent)}

    def of(self, x: Any) -> Tensor | None:
        return self.tangents.get(id(x), (None, None))[1]

    def __call__(self, op: Any, inputs: tuple, params: dict) -> Any:
        with outside():
            out = op(*inputs, **params)
            known = [self.of(x) for x in inputs]
            if any(t is not None for t in known):
                if op.is_view:
                    tangent = op(known[0], **params)
                elif isinstance(op, Elementwise):
                    tangent = self.through(op, inputs, out, known)
                else:
                    raise NotImplementedError(op.name)
                self.tangents[id(out)] = out, tangent
        return out

    def through(self, op: Elementwise, inputs: tuple, out: Tensor, known: list) -> Any:
        """An elementwise derivative is a factor, so its rule serves tangents too."""
        total: Any = 0
        for i, tangent in enumerate(known):
            if tangent is not None:
                given = {"input": inputs, "output": (out,)}
                args = [given[kind][at] for kind, _, at in op.rules.names[i]]
                total = total + op.rules.rules[i](tangent, *args)
        return total


def test_forward_mode_as_a_transform(own: ModuleType) -> None:
    def f(x: Tensor) -> Tensor:
        return (own.gaussian(x) * own.wave(x) / (x + 3))[1:]

    x, v, step = torch.rand(5).double(), torch.rand(5).double(), 1e-6
    forward = Jvp(x, v)
    with transform(forward):
        y = f(x)
    numeric = (f(x + step * v) - f(x - step * v)) / (2 * step)
    assert np.allclose(forward.of(y).numpy(), numeric.numpy(), atol=1e-8)
    with transform(Jvp(x, v)), pytest.raises(NotImplementedError, match="mul_"):
        x.mul_(2)


def test_a_transform_sees_in_place_and_out_forms() -> None:
    seen = []

    def handler(op: Any, inputs: tuple, params: dict) -> Any:
        seen.append(op.name)
        with outside():
            return op(*inputs, **params)

    x, out = torch.ones(2), torch.empty(2)
    with transform(handler):
        x.add_(1)
        torch.mul(x, 3, out=out)
        x.unsqueeze_(0)
    assert seen == ["add_", "mul", "slice", "slice_"]  # a view of the view, then itself
    assert out.tolist() == [6, 6] and x.tolist() == [[2, 2]]


def test_a_device_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own_device.py").write_text(DEVICE)
    code = (
        "import tritorch as torch; x = torch.tensor([[1.0, 2.0]], device='cuda'); "
        "print(torch.cuda.is_available(), x.device, x.t()[0].item(), "
        "torch.zeros(2, device='cuda').tolist(), x.to('cpu').tolist())"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "TRITORCH_EXECUTOR": "own_device:Own"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "True cuda:0 1.0 [0.0, 0.0] [[1.0, 2.0]]", done.stderr


# -- kernels --------------------------------------------------------------------------------------

interpreted = pytest.mark.skipif(
    not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
)


def on_device(op: Any, *inputs: Any, **params: Any) -> np.ndarray:
    """The result of the kernels; none of them may have been replaced by the host."""
    spine.FALLBACKS.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the interpreter's NumPy
        out = op(*[x.cuda() if isinstance(x, Tensor) else x for x in inputs], **params)
    assert out.is_cuda and not spine.FALLBACKS
    return out.cpu().numpy()


@pytest.mark.interpreter
@interpreted
def test_kernels_of_ones_own(own: ModuleType) -> None:
    x, index = torch.linspace(-1, 1, 21), torch.tensor([3, 0])
    kernels = importlib.import_module("own_kernels")
    given = Elementwise("test_given", ("x",), np.sin, body=kernels.wave)
    double = Op("test_double", ("x",), meta=same_as("x"), triton="own_kernels:double", cpu=np.add)
    for op, expected in (
        (own.wave, np.sin(x.numpy())),
        (given, np.sin(x.numpy())),
        (double, 2 * x.numpy()),
        (own.backwards, x.numpy()[::-1]),
    ):
        assert np.allclose(on_device(op, x), expected, atol=1e-6)
    assert np.allclose(on_device(own.gather_op, x, index, dim=0), x.numpy()[[3, 0]])
    assert np.allclose(
        on_device(own.log_cosh, x, beta=2.0), own.log_cosh(x, beta=2.0).numpy(), atol=1e-6
    )


@pytest.mark.interpreter
@interpreted
def test_without_a_body_the_host_serves_and_the_warning_names_this_line(own: ModuleType) -> None:
    spine.FALLBACKS.clear()
    x = torch.ones(3, device="cuda")
    with pytest.warns(UserWarning, match="gaussian: no Triton kernel") as seen:
        y = own.gaussian(x)
    assert seen[0].filename == __file__
    assert y.is_cuda and np.allclose(y.cpu().numpy(), np.exp(-1.0))
    z = torch.ones(2, dtype=torch.complex64).cuda()
    with pytest.warns(UserWarning, match="sqrt: no Triton kernel"):
        assert z.sqrt().cpu().tolist() == [1, 1]
    spine.FALLBACKS.clear()
