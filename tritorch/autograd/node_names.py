"""The names of the tape's nodes: those that PyTorch's have, where one operator answers another."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import OpNode


def _numbered(name: str, first: Callable[[Any], bool]) -> Callable[[Any], str]:
    """PyTorch counts the forms of an operator: number 0 where `first` holds, else 1."""
    return lambda node: f"{name}Backward{0 if first(node) else 1}"


def _whole(node: Any) -> bool:
    return not node.outputs[0][0]


def _by_rank(matrix: str, batch: str) -> Callable[[Any], str]:
    return lambda node: matrix if len(node.outputs[0][0]) == 2 else batch


def _linear(node: Any) -> str:
    biased = node.edges[2] is not None
    if len(node.outputs[0][0]) == 2:
        return "AddmmBackward0" if biased else "MmBackward0"
    return "ViewBackward0" if biased else "UnsafeViewBackward0"


def _power(node: Any) -> str:
    base, exponent = node.edges[:2]
    return "PowBackward2" if base is None else f"PowBackward{int(exponent is not None)}"


def _copy(node: Any) -> str:
    source, index = node.edges[0] or (node, 0)
    same = source.outputs[index][1] is node.outputs[0][1]
    return "CloneBackward0" if same else "ToCopyBackward0"


def _slice(node: Any) -> str:
    key = [k for k in node.params["key"] if k != slice(None)]
    if key and all(isinstance(k, int) for k in key):
        return "SelectBackward0"
    return "UnsqueezeBackward0" if key and all(k is None for k in key) else "SliceBackward0"


_NAMES: dict[str, str | Callable[[Any], str]] = {
    "addmm": _by_rank("AddmmBackward0", "BaddbmmBackward0"),
    "batch_norm": "NativeBatchNormBackward0",
    "cholesky_op": "LinalgCholeskyExBackward0",
    "clamp": "ClampBackward1",
    "clamp_max": "ClampBackward1",
    "clamp_min": "ClampBackward1",
    "clone": _copy,
    "conv2d": "ConvolutionBackward0",
    "conv2d_input": "ConvolutionBackward0",
    "cross_entropy": "NllLossBackward0",
    "det": "LinalgDetBackward0",
    "div": lambda node: "DivBackward0" if node.edges[0] else "MulBackward0",
    "dropout": "MulBackward0",
    "eigh_op": "LinalgEighBackward0",
    "grid_sample": "GridSampler2DBackward0",
    "group_norm": "NativeGroupNormBackward0",
    "inv_ex": "LinalgInvExBackward0",
    "layer_norm": "NativeLayerNormBackward0",
    "linalg_solve": "LinalgSolveExBackward0",
    "linear": _linear,
    "matmul": _by_rank("MmBackward0", "BmmBackward0"),
    "max_dim": "MaxBackward0",
    "max_pool2d": "MaxPool2DWithIndicesBackward0",
    "max_pool2d_values": "MaxPool2DWithIndicesBackward0",
    "mean": _numbered("Mean", _whole),
    "min_dim": "MinBackward0",
    "norm": "LinalgVectorNormBackward0",
    "pow": _power,
    "prod": _numbered("Prod", _whole),
    "qr_op": "LinalgQrBackward0",
    "slice": _slice,
    "slogdet": "LinalgSlogdetBackward0",
    "square": "PowBackward0",
    "sub": lambda node: "SubBackward0" if node.edges[0] else "RsubBackward1",
    "sum": _numbered("Sum", _whole),
    "svd_op": "LinalgSvdBackward0",
}


def name_of(node: OpNode) -> str:
    """The name of a node by its operator: `log1p` gives `Log1PBackward0`."""
    known = _NAMES.get(node.op.name)
    if known is None:
        return _plain(node.op.name)
    return known if isinstance(known, str) else known(node)


@cache
def _plain(name: str) -> str:
    words = "".join(part.capitalize() for part in name.removesuffix("_op").split("_"))
    return re.sub(r"(?<=\d)[a-z]", lambda m: m[0].upper(), words) + "Backward0"


@cache
def class_of(base: type, name: str) -> type:
    """A class of that name, of which the tape's nodes are when a user looks at them."""
    return type(name, (base,), {"__slots__": (), "__module__": base.__module__})
