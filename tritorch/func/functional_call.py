"""A module called with other parameters and buffers than its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..ops import join
from ..tensor import Tensor

__all__ = [
    "functional_call",
    "functionalize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
]


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with the tensors of a dictionary in place of its own.

    Keys are dotted names; a sequence of dictionaries is joined. Names of one tensor are replaced
    together unless `tie_weights` is False; with `strict` all must be given. The module is as before
    afterwards, and what changes in place changes the tensors that were given.

    Example:
        >>> import tritorch as torch
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> torch.func.functional_call(layer, {"weight": torch.tensor([[3.0]])}, torch.ones(1, 1))
        tensor([[3.]])
    """
    given = _joined(parameter_and_buffer_dicts)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with replaced(module, given, tie_weights, strict):
        return module(*args, **({} if kwargs is None else kwargs))


def _joined(dicts: Any) -> dict[str, Any]:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts)}"
        )
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    joined: dict[str, Any] = {}
    for d in dicts:
        for name, value in d.items():
            if name in joined:
                raise ValueError(f"{name} appears in multiple dictionaries; behavior is ambiguous")
            joined[name] = value
    return joined


def _own_tensors(module: Any) -> dict[str, tuple[dict, str]]:
    """For each dotted name, the dictionary that holds the tensor, and its key there."""
    found = {}
    for path, m in module.named_modules(remove_duplicate=False):
        for place in (m._parameters, m._buffers):
            for key, value in place.items():
                if value is not None:
                    found[f"{path}.{key}" if path else key] = place, key
    return found


def _with_ties(given: dict[str, Any], own: dict[str, tuple[dict, str]]) -> dict[str, Any]:
    """Values for the other names of the tensors that are replaced."""
    groups: dict[int, list[str]] = {}
    for name, (place, key) in own.items():
        groups.setdefault(id(place[key]), []).append(name)
    more = dict(given)
    for names in groups.values():
        values = {id(given[n]): given[n] for n in names if n in given}
        if len(values) > 1:
            raise ValueError(
                "functional_call got multiple values for keys "
                f"{sorted(n for n in names if n in given)}, which are tied. Consider using "
                "tie_weights=False"
            )
        for value in values.values():
            more.update(dict.fromkeys(names, value))
    return more


@contextlib.contextmanager
def replaced(
    module: Any, given: dict[str, Any], tie_weights: bool = True, strict: bool = False
) -> Iterator[None]:
    """Inside the block the module holds these tensors."""
    own = _own_tensors(module)
    values = _with_ties(given, own) if tie_weights else given
    unexpected = [n for n in given if n not in own]
    missing = [n for n in own if n not in values] if strict else []
    said = f"Unexpected key(s): {', '.join(unexpected)}. " if unexpected else ""
    if strict and (unexpected or missing):
        said += f"Missing key(s): {', '.join(missing)}." if missing else ""
        name = type(module).__name__
        raise RuntimeError(f"Error(s) in replacing the tensors of {name}: {said.rstrip()}")
    if unexpected:
        raise KeyError(said.rstrip())
    for name, value in values.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    before = {n: own[n][0][own[n][1]] for n in values}
    try:
        for name, value in values.items():
            place, key = own[name]
            place[key] = value
        yield
    finally:
        for name, value in before.items():
            place, key = own[name]
            place[key] = value


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Batch normalisations of a module become ones of the batch alone, as `vmap` needs them.

    They keep no statistics any more. Changes the module and returns it.
    """
    for module in root.modules():
        if any(kind.__name__ == "_BatchNorm" for kind in type(module).__mro__):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """`func` itself: what it changes in place in its own tensors no one else sees.

    PyTorch takes such changes out of programs that it traces; here nothing has to be taken out.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            "functionalize(f, remove='mutations'): Valid options for inputs are: 'mutations' or "
            f"'mutations_and_views', got {remove!r}"
        )

    @functools.wraps(func)
    def same(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return same


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of models of one class, each stacked to (M, ...).

    What was a leaf is one again.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if not all(type(m) is type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {k: _stacked([p[k] for p in parameters]) for k in parameters[0]},
        {k: _stacked([b[k] for b in buffers]) for k in buffers[0]},
    )


def _stacked(tensors: list[Any]) -> Any:
    leaves = all(t.is_leaf for t in tensors)
    if len({t.requires_grad for t in tensors}) > 1:
        raise RuntimeError(
            "Expected tensors from different models with the same name to have the same "
            "requires_grad"
        )
    if leaves:
        out: Any = join.stack([t.detach() for t in tensors])
        return out.requires_grad_(tensors[0].requires_grad)
    return join.stack(tensors)
