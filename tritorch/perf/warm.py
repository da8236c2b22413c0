"""Compile the kernels of common operators before they are needed, with or without a GPU.

    python -m tritorch.kernels warm --target sm_90

Triton keeps what it compiled on disk (`TRITON_CACHE_DIR`, by default ~/.triton/cache), where a
process on such a GPU finds it: its first calls then load kernels instead of compiling them.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import tritorch
from tritorch.runtime.aot import TARGETS
from tritorch.runtime.kernel import compile_kernel, specialize
from tritorch.runtime.launch import launch
from tritorch.tensor import Tensor

from .progress import progress
from .static import Absent, arrays
from .sweeps import RANDOM, Point, points

DTYPES = ("float32", "bfloat16")


class Warming(Absent):
    """Compiles kernels of which no facts are wanted."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.compiled: set[str] = set()

    def execute(
        self, kernel: Any, grid: tuple, args: Any, constants: dict, warps: int, stages: int
    ) -> None:
        target = self.target()
        special = specialize(kernel, args, constants, pointer_range=target.backend == "hip")
        self.compiled.add(compile_kernel(kernel, special, target, warps, stages).hash)


def warm(target: str, dtypes: Sequence[str] = DTYPES, only: str = "") -> tuple[int, dict[str, str]]:
    """Compile for a target; how many kernels that are, and which calls failed for what reason.

    The calls are the reports' sweeps at all sizes, forward and backward, of these dtypes, and of
    them those whose operator the expression `only` finds; and steps of SGD and AdamW.
    """
    if target not in TARGETS:
        raise ValueError(f"--target: {target!r} is not one of {', '.join(TARGETS)}")
    try:
        finds = re.compile(only).search
    except re.error as error:
        raise ValueError(f"--only: {only!r} is no regular expression: {error}") from error
    chosen = [p for p in points("cuda", dtypes) if finds(p.operator)]
    jobs = [(p.key, lambda p=p: _step(p)) for p in chosen]
    for name in ("SGD", "AdamW"):
        if finds(name):
            jobs += [(f"{name} {d}", lambda n=name, d=d: _optimizer(n, d)) for d in dtypes]
    if not jobs:
        raise ValueError(f"--only: {only!r} finds no operator")
    failed: dict[str, str] = {}
    with launch.using(Warming(target)) as runtime, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for key, job in progress(jobs, names=[key for key, _ in jobs]):
            try:
                job()
            except Exception as error:  # the others are worth having
                failed[key] = f"{type(error).__name__}: {error}".splitlines()[0]
    return len(runtime.compiled), failed


def _step(point: Point) -> None:
    """The call of a point, and its derivative where it has one."""
    xs = arrays(point)
    if point.operator not in RANDOM:
        for x in xs:
            if x.dtype.is_floating_point:
                x.requires_grad_()
    out = point.case.call(tritorch, *xs)
    if isinstance(out, Tensor) and out.requires_grad:
        tritorch.autograd.grad(out, [x for x in xs if x.requires_grad], out.detach())


def _optimizer(name: str, dtype: str) -> None:
    parameter = tritorch.empty(1024, 1024, dtype=getattr(tritorch, dtype), device="cuda")
    parameter.requires_grad_().grad = tritorch.empty_like(parameter)
    getattr(tritorch.optim, name)([parameter], lr=0.1).step()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 1 where something failed, 2 for a wrong argument, 130 where interrupted."""
    about = (__doc__ or "").split("\n")[0]
    p = argparse.ArgumentParser(prog="python -m tritorch.kernels", description=about)
    commands = p.add_subparsers(dest="command", required=True)
    w = commands.add_parser("warm", help="compile the common kernels for a GPU")
    w.add_argument("--target", required=True, metavar="TARGET", help=", ".join(TARGETS))
    w.add_argument("--dtype", nargs="+", default=DTYPES, choices=[*DTYPES, "float16", "float64"])
    w.add_argument("--only", default="", metavar="REGEX", help="operators whose name this finds")
    options = p.parse_args(argv)
    start = time.perf_counter()
    try:
        count, failed = warm(options.target, options.dtype, options.only)
    except ValueError as error:
        print(f"tritorch.kernels: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\ninterrupted; what is compiled is kept, and the same command goes on", file=sys.stderr
        )
        return 130
    for key, why in failed.items():
        print(f"failed: {key}: {why}", file=sys.stderr)
    took = time.perf_counter() - start
    print(f"{count} kernels for {options.target} ({TARGETS[options.target].name}), {took:.0f} s")
    return 1 if failed else 0
