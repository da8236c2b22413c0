"""What is out of scope, by name: sparse, nested and quantised tensors, and vendors' libraries.

Each name is there, so that a program which only mentions it runs; a call says what does not exist
here and what serves instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..dtypes import DType
from ..tensor import Tensor
from .api import PUBLIC, SPACES, attach


class Family(NamedTuple):
    """Names that are missing for one reason: what there is not, and what serves instead."""

    missing: str
    instead: str
    functions: str = ""
    methods: str = ""
    space: str = ""  # the namespace of `members`
    members: str = ""


FAMILIES = (
    Family(
        "tensors of sparse layouts",
        "dense tensors, with index_add, gather or embedding_bag where few elements count",
        functions="sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor "
        "sparse_bsc_tensor sparse_compressed_tensor ccol_indices_copy crow_indices_copy "
        "col_indices_copy row_indices_copy indices_copy values_copy resize_as_sparse_",
        methods="to_sparse to_sparse_coo to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc "
        "_to_sparse coalesce is_coalesced indices values crow_indices col_indices ccol_indices "
        "row_indices _nnz _indices _values sparse_mask sparse_resize_ sparse_resize_and_clear_ "
        "resize_as_sparse_",
        space="sparse",
        members="sampled_addmm spdiags spsolve to_sparse_semi_structured",
    ),
    Family(
        "products of sparse matrices",
        "mm and addmm of dense ones",
        functions="smm spmm dsmm hsmm hspmm saddmm sspaddmm",
        methods="smm sspaddmm",
        space="sparse",
        members="mm addmm",
    ),
    Family(
        "reductions of sparse tensors",
        "sum, softmax and log_softmax of dense ones, or torch.masked with mask=",
        space="sparse",
        members="sum softmax log_softmax",
    ),
    Family(
        "nested tensors",
        "padded tensors with a mask (torch.masked, nn.utils.rnn.pad_sequence), or segment_reduce",
        methods="to_padded_tensor",
        space="nested",
        members="nested_tensor as_nested_tensor nested_tensor_from_jagged narrow masked_select "
        "to_padded_tensor",
    ),
    Family(
        "masked tensors as a class",
        "the functions of torch.masked with mask=",
        space="masked",
        members="masked_tensor as_masked_tensor",
    ),
    Family(
        "quantised tensors",
        "bfloat16, float16 or float8 through to(), or integers with a scale of your own",
        functions="quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel "
        "empty_quantized choose_qparams_optimized fake_quantize_per_tensor_affine "
        "fake_quantize_per_channel_affine fused_moving_avg_obs_fake_quant int_repr q_scale "
        "q_zero_point q_per_channel_scales q_per_channel_zero_points q_per_channel_axis "
        "fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation "
        "fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation "
        "fbgemm_linear_quantize_weight fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix",
        methods="int_repr q_scale q_zero_point q_per_channel_scales q_per_channel_zero_points "
        "q_per_channel_axis qscheme",
    ),
    Family(
        "quantised layers",
        "the layers of torch.nn in 16 bits",
        functions="quantized_batch_norm quantized_gru_cell quantized_lstm_cell "
        "quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d "
        "quantized_rnn_relu_cell quantized_rnn_tanh_cell",
    ),
    Family(
        "vendors' libraries (cuDNN, MIOpen, oneDNN)",
        "convolution, batch_norm, grid_sampler, max_pool2d, lstm and ctc_loss, which have kernels",
        functions="cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution "
        "cudnn_convolution_add_relu cudnn_convolution_relu cudnn_convolution_transpose "
        "cudnn_grid_sampler miopen_batch_norm miopen_convolution miopen_convolution_add_relu "
        "miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss "
        "miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d mkldnn_convolution "
        "mkldnn_linear_backward_weights mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_rnn_layer",
        methods="to_mkldnn",
    ),
    Family("the dtype complex32", "cfloat, complex numbers of two float32", methods="chalf"),
    Family(
        "devices other than cpu, cuda and meta",
        "to() with one of these",
        methods="ipu mtia xpu",
    ),
)


def _refusal(name: str, family: Family) -> Callable:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"{name}: {family.missing} do not exist here; use {family.instead}"
            if family.missing[-1] == "s" or "(" in family.missing
            else f"{name}: {family.missing} does not exist here; use {family.instead}"
        )

    function.__name__ = name.rpartition(".")[2]
    function.__qualname__ = name
    function.__doc__ = f"Out of scope: raises NotImplementedError. Use {family.instead}."
    function.out_of_scope = True  # type: ignore[attr-defined]
    return function


for _family in FAMILIES:
    for _name in _family.functions.split():
        PUBLIC[_name] = _refusal(_name, _family)
    for _name in _family.methods.split():
        attach(_name, _refusal(f"Tensor.{_name}", _family))
    for _name in _family.members.split():
        SPACES.setdefault(_family.space, {})[_name] = _refusal(f"{_family.space}.{_name}", _family)


# -- what a dense tensor answers -------------------------------------------------------------------


def to_dense(
    self: Tensor, dtype: DType | None = None, *, masked_grad: bool | None = None
) -> Tensor:
    """The tensor itself, in `dtype` where given: every tensor here is dense."""
    return self if dtype is None else self.to(dtype)  # type: ignore[attr-defined]


def sparse_dim(self: Tensor) -> int:
    """The number of sparse dimensions: 0."""
    return 0


def dense_dim(self: Tensor) -> int:
    """The number of dense dimensions: all."""
    return self._data.ndim


def dequantize(input: Tensor) -> Tensor:
    """The tensor itself: none here is quantised."""
    return input


def cudnn_is_acceptable(tensor: Tensor) -> bool:
    """Whether cuDNN could take a tensor: False."""
    return False


def is_vulkan_available() -> bool:
    """Whether there is a Vulkan device: False."""
    return False


def is_distributed(input: Tensor) -> bool:
    """Whether a tensor lies on several machines: False."""
    return False


def is_masked_tensor(obj: Any) -> bool:
    """Whether `obj` is a masked tensor: False."""
    return False


for _f in (to_dense, sparse_dim, dense_dim, dequantize):
    attach(_f.__name__, _f)
for _f in (dequantize, cudnn_is_acceptable, is_vulkan_available, is_distributed):
    PUBLIC[_f.__name__] = _f
SPACES["masked"]["is_masked_tensor"] = is_masked_tensor
