"""Pipes of files: their names, the opened files, what is in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, length_of
from ..utils.common import get_file_binaries_from_pathnames, get_file_pathnames_from_root
from ..utils.decoder import Decoder, basichandlers, extension_extract_fn, imagehandler
from .utils import IterableWrapperIterDataPipe

__all__ = [
    "FileListerIterDataPipe",
    "FileOpenerIterDataPipe",
    "RoutedDecoderIterDataPipe",
    "StreamReaderIterDataPipe",
]


def _nominal(pipe: Any) -> int:
    """The length that a pipe was given; TypeError where that is -1, none."""
    if pipe.length == -1:
        raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return pipe.length


@functional_datapipe("list_files")
class FileListerIterDataPipe(IterDataPipe):
    """The names of the files in folders, those that fit `masks` such as `*.png`.

    In sorted order, except with `non_deterministic`; `recursive` goes into folders of folders,
    `abspath` gives absolute names. `length` is what `len` says.
    """

    def __init__(
        self,
        root: str | Sequence[str] | IterDataPipe = ".",
        masks: str | list[str] = "",
        *,
        recursive: bool = False,
        abspath: bool = False,
        non_deterministic: bool = False,
        length: int = -1,
    ) -> None:
        if not isinstance(root, IterDataPipe):
            root = IterableWrapperIterDataPipe([root] if isinstance(root, str) else root)
        self.datapipe, self.masks, self.length = root, masks, length
        self.recursive, self.abspath = recursive, abspath
        self.non_deterministic = non_deterministic

    def __iter__(self) -> Iterator[str]:
        for folder in self.datapipe:
            yield from get_file_pathnames_from_root(
                folder, self.masks, self.recursive, self.abspath, self.non_deterministic
            )

    def __len__(self) -> int:
        return _nominal(self)


@functional_datapipe("open_files")
class FileOpenerIterDataPipe(IterDataPipe):
    """Names with the files opened: `pipe.open_files("b")`; closed when nothing refers to them."""

    def __init__(
        self,
        datapipe: Iterable[str],
        mode: str = "r",
        encoding: str | None = None,
        length: int = -1,
    ) -> None:
        if mode not in ("b", "t", "rb", "rt", "r"):
            raise ValueError(f"Invalid mode {mode}")
        if "b" in mode and encoding is not None:
            raise ValueError("binary mode doesn't take an encoding argument")
        self.datapipe, self.mode, self.encoding, self.length = datapipe, mode, encoding, length

    def __iter__(self) -> Iterator[tuple]:
        yield from get_file_binaries_from_pathnames(self.datapipe, self.mode, self.encoding)

    def __len__(self) -> int:
        return _nominal(self)


@functional_datapipe("read_from_stream")
class StreamReaderIterDataPipe(IterDataPipe):
    """Names with what is in the streams, as a whole or in pieces of `chunk`."""

    def __init__(self, datapipe: IterDataPipe, chunk: int | None = None) -> None:
        self.datapipe, self.chunk = datapipe, chunk

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for name, stream in self.datapipe:
            while piece := stream.read(self.chunk):
                yield name, piece
            stream.close()


@functional_datapipe("routed_decode")
class RoutedDecoderIterDataPipe(IterDataPipe):
    """Names with what their streams stand for, by the first of `handlers` that knows; deprecated.

    Without handlers text, numbers, JSON, pickles, tensors and images, by extension.
    """

    def __init__(
        self,
        datapipe: Iterable[tuple],
        *handlers: Callable,
        key_fn: Callable = extension_extract_fn,
    ) -> None:
        warnings.warn(
            "`RoutedDecoderIterDataPipe()` and its functional API `.routed_decode()` are "
            "deprecated since 1.12: use `.map()` with a function",
            FutureWarning,
            stacklevel=2,
        )
        self.datapipe = datapipe
        handlers = handlers or (basichandlers, imagehandler("torch"))
        self.decoder = Decoder(*handlers, key_fn=key_fn)

    def add_handler(self, *handler: Callable) -> None:
        """Put handlers before those that are there."""
        self.decoder.add_handler(*handler)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for data in self.datapipe:
            yield data[0], self.decoder(data)[data[0]]

    def __len__(self) -> int:
        return length_of(self, self.datapipe)[0]
