"""How an update runs: on NumPy arrays in pieces, by a kernel, or on tensors by operators."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import enable_grad, state
from ..ops import create
from ..runtime import accelerator, parallel
from ..runtime.quiet import quiet
from ..tensor import Tensor
from .optimizer import Optimizer

ON_DEVICE = object()  # the number of a step that is counted in the device's memory
BLOCK = 1 << 14  # elements of a piece: with the temporaries of an update it stays in the cache


class Stepper(Optimizer):
    """An optimizer whose update looks at one parameter at a time.

    A subclass writes `arrays_of`, the names of its state that has the shape of the parameter;
    `advance`, which makes that state and returns the number of the step; `constants`, what the
    update needs besides tensors; and `update`, in operators and in-place operators of Python that
    NumPy arrays and tensors share. It runs on pieces of the arrays on the CPU, and on tensors where
    a gradient is recorded or no kernel is at hand.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by their gradients; `closure` computes them, and the loss."""
        if accelerator.capturing():
            self._check_capturable()
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        outer, state.grad = state.grad, bool(self.defaults.get("differentiable"))
        try:
            with quiet():
                for group in self.param_groups:
                    self._step_group(group)
        finally:
            state.grad = outer
        return loss

    def _check_capturable(self) -> None:
        """A graph repeats what the device is given, not the counting of steps on the host."""
        if not all(group.get("capturable", True) for group in self.param_groups):
            raise RuntimeError(
                "Attempting CUDA graph capture of step() for an instance of "
                f"{type(self).__name__} but param_groups' capturable is False."
            )

    def _step_group(self, group: dict[str, Any]) -> None:
        names, update, own = self.arrays_of(group), self.update, self.state
        composed = bool(group.get("differentiable"))
        n = constants = by = None
        apart: list[tuple] = []
        for p in group["params"]:
            g = p._grad
            if g is None:
                continue
            step = self.advance(p, own, group)
            if step != n and step is not ON_DEVICE:
                n, constants = step, self.constants(group, step)
            data = p._data
            if composed:  # what the tape has saved of the step before stays as it is
                own[p].update({k: own[p][k].clone() for k in names})
            kept = [own[p][k] for k in names]
            if composed or data.__class__ is not np.ndarray:
                apart.append((p, g, kept, step, constants))
                continue
            on_host(update, [data, g._data, *[t._data for t in kept]], constants)
            by = changed(p, type(self).__name__, by)
        if apart:
            self._step_apart(apart, group, composed)

    def _step_apart(self, rows: list[tuple], group: dict[str, Any], composed: bool) -> None:
        """The update on devices, and where it is recorded: by kernels, else by operators."""
        if not composed and all(p.is_cuda and not p.dtype.is_complex for p, *_ in rows):
            alike: dict[tuple, list[tuple]] = {}
            for row in rows:
                alike.setdefault((row[3], row[0].device), []).append(row)
            rows = [
                row
                for (step, _), part in alike.items()
                for row in self._step_on_device(part, group, step)
            ]
        for p, g, kept, step, constants in rows:
            if step is ON_DEVICE:
                constants = self.constants(group, self.counted(p, group))
            tensors = [p, g, *kept]
            if p.dtype.is_complex:
                tensors = [t.view_as_real() for t in tensors]
            self.update(*tensors, constants)

    def _step_on_device(self, rows: list[tuple], group: dict[str, Any], step: Any) -> list[tuple]:
        """Launch the kernel for these parameters; those that it does not serve."""
        columns = [
            [t._data for t in column] for column in zip(*[(p, g, *k) for p, g, k, *_ in rows])
        ]
        if step is ON_DEVICE:
            step = [self.state[p]["step"]._data for p, *_ in rows]
        try:
            kernels = importlib.import_module("..kernels.optim", __package__)
        except ImportError:
            return rows
        changing = [a for column in (columns[0], *columns[2:]) for a in column]
        call = changing, [*changing, *columns[1]], {}
        with (
            accelerator.operator(type(self).__name__, call),
            accelerator.located(columns[0][0]),
        ):
            served = self.launch(kernels, accelerator.launch, columns, group, step)
        if served is NotImplemented:
            return rows
        by = None
        for p, *_ in rows:
            by = changed(p, type(self).__name__, by)
        return []

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the state with the shape of the parameter."""
        raise NotImplementedError

    def advance(self, p: Tensor, state: Any, group: dict[str, Any]) -> Any:
        """Count a step of this parameter, its state made at the first; the number of the step.

        It is `ON_DEVICE` where a kernel, or `counted`, is to count it in the device's memory.
        """
        raise NotImplementedError

    def counted(self, p: Tensor, group: dict[str, Any]) -> Any:
        """Count a step on the device, by operators; its number, of tensors without dimensions."""
        raise NotImplementedError

    def constants(self, group: dict[str, Any], step: Any) -> Any:
        """What the update needs besides tensors."""
        raise NotImplementedError

    @staticmethod
    def update(p: Any, g: Any, *kept_and_constants: Any) -> None:
        """Change the parameter and its state in place."""
        raise NotImplementedError

    def launch(
        self, kernels: Any, launch: Any, columns: list, group: dict[str, Any], step: Any
    ) -> Any:
        """Run the kernel; NotImplemented where there is none.

        `step` is what `advance` gave, or a list of the arrays in which steps are to be counted.
        """
        return NotImplemented


