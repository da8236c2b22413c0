"""Street View House Numbers, from the published `.mat` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._pillow import pillow
from .vision import VisionDataset, present


class SVHN(VisionDataset):
    """Digits on houses, (32, 32) in colour, from `root/train_32x32.mat`, `test` and `extra`.

    `data` is (N, 3, 32, 32) uint8, `labels` (N,) int64, where the digit 0 is 0.
    Source: Netzer et al., "Reading digits in natural images", 2011.
    """

    source = "http://ufldl.stanford.edu/housenumbers/"

    def __init__(
        self,
        root: Any,
        split: str = "train",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        if split not in ("train", "test", "extra"):
            raise ValueError(f"SVHN: split is train, test or extra, got {split!r}")
        from scipy.io import loadmat

        self.split = split
        path = Path(self.root) / f"{split}_32x32.mat"
        present("SVHN", [path], self.source, download)
        found = loadmat(str(path))
        self.data = np.transpose(found["X"], (3, 2, 0, 1))
        self.labels = found["y"].astype(np.int64).reshape(-1) % 10  # 10 stands for 0

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        values = np.ascontiguousarray(self.data[index].transpose(1, 2, 0))
        return self.changed(pillow().fromarray(values), int(self.labels[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {self.split.title()}"
