"""`torch.nn.modules`: the names of `tritorch.nn`, and hooks of all modules in `module`.

PyTorch's files of modules are found here under their names, without being imported, and each has
all names of `tritorch.nn`: `modules.batchnorm._BatchNorm`, `modules.activation.MultiheadAttention`.
"""

import functools
from types import ModuleType
from typing import Any

from . import module as module, utils as utils

FILES = frozenset(
    (
        *("activation", "adaptive", "batchnorm", "channelshuffle", "container", "conv", "distance"),
        *("dropout", "flatten", "fold", "instancenorm", "lazy", "linear", "loss", "normalization"),
        *("padding", "pixelshuffle", "pooling", "rnn", "sparse", "transformer", "upsampling"),
    )
)
# What programs import from PyTorch's files beside the names of `nn`: its file of ours, its name.
# Base classes are among them, as `isinstance(m, _BatchNorm)` must see the layers.
INNER = {
    "LazyModuleMixin": ("lazy", "LazyModuleMixin"),
    "NonDynamicallyQuantizableLinear": ("linear", "NonDynamicallyQuantizableLinear"),
    "_AdaptiveAvgPoolNd": ("pooling", "_AdaptiveAvgPool"),
    "_AdaptiveMaxPoolNd": ("pooling", "_AdaptiveMaxPool"),
    "_AvgPoolNd": ("pooling", "_AvgPoolNd"),
    "_BatchNorm": ("norm", "_BatchNorm"),
    "_CircularPadNd": ("padding", "_CircularPad"),
    "_ConstantPadNd": ("padding", "_ConstantPad"),
    "_ConvNd": ("conv", "_ConvNd"),
    "_ConvTransposeNd": ("conv", "_ConvTranspose"),
    "_DropoutNd": ("dropout", "_Dropout"),
    "_InstanceNorm": ("norm", "_InstanceNorm"),
    "_LPPoolNd": ("pooling", "_LPPool"),
    "_Loss": ("loss", "_Loss"),
    "_MaxPoolNd": ("pooling", "_MaxPool"),
    "_MaxUnpoolNd": ("pooling", "_MaxUnpool"),
    "_NormBase": ("norm", "_NormBase"),
    "_ReflectionPadNd": ("padding", "_ReflectionPad"),
    "_ReplicationPadNd": ("padding", "_ReplicationPad"),
    "_WeightedLoss": ("loss", "_WeightedLoss"),
    "_get_activation_fn": ("transformer", "_activation"),
    "_get_clones": ("transformer", "_copies"),
}


def _file(name: str) -> ModuleType:
    """One of PyTorch's files of modules, by its name alone: it has all names of `tritorch.nn`."""
    made = ModuleType(f"{__name__}.{name}", _file.__doc__)
    made.__getattr__ = functools.partial(_find, made.__name__)  # type: ignore[method-assign]
    return made


def _find(module: str, name: str) -> Any:
    from ... import nn

    names = vars(nn)
    if name in names and not name.startswith("__"):
        return names[name]
    if name in INNER:
        file, own = INNER[name]
        return getattr(names[file], own)
    raise AttributeError(f"module '{module}' has no attribute '{name}'")


def __getattr__(name: str) -> Any:
    if name not in FILES:
        return _find(__name__, name)
    file = globals()[name] = _file(name)
    return file
