"""What the two parts of mixed precision ask."""

from ...runtime import memory

__all__ = ["amp_definitely_not_available"]


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU."""
    return not memory.available()
