"""What datasets of images share: a root, and transforms of image and target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...utils.data.dataset import Dataset


class VisionDataset(Dataset):
    """A dataset under `root`, with transforms: of the image, of the target, or one of both."""

    def __init__(
        self,
        root: Any = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        self.root = str(Path(root).expanduser()) if isinstance(root, str) else root
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError(
                "Only transforms or transform/target_transform can be passed as argument"
            )
        self.transform, self.target_transform = transform, target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def __len__(self) -> int:
        raise NotImplementedError

    def changed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """Image and target after their transforms."""
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"Root location: {self.root}")
        lines += self.extra_repr().splitlines()
        if self.transforms is not None:
            lines += repr(self.transforms).splitlines()
        return "\n".join([f"Dataset {type(self).__name__}", *("    " + line for line in lines)])

    def extra_repr(self) -> str:
        return ""


class StandardTransform:
    """One transform of the image and one of the target."""

    def __init__(
        self, transform: Callable | None = None, target_transform: Callable | None = None
    ) -> None:
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        body = ["StandardTransform"]
        for name, f in (("Transform: ", self.transform), ("Target: ", self.target_transform)):
            if f is not None:
                first, *rest = repr(f).splitlines()
                body += [name + first, *(" " * len(name) + line for line in rest)]
        return "\n".join(body)


def present(name: str, files: Iterable[Path], source: str, download: bool) -> None:
    """RuntimeError that names the missing files, and where they are published."""
    missing = [f for f in files if not f.exists()]
    if missing:
        listed = ", ".join(str(f) for f in missing[:3]) + (" ..." if len(missing) > 3 else "")
        wish = "download=True: nothing is downloaded here. " if download else ""
        raise RuntimeError(
            f"{name}: Dataset not found. {wish}Put the published files there: {listed}; they are "
            f"at {source}"
        )
