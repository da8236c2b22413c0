"""Linear algebra on the CPU: what LAPACK does matrix by matrix, over batches, and its failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor


class LinAlgError(RuntimeError):
    """A decomposition or a system of equations cannot be computed from these numbers."""


LinAlgError.__module__ = "tritorch.linalg"


# -- checks --------------------------------------------------------------------------------------


def checked(name: str, a: Tensor, *, square: bool = False, argument: str = "A") -> Tensor:
    """A matrix, or a batch of them, of a dtype that LAPACK knows."""
    if not isinstance(a, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' must be Tensor, not {type(a).__name__}")
    shape = a._data.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got shape "
            f"{tuple(shape)}"
        )
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {shape[-2]} by "
            f"{shape[-1]} matrices"
        )
    if a.dtype.category < 2:
        raise NotImplementedError(
            f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.name}"
        )
    if a.dtype.itemsize < 4:
        raise NotImplementedError(f"{name}: Low precision dtypes not supported. Got {a.dtype.name}")
    return a


def same_kind(name: str, a: Tensor, b: Tensor) -> None:
    """Both of one dtype."""
    if not isinstance(b, Tensor):
        raise TypeError(f"{name}(): argument 'B' must be Tensor, not {type(b).__name__}")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type "
            f"{a.dtype.name} and B of type {b.dtype.name} instead"
        )


def numbers(x: Tensor) -> np.ndarray | None:
    """The array of a tensor, on the host; None of a meta tensor, which has none."""
    data = x._data
    if data.__class__ is np.ndarray:
        return data
    return None if x.device.type == "meta" else x.detach().cpu()._data  # type: ignore[attr-defined]


def fail_first(info: Any, text: Callable[[int], str]) -> None:
    """Raise LinAlgError for the first matrix whose `info` is not 0."""
    codes = numbers(info) if isinstance(info, Tensor) else info
    if codes is None:
        return
    bad = np.flatnonzero(codes.reshape(-1))
    if not bad.size:
        return
    name, message = text(int(codes.reshape(-1)[bad[0]])).split(": ", 1)
    batch = f"(Batch element {bad[0]}): " if codes.ndim else ""
    raise LinAlgError(f"{name}: {batch}{message}")


def singular(name: str) -> Callable[[int], str]:
    return lambda info: (
        f"{name}: The diagonal element {info} is zero, the inversion could not be completed "
        "because the input matrix is singular."
    )


def unsolvable(name: str) -> Callable[[int], str]:
    return lambda info: f"{name}: The solver failed because the input matrix is singular."


def not_positive(name: str) -> Callable[[int], str]:
    return lambda info: (
        f"{name}: The factorization could not be completed because the input is not "
        f"positive-definite (the leading minor of order {info} is not positive-definite)."
    )


# -- batches -------------------------------------------------------------------------------------


BLOCK = 64  # LAPACK's blocks: workspace a row, and the size from which its best routines pay


def lapack(name: str, *arrays: np.ndarray) -> Callable:
    """The LAPACK function of that name for the dtype of the arrays."""
    import scipy.linalg

    found: Any = scipy.linalg.get_lapack_funcs(name, arrays)
    return found


def each(
    f: Callable, outs: Sequence[np.ndarray], ranks: Sequence[int], *arrays: np.ndarray
) -> None:
    """`f(*matrices)` for every element of the batch of the arrays, stored in `outs`.

    The last `ranks[i]` dimensions of `outs[i]` are the result's; arrays are batches of matrices.
    """
    batch = arrays[0].shape[:-2]
    for i in np.ndindex(batch):
        results = f(*(a[i] for a in arrays))
        for out, r in zip(outs, results, strict=True):
            out[i] = r


def spread_batches(name: str, a: Tensor, b: Tensor, tail: int = 2) -> tuple[Tensor, Tensor]:
    """Both broadcast to a common batch; the last two dimensions (of `b`: `tail`) stay."""
    from .. import errors

    x, y = a._data.shape, b._data.shape
    batch = errors.broadcast_shapes(name, x[:-2], y[: len(y) - tail])
    return (
        a.expand(*batch, *x[-2:]),  # type: ignore[attr-defined]
        b.expand(*batch, *y[len(y) - tail :]),  # type: ignore[attr-defined]
    )


def adjoint(x: Any) -> Any:
    """The conjugate transposed matrices."""
    return x.mH
