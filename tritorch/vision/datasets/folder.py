"""Images in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._pillow import pillow
from .vision import VisionDataset

IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether the name ends so, in capitals or not."""
    return filename.lower().endswith(extensions)


def is_image_file(filename: str) -> bool:
    """Whether the name is an image's."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: Any) -> tuple[list[str], dict[str, int]]:
    """The folders in it, in the order of their names, and their numbers."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: k for k, name in enumerate(classes)}


def make_dataset(
    directory: Any,
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """All files under the classes' folders that have one of `extensions` or are valid, sorted."""
    if class_to_idx is None:
        class_to_idx = find_classes(directory)[1]
    if not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError(
            "Both extensions and is_valid_file cannot be None or not None at the same time"
        )
    found, empty = [], []
    for name in sorted(class_to_idx):
        here = []
        for base, _, files in sorted(os.walk(Path(directory) / name, followlinks=True)):
            for path in (os.path.join(base, f) for f in sorted(files)):
                if is_valid_file(path) if is_valid_file else path.lower().endswith(extensions):  # type: ignore[arg-type]
                    here.append((path, class_to_idx[name]))
        found += here
        if not here:
            empty.append(name)
    if empty and not allow_empty:
        text = f"Found no valid file for the classes {', '.join(empty)}."
        raise FileNotFoundError(
            text + (f" Supported extensions are: {extensions}" if extensions else "")
        )
    return found


class DatasetFolder(VisionDataset):
    """Files `root/class/.../name.ext`, read by `loader`; targets are the classes' numbers."""

    def __init__(
        self,
        root: Any,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader, self.extensions = loader, extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(
            self.root, self.class_to_idx, extensions, is_valid_file, allow_empty
        )
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(*args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        return make_dataset(*args, **kwargs)

    def find_classes(self, directory: Any) -> tuple[list[str], dict[str, int]]:
        """The classes' names and numbers; to be overridden where they lie otherwise."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.changed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


def pil_loader(path: str) -> Any:
    """The file's image in RGB."""
    with open(path, "rb") as f:
        return pillow().open(f).convert("RGB")


default_loader = pil_loader


class ImageFolder(DatasetFolder):
    """Images `root/class/name.png` and their classes' numbers.

    Samples are PIL images in RGB, changed by `transform`.
    """

    def __init__(
        self,
        root: Any,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(
            root, loader, extensions, transform, target_transform, is_valid_file, allow_empty
        )
        self.imgs = self.samples
