"""Products of vectors, and sums with products: compositions of `matmul` and `addmm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import errors
from ..op import fused
from ..tensor import Tensor
from .activation import gelu, relu
from .api import FUNCTIONAL, PUBLIC, attach, public
from .arithmetic import conj
from .autocast import listed
from .einsum import einsum, tensordot
from .matmul import (
    Number,
    addmm_op,
    check_batches,
    inner_product,
    need_tensors,
    sum_meta,
    times_vector,
)


@public(out=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix (N, M) times a vector (M)."""
    need_tensors("mv", input=input, vec=vec)
    if input._data.ndim != 2 or vec._data.ndim != 1:
        raise RuntimeError(
            f"mv: vector + matrix @ vector expected, got {input._data.ndim}, {vec._data.ndim}"
        )
    if input._data.shape[1] != vec._data.shape[0]:
        n, m = input._data.shape
        raise RuntimeError(
            f"mv: size mismatch, got input ({n}), mat ({n}x{m}), vec ({vec._data.shape[0]})"
        )
    return times_vector(input, vec)


@public(out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors; without conjugation."""
    need_tensors("dot", input=input, tensor=tensor)
    return inner_product("dot", input, tensor)


@public(out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, the first one conjugated."""
    need_tensors("vdot", input=input, other=other)
    return inner_product("vdot", conj(input), other)


@public("ger", out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of each element of a vector with each of another: (N, M)."""
    need_tensors("outer", input=input, vec2=vec2)
    for i, v in ((1, input), (2, vec2)):
        if v._data.ndim != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {'self' if i == 1 else 'vec2'}, but got "
                f"{v._data.ndim}-D of shape {tuple(v.shape)}"
            )
    return input[:, None] * vec2


@public(out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dimension of both: (..., K) and (..., K)."""
    need_tensors("inner", input=input, other=other)
    a, b = input._data.shape, other._data.shape
    if not a or not b:
        return input * other
    if a[-1] != b[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes "
            f"{list(a)} and {list(b)}"
        )
    return tensordot(input, other, ([-1], [-1]))


# -- sums with a product ------------------------------------------------------------------------


def _added(name: str) -> Callable:
    """Publish an `add..mm` with its in-place form, of the same arguments."""

    def publish(f: Callable) -> Callable:
        f = listed(f)
        public(out=True)(f)

        def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            result = f(self, *args, **kwargs)
            if result._data.shape != self._data.shape:
                raise RuntimeError(
                    f"{name}_: Bad in-place call: input tensor size {list(self.shape)} and output "
                    f"tensor size {list(result.shape)} should match"
                )
            return self.copy_(result)

        change.__name__ = f"{name}_"
        attach(f"{name}_", change)
        return f

    return publish


def need_matrices(name: str, input: Tensor, mat1: Tensor, mat2: Tensor) -> None:
    """TypeError for what is no tensor, RuntimeError for a factor that is no matrix."""
    need_tensors(name, input=input, mat1=mat1, mat2=mat2)
    for i, m in ((1, mat1), (2, mat2)):
        if m._data.ndim != 2:
            raise RuntimeError(
                f"{name}: mat{i} must be a matrix, got {m._data.ndim}-D tensor of shape "
                f"{tuple(m.shape)}"
            )


@_added("addmm")
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`; `input` broadcasts to the product."""
    need_matrices("addmm", input, mat1, mat2)
    return addmm_op(input, mat1, mat2, beta=beta, alpha=alpha)


def _activation_meta(
    c: Tensor, a: Tensor, b: Tensor, *, beta: Number, alpha: Number, use_gelu: bool
) -> tuple:
    return sum_meta("_addmm_activation", c, a, b)


@fused(
    meta=_activation_meta,
    triton="matmul.addmm_activation",
    samples=lambda s: [
        s((2, 2), (2, 3), (3, 2), beta=1, alpha=1, use_gelu=False),
        s((4,), (3, 5), (5, 4), beta=0.5, alpha=-2.0, use_gelu=True),
        s((1,), (40, 33), (33, 50), beta=1, alpha=1, use_gelu=True),
        s((5,), (1, 70), (70, 5), beta=1, alpha=1, use_gelu=False),
        s((9,), (33, 2048), (2048, 9), beta=1, alpha=0.1, use_gelu=True),
    ],
)
def addmm_activation(c: Any, a: Any, b: Any, *, beta: Number, alpha: Number, use_gelu: bool) -> Any:
    """`relu(beta * c + alpha * a @ b)`, or `gelu` of it."""
    return (gelu if use_gelu else relu)(addmm_op(c, a, b, beta=beta, alpha=alpha))


@public(out=True)
def _addmm_activation(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: Number = 1,
    alpha: Number = 1,
    use_gelu: bool = False,
) -> Tensor:
    """`relu(beta * input + alpha * (mat1 @ mat2))`, with `use_gelu` the `gelu` of the sum.

    `input` broadcasts to the product of the matrices (N, M) and (M, P). On a device sum and
    activation are one kernel; `gelu` is the exact one, as PyTorch's is on the CPU.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([[1.0, -1.0]])
        >>> torch._addmm_activation(torch.tensor([0.5, 0.0]), x, torch.eye(2))
        tensor([[1.5000, 0.0000]])
    """
    need_matrices("_addmm_activation", input, mat1, mat2)
    return addmm_activation(input, mat1, mat2, beta=beta, alpha=alpha, use_gelu=bool(use_gelu))


@_added("addmv")
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`."""
    need_tensors("addmv", input=input, mat=mat, vec=vec)
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
    column = input[..., None]
    return addmm_op(column, mat, vec[:, None], beta=beta, alpha=alpha)[:, 0]


PUBLIC["addmv_"] = Tensor.addmv_  # type: ignore[attr-defined]


@_added("baddbmm")
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * (batch1 @ batch2)` for batches of matrices."""
    need_tensors("baddbmm", input=input, batch1=batch1, batch2=batch2)
    check_batches("baddbmm", batch1, batch2)
    return addmm_op(input, batch1, batch2, beta=beta, alpha=alpha)


@_added("addbmm")
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * sum of batch1[i] @ batch2[i]`."""
    need_tensors("addbmm", input=input, batch1=batch1, batch2=batch2)
    check_batches("addbmm", batch1, batch2)
    b, n, k = batch1._data.shape
    left = batch1.permute(1, 0, 2).reshape(n, b * k)
    right = batch2.reshape(b * k, batch2._data.shape[2])
    return addmm_op(input, left, right, beta=beta, alpha=alpha)


@_added("addr")
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    need_tensors("addr", input=input, vec1=vec1, vec2=vec2)
    if vec1._data.ndim != 1 or vec2._data.ndim != 1:
        raise RuntimeError(
            f"addr: Expected 1-D arguments 'vec1' and 'vec2', but got {vec1._data.ndim}-D and "
            f"{vec2._data.ndim}-D"
        )
    shape = (vec1._data.shape[0], vec2._data.shape[0])
    have = input._data.shape
    if len(have) > 2 or errors.broadcast_shapes("addr", have, shape) != shape:
        raise RuntimeError(
            f"addr: size mismatch, input: {list(have)}, v1: [{shape[0]}], v2: [{shape[1]}]"
        )
    for what, factor in (("beta", beta), ("alpha", alpha)):
        if isinstance(factor, float) and input.dtype.category < 2:
            raise RuntimeError(
                f"addr: For integral input tensors, argument {what} must not be a floating point "
                f"number, got {factor}"
            )
    term = outer(vec1, vec2)
    if input.dtype.category == term.dtype.category == 0:
        beta, alpha = bool(beta), bool(alpha)
    term = term if alpha == 1 else alpha * term
    if beta == 0:
        return term
    return (input if beta == 1 else beta * input) + term


@listed
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j] + bias[o]`."""
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
    return out if bias is None else out + bias


FUNCTIONAL["bilinear"] = bilinear
PUBLIC["bilinear"] = bilinear
