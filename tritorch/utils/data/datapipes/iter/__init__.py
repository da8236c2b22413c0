"""Pipes of streams of samples; each has a method of all pipes, named in its docstring."""

from .callable import CollatorIterDataPipe as Collator, MapperIterDataPipe as Mapper
from .combinatorics import SamplerIterDataPipe as Sampler, ShufflerIterDataPipe as Shuffler
from .combining import (
    ConcaterIterDataPipe as Concater,
    MultiplexerIterDataPipe as Multiplexer,
    ZipperIterDataPipe as Zipper,
)
from .files import (
    FileListerIterDataPipe as FileLister,
    FileListerIterDataPipe as FileListerIterDataPipe,
    FileOpenerIterDataPipe as FileOpener,
    FileOpenerIterDataPipe as FileOpenerIterDataPipe,
    RoutedDecoderIterDataPipe as RoutedDecoder,
    RoutedDecoderIterDataPipe as RoutedDecoderIterDataPipe,
    StreamReaderIterDataPipe as StreamReader,
    StreamReaderIterDataPipe as StreamReaderIterDataPipe,
)
from .grouping import (
    BatcherIterDataPipe as Batcher,
    GrouperIterDataPipe as Grouper,
    UnBatcherIterDataPipe as UnBatcher,
)
from .selecting import FilterIterDataPipe as Filter
from .sharding import SHARDING_PRIORITIES, ShardingFilterIterDataPipe as ShardingFilter
from .splitting import (
    DemultiplexerIterDataPipe as Demultiplexer,
    ForkerIterDataPipe as Forker,
)
from .utils import IterableWrapperIterDataPipe as IterableWrapper

__all__ = [
    "SHARDING_PRIORITIES",
    "Batcher",
    "Collator",
    "Concater",
    "Demultiplexer",
    "FileLister",
    "FileOpener",
    "Filter",
    "Forker",
    "Grouper",
    "IterableWrapper",
    "Mapper",
    "Multiplexer",
    "RoutedDecoder",
    "Sampler",
    "ShardingFilter",
    "Shuffler",
    "StreamReader",
    "UnBatcher",
    "Zipper",
]
