"""Generators of random numbers: the state of a stream, and the default one of each device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..device import device as Device
from ..runtime import random as streams
from ..tensor import Tensor, from_data
from .api import PUBLIC


class Generator(streams.Generator):
    """The position in a stream of random numbers: a seed and an offset.

    Example:
        >>> import tritorch as torch
        >>> g = torch.Generator().manual_seed(0)
        >>> a = torch.rand(2, generator=g)
        >>> bool((torch.rand(2, generator=g.manual_seed(0)) == a).all())
        True
    """

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()
        self.device = Device(device)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`."""
        super().manual_seed(seed)
        return self

    def get_state(self) -> Tensor:  # type: ignore[override]
        """Seed and offset as a uint8 tensor."""
        return from_data(super().get_state())

    def set_state(self, state: Any) -> Generator:
        """Continue where `get_state` was called."""
        if isinstance(state, Tensor):
            state = state.detach().cpu()._data  # type: ignore[attr-defined]
        elif not isinstance(state, np.ndarray):
            raise TypeError(f"expected a ByteTensor, but got {type(state).__name__}")
        super().set_state(state)
        return self

    def get_offset(self) -> int:
        """How many blocks of the stream are used."""
        return self._offset

    def set_offset(self, offset: int) -> Generator:
        """Move to another place of the stream."""
        with self._lock:
            self._offset = int(offset)
        return self

    def clone_state(self) -> Generator:
        """Another generator at the same place."""
        return Generator(self.device).set_state(self.get_state())

    graphsafe_get_state = clone_state

    def graphsafe_set_state(self, other: Generator) -> Generator:
        return self.set_state(other.get_state())

    def __getstate__(self) -> Any:
        return super().get_state().tobytes(), str(self.device)

    def __setstate__(self, state: Any) -> None:
        self.__init__(state[1])  # type: ignore[misc]
        self.set_state(np.frombuffer(state[0], np.uint8))


default_generator = Generator()
_defaults: dict[Device, Generator] = {Device("cpu"): default_generator}


def default(device: Device) -> Generator:
    """The generator of a device that functions without `generator=` use."""
    if device.type == "cpu":
        return default_generator
    key = Device(device.type, device.index or 0)
    if key not in _defaults:
        _defaults[key] = Generator(key).manual_seed(default_generator.initial_seed())
    return _defaults[key]


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; returns the CPU's."""
    for generator in _defaults.values():
        generator.manual_seed(int(seed))
    return default_generator


def seed() -> int:
    """Seed the default generators with a number from the operating system, and return it."""
    value = default_generator.seed()
    manual_seed(value)
    return value


def initial_seed() -> int:
    """The seed of the CPU's default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the CPU's default generator, a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the CPU's default generator."""
    default_generator.set_state(new_state)


def states() -> dict[Device, Tensor]:
    """The states of the default generators of all devices."""
    return {d: g.get_state() for d, g in _defaults.items()}


def restore(saved: dict[Device, Tensor]) -> None:
    """Set the default generators to states that `states` gave."""
    for d, state in saved.items():
        _defaults[d].set_state(state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, device_type: str = "cuda", **_: Any
) -> Iterator[None]:
    """A block after which the default generators are where they were before."""
    saved = states() if enabled else {}
    try:
        yield
    finally:
        restore(saved)


def take(n: int, bits: int, generator: Any, device: Device) -> dict[str, int]:
    """Seed and offset of `n` numbers of so many bits."""
    if generator is None:
        generator = default(device)
    elif not isinstance(generator, streams.Generator):
        raise TypeError(
            f"argument 'generator' must be tritorch.Generator, not {type(generator).__name__}"
        )
    place = getattr(generator, "device", device).type
    if place != device.type and device.type != "meta":
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found '{place}'"
        )
    seed, offset = generator.take(streams.blocks(n, bits))
    return {"seed": seed, "offset": offset}


for _f in (Generator, manual_seed, seed, initial_seed, get_rng_state, set_rng_state):
    PUBLIC[_f.__name__] = _f
PUBLIC["default_generator"] = default_generator  # type: ignore[assignment]
