"""Datasets in MNIST's format: IDX files, plain or compressed by gzip.

Source of the format: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ... import dtypes
from ...ops.api import PUBLIC
from ...tensor import Tensor
from .._pillow import pillow
from .vision import VisionDataset, present

KINDS = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Any) -> np.ndarray:
    """The array of an IDX file: two zeros, kind, dimensions, sizes, values in big-endian order.

    Raises:
        ValueError: where the file is no IDX file, or shorter than it says.
    """
    path = Path(path)
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in KINDS:
        raise ValueError(f"{path} is no IDX file: it begins with {data[:4]!r}")
    kind, n = np.dtype(KINDS[data[2]]), data[3]
    sizes = tuple(np.frombuffer(data, ">u4", n, 4).astype(int).tolist())
    count = int(np.prod(sizes))
    if len(data) < 4 + 4 * n + count * kind.itemsize:
        raise ValueError(f"{path}: too short for the shape {sizes} that it says")
    values = np.frombuffer(data, kind, count, 4 + 4 * n).reshape(sizes)
    return values.astype(kind.newbyteorder("="))


class MNIST(VisionDataset):
    """Handwritten digits, (28, 28) in gray, from `root/MNIST/raw/train-images-idx3-ubyte` (or .gz).

    `root` may also hold the files itself. `data` is (N, 28, 28) uint8, `targets` (N,) int64;
    samples are PIL images, changed by `transform`.
    """

    source = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    classes = [
        f"{k} - {word}"
        for k, word in enumerate(
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        )
    ]

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
        files = [self._find(name) for name in self._names()]
        present(type(self).__name__, files, self.source, download)
        images, labels = (read_idx(f) for f in files)
        self.data: Any = PUBLIC["from_numpy"](images)
        self.targets: Any = PUBLIC["from_numpy"](labels.astype(np.int64))

    @property
    def raw_folder(self) -> str:
        return str(Path(self.root) / type(self).__name__ / "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.classes)}

    train_data = property(lambda self: self.data)
    test_data = property(lambda self: self.data)
    train_labels = property(lambda self: self.targets)
    test_labels = property(lambda self: self.targets)

    def _names(self) -> tuple[str, str]:
        part = "train" if self.train else "t10k"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _find(self, name: str) -> Path:
        """The file in the raw folder or in `root`, plain or compressed."""
        plain = Path(self.raw_folder) / name
        for folder in (plain.parent, Path(self.root)):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.exists():
                    return path
        return plain

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = pillow().fromarray(self.data[index].numpy())
        return self.changed(image, int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Clothes in MNIST's format. Source: Xiao, Rasul and Vollgraf, 2017."""

    source = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Kuzushiji characters in MNIST's format. Source: Clanuwat et al., 2018."""

    source = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


class EMNIST(MNIST):
    """Letters and digits: `split` byclass, bymerge, balanced, letters, digits or mnist.

    Source: Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017.
    """

    source = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    _all = string.digits + string.ascii_letters
    _merged = sorted(set(_all) - set("cijklmopsuvwxyz"))
    classes_split_dict = {
        "byclass": sorted(_all),
        "bymerge": _merged,
        "balanced": _merged,
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }

    def __init__(self, root: Any, split: str, **kwargs: Any) -> None:
        if split not in self.splits:
            raise ValueError(f"Unknown value '{split}' for argument split: one of {self.splits}")
        self.split, self.classes = split, self.classes_split_dict[split]
        super().__init__(root, **kwargs)

    def _names(self) -> tuple[str, str]:
        part = f"emnist-{self.split}-{'train' if self.train else 'test'}"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def read_image_file(path: Any) -> Tensor:
    """The images of an IDX file, uint8 (N, H, W)."""
    return PUBLIC["from_numpy"](read_idx(path))


def read_label_file(path: Any) -> Tensor:
    """The labels of an IDX file, int64 (N,)."""
    return PUBLIC["from_numpy"](read_idx(path)).to(dtypes.int64)
