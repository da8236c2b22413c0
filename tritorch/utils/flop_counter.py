"""Counts the floating-point operations of matrix products, convolutions and attention."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

from ..autograd.mode import outside, transform
from ..autograd.node import OpNode
from ..autograd.profiler_events import thread_id
from ..nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from ..tensor import Tensor

__all__ = ["FlopCounterMode", "register_flop_formula"]

Formula = Callable[..., int]
Shape = tuple[int, ...]


def _matmul(a: Shape, b: Shape, *scales: Any, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(out_shape) * a[-1]


def _linear(x: Shape, weight: Shape, bias: Any, *, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(out_shape) * weight[1]


def _addmm(c: Shape, a: Shape, b: Shape, *, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(out_shape) * a[-1]


def _conv2d(x: Shape, weight: Shape, bias: Any, *, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(out_shape) * prod(weight[1:])


def _conv2d_input(g: Shape, weight: Shape, *, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(g) * prod(weight[1:])


def _conv2d_weight(g: Shape, x: Shape, *, out_shape: Shape, **params: Any) -> int:
    return 2 * prod(g) * x[1] * prod(out_shape[2:])  # PyTorch's count: of all groups' channels


def _attention(q: Shape, k: Shape, v: Shape, *rest: Any, **params: Any) -> int:
    return 2 * prod(q[:3]) * k[2] * (q[3] + v[3])


def _attention_backward(g: Shape, q: Shape, k: Shape, v: Shape, *rest: Any, **params: Any) -> int:
    return 2 * prod(q[:3]) * k[2] * (3 * q[3] + 2 * v[3])  # the scores are computed again


flop_registry: dict[str, Formula] = {
    "matmul": _matmul,
    "linear": _linear,
    "addmm": _addmm,
    "addmm_activation": _addmm,
    "scaled_mm": _matmul,
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_weight": _conv2d_weight,
    "attention": _attention,
    "attention_backward": _attention_backward,
}


def _name(target: Any) -> str:
    return target if isinstance(target, str) else target.name


def register_flop_formula(targets: Any, get_raw: bool = False) -> Callable:
    """Decorates the formula of operators: records of `tritorch.op`, their names, or a list.

    It is called with the shapes of the tensors, `out_shape` and the operator's parameters; with
    `get_raw` with the tensors themselves and `out_val`.
    """

    def register(formula: Formula) -> Formula:
        for target in targets if isinstance(targets, list | tuple) else [targets]:
            flop_registry[_name(target)] = _plain(formula, get_raw)
        return formula

    return register


def _plain(formula: Formula, raw: bool) -> Formula:
    if raw:
        formula._get_raw = True  # type: ignore[attr-defined]
    return formula


def _shapes(x: Any) -> Any:
    if isinstance(x, tuple | list):
        return tuple(_shapes(t) for t in x)
    return tuple(x.shape) if isinstance(x, Tensor) else x


class FlopCounterMode:
    """A block whose operations are counted, forward and backward, by module and operator.

    A product of (n, k) and (k, m) counts 2 n k m, and so on; what has no formula counts nothing:
    elementwise operators, normalisations, reductions, recurrent layers. `depth` is how deep the
    modules of the table go that `display` prints at the end. `custom_mapping` has formulas by
    operator, as `register_flop_formula` takes them.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils.flop_counter import FlopCounterMode
        >>> layer, x = torch.nn.Linear(8, 4), torch.ones(2, 8)
        >>> with FlopCounterMode(display=False) as counter:
        ...     layer(x).sum().backward()
        >>> counter.get_total_flops()
        256
        >>> counter.get_flop_counts()["Linear"]
        {'linear': 128, 'matmul': 128}
    """

    def __init__(
        self,
        mods: Any = None,
        depth: int | None = 2,
        display: bool = True,
        custom_mapping: dict[Any, Formula] | None = None,
    ) -> None:
        self.depth, self.display = depth, display
        own = {_name(k): f for k, f in (custom_mapping or {}).items()}
        self.flop_registry = {**flop_registry, **own}
        self.flop_counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def get_total_flops(self) -> int:
        """All operations."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """For each module, and "Global", the operations by the names of operators."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    # -- the block ----------------------------------------------------------------------------

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._parents: list[str] = ["Global"]
        self._names: dict[int, str] = {}
        self._owners: dict[OpNode, tuple[str, ...]] = {}
        self._thread = thread_id()
        self._hooks = (
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        )
        self._backward = OpNode.backward
        OpNode.backward = self._counting(OpNode.backward)  # type: ignore[method-assign]
        self._transform = transform(self._forward)
        self._transform.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._transform.__exit__()
        OpNode.backward = self._backward  # type: ignore[method-assign]
        for hook in self._hooks:
            hook.remove()
        self._owners.clear()
        if self.display:
            print(self.get_table(self.depth))

    def _begin(self, module: Any, inputs: Any) -> None:
        if thread_id() != self._thread:
            return
        name = self._names.setdefault(id(module), type(module).__name__)
        for child, part in module.named_children():
            self._names.setdefault(id(part), f"{name}.{child}")
        self._parents.append(name)

    def _end(self, module: Any, inputs: Any, output: Any) -> None:
        if thread_id() == self._thread:
            self._parents.pop()

    def _count(self, op: Any, inputs: Any, params: dict, out: Any, parents: Any) -> None:
        name = getattr(op, "op", op).name  # an operator in place is counted like the other
        formula = self.flop_registry.get(name)
        if formula is None:
            return
        if getattr(formula, "_get_raw", False):
            found = formula(*inputs, out_val=out, **params)
        else:
            found = formula(*map(_shapes, inputs), out_shape=_shapes(out), **params)
        for parent in set(parents):
            self.flop_counts[parent][name] += found

    def _forward(self, op: Any, inputs: Any, params: dict) -> Any:
        with outside():
            out = op(*inputs, **params)
        first = out[0] if isinstance(out, tuple | list) and out else out
        edge = first.current_edge() if isinstance(first, Tensor) else None
        if edge is not None and isinstance(edge[0], OpNode):
            self._owners[edge[0]] = tuple(self._parents)
        self._count(op, inputs, params, out, self._parents)
        return out

    def _counting(self, backward: Callable) -> Callable:
        @functools.wraps(backward)
        def counted(node: OpNode, grads: list, needs: list[bool]) -> Any:
            if thread_id() != self._thread:  # the class is watched, in all threads
                return backward(node, grads, needs)
            parents = self._owners.get(node, ("Global",))

            def see(op: Any, inputs: Any, params: dict) -> Any:
                with outside():
                    out = op(*inputs, **params)
                self._count(op, inputs, params, out, parents)
                return out

            with transform(see):
                return backward(node, grads, needs)

        return counted

    # -- the table ----------------------------------------------------------------------------

    def get_table(self, depth: int | None = None) -> str:
        """The counts as a table of modules down to `depth`, and their operators."""
        limit = self.depth if depth is None else depth
        total = self.get_total_flops()
        rows = [("Module", "FLOP", "% Total")]
        modules = sorted(n for n in self.flop_counts if n != "Global")
        for name in ["Global", *modules]:
            level = 0 if name == "Global" else name.count(".") + 1
            if limit is not None and level > limit:
                continue
            counts = self.flop_counts[name]
            pad = " " * level
            rows.append((pad + name, *_figures(sum(counts.values()), total)))
            rows += [(f"{pad} - {op}", *_figures(n, total)) for op, n in counts.items()]
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _figures(n: int, total: int) -> tuple[str, str]:
    """A count in the unit of the total, and its share."""
    power = min((len(str(total)) - 1) // 3, 5) if total else 0
    shown = f"{n / 1000**power:.3f}{('', 'K', 'M', 'B', 'T', 'Q')[power]}" if power else str(n)
    return shown, f"{n / total:.2%}" if total else "0%"
