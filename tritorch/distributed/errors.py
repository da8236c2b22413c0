"""What goes wrong between processes, under PyTorch's names."""

from __future__ import annotations

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError"]


class DistError(RuntimeError):
    """Something between processes failed."""


class DistBackendError(DistError):
    """The processes of a group do not run the same operation, or on other shapes."""


class DistNetworkError(DistError):
    """A process has gone, or did not answer in time."""


class DistStoreError(DistError):
    """A store did not have a key in time, or could not be reached."""
