"""Pipes of samples by key; each has a method of all such pipes, named in its docstring."""

from .pipes import (
    BatcherMapDataPipe as Batcher,
    ConcaterMapDataPipe as Concater,
    MapperMapDataPipe as Mapper,
    SequenceWrapperMapDataPipe as SequenceWrapper,
    ShufflerIterDataPipe as Shuffler,
    ZipperMapDataPipe as Zipper,
)

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]
