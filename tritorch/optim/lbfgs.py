"""Limited-memory BFGS, with a line search that meets the strong Wolfe conditions where asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd.mode import enable_grad, no_grad
from ..ops import join
from ..tensor import Tensor
from .optimizer import Optimizer
from .stepper import check_lr, number

__all__ = ["LBFGS"]

DECREASE, CURVATURE = 1e-4, 0.9  # the constants c1 and c2 of the Wolfe conditions


class LBFGS(Optimizer):
    """Quasi-Newton steps `p = p + t * d` with `d = -H g`.

    H, the inverse of the Hessian, is approximated from the last `history_size` steps and changes of
    the gradient (two-loop recursion). `step` takes a closure, which it calls up to `max_eval` times
    (default `max_iter * 5 // 4`) in up to `max_iter` iterations; it ends earlier where the largest
    `|g|` falls to `tolerance_grad`, or where the loss or the parameters change by less than
    `tolerance_change`. `line_search_fn` is None (t is `lr`) or "strong_wolfe". All parameters form
    one group.
    Source: Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4, 7.5, 3.5 and 3.6.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.tensor([3.0, -1.0]))
        >>> optimizer = torch.optim.LBFGS([p], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = ((p - 2) ** 4).sum()
        ...     loss.backward()
        ...     return loss
        >>> loss = optimizer.step(closure)
        >>> bool(closure() < 1e-4)
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]

    # -- all parameters as one vector -----------------------------------------------------------

    def _gradient(self) -> Any:
        return join.cat(
            [_flat(p.new_zeros(p.shape) if p._grad is None else p._grad) for p in self._params]
        )

    def _move(self, t: Any, d: Any) -> None:
        """`p = p + t * d` for the part of `d` that belongs to each parameter."""
        start = 0
        for p in self._params:
            real = p.view_as_real() if p.dtype.is_complex else p
            stop = start + real.numel()
            real.add_(d[start:stop].view(real.shape), alpha=number(t))
            start = stop

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to `max_iter` iterations; `closure` computes the gradients, and returns the loss."""
        group = self.param_groups[0]
        closure = enable_grad()(closure)
        # global state stands with the first parameter, so that loading it casts it
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        state["func_evals"] += 1
        run = _Run(self, group, state, closure, _value(first))
        if not run.flat():
            for _ in range(group["max_iter"]):
                if run.iteration():
                    break
            run.keep()
        return first


class _Run:
    """The iterations of one `step`: where they stand, and what is kept for the next."""

    KEPT = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")

    def __init__(
        self, owner: LBFGS, group: dict, state: dict, closure: Callable, loss: float
    ) -> None:
        self.owner, self.group, self.state, self.closure = owner, group, state, closure
        self.loss, self.gradient = loss, owner._gradient()
        self.done, self.evals = 0, 1
        for name in self.KEPT:
            setattr(self, name, state.get(name))

    def keep(self) -> None:
        self.state.update({name: getattr(self, name) for name in self.KEPT})

    def flat(self) -> bool:
        """Whether no element of the gradient is above the tolerance."""
        return bool(self.gradient.abs().max() <= self.group["tolerance_grad"])

    def iteration(self) -> bool:
        """One step; whether it was the last."""
        group, state = self.group, self.state
        self.done += 1
        state["n_iter"] += 1
        if state["n_iter"] == 1:
            self.d, self.old_dirs, self.old_stps, self.ro, self.H_diag = (
                -self.gradient,
                [],
                [],
                [],
                1,
            )
        else:
            self._remember()
            self.d = self._direction()
        self.prev_flat_grad, self.prev_loss = self.gradient.clone(), self.loss
        self.t = number(group["lr"])
        if state["n_iter"] == 1:
            self.t = min(1.0, 1.0 / self.gradient.abs().sum()) * self.t
        slope = self.gradient.dot(self.d)
        if slope > -group["tolerance_change"]:
            return True
        before = self.evals
        self._advance(float(slope))
        state["func_evals"] += self.evals - before
        return self._finished()

    def _remember(self) -> None:
        """Take the last step into the history, unless the curvature along it is not positive."""
        y, s = self.gradient - self.prev_flat_grad, self.d * self.t
        ys = y.dot(s)
        if ys > 1e-10:
            if len(self.old_dirs) == self.group["history_size"]:
                for history in (self.old_dirs, self.old_stps, self.ro):
                    history.pop(0)
            self.old_dirs.append(y)
            self.old_stps.append(s)
            self.ro.append(1.0 / ys)
            self.H_diag = ys / y.dot(y)

    def _direction(self) -> Any:
        """`-H g` by the two-loop recursion."""
        al = self.state.setdefault("al", [None] * self.group["history_size"])
        d = -self.gradient
        pairs = list(enumerate(zip(self.old_dirs, self.old_stps, self.ro, strict=True)))
        for i, (y, s, ro) in reversed(pairs):
            al[i] = s.dot(d) * ro
            d.add_(y, alpha=-al[i].item())
        d = d * self.H_diag
        for i, (y, s, ro) in pairs:
            d.add_(s, alpha=(al[i] - y.dot(d) * ro).item())
        return d

    def _advance(self, slope: float) -> None:
        """Move along d, by `lr` or as far as the line search says."""
        group, owner = self.group, self.owner
        if group["line_search_fn"] is None:
            owner._move(self.t, self.d)
            if self.done != group["max_iter"]:  # with noisy losses the last call would be in vain
                self.loss, self.gradient = _value(self.closure()), owner._gradient()
                self.evals += 1
            return
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        here = [p.clone() for p in owner._params]

        def evaluate(t: Any) -> _Point:
            owner._move(t, self.d)
            loss, gradient = _value(self.closure()), owner._gradient()
            for p, a in zip(owner._params, here, strict=True):
                p.copy_(a)
            return _Point(number(t), loss, gradient, float(gradient.dot(self.d)))

        start = _Point(0.0, self.loss, self.gradient, slope)
        search = _Search(evaluate, start, float(self.d.abs().max()), group["tolerance_change"])
        found = search(self.t, group["max_eval"] - self.evals)
        self.evals += search.evals
        self.t, self.loss, self.gradient = found.t, found.loss, found.gradient
        owner._move(self.t, self.d)

    def _finished(self) -> bool:
        group = self.group
        return (
            self.done == group["max_iter"]
            or self.evals >= group["max_eval"]
            or self.flat()
            or bool((self.d * self.t).abs().max() <= group["tolerance_change"])
            or abs(self.loss - self.prev_loss) < group["tolerance_change"]
        )


class _Point(NamedTuple):
    """A place on the line: how far, the loss, its gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Any
    slope: float


