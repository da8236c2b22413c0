"""All parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...ops import join
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other."""
    return join.cat([p.reshape(-1) for p in parameters])  # type: ignore[attr-defined]


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make views of a vector the values of the parameters, in their order."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        n = math.prod(p.shape)
        p.data = vec[start : start + n].view(p.shape).data  # type: ignore[index]
        start += n
