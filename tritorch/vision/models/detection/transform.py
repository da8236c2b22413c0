"""Images brought to a detector's size and range, and what it found back to the images' own."""

from __future__ import annotations

import math
from typing import Any

from .... import dtypes, nn
from ....nn import functional as F
from ....ops.api import PUBLIC
from .image_list import ImageList
from .roi_heads import paste_masks_in_image

Size = tuple[int, int]
stack = PUBLIC["stack"]


def _factors(original_size: Any, new_size: Any, like: Any) -> list:
    """How much higher and wider the new image is, with the rounding of its dtype's division."""
    kind = {"dtype": dtypes.float32, "device": like.device}
    return [
        PUBLIC["tensor"](new, **kind) / PUBLIC["tensor"](old, **kind)
        for new, old in zip(new_size, original_size, strict=True)
    ]


def resize_boxes(boxes: Any, original_size: Any, new_size: Any) -> Any:
    """Boxes (N, 4) of an image (height, width) in one of another size."""
    high, wide = _factors(original_size, new_size, boxes)
    x1, y1, x2, y2 = boxes.unbind(1)
    return stack((x1 * wide, y1 * high, x2 * wide, y2 * high), 1)


def resize_keypoints(keypoints: Any, original_size: Any, new_size: Any) -> Any:
    """Points (N, K, 3) of an image (height, width) in one of another size."""
    high, wide = _factors(original_size, new_size, keypoints)
    x, y, visible = keypoints.unbind(2)
    return stack((x * wide, y * high, visible), 2)


class GeneralizedRCNNTransform(nn.Module):
    """Normalises images, scales them, and pads them to one tensor.

    The shorter side becomes `min_size`, in training one drawn of several, unless the longer one
    would be over `max_size`; with `fixed_size` (width, height) all have that. Both sides of the
    batch are multiples of `size_divisible`.
    """

    def __init__(
        self,
        min_size: int | tuple[int, ...],
        max_size: int,
        image_mean: list[float],
        image_std: list[float],
        size_divisible: int = 32,
        fixed_size: Size | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.min_size = tuple(min_size) if isinstance(min_size, list | tuple) else (min_size,)
        self.max_size, self.image_mean, self.image_std = max_size, image_mean, image_std
        self.size_divisible, self.fixed_size = size_divisible, fixed_size
        self._skip_resize = kwargs.pop("_skip_resize", False)

    def forward(
        self, images: list, targets: list[dict[str, Any]] | None = None
    ) -> tuple[ImageList, list[dict[str, Any]] | None]:
        found = [None if targets is None else dict(t) for t in (targets or images)]
        batch = []
        for k, image in enumerate(images):
            if image.ndim != 3:
                raise ValueError(
                    "images is expected to be a list of 3d tensors of shape [C, H, W], got "
                    f"{tuple(image.shape)}"
                )
            image, found[k] = self.resize(self.normalize(image), found[k])
            batch.append(image)
        sizes = [tuple(x.shape[-2:]) for x in batch]
        return ImageList(self.batch_images(batch, self.size_divisible), sizes), (
            None if targets is None else found  # type: ignore[return-value]
        )

    def normalize(self, image: Any) -> Any:
        """Less the mean, over the deviation, channel by channel; TypeError for integers."""
        if not image.dtype.is_floating_point:
            raise TypeError(
                "Expected input images to be of floating type (in range [0, 1]), but found type "
                f"{image.dtype} instead"
            )
        mean, std = (
            image.new_tensor(values)[:, None, None] for values in (self.image_mean, self.image_std)
        )
        return (image - mean) / std

    def torch_choice(self, k: Any) -> int:
        """One of `k`, drawn by the framework's generator."""
        return k[int(PUBLIC["empty"](1).uniform_(0.0, float(len(k))).item())]

    def _to(self, image: Any) -> dict[str, Any]:
        """How `interpolate` is told the new size."""
        if self.fixed_size is not None:
            return {"size": (self.fixed_size[1], self.fixed_size[0])}
        size = self.torch_choice(self.min_size) if self.training else self.min_size[-1]
        height, width = image.shape[-2:]
        scale = min(size / min(height, width), self.max_size / max(height, width))
        return {"scale_factor": scale, "recompute_scale_factor": True}

    def resize(self, image: Any, target: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """The image in its new size, and boxes, masks and points with it."""
        if self.training and self._skip_resize:
            return image, target
        before, to = tuple(image.shape[-2:]), self._to(image)
        image = F.interpolate(image[None], mode="bilinear", align_corners=False, **to)[0]
        if target is None:
            return image, target
        after = tuple(image.shape[-2:])
        target["boxes"] = resize_boxes(target["boxes"], before, after)
        if "masks" in target:
            masks = F.interpolate(target["masks"][:, None].float(), **to)[:, 0]
            target["masks"] = masks.byte()
        if "keypoints" in target:
            target["keypoints"] = resize_keypoints(target["keypoints"], before, after)
        return image, target

    def batch_images(self, images: list, size_divisible: int = 32) -> Any:
        """One tensor (N, C, H, W), with zeros to the right of the images and below."""
        sides = [max(x.shape[k] for x in images) for k in (1, 2)]
        height, width = (math.ceil(s / size_divisible) * size_divisible for s in sides)
        out = images[0].new_zeros((len(images), images[0].shape[0], height, width))
        for k, image in enumerate(images):
            out[k, :, : image.shape[1], : image.shape[2]] = image
        return out

    def postprocess(
        self, result: list[dict[str, Any]], image_shapes: list, original_image_sizes: list
    ) -> list[dict[str, Any]]:
        """What was found, in the images' own sizes."""
        if self.training:
            return result
        for found, size, original in zip(result, image_shapes, original_image_sizes, strict=True):
            found["boxes"] = resize_boxes(found["boxes"], size, original)
            if "masks" in found:
                found["masks"] = paste_masks_in_image(found["masks"], found["boxes"], original)
            if "keypoints" in found:
                found["keypoints"] = resize_keypoints(found["keypoints"], size, original)
        return result

    def extra_repr(self) -> str:
        return (
            f"mean={self.image_mean}, std={self.image_std}, min_size={self.min_size}, "
            f"max_size={self.max_size}, mode='bilinear'"
        )
