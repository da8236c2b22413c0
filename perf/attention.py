"""Attention on a GPU, forward and backward, against PyTorch's on the same GPU in one run.

    python perf/attention.py                    writes perf/results/<device>/attention.json
    python perf/attention.py --only "d128"      cases whose name contains this
    python perf/attention.py --tune             also searches the blocks of each case
    python perf/attention.py --out FILE         where the figures go

Needs torch and triton: of tritorch only the kernels are imported, so neither cuda-core nor
ml_dtypes has to be there. Times are medians of replayed CUDA graphs; operations are those of the
products that must be computed, halved where causal, 2.5 times as many backward. PyTorch is measured
with its own choice of kernel ("torch") and, where it serves the case, with cuDNN's.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import triton

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1.0  # for one figure


def load_kernels() -> Any:
    """The modules of the kernels, without what else `import tritorch` brings."""
    if importlib.util.find_spec("ml_dtypes") is None:
        absent = types.ModuleType("ml_dtypes")
        for i, name in enumerate(("bfloat16", "float8_e4m3fn", "float8_e5m2")):
            setattr(absent, name, np.dtype([(name, f"V{(2, 1, 1)[i]}")]))
        sys.modules["ml_dtypes"] = absent
    package = types.ModuleType("tritorch")
    package.__path__ = [str(ROOT / "tritorch")]
    sys.modules["tritorch"] = package
    names = {
        "dtypes": "dtypes",
        "forward": "kernels.attention",
        "backward": "kernels.attention_backward",
        "plan": "kernels._attention",
        "memory": "runtime.memory",
    }
    return types.SimpleNamespace(
        **{k: importlib.import_module(f"tritorch.{name}") for k, name in names.items()}
    )


K = load_kernels()


# -- the kernels on PyTorch's tensors --------------------------------------------------------------


class View:
    """A tensor as the launchers see arrays."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.shape, self.strides = tuple(tensor.shape), tensor.stride()
        self.size, self.itemsize = tensor.numel(), tensor.element_size()
        name = str(tensor.dtype).removeprefix("torch.")
        self.dtype = getattr(K.dtypes, "bool_" if name == "bool" else name)


class Launch:
    """`launch` through Triton's own."""

    def __init__(self) -> None:
        p = torch.cuda.get_device_properties(0)
        shared = getattr(p, "shared_memory_per_block_optin", 227 << 10)
        self.target = K.memory.Target(
            "cuda", p.major * 10 + p.minor, p.multi_processor_count, shared, name=p.name
        )

    def __call__(
        self, kernel: Any, grid: tuple, args: list, constants: dict, num_warps: int = 4,
        num_stages: int = 3,
    ) -> None:  # fmt: skip
        given = [a.tensor if isinstance(a, View) else a for a in args]
        kernel[(*grid, 1, 1)[:3]](*given, **constants, num_warps=num_warps, num_stages=num_stages)

    def empty(self, shape: tuple, dtype: Any) -> View:
        return View(torch.empty(shape, dtype=getattr(torch, dtype.name), device="cuda"))


# -- cases -----------------------------------------------------------------------------------------


class Case(NamedTuple):
    """Batch, heads, heads of keys, queries, keys, elements of a head."""

    b: int
    h: int
    g: int
    m: int
    n: int
    d: int
    causal: bool = True
    dropout: float = 0.0
    dtype: str = "bfloat16"
    mask: str = ""

    @property
    def name(self) -> str:
        heads = f"h{self.h}" if self.g == self.h else f"h{self.h}/{self.g}"
        sizes = f"{self.m}" if self.m == self.n else f"{self.m}x{self.n}"
        rest = [self.dtype, "causal" * self.causal, "dropout" * (self.dropout > 0), self.mask]
        return " ".join([f"b{self.b} {heads} {sizes} d{self.d}", *filter(None, rest)])

    @property
    def flops(self) -> float:
        return 4.0 * self.b * self.h * self.m * self.n * self.d / (2 if self.causal else 1)


CASES = [
    Case(8, 12, 12, 1024, 1024, 64),
    Case(4, 32, 32, 4096, 4096, 64),
    Case(4, 32, 32, 4096, 4096, 64, causal=False),
    Case(4, 16, 16, 4096, 4096, 128),
    Case(4, 16, 16, 4096, 4096, 128, causal=False),
    Case(1, 16, 16, 16384, 16384, 128),
    Case(2, 32, 8, 4096, 4096, 128),
    Case(4, 8, 8, 4096, 4096, 256),
    Case(8, 12, 12, 1024, 1024, 64, dropout=0.1),
    Case(8, 12, 12, 1024, 1024, 64, causal=False, mask="bool"),
    Case(8, 12, 12, 512, 512, 64, causal=False, mask="float"),
    Case(4, 16, 16, 2048, 2048, 64, dtype="float32"),
    Case(8, 32, 8, 1, 16384, 128, causal=False),
]


