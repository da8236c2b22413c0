"""Which dtypes `out=` may have: a result is cast to it, but for the functions here."""

from __future__ import annotations

from .. import dtypes
from ..dtypes import DType

# Functions that write only to an `out` of the result's own dtype; so do all of several results.
POINTWISE = (
    "bitwise_not ceil conj_physical float_power floor frac gelu hardshrink heaviside isin isneginf "
    "isposinf log_sigmoid logsigmoid nan_to_num neg round sgn sign signbit softplus softshrink "
    "trunc where"
)
PRODUCTS = (
    "addbmm addmm addmv baddbmm bmm cholesky cross det diag dot inv ldl_solve lu_solve matmul "
    "matrix_norm mm multi_dot mv ormqr renorm solve solve_triangular svdvals eigvalsh tensordot "
    "tril triu vdot vecdot"
)
LINES = (
    "all amax amin any argmax argmin avg_pool2d avg_pool3d cumprod cumsum diff hash_tensor histc "
    "histogram log_softmax logcumsumexp mean msort nanquantile norm prod quantile softmax sum "
    "vector_norm"
)
PLACES = (
    "as_strided_copy alias_copy diagonal_copy expand_copy gather index_add index_copy index_reduce "
    "index_select masked_select narrow_copy nonzero permute_copy scatter scatter_add "
    "scatter_reduce slice_scatter squeeze_copy t_copy take take_along_dim transpose_copy "
    "unfold_copy unsqueeze_copy view_copy"
)
FACTORIES = "arange empty eye full linspace logspace ones rand randn zeros"  # where dtype= is given
OWN = frozenset(" ".join((POINTWISE, PRODUCTS, LINES, PLACES, FACTORIES)).split())
CAST = ("geqrf", "lstsq")  # which cast although they have several results
IN_DTYPE_OF_OUT = ("sum", "prod", "cumsum", "cumprod", "mean")  # which compute in that dtype
ANY = ("bernoulli",)  # whose values every dtype holds
REAL = ("hfft", "hfft2", "hfftn", "irfft", "irfft2", "irfftn")  # which refuse complex numbers
# functions whose error for what cannot be cast is not a RuntimeError
KINDS: dict[str, type[Exception]] = {
    **dict.fromkeys(("cat", "stack", "hstack", "vstack", "dstack", "column_stack"), TypeError),
    **dict.fromkeys(("normal", "nansum", "nanmean"), NotImplementedError),
}


def check_out_dtype(name: str, out: DType, result: DType, own: bool = False) -> None:
    """Refuse an `out` of another dtype than the result's where the function does not cast to it."""
    if name in ANY and not out.is_complex:
        return
    if (own and name not in CAST) or (
        name in OWN and not (name in ("all", "any") and out is dtypes.uint8)
    ):
        raise RuntimeError(
            f"{name}: Expected out tensor to have dtype {result.name}, but got {out.name} instead"
        )
    if not dtypes.can_cast(result, out) or (name in REAL and out.is_complex):
        raise KINDS.get(name, RuntimeError)(
            f"{name}: result type {result.name} can't be cast to the desired output type {out.name}"
        )
