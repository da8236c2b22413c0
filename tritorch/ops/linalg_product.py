"""Powers, exponentials, chains and tensor forms of matrices; products of vectors; the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import primitive
from ..tensor import Tensor
from .api import SPACES, called, public, write_out
from .einsum import chain
from .linalg_host import adjoint, same_kind
from .linalg_solve import inverse, solve
from .matmul import matmul
from .strided import diagonal as diagonal_of

SPACES["linalg"]["matmul"] = matmul


# -- powers ----------------------------------------------------------------------------------------


def _power(name: str, a: Tensor, n: int) -> Tensor:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"{name}(): argument 'n' must be int, not {type(n).__name__}")
    shape = a._data.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, at least of 2 dimensions, got shape "
            f"{tuple(shape)}"
        )
    if n == 0:
        eye = a.new_zeros(shape)  # type: ignore[attr-defined]
        eye = eye.diagonal_scatter(eye.new_ones(shape[:-1]), 0, -2, -1)
        return a.clone().copy_(eye)  # type: ignore[attr-defined]
    if n < 0:
        a, n = inverse(name, a), -n
    result = None
    while True:
        if n & 1:
            result = a if result is None else result @ a  # type: ignore[operator]
        n >>= 1
        if not n:
            return result.clone() if result is a else result  # type: ignore[union-attr, return-value]
        a = a @ a  # type: ignore[operator]


@public(out=True, space="linalg")
@called("matrix_power")
def _linalg_matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices `(..., m, m)`; of the inverse for a negative n.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
        tensor([[1., 5.],
                [0., 1.]])
    """
    return _power("linalg.matrix_power", input, n)


@public(out=True)
def matrix_power(input: Tensor, n: int) -> Tensor:
    """`torch.linalg.matrix_power`."""
    return _power("matrix_power", input, n)


def _exp_vjp(g: Any, a: Tensor) -> Any:
    """Higham, "Functions of matrices", theorem 3.6: the derivative along g is a block of
    `exp([[a^H, g], [0, a^H]])`."""
    from .join import cat

    n, h = a._data.shape[-1], adjoint(a)
    # The block is linear in g, and exact where g is no larger than a.
    size = g.detach().abs().sum((-2, -1), keepdim=True) + 1e-30
    upper, lower = cat([h, g / size], -1), cat([g.new_zeros(g._data.shape), h], -1)
    return matrix_exp_op(cat([upper, lower], -2))[..., :n, n:] * size  # type: ignore[index]


MANY, SMALL = 8, 32  # matrices and rows, where one computation for all beats SciPy's loop

# The coefficients of the Pade approximants and the 1-norms up to which they are exact to rounding:
# Higham, "The scaling and squaring method for the matrix exponential revisited", 2005, table 2.3.
_PADE = {
    4: (3.925724783138660, (17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1)),
    8: (
        5.371920351148152,
        (
            64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800,
            129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920, 40840800,
            960960, 16380, 182, 1,
        ),
    ),
}  # fmt: skip


def _exp_of_many(a: np.ndarray) -> np.ndarray:
    """The exponentials of a batch of small matrices, each scaled by its own power of two."""
    limit, b = _PADE[a.real.dtype.itemsize]  # type: ignore
    size = np.abs(a).sum(-2).max(-1)
    halvings = np.ceil(np.log2(np.maximum(size / limit, 1))).astype(np.int64)
    a = a * np.exp2(-halvings).astype(size.dtype)[..., None, None]
    square = a @ a
    power = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    even, odd = b[0] * power, b[1] * power
    for i in range(2, len(b), 2):
        power = power @ square
        even, odd = even + b[i] * power, odd + b[i + 1] * power
    odd = a @ odd
    out = np.linalg.solve(even - odd, even + odd)
    for i in range(int(halvings.max())):
        again = halvings > i
        out[again] = out[again] @ out[again]
    return out


@primitive(
    name="matrix_exp",
    meta=lambda a: (tuple(a._data.shape), a.dtype),
    vjp=_exp_vjp,
    samples=lambda s: [
        s((3, 3)), s((2, 2, 2)), s((0, 2, 2)), s((2, 0, 0)), s((1, 1)), s((9, 2, 2)),
    ],
)  # fmt: skip
def matrix_exp_op(a: Any) -> Any:
    """`sum of a^k / k!`, by scaling and squaring of a Pade approximation."""
    import scipy.linalg

    if not a.size:
        return a.copy()
    finite = np.isfinite(a).all((-2, -1), keepdims=True)
    known = a if finite.all() else np.where(finite, a, 0).astype(a.dtype)
    many = math.prod(a.shape[:-2]) > MANY and a.shape[-1] <= SMALL
    out = _exp_of_many(known) if many else scipy.linalg.expm(known)
    return out if known is a else np.where(finite, out, np.nan).astype(a.dtype)


