"""The first networks of every course: a multilayer perceptron and LeNet-5."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from .. import nn
from ..tensor import Tensor


class MLP(nn.Sequential):
    """A multilayer perceptron: linear layers with an activation, and perhaps dropout, between.

    `sizes` are the widths of input, hidden layers and output. Shapes: `(..., sizes[0])`, to
    `(..., sizes[-1])`. Raises ValueError for fewer than two sizes.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import MLP
        >>> net = MLP([784, 128, 10])
        >>> net(torch.zeros(5, 784)).shape
        tritorch.Size([5, 10])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes {list(sizes)} must name at least input and output")
        layers: list[nn.Module] = []
        for i, (inner, out) in enumerate(itertools.pairwise(sizes)):
            if i:
                layers.append(activation())
                layers += [nn.Dropout(dropout)] if dropout else []
            layers.append(nn.Linear(inner, out))
        super().__init__(*layers)


class LeNet(nn.Module):
    """LeNet-5 as PyTorch's tutorial has it: two convolutions with pooling, three linear layers.

    LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B.
    Shapes: `(N, channels, 32, 32)` to `(N, num_classes)`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import LeNet
        >>> LeNet()(torch.zeros(2, 1, 32, 32)).shape
        tritorch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[2:] != (32, 32):
            raise ValueError(
                f"LeNet: images of shape {tuple(x.shape)} do not fit; expected "
                f"(N, {self.conv1.in_channels}, 32, 32)"
            )
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())
