"""Selective checkpoints: some operators' results are kept, all others computed again."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.mode import outside, state, transform
from ..op import REGISTRY, Op
from ..tensor import Tensor, wrap

__all__ = [
    "SAC_IGNORED_OPS",
    "CheckpointPolicy",
    "SelectiveCheckpointContext",
    "create_selective_checkpoint_contexts",
]


class CheckpointPolicy(enum.Enum):
    """What becomes of an operator's result: kept until backward, or computed again there."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3


SAVED = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
SAC_IGNORED_OPS = {op for op in REGISTRY.values() if op.is_view}  # they cost nothing


class SelectiveCheckpointContext:
    """What a policy is told besides the operator: `is_recompute`, and the result `op_output`."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute, self.op_output = is_recompute, op_output


_AGAIN, _USED = object(), object()


class _Caching:
    """The forward: keeps the results that the policy says."""

    def __init__(self, policy: Callable, storage: defaultdict) -> None:
        self.policy, self.storage = policy, storage
        self._transform = transform(self._see)

    def __enter__(self) -> None:
        self._transform.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._transform.__exit__()

    def _see(self, op: Any, inputs: Sequence, params: dict) -> Any:
        with outside():
            out = op(*inputs, **params)
            if _ignored(op):
                return out
            context = SelectiveCheckpointContext(is_recompute=False, op_output=out)
            chosen = self.policy(context, op, *inputs, **params)
            keep = chosen if isinstance(chosen, bool) else chosen in SAVED
            self.storage[op.name].append(_detached(out) if keep else _AGAIN)
            return out


class _Cached:
    """The computation in backward: puts the kept results in their places."""

    def __init__(self, storage: defaultdict, mutable: bool) -> None:
        self.storage, self.mutable = storage, mutable
        self._transform = transform(self._see)

    def __enter__(self) -> None:
        self.count: defaultdict[str, int] = defaultdict(int)
        self._transform.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._transform.__exit__()

    def _see(self, op: Any, inputs: Sequence, params: dict) -> Any:
        with outside():
            if _ignored(op):
                return op(*inputs, **params)
            at = self.count[op.name]
            self.count[op.name] += 1
            kept = self.storage[op.name]
            if at >= len(kept):
                raise RuntimeError(
                    f"{op.name}: call {at} was met in backward, but not in the forward: the "
                    "checkpointed function must call the same operators each time"
                )
            if kept[at] is _USED:
                raise RuntimeError(
                    "Trying to backward an extra time. You are only allowed to backward once on "
                    "any region computed under selective activation checkpoint."
                )
            if kept[at] is _AGAIN:
                return op(*inputs, **params)
            entry, kept[at] = kept[at], _USED
            return self._recorded(op, inputs, params, entry)

    def _recorded(self, op: Op, inputs: Sequence, params: dict, entry: Any) -> Any:
        """The kept results, with the history of a call."""
        many = isinstance(entry, list)
        outs = []
        for t, version in entry if many else [entry]:
            if t._version != version and not self.mutable:
                raise RuntimeError(
                    f"{op.name}: a result kept by a selective checkpoint has been changed in "
                    "place; allow_cache_entry_mutation=True permits that"
                )
            out = wrap(t._data, t.dtype)
            out._storage = t._storage
            outs.append(out)
        result = tuple(outs) if many else outs[0]
        if state.grad:
            op.record(inputs, params, result)
        return result


def _ignored(op: Any) -> bool:
    return getattr(op, "is_view", False) or not isinstance(op, Op)


def _detached(out: Any) -> Any:
    if isinstance(out, Tensor):
        return out.detach(), out._version
    return [(t.detach(), t._version) for t in out]


def _named(op: Any) -> Op:
    """The record of an operator that is given as such, as its function, or by its name."""
    found = REGISTRY.get(op) if isinstance(op, str) else getattr(op, "op", op)
    if not isinstance(found, Op) and callable(op):
        found = REGISTRY.get(getattr(op, "__name__", ""))
    if not isinstance(found, Op):
        raise ValueError(
            "create_selective_checkpoint_contexts: expected operators (tritorch.op.REGISTRY), "
            f"their functions or their names, got {op!r}"
        )
    return found


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[Any, Any]:
    """Two contexts for `checkpoint(context_fn=...)` that keep the results of some operators.

    They are listed, or chosen by `policy(context, op, *inputs, **params)`, which returns a
    `CheckpointPolicy` or whether to keep. Operators are records of `tritorch.op`, so that
    `op.name == "matmul"`. One backward can be made.

    Example:
        >>> import functools
        >>> import tritorch as torch
        >>> from tritorch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
        >>> keep = functools.partial(create_selective_checkpoint_contexts, ["matmul"])
        >>> x = torch.ones(2, 2, requires_grad=True)
        >>> y = checkpoint(lambda x: (x @ x).exp(), x, use_reentrant=False, context_fn=keep)
        >>> y.sum().backward()
    """
    policy: Any = policy_fn_or_list
    if isinstance(policy_fn_or_list, list):
        kept = {_named(op).name for op in policy_fn_or_list}

        def listed(context: Any, op: Any, *args: Any, **kwargs: Any) -> bool:
            return op.name in kept

        policy = listed
    elif not callable(policy_fn_or_list):
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    storage: defaultdict[str, list] = defaultdict(list)
    return _Caching(policy, storage), _Cached(storage, allow_cache_entry_mutation)
