"""Between PIL images, NumPy arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import dtypes
from ...dtypes import DType
from ...ops.api import PUBLIC
from ...tensor import Tensor
from .._pillow import is_pil, pillow

WIDE = {"I": np.int32, "I;16": np.int16, "F": np.float32}  # modes that are not of bytes


def _planes(pic: Any) -> np.ndarray:
    """A PIL image as (C, H, W)."""
    values = np.array(pic, WIDE.get(pic.mode))
    values = values[..., None] if values.ndim == 2 else values
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def pil_to_tensor(pic: Any) -> Tensor:
    """A PIL image as a tensor (C, H, W) of its own values: uint8 for most modes.

    Raises:
        TypeError: where it is no PIL image.
    """
    if not is_pil(pic):
        raise TypeError(f"pil_to_tensor: pic should be PIL Image. Got {type(pic)}")
    return PUBLIC["from_numpy"](_planes(pic))


def to_tensor(pic: Any) -> Tensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W); bytes become floats in [0, 1].

    Raises:
        TypeError: where it is neither. ValueError: an array that has not 2 or 3 dimensions.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(
                f"to_tensor: pic should be 2/3 dimensional. Got {pic.ndim} dimensions."
            )
        values = pic[:, :, None] if pic.ndim == 2 else pic
        values = np.ascontiguousarray(values.transpose(2, 0, 1))
    elif is_pil(pic):
        values = _planes(pic)
        values = values * np.uint8(255) if pic.mode == "1" else values
    else:
        raise TypeError(f"to_tensor: pic should be PIL Image or ndarray. Got {type(pic)}")
    out: Any = PUBLIC["from_numpy"](values)
    if values.dtype != np.uint8:
        return out
    return out.to(dtypes.get_default_dtype()).div(255)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or (H, W), or an array (H, W, C) or (H, W), as a PIL image.

    Floats are taken to lie in [0, 1]. The mode follows from the channels: L, LA, RGB, RGBA.
    """
    if isinstance(pic, Tensor):
        x: Any = pic.detach().cpu()
        if x.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {x.ndim} dimensions.")
        if x.ndim == 3 and x.shape[0] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {x.shape[0]} channels.")
        x = x.unsqueeze(0) if x.ndim == 2 else x
        if x.dtype.is_floating_point and mode != "F":
            x = x.mul(255).to(dtypes.uint8)
        values = x.numpy().transpose(1, 2, 0)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        values = pic[..., None] if pic.ndim == 2 else pic
        if values.shape[2] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {values.shape[2]} channels.")
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    return _image(np.ascontiguousarray(values), mode)


def _image(values: np.ndarray, mode: str | None) -> Any:
    """The image of an array (H, W, C); ValueError where `mode` does not fit it."""
    kinds = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}
    count, kind = values.shape[2], values.dtype.name
    if count == 1:
        expected, allowed = kinds.get(kind), {kinds.get(kind), "1" if kind == "uint8" else None}
    else:
        expected = {2: "LA", 3: "RGB", 4: "RGBA"}[count]
        allowed = {2: {"LA"}, 3: {"RGB", "YCbCr", "HSV", "LAB"}, 4: {"RGBA", "CMYK", "RGBX"}}[count]
        if kind != "uint8":
            expected = None
    if expected is None:
        raise TypeError(f"Input type {kind} is not supported for {count} channels")
    if mode is not None and mode not in allowed:
        raise ValueError(f"Incorrect mode ({mode}) supplied for {count} channels of {kind}")
    if count == 1:
        if kind == "int16":  # Pillow keeps 16 bits without a sign
            values = values.astype(np.uint16)
        image = pillow().fromarray(values[..., 0])
        return image.convert("1") if mode == "1" else image
    if mode in (None, expected):
        return pillow().fromarray(values)
    return pillow().frombytes(mode, values.shape[1::-1], values.tobytes())


def convert_image_dtype(image: Tensor, dtype: DType = dtypes.float32) -> Tensor:
    """The image in another dtype, its values scaled to that dtype's range: 255 becomes 1.0."""
    x: Any = image
    if x.dtype == dtype:
        return x
    top, end = _top(x.dtype), _top(dtype)
    if x.dtype.is_floating_point:
        if dtype.is_floating_point:
            return x.to(dtype)
        if end > 2**31 or (x.dtype.itemsize <= 4 and end > 2**24):
            raise RuntimeError(f"The cast from {x.dtype} to {dtype} cannot be performed safely.")
        return (x * (end + 1.0 - 1e-3)).to(dtype)
    if dtype.is_floating_point:
        return x.to(dtype) / top
    if top > end:
        return PUBLIC["div"](x, int((top + 1) // (end + 1)), rounding_mode="floor").to(dtype)
    return x.to(dtype) * int((end + 1) // (top + 1))


def _top(kind: DType) -> int:
    """The largest value of an integer dtype; 1 for the others."""
    whole = not kind.is_floating_point and kind.name != "bool"
    return int(np.iinfo(np.dtype(kind.name)).max) if whole else 1
