"""Products of matrices and of batches of them, and the linear layer.

Two records compute them, `matmul` on operands of two and more dimensions and `linear`; `addmm` adds
a matrix in the same pass. Products of vectors and sums with products are in `products`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors
from ..autograd.mode import state
from ..autograd.node import OpNode
from ..dtypes import DType
from ..op import Op, joint, primitive
from ..runtime import parallel
from ..runtime.quiet import enter, leave
from ..tensor import Tensor, wrap
from .api import FUNCTIONAL, attach, public
from .arithmetic import conj
from .matmul_host import product, rows_of, sum_rows
from .view import _slice, permute_op

Number = bool | int | float | complex
NO_PARAMS: dict = {}
NO_EDGES = {2: (None, None), 3: (None, None, None)}

_TORCH_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "int64": "long",
    "int32": "int",
    "int16": "short",
    "int8": "signed char",
    "uint8": "unsigned char",
    "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
}


# -- the records --------------------------------------------------------------------------------


def _dtype_name(d: DType) -> str:
    return _TORCH_NAMES.get(d.name, d.name)


def same_dtype(name: str, a: Tensor, b: Tensor) -> DType:
    """The dtype of both operands of a product."""
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: expected m1 and m2 to have the same dtype, but got: "
            f"{_dtype_name(a.dtype)} != {_dtype_name(b.dtype)}"
        )
    if a.dtype.category == 0:
        raise NotImplementedError(f"{name}: \"addmm_impl_cpu_\" not implemented for 'Bool'")
    return a.dtype


def mismatch(name: str, rows: Sequence[int], columns: Sequence[int]) -> RuntimeError:
    m, k = math.prod(rows[:-1]), rows[-1]
    return RuntimeError(
        f"{name}: mat1 and mat2 shapes cannot be multiplied "
        f"({m}x{k} and {columns[-2]}x{columns[-1]})"
    )


def _matmul_meta(a: Tensor, b: Tensor) -> tuple:
    dtype = same_dtype("matmul", a, b)
    x, y = a._data.shape, b._data.shape
    if x[-1] != y[-2]:
        if len(x) == 2 or len(y) == 2:
            raise mismatch("matmul", x, y)
        raise RuntimeError(
            f"matmul: Expected size for first two dimensions of batch2 tensor to be: "
            f"[{math.prod(x[:-2])}, {x[-1]}] but got: [{math.prod(y[:-2])}, {y[-2]}]; "
            f"shapes {tuple(x)} and {tuple(y)}"
        )
    lead: tuple = ()
    if len(x) > 2 or len(y) > 2:
        lead = errors.broadcast_shapes("matmul", x[:-2], y[:-2])
    return (*lead, x[-2], y[-1]), dtype


def _swap(x: Tensor) -> Tensor:
    n = x._data.ndim
    return permute_op(x, dims=(*range(n - 2), n - 1, n - 2))


def adjoint(x: Tensor) -> Tensor:
    """The transpose of the last two dimensions, conjugated."""
    return conj(_swap(x))


def _rows(x: Tensor) -> Tensor:
    """(..., N) as a matrix (rows, N)."""
    shape = x._data.shape
    return x if len(shape) == 2 else x.reshape(math.prod(shape[:-1]), shape[-1])


def _left_vjp(g: Tensor, b: Tensor) -> Tensor:
    return matmul_op(g, adjoint(b))


def _right_vjp(g: Tensor, a: Tensor, b_shape: tuple) -> Tensor:
    if len(b_shape) == 2 and g._data.ndim > 2:
        a, g = _rows(a), _rows(g)
    return matmul_op(adjoint(a), g)


@primitive(
    name="matmul",
    meta=_matmul_meta,
    triton="matmul.matmul",
    samples=lambda s: [
        s((2, 3), (3, 2)),
        s((2, 2, 3), (3, 2)),
        s((2, 3), (2, 3, 2)),
        s((2, 1, 2, 3), (2, 3, 1)),
        s((1, 5), (5, 1)),
        s((3, 0), (0, 2)),
        s((0, 3), (3, 2)),
        s((130, 33), (33, 70)),
        s((5, 64, 17), (5, 17, 48)),
    ],
    vjp=(_left_vjp, _right_vjp),
)
def matmul_op(a: Any, b: Any) -> Any:
    """`a` (..., M, K) @ `b` (..., K, N) -> (..., M, N), the batch dimensions broadcast."""
    return product(a, b)


def _linear_meta(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple:
    a, w = x._data.shape, weight._data.shape
    dtype = same_dtype("linear", x, weight)
    if a[-1] != w[1]:
        raise mismatch("linear", a, w[::-1])
    if bias is not None:
        if bias.dtype is not dtype:
            raise RuntimeError(
                f"linear: self and mat2 must have the same dtype, but got "
                f"{bias.dtype.name} and {dtype.name}"
            )
        errors.broadcast_shapes("linear", bias._data.shape, (w[0],))
    return (*a[:-1], w[0]), dtype


def _linear_vjp(g: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> Sequence:
    if not state.grad and not state.transforms and g._data.__class__ is np.ndarray:
        return _linear_backward(g, x, weight, needs)
    rows = _rows(g)
    gx = gw = None
    if needs[0]:
        gx = matmul_op(rows, conj(weight)).reshape(tuple(x._data.shape))
    if needs[1]:
        gw = matmul_op(_swap(rows), conj(_rows(x)))
    return gx, gw, rows.sum(0) if needs[2] else None


def _linear_backward(g: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> Sequence:
    """The same on NumPy arrays, where the result needs no history of its own."""
    gd, w, dtype = g._data, weight._data, g.dtype
    wide = dtype.category == 3 or dtype.itemsize >= 4
    if not wide:
        gd, w = gd.astype(np.float32), w.astype(np.float32)
    if dtype.category == 3:
        w = w.conj()
    rows = gd if gd.ndim == 2 else rows_of(gd)
    out: list[Tensor | None] = [None, None, None]
    token = enter()
    if needs[0]:
        out[0] = _settled(product(rows, w).reshape(x._data.shape), dtype, wide)
    if needs[1]:
        xd = x._data if x._data.ndim == 2 else rows_of(x._data)
        xd = xd if wide else xd.astype(np.float32)
        xd = xd.conj() if dtype.category == 3 else xd
        out[1] = _settled(product(rows.T, xd), dtype, wide)
    if needs[2]:
        out[2] = _settled(sum_rows(rows), dtype, wide)
    leave(token)
    return out


def _settled(data: np.ndarray, dtype: DType, wide: bool) -> Tensor:
    return wrap(data if wide else data.astype(dtype.np), dtype)


@primitive(
    name="linear",
    meta=_linear_meta,
    triton="matmul.linear",
    vjp=joint(_linear_vjp),
    samples=lambda s: [
        s((2, 3), (4, 3), (4,)),
        s((2, 3), (4, 3), None),
        s((3,), (2, 3), (2,)),
        s((2, 1, 3), (2, 3), (2,)),
        s((0, 3), (2, 3), (2,)),
        s((65, 40), (50, 40), (50,)),
    ],
)
def linear_op(x: Any, weight: Any, bias: Any) -> Any:
    """`x` (..., K) @ `weight` (N, K).T + `bias` (N,) -> (..., N)."""
    rows = x if x.ndim == 2 else rows_of(x)
    out = product(rows, weight.T)
    if bias is not None:
        if out.size > parallel.BIG:
            parallel.elementwise(np.add, out, out, bias)
        else:
            np.add(out, bias, out=out)
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], weight.shape[0])


def sum_meta(name: str, c: Tensor, a: Tensor, b: Tensor) -> tuple:
    """The shape and dtype of `c + a @ b`."""
    dtype = same_dtype(name, a, b)
    if c.dtype is not dtype:
        raise RuntimeError(
            f"{name}: self and mat2 must have the same dtype, but got {c.dtype.name} and "
            f"{dtype.name}"
        )
    x, y = a._data.shape, b._data.shape
    if x[-1] != y[-2]:
        raise mismatch(name, x, y)
    lead = errors.broadcast_shapes(name, x[:-2], y[:-2])
    shape = (*lead, x[-2], y[-1])
    have = c._data.shape
    if len(have) > len(shape) or errors.broadcast_shapes(name, have, shape) != shape:
        raise RuntimeError(
            f"{name}: the added tensor of shape {tuple(have)} does not broadcast to the product's "
            f"shape {shape}"
        )
    return shape, dtype


def _addmm_meta(c: Tensor, a: Tensor, b: Tensor, *, beta: Number, alpha: Number) -> tuple:
    return sum_meta("addmm", c, a, b)


@primitive(
    name="addmm",
    meta=_addmm_meta,
    triton="matmul.addmm",
    samples=lambda s: [
        s((2, 2), (2, 3), (3, 2), beta=1, alpha=1),
        s((2,), (2, 3), (3, 2), beta=0.5, alpha=-2.0),
        s((1, 2), (2, 1, 3), (2, 3, 2), beta=2, alpha=1),
        s((2, 2), (2, 3), (3, 2), beta=0, alpha=3),
        s((1,), (40, 33), (33, 50), beta=1.5, alpha=0.5),
    ],
    vjp=(
        lambda g, beta: g if beta == 1 else g * conj(beta),
        lambda g, b, alpha: _scaled(matmul_op(g, adjoint(b)), alpha),
        lambda g, a, b_shape, alpha: _scaled(_right_vjp(g, a, b_shape), alpha),
    ),
)
def addmm_op(c: Any, a: Any, b: Any, *, beta: Number, alpha: Number) -> Any:
    """`beta * c + alpha * a @ b`; with `beta` 0 not even NaN passes from `c`."""
    out = product(a, b)
    if out.dtype.kind in "iu":
        beta, alpha = int(beta), int(alpha)  # type: ignore[arg-type]
    if alpha != 1:
        np.multiply(out, out.dtype.type(alpha), out=out)
    if beta != 0:
        np.add(out, c if beta == 1 else c * c.dtype.type(beta), out=out)
    return out


def _scaled(g: Tensor, alpha: Number) -> Tensor:
    return g if alpha == 1 else g * conj(alpha)


def _short(op: Op, inputs: tuple, data: np.ndarray, dtype: DType) -> Tensor:
    """Wrap and record a result that was computed without the dispatcher."""
    out = wrap(data, dtype)
    if state.grad:
        edges = tuple(
            [
                None if t is None else t._edge if t._view is None else t.current_edge()
                for t in inputs
            ]
        )
        if edges != NO_EDGES[len(edges)]:
            node = OpNode(op, edges, ((data.shape, dtype),), None, NO_PARAMS)
            node.saved = op.rules.save(inputs, (out,), edges)  # type: ignore[union-attr]
            out._edge = (node, 0)
    return out


NO_EDGES = {2: (None, None), 3: (None, None, None)}

# -- public: the general product ----------------------------------------------------------------


def need_tensors(name: str, **arguments: Any) -> None:
    """TypeError for the first argument that is no tensor."""
    for position, (argument, x) in enumerate(arguments.items(), 1):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, "
                f"not {type(x).__name__}"
            )


@public(out=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The product of matrices, vectors or batches of them, as `input @ other`.

    Vectors count as rows on the left and as columns on the right, without that dimension in the
    result; what comes before the last two dimensions is a batch, and broadcasts.
    """
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        need_tensors("matmul", input=input, other=other)
    a, b = input._data, other._data
    n, m = a.ndim, b.ndim
    if n >= 2 and m >= 2:
        return short_matmul(input, other)
    if not n or not m:
        raise RuntimeError(
            f"matmul: both arguments to matmul need to be at least 1D, but they are {n}D and {m}D"
        )
    if n == 1 and m == 1:
        return inner_product("matmul", input, other)
    if m == 1:
        if a.shape[-1] != b.shape[0]:
            raise RuntimeError(
                f"matmul: size mismatch, got input ({math.prod(a.shape[:-1])}), mat "
                f"({math.prod(a.shape[:-1])}x{a.shape[-1]}), vec ({b.shape[0]})"
            )
        return times_vector(input, other)
    if a.shape[0] != b.shape[-2]:
        raise mismatch("matmul", (1, a.shape[0]), b.shape)
    row = matmul_op(_slice(input, key=(None,)), other)
    if m == 2:
        return row.squeeze_(0)  # type: ignore[attr-defined]  # counts as a change in place, as in PyTorch
    return _slice(row, key=(*(slice(None),) * (row._data.ndim - 2), 0))


