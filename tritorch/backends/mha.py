"""Whether attention in `eval` may take a faster way, under the name of PyTorch's part.

Here it says only whether a `TransformerEncoder` leaves out what is padded.
"""

from __future__ import annotations

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_enabled = [True]


def get_fastpath_enabled() -> bool:
    """Whether it may; at first True."""
    return _enabled[0]


def set_fastpath_enabled(value: bool) -> None:
    """Whether it may from now on."""
    _enabled[0] = value
