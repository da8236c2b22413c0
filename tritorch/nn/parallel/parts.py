"""The parts of data parallelism: a batch cut and moved, a module copied, results put together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ...device import device as Device
from ...ops import join
from ...ops.copy import to
from ...tensor import Tensor
from ..module import Module

__all__ = ["gather", "parallel_apply", "replicate", "scatter", "scatter_kwargs"]


def scatter(inputs: Any, target_gpus: Sequence, dim: int = 0) -> Any:
    """Tensors cut along `dim`, a part for each device; anything else is given to all.

    Tensors may stand in tuples, lists and dicts. There are fewer parts than devices where the
    tensors are too short.

    Example:
        >>> import tritorch as torch
        >>> [a.tolist() for a in torch.nn.parallel.scatter(torch.arange(5), ["cpu", "cpu"])]
        [[0, 1, 2], [3, 4]]
    """
    devices = [Device(d) for d in target_gpus]
    parts = _scatter(inputs, devices, dim)
    return tuple(parts) if isinstance(inputs, Tensor) else list(parts)


def _scatter(x: Any, devices: list[Device], dim: int) -> Sequence:
    if isinstance(x, Tensor):
        return [to(part, d) for part, d in zip(x.chunk(len(devices), dim), devices)]
    if isinstance(x, tuple | list) and x:
        rows = zip(*(_scatter(v, devices, dim) for v in x))
        named = isinstance(x, tuple) and hasattr(x, "_fields")
        return [type(x)(*row) if named else type(x)(row) for row in rows]
    if isinstance(x, dict) and x:
        rows = zip(*(_scatter(v, devices, dim) for v in x.values()))
        return [type(x)(zip(x, row)) for row in rows]
    return [x] * len(devices)


def scatter_kwargs(
    inputs: tuple, kwargs: dict | None, target_gpus: Sequence, dim: int = 0
) -> tuple[tuple, tuple]:
    """Positional and keyword arguments cut at once: as many of the one as of the other."""
    first = scatter(inputs, target_gpus, dim) if inputs else []
    second = scatter(kwargs, target_gpus, dim) if kwargs else []
    first += [()] * (len(second) - len(first))
    second += [{}] * (len(first) - len(second))
    return tuple(first), tuple(second)


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """The results of several devices on one, concatenated along `dim`; scalars become a vector.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.parallel.gather([torch.zeros(1), torch.ones(2)], "cpu")
        tensor([0., 1., 1.])
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        parts = [to(x, Device(target_device)) for x in outputs]
        return join.stack(parts) if not first.ndim else join.cat(parts, dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(len(x) != len(first) for x in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((k, gather([x[k] for x in outputs], target_device, dim)) for k in first)
    columns = [gather(column, target_device, dim) for column in zip(*outputs)]
    named = hasattr(first, "_fields")
    return type(first)(*columns) if named else type(first)(columns)


def replicate(network: Module, devices: Sequence, detach: bool = False) -> list[Module]:
    """A copy of a module for each device, with one history: gradients reach its own parameters.

    What a copy's parameters are is a function of the parameters of `network`, unless `detach`.
    """
    return [_copy(network, Device(d), detach, {}) for d in devices]


def _copy(module: Module, device: Device, detach: bool, seen: dict[int, Module]) -> Module:
    if id(module) in seen:
        return seen[id(module)]
    new = seen[id(module)] = copy.copy(module)
    tensors = {n: None if p is None else to(p, device) for n, p in module._parameters.items()}
    if detach:
        tensors = {n: None if t is None else t.detach() for n, t in tensors.items()}
    new.__dict__["_parameters"] = tensors
    new.__dict__["_buffers"] = {
        n: None if b is None else to(b, device) for n, b in module._buffers.items()
    }
    new.__dict__["_modules"] = {
        n: None if m is None else _copy(m, device, detach, seen) for n, m in module._modules.items()
    }
    return new


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence,
    kwargs_tup: Sequence[dict] | None = None,
    devices: Sequence | None = None,
) -> list:
    """`modules[i](*inputs[i], **kwargs_tup[i])` for all i, with the inputs on `devices[i]`.

    One begins after the other; on GPUs they run beside each other, as kernels are only launched.
    """
    if len(modules) != len(inputs):
        raise ValueError(f"parallel_apply: {len(modules)} modules for {len(inputs)} inputs")
    for other in (kwargs_tup, devices):
        if other is not None and len(other) != len(modules):
            raise ValueError(f"parallel_apply: {len(other)} of {len(modules)} arguments")
    results = []
    for i, (module, arguments) in enumerate(zip(modules, inputs)):
        arguments = arguments if isinstance(arguments, tuple | list) else (arguments,)
        kwargs = kwargs_tup[i] if kwargs_tup else {}
        if devices is not None and devices[i] is not None:
            (arguments,), (kwargs,) = scatter_kwargs(tuple(arguments), kwargs, [devices[i]])
        results.append(module(*arguments, **kwargs))
    return results
