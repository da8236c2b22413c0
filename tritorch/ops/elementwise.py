"""The elementwise family: broadcasting, type promotion and the loop, for any number of inputs.

An elementwise operator is a NumPy loop, a result rule and one derivative rule an input; inputs may
be Python numbers. On a device the kernel is `kernels.elementwise.apply` with a scalar body: the
one of the operator's name in the modules of `kernels.elementwise.BODIES`, or what `body=` gives.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..dtypes import DType
from ..op import Op, check_devices, imported
from ..runtime import host, layout, parallel, replay
from ..runtime.quiet import quiet
from ..tensor import Tensor, wrap
from .elementwise_short import written

NO_PARAMS: dict = {}
SCALARS = bool | int | float | complex


def promoted(inputs: Sequence) -> DType:
    """The common dtype of tensors and numbers: tensors with dimensions count before those
    without, and those before Python numbers, within a category."""
    best: list[DType | None] = [None, None, None]
    for x in inputs:
        if isinstance(x, Tensor):
            level, dtype = (0 if x._data.ndim else 1), x.dtype
        else:
            level, dtype = 2, dtypes.of_scalar(x)
        known = best[level]
        best[level] = dtype if known is None else dtypes.promote_types(known, dtype)
    out = best[0]
    for lower in best[1:]:
        if out is None:
            out = lower
        elif lower is not None and lower.category > out.category:
            out = _raise_category(out, lower)
    return out  # type: ignore[return-value]


def _raise_category(out: DType, lower: DType) -> DType:
    if lower.category == 3 and out.category == 2:
        return dtypes.complex128 if out is dtypes.float64 else dtypes.complex64
    return lower


def _float(d: DType) -> DType:
    return d if d.category > 1 else dtypes.get_default_dtype()


SHAPES = ((3, 4), (), (1,), (0,), (2, 0, 3), (7,), (2, 3, 5), (1, 1), (131,))
BROADCASTS = (
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((2, 3), ()),
    ((), (3,)),
    ((0, 3), (1, 3)),
    ((5, 1, 2), (3, 1)),
)
RESULTS: dict[str, Callable[[DType], tuple[DType, DType]]] = {
    "same": lambda d: (d, d),
    "float": lambda d: (_float(d), _float(d)),
    "bool": lambda d: (d, dtypes.bool_),
    "real": lambda d: (d, d.to_real()),
    "number": lambda d: (dtypes.int64, dtypes.int64) if d is dtypes.bool_ else (d, d),
}


_INSTEAD: dict[str, tuple[type[Exception], str]] = {  # what else serves a dtype that is refused
    "sub": (RuntimeError, "use `^` or logical_xor() on bool tensors"),
    "neg": (RuntimeError, "use `~` or logical_not() on a bool tensor"),
    "bitwise_not": (TypeError, "~ is for integer and bool tensors; logical_not() is for any"),
}


class Elementwise(Op):
    """`loop(*arrays, out=None)`; `result` says which dtype it computes in and which it gives.

    `deny` names dtypes or categories that are refused; `promote` the inputs that promote; `domain`
    is the interval of its samples, or one for each input. `body` is a `@triton.jit` function of
    scalars, or `"module:function"`, which is imported with triton at the first need.
    """

    short = True  # small results may be written the short way: dtypes decide all there is to check

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        loop: Callable,
        *,
        result: str = "same",
        deny: Sequence[str] = (),
        promote: slice = slice(None),
        domain: tuple = (-2.0, 2.0),
        body: Any = None,
        **fields: Any,
    ) -> None:
        fields.setdefault("samples", self._samples)
        fields.setdefault("origin", loop)
        fields.setdefault("triton", "elementwise.apply")
        super().__init__(name, inputs, meta=self.spec, **fields)
        self.domain = domain
        self.loop, self.promote, self.deny = _writing(loop), promote, tuple(deny)
        self.body = name if body is None else body
        self.single_pass = isinstance(loop, np.ufunc)
        self._types: dict[DType, tuple[DType, DType]] = {}
        self._alike: dict[DType, DType] | None = None
        self._rule = RESULTS[result]
        self.saves = self.rules is not None and any(self.rules.names)

    def _samples(self, s: Any) -> Iterator:
        """The domain over shapes that are empty, single, prime, broadcast."""
        n = len(self.inputs)
        if "floating" in self.deny:
            for shape in SHAPES:
                yield s(*(s.ints(8, shape, low=1) for _ in range(n)))
            return
        domains = self.domain if isinstance(self.domain[0], tuple) else (self.domain,) * n
        cases = [(shape,) * n for shape in SHAPES]
        if n > 1:
            cases += [(a, *(b,) * (n - 1)) for a, b in BROADCASTS]
        for shapes in cases:
            yield s(*(s.reals(x, *d) for x, d in zip(shapes, domains, strict=True)))

    # -- types and shapes -----------------------------------------------------------------------

    def types(self, inputs: Sequence) -> tuple[DType, DType]:
        """(dtype computed in, dtype of the result)."""
        dtype = promoted(inputs[self.promote])
        if dtype.category < 2:  # the default dtype may change
            return self._checked(dtype)
        found = self._types.get(dtype)
        if found is None:
            found = self._types[dtype] = self._checked(dtype)
        return found

    def _checked(self, dtype: DType) -> tuple[DType, DType]:
        kind = ("bool", "integral", "floating", "complex")[dtype.category]
        if kind in self.deny or dtype.name in self.deny:
            reason = f'"{self.name}" is not implemented for {dtype.name} tensors'
            if self.name in _INSTEAD:
                raise _INSTEAD[self.name][0](f"{reason}; {_INSTEAD[self.name][1]}")
            raise NotImplementedError(reason)
        return self._rule(dtype)

    def alike(self) -> dict[DType, DType]:
        """dtype -> result's dtype, where the loop takes the dtype as it is."""
        if self._alike is None:
            self._alike = {}
            for d in dtypes.ALL:
                kind = ("bool", "integral", "floating", "complex")[d.category]
                denied = kind in self.deny or d.name in self.deny
                if not denied and (d.category != 2 or d.itemsize >= 4):
                    compute, result = self._rule(d)
                    if compute is d:
                        self._alike[d] = result
        return self._alike

    def spec(self, *inputs: Any, **params: Any) -> tuple:
        shapes = [x._data.shape for x in inputs if isinstance(x, Tensor)]
        return errors.broadcast_shapes(self.name, *shapes), self.types(inputs)[1]

    # -- calls ------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **params: Any) -> Tensor:
        if state.transforms:
            return state.transforms[-1](self, inputs, params)
        if params:
            raise TypeError(f"{self.name}: takes tensors and numbers by position, got {params}")
        try:
            data, dtype = self.evaluate(inputs)
        except Exception as error:
            self.explain(error, inputs, params)
            raise
        out = wrap(data, dtype)
        if state.grad and self.rules is not None:
            self.record(inputs, params, out)
        return out

    def compute(self, inputs: Sequence, params: dict) -> Any:
        return self.evaluate(inputs)[0]

    def evaluate(self, inputs: Sequence, out: Any = None) -> tuple[Any, DType]:
        """The result, in `out` where given, and its dtype."""
        kind = self._kind(inputs, out)
        if kind is not None and (known := kind[0].replays.get(kind[1])) is not None:
            datas = [x._data if isinstance(x, Tensor) else x for x in inputs]
            (result,) = self._again(known, kind[0], None if out is None else [out], datas)
            return result, known.dtype
        for x in inputs:
            if not isinstance(x, Tensor | SCALARS):
                raise TypeError(
                    f"{self.name}: expected a Tensor or a number, got {type(x).__name__}"
                )
        compute, dtype = self.types(inputs)
        datas = [x._data if isinstance(x, Tensor) else x for x in inputs]
        if any(not isinstance(d, np.ndarray | SCALARS) for d in datas):
            return self._device(inputs, datas, (compute, dtype), out, kind), dtype
        return self._host(datas, compute, dtype, out), dtype

    def _host(
        self, datas: list, compute: DType, dtype: DType, out: np.ndarray | None
    ) -> np.ndarray:
        wide = (
            np.dtype(np.float32) if compute.itemsize < 4 and compute.category == 2 else compute.np
        )
        operands = [d if isinstance(d, np.ndarray) else _number(d, wide) for d in datas]
        keep = self.promote.start or 0  # `where`'s condition stays as it is
        cast = [d.dtype != wide and i >= keep for i, d in enumerate(operands)]
        direct = wide == compute.np and (out is None or out.dtype == dtype.np)
        big = max((d.size for d in operands), default=0) > parallel.BIG
        with quiet():
            if not big and out is None and _in_order(operands):
                operands = [d.astype(wide) if c else d for d, c in zip(operands, cast, strict=True)]
                r = np.asarray(self._loop(operands))
                return r if r.dtype == dtype.np else r.astype(dtype.np)
            if out is None:
                shape = errors.broadcast_shapes(self.name, *(d.shape for d in operands))
                out = host.empty(shape, dtype.np, *operands)
            if direct and not any(cast) and not big:
                self.loop(*operands, out=out)
                return out

            def piece(*xs: Any, out: np.ndarray) -> None:
                xs = tuple(x.astype(wide) if c else x for x, c in zip(xs, cast, strict=True))
                if direct:
                    self.loop(*xs, out=out)
                else:
                    np.copyto(out, self.loop(*xs), casting="unsafe")

            bools = all(d.dtype == np.bool_ for d in operands)  # of which each pass is short
            once = (self.single_pass or bools) and direct and not any(cast)
            cheap = bools or self.loop in parallel.CHEAP
            worth = parallel.WORTH if cheap else parallel.WORTH_COSTLY
            block = 0 if once else parallel.BLOCK
            parallel.elementwise(piece, out, *operands, block=block, worth=worth)
            return out

    def _loop(self, operands: list) -> Any:
        try:
            return self.loop(*operands)
        except ValueError:
            errors.broadcast_shapes(self.name, *(d.shape for d in operands))
            raise

    def _kind(self, inputs: Sequence, out: Any) -> tuple[Any, tuple] | None:
        """What the launch of a call follows from: `replay.kind`, with numbers left out of it."""
        datas = [x._data for x in inputs if isinstance(x, Tensor)]
        if not datas or datas[0].__class__ is np.ndarray:
            return None
        numbers: Any = ()
        if len(datas) < len(inputs):
            floating = any(d.dtype.category > 1 for d in datas)
            numbers = tuple([(i, _kept(x, floating)) for i, x in enumerate(inputs)])
            if any(n is NotImplemented for _, n in numbers):
                return None
        if out is not None:
            datas.append(out)
        return replay.kind(self, datas, {"numbers": numbers, "in place": out is not None})

    def _device(
        self, inputs: Sequence, datas: list, types: tuple[DType, DType], out: Any, kind: Any
    ) -> Any:
        check_devices(self.name, inputs)
        datas = [d.item() if isinstance(d, np.ndarray) and not d.ndim else d for d in datas]
        if out is not None and out.device.type == "meta":
            return out
        if out is None:
            from ..runtime import accelerator

            spec = errors.broadcast_shapes(
                self.name, *(x._data.shape for x in inputs if isinstance(x, Tensor))
            )
            arrays = [d for d in datas if not isinstance(d, SCALARS)]
            out = accelerator.empty_like(spec, types[1], *arrays)
            if out.device.type == "meta":
                return out
        if isinstance(self.body, str) and ":" in self.body:
            self.body = imported(self.body)
        self.launch([out], datas, {"body": self.body, "compute": types[0]}, kind)
        return out

    def _recorded(
        self, launcher: Callable, outs: list, arrays: list, named: dict, kind: tuple
    ) -> bool:
        from ..kernels.elementwise import argument
        from ..runtime import accelerator

        compute = named["compute"]
        places = {1 + i: 1 + i for i, x in enumerate(arrays) if isinstance(x, SCALARS)}
        recorder = replay.Recorder(accelerator.launch, kind[0], places)
        slots = [recorder.standing_for(a) for a in (*outs, *arrays)]
        if not self._launched(recorder, launcher, slots[:1], slots[1:], named):
            return False
        replay.keep(*kind, recorder.replay(outs, True, lambda x: argument(x, compute)))  # type: ignore
        return True

    def on_host(self, arrays: list, params: dict, specs: Any) -> Any:
        return self._host(arrays, params["compute"], specs[1], None)

    def inplace(self, *inputs: Any, **params: Any) -> Tensor:
        x = inputs[0]
        if written(self, x, inputs):
            x.storage_.bump(f"{self.name}_")
            return x
        return super().inplace(*inputs, **params)

    def write(self, x: Tensor, inputs: Sequence, params: dict) -> None:
        self.check_result(f"{self.name}_", x, inputs)
        data = x._data
        plain = data.__class__ is not np.ndarray or data.flags.c_contiguous
        if plain or layout.injective(data.shape, data.strides):
            self.evaluate(inputs, data)
        else:
            self._write_in_turn(x, inputs)

    def _write_in_turn(self, x: Tensor, inputs: Sequence) -> None:
        """Where elements of `x` share memory, each is computed from what the one before it left."""
        data = x._data
        order = sorted(range(data.ndim), key=lambda d: (-data.strides[d], d))
        wide = [
            np.broadcast_to(y._data, data.shape).transpose(order) if isinstance(y, Tensor) else y
            for y in inputs
        ]
        target = data.transpose(order)
        loops = next(
            i
            for i in range(data.ndim + 1)
            if layout.injective(target.shape[i:], target.strides[i:])
        )
        for at in np.ndindex(target.shape[:loops]):
            parts = [
                wrap(y[(*at, ...)], z.dtype) if isinstance(z, Tensor) else y
                for y, z in zip(wide, inputs, strict=True)
            ]
            self.evaluate(parts, target[(*at, ...)])

    def check_result(self, name: str, x: Tensor, inputs: Sequence) -> None:
        """That a result may be written into `x`: its shape, its dtype, no partial overlap."""
        shape, dtype = self.spec(*inputs)
        if tuple(shape) != tuple(x._data.shape):
            raise RuntimeError(
                f"{name}: output with shape {list(x.shape)} doesn't match the broadcast shape "
                f"{list(shape)}"
            )
        if dtype is not x.dtype and not dtypes.can_cast(dtype, x.dtype):
            raise RuntimeError(
                f"{name}: result type {dtype.name} can't be cast to the desired output type "
                f"{x.dtype.name}"
            )
        for y in inputs:
            if isinstance(y, Tensor) and y is not x:
                check_overlap(name, x, y)


