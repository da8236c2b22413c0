"""Modules over several devices and processes, and the parts that such are made of."""

from .data_parallel import DataParallel as DataParallel, data_parallel as data_parallel
from .distributed import DistributedDataParallel as DistributedDataParallel
from .parts import (
    gather as gather,
    parallel_apply as parallel_apply,
    replicate as replicate,
    scatter as scatter,
    scatter_kwargs as scatter_kwargs,
)
