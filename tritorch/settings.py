"""Switches that PyTorch programs set: determinism, precision of products, denormals, threads.

Kernels here are deterministic and products of float32 exact to float32 whatever they say: they are
kept, and answered when asked for.
"""

from __future__ import annotations

from typing import Any

from . import cpu, cuda
from .device import placed

_state: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "precision": "highest",
    "warn_always": False,
    "interop": 1,
}
PRECISIONS = ("highest", "high", "medium")
MODES = ("default", "warn", "error")


def _need_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(
            f"{name}(): argument 'mode' (position 1) must be bool, not {type(value).__name__}"
        )
    return value


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for results that do not change from run to run: they do not, whatever is set here."""
    _state["deterministic"] = _need_bool("use_deterministic_algorithms", mode)
    _state["warn_only"] = bool(warn_only) and mode


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` is set."""
    return _state["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it was set with `warn_only`."""
    return _state["warn_only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same as 0 or "default", 1 or "warn", 2 or "error"."""
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, int | str):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (*MODES, 0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected `default`, `warn`, `error`, 0, 1 or 2, but got "
            f"{debug_mode}"
        )
    level = MODES.index(debug_mode) if isinstance(debug_mode, str) else debug_mode
    use_deterministic_algorithms(level > 0, warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: see `set_deterministic_debug_mode`."""
    return (1 if _state["warn_only"] else 2) if _state["deterministic"] else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Allow products of float32 to round inside, "high" or "medium"; here they never do."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: expected one of {', '.join(PRECISIONS)}, got "
            f"{precision!r}"
        )
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was given; "highest" at first."""
    return _state["precision"]


def set_flush_denormal(mode: bool) -> bool:
    """Whether denormal numbers are now treated as asked for: they are never flushed to zero."""
    return not _need_bool("set_flush_denormal", mode)


def set_warn_always(b: bool, /) -> None:
    """Kept for programs that ask: how often a warning appears, Python's own filters decide."""
    _state["warn_always"] = _need_bool("set_warn_always", b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was given."""
    return _state["warn_always"]


def set_num_interop_threads(n: int, /) -> None:
    """Kept for programs that ask: operators run one after the other, each on `get_num_threads`."""
    if n <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _state["interop"] = n


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was given; 1 at first."""
    return _state["interop"]


def get_device_module(device: Any = None) -> Any:
    """`torch.cuda` for a GPU, `torch.cpu` for the CPU, also by name; of the default device."""
    place = placed(device)
    if place.type not in ("cpu", "cuda"):
        raise RuntimeError(f"get_device_module: Invalid device module {place.type}")
    return {"cpu": cpu, "cuda": cuda}[place.type]
