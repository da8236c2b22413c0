"""Automatic differentiation: the tape, its engine, and what users extend it with."""

import importlib
from typing import Any

from . import grad_mode as grad_mode, graph as graph, variable as variable
from .engine import backward as backward, grad as grad
from .function import Function as Function
from .grad_mode import set_multithreading_enabled as set_multithreading_enabled
from .gradcheck import (
    GradcheckError as GradcheckError,
    gradcheck as gradcheck,
    gradgradcheck as gradgradcheck,
)
from .mode import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from .variable import Variable as Variable


def __getattr__(name: str) -> Any:
    """What few programs use is imported at its first use."""
    if name in ("anomaly_mode", "forward_ad", "functional", "profiler"):
        return importlib.import_module(f".{name}", __name__)
    if name in ("detect_anomaly", "set_detect_anomaly"):
        return getattr(importlib.import_module(".anomaly_mode", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
