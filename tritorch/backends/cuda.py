"""Switches of products on CUDA devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..ops import attention_backends as _attention
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


# -- implementations of scaled_dot_product_attention ----------------------------------------------


def enable_flash_sdp(enabled: bool) -> None:
    """Allow flash attention, or not; on CPUs the fused implementation."""
    _attention.switch(_attention.FLASH, enabled)


def flash_sdp_enabled() -> bool:
    """Whether flash attention may run."""
    return _attention.FLASH in _attention.choice.enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow memory-efficient attention, or not."""
    _attention.switch(_attention.EFFICIENT, enabled)


def mem_efficient_sdp_enabled() -> bool:
    """Whether memory-efficient attention may run."""
    return _attention.EFFICIENT in _attention.choice.enabled


def enable_math_sdp(enabled: bool) -> None:
    """Allow the composition of products and a softmax, or not."""
    _attention.switch(_attention.MATH, enabled)


def math_sdp_enabled() -> bool:
    """Whether the composition may run."""
    return _attention.MATH in _attention.choice.enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow cuDNN's attention, or not; here it is the fused kernel as well."""
    _attention.switch(_attention.CUDNN, enabled)


def cudnn_sdp_enabled() -> bool:
    """Whether cuDNN's attention may run."""
    return _attention.CUDNN in _attention.choice.enabled


def is_flash_attention_available() -> bool:
    """Whether there is a GPU for the fused kernel."""
    return memory.available()


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """Inside the block only these implementations run; `nn.attention.sdpa_kernel` is the newer
    form."""
    kinds = {
        _attention.FLASH: enable_flash,
        _attention.MATH: enable_math,
        _attention.EFFICIENT: enable_mem_efficient,
        _attention.CUDNN: enable_cudnn,
    }
    before = _attention.choice.enabled
    _attention.set_enabled(frozenset(k for k, on in kinds.items() if on))
    try:
        yield
    finally:
        _attention.set_enabled(before)