class Counted(Stepper):
    """A `Stepper` that counts the steps of each parameter in its state, as "step".

    That is a tensor on the CPU; on the device of the parameter for `capturable` and `fused` ones.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            for name in ("maximize", "differentiable", "capturable"):
                if name in self.defaults:
                    group.setdefault(name, False)
            for p in group["params"]:
                own = self.state.get(p)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = self.number_of(p, group, own["step"])

    def on_device(self, p: Tensor, group: dict[str, Any]) -> bool:
        """Whether the steps of this parameter are counted on its device."""
        wanted = group.get("capturable") or group.get("fused")
        return bool(wanted) and not p.is_cpu and not group.get("differentiable")

    def number_of(self, p: Tensor, group: dict[str, Any], value: Any) -> Tensor:
        """A number of the state of this parameter: a float32 tensor where steps are counted."""
        if self.on_device(p, group):
            return create.full((), float(value), dtype=dtypes.float32, device=p.device)
        return scalar(value)

    def begin(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the state of a parameter: zeros."""
        own["step"] = self.number_of(p, group, 0)
        for name in self.arrays_of(group):
            own[name] = create.zeros_like(p)

    def advance(self, p: Tensor, state: Any, group: dict[str, Any]) -> Any:
        own = state[p]
        if not own:
            self.begin(p, own, group)
        if self.on_device(p, group):
            own["step"] = own["step"].to(p.device, dtypes.float32)  # as a rule it is
            return ON_DEVICE
        step = own["step"]._data
        if step.__class__ is not np.ndarray:
            own["step"] = own["step"].cpu()
            step = own["step"]._data
        step += 1
        return float(step)

    def counted(self, p: Tensor, group: dict[str, Any]) -> Any:
        step = self.state[p]["step"]
        step += 1
        return step.double()

    def rate(self, group: dict[str, Any]) -> Any:
        """The learning rate as a number; a tensor where it has a gradient or lies on a device."""
        lr = group["lr"]
        counted = group.get("capturable") or group.get("fused")
        if group.get("differentiable") or (counted and isinstance(lr, Tensor) and not lr.is_cpu):
            return lr
        return number(lr)


def scalar(value: Any) -> Tensor:
    """A number of the state: a float32 tensor on the CPU."""
    return create.tensor(float(value), dtype=dtypes.float32, device="cpu")


def prepared(p: Any, g: Any, decay: float, maximize: bool) -> Any:
    """The gradient to go down: of the other sign for `maximize`, plus `decay * p`."""
    if maximize:
        g = -g
    if decay:
        d = p * decay
        d += g
        return d
    return g


