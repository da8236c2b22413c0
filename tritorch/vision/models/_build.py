"""What the builders of models share: names of published weights, and where to get them."""

from __future__ import annotations

import enum
import os
import warnings
from collections.abc import Callable
from typing import Any

from ...models import load_weights

BUILDERS: dict[str, Callable[..., Any]] = {}


class Weights(enum.Enum):
    """Published weights by name. Nothing is downloaded: a builder asks for a local file."""

    @classmethod
    def verify(cls, obj: Any) -> Any:
        return obj


def weights_enum(name: str, *members: str) -> Any:
    """The enumeration `<Model>_Weights`, with `DEFAULT` for its last member."""
    found = {m: f"{name}.{m}" for m in members}
    return Weights(name, {**found, "DEFAULT": found[members[-1]]})  # type: ignore[call-overload]


def published(name: str, weights: Any) -> str:
    return (
        f"{name}: published weights are not downloaded, so weights={weights!r} cannot be had. Get "
        f"the file (torchvision names it {name}-<hash>.pth) and give its path, "
        f'{name}(weights="/path/{name}.pth"), or load its state dict'
    )


def builder(f: Callable[..., Any]) -> Callable[..., Any]:
    """A model's function: it takes `weights`, None or a local file, and the old `pretrained`."""
    name = f.__name__

    def build(
        *, weights: Any = None, pretrained: Any = None, progress: bool = True, **kwargs: Any
    ) -> Any:
        kwargs.pop("weights_backbone", None)
        if pretrained is not None:
            warnings.warn(
                f"{name}: 'pretrained' is deprecated, use 'weights'", UserWarning, stacklevel=2
            )
            weights = "DEFAULT" if pretrained is True else weights or pretrained or None
        if weights is None:
            return f(**kwargs)
        if isinstance(weights, Weights) or (
            isinstance(weights, str) and not os.path.isfile(weights)
        ):
            raise FileNotFoundError(published(name, weights))
        return load_weights(f(**kwargs), weights)

    def call(*args: Any, **kwargs: Any) -> Any:
        if args:  # pretrained and progress by position, as older programs write
            kwargs.update(zip(("pretrained", "progress"), args))
        return build(**kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f.__doc__
    call.__module__ = f.__module__
    BUILDERS[name] = call
    return call


def list_models(module: Any = None, include: Any = None, exclude: Any = None) -> list[str]:
    """The names that `get_model` takes; `include` and `exclude` are shell patterns."""
    from fnmatch import fnmatch

    def any_of(name: str, patterns: Any) -> bool:
        return any(
            fnmatch(name, p) for p in ([patterns] if isinstance(patterns, str) else patterns)
        )

    return sorted(
        n
        for n in BUILDERS
        if (not include or any_of(n, include)) and not (exclude and any_of(n, exclude))
    )


def get_model_builder(name: str) -> Callable[..., Any]:
    """The function of a model's name; ValueError for one that is not there."""
    if name.lower() not in BUILDERS:
        raise ValueError(f"Unknown model {name}; there are {', '.join(sorted(BUILDERS))}")
    return BUILDERS[name.lower()]


def get_model(name: str, **config: Any) -> Any:
    """A model by its name.

    Example:
        >>> from tritorch.vision import models
        >>> type(models.get_model("squeezenet1_1", num_classes=3)).__name__
        'SqueezeNet'
    """
    return get_model_builder(name)(**config)
