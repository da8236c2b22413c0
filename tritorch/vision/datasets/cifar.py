"""CIFAR-10 and CIFAR-100, from the pickled batches in which they are published.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._pillow import pillow
from .vision import VisionDataset, present


class _Arrays(pickle.Unpickler):
    """Reads what the batches hold, and refuses everything else."""

    allowed = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"a batch of CIFAR holds no {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


class CIFAR10(VisionDataset):
    """Photographs, (32, 32) in colour, of ten classes, from `root/cifar-10-batches-py`.

    The published archive beside that folder serves as well. `data` is a NumPy array
    (N, 32, 32, 3) of uint8, `targets` a list; samples are PIL images, changed by `transform`.
    """

    base_folder = "cifar-10-batches-py"
    filename = "cifar-10-python.tar.gz"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html"
    train_list = tuple(f"data_batch_{k}" for k in range(1, 6))
    test_list = ("test_batch",)
    meta, names = "batches.meta", "label_names"

    def __init__(
        self,
        root: Any,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        parts = [*(self.train_list if train else self.test_list), self.meta]
        *batches, about = self._read(parts, download)
        planes = np.concatenate([b["data"] for b in batches]).reshape(-1, 3, 32, 32)
        self.data = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        kind = "labels" if "labels" in batches[0] else "fine_labels"
        self.targets = [t for b in batches for t in b[kind]]
        self.classes = about[self.names]
        self.class_to_idx = {name: k for k, name in enumerate(self.classes)}

    def _read(self, parts: list[str], download: bool) -> list[dict]:
        folder, archive = Path(self.root) / self.base_folder, Path(self.root) / self.filename
        if not folder.exists() and archive.exists():
            with tarfile.open(archive) as tar:
                members = [tar.extractfile(f"{self.base_folder}/{p}") for p in parts]
                return [_Arrays(m, encoding="latin1").load() for m in members]  # type: ignore[arg-type]
        present(type(self).__name__, [folder / p for p in parts], self.source, download)
        found = []
        for part in parts:
            with open(folder / part, "rb") as f:
                found.append(_Arrays(f, encoding="latin1").load())
        return found

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.changed(pillow().fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """As `CIFAR10`, of a hundred classes, from `root/cifar-100-python/train`."""

    base_folder = "cifar-100-python"
    filename = "cifar-100-python.tar.gz"
    train_list = ("train",)
    test_list = ("test",)
    meta, names = "meta", "fine_label_names"
