"""What an operator does on a device: its kernel, or the host where no kernel serves the call."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..runtime import replay
from ..tensor import Tensor

FALLBACKS: Counter[str] = Counter()  # operator -> calls that the host served for a device
Spec = tuple[tuple[int, ...], dtypes.DType]
_PACKAGE = f"{__name__.partition('.')[0]}."


class OnDevice:
    """The part of `Op` that runs on a device: results without memory, kernels, the host instead."""

    name: str
    outputs: tuple[str, ...]
    triton: Any
    ref: Callable | None
    _named: frozenset[str] = frozenset()  # the launcher's parameters, once it is imported

    # what `Op` has besides
    on_host: Callable
    composed: Callable

    def on_device(self, arrays: list, params: dict, specs: Any, kind: Any = None) -> Any:
        from ..runtime import accelerator

        if specs is None:
            if self.ref is None:
                raise RuntimeError(f"{self.name}: has no meta rule, so it cannot run on a device")
            return self.composed(arrays, params)
        device = next(a.device for a in arrays if a is not None and a.__class__ is not np.ndarray)
        many = specs if specs.__class__ is list else [specs]
        if device.type == "meta":
            outs = [accelerator.meta(*s) for s in many]
        else:
            outs = [self.fresh(s, arrays, device) for s in many]
            self.launch(outs, arrays, params, kind)
        return tuple(outs) if specs.__class__ is list else outs[0]

    def fresh(self, spec: tuple, arrays: list, device: Any) -> Any:
        """Memory for a result on a device; a family chooses its layout here."""
        from ..runtime import accelerator

        return accelerator.empty(*spec, device)  # type: ignore

    def launch(self, outs: list, arrays: list, params: dict, kind: Any = None) -> None:
        """Run the Triton kernel into `outs`, or the host's implementation through copies.

        `kind` is what `replay.kind` says of the call: the launches are kept under it.
        """
        from ..runtime import accelerator

        if not any(o.size for o in outs):
            return
        launcher = self.launcher()
        if launcher is not None:
            named = {k: v for k, v in params.items() if k in self._named or "**" in self._named}
            with (
                accelerator.operator(self.name, (outs, arrays, params)),
                accelerator.located(outs[0]),
            ):
                if kind is not None:
                    if self._recorded(launcher, outs, arrays, named, kind):
                        return
                elif self._launched(accelerator.launch, launcher, outs, arrays, named):
                    return
        self._on_host_instead(outs, arrays, params)

    def _launched(
        self, launch: Any, launcher: Callable, outs: list, arrays: list, named: dict
    ) -> bool:
        out = tuple(outs) if len(self.outputs) > 1 else outs[0]
        return launcher(launch, out, *arrays, **named) is not NotImplemented

    def _recorded(
        self, launcher: Callable, outs: list, arrays: list, named: dict, kind: tuple
    ) -> bool:
        """Launch, and keep what was launched for calls of this kind."""
        from ..runtime import accelerator

        recorder = replay.Recorder(accelerator.launch, kind[0])
        slots = [recorder.standing_for(a) for a in (*outs, *arrays)]
        n = len(outs)
        if not self._launched(recorder, launcher, slots[:n], slots[n:], named):
            return False
        replay.keep(*kind, recorder.replay(outs, len(self.outputs) == 1))  # type: ignore
        return True

    def _again(self, known: replay.Replay, owner: Any, outs: list | None, inputs: Sequence) -> list:
        """The launches of an earlier call, on these arrays; the results where none are given."""
        try:
            if outs is None:
                outs = known.results(owner)
            known.run(owner, outs, inputs)
        except Exception as error:
            from ..runtime import accelerator

            if isinstance(error, accelerator.OutOfMemoryError):
                raise type(error)(f"{self.name}: {error}") from None
            raise accelerator.LaunchError(
                f"{self.name}: {type(error).__name__}: {error}"
            ) from error
        return outs

    def _on_host_instead(self, outs: list, arrays: list, params: dict) -> None:
        from ..runtime import accelerator
        from ..runtime.array import Array

        if not FALLBACKS[self.name]:
            warnings.warn(
                f"{self.name}: no Triton kernel serves these arguments; it runs on the host",
                stacklevel=users_level(),
            )
        FALLBACKS[self.name] += 1
        host = [accelerator.to_host(a) if isinstance(a, Array) else a for a in arrays]
        specs = [(o.shape, o.dtype) for o in outs]
        result = self.on_host(host, params, specs if len(specs) > 1 else specs[0])
        for o, r in zip(outs, result if result.__class__ is tuple else (result,), strict=True):
            accelerator.from_host(r, o)

    def launcher(self) -> Callable | None:
        """The launcher, imported with triton at the first need; it gets the params it names."""
        if isinstance(self.triton, str):
            try:
                self.triton = imported(self.triton)
            except (ImportError, AttributeError) as error:
                raise ImportError(
                    f"{self.name}: its kernel's launcher {self.triton!r} is not there: {error}"
                ) from error
        if self.triton is not None and not self._named:
            parameters = inspect.signature(self.triton).parameters.values()
            self._named = frozenset("**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters)
        return self.triton


def check_devices(op: str, inputs: Sequence) -> None:
    """Tensors are on one device, but for CPU tensors of no dimensions."""
    found = {t.device for t in inputs if isinstance(t, Tensor) and (t.ndim or not t.is_cpu)}
    if len(found) > 1:
        raise RuntimeError(
            f"{op}: Expected all tensors to be on the same device, but found at least two "
            f"devices, {' and '.join(sorted(map(str, found)))}!"
        )


def imported(where: str) -> Any:
    """What stands at `"family.name"` in `tritorch.kernels`, or at `"module:name"` anywhere."""
    module, colon, name = where.rpartition(":")
    if colon:
        return getattr(importlib.import_module(module), name)
    family, _, name = where.partition(".")
    return getattr(importlib.import_module(f"{_PACKAGE}kernels.{family}"), name)


def chosen(launch: Any, kind: str, sizes: tuple[int, ...], first: Any) -> Any:
    """The blocks that `tritorch.tune` found for launches of this kind and such sizes on the device.

    `first`, a NamedTuple of ints, is the choice where nobody has searched, and its class that of
    the result. Fields named `warps` and `stages` are tried from 1 to 16 and from 1 to 6, all others
    as powers of two from 16 to 256. What else blocks depend on, as a dtype, belongs into `kind`.
    """
    return imported("_choice.chosen")(launch.target, kind, sizes, first)


def users_level() -> int:
    """The `stacklevel` with which a warning of the caller names the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
