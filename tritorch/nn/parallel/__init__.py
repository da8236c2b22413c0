"""Modules over several devices: `DataParallel` and `data_parallel`."""

from .data_parallel import DataParallel as DataParallel, data_parallel as data_parallel
