"""Memory shared with other libraries by DLPack, under the names of PyTorch's file.

Source: https://dmlc.github.io/dlpack/latest, the codes of devices.
"""

from __future__ import annotations

import enum
from typing import Any

from ..ops.interop import from_dlpack as from_dlpack
from ..tensor import Tensor

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


DLDeviceType = enum.IntEnum(
    "DLDeviceType",
    {
        **{"kDLCPU": 1, "kDLCUDA": 2, "kDLCUDAHost": 3, "kDLOpenCL": 4, "kDLVulkan": 7},
        **{"kDLMetal": 8, "kDLVPI": 9, "kDLROCM": 10, "kDLROCMHost": 11, "kDLExtDev": 12},
        **{"kDLCUDAManaged": 13, "kDLOneAPI": 14, "kDLWebGPU": 15, "kDLHexagon": 16},
        "kDLMAIA": 17,
    },
)  # the kinds of memory that DLPack numbers


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule of the tensor's memory, for one consumer.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils.dlpack import from_dlpack, to_dlpack
        >>> x = torch.zeros(2)
        >>> y = from_dlpack(to_dlpack(x))
        >>> x[0] = 5.0
        >>> y
        tensor([5., 0.])
    """
    return tensor.__dlpack__()  # type: ignore[attr-defined]
