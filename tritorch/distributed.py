"""`torch.distributed` as it is where it was not built in: one process, and `is_available()` False.

The guards that programs put around their distributed parts work; what would need other processes
says what is missing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["get_rank", "get_world_size", "is_available", "is_initialized"]


def is_available() -> bool:
    """False: there are no process groups."""
    return False


def is_initialized() -> bool:
    """False: there is no default process group."""
    return False


def is_torchelastic_launched() -> bool:
    """False: there is no launcher."""
    return False


def is_nccl_available() -> bool:
    """False: there is no such backend."""
    return False


def is_gloo_available() -> bool:
    """False: there is no such backend."""
    return False


def is_mpi_available() -> bool:
    """False: there is no such backend."""
    return False


def get_rank(group: Any = None) -> int:
    """ValueError, as without `init_process_group`."""
    raise ValueError("Default process group has not been initialized: there is one process here")


def get_world_size(group: Any = None) -> int:
    """ValueError, as without `init_process_group`."""
    raise ValueError("Default process group has not been initialized: there is one process here")


def _absent(name: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"torch.distributed.{name}: there are no process groups; guard distributed parts by "
            "torch.distributed.is_available(), which is False"
        )

    refuse.__name__ = name
    refuse.__doc__ = "Not to be had: there are no process groups."
    return refuse


init_process_group = _absent("init_process_group")
destroy_process_group = _absent("destroy_process_group")
new_group = _absent("new_group")
barrier = _absent("barrier")
all_reduce = _absent("all_reduce")
all_gather = _absent("all_gather")
all_gather_into_tensor = _absent("all_gather_into_tensor")
all_gather_object = _absent("all_gather_object")
broadcast = _absent("broadcast")
broadcast_object_list = _absent("broadcast_object_list")
gather = _absent("gather")
reduce = _absent("reduce")
reduce_scatter = _absent("reduce_scatter")
scatter = _absent("scatter")
send, recv = _absent("send"), _absent("recv")
isend, irecv = _absent("isend"), _absent("irecv")
