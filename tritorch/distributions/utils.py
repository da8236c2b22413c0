"""What distributions share: broadcasting, probabilities and logits, properties computed once."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any, Generic, TypeVar

import tritorch as torch

from ..tensor import Size, Tensor

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant = 0.57721566490153286060
T = TypeVar("T")


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape.

    Numbers take dtype and device of the first tensor, or the default dtype where there is none.
    Raises ValueError where a value is neither.
    """
    if not all(isinstance(v, Tensor | Number) for v in values):
        kinds = ", ".join(type(v).__name__ for v in values)
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
            f"__torch_function__. broadcast_all got {kinds}"
        )
    first = next((v for v in values if isinstance(v, Tensor)), None)
    like: dict[str, Any] = {"dtype": torch.get_default_dtype()}
    if first is not None:
        like = {"dtype": first.dtype, "device": first.device}
    return torch.broadcast_tensors(
        *(v if isinstance(v, Tensor) else torch.tensor(v, **like) for v in values)
    )


def standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Normal numbers, the noise of reparameterized samples."""
    return torch.randn(tuple(shape), dtype=dtype, device=device)


_standard_normal = standard_normal


def open_uniform(shape: Any, like: Tensor) -> Tensor:
    """Numbers uniform in (0, 1), of which logarithm and inverse functions are finite."""
    info = torch.finfo(like.dtype)
    u = torch.rand(tuple(shape), dtype=like.dtype, device=like.device)
    return u.clamp(info.tiny, 1 - info.eps / 2)


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last `dim` dimensions."""
    if dim == 0:
        return value
    return value.reshape((*value.shape[: value.ndim - dim], -1)).sum(-1)


_sum_rightmost = sum_rightmost


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log-odds where `is_binary`, else of unnormalised log-probabilities."""
    return torch.sigmoid(logits) if is_binary else torch.softmax(logits, dim=-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities moved into `[eps, 1 - eps]` of their dtype."""
    eps = torch.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds of probabilities where `is_binary`, else their logarithms; finite ones."""
    inside = clamp_probs(probs)
    if is_binary:
        return torch.log(inside) - torch.log1p(-inside)
    return torch.log(inside)


class lazy_property(Generic[T]):
    """A property that is computed at its first use, with gradients, and then an attribute."""

    def __init__(self, wrapped: Callable[[Any], T]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, obj_type: Any = None) -> Any:
        if instance is None:
            return _ClassProperty(self.wrapped)
        with torch.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _ClassProperty(lazy_property, property):
    """What a lazy property is on the class itself: to tools that read documentation, a property."""

    def __init__(self, wrapped: Callable) -> None:
        property.__init__(self, wrapped)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of lower triangles `(..., n, n)` row by row: `(..., m)`.

    `diag` is the highest diagonal taken. Raises ValueError where it lies outside of the matrix.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows = torch.arange(n, device=mat.device)
    return mat[..., rows < rows.view(-1, 1) + (diag + 1)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of `tril_matrix_to_vec`: `(..., m)` to `(..., n, n)`, zeros above.

    Raises ValueError where no `n` has a triangle of `m` elements.
    """
    m = vec.shape[-1]
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * m + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if abs(round(n) - n) > 1e-9:
        raise ValueError(
            f"The size of last dimension is {m} which cannot be expressed as "
            "the lower triangular part of a square D x D matrix."
        )
    n = round(n)
    rows = torch.arange(n, device=vec.device)
    mask = rows < rows.view(-1, 1) + (diag + 1)
    places = torch.arange(n * n, device=vec.device)[mask.reshape(-1)]
    flat = vec.new_zeros((*vec.shape[:-1], n * n)).index_copy(-1, places, vec)
    return flat.reshape((*vec.shape[:-1], n, n))


def as_size(shape: Any) -> Size:
    """A shape given as a list, a tuple or a Size."""
    return shape if isinstance(shape, Size) else Size(shape)
