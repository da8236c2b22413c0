"""The streams of random numbers of CUDA devices."""

from __future__ import annotations

from collections.abc import Iterable

from ..device import device as Device
from ..ops.generator import Generator, default
from ..tensor import Tensor
from .devices import Where, device_count, index_of, is_available


def generator_of(device: Where = "cuda") -> Generator:
    """The generator that operators on a device use by default."""
    return default(Device("cuda", index_of(device)))


def manual_seed(seed: int) -> None:
    """Start the current device's stream of random numbers from a seed."""
    if is_available():
        generator_of().manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Start the streams of random numbers of all devices from a seed."""
    for index in range(device_count()):
        generator_of(index).manual_seed(seed)


def seed() -> None:
    """Start the current device's stream from a number of the operating system's."""
    if is_available():
        generator_of().seed()


def seed_all() -> None:
    """Start the streams of all devices from one number of the operating system's."""
    if is_available():
        manual_seed_all(generator_of().seed())


def initial_seed() -> int:
    """The seed of the current device's stream."""
    return generator_of().initial_seed()


def get_rng_state(device: Where = "cuda") -> Tensor:
    """The state of a device's stream, a uint8 tensor on the CPU."""
    return generator_of(device).get_state()


def set_rng_state(new_state: Tensor, device: Where = "cuda") -> None:
    """Continue a device's stream where `get_rng_state` was called."""
    generator_of(device).set_state(new_state)


def get_rng_state_all() -> list[Tensor]:
    """The states of all devices' streams."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Continue the streams of all devices."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)
