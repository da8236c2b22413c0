"""An optimizer that works on other parameters and another state for a while."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .optimizer import Optimizer

_NAME = "swap_in_optimizer_params_and_state"


@contextlib.contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Any], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Inside the block `optimizer` steps these parameters, with this state and these options.

    The parameters are given in the optimizer's own order; the state is what `state_dict` gives.
    Changes in place reach the tensors that were given; all else is forgotten at the end.
    """
    state, groups = _checked(optimizer, swapin_optim_state)
    tensors = iter(swapin_parameters.values())
    params = [[p for _, p in zip(g["params"], tensors)] for g in groups]
    if [len(p) for p in params] != [len(g["params"]) for g in groups]:
        raise RuntimeError(
            f"{_NAME}: got {len(swapin_parameters)} parameters for an optimizer of "
            f"{sum(len(g['params']) for g in groups)}"
        )
    found: defaultdict[Any, Any] = defaultdict(dict)
    for group, new in zip(groups, params, strict=True):
        for key, p in zip(group["params"], new, strict=True):
            found[p] = dict(state.get(key, {}))
    kept_state, kept = optimizer.state, [dict(g) for g in optimizer.param_groups]
    try:
        optimizer.state = found
        for own, group, new in zip(optimizer.param_groups, groups, params, strict=True):
            own.update({**group, "params": new})
        yield
    finally:
        for own, before in zip(optimizer.param_groups, kept, strict=True):
            own.clear()
            own.update(before)
        optimizer.state = kept_state


def _checked(optimizer: Optimizer, given: Any) -> tuple[dict[int, dict], list[dict[str, Any]]]:
    """The state and the groups of a `state_dict` that fits the optimizer."""
    if not optimizer.state:
        raise RuntimeError(f"{_NAME}: the optimizer has no state yet: make a step first")
    if not isinstance(given, dict) or not isinstance(given.get("state"), dict):
        raise RuntimeError(f"{_NAME}: expected what state_dict() gives, got {type(given).__name__}")
    state, groups = given["state"], given.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(optimizer.param_groups):
        raise RuntimeError(f"{_NAME}: the number of param groups differs from the optimizer's")
    numbers: set[int] = set()
    for i, (own, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        if not isinstance(group, dict) or set(group) != set(own):
            raise RuntimeError(f"{_NAME}: the options of group {i} differ from the optimizer's")
        if len(group["params"]) != len(own["params"]):
            raise RuntimeError(
                f"{_NAME}: group {i} has {len(group['params'])} params, the optimizer's "
                f"{len(own['params'])}"
            )
        numbers.update(group["params"])
    if not set(state) <= numbers:
        raise RuntimeError(f"{_NAME}: state of unknown params {sorted(set(state) - numbers)}")
    return state, groups