def moments(p: Any, g: Any, m: Any, v: Any, common: Any) -> Any:
    """Bring the moments of Adam up to date; the gradient that went into them."""
    keep, decay, maximize, new1, new2 = common
    g = prepared(p, g, decay, maximize)
    if keep is not None:
        p *= keep
    d = g - m
    d *= new1
    m += d
    d = g * g
    d -= v
    d *= new2
    v += d
    return g


def multiply_add(a: Any, b: Any, c: Any, out: Any = None) -> Any:
    """`a * b + c`, rounded once where `a` and `c` are float32 arrays; `b` may be a number."""
    if c.__class__ is not np.ndarray or c.dtype != np.float32:
        result = a * b + c
    else:
        result = a.astype(np.float64)
        result *= np.float32(b)
        result += c
    if out is None:
        return result if result.dtype == c.dtype else result.astype(c.dtype)
    out[...] = result
    return out


def on_host(update: Callable, arrays: list[np.ndarray], constants: Any) -> None:
    """The update on NumPy arrays: large ones in pieces that stay in a core's cache."""
    first = arrays[0]
    kind = first.dtype
    if kind.kind == "c":
        real = np.dtype(kind.char.lower())
        arrays = [a[..., None].view(real) for a in arrays]
    elif kind.itemsize < 4:
        narrow, arrays = arrays, [a.astype(np.float32) for a in arrays]
        on_host(update, arrays, constants)
        for a, b in zip(narrow, arrays):
            np.copyto(a, b, casting="unsafe")
        return
    if first.size > BLOCK:
        flat = _flat(arrays)
        if flat is not None:
            parallel.run(
                lambda start, stop: update(*[a[start:stop] for a in flat], constants),
                first.size,
                BLOCK,
            )
            return
    update(*arrays, constants)


def _flat(arrays: list[np.ndarray]) -> list[np.ndarray] | None:
    """The arrays with one dimension, where all lie in memory in one order without gaps."""
    first = arrays[0]
    if not first.flags.c_contiguous:
        order = sorted(range(first.ndim), key=lambda d: -first.strides[d])
        arrays = [a.transpose(order) for a in arrays]
    if all(a.flags.c_contiguous for a in arrays):
        return [a.reshape(-1) for a in arrays]
    return None


def changed(p: Tensor, name: str, by: tuple | None) -> tuple:
    """Count a change in place of `p`; the line that called is looked up for the first only."""
    storage = p.storage_
    if by is None:
        storage.bump(f"{name}.step")
        return storage.changed_by  # type: ignore[return-value]
    storage.version += 1
    storage.changed_by = by
    return by


def raise_to(a: Any, b: Any) -> None:
    """`a = max(a, b)` in place."""
    if a.__class__ is np.ndarray:
        np.maximum(a, b, out=a)
    else:
        recorded = a.requires_grad or b.requires_grad  # then `a` is saved, as it is now
        a.copy_((a.clone() if recorded else a).maximum(b))


def number(value: Any) -> Any:
    """A learning rate and its like as a Python number."""
    return value.item() if isinstance(value, Tensor) else value


def check_lr(lr: Any) -> None:
    """A learning rate is a number that is not negative, or a tensor of one."""
    if isinstance(lr, Tensor) and lr._data.size != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_range("learning rate", lr, number(lr) >= 0.0)


def check_betas(betas: Any) -> None:
    """Two numbers in [0, 1)."""
    for i in range(2):
        check_range(f"beta parameter at index {i}", betas[i], 0.0 <= number(betas[i]) < 1.0)


def check_fused(fused: Any, foreach: Any, differentiable: bool) -> None:
    """The combinations of implementation flags that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_range(what: str, value: Any, valid: bool) -> None:
    """ValueError where an option is out of range."""
    if not valid:
        raise ValueError(f"Invalid {what}: {value}")
