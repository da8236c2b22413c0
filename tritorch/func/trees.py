"""Nested lists, tuples and dictionaries of values, taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> list:
    """The values of a nested structure, in order; what is no list, tuple or dict is a value."""
    if isinstance(tree, dict):
        return [v for child in tree.values() for v in leaves(child)]
    if isinstance(tree, list | tuple):
        return [v for child in tree for v in leaves(child)]
    return [tree]


def rebuilt(tree: Any, values: Iterator) -> Any:
    """The structure of `tree` with the next of `values` at each place of a value."""
    if isinstance(tree, dict):
        made = {k: rebuilt(child, values) for k, child in tree.items()}
        return made if type(tree) is dict else type(tree)(made)
    if isinstance(tree, list | tuple):
        children = [rebuilt(child, values) for child in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*children)
        return type(tree)(children)
    return next(values)


def mapped(f: Callable, tree: Any) -> Any:
    """The structure with `f(value)` in place of each value."""
    return rebuilt(tree, iter([f(v) for v in leaves(tree)]))


def spread(prefix: Any, tree: Any) -> list | None:
    """For each value of `tree` the value of `prefix` above it, or None where they do not match.

    `prefix` has the structure of `tree` down to some depth, so 0 stands for all of (x, (y, z)) and
    (0, 1) gives 0, 1, 1.
    """
    if not isinstance(prefix, dict | list | tuple):
        return [prefix] * len(leaves(tree))
    if type(prefix) is not type(tree) or len(prefix) != len(tree):
        return None
    if isinstance(prefix, dict):
        if prefix.keys() != tree.keys():
            return None
        pairs = [(prefix[k], child) for k, child in tree.items()]
    else:
        pairs = list(zip(prefix, tree, strict=True))
    found: list = []
    for p, child in pairs:
        below = spread(p, child)
        if below is None:
            return None
        found += below
    return found
