"""What the bytes of a file stand for, by its extension: text, numbers, JSON, tensors, images."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from .....ops import create
from .....serialization import load
from .common import StreamWrapper

__all__ = [
    "Decoder",
    "ImageHandler",
    "MatHandler",
    "basichandlers",
    "extension_extract_fn",
    "handle_extension",
    "imagehandler",
    "mathandler",
]

_IMAGES = ("jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm")
# name -> (of which library, of which values, mode)
_SPECS = {
    **{f"{m}8": ("numpy", "uint8", m) for m in ("l", "rgb", "rgba")},
    **{m: ("numpy", "float", m) for m in ("l", "rgb", "rgba")},
    **{f"torch{m}8": ("torch", "uint8", m) for m in ("l", "rgb", "rgba")},
    **{f"torch{m}": ("torch", "float", m) for m in ("l", "rgb", "rgba")},
    "torch": ("torch", "float", "rgb"),
    **{f"pil{m}": ("pil", None, m) for m in ("l", "rgb", "rgba")},
    "pill": ("pil", None, "l"),
    "pil": ("pil", None, "rgb"),
}


def basichandlers(extension: str, data: bytes) -> Any:
    """Text, an integer, JSON, a pickle or a file of `tritorch.save`; None for other extensions."""
    if extension in ("txt", "text", "transcript"):
        return data.decode()
    if extension in ("cls", "cls2", "class", "count", "index", "inx", "id"):
        try:
            return int(data)
        except ValueError:
            return None
    if extension in ("json", "jsn"):
        return json.loads(data)
    if extension in ("pyd", "pickle"):
        return pickle.loads(data)
    return load(io.BytesIO(data)) if extension == "pt" else None


def handle_extension(extensions: str, f: Callable[[bytes], Any]) -> Callable[[str, bytes], Any]:
    """A handler that calls `f` for names that end in one of the extensions, divided by blanks."""
    ends = [e.split(".") for e in extensions.lower().split()]

    def handler(key: str, data: bytes) -> Any:
        parts = key.lower().split(".")
        return f(data) if any(parts[-len(end) :] == end for end in ends) else None

    return handler


class ImageHandler:
    """Decodes images, as `imagespec` says: `torchrgb` gives a tensor `(3, H, W)` of 0 to 1.

    `torch`, `pil` or nothing for NumPy, then the mode `l`, `rgb` or `rgba`, then `8` for bytes.
    """

    def __init__(self, imagespec: str) -> None:
        if imagespec not in _SPECS:
            raise AssertionError(f"unknown image specification: {imagespec}")
        self.imagespec = imagespec

    def __call__(self, extension: str, data: bytes) -> Any:
        if extension.lower() not in _IMAGES:
            return None
        try:
            from PIL import Image
        except ImportError as error:
            raise ModuleNotFoundError(
                "images need the package Pillow: pip install Pillow"
            ) from error
        library, values, mode = _SPECS[self.imagespec]
        image = Image.open(io.BytesIO(data)).convert(mode.upper())
        if library == "pil":
            return image
        array = np.asarray(image)
        if library == "numpy":
            return array if values == "uint8" else array.astype(np.float32) / 255
        planes = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
        tensor = create.tensor(planes.copy())
        return tensor if values == "uint8" else tensor / 255.0


def imagehandler(imagespec: str) -> ImageHandler:
    """The handler of images of that kind."""
    return ImageHandler(imagespec)


class MatHandler:
    """Decodes files of MATLAB, by SciPy's `loadmat` and its keywords."""

    def __init__(self, **loadmat_kwargs: Any) -> None:
        self.loadmat_kwargs = loadmat_kwargs

    def __call__(self, extension: str, data: bytes) -> Any:
        if extension != "mat":
            return None
        from scipy.io import loadmat

        return loadmat(io.BytesIO(data), **self.loadmat_kwargs)


def mathandler(**loadmat_kwargs: Any) -> MatHandler:
    """The handler of MATLAB's files."""
    return MatHandler(**loadmat_kwargs)


def extension_extract_fn(pathname: str) -> str:
    """The extension of a name, without its dot."""
    return os.path.splitext(pathname)[1][1:]


class Decoder:
    """Decodes pairs of a name and bytes or a stream: the first handler that gives something."""

    def __init__(self, *handler: Callable, key_fn: Callable = extension_extract_fn) -> None:
        self.handlers, self.key_fn = list(handler), key_fn

    def add_handler(self, *handler: Callable) -> None:
        """Put handlers before those that are there."""
        self.handlers = [*handler, *self.handlers]

    def decode1(self, key: str, data: Any) -> Any:
        """What the data stand for; itself where no handler knows."""
        if not data:
            return data
        plain = data.file_obj if isinstance(data, StreamWrapper) else data
        if isinstance(plain, io.BufferedIOBase | io.RawIOBase):
            with plain:
                data = b"".join(data)
        found = (handler(key, data) for handler in self.handlers)
        return next((value for value in found if value is not None), data)

    def decode(self, data: Any) -> dict[str, Any]:
        """Names with what their data stand for, of one pair or of several."""
        pairs = [data] if isinstance(data, tuple) else data or []
        out = {}
        for name, value in pairs:
            if name.startswith("_") and isinstance(value, bytes):
                out[name] = value.decode()
            else:
                out[name] = self.decode1(self.key_fn(name), value)
        return out

    def __call__(self, data: Any) -> dict[str, Any]:
        return self.decode(data)
