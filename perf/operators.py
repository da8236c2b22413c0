"""Every operator record on the CPU against PyTorch: which are slow, by how much, and why.

    python perf/operators.py                   all; writes perf/results/cpu/operators.json
    python perf/operators.py --backward        forward and backward, where there is a derivative
    python perf/operators.py --only 'soft|norm'   those whose name the expression finds

Inputs are float32, about a million elements where that has a meaning. Times are the shortest of
calls that take turns, ours and PyTorch's, for some hundredths of a second each. The exit code is 1
where an operator is over `LIMIT` times slower and `REASONS` does not say why, where one fails, or
where a record has no case.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tritorch
from tritorch.perf import records
from tritorch.perf.results import processor
from tritorch.perf.session import progress
from tritorch.perf.specs import Case

if importlib.util.find_spec("torch"):
    import torch
else:
    torch = None

LIMIT = 5.0  # times slower than PyTorch that need a reason
TURN, PAUSE = 0.06, 0.035  # seconds
RESULTS = Path(__file__).parent / "results" / "cpu"

# why operators are more than LIMIT times slower than PyTorch: reason -> their names
_REASONS = {
    "NumPy has no loop for it: several passes over blocks in the cache instead of one": (
        "add_scaled addcdiv addcmul erf erfc erfinv frac gelu group_norm hardsigmoid hardswish "
        "i1e layer_norm lerp ndtr nextafter rsqrt sgn sigmoid sign sub_scaled threshold"
    ),
    "a loop of some tens of microseconds over bytes, of which the call around it takes as many": (
        "logical_not"
    ),
    "one pass on one thread: it is over before a second one would have woken": (
        "amax amin mean sum"
    ),
    "NumPy's products along a line wait for one another, or are of halves, each a pass": (
        "cumprod prod"
    ),
    "NumPy copies rows of an image one by one, and the columns of its border element by element": (
        "pad_borders"
    ),
    "NumPy's loop takes longer than PyTorch's, on as many threads": "exp2",
    "NumPy reads a line backwards element by element": "flip",
    "NumPy's running extremes wait for the one before, and the places are found after them": (
        "cummax cummin"
    ),
    "SciPy computes it in double precision, element by element": (
        "airy_ai bessel_j0 bessel_y0 igamma igammac lgamma ndtri"
    ),
    "NumPy takes places one by one, counted in the flat array in a pass of its own": (
        "grid_sample scatter scatter_reduce"
    ),
    "OpenBLAS's LAPACK, of matrices of that size on one thread": (
        "cholesky_inverse det eigh_op geqrf linalg_solve lu_op"
    ),
    "passes in double precision: a series and its remainder": "polygamma",
    "Philox's bits, the same on every device, and sums in float64": "multinomial random",
    "a few microseconds, most of them the call in Python": "nll_loss",
}
REASONS = {name: why for why, names in _REASONS.items() for name in names.split()}


class Row(NamedTuple):
    """The shortest times, in microseconds."""

    name: str
    ours: float
    torch: float

    @property
    def ratio(self) -> float:
        """Above 1: ours is faster."""
        return self.torch / self.ours


# -- what to call ----------------------------------------------------------------------------------


def tensors(lib: Any, case: Case, grad: bool) -> list:
    rng = np.random.default_rng(0)
    made = [lib.from_numpy(spec.array(rng)) for spec in case.inputs]
    if grad:
        for x in made:
            if x.dtype.is_floating_point:
                x.requires_grad_()
    return made


def closure(lib: Any, case: Case, backward: bool) -> Callable[[], Any]:
    xs = tensors(lib, case, backward)
    if not backward:
        return lambda: case.call(lib, *xs)
    wanted = [x for x in xs if x.requires_grad]
    ones: list = []

    def run() -> Any:
        outs = case.call(lib, *xs)
        outs = [o for o in (outs if isinstance(outs, tuple | list) else (outs,)) if o.requires_grad]
        ones[:] = ones or [lib.ones_like(o) for o in outs]
        return lib.autograd.grad(outs, wanted, ones, allow_unused=True)

    return run


# -- measuring -------------------------------------------------------------------------------------


def timed(run: Callable, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def turn(run: Callable, times: int, seen: list[float]) -> None:
    """Calls for `TURN` seconds, after a pause in which the other library's threads fall asleep:
    those of OpenMP and OpenBLAS wait for more work in a loop, on the core that ours would take."""
    time.sleep(PAUSE)
    end = time.perf_counter() + TURN
    while time.perf_counter() < end:
        seen.append(timed(run, times))


def measure(name: str, case: Case, seconds: float, backward: bool) -> Row | str:
    """The shortest times, or why there are none."""
    runs = []
    for lib in (tritorch, torch):
        try:
            runs.append(closure(lib, case, backward))
            runs[-1]()
        except Exception as error:  # the others are worth having
            return f"{lib.__name__}: {type(error).__name__}: {error}".splitlines()[0]
    times = max(1, int(50e-6 / max(min(timed(r, 1) for r in runs), 1e-9)))
    seen: tuple[list, list] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(seen[1]) < 3:
        for run, times_of in zip(runs, seen, strict=True):
            turn(run, times, times_of)
    return Row(name, *(min(s) * 1e6 for s in seen))


def differentiable(case: Case, name: str) -> bool:
    xs = tensors(tritorch, case, True)
    if not any(x.requires_grad for x in xs):
        return False
    try:
        outs = case.call(tritorch, *xs)
    except Exception:  # `measure` says what failed
        return True
    return any(o.requires_grad for o in (outs if isinstance(outs, tuple | list) else (outs,)))


# -- the program -----------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="a regular expression over names")
    parser.add_argument("--backward", action="store_true", help="forward and backward together")
    parser.add_argument("--seconds", type=float, default=0.35, help="for one operator")
    parser.add_argument("--budget", type=float, default=540, help="seconds for all; then it stops")
    parser.add_argument("--threads", type=int, help="of both libraries; default: their own")
    parser.add_argument("--out", type=Path, help="default: perf/results/cpu/, if all were measured")
    return parser.parse_args()


def main() -> None:
    o = options()
    if torch is None:
        sys.exit("perf/operators.py: compares with PyTorch, which is not installed")
    warnings.simplefilter("ignore")
    if o.threads:
        tritorch.set_num_threads(o.threads)
        torch.set_num_threads(o.threads)
    cases = {n: c for n, c in records.cases().items() if not o.only or re.search(o.only, n)}
    uncovered = [name for name, case in cases.items() if case is None]
    rows, failed, left = [], {}, []
    end = time.perf_counter() + o.budget
    for name, case in progress([(n, c) for n, c in cases.items() if c is not None]):
        if time.perf_counter() > end:
            left.append(name)
        elif not o.backward or differentiable(case, name):
            row = measure(name, case, o.seconds, o.backward)
            rows.append(row) if isinstance(row, Row) else failed.update({name: row})
    rows.sort(key=lambda row: row.ratio)
    report(rows, failed, left, uncovered)
    if o.out or not (o.only or left):
        write(o.out or RESULTS / f"operators{'_backward' * o.backward}.json", rows, failed)
    sys.exit(1 if unexplained(rows) or uncovered or failed else 0)


def unexplained(rows: list[Row]) -> list[str]:
    return [r.name for r in rows if r.ratio * LIMIT < 1 and r.name not in REASONS]


def geomean(rows: list[Row]) -> float:
    return math.exp(sum(math.log(r.ratio) for r in rows) / max(len(rows), 1))


def report(rows: list[Row], failed: dict[str, str], left: list, uncovered: list) -> None:
    print(f"{'operator':28s} {'ours us':>12s} {'torch us':>12s} {'ratio':>7s}")
    for r in rows:
        slow = REASONS.get(r.name, "no reason is given") if r.ratio * LIMIT < 1 else ""
        print(f"{r.name:28s} {r.ours:12.1f} {r.torch:12.1f} {r.ratio:7.2f}  {slow}".rstrip())
    for name, why in failed.items():
        print(f"{name:28s} {why}")
    print(f"{len(rows)} operators, geometric mean {geomean(rows):.3f} of PyTorch's speed")
    for label, names in (("out of time", left), ("no case", uncovered)):
        if names:
            print(f"{label}: {', '.join(names)}")


def write(out: Path, rows: list[Row], failed: dict[str, str]) -> None:
    machine = {
        "processor": processor(),
        "threads": tritorch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    figures = {
        r.name: {
            "microseconds": round(r.ours, 1),
            "torch": round(r.torch, 1),
            "ratio": round(r.ratio, 3),
        }
        for r in rows
    }
    reasons = {r.name: REASONS[r.name] for r in rows if r.ratio * LIMIT < 1 and r.name in REASONS}
    out.parent.mkdir(parents=True, exist_ok=True)
    text = {
        "machine": machine,
        "geometric mean": round(geomean(rows), 3),
        "figures": figures,
        "reasons": reasons,
        "failed": failed,
    }
    out.write_text(json.dumps(text, indent=1) + "\n")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
