"""The operator record, and what happens when an operator is called.

A call goes: active transforms, meta rule (shapes, dtypes, errors), implementation by device, tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from .. import dtypes, errors as messages
from ..autograd import inplace
from ..autograd.mode import state
from ..autograd.node import OpNode
from ..autograd.rules import Rules, joint
from ..runtime import host, parallel, replay
from ..runtime.quiet import quiet
from ..tensor import Tensor, wrap
from .device import OnDevice, Spec, check_devices

REGISTRY: dict[str, Op] = {}
_PACKAGE = f"{__name__.partition('.')[0]}."


class Op(OnDevice):
    """One operator: meta rule, implementations, derivative, samples. Calling it runs it.

    - `meta(*tensors, **params)` returns `(shape, dtype)`, or a list of them, and raises what bad
      input deserves.
    - `cpu(*arrays, **params)` works on NumPy arrays; it gets 16-bit floats as float32 and its
      result is brought into the ordinary order of dimensions, unless it is `exact` (takes them as
      they are) or `strided` (chooses the order itself).
    - `triton` is the launcher, or where it stands: `"family.function"` in `tritorch.kernels`,
      `"module:function"` elsewhere.
    - `vjp` is one rule an input, or a `joint` rule; `ref` the composition of a fused operator.
    - `origin` is the function that declares it and has its parameters, if not `ref` or `cpu`.
    - `outputs` names the results, and `variadic` says that there are any number of inputs.
    - `samples(s)` gives the arguments of the table tests, made by a `testing.Sampler`.
    """

    is_view = False
    origin: tuple[str, str] | None  # the user's function that declares it, by module and name
    public: Callable  # the published function of an elementwise operator, once it has one
    same_value = False  # in place it writes one value everywhere, so elements may share memory

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
        origin: Callable | None = None,
        doc: str | None = None,
    ) -> None:
        self.name = self.__name__ = name
        self.inputs, self.outputs, self.variadic = tuple(inputs), tuple(outputs), variadic
        self.meta = meta.rule(name, self.inputs) if isinstance(meta, same_as) else meta
        self.cpu, self.triton, self.ref = cpu, triton, ref
        self.exact, self.strided = exact, strided
        self.samples = samples
        self.__doc__ = doc
        self.rules = None if vjp is None else Rules(self, vjp)
        if self.rules is not None and (origin or ref) is not None:
            self.rules.check(origin or ref)  # type: ignore[arg-type]
        if triton is not None and meta is None:
            raise ValueError(
                f"{name}: a kernel needs a meta rule, which gives the shape and dtype of its result"
            )
        self.origin = _origin(origin or ref or cpu)
        if name in REGISTRY and (self.origin is None or self.origin != REGISTRY[name].origin):
            raise ValueError(f"an operator named {name!r} is registered already")
        REGISTRY[name] = self

    def __repr__(self) -> str:
        return f"<operator {self.name}({', '.join(self.inputs)})>"

    # -- calls ------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if self.origin is not None and params:
            self._check_params(params)
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

    def _check_params(self, params: dict) -> None:
        """A tensor among the keywords would have no gradient, and no place in a kernel."""
        for name, value in params.items():
            if isinstance(value, Tensor):
                raise TypeError(
                    f"{self.name}: {name} is a Tensor given by keyword; tensors are the inputs "
                    f"({', '.join(self.inputs)}), given by position"
                )

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
            from .derivative import through_ref  # its operators are declared after this module

            self.rules = Rules(self, () if self.ref is None else joint(through_ref(self)))
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
        kind = replay.kind(self, arrays, params)
        if kind is not None and (known := kind[0].replays.get(kind[1])) is not None:
            outs = self._again(known, kind[0], None, arrays)
            return outs[0] if known.single else tuple(outs)
        specs = None if self.meta is None else self.meta(*inputs, **params)
        check_devices(self.name, inputs)
        return self.on_device(arrays, params, specs, kind)

    def on_host(self, arrays: list, params: dict, specs: Any) -> Any:
        if self.cpu is None:  # a fused operator without a faster form of its own
            return self.composed(arrays, params)
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
            return tuple(
                self._settle(r, s, narrow, arrays) for r, s in zip(result, many, strict=True)
            )
        return self._settle(result, specs, narrow, arrays)

    def _settle(self, result: Any, spec: Any, narrow: bool, arrays: Sequence) -> np.ndarray:
        """A NumPy result as an array of the dtype that the meta rule gave."""
        if result.__class__ is not np.ndarray:
            result = np.asarray(result)
        if narrow and spec is not None and spec[1].np != result.dtype:
            result = result.astype(spec[1].np)
        if not self.strided and not result.flags.c_contiguous:
            return parallel.copy(host.empty(result.shape, result.dtype), result)
        return result

    def composed(self, arrays: list, params: dict) -> Any:
        grad, state.grad = state.grad, False
        try:
            tensors = [None if a is None else wrap(a, _dtype_of(a)) for a in arrays]
            result = self.ref(*tensors, **params)  # type: ignore[misc]
        finally:
            state.grad = grad
        if isinstance(result, Tensor):
            return result._data
        if isinstance(result, tuple) and all(isinstance(t, Tensor) for t in result):
            return tuple(t._data for t in result)
        raise TypeError(
            f"{self.name}: its composition returns {type(result).__name__}, not a Tensor or a "
            "tuple of Tensors"
        )

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


def edges_of(inputs: Sequence) -> tuple:
    """The history of each input; None for those without, and for what is no tensor."""
    return tuple(
        [
            (t._edge if t._view is None else t.current_edge()) if isinstance(t, Tensor) else None
            for t in inputs
        ]
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
        from ..runtime import accelerator

        accelerator.copy(target, source)


class same_as:
    """A meta rule: the shape and dtype of the input of that name.

    Of several names: theirs, which have to be the same; ValueError where they are not.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def rule(self, op: str, inputs: Sequence[str]) -> Callable:
        """The rule for an operator of these inputs."""
        for name in self.names:
            if name not in inputs:
                raise ValueError(f"{op}: has no input {name!r}, only {', '.join(inputs)}")
        at, *others = [inputs.index(name) for name in self.names]

        def meta(*tensors: Tensor, **params: Any) -> Spec:
            spec = tuple(tensors[at]._data.shape), tensors[at].dtype
            if others:
                self._check(op, spec, [tensors[i] for i in others])
            return spec

        return meta

    def _check(self, op: str, spec: Spec, others: Sequence[Tensor]) -> None:
        specs = [spec, *((tuple(t._data.shape), t.dtype) for t in others)]
        if any(s != spec for s in specs):
            given = ", ".join(f"{d.name}{list(s)}" for s, d in specs)
            raise ValueError(
                f"{op}: {', '.join(self.names)} must have one shape and dtype, got {given}"
            )


def _origin(f: Callable | None) -> tuple[str, str] | None:
    """Module and name of a function of the user's; None for the package's own, and lambdas.

    An operator declared again by the function of that name, as when a notebook's cell is run once
    more, takes the place of the one before.
    """
    if not isinstance(f, FunctionType) or f.__name__ == "<lambda>":
        return None
    return None if f.__module__.startswith(_PACKAGE) else (f.__module__, f.__qualname__)


def _dtype_of(data: Any) -> dtypes.DType:
    return dtypes.of(data.dtype) if data.__class__ is np.ndarray else data.dtype


def _widen(a: np.ndarray | None) -> np.ndarray | None:
    if a is not None and a.dtype.itemsize <= 2 and dtypes.of(a.dtype).category == 2:
        return a.astype(np.float32)
    return a
