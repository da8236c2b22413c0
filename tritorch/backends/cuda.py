"""Switches of products on CUDA devices."""

from __future__ import annotations

from ..runtime import memory


class _Matmul:
    """What products may round; kept, and without effect."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = False
    allow_bf16_reduced_precision_reduction = False


matmul = _Matmul()


def is_built() -> bool:
    """Whether CUDA's packages are installed here."""
    return not memory._missing()
