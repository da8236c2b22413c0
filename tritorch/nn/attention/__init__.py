"""The choice among implementations of `scaled_dot_product_attention`."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator

from ...ops import attention_backends as own

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """Implementations; the three fused ones are one here, and on CPUs that is FLASH_ATTENTION."""

    ERROR = -1
    MATH = own.MATH
    FLASH_ATTENTION = own.FLASH
    EFFICIENT_ATTENTION = own.EFFICIENT
    CUDNN_ATTENTION = own.CUDNN
    OVERRIDEABLE = own.OVERRIDEABLE


def _cur_sdpa_kernel_backends(with_priority: bool = False) -> list[SDPBackend]:
    """Those that may run now."""
    kinds = own.choice.order if with_priority else sorted(own.ALL)
    return [SDPBackend(k) for k in kinds if k in own.choice.enabled]


@contextlib.contextmanager
def sdpa_kernel(
    backends: SDPBackend | list[SDPBackend], set_priority: bool = False
) -> Iterator[None]:
    """Inside the block only these implementations may run, with `set_priority` in that order.

    RuntimeError from the operator where none of them serves the device.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention import SDPBackend, sdpa_kernel
        >>> q = torch.ones(1, 2, 3, 4)
        >>> with sdpa_kernel(SDPBackend.MATH):
        ...     y = torch.nn.functional.scaled_dot_product_attention(q, q, q)
        >>> y.shape
        tritorch.Size([1, 2, 3, 4])
    """
    given = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(given, list | tuple) or not all(isinstance(b, SDPBackend) for b in given):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{backends!r}"
        )
    kinds = tuple(dict.fromkeys(b.value for b in given))
    before = own.choice.enabled, own.choice.order
    rest = tuple(k for k in before[1] if k not in kinds)
    own.set_enabled(frozenset(kinds), (*kinds, *rest) if set_priority else None)
    try:
        yield
    finally:
        own.set_enabled(*before)