class _Search:
    """A step length that meets the strong Wolfe conditions, by bracketing and cubic interpolation.

    `size` is the largest element of the direction, against which `tolerance` is held.
    """

    def __init__(self, evaluate: Callable, start: _Point, size: float, tolerance: float) -> None:
        self.evaluate, self.start = evaluate, start
        self.size, self.tolerance = size, tolerance
        self.evals = self.tries = 0

    def _at(self, t: Any) -> _Point:
        self.evals += 1
        return self.evaluate(t)

    def _too_high(self, p: _Point) -> bool:
        return p.loss > self.start.loss + DECREASE * p.t * self.start.slope

    def _level(self, p: _Point) -> bool:
        return abs(p.slope) <= -CURVATURE * self.start.slope

    def __call__(self, t: Any, limit: int) -> _Point:
        """Begin with `t`; after `limit` tries the lowest point is taken."""
        before, here = self.start, self._at(t)
        while self.tries < limit:
            if self._too_high(here) or (self.tries > 1 and here.loss >= before.loss):
                return self._zoom([before, here], limit)
            if self._level(here):
                return here
            if here.slope >= 0:
                return self._zoom([before, here], limit)
            bounds = here.t + 0.01 * (here.t - before.t), here.t * 10
            before, here = here, self._at(_lowest(before, here, bounds))
            self.tries += 1
        return min(self.start, here, key=lambda p: p.loss)

    def _zoom(self, ends: list[_Point], limit: int) -> _Point:
        """Narrow the bracket until its lower end meets both conditions."""
        low, stuck = int(ends[0].loss > ends[1].loss), False
        while self.tries < limit:
            near, far = sorted(p.t for p in ends)
            if (far - near) * self.size < self.tolerance:
                break
            t, stuck = _inside(_lowest(ends[0], ends[1], (near, far)), near, far, stuck)
            here = self._at(t)
            self.tries += 1
            if self._too_high(here) or here.loss >= ends[low].loss:
                ends[1 - low] = here
                low = int(ends[0].loss > ends[1].loss)
                continue
            level = self._level(here)
            if not level and here.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = here
            if level:
                break
        return ends[low]


def _inside(t: float, near: float, far: float, stuck: bool) -> tuple[float, bool]:
    """`t` kept from the ends of the bracket where it would lie near one for the second time."""
    margin = 0.1 * (far - near)
    if min(far - t, t - near) >= margin:
        return t, False
    if not stuck and near < t < far:
        return t, True
    return (far - margin if abs(t - far) < abs(t - near) else near + margin), False


def _lowest(a: _Point, b: _Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is lowest, within bounds.

    Source: Nocedal and Wright, equation 3.59.
    """
    if a.t > b.t:
        a, b = b, a
    least, most = bounds
    gap = b.t - a.t
    first = a.slope + b.slope + 3 * (a.loss - b.loss) / gap if gap else float("nan")
    square = first**2 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    second = square**0.5
    below = b.slope - a.slope + 2 * second
    t = b.t - gap * (b.slope + second - first) / below if below else most
    return min(max(t, least), most)


def _value(loss: Any) -> float:
    return float(number(loss))


def _flat(g: Any) -> Any:
    return (g.view_as_real() if g.dtype.is_complex else g).reshape(-1)
