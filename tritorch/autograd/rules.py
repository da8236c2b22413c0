"""Derivative rules of an operator record: what they save and how they are called.

A rule is an ordinary function over tensors. Its first parameter is the gradient of the result; the
names of the others say what it needs: an input of the operator, `out` (or another of its
results), `<input>_shape`, a parameter, or `needs`. Only what is named is saved. A rule that can do
without a result gives it the default None, which it gets where the result was changed in place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import Tensor, wrap
from .mode import state
from .saved import Packed

if TYPE_CHECKING:
    from ..op import Op
    from .node import OpNode

RESULT = " result"  # in what a node saved: the edge of its result, where that is not its own


class joint:
    """Marks one rule that returns the gradients of all inputs; `needs` says which are wanted."""

    def __init__(self, rule: Callable) -> None:
        self.rule = rule


class Rules:
    """The vector-Jacobian products of one operator, one rule an input or one joint rule."""

    def __init__(self, op: Op, vjp: Any) -> None:
        self.op = op
        self.joint = isinstance(vjp, joint)
        rules = (vjp.rule,) if self.joint else vjp if isinstance(vjp, tuple) else (vjp,)
        self.rules: tuple[Callable | None, ...] = rules
        self.names = tuple(() if r is None else self._names(r) for r in rules)
        self._plans: dict[tuple[bool, ...], tuple] = {}
        self.spare = frozenset(  # results that the rules can do without
            name
            for r in rules
            if r is not None
            for name, p in inspect.signature(r).parameters.items()
            if name in op.outputs and p.default is None
        )

    def _names(self, rule: Callable) -> tuple[tuple[str, str, int], ...]:
        """(kind, name, position) of each thing that a rule asks for after the gradient."""
        op, found = self.op, []
        parameters = list(inspect.signature(rule).parameters)
        for name in parameters[len(op.outputs) if self.joint else 1 :]:
            if name in op.inputs:
                found.append(("input", name, op.inputs.index(name)))
            elif name in op.outputs:
                found.append(("output", name, op.outputs.index(name)))
            elif name.endswith("_shape") and name[:-6] in op.inputs:
                found.append(("shape", name, op.inputs.index(name[:-6])))
            elif name == "needs":
                found.append(("needs", name, 0))
            else:
                found.append(("param", name, 0))
        return tuple(found)

    def check(self, f: Callable) -> None:
        """ValueError where a rule names what the operator lacks; parameters are those of `f`."""
        asked = {name for names in self.names for kind, name, _ in names if kind == "param"}
        if not asked:
            return
        own = [] if isinstance(f, np.ufunc) else [*inspect.signature(f).parameters.values()]
        if any(p.kind is p.VAR_KEYWORD for p in own):
            return
        op = self.op
        for name in sorted(asked - {p.name for p in own[len(op.inputs) :]}):
            raise ValueError(
                f"{op.name}: a rule of its derivative asks for {name!r}; here the inputs are "
                f"called {', '.join(op.inputs)}, the results {', '.join(op.outputs)}"
            )

    def _plan(self, needs: tuple[bool, ...]) -> tuple:
        plan = self._plans.get(needs)
        if plan is None:
            chosen = (
                self.names
                if self.joint
                else [n for n, need in zip(self.names, needs, strict=False) if need]
            )
            plan = tuple(
                dict.fromkeys(
                    n for names in chosen for n in names if n[0] in ("input", "output", "shape")
                )
            )
            self._plans[needs] = plan
        return plan

    def save(
        self, inputs: Sequence, outputs: Sequence[Tensor], edges: Sequence, later: bool = False
    ) -> dict | None:
        """What the rules of the inputs that have an edge name: tensors with their versions.

        With `later`, results are not known yet, and will be put in their places.
        """
        plan = self._plan(tuple([e is not None for e in edges]))
        if not plan:
            return None
        saved: dict[str, Any] = {}
        for kind, name, i in plan:
            if kind == "output":
                out = outputs[i]
                saved[name] = (out.detach(), out._version)
            elif self.op.variadic:
                saved[name] = (
                    [tuple(t._data.shape) for t in inputs]
                    if kind == "shape"
                    else [self._keep(t) for t in inputs]
                )
            elif kind == "shape":
                saved[name] = getattr(inputs[i], "shape", ())
            elif isinstance(inputs[i], Tensor):
                saved[name] = self._keep(inputs[i])
            else:
                saved[name] = inputs[i]
        return self._packed(saved, plan, later) if state.saved_hooks else saved

    def _packed(self, saved: dict[str, Any], plan: tuple, later: bool) -> dict[str, Any]:
        for kind, name, i in plan:
            kept = saved[name]
            if kind == "input" and self.op.variadic:
                saved[name] = [Packed(t) for t, _ in kept]
            elif kind == "input" and kept.__class__ is tuple:
                saved[name] = Packed(kept[0])
            elif kind == "output" and not later:
                saved[name] = Packed(kept[0], i)
        return saved

    def keep_output(self, out: Tensor) -> Any:
        """A result as `save` keeps it."""
        kept = out.detach()
        return Packed(kept, 0) if state.saved_hooks else (kept, out._version)

    def _keep(self, t: Tensor) -> tuple[Tensor, int]:
        if "_inference" in t.__dict__:
            raise RuntimeError(
                f"{self.op.name}: Inference tensors cannot be saved for backward. Make a clone() "
                "of it outside of inference_mode instead."
            )
        return t, t._version

    def names_input(self, needs: tuple[bool, ...], i: int) -> bool:
        """Whether the rules then in force need the value of input `i`."""
        return any(kind == "input" and at == i for kind, _, at in self._plan(needs))

    def backward(self, node: OpNode, grads: list, needs: list[bool]) -> Sequence:
        if all(g is None for g in grads):
            return (None,) * len(node.edges)
        if self.joint:
            rule, names = self.rules[0], self.names[0]
            return rule(*grads, *self._arguments(node, names, needs))  # type: ignore[misc]
        out: list = []
        for i, need in enumerate(needs):
            rule = self.rules[i] if need and i < len(self.rules) else None
            if need and rule is None:
                raise RuntimeError(
                    f"{self.op.name}: the derivative for {self.op.inputs[i]!r} is not implemented"
                )
            out.append(
                rule(grads[0], *self._arguments(node, self.names[i], needs)) if rule else None
            )
        return out

    def saved(self, node: OpNode, name: str) -> tuple[bool, Any]:
        """Whether `node` keeps the tensor of PyTorch's name `name`, and the tensor."""
        wanted = {"self": ("input", 0), "other": ("input", 1), "result": ("output", 0)}.get(name)
        for kind, own, i in self._plan(tuple([e is not None for e in node.edges])):
            if kind != "shape" and (own == name if wanted is None else (kind, i) == wanted):
                return True, self._arguments(node, ((kind, own, i),), [])[0]
        return False, None

    def _arguments(self, node: OpNode, names: tuple, needs: list[bool]) -> list:
        found: list[Any] = []
        for kind, name, i in names:
            if kind == "param":
                found.append(node.params.get(name))
            elif kind == "needs":
                found.append(needs)
            else:
                value: Any = node.saved[name]  # type: ignore
                if value.__class__ is Packed:
                    value = value.unpack(node)
                elif kind == "output":
                    changed = name in self.spare and value[0]._version != value[1]
                    value = None if changed else self._unpack(node, *value, output=i)
                elif kind == "input" and self.op.variadic:
                    value = [
                        v.unpack(node) if v.__class__ is Packed else self._unpack(node, *v)
                        for v in value
                    ]
                elif kind == "input" and value.__class__ is tuple:
                    value = self._unpack(node, *value)
                found.append(value)
        return found

    def _unpack(self, node: OpNode, t: Tensor, version: int, output: int | None = None) -> Tensor:
        if t._version != version:
            by, file, line = t.storage_.changed_by or ("an operator", "?", 0)
            raise RuntimeError(
                f"{self.op.name}: one of the variables needed for gradient computation has been "
                f"modified by an inplace operation: {self.op.name} saved a tensor of shape "
                f"{tuple(t.shape)} at version {version}; it is at version {t._version} since {by} "
                f'changed it at File "{file}", line {line}. Use the out-of-place form there, or '
                "give it a clone()"
            )
        if output is None or not state.grad or t.dtype.category < 2:
            return t
        out = wrap(t._data, t.dtype)
        out._storage, out._edge = t._storage, node.saved.get(RESULT) or (node, output)  # type: ignore[union-attr]
        return out
