"""Products of float8 matrices with scales, summed in float32."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from .. import errors
from ..dtypes import DType, bfloat16, float8_e4m3fn, float8_e5m2, float16, float32
from ..op import fused
from ..tensor import Tensor
from .api import FUNCTIONAL, public
from .grouped import grouped_mm
from .matmul import matmul


class ScalingType(enum.Enum):
    """What one scale belongs to: a whole matrix, a row of it, or a block."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.Enum):
    """The order of the scales of blocks in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def _only(name: str, what: str, value: Any) -> Any:
    """The value itself, or of a list its single element."""
    if not isinstance(value, list | tuple):
        return value
    if len(value) != 1:
        raise NotImplementedError(f"{name}: {what}: one scale a matrix, got {len(value)}")
    return value[0]


def _checked(
    name: str, a: Any, b: Any, scales: tuple, recipes: tuple, swizzles: tuple
) -> tuple[Any, Any, ScalingType]:
    """The scales of both matrices and their common recipe."""
    for what, x in (("mat_a", a), ("mat_b", b)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(x).__name__}")
        if "float8" not in x.dtype.name:
            raise ValueError(
                f"{name}: Invalid scaling configuration: {what} should be float8, got {x.dtype}"
            )
    first, second = (_only(name, "scale_recipe", r) for r in recipes)
    if first is not second or first not in (ScalingType.TensorWise, ScalingType.RowWise):
        raise ValueError(
            f"{name}: Invalid scaling configuration: both recipes have to be TensorWise or both "
            f"RowWise, got {first} and {second}"
        )
    for swizzle in swizzles:
        if _only(name, "swizzle", swizzle) not in (None, SwizzleType.NO_SWIZZLE):
            raise ValueError(f"{name}: only the scales of blocks are swizzled, got {swizzle}")
    found = tuple(_only(name, "scale", s) for s in scales)
    for s in found:
        if not isinstance(s, Tensor) or s.dtype is not float32:
            kind = s.dtype if isinstance(s, Tensor) else type(s).__name__
            raise ValueError(
                f"{name}: Invalid scaling configuration: scales are float32, got {kind}"
            )
    return *found, first


def _of_shape(name: str, what: str, scale: Any, shape: tuple[int, ...]) -> Any:
    if tuple(scale.shape) != shape:
        raise ValueError(
            f"{name}: Invalid scaling configuration: {what} has to be of shape {shape}, got "
            f"{tuple(scale.shape)}"
        )
    return scale


def _scaled_meta(
    a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, bias: Tensor | None,
    *, out_dtype: DType, fast: bool,
) -> tuple:  # fmt: skip
    return (a._data.shape[0], b._data.shape[1]), out_dtype


def _samples(s: Any) -> list:
    def case(m: int, k: int, n: int, types: tuple, rows: bool, bias: Any, out: DType) -> Any:
        a, b = (s.reals(d).astype(t.np) for d, t in zip(((m, k), (n, k)), types))
        scales = (s.reals(d, 0.5, 2.0) for d in (((m, 1), (1, n)) if rows else ((), ())))
        given = (x.astype("float32") for x in scales)
        # not smooth: out_dtype has too few bits for finite differences
        return s(a, b.T, *given, bias, smooth=False, out_dtype=out, fast=False)

    e4, e5 = float8_e4m3fn, float8_e5m2
    return [
        case(2, 3, 4, (e4, e4), False, None, float32),
        case(5, 16, 3, (e4, e5), True, (3,), float32),
        case(40, 200, 33, (e5, e4), True, (33,), bfloat16),
        case(16, 64, 32, (e5, e5), False, (32,), float16),
        case(3, 0, 2, (e4, e4), False, (2,), float32),
    ]


@fused(name="scaled_mm", meta=_scaled_meta, triton="scaled.scaled_mm", samples=_samples)
def scaled_mm_op(
    a: Any, b: Any, scale_a: Any, scale_b: Any, bias: Any, *, out_dtype: DType, fast: bool
) -> Any:
    """`(scale_a * a) @ (scale_b * b) + bias`; `fast` sums may have fewer bits than float32."""
    out: Any = matmul(a.float(), b.float()) * scale_a * scale_b
    if bias is not None:
        out = out + bias.float()
    return out.to(out_dtype)


def _scaled(
    a: Tensor, b: Tensor, scales: Sequence[Tensor], bias: Tensor | None, dtype: DType, fast: bool
) -> Any:
    """The product in any dtype; kernels write the wider ones."""
    out_dtype = dtype if dtype in (float32, float16, bfloat16) else float32
    out: Any = scaled_mm_op(a, b, *scales, bias, out_dtype=out_dtype, fast=bool(fast))
    return out.to(dtype)


def scaled_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    scale_a: Tensor | list[Tensor],
    scale_recipe_a: ScalingType | list[ScalingType],
    scale_b: Tensor | list[Tensor],
    scale_recipe_b: ScalingType | list[ScalingType],
    swizzle_a: SwizzleType | list[SwizzleType] | None = None,
    swizzle_b: SwizzleType | list[SwizzleType] | None = None,
    bias: Tensor | None = None,
    output_dtype: DType | None = bfloat16,
    contraction_dim: Sequence[int] = (),
    use_fast_accum: bool = False,
) -> Tensor:
    """`(scale_a * mat_a) @ (scale_b * mat_b) + bias` of float8 matrices (M, K) and (K, N).

    The recipe `TensorWise` takes a scale of one element for each matrix, `RowWise` one for each row
    of `mat_a`, (M, 1), and each column of `mat_b`, (1, N), all in float32. The sums are taken in
    float32; without `output_dtype` the result has the dtype of `mat_a`. Raises ValueError for the
    recipes of blocks, and for dtypes and shapes that the recipe does not take. A device multiplies
    float8 on tensor cores that take them; `use_fast_accum` lets those sum in fewer bits. Loads are
    wide where the rows of `mat_a` and the columns of `mat_b` are dense, as in `w.t()`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.functional import ScalingType, scaled_mm
        >>> a, half = torch.ones(2, 3).to(torch.float8_e4m3fn), torch.tensor(0.5)
        >>> scaled_mm(a, a.t(), half, ScalingType.TensorWise, half, ScalingType.TensorWise)
        tensor([[0.7500, 0.7500],
                [0.7500, 0.7500]], dtype=tritorch.bfloat16)
    """
    a: Any = mat_a
    b: Any = mat_b
    left, right, recipe = _checked(
        "scaled_mm",
        a,
        b,
        (scale_a, scale_b),
        (scale_recipe_a, scale_recipe_b),
        (swizzle_a, swizzle_b),
    )
    if contraction_dim not in ((), [], (1, 0), [1, 0], (-1, -2), [-1, -2]):
        raise NotImplementedError(
            f"scaled_mm: the inner dimensions are contracted, got contraction_dim {contraction_dim}"
        )
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(
            f"scaled_mm: mat_a and mat_b shapes cannot be multiplied ({errors.shapes(a, b)})"
        )
    if recipe is ScalingType.RowWise:
        left = _of_shape("scaled_mm", "scale_a", left, (a.shape[0], 1))
        right = _of_shape("scaled_mm", "scale_b", right, (1, b.shape[1]))
    elif left.numel() != 1 or right.numel() != 1:
        raise ValueError(
            "scaled_mm: Invalid scaling configuration: TensorWise scales have one element, got "
            f"shapes {errors.shapes(left, right)}"
        )
    else:
        left, right = left.reshape(()), right.reshape(())
    _check_bias("scaled_mm", bias, b.shape[1])
    dtype = a.dtype if output_dtype is None else output_dtype
    return _scaled(a, b, (left, right), bias, dtype, use_fast_accum)


def _check_bias(name: str, bias: Any, n: int) -> None:
    if bias is not None and tuple(bias.shape) != (n,):
        raise ValueError(f"{name}: Bias must be size {n} but got shape {tuple(bias.shape)}")


@public(out=True, method=False)
def _scaled_mm(
    input: Tensor,
    mat2: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    bias: Tensor | None = None,
    scale_result: Tensor | None = None,
    out_dtype: DType | None = None,
    use_fast_accum: bool = False,
) -> Tensor:
    """`scaled_mm` with the recipe that the scales tell: of one element each, or for each row.

    Without `out_dtype` the result has the dtype of `input`. `scale_result` changes nothing, as on
    PyTorch's CPU. Raises as `scaled_mm` does.
    """
    left, right = scale_a, scale_b
    whole = all(isinstance(x, Tensor) and x.numel() == 1 for x in (left, right))  # type: ignore
    recipe = ScalingType.TensorWise if whole else ScalingType.RowWise
    return scaled_mm(
        input, mat2, left, recipe, right, recipe, bias=bias, output_dtype=out_dtype,
        use_fast_accum=use_fast_accum,
    )  # fmt: skip


def scaled_grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    scale_a: Tensor | list[Tensor],
    scale_recipe_a: ScalingType | list[ScalingType],
    scale_b: Tensor | list[Tensor],
    scale_recipe_b: ScalingType | list[ScalingType],
    swizzle_a: SwizzleType | list[SwizzleType] | None = None,
    swizzle_b: SwizzleType | list[SwizzleType] | None = None,
    bias: Tensor | None = None,
    offs: Tensor | None = None,
    output_dtype: DType | None = bfloat16,
    contraction_dim: Sequence[int] = (),
    use_fast_accum: bool = False,
) -> Tensor:
    """`grouped_mm` of float8 matrices with a scale for each row of `mat_a`, column of `mat_b`.

    `mat_a` (M, K) or (G, M, K) with scales (M,) or (G, M); `mat_b` (G, K, N) with scales (G, N);
    `offs` as for `grouped_mm`. The recipes are `RowWise`, the sums are taken in float32.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.functional import ScalingType, scaled_grouped_mm
        >>> a = torch.ones(2, 1, 3).to(torch.float8_e4m3fn)
        >>> rows, one = ScalingType.RowWise, torch.tensor([[1.0], [2.0]])
        >>> scaled_grouped_mm(a, a.mT, one, rows, one, rows, output_dtype=torch.float32).flatten()
        tensor([ 3., 12.])
    """
    name = "scaled_grouped_mm"
    a: Any = mat_a
    b: Any = mat_b
    left, right, recipe = _checked(
        name, a, b, (scale_a, scale_b), (scale_recipe_a, scale_recipe_b), (swizzle_a, swizzle_b)
    )
    if recipe is not ScalingType.RowWise or a.ndim not in (2, 3) or b.ndim != 3 or bias is not None:
        raise NotImplementedError(
            f"{name}: takes RowWise scales, (M, K) or (G, M, K) times (G, K, N), and no bias; got "
            f"{recipe} and shapes {errors.shapes(a, b)}"
        )
    left = _of_shape(name, "scale_a", left, tuple(a.shape[:-1])).unsqueeze(-1)
    right = _of_shape(name, "scale_b", right, (b.shape[0], b.shape[2])).unsqueeze(-2)
    out: Any = grouped_mm(a.float() * left, b.float() * right, offs=offs)
    return out.to(a.dtype if output_dtype is None else output_dtype)


FUNCTIONAL["scaled_mm"] = scaled_mm
FUNCTIONAL["scaled_grouped_mm"] = scaled_grouped_mm