def inner_product(name: str, x: Tensor, y: Tensor) -> Tensor:
    """The sum of products of the elements of two vectors."""
    if x._data.ndim != 1 or y._data.ndim != 1:
        raise RuntimeError(
            f"{name}: 1D tensors expected, but got {x._data.ndim}D and {y._data.ndim}D tensors"
        )
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found {x.dtype.name} and "
            f"{y.dtype.name}"
        )
    n, m = x._data.shape[0], y._data.shape[0]
    if n != m:
        raise RuntimeError(
            f"{name}: inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the "
            f"same number of elements, but got {n} and {m} elements respectively"
        )
    out = matmul_op(_slice(x, key=(None,)), _slice(y, key=(slice(None), None)))
    return _slice(out, key=(0, 0))


def times_vector(x: Tensor, vec: Tensor) -> Tensor:
    """Matrices (..., N, M) times a vector (M)."""
    out = matmul_op(x, _slice(vec, key=(slice(None), None)))
    lead = (slice(None),) * (out._data.ndim - 1)
    return _slice(out, key=(*lead, 0))


def short_matmul(x: Tensor, y: Tensor) -> Tensor:
    """`matmul_op`, with a short way where nothing has to be cast or broadcast."""
    a, b, dtype = x._data, y._data, x.dtype
    if (
        a.__class__ is not np.ndarray
        or b.__class__ is not np.ndarray
        or dtype is not y.dtype
        or dtype.itemsize < 4
        or dtype.category < 2
        or a.shape[-1] != b.shape[-2]
        or (b.ndim > 2 and a.shape[:-2] != b.shape[:-2])
        or state.transforms
    ):
        return matmul_op(x, y)
    token = enter()
    data = product(a, b)
    leave(token)
    return _short(matmul_op, (x, y), data, dtype)


