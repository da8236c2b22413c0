"""Weights of published models, from files on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from ..nn import Module
from ..serialization import load
from ..tensor import Tensor

M = TypeVar("M", bound=Module)
_WRAPPERS = ("state_dict", "model", "model_state_dict", "module")  # where training scripts put it
_SHOWN = 4


def load_weights(model: M, file: Any, *, strict: bool = True) -> M:
    """Load a published state dict into `model`, which is returned.

    `file` is the path of a safetensors, `.pt` or `.pth` file, an open file, or a state dict itself.
    A state dict that lies in a checkpoint under "state_dict" or "model" is found there, and the
    prefix "module." of parallel training is dropped. The networks here also know other names under
    which their weights were published, and what in such a file is no weight.

    With `strict`, an entry that is missing, one too many, or one of another shape is an error. Else
    they are left out, but a file of which nothing fits is an error still. Nothing is loaded where
    an error is raised.

    Raises:
        FileNotFoundError: there is no such file; none is downloaded.
        CheckpointError: the file is damaged, or holds something else than data.
        ValueError: it holds no state dict, or not one of this model; names what does not fit.

    Example:
        >>> import io, tritorch as torch
        >>> from tritorch.models import LeNet, load_weights
        >>> file = io.BytesIO()
        >>> torch.save({"epoch": 3, "state_dict": LeNet().state_dict()}, file)
        >>> net = load_weights(LeNet(), io.BytesIO(file.getvalue()))
        >>> net(torch.zeros(2, 1, 32, 32)).shape
        tritorch.Size([2, 10])
    """
    source, own = _source(file), model.state_dict()
    found = _renamed(model, read_state(file), own)
    # frozen normalisations do not count
    found = {k: v for k, v in found.items() if k in own or not k.endswith(".num_batches_tracked")}
    problems = _problems(found, own)
    fits = {k: v for k, v in found.items() if k in own and v.shape == own[k].shape}
    if problems and (strict or not fits):
        raise ValueError(
            f"load_weights: {source} does not fit {type(model).__name__}: {'; '.join(problems)}"
        )
    model.load_state_dict(fits, strict=False)
    return model


def read_state(file: Any) -> dict[str, Tensor]:
    """The state dict in a local file, as `load_weights` finds it."""
    source = _source(file)
    if not isinstance(file, Mapping):
        if not hasattr(file, "read") and not os.path.isfile(file):
            raise FileNotFoundError(
                f"load_weights: there is no file {source}; weights are not downloaded, so give "
                "the path of a safetensors, .pt or .pth file"
            )
        file = load(file, map_location="cpu")
    return _state(file, source)


def _source(file: Any) -> str:
    if isinstance(file, Mapping):
        return "the state dict"
    return str(getattr(file, "name", "the open file") if hasattr(file, "read") else file)


def _state(loaded: Any, source: str) -> dict[str, Tensor]:
    """The state dict that a file holds, itself or one level down."""
    for _ in range(3):
        if not isinstance(loaded, Mapping):
            break
        tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
        loaded = next((loaded[k] for k in _WRAPPERS if k in loaded), None)
    raise ValueError(f"load_weights: {source} holds no state dict, that is, no dict of tensors")


def _renamed(model: Module, state: dict[str, Tensor], own: Mapping) -> dict[str, Tensor]:
    """The state under the names of `model`, which may know other ones."""
    if state and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    rename = getattr(model, "published_name", None)
    if rename is None:
        return state
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        new = name if name in own else rename(name)
        if new is not None:
            out[new] = value
    return _tied(model, out)


def _tied(model: Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the parameters that share memory with one that the file has."""
    names: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    for group in names.values():
        given = next((n for n in group if n in state), None)
        if given is not None:
            state.update({n: state[given] for n in group if n not in state})
    return state


def _problems(found: Mapping, own: Mapping) -> list[str]:
    shapes = [
        f"{k} is {tuple(found[k].shape)} in the file and {tuple(own[k].shape)} in the model"
        for k in own
        if k in found and found[k].shape != own[k].shape
    ]
    return [
        *_listed("missing", [k for k in own if k not in found]),
        *_listed("unknown", [k for k in found if k not in own]),
        *_listed("of another shape", shapes),
    ]


def _listed(what: str, names: list[str]) -> list[str]:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(names[:_SHOWN])}{more}"] if names else []