class Inputs(NamedTuple):
    """The tensors of a case."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: torch.Tensor | None
    grad: torch.Tensor


def inputs(c: Case) -> Inputs:
    torch.manual_seed(0)
    dtype = getattr(torch, c.dtype)
    shapes = [(c.b, c.h, c.m, c.d), (c.b, c.g, c.n, c.d), (c.b, c.g, c.n, c.d)]
    q, k, v = (torch.randn(s, device="cuda", dtype=dtype) for s in shapes)
    mask = None
    if c.mask:
        mask = torch.randn(c.b if c.mask == "bool" else 1, c.h, c.m, c.n, device="cuda")
        mask = mask[:, :1, :1] > -1 if c.mask == "bool" else mask.to(dtype)
    return Inputs(q, k, v, mask, torch.randn_like(q))


class Ours:
    """The kernels on the tensors of a case."""

    def __init__(self, c: Case, x: Inputs) -> None:
        self.launch = Launch()
        self.out = torch.empty_like(x.q)
        self.lse = torch.empty(x.q.shape[:3], device="cuda", dtype=torch.float32)
        self.grads = [torch.empty_like(t) for t in (x.q, x.k, x.v)]
        self.views = [View(t) if t is not None else None for t in x]
        self.params = {"is_causal": c.causal, "scale": c.d**-0.5, "dropout": c.dropout, "seed": 1}

    def forward(self, blocks: Any = None) -> None:
        *tensors, _ = self.views
        outs = View(self.out), View(self.lse)
        K.forward.forward(self.launch, outs, *tensors, **self.params, blocks=blocks)

    def backward(self, blocks: Any = None) -> None:
        *tensors, grad = self.views
        outs = [*map(View, self.grads), None]
        saved = View(self.out), View(self.lse)
        K.backward.backward(self.launch, outs, grad, *tensors, *saved, **self.params, blocks=blocks)


class Theirs:
    """PyTorch's on the same tensors; `backend` of `torch.nn.attention`, or its own choice."""

    def __init__(self, c: Case, x: Inputs, backend: Any = None) -> None:
        self.x, self.backend = x, backend
        self.leaves = [t.detach().requires_grad_() for t in (x.q, x.k, x.v)]
        self.params = {"is_causal": c.causal, "dropout_p": c.dropout, "enable_gqa": c.g != c.h}

    def run(self, tensors: list) -> torch.Tensor:
        attend = torch.nn.functional.scaled_dot_product_attention
        if self.backend is None:
            return attend(*tensors, self.x.mask, **self.params)
        with torch.nn.attention.sdpa_kernel(self.backend):
            return attend(*tensors, self.x.mask, **self.params)

    def forward(self) -> None:
        with torch.no_grad():
            self.out = self.run([self.x.q, self.x.k, self.x.v])

    def prepare(self) -> None:
        self.result = self.run(self.leaves)

    def backward(self) -> None:
        self.grads = torch.autograd.grad(self.result, self.leaves, self.x.grad, retain_graph=True)


# -- measuring -------------------------------------------------------------------------------------


class Clock:
    """A call captured in a CUDA graph."""

    def __init__(self, run: Callable, prepare: Callable | None = None) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            if prepare is not None:
                prepare()
            for _ in range(3):
                run()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=side):
            run()
        self.times: list[float] = []
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def __call__(self) -> float:
        """Microseconds of one call, the mean of a few."""
        count = 5
        self.events[0].record()
        for _ in range(count):
            self.graph.replay()
        self.events[1].record()
        self.events[1].synchronize()
        self.times.append(self.events[0].elapsed_time(self.events[1]) * 1e3 / count)
        return self.times[-1]

    @property
    def median(self) -> float:
        return statistics.median(self.times)


def compare(clocks: dict[str, Clock]) -> dict[str, float]:
    """Medians, the calls taking turns."""
    for clock in clocks.values():
        clock()
        clock.times.clear()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end and len(next(iter(clocks.values())).times) < 100:
        for clock in clocks.values():
            clock()
    return {name: clock.median for name, clock in clocks.items()}


def peers(c: Case, x: Inputs) -> Iterator[tuple[str, Theirs]]:
    yield "torch", Theirs(c, x)
    yield "cuDNN", Theirs(c, x, torch.nn.attention.SDPBackend.CUDNN_ATTENTION)