def check_overlap(name: str, x: Tensor, y: Tensor) -> None:
    """Refuse to write `x` while reading `y` where they share some, but not all, elements.

    PyTorch refuses it for tensors without gaps in their memory, and reads what it has written for
    the others; here both are refused.
    """
    if x._storage is None or x._storage is not y._storage or not x._data.size or not y._data.size:
        return
    a, b = x._data, y._data
    if a.__class__ is not np.ndarray:
        return
    start_a, start_b = (v.__array_interface__["data"][0] for v in (a, b))
    if start_a == start_b and a.strides == b.strides and a.shape == b.shape:
        return
    if dense(a) and dense(b):
        shared = start_a < start_b + b.nbytes and start_b < start_a + a.nbytes
    else:
        shared = np.shares_memory(a, b)
    if shared:
        raise RuntimeError(
            f"{name}: unsupported operation: some elements of the input tensor and the written-to "
            "tensor refer to a single memory location. Please clone() the tensor before performing "
            "the operation."
        )


def dense(a: Any) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in any order of dims."""
    expected = a.itemsize if a.__class__ is np.ndarray else 1
    for stride, n in sorted((s, n) for s, n in zip(a.strides, a.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= n
    return True


def _kept(x: Any, floating: bool) -> Any:
    """A number's part in the kind of a call: its class, and with integers its value too."""
    kind = x.__class__
    if kind not in (int, float):
        return None if isinstance(x, Tensor) else NotImplemented
    return kind if floating else (kind, x)


