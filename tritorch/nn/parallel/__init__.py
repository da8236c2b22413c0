"""Modules over several devices and processes, and the parts that such are made of."""

import importlib
from typing import TYPE_CHECKING, Any

from .data_parallel import DataParallel as DataParallel, data_parallel as data_parallel
from .parts import (
    gather as gather,
    parallel_apply as parallel_apply,
    replicate as replicate,
    scatter as scatter,
    scatter_kwargs as scatter_kwargs,
)

if TYPE_CHECKING:
    from .distributed import DistributedDataParallel as DistributedDataParallel


def __getattr__(name: str) -> Any:
    if name in ("DistributedDataParallel", "distributed"):  # at the first use: it needs sockets
        module = importlib.import_module(".distributed", __name__)
        return module if name == "distributed" else module.DistributedDataParallel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
