"""Activation checkpointing: what a part of a model saves for backward is computed again there."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..amp.autocast_mode import autocast
from ..autograd import engine
from ..autograd.function import Function
from ..autograd.graph import saved_tensors_hooks
from ..autograd.mode import enable_grad, no_grad, outside, state, transform
from ..autograd.saved import Packed
from ..device import device as Device
from ..ops.autocast import DEVICES, settings
from ..ops.generator import default, get_rng_state, set_rng_state
from ..runtime import memory
from ..tensor import Tensor
from ._selective import (
    SAC_IGNORED_OPS,
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

__all__ = [
    "SAC_IGNORED_OPS",
    "CheckpointPolicy",
    "SelectiveCheckpointContext",
    "create_selective_checkpoint_contexts",
    "CheckpointError",
    "CheckpointFunction",
    "DefaultDeviceType",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

Contexts = Callable[[], tuple[AbstractContextManager, AbstractContextManager]]


class CheckpointError(RuntimeError):
    """What was computed again differs from what the forward saved."""


class _Stop(Exception):
    """All that is needed has been computed again."""


class DefaultDeviceType:
    """The kind of device whose random state is kept where no argument says."""

    _kind = "cuda"

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        DefaultDeviceType._kind = device

    @staticmethod
    def get_device_type() -> str:
        return DefaultDeviceType._kind


_early_stop: list[bool] = []  # the innermost `set_checkpoint_early_stop` last
_debug: list[bool | None] = [None]


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """For checkpoints made in the block: whether computing again stops as soon as it can."""
    _early_stop.append(enable)
    try:
        yield
    finally:
        _early_stop.pop()


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """For checkpoints made in the block: whether a mismatch lists the operators of both runs."""
    _debug.append(enabled)
    try:
        yield
    finally:
        _debug.pop()


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


# -- random and autocast state --------------------------------------------------------------------


def _tensors(values: Any) -> Iterator[Any]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for v in values.values():
            yield from _tensors(v)
    elif isinstance(values, list | tuple):
        for v in values:
            yield from _tensors(v)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The GPUs on which the arguments are, and their random states."""
    found = {t.device.index or 0 for t in _tensors(args) if t.is_cuda}
    devices = sorted(found)
    return devices, _states(devices)


def set_device_states(
    devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None
) -> None:
    """Set the random states of GPUs."""
    for device, random in zip(devices, states, strict=True):
        default(Device("cuda", device)).set_state(random)


def _states(devices: Sequence[int]) -> list[Any]:
    return [default(Device("cuda", i)).get_state() for i in devices]


class _Surroundings:
    """The random and autocast state of a forward, to be put back where it runs again."""

    def __init__(self, preserve_rng_state: bool, args: Any) -> None:
        self.preserve = preserve_rng_state
        self.enabled, self.dtypes = settings.enabled, dict(settings.dtypes)
        self.cache_enabled = settings.cache_enabled
        if preserve_rng_state:
            self.cpu = get_rng_state()
            self.devices, self.states = get_device_states(args)

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """As it was then; the present state comes back at the end."""
        if self.preserve:
            now, states = get_rng_state(), _states(self.devices)
        try:
            if self.preserve:
                set_rng_state(self.cpu)
                set_device_states(self.devices, self.states)
            with contextlib.ExitStack() as stack:
                for kind in DEVICES:
                    if kind != "cuda" or memory.available():
                        on = kind in self.enabled
                        stack.enter_context(
                            autocast(kind, self.dtypes[kind], on, self.cache_enabled)
                        )
                yield
        finally:
            if self.preserve:
                set_rng_state(now)
                set_device_states(self.devices, states)


# -- with a backward of its own (reentrant) -------------------------------------------------------


