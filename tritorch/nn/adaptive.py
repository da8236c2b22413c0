"""Losses with weights of their own: linear cross-entropy, and the adaptive softmax."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from ..ops.join import cat
from ..ops.linear_entropy import LinearCrossEntropyOptions
from ..tensor import Tensor
from . import functional as F
from .containers import ModuleList, Sequential
from .linear import Linear
from .loss import _WeightedLoss
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class LinearCrossEntropyLoss(_WeightedLoss):
    """`CrossEntropyLoss` of a linear layer: `(N, in_features)` and targets `(N, *out_features)`.

    `linear.weight` is (num_classes * prod(out_features), in_features). With `options` the logits
    are computed in chunks of rows.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"LinearCrossEntropyLoss: expected weight shape to be {(num_classes,)}, got "
                f"{tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(
                "LinearCrossEntropyLoss: expected label_smoothing to be in range [0, 1], got "
                f"{label_smoothing}"
            )
        super().__init__(weight=weight, reduction=reduction)
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        rows = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape, bias = (self.num_classes, *self.out_features), self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, self.linear.in_features),  # type: ignore[union-attr]
            target,
            linear_bias=None if bias is None else bias.reshape(shape),  # type: ignore[attr-defined]
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        shown = {"in_features": self.linear.in_features, "num_classes": self.num_classes}
        shown |= {"out_features": self.out_features, "bias": self.linear.bias is not None}
        for name in ("reduction", "ignore_index", "label_smoothing", "options"):
            shown[name] = getattr(self, name)
        return ", ".join(f"{k}={v}" for k, v in shown.items())


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax over many classes of which few are frequent: rare ones stand in clusters.

    Input `(N, in_features)` and targets `(N,)` give the log-probability of each target and the
    mean loss. Classes are in the order of falling frequency; `cutoffs` are where clusters begin,
    each projected to `div_value` times fewer features than the one before.
    Source: Grave et al., "Efficient softmax approximation for GPUs", 2017.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name, ends = "AdaptiveLogSoftmaxWithLoss", list(cutoffs)
        if not ends:
            raise ValueError(f"{name}: cutoffs should be a sequence of length larger than 0")
        sound = ends == sorted(set(ends)) and all(int(c) == c for c in ends)
        if not sound or ends[0] <= 0 or ends[-1] > n_classes - 1:
            raise ValueError(
                f"{name}: cutoffs should be a sequence of unique, positive integers sorted in an "
                "increasing order, where each value is between 1 and n_classes-1, got "
                f"{ends} for {n_classes} classes"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*ends, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = ends[0], len(ends)
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **made),
                    Linear(width, size, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        self.head.reset_parameters()
        for layers in self.tail:
            for layer in layers:  # type: ignore[attr-defined]
                layer.reset_parameters()

    def _check(self, input: Any, target: Any) -> None:
        name = "AdaptiveLogSoftmaxWithLoss"
        if target.ndim > 1:
            raise RuntimeError(f"{name}: 0D or 1D target tensor expected, got {target.ndim}D")
        if input.ndim != target.ndim + 1:
            raise RuntimeError(
                f"{name}: {target.ndim}D target tensor expects {target.ndim + 1}D input tensors, "
                f"but found inputs with size {tuple(input.shape)}"
            )
        if target.ndim and input.shape[0] != target.shape[0]:
            raise RuntimeError(
                f"{name}: Input and target should have the same size in the batch dimension, got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )

    def forward(self, input_: Any, target_: Any) -> Any:
        self._check(input_, target_)
        batched = target_.ndim > 0
        x, target = (input_, target_) if batched else (input_[None], target_[None])
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(
                "AdaptiveLogSoftmaxWithLoss: Target values should be in "
                f"[0, {self.n_classes - 1}], but values in range [{target.min().item()}, "
                f"{target.max().item()}] were found."
            )
        head = F.log_softmax(self.head(x), 1)
        place, out = target, x.new_zeros(target.shape[0])
        for i, layers in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.numel():
                continue
            place = place.index_fill(0, rows, self.shortlist_size + i)
            inner: Any = F.log_softmax(layers(x.index_select(0, rows)), 1)
            wanted = (target.index_select(0, rows) - low).unsqueeze(1)
            out = out.index_copy(0, rows, inner.gather(1, wanted).squeeze(1))
        out = out + head.gather(1, place.unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined]
        loss = (-out).mean()
        return _ASMoutput(out if batched else out.squeeze(0), loss)

    def log_prob(self, input: Any) -> Any:
        """The log-probabilities of all classes, `(N, n_classes)`."""
        head: Any = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, layers in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(layers(input), 1) + cluster)
        return cat(parts, 1)

    def predict(self, input: Any) -> Any:
        """The likeliest class of each row, by the head alone where that says enough."""
        out = self.head(input).argmax(1)
        rare = out >= self.shortlist_size
        if not rare.any():
            return out
        best = self.log_prob(input[rare]).argmax(1)
        return out.index_copy(0, rare.nonzero().squeeze(1), best)
