"""Images: transforms, datasets, operators on boxes, models, grids. It answers `torchvision`.

Files and PIL images go through Pillow, an optional package: `pip install 'tritorch[vision]'`.
Each part is imported at its first use.
"""

import importlib
from typing import Any

__version__ = "0.28.0+tritorch"  # whose interface this is
_PARTS = ("datasets", "io", "models", "ops", "transforms", "tv_tensors", "utils")
__all__ = [*_PARTS, "disable_beta_transforms_warning", "get_image_backend", "set_image_backend"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS})


def get_image_backend() -> str:
    """What reads images: always "PIL"."""
    return "PIL"


def set_image_backend(backend: str) -> None:
    """ValueError for anything but "PIL"."""
    if backend != "PIL":
        raise ValueError(f"set_image_backend: images are read by PIL, got {backend!r}")


def disable_beta_transforms_warning() -> None:
    """Nothing: `transforms.v2` has no warning to disable."""
