"""`tritorch.amp` for "cpu", under PyTorch's older names."""

from __future__ import annotations

from .. import amp, dtypes
from ..dtypes import DType

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """`amp.autocast("cpu", ...)`.

    Example:
        >>> import tritorch as torch
        >>> with torch.cpu.amp.autocast():
        ...     print((torch.ones(2, 3) @ torch.ones(3, 2)).dtype)
        tritorch.bfloat16
    """

    def __init__(
        self, enabled: bool = True, dtype: DType = dtypes.bfloat16, cache_enabled: bool = True
    ) -> None:
        amp.old_form("cpu", "autocast")
        super().__init__("cpu", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """`amp.GradScaler("cpu", ...)`."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        amp.old_form("cpu", "GradScaler")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
