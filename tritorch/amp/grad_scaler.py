"""`GradScaler`: the loss is multiplied so that small gradients do not vanish in float16."""

from __future__ import annotations

import enum
import math
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import no_grad
from ..ops import create, join
from ..runtime import memory
from ..tensor import Tensor

__all__ = ["GradScaler", "OptState"]


class OptState(enum.Enum):
    """Where an optimizer stands between two updates of the scale."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class _Stage:
    """What is known of one optimizer since the last `update`."""

    def __init__(self) -> None:
        self.stage = OptState.READY
        self.found_inf: bool | None = None


class GradScaler:
    """Scales the loss, and the gradients back; steps whose gradients are not finite are left out.

    The scale is multiplied by `backoff_factor` after such a step, and by `growth_factor` after
    `growth_interval` steps in a row without one.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.5)
        >>> scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        >>> scaler.scale(p.sum()).backward()
        >>> p.grad.item()
        8.0
        >>> _ = scaler.step(optimizer)
        >>> scaler.update()
        >>> p.item(), scaler.get_scale()
        (0.5, 8.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device, self._enabled = str(device), enabled
        if enabled and self._device.startswith("cuda") and not memory.available():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            self._enabled = False
        if self._enabled:
            if growth_factor <= 1.0:
                raise AssertionError("The growth factor must be > 1.0.")
            if backoff_factor >= 1.0:
                raise AssertionError("The backoff factor must be < 1.0.")
            self._init_scale, self._scale = init_scale, None
            self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
            self._growth_interval, self._init_growth_tracker = growth_interval, 0
            self._growth_tracker: Any = None
            self._per_optimizer_states: dict[int, _Stage] = {}
            self._owners: dict[int, Any] = {}

    # -- the scale ------------------------------------------------------------------------------

    def _begin(self, device: Any) -> None:
        """Make the scale and the count of good steps where they are needed."""
        if self._scale is None:
            self._scale: Any = create.tensor(
                float(self._init_scale), dtype=dtypes.float32, device=device
            )
            self._growth_tracker = create.tensor(
                self._init_growth_tracker, dtype=dtypes.int32, device=device
            )

    def _known(self, name: str) -> Any:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {name} but _scale is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor, or an iterable of such, multiplied by the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._begin(outputs.device)
            return outputs * self._scale.to(outputs.device)  # type: ignore[operator]
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled  # type: ignore
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _stage(self, optimizer: Any) -> _Stage:
        key = id(optimizer)
        owner = self._owners.get(key)
        if owner is None or owner() is not optimizer:
            self._per_optimizer_states[key] = _Stage()
            self._owners[key] = weakref.ref(optimizer)
        return self._per_optimizer_states[key]

    @no_grad()
    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer by the scale, for instance to clip them."""
        if not self._enabled:
            return
        scale, own = self._known("unscale_"), self._stage(optimizer)
        if own.stage is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if own.stage is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = 1.0 / float(scale.item())
        own.found_inf = self._unscale(optimizer, inverse, False)
        own.stage = OptState.UNSCALED

    def _unscale(self, optimizer: Any, factor: float, allow_fp16: bool) -> bool | None:
        """Multiply all gradients; whether one was not finite, None where there is none."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        grads = [p._grad for p in params if p._grad is not None]
        if not allow_fp16 and any(g.dtype is dtypes.float16 for g in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        if not grads:
            return None
        finite = all([_finite(g) for g in grads if g.is_cpu])
        elsewhere = [g.isfinite().all() for g in grads if not g.is_cpu]
        for g in grads:
            g.mul_(factor)
        if elsewhere:  # one answer is waited for, not one a gradient
            finite = finite and bool(
                join.stack([f.to(elsewhere[0].device) for f in elsewhere]).all()
            )
        return not finite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)`, unless a gradient is not finite; unscales them if need be."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._known("step")
        own = self._stage(optimizer)
        if own.stage is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if own.stage is OptState.READY:
            self.unscale_(optimizer)
        if own.found_inf is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if own.found_inf else optimizer.step(*args, **kwargs)
        own.stage = OptState.STEPPED
        return result

    @no_grad()
    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to the steps since the last update, or set it."""
        if not self._enabled:
            return
        scale = self._known("update")
        if new_scale is not None:
            self._set(scale, new_scale)
        else:
            found = [s.found_inf for s in self._per_optimizer_states.values()]
            found = [f for f in found if f is not None]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            self._adapt(scale, any(found))
        self._per_optimizer_states.clear()
        self._owners.clear()

    def _set(self, scale: Any, value: Any) -> None:
        if isinstance(value, Tensor) and (value._data.size != 1 or value.requires_grad):
            raise AssertionError(
                "new_scale should be a float or a 1-element float Tensor with requires_grad=False, "
                f"got shape {tuple(value.shape)}"
            )
        scale.fill_(value.item() if isinstance(value, Tensor) else value)

    def _adapt(self, scale: Any, found_inf: bool) -> None:
        if found_inf:
            scale.mul_(self._backoff_factor)
            self._growth_tracker.fill_(0)
            return
        successful = int(self._growth_tracker.item()) + 1
        if successful == self._growth_interval:
            grown = np.float32(scale.item()) * np.float32(self._growth_factor)
            if math.isfinite(grown):
                scale.fill_(float(grown))
            successful = 0
        self._growth_tracker.fill_(successful)

    # -- options and state ----------------------------------------------------------------------

    def get_scale(self) -> float:
        """The scale as a number; 1 where this is not enabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        known = self._growth_tracker
        return self._init_growth_tracker if known is None else int(known.item())

    def is_enabled(self) -> bool:
        """Whether this scales at all."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, its factors and the count of good steps; nothing where not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, "
                    "or at the end after scaler.update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state


def _finite(g: Any) -> bool:
    """Whether all elements on the host are: if their sum is, they are."""
    a = g._data
    with np.errstate(over="ignore", invalid="ignore"):
        if a.dtype.itemsize >= 4 and np.isfinite(a.sum()):
            return True
    return bool(np.isfinite(a).all())
