"""Pipes that apply a function to each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...collate import default_collate
from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, length_of
from ..utils.common import _check_unpickable_fn, validate_input_col

__all__ = ["CollatorIterDataPipe", "MapperIterDataPipe"]


@functional_datapipe("map")
class MapperIterDataPipe(IterDataPipe):
    """`fn` of each sample: `pipe.map(fn)`.

    With `input_col` it gets that part of a sample, of several columns each as an argument. Its
    result takes the place of the part, of several that of the first while the others go; or of
    `output_col`, where -1 puts it at the end.

    Example:
        >>> from tritorch.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper([(1, 2), (4, 3)]).map(max, input_col=[0, 1]))
        [(2,), (4,)]
    """

    def __init__(
        self, datapipe: IterDataPipe, fn: Callable, input_col: Any = None, output_col: Any = None
    ) -> None:
        _check_unpickable_fn(fn)
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, list | tuple):
            if len(output_col) != 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        validate_input_col(fn, input_col)
        self.datapipe, self.fn = datapipe, fn
        self.input_col, self.output_col = input_col, output_col

    def _apply_fn(self, data: Any) -> Any:
        taken = self.input_col
        if taken is None:
            return self.fn(data)
        several = isinstance(taken, list | tuple)
        result = self.fn(*(data[c] for c in taken)) if several else self.fn(data[taken])
        out = list(data) if isinstance(data, tuple) else data
        if self.output_col is not None:
            if self.output_col == -1:
                out.append(result)
            else:
                out[self.output_col] = result
        elif several:
            out[taken[0]] = result
            for column in sorted(taken[1:], reverse=True):
                del out[column]
        else:
            out[taken] = result
        return tuple(out) if isinstance(data, tuple) else out

    def __iter__(self) -> Iterator[Any]:
        for data in self.datapipe:
            yield self._apply_fn(data)

    def __len__(self) -> int:
        return length_of(self, self.datapipe)[0]


@functional_datapipe("collate")
class CollatorIterDataPipe(MapperIterDataPipe):
    """Batches to tensors, by `default_collate` or a function: `pipe.batch(2).collate()`."""

    def __init__(
        self,
        datapipe: IterDataPipe,
        conversion: Callable | None = default_collate,
        collate_fn: Callable | None = None,
    ) -> None:
        fn = conversion if collate_fn is None else collate_fn
        if isinstance(fn, dict):
            raise NotImplementedError("collate: a dict of conversions needs data frames")
        super().__init__(datapipe, fn)  # type: ignore[arg-type]
