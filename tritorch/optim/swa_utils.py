"""Averages of a model's weights over training: equal weights (SWA), or exponential ones (EMA)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from .. import dtypes
from ..autograd.mode import no_grad
from ..nn.module import Module
from ..nn.norm import _BatchNorm
from ..ops import create
from ..tensor import Tensor
from ._lr_base import LRScheduler, per_group
from .optimizer import Optimizer

__all__ = [
    "AveragedModel",
    "update_bn",
    "SWALR",
    "get_ema_multi_avg_fn",
    "get_swa_multi_avg_fn",
    "get_ema_avg_fn",
    "get_swa_avg_fn",
]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def _inexact(t: Any) -> bool:
    return t.dtype.category >= 2


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """`average = decay * average + (1 - decay) * current` in place, over lists of tensors."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: Sequence[Any], currents: Sequence[Any], _: Any) -> None:
        for average, current in zip(averages, currents, strict=True):
            if _inexact(average):
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable:
    """`average = average + (current - average) / (n + 1)` in place, over lists of tensors."""

    @no_grad()
    def swa_update(averages: Sequence[Any], currents: Sequence[Any], num_averaged: Any) -> None:
        for average, current in zip(averages, currents, strict=True):
            if _inexact(average):
                average.lerp_(current, float(1 / (num_averaged + 1)))
            else:
                average.copy_(average + (current - average) / (num_averaged + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """`decay * average + (1 - decay) * current`, of one tensor."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Any, current: Any, num_averaged: Any) -> Any:
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable:
    """`average + (current - average) / (n + 1)`, of one tensor."""

    @no_grad()
    def swa_update(average: Any, current: Any, num_averaged: Any) -> Any:
        return average + (current - average) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model, `module`, whose parameters become averages of that model's over time.

    `update_parameters(model)` takes another model into the average: by `avg_fn(average, current,
    n)`, by `multi_avg_fn` in place on lists of them, or else with equal weights. Buffers are copied
    unless `use_buffers`. The first update copies all.
    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.optim.swa_utils import AveragedModel
        >>> model = torch.nn.Linear(1, 1)
        >>> average = AveragedModel(model)
        >>> for value in (1.0, 3.0):
        ...     _ = torch.nn.init.constant_(model.weight, value)
        ...     average.update_parameters(model)
        >>> average.module.weight.item()
        2.0
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", create.tensor(0, dtype=dtypes.int64, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of `model` into the average."""
        pairs = [
            (average.detach(), current.detach().to(average.device))
            for average, current in zip(self._averaged(self.module), self._averaged(model))
        ]
        count: Any = self.n_averaged
        if not count.item():
            for average, current in pairs:
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in pairs:
                average.copy_(self.avg_fn(average, current, count.to(average.device)))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            for alike in _grouped(pairs):
                averages, currents = zip(*alike)
                update(list(averages), list(currents), count.to(averages[0].device))
        if not self.use_buffers:
            for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(other.detach().to(own.device))  # type: ignore[attr-defined]
        count.add_(1)

    def _averaged(self, model: Module) -> Iterable[Any]:
        return chain(model.parameters(), model.buffers() if self.use_buffers else ())


def _grouped(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    """The pairs by the device and dtype of the average."""
    groups: dict[Any, list] = {}
    for pair in pairs:
        groups.setdefault((str(pair[0].device), pair[0].dtype), []).append(pair)
    return list(groups.values())


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch normalisations anew, in one pass over the data.

    Batches are tensors, or sequences whose first element is the model's input.
    """
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None  # the plain average over all batches
    try:
        for batch in loader:
            batch = batch[0] if isinstance(batch, list | tuple) else batch
            model(batch if device is None else batch.to(device))
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
        model.train(was_training)


def _cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


def _linear(t: float) -> float:
    return t


class SWALR(LRScheduler):
    """From the learning rate as it is to `swa_lr` in `anneal_epochs` steps, then constant.

    `anneal_strategy` is "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for lr, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._set_anneal_func(anneal_strategy)
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _set_anneal_func(self, strategy: str) -> None:
        self._anneal_strategy = strategy
        self.anneal_func = _cosine if strategy == "cos" else _linear

    def _alpha(self, step: int) -> float:
        return self.anneal_func(max(0.0, min(1.0, step / max(1, self.anneal_epochs))))

    def get_lr(self) -> list[Any]:
        """Each group between its first learning rate, found back from the present one, and
        `swa_lr`."""
        step = self._step_count - 1
        step = max(1, step) if self.anneal_epochs == 0 else step
        before, now = self._alpha(step - 1), self._alpha(step)
        found = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            first = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            found.append(target * now + first * (1 - now))
        return found

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer and the function."""
        apart = ("optimizer", "anneal_func")
        return {k: v for k, v in self.__dict__.items() if k not in apart}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)
        self._set_anneal_func(self._anneal_strategy)