def _at(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def _rat(self: Tensor, other: Any) -> Any:
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


attach("__matmul__", _at)
attach("__rmatmul__", _rat)
attach("__imatmul__", lambda self, other: self.copy_(matmul(self, other)))


@public(out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (N, M) and (M, P)."""
    need_tensors("mm", input=input, mat2=mat2)
    if input._data.ndim != 2 or mat2._data.ndim != 2:
        which = "self" if input._data.ndim != 2 else "mat2"
        raise RuntimeError(f"mm: {which} must be a matrix; got shapes {errors.shapes(input, mat2)}")
    if input._data.shape[1] != mat2._data.shape[0]:
        raise mismatch("mm", input._data.shape, mat2._data.shape)
    return short_matmul(input, mat2)


def check_batches(name: str, batch1: Tensor, batch2: Tensor) -> None:
    for i, x in ((1, batch1), (2, batch2)):
        if x._data.ndim != 3:
            raise RuntimeError(f"{name}: batch{i} must be a 3D tensor, got shape {tuple(x.shape)}")
    a, b = batch1._data.shape, batch2._data.shape
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"{name}: Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a[0]}, {a[2]}] but got: [{b[0]}, {b[1]}]."
        )


@public(out=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices (B, N, M) and (B, M, P)."""
    need_tensors("bmm", input=input, mat2=mat2)
    check_batches("bmm", input, mat2)
    return short_matmul(input, mat2)


# -- layers -------------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias` for `input` (..., K), `weight` (N, K) or (K,), `bias` (N,)."""
    x, w = input._data, weight._data
    dtype = input.dtype
    if (
        x.ndim == 2 == w.ndim
        and x.__class__ is np.ndarray
        and w.__class__ is np.ndarray
        and dtype is weight.dtype
        and dtype.category == 2
        and dtype.itemsize >= 4
        and x.shape[1] == w.shape[1]
        and (bias is None or (bias.dtype is dtype and bias._data.shape == (w.shape[0],)))
        and not state.transforms
    ):
        token = enter()
        data = linear_op.cpu(x, w, None if bias is None else bias._data)  # type: ignore[misc]
        leave(token)
        return _short(linear_op, (input, weight, bias), data, dtype)
    if w.ndim == 1 or not x.ndim:
        out = matmul(input, weight if w.ndim == 1 else weight.t())
        return out if bias is None else out + bias
    if w.ndim != 2:
        raise RuntimeError(f"linear: weight must be 1-D or 2-D, got shape {tuple(weight.shape)}")
    return linear_op(input, weight, bias)


FUNCTIONAL["linear"] = linear
