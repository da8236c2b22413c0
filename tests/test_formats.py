"""Memory formats and layouts: which strides a copy, a cast and a new tensor get."""

from __future__ import annotations

import copy
import pickle

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
