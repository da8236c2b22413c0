"""Calls of CUDA's own functions, and the errors that they end with."""

from __future__ import annotations

from types import ModuleType

from .streams import owner_of


class cudaStatus:
    """Numbers of two statuses, as PyTorch has them."""

    SUCCESS: int = 0
    ERROR_NOT_READY: int = 34


class CudaError(RuntimeError):
    """A call of CUDA's failed; made of the number of its status."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{cudart().cudaGetErrorString(code)} ({int(code)})")


class DeferredCudaCallError(Exception):
    """A call that waited for the first use of CUDA failed; nothing waits so here."""


def cudart() -> ModuleType:
    """Functions of CUDA's runtime: `cudaProfilerStart`, `cudaHostRegister`, `cudaMemGetInfo` ...

    RuntimeError where there is no CUDA device.

    Example:
        >>> import tritorch as torch
        >>> def lock_pages(x):
        ...     done = torch.cuda.cudart().cudaHostRegister(x.data_ptr(), x.nbytes, 0)
        ...     torch.cuda.check_error(done)
    """
    owner_of("cudart").enter()
    from ..runtime import cudart

    return cudart


def check_error(res: int) -> None:
    """CudaError where the status of a call of `cudart()` is not success."""
    if int(res) != cudaStatus.SUCCESS:
        raise CudaError(res)
