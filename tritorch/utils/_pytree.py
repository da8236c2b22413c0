"""Nested structures of values, taken apart and put together, under the names of PyTorch's file.

Nodes are lists, tuples, named tuples, dicts, ordered and default dicts, deques, None as a leaf, and
classes that `register_pytree_node` was told of; all else is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Flatten = Callable[[Any], tuple[list, Any]]
Unflatten = Callable[[Iterable, Any], Any]
PyTree = Any


class _Node(NamedTuple):
    flatten: Flatten
    unflatten: Unflatten


def _of_dict(d: Any) -> tuple[list, Any]:
    return list(d.values()), list(d)


def _of_default(d: Any) -> tuple[list, Any]:
    return list(d.values()), (d.default_factory, list(d))


SUPPORTED_NODES: dict[type, _Node] = {
    list: _Node(lambda x: (list(x), None), lambda v, c: list(v)),
    tuple: _Node(lambda x: (list(x), None), lambda v, c: tuple(v)),
    dict: _Node(_of_dict, lambda v, c: dict(zip(c, v, strict=True))),
    OrderedDict: _Node(_of_dict, lambda v, c: OrderedDict(zip(c, v, strict=True))),
    defaultdict: _Node(_of_default, lambda v, c: defaultdict(c[0], zip(c[1], v, strict=True))),
    deque: _Node(lambda x: (list(x), x.maxlen), lambda v, c: deque(v, maxlen=c)),
}


def register_pytree_node(
    cls: type, flatten_fn: Flatten, unflatten_fn: Unflatten, **kwargs: Any
) -> None:
    """Makes a node of a class. `flatten_fn(x)` gives children and what else is in `x`.

    ValueError for a class that is one already.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = _Node(flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def _node(x: Any) -> _Node | None:
    found = SUPPORTED_NODES.get(type(x))
    if found is None and isinstance(x, tuple) and hasattr(x, "_fields"):
        kind: Any = type(x)
        return _Node(lambda x: (list(x), None), lambda v, c: kind(*v))
    return found


class TreeSpec(NamedTuple):
    """The structure of a tree without its leaves; `type` None is a leaf."""

    type: Any
    context: Any
    children_specs: tuple

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether the structure is one leaf."""
        return self.type is None


def LeafSpec() -> TreeSpec:
    """The structure of one leaf."""
    return TreeSpec(None, None, ())


def tree_flatten(tree: Any, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """The leaves of a structure in order, and the structure.

    Example:
        >>> from tritorch.utils._pytree import tree_flatten, tree_unflatten
        >>> leaves, spec = tree_flatten({"a": [1, 2], "b": (3,)})
        >>> leaves, tree_unflatten([x * 10 for x in leaves], spec)
        ([1, 2, 3], {'a': [10, 20], 'b': (30,)})
    """
    node = None if is_leaf is not None and is_leaf(tree) else _node(tree)
    if node is None:
        return [tree], LeafSpec()
    children, context = node.flatten(tree)
    parts = [tree_flatten(child, is_leaf) for child in children]
    leaves = [leaf for found, _ in parts for leaf in found]
    return leaves, TreeSpec(type(tree), context, tuple(spec for _, spec in parts))


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> Any:
    """The structure with these leaves; ValueError where their number is another."""
    values = list(leaves)
    if len(values) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: expected {treespec.num_leaves} leaves, got {len(values)}"
        )
    return _built(iter(values), treespec)


def _built(values: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(values)
    children = [_built(values, child) for child in spec.children_specs]
    node = SUPPORTED_NODES.get(spec.type)
    return node.unflatten(children, spec.context) if node else spec.type(*children)


def tree_leaves(tree: Any, is_leaf: Callable | None = None) -> list:
    """The leaves of a structure, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable | None = None) -> TreeSpec:
    """The structure without its leaves."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable | None = None) -> Any:
    """The structure with `func(leaf, ...)` for each leaf; `rests` have the same structure."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(r, is_leaf) for r in rests]
    return tree_unflatten([func(*row) for row in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable | None = None) -> Any:
    """The structure itself, after `func` was called with each leaf."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _only(kinds: Any, func: Callable) -> Callable:
    check: Any = kinds if callable(kinds) and not isinstance(kinds, type) else None
    classes: Any = kinds
    return lambda x: func(x) if (check(x) if check else isinstance(x, classes)) else x


def tree_map_only(kinds: Any, func: Callable, tree: Any, is_leaf: Callable | None = None) -> Any:
    """`tree_map` of the leaves of a class, of several, or for which a function is true."""
    return tree_map(_only(kinds, func), tree, is_leaf=is_leaf)


def tree_map_only_(kinds: Any, func: Callable, tree: Any, is_leaf: Callable | None = None) -> Any:
    """`tree_map_` of the leaves of a class, of several, or for which a function is true."""
    return tree_map_(_only(kinds, func), tree, is_leaf=is_leaf)


def tree_any(pred: Callable, tree: Any, is_leaf: Callable | None = None) -> bool:
    """Whether `pred` is true of a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all(pred: Callable, tree: Any, is_leaf: Callable | None = None) -> bool:
    """Whether `pred` is true of all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))