def _exponential(name: str, a: Tensor) -> Tensor:
    shape = a._data.shape
    if a.dtype.category < 2:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.name}"
        )
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, at least of 2 dimensions, got shape "
            f"{tuple(shape)}"
        )
    return matrix_exp_op(a)


@public(space="linalg")
@called("matrix_exp")
def _linalg_matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices `(..., n, n)`.

    Al-Mohy and Higham, "A new scaling and squaring algorithm for the matrix exponential", 2010.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.matrix_exp(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
        tensor([[1., 2.],
                [0., 1.]])
    """
    return _exponential("linalg.matrix_exp", input)


@public()
def matrix_exp(input: Tensor) -> Tensor:
    """`torch.linalg.matrix_exp`."""
    return _exponential("matrix_exp", input)


# -- products --------------------------------------------------------------------------------------


def _check_chain(name: str, tensors: Sequence[Tensor]) -> None:
    if isinstance(tensors, Tensor) or not isinstance(tensors, tuple | list):
        raise TypeError(
            f"{name}(): argument 'tensors' must be tuple of Tensors, not {type(tensors).__name__}"
        )
    if len(tensors) < 2:
        raise RuntimeError(f"{name}(): expected at least 2 tensors but got {len(tensors)}")
    for i, t in enumerate(tensors):
        ends = i in (0, len(tensors) - 1)
        if t._data.ndim != 2 and not (ends and t._data.ndim == 1):
            raise RuntimeError(
                f"{name}(): tensor {i} must be {'1D or 2D' if ends else '2D'} but got "
                f"{t._data.ndim}D"
            )
        if t.dtype is not tensors[0].dtype:
            raise RuntimeError(
                f"{name}(): all tensors must be of the same dtype, but tensor 0 is "
                f"{tensors[0].dtype.name} and tensor {i} {t.dtype.name}"
            )


@public(space="linalg")
def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of two or more matrices in the order of fewest multiplications.

    The first may be a vector, as a row, and the last one, as a column.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.multi_dot([torch.ones(2), torch.eye(2), torch.ones(2)])
        tensor(2.)
    """
    name = "linalg.multi_dot"
    _check_chain(name, tensors)
    row, column = tensors[0]._data.ndim == 1, tensors[-1]._data.ndim == 1
    factors: list[Any] = list(tensors)
    if row:
        factors[0] = factors[0][None]
    if column:
        factors[-1] = factors[-1][:, None]
    for i in range(len(factors) - 1):
        if factors[i]._data.shape[1] != factors[i + 1]._data.shape[0]:
            raise RuntimeError(
                f"{name}(): tensors {i} and {i + 1} with shapes {list(tensors[i].shape)} and "
                f"{list(tensors[i + 1].shape)} cannot be multiplied"
            )
    result: Any = chain(factors)
    if column:
        result = result.squeeze(-1)
    if row:
        result = result.squeeze(0)
    return result if out is None else write_out("multi_dot", out, result)


@public(out=True, space="linalg")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """`sum(conj(x) * y)` over a dimension; both broadcast. Floating-point and complex tensors.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.vecdot(torch.ones(2, 3), torch.tensor([1.0, 2.0, 3.0]))
        tensor([6., 6.])
    """
    name = "linalg.vecdot"
    if x.dtype.category < 2:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}"
        )
    same_kind(name, x, y)
    return (x.conj() * y).sum(dim)  # type: ignore[attr-defined]


# -- the cross product -----------------------------------------------------------------------------


def _cross_meta(a: Tensor, b: Tensor, *, dim: int) -> tuple:
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"linalg.cross: expected both tensors of one dtype, got {a.dtype.name} and "
            f"{b.dtype.name}"
        )
    if a.dtype.category == 0:
        raise NotImplementedError("linalg.cross: \"cross\" not implemented for 'Bool'")
    return errors.broadcast_shapes("linalg.cross", a._data.shape, b._data.shape), a.dtype


@primitive(
    name="cross",
    triton="cross.cross",
    meta=_cross_meta,
    vjp=(
        lambda g, b, dim: cross_op(b.conj(), g, dim=dim),  # type: ignore
        lambda g, a, dim: cross_op(g, a.conj(), dim=dim),  # type: ignore
    ),
    samples=lambda s: [
        s((3,), (3,), dim=0),
        s((2, 3), (1, 3), dim=1),
        s((3, 2, 2), (3, 2, 2), dim=0),
        s((3, 0), (3, 0), dim=0),
    ],
)
def cross_op(a: Any, b: Any, *, dim: int) -> Any:
    """The vectors at right angles to two, along one dimension of three."""
    a0, a1, a2 = np.moveaxis(a, dim, 0)
    b0, b1, b2 = np.moveaxis(b, dim, 0)
    parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0]
    return np.stack(parts, dim).astype(a.dtype, copy=False)


