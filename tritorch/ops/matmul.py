"""Products of vectors, matrices and batches of matrices.

Two records compute them, `matmul` on operands of two and more dimensions and `linear`; `addmm` adds
a matrix in the same pass. All other names are compositions of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors
from ..autograd.mode import state
from ..autograd.node import OpNode
from ..dtypes import DType
from ..op import Op, joint, primitive
from ..runtime import blas, host, parallel
from ..runtime.quiet import enter, leave
from ..tensor import Tensor, wrap
from .api import FUNCTIONAL, PUBLIC, attach, public
from .arithmetic import conj
from .view import permute_op

Number = bool | int | float | complex
ALONE = 1 << 18  # multiplications up to which BLAS does not use its threads
THREADED = 1 << 22  # multiplications from which a second thread pays
SHORT: dict = {}

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


# -- on the host ------------------------------------------------------------------------------


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` for arrays of two and more dimensions, over our own threads.

    BLAS's threads spin while they wait: where others use the cores too, each product then takes as
    long as the system's time slice.
    """
    if b.ndim == 2 and a.ndim > 2:
        return _folded(a, b)
    if a.ndim > 2 or b.ndim > 2:
        return _batched(blas_ready(a), blas_ready(b))
    (m, k), n = a.shape, b.shape[1]
    if m * n * k <= ALONE:
        return np.matmul(a, b)
    out = host.empty((m, n), a.dtype)
    with blas.single:
        if m * n * k <= THREADED:
            return np.matmul(a, b, out=out)
        return _split(a, b, out)


