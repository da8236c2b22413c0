"""Pipes that leave samples out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe
from ..utils.common import StreamWrapper, _check_unpickable_fn, validate_input_col

__all__ = ["FilterIterDataPipe"]


@functional_datapipe("filter")
class FilterIterDataPipe(IterDataPipe):
    """The samples of which `filter_fn` is True, as it is of `input_col`: `pipe.filter(f)`.

    Streams in the others are closed. ValueError where the function gives no bool.
    """

    def __init__(self, datapipe: IterDataPipe, filter_fn: Callable, input_col: Any = None) -> None:
        _check_unpickable_fn(filter_fn)
        validate_input_col(filter_fn, input_col)
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def _apply_filter_fn(self, data: Any) -> bool:
        if self.input_col is None:
            return self.filter_fn(data)
        if isinstance(self.input_col, list | tuple):
            return self.filter_fn(*(data[column] for column in self.input_col))
        return self.filter_fn(data[self.input_col])

    def __iter__(self) -> Iterator[Any]:
        for data in self.datapipe:
            passes = self._apply_filter_fn(data)
            if not isinstance(passes, bool):
                raise ValueError(
                    "Boolean output is required for `filter_fn` of FilterIterDataPipe, got "
                    f"{type(passes)}"
                )
            if passes:
                yield data
            else:
                StreamWrapper.close_streams(data)
