"""Kernel performance reports: `python -m tritorch.perf`, or `python3 run.py perf` in a checkout.

`sweeps` and `records` say what is measured, `clock` how, `peers` against what, `limits` what the
device can do, `models` whole networks, `accuracy` the errors, `static` what the compiler made of
the kernels for GPUs that are not there; `results` is the file, `plots` and `page` the report.
"""

from .benchmark import benchmark as benchmark
