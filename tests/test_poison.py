"""Fresh host memory full of NaN changes no result: nothing is read that was not written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.op import Op
from tritorch.ops import lines
from tritorch.runtime import host
from tritorch.tensor import Tensor

F = torch.nn.functional
N = 30_000  # elements: more than a small array has, so that memory comes from the pool


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


LARGE: dict[str, Callable[[Tensor], Any]] = {
    "arithmetic": lambda x: x * 2 + x.exp() / 3 - x.abs().sqrt(),
    "activations": lambda x: F.gelu(x) + F.silu(x) + F.softplus(x),
    "comparison": lambda x: torch.where(x > 0, x, -x),
    "16 bit": lambda x: (x.bfloat16() * 3).float(),
    "sums": lambda x: (x.sum(0), x.sum(1), x.var(1), x.logsumexp(1)),
    "extremes": lambda x: (x.amax(0), x.argmax(1), x.median(1).values),
    "scans": lambda x: (x.cumsum(0), x.cumsum(1), x.cummax(1).values, x.cumprod(1)),
    "order": lambda x: (x.sort(1).values, x.topk(5, 1).values),
    "softmax": lambda x: (x.softmax(1), x.log_softmax(0)),
    "product": lambda x: x @ x.t()[:, :40],
    "norms": lambda x: (F.layer_norm(x, (300,)), F.batch_norm(x, None, None, training=True)),
    "shape": lambda x: (torch.cat([x, x], 1), x.roll(3, 1), F.pad(x, (1, 2)), x.t().contiguous()),
    "index": lambda x: (x[::2, ::3].clone(), x.gather(1, x.argsort(1)), x[x > 0]),
    "image": lambda x: F.conv2d(x.reshape(1, 3, 100, 100), torch.ones(4, 3, 3, 3), padding=1),
    "pooling": lambda x: (
        F.max_pool2d(x.reshape(1, 3, 100, 100), 3, 2, 1),
        F.avg_pool2d(x.reshape(1, 3, 100, 100), 3, 2, 1),
    ),
    "resampling": lambda x: F.interpolate(x.reshape(1, 3, 100, 100), scale_factor=2.0),
    "attention": lambda x: attention(x.reshape(1, 4, 250, 30)),
    "transform": lambda x: torch.fft.rfft(x).abs(),
}


@contextlib.contextmanager
def poison() -> Iterator[None]:
    """Memory from the pool and from NumPy is filled; scratch memory of the loops is made anew."""
    empty, empty_like = np.empty, np.empty_like
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", lambda *a, **k: host.poison(empty(*a, **k)))
        patch.setattr(np, "empty_like", lambda *a, **k: host.poison(empty_like(*a, **k)))
        patch.setattr(host, "poisoned", True)
        patch.setattr(lines, "_buffers", type(lines._buffers)())
        yield


def results(call: Callable[[], Any]) -> list[np.ndarray]:
    """Copies of what comes out."""
    out = call()
    outs = out if isinstance(out, tuple | list) else [out]
    return [np.array(t.detach().numpy()) for t in outs if isinstance(t, Tensor)]


def unharmed(call: Callable[[], Any], what: object) -> None:
    """The call gives the same with poison and without."""
    want = results(call)
    with poison():
        found = results(call)
    for g, w in zip(found, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype, what
        same = (g == w) | ((g != g) & (w != w))
        assert same.all(), f"{what}: {np.sum(~same)} of {same.size} elements differ"


@pytest.mark.parametrize("op", testing.operators(), ids=lambda op: op.name)
def test_operators(op: Op) -> None:
    for s in testing.samples_of(op):
        unharmed(lambda s=s: op(*s.tensors(torch.float32), **s.params), s)


@pytest.mark.parametrize("name", LARGE)
def test_large_arrays(name: str) -> None:
    """Of memory from the pool, with gradients."""
    values = testing.Sampler(5).reals((100, 300)).astype(np.float32)

    def call() -> list[Tensor]:
        x = torch.from_numpy(values).requires_grad_()
        out = LARGE[name](x)
        outs = [t for t in (out if isinstance(out, tuple) else (out,)) if t.requires_grad]
        return [*outs, *torch.autograd.grad([t.sum() for t in outs], x)]

    unharmed(call, name)


def test_poison_is_there() -> None:
    """What reads fresh memory gives NaN: from the pool, where a buffer is used again, and small."""
    host.empty((N,), np.dtype(np.float32)).fill(1)
    with poison():
        for shape in ((N,), (3,)):
            assert np.isnan(host.empty(shape, np.dtype(np.float32))).all()
            assert np.isnan(torch.empty(shape).numpy()).all()
        assert (host.empty((2,), np.dtype(np.int64)) == -1).all()
    assert not np.isnan(host.zeros((N,), np.dtype(np.float32))).any()


def test_a_read_of_fresh_memory_is_found() -> None:
    def careless() -> Tensor:
        out = np.zeros(3, np.float32) if not host.poisoned else np.empty(3, np.float32)
        return torch.from_numpy(out)

    with pytest.raises(AssertionError, match="differ"):
        unharmed(careless, "planted")


def test_the_environment_asks_for_it() -> None:
    code = "from tritorch.runtime import host; import tritorch; print(host.poisoned)"
    env = {**os.environ, "TRITORCH_POISON": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert out.stdout.strip() == "True"
