"""What is there to connect processes."""

from __future__ import annotations

import os

__all__ = [
    *("is_available", "is_backend_available", "is_gloo_available", "is_mpi_available"),
    *("is_nccl_available", "is_torchelastic_launched", "is_ucc_available", "is_xccl_available"),
]


def is_available() -> bool:
    """True: there are process groups."""
    return True


def is_backend_available(backend: str) -> bool:
    """Whether `init_process_group` takes this name."""
    return backend.lower() == "gloo"


def is_gloo_available() -> bool:
    """True: tensors travel by TCP between CPUs."""
    return True


def is_nccl_available() -> bool:
    """False: tensors of GPUs travel through the host's memory."""
    return False


def is_mpi_available() -> bool:
    """False: there is no such backend."""
    return False


def is_ucc_available() -> bool:
    """False: there is no such backend."""
    return False


def is_xccl_available() -> bool:
    """False: there is no such backend."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether a launcher has started this process, and has said so in the environment."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None