def detach_variable(inputs: tuple) -> tuple:
    """The arguments, tensors as leaves that require grad where they did."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: "
            f"{type(inputs).__name__}"
        )
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where no argument requires grad."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


class CheckpointFunction(Function):
    """A call whose forward records nothing, and whose backward runs it again."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state, args)
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        run: Any = engine.running()
        if run.captured is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). Call checkpoint with "
                "use_reentrant=False instead."
            )
        args = list(ctx.args)
        for i, t in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = t
        own = detach_variable(tuple(args))
        with ctx.surroundings.restored(), enable_grad():
            outs = ctx.run_function(*own)
        outs = (outs,) if isinstance(outs, Tensor) else outs
        pairs = [
            (o, g)
            for o, g in zip(outs, grads, strict=True)
            if isinstance(o, Tensor) and o.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        roots, given = zip(*pairs, strict=True)
        engine.backward(roots, given)
        return (None, None, *(a.grad if isinstance(a, Tensor) else None for a in own))


# -- by hooks on what is saved (non-reentrant) ----------------------------------------------------


class _Holder:
    """Stands in a node for what is to be computed again; `kept` is that, for each pass."""

    __slots__ = ("__weakref__", "kept")

    def __init__(self) -> None:
        self.kept: weakref.WeakKeyDictionary[Any, Tensor] = weakref.WeakKeyDictionary()


def _described(t: Tensor) -> dict[str, Any]:
    return {"shape": tuple(t.shape), "dtype": t.dtype, "device": t.device}


class _Frame:
    """One checkpointed call: its holders in order, and how to fill them."""

    def __init__(self, run: Callable, early_stop: bool, described: Callable, debug: bool) -> None:
        self.run, self.early_stop, self.described, self.debug = run, early_stop, described, debug
        self.holders: list[weakref.ref[_Holder]] = []
        self.expected: list[Any] = []
        self.done: weakref.WeakSet[Any] = weakref.WeakSet()
        self.names: list[str] = []

    def pack(self, t: Tensor) -> _Holder:
        holder = _Holder()
        self.holders.append(weakref.ref(holder))
        self.expected.append(self.described(t))
        return holder

    def unpack(self, holder: _Holder) -> Tensor:
        run: Any = engine.running() if engine.is_running() else self
        if run not in self.done:
            self.compute(run)
        return holder.kept[run]

    def compute(self, run: Any) -> None:
        """Run the function again, and put what it saves into the holders."""
        self.done.add(run)
        count, names = 0, []

        def pack(t: Tensor) -> Tensor:
            nonlocal count
            at, count = count, count + 1
            if at >= len(self.holders):
                if self.early_stop:
                    return t
                raise CheckpointError(self.too_many(count, names))
            self.check(at, t, names)
            holder = self.holders[at]()
            if holder is not None:
                holder.kept[run] = t.detach()
            if self.early_stop and count == len(self.holders):
                raise _Stop
            return t.detach()

        with (
            contextlib.suppress(_Stop),
            enable_grad(),
            saved_tensors_hooks(pack, lambda t: t),
            self.watched(names),
        ):
            self.run()
        if count < len(self.holders):
            raise CheckpointError(self.too_many(count, names))

    def watched(self, names: list[str]) -> AbstractContextManager:
        """With `debug`, the operators of the block are listed in `names`."""
        if not self.debug:
            return contextlib.nullcontext()

        def note(op: Any, inputs: Sequence, params: dict) -> Any:
            names.append(op.name)
            with outside():
                return op(*inputs, **params)

        return transform(note)

    def listed(self, names: list[str]) -> str:
        if not self.debug:
            return "\nWith debug=True, the operators of both runs are listed."
        first, second = ", ".join(self.names), ", ".join(names)
        return f"\nOperators of the forward: {first}\nOperators computed again: {second}"

    def too_many(self, count: int, names: list[str]) -> str:
        return (
            "torch.utils.checkpoint: A different number of tensors was saved during the original "
            f"forward and recomputation.\nNumber of tensors saved during forward: "
            f"{len(self.holders)}\nNumber of tensors saved during recomputation: {count}"
            + self.listed(names)
        )

    def check(self, at: int, t: Tensor, names: list[str]) -> None:
        """Refuse a tensor that does not look as in the forward."""
        found = self.described(t)
        if found != self.expected[at]:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have "
                "different metadata than during the forward pass.\n"
                f"tensor at position {at}:\nsaved metadata: {self.expected[at]}\n"
                f"recomputed metadata: {found}" + self.listed(names)
            )


class _Arguments:
    """The arguments of a call; their tensors go through the hooks around, like saved ones."""

    def __init__(self, args: tuple, kwargs: dict[str, Any]) -> None:
        self.args = [self.keep(a) for a in args]
        self.kwargs = {k: self.keep(v) for k, v in kwargs.items()}

    def keep(self, value: Any) -> tuple:
        if not isinstance(value, Tensor):
            return value, None
        return (Packed(value) if state.saved_hooks else value), value._version

    def __call__(self) -> tuple[tuple, dict[str, Any]]:
        return (
            tuple(self.again(*a) for a in self.args),
            {k: self.again(*v) for k, v in self.kwargs.items()},
        )

    def again(self, value: Any, version: int | None) -> Any:
        if isinstance(value, Packed):
            with enable_grad():
                return value.unpack(None)  # type: ignore[arg-type]
        if version is not None and value._version != version:
            raise RuntimeError(
                "checkpoint: one of the variables needed for gradient computation has been "
                f"modified by an inplace operation: an argument of shape {tuple(value.shape)}, at "
                f"version {version} in the forward, is at version {value._version}"
            )
        return value


_CHECKS: dict[str, Callable[[Tensor], Any]] = {"default": _described, "none": lambda t: None}


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose saved tensors are computed again in backward.

    With `use_reentrant=False`, advised, any part of autograd works: keyword arguments, nested
    results, `autograd.grad`, functions that record nothing of their arguments, checkpoints inside
    checkpoints; computing again ends where the last saved tensor is known (`early_stop`), and
    tensors of other shape, dtype or device are refused (`determinism_check="none"` does not look).
    With True, the call is one node, run again as a whole. `preserve_rng_state=False` lets random
    operators draw anew. `context_fn` returns contexts for the forward and for computing again.
    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils.checkpoint import checkpoint
        >>> x = torch.ones(2, requires_grad=True)
        >>> checkpoint(lambda x: x.exp().exp(), x, use_reentrant=False).sum().backward()
        >>> x.grad
        tensor([41.1936, 41.1936])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly; "
            "use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in _CHECKS:
        raise ValueError(
            f"determinism_check should be one of {list(_CHECKS)} but got {determinism_check}"
        )
    if not state.grad:
        return function(*args, **kwargs)
    before, again = context_fn()
    surroundings, kept = _Surroundings(preserve, (args, kwargs)), _Arguments(args, kwargs)

    def run() -> None:
        args, kwargs = kept()
        with surroundings.restored(), again:
            function(*args, **kwargs)

    stop = _early_stop[-1] if _early_stop else early_stop
    shown = debug if _debug[-1] is None else bool(_debug[-1])
    frame = _Frame(run, stop, _CHECKS[determinism_check], shown)
    with saved_tensors_hooks(frame.pack, frame.unpack), frame.watched(frame.names), before:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """A `Sequential`, or functions, in `segments` parts, all of them but the last checkpointed."""
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly; use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))

    def part(start: int, end: int) -> Callable:
        def forward(x: Any) -> Any:
            for f in steps[start:end]:
                x = f(x)
            return x

        return forward

    steps = list(functions.children() if hasattr(functions, "children") else functions)
    size, end = len(steps) // segments, 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(
            part(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return part(end, len(steps))(input)