def measure(c: Case) -> dict[str, dict]:
    x = inputs(c)
    ours = Ours(c, x)
    rows: dict[str, dict] = {}
    for what, factor in (("forward", 1.0), ("backward", 2.5)):
        if what == "backward" and c.m == 1:
            continue
        clocks = {"ours": Clock(getattr(ours, what))}
        row: dict[str, Any] = {}
        for name, peer in peers(c, x):
            try:
                prepare = peer.prepare if what == "backward" else None
                clocks[name] = Clock(getattr(peer, what), prepare)
            except RuntimeError as error:
                torch.cuda.synchronize()
                row[f"{name} refused"] = str(error).splitlines()[0][:80]
                continue
            if name == "torch" and not c.dropout:
                row["difference"] = difference(ours, peer, what)
        for name, us in compare(clocks).items():
            row[name] = {"microseconds": us, "TFLOP/s": c.flops * factor / us / 1e6}
            if name != "ours":
                row[f"{name} over ours"] = us / row["ours"]["microseconds"]
        rows[what] = row
        clocks.clear()
    return rows


def difference(ours: Ours, peer: Theirs, what: str) -> float:
    """The largest difference from PyTorch's results, over the largest element."""
    pairs = [(ours.out, peer.out)] if what == "forward" else zip(ours.grads, peer.grads)
    return max(float((a.float() - b.float()).abs().max() / b.float().abs().max()) for a, b in pairs)


# -- searching blocks ------------------------------------------------------------------------------


def candidates(c: Case, what: str) -> list[tuple[int, int, int, int]]:
    """(queries, keys, warps, stages) worth trying: accumulators within the registers."""
    found = []
    for bm in (16, 32, 64, 128) if what == "keys" else (64, 128):
        for bn in (64, 128) if what == "keys" else (32, 64, 128):
            for warps in (4, 8):
                kept = {"forward": bm * c.d, "queries": bm * c.d, "keys": 2 * bn * c.d}[what]
                scores = bm * bn * (1 if what == "forward" else 2)
                if 64 <= (kept + scores) / (32 * warps) <= 288:
                    found += [(bm, bn, warps, stages) for stages in (2, 3)]
    return found


def runner(c: Case, what: str, blocks: tuple) -> Callable:
    x = inputs(c)
    ours = Ours(c, x)
    ours.forward()
    chosen = K.plan.Blocks(*blocks)
    if what == "forward":
        return lambda: ours.forward(chosen)
    default = {
        w: K.plan.blocks_of(
            w, K.plan.sizes(*ours.views[:3]), c.dtype, bool(c.mask), c.dropout > 0,
            ours.launch.target,
        )
        for w in (K.plan.KEYS, K.plan.QUERIES)
    }  # fmt: skip
    pair = (chosen, default[K.plan.QUERIES]) if what == "keys" else (default[K.plan.KEYS], chosen)
    return lambda: ours.backward(pair)


def compile_one(c: Case, what: str, blocks: tuple) -> str:
    """Run once on one batch, so that Triton keeps the kernel on disk; what went wrong, or ""."""
    try:
        runner(c._replace(b=1), what, blocks)()
        torch.cuda.synchronize()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return ""


def tune(c: Case, pool: ProcessPoolExecutor) -> dict[str, list]:
    """The fastest blocks of each kernel, with the microseconds of the forward or backward."""
    found: dict[str, list] = {}
    for what in ("forward", "keys", "queries") if c.m > 1 else ("forward",):
        tried = candidates(c, what)
        failed = list(pool.map(compile_one, [c] * len(tried), [what] * len(tried), tried))
        times = []
        for blocks, why in zip(tried, failed):
            if not why:
                clock = Clock(runner(c, what, blocks))
                clock()
                times.append([min(clock() for _ in range(5)), *blocks])
        found[what] = sorted(times)[:6]
        print(f"  {what:8s}", *(f"{t[1:]} {t[0]:.0f} us" for t in found[what]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("perf/attention.py: needs a CUDA device; none was found here")
    name = torch.cuda.get_device_name()
    folder = re.sub(r"\W+", "-", name).strip("-").lower()
    out = options.out or ROOT / "perf" / "results" / folder / "attention.json"
    machine = {
        "device": name,
        "triton": triton.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    rows: dict[str, Any] = {}
    pool = None
    if options.tune:
        pool = ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"))
    for c in CASES:
        if options.only not in c.name:
            continue
        try:
            rows[c.name] = measure(c)
            print(c.name, json.dumps(rows[c.name]), flush=True)
            if pool is not None:
                rows[c.name]["blocks"] = tune(c, pool)
        except Exception as error:  # the others are worth having
            torch.cuda.synchronize()
            rows.setdefault(c.name, {})["failed"] = f"{type(error).__name__}: {error}"[:400]
            print(c.name, rows[c.name]["failed"], flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")
    if pool is not None:
        pool.shutdown()
    print(f"written to {out}")
    sys.exit(any("failed" in row for row in rows.values()))


if __name__ == "__main__":
    main()
