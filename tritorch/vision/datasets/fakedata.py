"""Images of noise, to try a program on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.api import PUBLIC
from ...ops.generator import Generator
from ..transforms.functional import to_pil_image
from .vision import VisionDataset


class FakeData(VisionDataset):
    """`size` random PIL images of `image_size` (C, H, W) with classes, the same at each reading.

    Example:
        >>> from tritorch.vision import datasets
        >>> len(datasets.FakeData(size=8, image_size=(3, 16, 16), num_classes=2))
        8
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(None, transform=transform, target_transform=target_transform)
        self.size, self.num_classes, self.image_size = size, num_classes, image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        generator = Generator()
        generator.manual_seed(index + self.random_offset)
        image = PUBLIC["randn"](*self.image_size, generator=generator)
        target = int(PUBLIC["randint"](0, self.num_classes, (1,), generator=generator))
        return self.changed(to_pil_image(image), target)

    def __len__(self) -> int:
        return self.size
