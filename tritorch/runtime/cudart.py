"""The functions of CUDA's runtime that PyTorch's `torch.cuda.cudart()` has, on the driver's.

As there, a function returns its status, which `cudaError.success` or `torch.cuda.check_error` tell.
"""

# pyright: reportAttributeAccessIssue=false
# (cuda-bindings has no stubs)

from __future__ import annotations

from cuda.bindings import driver

from . import memory


class cudaError(int):
    """The status of a call, by CUDA's numbers: 0 is success."""

    success: cudaError

    def __repr__(self) -> str:
        return f"<cudaError {int(self)}: {cudaGetErrorString(self)}>"


cudaError.success = cudaError(0)


def _status(result: tuple) -> cudaError:
    return cudaError(int(result[0]))


def cudaGetErrorString(error: int) -> str:
    """What a status says."""
    try:
        status, text = driver.cuGetErrorString(driver.CUresult(int(error)))
    except ValueError:
        return "unrecognized error code"
    return text.decode() if not int(status) and text else "unrecognized error code"


def cudaProfilerStart() -> cudaError:
    """Let a profiler that was started with its range off collect from now on."""
    return _status(driver.cuProfilerStart())


def cudaProfilerStop() -> cudaError:
    """End what `cudaProfilerStart` began."""
    return _status(driver.cuProfilerStop())


def cudaHostRegister(ptr: int, size: int, flags: int) -> cudaError:
    """Lock pages of host memory, from which the device then copies at full speed."""
    return _status(driver.cuMemHostRegister(ptr, size, flags))


def cudaHostUnregister(ptr: int) -> cudaError:
    """End what `cudaHostRegister` began."""
    return _status(driver.cuMemHostUnregister(ptr))


def cudaMemGetInfo(device: int) -> tuple[int, int]:
    """Free and total bytes of a device."""
    return memory.runtime().device(device).memory_info()  # type: ignore[attr-defined]
