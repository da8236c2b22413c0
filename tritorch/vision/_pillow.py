"""Pillow, imported at the first need, and the error that says how to get it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ..tensor import Tensor


def pillow(part: str = "Image") -> Any:
    """The module `PIL.<part>`; ImportError that says what to install."""
    try:
        return importlib.import_module(f"PIL.{part}")
    except ImportError as error:
        raise ImportError(
            "tritorch.vision: images are read and drawn by Pillow, which is not installed: "
            "pip install 'tritorch[vision]'"
        ) from error


def is_pil(image: Any) -> bool:
    """Whether it is a PIL image. Without an import: one of another process's would be none."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def check(name: str, image: Any) -> bool:
    """True for a tensor, False for a PIL image; TypeError for anything else."""
    if isinstance(image, Tensor):
        if image.ndim < 2:
            raise TypeError(
                f"{name}: Tensor is not a torch image: expected (..., H, W), got shape "
                f"{tuple(image.shape)}"
            )
        return True
    if not is_pil(image):
        raise TypeError(f"{name}: img should be PIL Image or Tensor image. Got {type(image)}")
    return False
