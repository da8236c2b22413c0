"""Image files as tensors (C, H, W) of uint8, through Pillow."""

from __future__ import annotations

import enum
import io
from pathlib import Path
from typing import Any

from ..dtypes import uint8
from ..ops.api import PUBLIC
from ..tensor import Tensor
from ._pillow import pillow
from .transforms.functional import pil_to_tensor, to_pil_image


class ImageReadMode(enum.Enum):
    """What colours a file is read as."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


NAMES = {"GRAY": "L", "GRAY_ALPHA": "LA", "RGB": "RGB", "RGB_ALPHA": "RGBA"}


def _read(source: Any, mode: ImageReadMode | str) -> Tensor:
    mode = ImageReadMode[mode.upper()] if isinstance(mode, str) else mode
    with pillow().open(source) as image:
        if mode.name != "UNCHANGED":
            image = image.convert(NAMES[mode.name])
        elif image.mode == "P":
            image = image.convert("RGB")
        return pil_to_tensor(image)


def read_image(path: Any, mode: ImageReadMode | str = ImageReadMode.UNCHANGED) -> Tensor:
    """The image of a file (PNG, JPEG, and what else Pillow reads), (C, H, W), uint8."""
    return _read(path, mode)


def decode_image(input: Any, mode: ImageReadMode | str = ImageReadMode.UNCHANGED) -> Tensor:
    """The image of a file's bytes, a uint8 tensor (N,), or of a path."""
    return _read(io.BytesIO(_bytes(input)) if isinstance(input, Tensor) else input, mode)


decode_png = decode_jpeg = decode_image


def _bytes(x: Any) -> bytes:
    return x.detach().cpu().numpy().tobytes()


def read_file(path: Any) -> Tensor:
    """A file's bytes, uint8 (N,)."""
    return PUBLIC["frombuffer"](bytearray(Path(path).read_bytes()), dtype=uint8)


def write_file(filename: Any, data: Tensor) -> None:
    """Bytes, uint8 (N,), into a file."""
    Path(filename).write_bytes(_bytes(data))


def _encoded(image: Tensor, kind: str, **settings: Any) -> bytes:
    if image.dtype.name != "uint8" or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise RuntimeError(
            f"encode_{kind.lower()}: expected a uint8 tensor (1 or 3, H, W), got {image.dtype} of "
            f"shape {tuple(image.shape)}"
        )
    out = io.BytesIO()
    to_pil_image(image).save(out, kind, **settings)
    return out.getvalue()


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """A PNG file's bytes of an image (C, H, W)."""
    data = _encoded(input, "PNG", compress_level=compression_level)
    return PUBLIC["frombuffer"](bytearray(data), dtype=uint8)


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """A JPEG file's bytes of an image (C, H, W)."""
    data = _encoded(input, "JPEG", quality=quality)
    return PUBLIC["frombuffer"](bytearray(data), dtype=uint8)


def write_png(input: Tensor, filename: Any, compression_level: int = 6) -> None:
    """An image (C, H, W), uint8, into a PNG file."""
    Path(filename).write_bytes(_encoded(input, "PNG", compress_level=compression_level))


def write_jpeg(input: Tensor, filename: Any, quality: int = 75) -> None:
    """An image (C, H, W), uint8, into a JPEG file."""
    Path(filename).write_bytes(_encoded(input, "JPEG", quality=quality))
