"""Images of different sizes in one tensor."""

from __future__ import annotations

from typing import Any


class ImageList:
    """A batch `(N, C, H, W)` whose images are padded, and the size of each before that."""

    def __init__(self, tensors: Any, image_sizes: list[tuple[int, int]]) -> None:
        self.tensors, self.image_sizes = tensors, image_sizes

    def to(self, device: Any) -> ImageList:
        """The same on another device."""
        return ImageList(self.tensors.to(device), self.image_sizes)
