"""`torch.version`: the version, and that no CUDA toolkit, HIP or debug build stands below."""

from __future__ import annotations

from typing import Any

cuda = hip = xpu = None  # kernels are compiled by Triton, not linked to a toolkit
debug = False
git_version = "unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":  # as it is now: under the import hook it is PyTorch's
        import tritorch

        return tritorch.__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