def _split(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Rows, or columns, of a product over the threads."""
    m, n = out.shape
    columns = n >= 2 * m
    a, b = blas_ready(a), blas_ready(b)

    def body(start: int, stop: int) -> None:
        if columns:
            np.matmul(a, b[:, start:stop], out=out[:, start:stop])
        else:
            np.matmul(a[start:stop], b, out=out[start:stop])

    size, threads = (n if columns else m), parallel.get_num_threads()
    parallel.run(body, size, -(-size // threads // 16) * 16)
    return out


def _folded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All matrices of `a` times one matrix: one product of the rows of all of them."""
    rows = rows_of(a)
    return product(rows, b).reshape(*a.shape[:-1], b.shape[1])


def rows_of(a: np.ndarray) -> np.ndarray:
    """`a` (..., K) as a matrix (rows, K); a view where the strides allow it."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _batched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if math.prod(lead) == 1:
        return product(a.reshape(m, k), b.reshape(k, n)).reshape(*lead, m, n)
    out = host.empty((*lead, m, n), a.dtype)
    axis = max(range(len(lead)), key=lambda d: lead[d])
    count = lead[axis]
    if count < 2 or out.size * k < THREADED or parallel.get_num_threads() == 1:
        with blas.single:
            return np.matmul(a, b, out=out)
    a = np.moveaxis(np.broadcast_to(a, (*lead, m, k)), axis, 0)
    b = np.moveaxis(np.broadcast_to(b, (*lead, k, n)), axis, 0)
    target = np.moveaxis(out, axis, 0)

    def body(start: int, stop: int) -> None:
        np.matmul(a[start:stop], b[start:stop], out=target[start:stop])

    with blas.single:
        parallel.run(body, count, max(1, count // 8))
    return out


def blas_ready(x: np.ndarray) -> np.ndarray:
    """`x` with unit stride in one of its last two dimensions, which is what BLAS reads."""
    row, column = x.strides[-2:]
    item = x.itemsize
    if column == item and (row >= item * x.shape[-1] or x.shape[-2] == 1):
        return x
    if row == item and (column >= item * x.shape[-2] or x.shape[-1] == 1):
        return x
    if x.dtype.kind not in "fc":
        return x
    out = host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def sum_rows(g: np.ndarray) -> np.ndarray:
    """The sum over the rows of a matrix; by BLAS where there are many."""
    if g.shape[0] >= 128 and g.dtype.kind == "f":
        return np.ones(g.shape[0], g.dtype) @ g
    return np.add.reduce(g, 0)


# -- the records ------------------------------------------------------------------------------


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
        raise RuntimeError(f"{name}: \"addmm_impl_cpu_\" not implemented for 'Bool'")
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


def _right_vjp(g: Tensor, a: Tensor, b_shape: tuple) -> Tensor:
    if len(b_shape) == 2 and g._data.ndim > 2:
        a = a.reshape(-1, a._data.shape[-1])  # type: ignore[attr-defined]
        g = g.reshape(-1, b_shape[-1])  # type: ignore[attr-defined]
    return matmul_op(adjoint(a), g)


@primitive(
    name="matmul",
    meta=_matmul_meta,
    triton="matmul.matmul",
    vjp=(lambda g, b: matmul_op(g, adjoint(b)), _right_vjp),
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
    columns = weight._data.shape[1]
    rows = g.reshape(-1, weight._data.shape[0])  # type: ignore[attr-defined]
    return (
        matmul_op(g, conj(weight))
        if needs[0] and g._data.ndim > 1
        else matmul(g, conj(weight))
        if needs[0]
        else None,
        matmul_op(_swap(rows), conj(x.reshape(-1, columns))) if needs[1] else None,  # type: ignore[attr-defined]
        rows.sum(0) if needs[2] else None,  # type: ignore[attr-defined]
    )


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


@primitive(name="linear", meta=_linear_meta, triton="matmul.linear", vjp=joint(_linear_vjp))
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


def _addmm_meta(c: Tensor, a: Tensor, b: Tensor, *, beta: Number, alpha: Number) -> tuple:
    dtype = same_dtype("addmm", a, b)
    if c.dtype is not dtype:
        raise RuntimeError(
            f"addmm: self and mat2 must have the same dtype, but got {c.dtype.name} and {dtype.name}"
        )
    if dtype.category < 2 and (isinstance(beta, float) or isinstance(alpha, float)):
        raise RuntimeError(
            "addmm: For integral input tensors, argument beta and alpha must not be floating "
            f"point numbers, got {beta} and {alpha}"
        )
    x, y = a._data.shape, b._data.shape
    if x[-1] != y[-2]:
        raise mismatch("addmm", x, y)
    lead = errors.broadcast_shapes("addmm", x[:-2], y[:-2])
    shape = (*lead, x[-2], y[-1])
    have = c._data.shape
    if len(have) > len(shape) or errors.broadcast_shapes("addmm", have, shape) != shape:
        raise RuntimeError(
            f"addmm: the added tensor of shape {tuple(have)} does not broadcast to the product's "
            f"shape {shape}"
        )
    return shape, dtype


@primitive(
    name="addmm",
    meta=_addmm_meta,
    triton="matmul.addmm",
    vjp=(
        lambda g, beta: g if beta == 1 else g * conj(beta),
        lambda g, b, alpha: _scaled(matmul_op(g, adjoint(b)), alpha),
        lambda g, a, b_shape, alpha: _scaled(_right_vjp(g, a, b_shape), alpha),
    ),
)
def addmm_op(c: Any, a: Any, b: Any, *, beta: Number, alpha: Number) -> Any:
    """`beta * c + alpha * a @ b`; with `beta` 0 not even NaN passes from `c`."""
    out = product(a, b)
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
            node = OpNode(op, edges, ((data.shape, dtype),), None, SHORT)
            node.saved = op.rules.save(inputs, (out,), edges)  # type: ignore[union-attr]
            out._edge = (node, 0)
    return out


NO_EDGES = {2: (None, None), 3: (None, None, None)}


# -- public: the general product ------------------------------------------------------------------


def _need_tensor(name: str, argument: str, position: int, x: Any) -> None:
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
    _need_tensor("matmul", "input", 1, input)
    _need_tensor("matmul", "other", 2, other)
    a, b = input._data, other._data
    n, m = a.ndim, b.ndim
    if n >= 2 and m >= 2:
        return _matmul_short(input, other)
    if not n or not m:
        raise RuntimeError(
            f"matmul: both arguments to matmul need to be at least 1D, but they are {n}D and {m}D"
        )
    if n == 1 and m == 1:
        return dot(input, other)
    if m == 1:
        if a.shape[-1] != b.shape[0]:
            raise RuntimeError(
                f"matmul: size mismatch, got input ({math.prod(a.shape[:-1])}), mat "
                f"({math.prod(a.shape[:-1])}x{a.shape[-1]}), vec ({b.shape[0]})"
            )
        return matmul_op(input, other[:, None])[..., 0]  # type: ignore[index]
    if a.shape[0] != b.shape[-2]:
        raise mismatch("matmul", (1, a.shape[0]), b.shape)
    return matmul_op(input[None], other)[..., 0, :]  # type: ignore[index]


def _matmul_short(x: Tensor, y: Tensor) -> Tensor:
    a, b, dtype = x._data, y._data, x.dtype
    if (
        a.__class__ is not np.ndarray
        or b.__class__ is not np.ndarray
        or dtype is not y.dtype
        or dtype.itemsize < 4
        or dtype.category < 2
        or a.ndim != 2
        or b.ndim != 2
        or a.shape[1] != b.shape[0]
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


def _dims(name: str, x: Tensor, n: int, argument: str) -> None:
    if x._data.ndim != n:
        kind = {1: "vector", 2: "matrix", 3: "3D tensor"}[n]
        raise RuntimeError(
            f"{name}: Expected {argument} to be a {kind} ({n}-D), got {x._data.ndim}-D tensor of "
            f"shape {tuple(x.shape)}"
        )


@public(out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (N, M) and (M, P)."""
    if input._data.ndim != 2 or mat2._data.ndim != 2:
        which = "self" if input._data.ndim != 2 else "mat2"
        raise RuntimeError(f"mm: {which} must be a matrix; got shapes {errors.shapes(input, mat2)}")
    if input._data.shape[1] != mat2._data.shape[0]:
        raise mismatch("mm", input._data.shape, mat2._data.shape)
    return _matmul_short(input, mat2)


def _check_batches(name: str, batch1: Tensor, batch2: Tensor) -> None:
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
    _check_batches("bmm", input, mat2)
    return matmul_op(input, mat2)


@public(out=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix (N, M) times a vector (M)."""
    if input._data.ndim != 2 or vec._data.ndim != 1:
        raise RuntimeError(
            f"mv: vector + matrix @ vector expected, got {input._data.ndim}, {vec._data.ndim}"
        )
    if input._data.shape[1] != vec._data.shape[0]:
        n, m = input._data.shape
        raise RuntimeError(
            f"mv: size mismatch, got input ({n}), mat ({n}x{m}), vec ({vec._data.shape[0]})"
        )
    return matmul_op(input, vec[:, None])[:, 0]  # type: ignore[index]


def _check_vectors(name: str, x: Tensor, y: Tensor) -> None:
    for i, (v, other) in enumerate(((x, "input"), (y, "tensor"))):
        _need_tensor(name, other, i + 1, v)
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


@public(out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors; without conjugation."""
    _check_vectors("dot", input, tensor)
    return matmul_op(input[None], tensor[:, None])[0, 0]  # type: ignore[index]


@public(out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, the first one conjugated."""
    _check_vectors("vdot", input, other)
    return dot(conj(input), other)


@public("ger", out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of each element of a vector with each of another: (N, M)."""
    for i, v in ((1, input), (2, vec2)):
        if v._data.ndim != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {'self' if i == 1 else 'vec2'}, but got "
                f"{v._data.ndim}-D of shape {tuple(v.shape)}"
            )
    return input[:, None] * vec2  # type: ignore[index, operator]


@public(out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dimension of both: (..., K) and (..., K)."""
    a, b = input._data.shape, other._data.shape
    if not a or not b:
        return input * other  # type: ignore[operator]
    if a[-1] != b[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes "
            f"{list(a)} and {list(b)}"
        )
    return tensordot(input, other, ([-1], [-1]))


# -- sums with a product --------------------------------------------------------------------------


def _added(name: str) -> Callable:
    """Publish an `add..mm` with its in-place form, of the same arguments."""

    def publish(f: Callable) -> Callable:
        public(out=True)(f)

        def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            result = f(self, *args, **kwargs)
            if result._data.shape != self._data.shape:
                raise RuntimeError(
                    f"{name}_: Bad in-place call: input tensor size {list(self.shape)} and output "
                    f"tensor size {list(result.shape)} should match"
                )
            return self.copy_(result)  # type: ignore[attr-defined]

        change.__name__ = f"{name}_"
        attach(f"{name}_", change)
        return f

    return publish


@_added("addmm")
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`; `input` broadcasts to the product."""
    for i, m in ((1, mat1), (2, mat2)):
        if m._data.ndim != 2:
            raise RuntimeError(
                f"addmm: mat{i} must be a matrix, got {m._data.ndim}-D tensor of shape "
                f"{tuple(m.shape)}"
            )
    return addmm_op(input, mat1, mat2, beta=beta, alpha=alpha)


@_added("addmv")
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`."""
    if mat._data.ndim != 2 or vec._data.ndim != 1 or input._data.ndim > 1:
        raise RuntimeError(
            f"addmv: vector + matrix @ vector expected, got {input._data.ndim}, {mat._data.ndim}, "
            f"{vec._data.ndim}"
        )
    n, m = mat._data.shape
    if vec._data.shape[0] != m or input._data.shape not in ((), (1,), (n,)):
        raise RuntimeError(
            f"addmv: size mismatch, got input ({input._data.size}), mat ({n}x{m}), "
            f"vec ({vec._data.shape[0]})"
        )
    column = input[..., None]  # type: ignore[index]
    return addmm_op(column, mat, vec[:, None], beta=beta, alpha=alpha)[:, 0]  # type: ignore[index]


@_added("baddbmm")
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (batch1 @ batch2)` for batches of matrices."""
    _check_batches("baddbmm", batch1, batch2)
    return addmm_op(input, batch1, batch2, beta=beta, alpha=alpha)


@_added("addbmm")
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * sum of batch1[i] @ batch2[i]`."""
    _check_batches("addbmm", batch1, batch2)
    b, n, k = batch1._data.shape
    left = batch1.permute(1, 0, 2).reshape(n, b * k)  # type: ignore[attr-defined]
    right = batch2.reshape(b * k, batch2._data.shape[2])  # type: ignore[attr-defined]
    return addmm_op(input, left, right, beta=beta, alpha=alpha)


@_added("addr")
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    if vec1._data.ndim != 1 or vec2._data.ndim != 1:
        raise RuntimeError(
            f"addr: Expected 1-D arguments 'vec1' and 'vec2', but got {vec1._data.ndim}-D and "
            f"{vec2._data.ndim}-D"
        )
    shape = (vec1._data.shape[0], vec2._data.shape[0])
    have = input._data.shape
    if len(have) > 2 or errors.broadcast_shapes("addr", have, shape) != shape:
        raise RuntimeError(
            f"addr: size mismatch, input: {list(have)}, v1: {list(shape[:1])}, v2: {list(shape[1:])}"
        )
    term = outer(vec1, vec2)
    if alpha != 1:
        term = alpha * term  # type: ignore[operator]
    if beta == 0:
        return term
    return (input if beta == 1 else beta * input) + term  # type: ignore[operator]


# -- layers ---------------------------------------------------------------------------------------


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
        out = matmul(input, weight if w.ndim == 1 else weight.t())  # type: ignore[attr-defined]
        return out if bias is None else out + bias  # type: ignore[operator]
    if w.ndim != 2:
        raise RuntimeError(f"linear: weight must be 1-D or 2-D, got shape {tuple(weight.shape)}")
    return linear_op(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j] + bias[o]`."""
    from .einsum import einsum

    a, b, w = input1._data.shape, input2._data.shape, weight._data.shape
    if a[:-1] != b[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {tuple(a)} and {tuple(b)}"
        )
    if a[-1] != w[1] or b[-1] != w[2]:
        raise RuntimeError(
            f"bilinear(): input1 and input2 sizes {a[-1]} and {b[-1]} do not match the weight's "
            f"shape {tuple(w)}"
        )
    if bias is not None and bias._data.shape[0] != w[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias._data.shape[0]} but "
            f"expected {w[0]}"
        )
    out = einsum("...i,oij,...j->...o", input1, weight, input2)
    return out if bias is None else out + bias  # type: ignore[operator]


FUNCTIONAL["linear"] = linear
FUNCTIONAL["bilinear"] = bilinear
PUBLIC["bilinear"] = bilinear
