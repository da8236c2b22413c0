"""Text: tokenizers, vocabularies, readers of local corpora. It answers `torchtext`.

Each part is imported at its first use.
"""

import importlib
from typing import Any

__version__ = "0.18.0+tritorch"  # whose interface this is
_PARTS = ("data", "datasets", "functional", "tokenizers", "transforms", "vocab")
__all__ = [*_PARTS, "disable_torchtext_deprecation_warning"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS})


def disable_torchtext_deprecation_warning() -> None:
    """Nothing: there is no such warning."""
