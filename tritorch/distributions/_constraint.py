"""What a constraint is, and constraints made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tritorch as torch

from ..tensor import Tensor


class Constraint:
    """A set of values of a parameter or variable."""

    is_discrete: Any = False
    event_dim: Any = 0

    def check(self, value: Any) -> Tensor:
        """True where `value` lies in the set, of shape `sample_shape + batch_shape`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.__class__.__name__[1:] + "()"

    def _shown(self, *names: str) -> str:
        bounds = ", ".join(f"{n}={getattr(self, n)}" for n in names)
        return f"{self.__class__.__name__[1:]}({bounds})"


def _all_of_event(result: Tensor, value: Tensor, event_dim: int) -> Tensor:
    """Checks reduced over the last `event_dim` dimensions of the value."""
    if value.ndim < event_dim:
        raise ValueError(f"Expected value.dim() >= {event_dim} but got {value.dim()}")
    return result.reshape((*result.shape[: value.ndim - event_dim], -1)).all(-1)


# -- what depends on other values ----------------------------------------------------------------


class _Dependent(Constraint):
    """A placeholder for a set that parameters determine."""

    def __init__(
        self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented
    ) -> None:
        self._is_discrete, self._event_dim = is_discrete, event_dim
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        if self._is_discrete is NotImplemented:
            raise NotImplementedError(".is_discrete cannot be determined statically")
        return self._is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        if self._event_dim is NotImplemented:
            raise NotImplementedError(".event_dim cannot be determined statically")
        return self._event_dim

    def __call__(
        self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented
    ) -> _Dependent:
        """The same with what is known of the set."""
        if is_discrete is NotImplemented:
            is_discrete = self._is_discrete
        if event_dim is NotImplemented:
            event_dim = self._event_dim
        return _Dependent(is_discrete=is_discrete, event_dim=event_dim)

    def check(self, x: Any) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


def is_dependent(constraint: Any) -> bool:
    """Whether the set is known only with other parameters."""
    return isinstance(constraint, _Dependent)


class _DependentProperty(property, _Dependent):  # type: ignore[misc]
    """A property that is a dependent constraint on its class and the actual one on an instance.

    Example:
        >>> from tritorch.distributions import constraints
        >>> class Above:
        ...     low = 2.0
        ...     @constraints.dependent_property(is_discrete=False, event_dim=0)
        ...     def support(self):
        ...         return constraints.greater_than(self.low)
        >>> Above().support
        GreaterThan(lower_bound=2.0)
    """

    def __init__(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        is_discrete: bool | None = NotImplemented,
        event_dim: int | None = NotImplemented,
    ) -> None:
        property.__init__(self, fn)
        self._is_discrete, self._event_dim = is_discrete, event_dim

    def __call__(self, fn: Callable[..., Any]) -> _DependentProperty:  # type: ignore[override]
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


# -- of other constraints ------------------------------------------------------------------------


class _Outer(Constraint):
    """A constraint that takes its kind from another."""

    base_constraint: Constraint

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim


class _IndependentConstraint(_Outer):
    """The last `reinterpreted_batch_ndims` dimensions of a set of values as parts of one event."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        if not isinstance(base_constraint, Constraint):
            kind = type(base_constraint).__name__
            raise AssertionError(f"base_constraint must be a Constraint, got {kind}")
        if not isinstance(reinterpreted_batch_ndims, int):
            kind = type(reinterpreted_batch_ndims).__name__
            raise AssertionError(f"reinterpreted_batch_ndims must be an int, got {kind}")
        if reinterpreted_batch_ndims < 0:
            raise AssertionError(
                f"reinterpreted_batch_ndims must be >= 0, got {reinterpreted_batch_ndims}"
            )
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: Any) -> Tensor:
        result = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        if result.ndim < n:
            raise ValueError(
                f"Expected value.dim() >= {self.base_constraint.event_dim + n} "
                f"but got {value.dim()}"
            )
        return result.reshape((*result.shape[: result.ndim - n], -1)).all(-1)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__[1:]}"
            f"({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"
        )


class MixtureSameFamilyConstraint(_Outer):
    """Values that all components of a mixture may take."""

    def __init__(self, base_constraint: Constraint) -> None:
        if not isinstance(base_constraint, Constraint):
            kind = type(base_constraint).__name__
            raise AssertionError(f"base_constraint must be a Constraint, got {kind}")
        self.base_constraint = base_constraint
        super().__init__()

    def check(self, value: Any) -> Tensor:
        """`value` has no dimension of components: it is `(..., *event_shape)`."""
        result = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return _all_of_event(result, value, self.event_dim)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.base_constraint!r})"


class _Several(Constraint):
    """Constraints of the parts of a tensor along `dim`."""

    cseq: list[Constraint]
    dim: int

    def _set(self, cseq: Sequence[Constraint], dim: int) -> None:
        if not all(isinstance(c, Constraint) for c in cseq):
            raise AssertionError("All elements of cseq must be Constraint instances")
        self.cseq, self.dim = list(cseq), dim
        super().__init__()

    def _check_dim(self, value: Tensor) -> None:
        if not -value.dim() <= self.dim < value.dim():
            raise AssertionError(f"dim {self.dim} out of range for value with {value.dim()} dims")

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Several):
    """Parts of given lengths along a dimension, each with a constraint of its own."""

    def __init__(
        self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        self._set(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise AssertionError(
                f"lengths must have same length as cseq, got {len(self.lengths)} "
                f"vs {len(self.cseq)}"
            )

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Any) -> Tensor:
        self._check_dim(value)
        parts, start = [], 0
        for c, n in zip(self.cseq, self.lengths, strict=True):
            parts.append(c.check(value.narrow(self.dim, start, n)))
            start += n
        return torch.cat(parts, self.dim)


class _Stack(_Several):
    """One constraint for each position along a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self._set(cseq, dim)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        dim = max(c.event_dim for c in self.cseq)
        return dim + (self.dim + dim < 0)

    def check(self, value: Any) -> Tensor:
        self._check_dim(value)
        parts = [value.select(self.dim, i) for i in range(value.size(self.dim))]
        checked = [c.check(v) for v, c in zip(parts, self.cseq, strict=True)]
        return torch.stack(checked, self.dim)
