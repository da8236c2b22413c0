"""Sizes of layers as tuples, under the names that layers of one's own import from PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["consume_prefix_in_state_dict_if_present"]


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Takes `prefix` off the keys that begin with it, in place, also in the dict's `_metadata`.

    A state dict of `DataParallel` loads into the bare model so.

    Example:
        >>> from tritorch.nn.modules.utils import consume_prefix_in_state_dict_if_present
        >>> state = {"module.weight": 1, "step": 2}
        >>> consume_prefix_in_state_dict_if_present(state, "module.")
        >>> sorted(state)
        ['step', 'weight']
    """
    for key in [k for k in state_dict if k.startswith(prefix)]:
        state_dict[key.removeprefix(prefix)] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", {})
    wrapper = prefix.rstrip(".")  # the name of the wrapped module itself; "" is the wrapper
    for key in [k for k in metadata if k and (k == wrapper or k.startswith(prefix))]:
        metadata[key.removeprefix(prefix) if key != wrapper else ""] = metadata.pop(key)


def _ntuple(n: int, name: str = "parse") -> Callable[[Any], tuple]:
    """A function that gives a sequence as a tuple, and anything else `n` times."""

    def parse(x: Any) -> tuple:
        return tuple(x) if isinstance(x, Iterable) else (x,) * n

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t: tuple, n: int) -> tuple:
    """`(1, 2)` with n = 2 is `(2, 2, 1, 1)`: a layer's padding as `F.pad` takes it."""
    return tuple(x for x in reversed(t) for _ in range(n))
