"""The spine: the operator record, and what happens when an operator is called.

An operator is declared once. Its NumPy function, or for a fused operator its composition `ref`,
is the body of a decorated function: positional parameters are tensors, keyword ones are not.

    @primitive(meta=..., triton="index.gather", vjp=(lambda g, x_shape, index, dim: ..., None))
    def gather(x, index, *, dim):
        return np.take_along_axis(x, index, dim)

A call goes: active transforms, meta rule (shapes, dtypes, errors), implementation by device, tape.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtypes, errors as messages
from .autograd import engine, inplace
from .autograd.mode import enable_grad, state
from .autograd.node import OpNode
from .autograd.rules import Rules, joint
from .runtime import host, parallel, replay
from .runtime.quiet import quiet
from .tensor import Tensor, View, wrap

__all__ = ["REGISTRY", "Op", "fused", "joint", "method", "primitive", "same_as", "view"]

REGISTRY: dict[str, Op] = {}
_PACKAGE = f"{__package__}."
FALLBACKS: Counter[str] = Counter()
Spec = tuple[tuple[int, ...], dtypes.DType]


class Op:
    """One operator: meta rule, implementations, derivative, samples. Calling it runs it.

    `meta(*tensors, **params)` returns `(shape, dtype)`, or a list of them, and raises what bad
    input deserves. `cpu(*arrays, **params)` works on NumPy arrays. `triton` is the launcher, or
    where it stands: `"family.function"` in `tritorch.kernels`, `"module:function"` elsewhere.
    `vjp` is one rule an input, or a `joint` rule.
    """

    is_view = False
    same_value = False  # in place it writes one value everywhere, so elements may share memory
    _named: frozenset[str] = frozenset()  # the launcher's parameters, once it is imported

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        *,
        meta: Callable | same_as | None = None,
        cpu: Callable | None = None,
        triton: str | Callable | None = None,
        vjp: Any = None,
        ref: Callable | None = None,
        outputs: Sequence[str] = ("out",),
        variadic: bool = False,
        exact: bool = False,
        strided: bool = False,
        samples: Callable | None = None,
        errors: Callable | None = None,
        doc: str | None = None,
    ) -> None:
        self.name = self.__name__ = name
        self.inputs, self.outputs, self.variadic = tuple(inputs), tuple(outputs), variadic
        self.meta = meta.rule(name, self.inputs) if isinstance(meta, same_as) else meta
        self.cpu, self.triton, self.ref = cpu, triton, ref
        self.exact = exact  # the CPU implementation takes 16-bit floats as they are
        self.strided = strided  # and chooses the order of dimensions in memory
        self.samples, self.errors = samples, errors
        self.__doc__ = doc
        self.rules = None if vjp is None else Rules(self, vjp)
        if name in REGISTRY:
            raise ValueError(f"an operator named {name!r} is registered already")
        REGISTRY[name] = self

    def __repr__(self) -> str:
        return f"<operator {self.name}({', '.join(self.inputs)})>"

    # -- calls ------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if state.transforms:
            return state.transforms[-1](self, inputs, params)
        try:
            data = self.compute(inputs, params)
        except Exception as error:
            self.explain(error, inputs, params)
            raise
        if data.__class__ is tuple:
            out = tuple(wrap(d, _dtype_of(d)) for d in data)
        else:
            out = wrap(data, _dtype_of(data))
        if state.grad:
            self.record(inputs, params, out)
        return out

    def explain(self, error: Exception, inputs: Sequence, params: dict) -> None:
        """Raise an error that names the operator in place of one that nobody meant to raise."""
        better = messages.named(self.name, error, inputs, params)
        if better is not error:
            raise better from error
        messages.note(self.name, error, inputs, params)

    def record(self, inputs: Sequence, params: dict, out: Any) -> None:
        """Leave a node on the tape where an input has a history."""
        edges = edges_of(inputs)
        if not any(edges):
            return
        outs = out if out.__class__ is tuple else (out,)
        node = OpNode(self, edges, tuple([(t._data.shape, t.dtype) for t in outs]), None, params)
        node.saved = self._rules().save(inputs, outs, edges)
        for i, t in enumerate(outs):
            if t.dtype.category > 1:
                t._edge = (node, i)

    def _rules(self) -> Rules:
        if self.rules is None:
            self.rules = Rules(self, () if self.ref is None else joint(_through_ref(self)))
        return self.rules

    def compute(self, inputs: Sequence, params: dict) -> Any:
        """The result's data: an array, or a tuple of them."""
        for t in inputs:
            if t.__class__ is not Tensor and t is not None and not isinstance(t, Tensor):
                raise TypeError(f"{self.name}: expected a Tensor, got {type(t).__name__}")
        arrays = [None if t is None else t._data for t in inputs]
        if all(a.__class__ is np.ndarray or a is None for a in arrays):
            specs = None if self.meta is None else self.meta(*inputs, **params)
            return self.on_host(arrays, params, specs)
        kind = replay.kind(self.name, arrays, params)
        if kind is not None and (known := kind[0].replays.get(kind[1])) is not None:
            outs = self._again(known, kind[0], None, arrays)
            return outs[0] if known.single else tuple(outs)
        specs = None if self.meta is None else self.meta(*inputs, **params)
        check_devices(self.name, inputs)
        return self.on_device(arrays, params, specs, kind)

    def on_host(self, arrays: list, params: dict, specs: Any) -> Any:
        if self.cpu is None:  # a fused operator without a faster form of its own
            return self._composed(arrays, params)
        narrow = not self.exact and any(
            a is not None and a.dtype.itemsize <= 2 and dtypes.of(a.dtype).category == 2
            for a in arrays
        )
        if narrow:
            arrays = [_widen(a) for a in arrays]
        with quiet():
            result = self.cpu(*arrays, **params)
        if result.__class__ is tuple:
            many = specs if specs.__class__ is list else [(None, _dtype_of(r)) for r in result]
            return tuple(self._settle(r, s, narrow) for r, s in zip(result, many, strict=True))
        return self._settle(result, specs, narrow)

    def _settle(self, result: Any, spec: Any, narrow: bool) -> np.ndarray:
        """A NumPy result as an array of the dtype that the meta rule gave."""
        if result.__class__ is not np.ndarray:
            result = np.asarray(result)
        if narrow and spec is not None and spec[1].np != result.dtype:
            result = result.astype(spec[1].np)
        if not self.strided and not result.flags.c_contiguous:
            return parallel.copy(host.empty(result.shape, result.dtype), result)
        return result

    def _composed(self, arrays: list, params: dict) -> Any:
        grad, state.grad = state.grad, False
        try:
            tensors = [None if a is None else wrap(a, _dtype_of(a)) for a in arrays]
            result = self.ref(*tensors, **params)  # type: ignore[misc]
        finally:
            state.grad = grad
        return tuple(t._data for t in result) if isinstance(result, tuple) else result._data

    # -- other devices ------------------------------------------------------------------------

    def on_device(self, arrays: list, params: dict, specs: Any, kind: Any = None) -> Any:
        from .runtime import accelerator

        if specs is None:
            if self.ref is None:
                raise RuntimeError(f"{self.name}: has no meta rule, so it cannot run on a device")
            return self._composed(arrays, params)
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
        from .runtime import accelerator

        return accelerator.empty(*spec, device)  # type: ignore

    def launch(self, outs: list, arrays: list, params: dict, kind: Any = None) -> None:
        """Run the Triton kernel into `outs`, or the host's implementation through copies.

        `kind` is what `replay.kind` says of the call: the launches are kept under it.
        """
        from .runtime import accelerator

        if not any(o.size for o in outs):
            return
        launcher = self.launcher()
        if launcher is not None:
            named = {k: v for k, v in params.items() if k in self._named or "**" in self._named}
            with accelerator.operator(self.name, (outs, arrays, params)):
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
        from .runtime import accelerator

        recorder = replay.Recorder(accelerator.launch, kind[0])
        slots = [recorder.standing_for(a) for a in (*outs, *arrays)]
        n = len(outs)
        if not self._launched(recorder, launcher, slots[:n], slots[n:], named):
            return False
        replay.keep(*kind, recorder.replay(outs, len(self.outputs) == 1))  # type: ignore
        return True

    def _again(self, known: replay.Replay, owner: Any, outs: list | None, inputs: list) -> list:
        """The launches of an earlier call, on these arrays; the results where none are given."""
        try:
            if outs is None:
                outs = known.results(owner)
            known.run(owner, outs, inputs)
        except Exception as error:
            from .runtime import accelerator

            if isinstance(error, accelerator.OutOfMemoryError):
                raise type(error)(f"{self.name}: {error}") from None
            raise accelerator.LaunchError(
                f"{self.name}: {type(error).__name__}: {error}"
            ) from error
        return outs

    def _on_host_instead(self, outs: list, arrays: list, params: dict) -> None:
        from .runtime import accelerator
        from .runtime.array import Array

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
            self.triton = imported(self.triton)
        if self.triton is not None and not self._named:
            parameters = inspect.signature(self.triton).parameters.values()
            self._named = frozenset("**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters)
        return self.triton

    # -- in place -----------------------------------------------------------------------------

    def inplace(self, *inputs: Any, **params: Any) -> Tensor:
        """The same, its result written into the first input."""
        if state.transforms:
            return state.transforms[-1](InPlace(self), inputs, params)
        x = inputs[0]
        if "_inference" in x.__dict__ and not state.inference:
            raise RuntimeError(
                f"{self.name}_: Inplace update to inference tensor outside InferenceMode is not "
                "allowed. Change a clone() of it instead."
            )
        edges = edges_of(inputs) if state.grad else ()
        recorded = any(edges)
        if recorded:
            inplace.check(self.name + "_", x)
        if not self.same_value:
            check_writable(self.name + "_", x)
        saved = self._save_before(inputs, edges) if recorded else None
        try:
            self.write(x, inputs, params)
        except Exception as error:
            self.explain(error, inputs, params)
            raise
        x.storage_.bump(self.name + "_")
        if recorded:
            for name in self.outputs:
                if saved and name in saved:
                    saved[name] = self._rules().keep_output(x)
            node = OpNode(self, edges, ((x._data.shape, x.dtype),), saved, params)
            inplace.rebase(x, node)
        return x

    def _save_before(self, inputs: Sequence, edges: tuple) -> dict | None:
        """What the rules name, before the first input is overwritten: its old value as a copy."""
        x, rules = inputs[0], self._rules()
        if rules.names_input(tuple([e is not None for e in edges]), 0):
            before = wrap(x._data.copy(), x.dtype)
            before._edge = edges[0]
            inputs = (before, *inputs[1:])
        return rules.save(inputs, (x,), edges, later=True)

    def write(self, x: Tensor, inputs: Sequence, params: dict) -> None:
        """Compute into the memory of `x`; a family that can do so without a copy does."""
        data = self.compute(inputs, params)
        if data.shape != x._data.shape:
            raise RuntimeError(
                f"{self.name}_: output with shape {list(x.shape)} doesn't match the broadcast "
                f"shape {list(data.shape)}"
            )
        copy_data(x._data, data)


class InPlace:
    """An operator in the form that changes its first input, as a transform sees it: `add_`."""

    __slots__ = ("name", "op")
    is_view = False

    def __init__(self, op: Op) -> None:
        self.op, self.name = op, f"{op.name}_"

    def __call__(self, *inputs: Any, **params: Any) -> Tensor:
        return self.op.inplace(*inputs, **params)


class ViewOp(Op):
    """An operator that changes metadata only: its result shares the input's storage."""

    is_view = True
    overlaps = False  # whether one element of the input can appear twice in the view

    def __init__(self, *args: Any, result: Callable | None = None, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.result = result

    def __call__(self, x: Tensor, **params: Any) -> Any:
        if state.transforms:
            return state.transforms[-1](self, (x,), params)
        try:
            data = x._data
        except AttributeError:
            raise TypeError(f"{self.name}: expected a Tensor, got {type(x).__name__}") from None
        dtype = x.dtype if self.result is None else self.result(x.dtype)
        try:
            out = wrap(self.cpu(data, **params), dtype)  # type: ignore[misc]
        except Exception as error:
            self.explain(error, (x,), params)
            raise
        share(out, x, self, params)
        if state.grad:
            edge = x._edge if x._view is None else x.current_edge()
            if edge is not None:
                node = OpNode(self, (edge,), ((out._data.shape, out.dtype),), None, params)
                node.saved = self.rules.save((x,), (out,), (edge,))  # type: ignore[union-attr]
                out._edge = (node, 0)
        return out

    def compute(self, inputs: Sequence, params: dict) -> Any:
        return self.cpu(inputs[0]._data, **params)  # type: ignore[misc]

    def inplace(self, *inputs: Any, **params: Any) -> Tensor:
        """Change the metadata of the tensor itself."""
        if state.transforms:
            return state.transforms[-1](InPlace(self), inputs, params)
        x = inputs[0]
        out = self(x, **params)
        if state.grad and x.requires_grad:
            inplace.check(self.name + "_", x)
        x._data = out._data
        if x._view is not None:
            x._view, x._edge = out._view, out._edge
        elif out._edge is not None:
            x._edge = out._edge
        x.storage_.bump(self.name + "_")
        if x._view is not None:
            x._view.version = x.storage_.version
        return x


def share(out: Tensor, x: Tensor, op: Callable, params: dict) -> None:
    """Make `out` a view of `x`."""
    if "_inference" in x.__dict__:
        out._inference = True
    storage = out._storage = x.storage_
    out._base = x if x._base is None else x._base
    view = out._view = View(op, params, x._view, storage.version)
    if x._view is not None:
        view.forbidden = x._view.forbidden
    if not state.grad and view.forbidden is None:
        view.forbidden = "no_grad"


def edges_of(inputs: Sequence) -> tuple:
    """The history of each input; None for those without, and for what is no tensor."""
    return tuple(
        [
            (t._edge if t._view is None else t.current_edge()) if isinstance(t, Tensor) else None
            for t in inputs
        ]
    )


def check_devices(op: str, inputs: Sequence) -> None:
    """Tensors are on one device, but for CPU tensors of no dimensions."""
    found = {t.device for t in inputs if isinstance(t, Tensor) and (t.ndim or not t.is_cpu)}
    if len(found) > 1:
        raise RuntimeError(
            f"{op}: Expected all tensors to be on the same device, but found at least two "
            f"devices, {' and '.join(sorted(map(str, found)))}!"
        )


def check_writable(op: str, x: Tensor) -> None:
    """Refuse memory in which two elements of `x` are one."""
    data = x._data
    if data.size and any(s == 0 and n > 1 for s, n in zip(data.strides, data.shape, strict=True)):
        raise RuntimeError(
            f"{op}: unsupported operation: more than one element of the written-to tensor refers "
            "to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )


def copy_data(target: Any, source: Any) -> None:
    """Copy between arrays of one device, casting; `source` broadcasts."""
    if target.__class__ is np.ndarray:
        if target.size > parallel.BIG and source.shape == target.shape:
            parallel.copy(target, source)
        else:
            np.copyto(target, source, casting="unsafe")
    else:
        from .runtime import accelerator

        accelerator.copy(target, source)


def imported(where: str) -> Any:
    """What stands at `"family.name"` in `tritorch.kernels`, or at `"module:name"` anywhere."""
    module, colon, name = where.rpartition(":")
    if colon:
        return getattr(importlib.import_module(module), name)
    family, _, name = where.partition(".")
    return getattr(importlib.import_module(f".kernels.{family}", __package__), name)


def users_level() -> int:
    """The `stacklevel` with which a warning of the caller names the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _dtype_of(data: Any) -> dtypes.DType:
    return dtypes.of(data.dtype) if data.__class__ is np.ndarray else data.dtype


def _widen(a: np.ndarray | None) -> np.ndarray | None:
    if a is not None and a.dtype.itemsize <= 2 and dtypes.of(a.dtype).category == 2:
        return a.astype(np.float32)
    return a


def _through_ref(op: Op) -> Callable:
    """The derivative of a fused operator: that of its composition, run again."""
    keywords = [
        p.name
        for p in inspect.signature(op.ref).parameters.values()  # type: ignore[arg-type]
        if p.kind is p.KEYWORD_ONLY
    ]
    n, m = len(op.outputs), len(op.inputs)

    def rule(*args: Any) -> list:
        grads, inputs, needs = args[:n], args[n : n + m], args[-1]
        params = dict(zip(keywords, args[n + m : -1], strict=True))
        create = state.grad
        with enable_grad():
            own = [_apart(t, need, create) for t, need in zip(inputs, needs, strict=True)]
            outs = op.ref(*own, **params)  # type: ignore[misc]
            outs = outs if isinstance(outs, tuple) else (outs,)
            used = [
                (o, g)
                for o, g in zip(outs, grads, strict=True)
                if g is not None and o.requires_grad
            ]
            wanted = [t for t, need in zip(own, needs, strict=True) if need]
            if not used:
                return [None] * m
            found = iter(gradient(*zip(*used, strict=True), create, wanted))  # type: ignore
        return [next(found) if need else None for need in needs]

    def gradient(outs: tuple, grads: tuple, create: bool, wanted: list) -> tuple:
        return engine.grad(outs, wanted, grads, create_graph=create, allow_unused=True)

    names = [f"g{i}" for i in range(n)] + [*op.inputs, *keywords, "needs"]
    rule.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(k, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in names]
    )
    return rule


def _apart(t: Tensor | None, need: bool, create: bool) -> Tensor | None:
    """The same values with an edge of their own, so that inputs which depend on each other do not
    see each other's gradients."""
    if t is None or not need:
        return t
    return alias(t) if create and t.requires_grad else t.detach().requires_grad_()


# -- declaring ------------------------------------------------------------------------------


class same_as:
    """A meta rule: the shape and dtype of the input of that name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def rule(self, op: str, inputs: Sequence[str]) -> Callable:
        """The rule for an operator of these inputs."""
        if self.name not in inputs:
            raise ValueError(f"{op}: has no input {self.name!r}, only {', '.join(inputs)}")
        at = inputs.index(self.name)

        def meta(*tensors: Tensor, **params: Any) -> Spec:
            return tuple(tensors[at]._data.shape), tensors[at].dtype

        return meta


def _signature(f: Callable) -> tuple[list[str], bool]:
    parameters = inspect.signature(f).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return names, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def primitive(
    *, name: str | None = None, kind: type[Op] = Op, **fields: Any
) -> Callable[[Callable], Any]:
    """Declare an operator by its NumPy implementation: tensors positional, the rest keywords."""

    def declare(f: Callable) -> Op:
        names, variadic = _signature(f)
        return kind(
            name or f.__name__.strip("_"), names, cpu=f, variadic=variadic, doc=f.__doc__, **fields
        )

    return declare


def fused(
    *, name: str | None = None, cpu: Callable | None = None, **fields: Any
) -> Callable[[Callable], Any]:
    """Declare an operator by its composition of others; `cpu` where NumPy can do it faster."""

    def declare(f: Callable) -> Op:
        names, variadic = _signature(f)
        return Op(
            name or f.__name__.strip("_"),
            names,
            cpu=cpu,
            ref=f,
            variadic=variadic,
            doc=f.__doc__,
            **fields,
        )

    return declare


def view(vjp: Callable, name: str | None = None, **fields: Any) -> Callable[[Callable], Any]:
    """Declare a view by what it does to an array's metadata; the same for NumPy and devices."""

    def declare(f: Callable) -> Op:
        return ViewOp(
            name or f.__name__.strip("_"),
            _signature(f)[0],
            cpu=f,
            vjp=vjp,
            doc=f.__doc__,
            exact=True,
            **fields,
        )

    return declare


def method(*names: str) -> Callable[[Callable], Any]:
    """Attach a function to `Tensor` under its own name, or under `names`."""

    def attach(f: Callable) -> Callable:
        for name in names or (f.__name__,):
            setattr(Tensor, name, f)
        return f

    return attach


@view(vjp=lambda g: g, samples=lambda s: [s((2, 3)), s(())])
def alias(x: Any) -> Any:
    """The same tensor as a view of itself."""
    return x[...]
