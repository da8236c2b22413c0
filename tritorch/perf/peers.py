"""The libraries that a report compares: each makes tensors of arrays and a call of a case.

PyTorch is looked for where it is installed and imported at the first need; this package never
depends on it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

import tritorch

from .specs import Case
from .sweeps import Point

QUIET = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}  # words of torch's profiler
NAMES = ("tritorch", "numpy", "torch", "torch.compile")


def library(name: str) -> ModuleType:
    """Imported; what torch would print between the lines of a report, it does not."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    return importlib.import_module(name.split(".")[0])


class Peer:
    """A library on a device ("cpu" or "cuda")."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device
        self.lib = library(name)

    @property
    def version(self) -> str:
        return self.lib.__version__

    def synchronize(self) -> None:
        if self.device == "cuda":
            self.lib.cuda.synchronize()

    def tensors(self, arrays: Sequence[np.ndarray], dtype: str) -> list:
        """On the device; arrays of floats become `dtype`."""
        made = []
        for a in arrays:
            x = self.lib.from_numpy(a).to(self.device)
            made.append(x.to(getattr(self.lib, dtype)) if a.dtype == np.float32 else x)
        return made

    def call(self, point: Point) -> Callable[..., Any] | None:
        """A function of the tensors; None where the library has no such operator."""
        case, lib = point.case, self.lib
        return lambda *xs: case.call(lib, *xs)

    def network(self, module: Any) -> Any:
        """A module as this library runs it."""
        return module

    def array(self, result: Any) -> np.ndarray | None:
        """The first tensor of a result in float64, or None where it holds no real numbers."""
        first = result[0] if isinstance(result, tuple | list) else result
        if not isinstance(first, self.lib.Tensor) or not first.dtype.is_floating_point:
            return None
        return first.detach().cpu().double().numpy()


class Compiled(Peer):
    """`torch.compile` of the call, or of the module. ValueError where nothing can be compiled."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__(name, device)
        try:
            self.network(lambda x: x + 1)(self.lib.ones(4, device=device))
        except Exception as error:  # inductor's own, and of what it calls
            why = f"{error}".strip().splitlines()[0]
            need = "a C++ compiler, such as g++," if device == "cpu" else "Triton"
            raise ValueError(
                f"--against: torch.compile does not work here; it needs {need} to build what it "
                f"makes: {why}"
            ) from None

    def call(self, point: Point) -> Callable[..., Any] | None:
        plain = super().call(point)
        self.lib._dynamo.reset()
        return self.lib.compile(plain, dynamic=False)

    def network(self, module: Any) -> Any:
        return self.lib.compile(module, dynamic=False)


class NumPy(Peer):
    """Where a case says how NumPy would do it."""

    def synchronize(self) -> None:
        pass

    def tensors(self, arrays: Sequence[np.ndarray], dtype: str) -> list:
        return [a.astype(dtype, copy=False) if a.dtype == np.float32 else a for a in arrays]

    def call(self, point: Point) -> Callable[..., Any] | None:
        return point.numpy

    def array(self, result: Any) -> np.ndarray | None:
        x = np.asarray(result)
        return x.astype(np.float64) if x.dtype.kind == "f" else None


def available(device: str) -> list[str]:
    """The names that can be compared here by default: `torch.compile` is added on request."""
    names = ["tritorch"] + ["numpy"] * (device == "cpu")
    if importlib.util.find_spec("torch") is not None:
        torch = library("torch")
        names += ["torch"] * (device == "cpu" or torch.cuda.is_available())
    return names


def peers(names: Sequence[str], device: str) -> list[Peer]:
    """tritorch first, then the others named.

    Raises ValueError for a name that is none of `NAMES`, and for one that is not installed.
    """
    made: list[Peer] = []
    for name in dict.fromkeys(["tritorch", *names]):
        if name not in NAMES:
            raise ValueError(f"--against: {name!r} is not one of {', '.join(NAMES[1:])}")
        package = name.split(".")[0]
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"--against: {name} is not installed: {sys.executable} -m pip install {package}"
            )
        if name == "numpy" and device != "cpu":
            continue
        kind = {"numpy": NumPy, "torch.compile": Compiled}.get(name, Peer)
        made.append(kind(name, device))
    return made


@functools.lru_cache(maxsize=16, typed=True)
def drawn(spec: Any, place: int) -> np.ndarray:
    """What an input at this place among the inputs holds, always the same."""
    return spec.array(np.random.default_rng(place))


def arrays(case: Case, copies: int = 1) -> list[list[np.ndarray]]:
    """Inputs of a case, so many times in memory of their own."""
    first = [drawn(spec, place) for place, spec in enumerate(case.inputs)]
    return [[a.copy() for a in first] for _ in range(copies)]


def double_reference(point: Point) -> np.ndarray | None:
    """The result in float64, by tritorch on the CPU, of the inputs as the dtype holds them."""
    xs = []
    for a in arrays(point.case)[0]:
        x = tritorch.from_numpy(a)
        if a.dtype == np.float32:
            x = x.to(getattr(tritorch, point.dtype)).double()
        xs.append(x)
    out = point.case.call(tritorch, *xs)
    first = out[0] if isinstance(out, tuple | list) else out
    return first.detach().numpy() if first.dtype is tritorch.float64 else None
