"""Memory formats and layouts: which strides a copy, a cast and a new tensor get."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch

LAST, LAST3D = (60, 1, 15, 3), (360, 1, 90, 18, 3)


def test_copies_take_the_format_asked_for() -> None:
    x = torch.arange(120).reshape(2, 3, 4, 5)
    assert x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last)
    y = x.contiguous(memory_format=torch.channels_last)
    assert y.stride() == LAST and torch.equal(x, y)
    assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    assert y.contiguous(memory_format=torch.channels_last) is y
    assert y.to(memory_format=torch.channels_last) is y and y.to(torch.int64) is y
    assert y.to(torch.int64, copy=True) is not y and y.to(torch.int64, False, True) is not y
    for kept in (y.clone(), y.double(), y.to(torch.float32), torch.empty_like(y), y.cpu()):
        assert kept.stride() == LAST
    plain = torch.contiguous_format
    for moved in (y.clone(memory_format=plain), y.double(memory_format=plain)):
        assert moved.stride() == x.stride() and torch.equal(moved.long(), x)
    assert torch.zeros_like(y, memory_format=plain).stride() == x.stride()
    assert torch.empty(2, 3, 4, 5, memory_format=torch.channels_last).stride() == LAST
    z = torch.empty(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert z.stride() == LAST3D and z.is_contiguous(memory_format=torch.channels_last_3d)
    assert not z[0].is_contiguous(memory_format=torch.channels_last)


def test_formats_that_do_not_fit_are_refused() -> None:
    x = torch.ones(2, 3)
    assert not x.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last"):
        x.contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="required rank 5 tensor"):
        x.clone(memory_format=torch.channels_last_3d)
    with pytest.raises(RuntimeError, match="preserve memory format is unsupported"):
        x.contiguous(memory_format=torch.preserve_format)
    with pytest.raises(TypeError, match=r"must be tritorch.memory_format, not str"):
        x.clone(memory_format="contiguous")
    with pytest.raises(NotImplementedError, match=r"layout tritorch.sparse_coo do not exist"):
        torch.zeros(2, layout=torch.sparse_coo)
    with pytest.raises(TypeError, match=r"must be tritorch.layout, not str"):
        torch.empty(2, layout="strided")
    assert torch.zeros(2, layout=torch.strided).layout is torch.strided


def test_constants_are_values_of_their_own() -> None:
    for c in (torch.strided, torch.sparse_coo, torch.contiguous_format, torch.channels_last):
        assert pickle.loads(pickle.dumps(c)) is c and copy.deepcopy(c) is c
    assert repr(torch.preserve_format) == "tritorch.preserve_format"
    assert isinstance(torch.channels_last, torch.memory_format)
    assert isinstance(torch.sparse_csr, torch.layout)


IMAGE, VOLUME = (2, 4, 6, 5), (2, 4, 3, 5, 6)


def filters(lib: Any, *shape: int) -> Any:
    """Filters of an ordinary order."""
    return lib.tensor(np.random.RandomState(1).standard_normal(shape).astype(np.float32))


# What PyTorch gives for channels last: mostly the same, with exceptions.
FORMATS: dict[str, Callable] = {
    "conv2d": lambda m, f, x: f.conv2d(x, filters(m, 3, 4, 3, 3)),
    "conv2d 1x1": lambda m, f, x: f.conv2d(x, filters(m, 3, 4, 1, 1), m.ones(3)),
    "conv2d strided": lambda m, f, x: f.conv2d(x, filters(m, 3, 4, 3, 3), m.ones(3), 2, 1),
    "conv2d dilated": lambda m, f, x: f.conv2d(x, filters(m, 3, 4, 2, 3), None, (1, 2), 2, 2),
    "conv2d grouped": lambda m, f, x: f.conv2d(x, filters(m, 4, 2, 3, 3), None, 1, 1, 1, 2),
    "conv2d depthwise": lambda m, f, x: f.conv2d(x, filters(m, 4, 1, 3, 3), None, 1, 1, 1, 4),
    "conv2d filters": lambda m, f, x: f.conv2d(
        x.contiguous(), filters(m, 3, 4, 3, 3).contiguous(memory_format=m.channels_last)
    ),
    "conv_transpose2d": lambda m, f, x: f.conv_transpose2d(x, filters(m, 4, 3, 3, 3), None, 2),
    "conv3d": lambda m, f, x: f.conv3d(x, filters(m, 3, 4, 2, 2, 2)),
    "conv_transpose3d": lambda m, f, x: f.conv_transpose3d(x, filters(m, 4, 3, 2, 2, 2)),
    "batch_norm": lambda m, f, x: f.batch_norm(x, m.zeros(4), m.ones(4), training=True),
    "batch_norm, known": lambda m, f, x: f.batch_norm(x, m.zeros(4), m.ones(4), m.ones(4)),
    "batch_norm 3d": lambda m, f, x: f.batch_norm(x, m.zeros(4), m.ones(4), training=True),
    "instance_norm": lambda m, f, x: f.instance_norm(x),
    "group_norm": lambda m, f, x: f.group_norm(x, 2, m.ones(4), m.ones(4)),
    "group_norm 3d": lambda m, f, x: f.group_norm(x, 2),
    "layer_norm": lambda m, f, x: f.layer_norm(x, (5,)),
    "rms_norm": lambda m, f, x: f.rms_norm(x, (5,)),
    "local_response_norm": lambda m, f, x: f.local_response_norm(x, 2),
    "nearest": lambda m, f, x: f.interpolate(x, scale_factor=2),
    "bilinear": lambda m, f, x: f.interpolate(x, scale_factor=2, mode="bilinear"),
    "bicubic": lambda m, f, x: f.interpolate(x, (3, 7), mode="bicubic"),
    "area": lambda m, f, x: f.interpolate(x, (3, 2), mode="area"),
    "antialias": lambda m, f, x: f.interpolate(x, (3, 3), mode="bilinear", antialias=True),
    "trilinear 3d": lambda m, f, x: f.interpolate(x, scale_factor=2, mode="trilinear"),
    "max_pool2d": lambda m, f, x: f.max_pool2d(x, 2, 1, 1),
    "max_pool2d, indices": lambda m, f, x: f.max_pool2d(x, 3, 2, 1, return_indices=True),
    "max_pool3d": lambda m, f, x: f.max_pool3d(x, 2),
    "max_pool3d, indices": lambda m, f, x: f.max_pool3d(x, 2, return_indices=True),
    "avg_pool2d": lambda m, f, x: f.avg_pool2d(x, 2),
    "avg_pool2d, borders": lambda m, f, x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool3d": lambda m, f, x: f.avg_pool3d(x, 2),
    "lp_pool2d": lambda m, f, x: f.lp_pool2d(x.abs() + 1, 2, 2),
    "adaptive_avg_pool2d": lambda m, f, x: f.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive_avg_pool2d, 1": lambda m, f, x: f.adaptive_avg_pool2d(x, 1),
    "adaptive_max_pool2d": lambda m, f, x: f.adaptive_max_pool2d(x, (4, 2), True),
    "adaptive_avg_pool3d": lambda m, f, x: f.adaptive_avg_pool3d(x, (3, 2, 2)),
    "adaptive_avg_pool3d, 1": lambda m, f, x: f.adaptive_avg_pool3d(x, 1),
    "adaptive_max_pool3d": lambda m, f, x: f.adaptive_max_pool3d(x, (3, 2, 2)),
    "cat": lambda m, f, x: m.cat([x, x], 1),
    "cat, rows": lambda m, f, x: m.cat([x, x * 2], 2),
    "cat, mixed": lambda m, f, x: m.cat([x, x.contiguous()], 1),
    "cat 3d": lambda m, f, x: m.cat([x, x], 1),
    "stack": lambda m, f, x: m.stack([x, x * 2]),
    "stack, channels": lambda m, f, x: m.stack([x, x * 2], 1),
    "stack, rows": lambda m, f, x: m.stack([x, x * 2, x], 2),
    "stack, last": lambda m, f, x: m.stack([x, x * 2], -1),
    "stack, mixed": lambda m, f, x: m.stack([x, x.contiguous()], 1),
    "stack, large": lambda m, f, x: m.stack([x.repeat(9, 9, 9, 9)] * 2, 1),
    "stack 3d": lambda m, f, x: m.stack([x, x * 2], 1),
    "pixel_shuffle": lambda m, f, x: f.pixel_shuffle(m.cat([x, x], 1), 2),
    "pixel_unshuffle": lambda m, f, x: f.pixel_unshuffle(x[..., :4], 2),
    "channel_shuffle": lambda m, f, x: f.channel_shuffle(x, 2),
    "pad": lambda m, f, x: f.pad(x, (1, 2, 0, 1)),
    "pad, reflect": lambda m, f, x: f.pad(x, (1, 1, 2, 1), "reflect"),
    "pad, replicate": lambda m, f, x: f.pad(x, (1, 1, 1, 1), "replicate"),
    "pad, circular": lambda m, f, x: f.pad(x, (1, 1, 1, 1), "circular"),
    "pad, replicate 3d": lambda m, f, x: f.pad(x, (1, 1, 1, 1, 1, 1), "replicate"),
    "grid_sample": lambda m, f, x: f.grid_sample(x, m.zeros(2, 3, 3, 2), align_corners=False),
    "roll": lambda m, f, x: x.roll(1, 2),
    "rot90": lambda m, f, x: x.rot90(1, (2, 3)),
    "frexp": lambda m, f, x: m.frexp(x),
    "complex": lambda m, f, x: m.complex(x, x),
    "dropout2d": lambda m, f, x: f.dropout2d(x, 0.5) * 0,
    "glu": lambda m, f, x: f.glu(x, 1),
    "softmax": lambda m, f, x: f.softmax(x, 1),
    "unfold": lambda m, f, x: f.unfold(x, 2),
    "logsigmoid": lambda m, f, x: f.logsigmoid(x),
    "rrelu": lambda m, f, x: f.rrelu(x),
    "rrelu, drawn": lambda m, f, x: f.rrelu(x, 0.25, 0.25, training=True),
    "renorm": lambda m, f, x: m.renorm(x, 2, 1, 1.0),
    "mse_loss": lambda m, f, x: f.mse_loss(x, x * 0, reduction="none"),
}


def in_format(lib: Any, name: str, f: Callable, last: bool = True) -> tuple[list, Any]:
    """The results for an input with channels last, or an ordinary one, and its gradient."""
    shape = VOLUME if "3d" in name else IMAGE
    values = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    form = lib.channels_last if len(shape) == 4 else lib.channels_last_3d
    x = lib.tensor(values).contiguous(memory_format=form if last else lib.contiguous_format)
    made = f(lib, lib.nn.functional, x.requires_grad_())
    outs = list(made) if isinstance(made, tuple | list) else [made]
    outs[0].backward(lib.ones_like(outs[0]) * (outs[0].detach() + 1))
    return outs, x.grad


def forms(lib: Any, x: Any) -> tuple:
    known = lib.contiguous_format, lib.channels_last, lib.channels_last_3d
    return tuple(x.stride()), [x.is_contiguous(memory_format=f) for f in known]


@pytest.mark.oracle
@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_results_are_pytorchs(name: str) -> None:
    theirs = pytest.importorskip("torch")
    want, want_grad = in_format(theirs, name, FORMATS[name])
    got, grad = in_format(torch, name, FORMATS[name])
    for g, w in zip(got, want, strict=True):
        assert forms(torch, g) == forms(theirs, w), name
    assert grad.stride() == want_grad.stride()


@pytest.mark.parametrize("name", FORMATS)
def test_channels_last_give_the_same_values(name: str) -> None:
    got, grad = in_format(torch, name, FORMATS[name])
    want, want_grad = in_format(torch, name, FORMATS[name], last=False)
    for g, w in zip([*got, grad], [*want, want_grad], strict=True):
        assert g.shape == w.shape and torch.allclose(g, w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 40, 50), (9, 5, 7, 7), (1, 3, 200, 300)])
@pytest.mark.parametrize("how", [(1, 0), (1, 1), (2, 1)])
def test_large_convolutions_with_channels_last(shape: tuple, how: tuple) -> None:
    """Several blocks of windows: of images, and of rows of one."""
    values = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    results = []
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.tensor(values).contiguous(memory_format=form).requires_grad_()
        w = filters(torch, 6, shape[1], 3, 3).requires_grad_()
        out = torch.nn.functional.conv2d(x, w, torch.ones(6), *how)
        out.backward(out.detach())
        results.append((out, x.grad, w.grad))
        assert out.is_contiguous(memory_format=form)
        assert w.grad.is_contiguous()
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))


def test_a_gradient_lies_in_memory_as_its_leaf() -> None:
    x = torch.ones(3, 2).t().requires_grad_()
    (x * torch.ones(2, 3)).sum().backward()
    assert x.grad.stride() == (1, 2)
    y = torch.ones(2, 3, requires_grad=True)
    (y.t() * torch.ones(3, 2)).sum().backward()
    assert y.grad.stride() == (3, 1)
    gapped = torch.ones(2, 6)[:, ::2].requires_grad_()
    gapped.sum().backward()
    assert gapped.grad.stride() == (3, 1)
