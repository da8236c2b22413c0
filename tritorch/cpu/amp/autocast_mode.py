"""`amp.autocast` for "cpu"."""

from __future__ import annotations

from ... import amp, dtypes
from ...dtypes import DType

__all__ = ["autocast"]


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
