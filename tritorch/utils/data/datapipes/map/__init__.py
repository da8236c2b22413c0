"""Pipes of samples by key; each has a method of all such pipes, named in its docstring."""

from .pipes import (
    BatcherMapDataPipe as Batcher,
    BatcherMapDataPipe as BatcherMapDataPipe,
    ConcaterMapDataPipe as Concater,
    ConcaterMapDataPipe as ConcaterMapDataPipe,
    MapperMapDataPipe as Mapper,
    MapperMapDataPipe as MapperMapDataPipe,
    SequenceWrapperMapDataPipe as SequenceWrapper,
    SequenceWrapperMapDataPipe as SequenceWrapperMapDataPipe,
    ShufflerIterDataPipe as Shuffler,
    ShufflerIterDataPipe as ShufflerIterDataPipe,
    ZipperMapDataPipe as Zipper,
    ZipperMapDataPipe as ZipperMapDataPipe,
)

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]