def _crossed(name: str, x: Tensor, y: Tensor, dim: int) -> Tensor:
    a, b = x._data.shape, y._data.shape
    if len(a) != len(b):
        raise RuntimeError(
            f"{name}: inputs must have the same number of dimensions, got shapes {tuple(a)} and "
            f"{tuple(b)}"
        )
    if not a:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    d = errors.wrap_dim(name, dim, a)
    if a[d] != 3 or b[d] != 3:
        raise RuntimeError(
            f"{name}: inputs dimension {dim} must have length 3. Got {a[d]} and {b[d]}"
        )
    return cross_op(x, y, dim=d)


@public(out=True, space="linalg")
@called("cross")
def _linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of length 3 along a dimension; the others broadcast.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.cross(torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]))
        tensor([0., 0., 1.])
    """
    return _crossed("linalg.cross", input, other, dim)


@public(out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """`torch.linalg.cross`, along the first dimension of size 3 where `dim` is not given."""
    if dim is None:
        shape = tuple(input._data.shape)
        if 3 not in shape:
            raise RuntimeError(f"cross: no dimension of size 3 in input of shape {shape}")
        errors.warn(
            "Using torch.cross without specifying the dim arg is deprecated. Pass the dim or use "
            "torch.linalg.cross, whose default, the last one, it will have."
        )
        dim = shape.index(3)
    return _crossed("cross", input, other, dim)


# -- tensors as matrices ---------------------------------------------------------------------------


@public(out=True, space="linalg")
def tensorinv(input: Tensor, ind: int = 2) -> Tensor:
    """The inverse of a tensor as a map from its last dimensions to its first `ind`.

    Of shape `input.shape[ind:] + input.shape[:ind]`; both parts have to be of one size.
    """
    name = "linalg.tensorinv"
    if ind <= 0:
        raise RuntimeError(f"{name}: Expected a strictly positive integer for 'ind', but got {ind}")
    head, tail = tuple(input._data.shape[:ind]), tuple(input._data.shape[ind:])
    n = math.prod(head)
    if n != math.prod(tail):
        raise RuntimeError(
            f"{name}: Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {math.prod(tail)} != {n}"
        )
    return inverse(name, input.reshape(n, n)).reshape((*tail, *head))  # type: ignore[attr-defined]


@public(out=True, space="linalg")
def tensorsolve(input: Tensor, other: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X of `tensordot(input, X, X.ndim) = other`, after `dims` of `input` went to its end."""
    name = "linalg.tensorsolve"
    if dims is not None:
        n = input._data.ndim
        moved = errors.wrap_dims(name, dims, input._data.shape)
        input = input.permute([d for d in range(n) if d not in moved] + list(moved))  # type: ignore[attr-defined]
    rank = other._data.ndim
    tail, size = tuple(input._data.shape[rank:]), math.prod(other._data.shape)
    if math.prod(tail) != math.prod(input._data.shape[:rank]) or math.prod(tail) != size:
        raise RuntimeError(
            f"{name}: Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {math.prod(tail)} != "
            f"{math.prod(input._data.shape[:rank])}"
        )
    flat = input.reshape(size, size)  # type: ignore[attr-defined]
    return solve(flat, other.reshape(size)).reshape(tail)  # type: ignore[attr-defined]


# -- vectors as matrices, diagonals ----------------------------------------------------------------


@public(space="linalg")
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each element: `(..., n)` to `(..., n, N)`; N is n by default.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.vander(torch.tensor([2, 3]), N=3)
        tensor([[1, 2, 4],
                [1, 3, 9]])
    """
    name = "linalg.vander"
    if x.dtype.category == 0 or (x.dtype.category == 2 and x.dtype.itemsize < 4):
        raise RuntimeError(
            f"{name} supports floating point, complex, and integer tensors, but got {x.dtype.name}"
        )
    x = x if x._data.ndim else x[None]  # type: ignore[index]
    shape = x._data.shape
    n = shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"{name}: N must be greater than 1, got {n}")
    from .join import cat

    wide: Any = x.to(dtypes.int64) if x.dtype.category == 1 else x  # type: ignore[attr-defined]
    powers = wide.unsqueeze(-1).expand(*shape, n - 1).cumprod(-1)
    return cat([powers.new_ones(*shape, 1), powers], -1)


@public(space="linalg")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """`torch.diagonal` of the last two dimensions: a view."""
    return diagonal_of(A, offset, dim1, dim2)


@public()
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix; int64 of integers.

    Example:
        >>> import tritorch as torch
        >>> torch.trace(torch.eye(3))
        tensor(3.)
    """
    if input._data.ndim != 2:
        raise RuntimeError(
            f"trace: expected a matrix, but got tensor with dim {input._data.ndim}, shape "
            f"{tuple(input.shape)}"
        )
    if input.dtype.category == 0:
        raise NotImplementedError("trace: not implemented for 'Bool'")
    return diagonal_of(input).sum()  # type: ignore[attr-defined]
