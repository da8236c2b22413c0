"""Data parallelism in one process, on one device: a process here drives one GPU at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...device import device as Device
from ...ops.copy import to
from ...tensor import Tensor
from ..module import Module

Where = int | str | Device


def only_device(
    name: str, device_ids: Sequence[Where] | None, output_device: Where | None
) -> Device | None:
    """The only device that is named, or None where none is."""
    named = [] if device_ids is None else [Device(d) for d in device_ids]
    if len({(d.type, d.index or 0) for d in named}) > 1:
        raise NotImplementedError(
            f"{name}: splits over several devices do not exist here, got {device_ids}; name "
            "one device, or start a process for each"
        )
    if output_device is not None:
        named.append(Device(output_device))
    return named[0] if named else None


def moved(x: Any, place: Device) -> Any:
    """Tensors anywhere in the arguments on a device."""
    if isinstance(x, Tensor):
        return to(x, place)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(moved(v, place) for v in x))
    if isinstance(x, list | tuple):
        return type(x)(moved(v, place) for v in x)
    if isinstance(x, dict):
        return {k: moved(v, place) for k, v in x.items()}
    return x


class DataParallel(Module):
    """A module under the name `module`, whose inputs come to its device.

    What PyTorch's does with one device: the batch is not split. `device_ids` names that device;
    without, the module stays where it is.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Where] | None = None,
        output_device: Where | None = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.module = dim, module
        self.src_device_obj = only_device("DataParallel", device_ids, output_device)
        self.device_ids = [] if device_ids is None else list(device_ids)
        self.output_device = output_device
        if self.src_device_obj is not None:
            module.to(self.src_device_obj)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """`module(*inputs, **kwargs)`, on its device."""
        if self.src_device_obj is not None:
            inputs, kwargs = (
                moved(inputs, self.src_device_obj),
                moved(kwargs, self.src_device_obj),
            )
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Where] | None = None,
    output_device: Where | None = None,
    dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:
    """`module(*inputs, **module_kwargs)` on the one device of `device_ids`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    place = only_device("DataParallel", device_ids, output_device)
    kwargs = module_kwargs or {}
    if place is not None:
        inputs, kwargs = moved(inputs, place), moved(kwargs, place)
    return module(*inputs, **kwargs)
