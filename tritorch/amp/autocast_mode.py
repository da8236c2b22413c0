"""`autocast`: operators choose their precision inside a block, and what custom functions need."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..dtypes import DType
from ..ops.autocast import DEVICES, handler, set_enabled, settings
from ..runtime import memory

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

LOWER = (dtypes.bfloat16, dtypes.float16)


def _kind(device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if device_type not in DEVICES:
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows this kind of device."""
    return device_type in DEVICES


class autocast:
    """Operators in the block, or in the decorated function, run in the precision that suits them.

    Matrix products and convolutions take `dtype` (default float16 on "cuda", bfloat16 on "cpu"),
    operators that need the range take float32, and some the widest type of their inputs; the lists
    are PyTorch's. Blocks nest; `enabled=False` switches off. Copies of parameters in the lower
    precision are kept until the outermost block ends, unless `cache_enabled` is False. In-place
    operators and float64 are left alone. Derivatives run in the dtypes of the forward.

    Example:
        >>> import tritorch as torch
        >>> layer, x = torch.nn.Linear(2, 3), torch.ones(1, 2)
        >>> with torch.autocast("cpu"):
        ...     y = layer(x)
        >>> y.dtype, layer.weight.dtype
        (tritorch.bfloat16, tritorch.float32)
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.device = _kind(device_type)
        self.fast_dtype = settings.dtypes[self.device] if dtype is None else dtype
        self._cache_enabled = settings.cache_enabled if cache_enabled is None else cache_enabled
        self._enabled = bool(enabled) and self._possible()
        self._outer: list[tuple] = []

    def _possible(self) -> bool:
        if self.device == "cuda" and not memory.available():
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=3)
            return False
        if self.fast_dtype not in LOWER:
            name = self.device.upper()
            warnings.warn(
                f"In {name} autocast, but the target dtype {self.fast_dtype} is not supported. "
                f"Disabling autocast. {name} Autocast only supports dtypes of "
                f"{', '.join(map(str, LOWER))} currently.",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self) -> autocast:
        s = settings
        self._outer.append((s.enabled, dict(s.dtypes), s.cache_enabled, state.transforms))
        s.dtypes[self.device] = self.fast_dtype
        s.cache_enabled = self._cache_enabled
        s.nesting += 1
        set_enabled((s.enabled | {self.device}) if self._enabled else s.enabled - {self.device})
        return self

    def __exit__(self, *exc: object) -> bool:
        s = settings
        s.nesting -= 1
        if not s.nesting:
            s.cache.clear()
        s.enabled, s.dtypes, s.cache_enabled, state.transforms = self._outer.pop()
        return False

    def __call__(self, func: Callable) -> Callable:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}; as a "
                "context manager it is used as `with autocast(device_type): ...`"
            )

        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return inside


def _cast(value: Any, device_type: str, dtype: DType) -> Any:
    """The tensors of nested containers in another dtype, where autocast may change theirs."""
    if hasattr(value, "_edge"):
        eligible = value.dtype.category == 2 and value.dtype is not dtypes.float64
        return value.to(dtype) if eligible and value.device.type == device_type else value
    if isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, Mapping):
        return {
            _cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()
        }
    if isinstance(value, Iterable):
        items = (_cast(v, device_type, dtype) for v in value)
        return type(value)(items) if isinstance(value, list | tuple) else items  # type: ignore
    return value


def custom_fwd(
    fwd: Callable | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Callable:
    """Decorate `forward` of a custom `Function`.

    With `cast_inputs`, floating tensors get that dtype and autocast is off inside, where it is on
    outside; without, it runs as the surroundings do.
    """
    _kind(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        ctx._dtype = settings.dtypes[device_type]
        on = device_type in settings.enabled
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(
                *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorate `backward` of a custom `Function`: it runs with the autocast of its forward."""
    _kind(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        with autocast(device_type, dtype=ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(*args, **kwargs)

    return backward


# -- PyTorch's functions for the state of autocast ------------------------------------------------


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for this kind of device, in this thread."""
    return device_type in settings.enabled and handler in state.transforms


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast on or off; with one argument, on "cuda"."""
    kind, on = ("cuda", device_type) if enabled is None else (_kind(device_type), enabled)
    set_enabled(settings.enabled | {kind} if on else settings.enabled - {kind})


def get_autocast_dtype(device_type: str) -> DType:
    """The lower precision of this kind of device."""
    return settings.dtypes[_kind(device_type)]


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Choose the lower precision of this kind of device."""
    settings.dtypes[_kind(device_type)] = dtype


def is_autocast_cache_enabled() -> bool:
    """Whether copies of parameters in the lower precision are kept."""
    return settings.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep copies of parameters in the lower precision, or not."""
    settings.cache_enabled = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the copies of parameters in the lower precision."""
    settings.cache.clear()


def autocast_increment_nesting() -> int:
    """Count one more block."""
    settings.nesting += 1
    return settings.nesting


def autocast_decrement_nesting() -> int:
    """Count one block less."""
    settings.nesting -= 1
    return settings.nesting


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> DType:
    """`get_autocast_dtype("cpu")`."""
    return settings.dtypes["cpu"]


def set_autocast_cpu_dtype(dtype: DType) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    settings.dtypes["cpu"] = dtype


def get_autocast_gpu_dtype() -> DType:
    """`get_autocast_dtype("cuda")`."""
    return settings.dtypes["cuda"]


def set_autocast_gpu_dtype(dtype: DType) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    settings.dtypes["cuda"] = dtype


def old_form(device: str, name: str) -> None:
    """Warn that `torch.<device>.amp` is an old place."""
    errors.warn(
        f"`torch.{device}.amp.{name}(args...)` is deprecated. Please use "
        f"`torch.amp.{name}('{device}', args...)` instead.",
        FutureWarning,
    )