def _in_order(operands: Sequence[np.ndarray]) -> bool:
    return all(d.flags.c_contiguous for d in operands)


def _number(value: Any, dtype: np.dtype) -> np.ndarray:
    """A Python number in a dtype; integers of 64 bits wrap around, as in C."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise RuntimeError(f"value {value} cannot be converted to {dtype.name} without overflow")
    if dtype.kind in "iu" and isinstance(value, int):
        bits = dtype.itemsize * 8
        value &= (1 << bits) - 1
        if dtype.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
    elif dtype.kind in "iu" and isinstance(value, float) and not math.isfinite(value):
        value = 0
    return np.asarray(value).astype(dtype)


def zero(g: Tensor) -> Tensor:
    """The gradient of what does not change with its input: it has no history of its own."""
    return g.detach().new_zeros(g.shape)  # type: ignore[attr-defined]


def unknown(name: str, input: str) -> Callable:
    """The derivative rule of an input that has none: asking for it is an error."""

    def vjp(g: Tensor) -> Tensor:
        raise RuntimeError(f"{name}: the derivative for '{name}: {input}' is not implemented.")

    return vjp


def loop(f: Callable) -> Callable:
    """A NumPy expression as a loop that can write into `out`."""

    def run(*xs: Any, out: np.ndarray | None = None) -> Any:
        r = f(*xs)
        if out is None:
            return r
        np.copyto(out, r, casting="unsafe")
        return out

    run.__name__ = f.__name__
    return run


def _writing(f: Callable) -> Callable:
    """`f` where it can write into `out` already, else as a loop that can."""
    if isinstance(f, np.ufunc) or "out" in inspect.signature(f).parameters:
        return f
    return loop(f)
