"""Builders of models that stand on a backbone: weights of the whole, or of the backbone alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from ... import nn
from ...models import read_state
from ..ops import FrozenBatchNorm2d
from ._build import BUILDERS, Weights, published

_UNSET: Any = object()


class Start(NamedTuple):
    """How a backbone begins: from a file or at random, and how many of its layers learn."""

    file: Any
    trained: bool
    layers: int

    @property
    def norm(self) -> Any:
        """Normalisations stay as they were learned, or learn where there is nothing yet."""
        return FrozenBatchNorm2d if self.trained else nn.BatchNorm2d


def _file(name: str, weights: Any) -> Any:
    """A local file or None; FileNotFoundError for weights that would have to be downloaded."""
    known = isinstance(weights, Weights)
    if known or (isinstance(weights, str) and not os.path.isfile(weights)):
        raise FileNotFoundError(published(name, weights))
    return weights


def _old(name: str, kwargs: dict[str, Any]) -> None:
    """The arguments `pretrained` and `pretrained_backbone` in their new form."""
    for old, new in (("pretrained", "weights"), ("pretrained_backbone", "weights_backbone")):
        if old in kwargs:
            warnings.warn(f"{name}: '{old}' is deprecated, use '{new}'", UserWarning, stacklevel=4)
            given = kwargs.pop(old)
            kwargs[new] = "DEFAULT" if given is True else given or None


def trainable(trained: bool, wanted: int | None, most: int, default: int) -> int:
    """How many layers of a backbone learn: all where it begins at random."""
    if not trained:
        if wanted is not None:
            warnings.warn(
                "Changing trainable_backbone_layers has no effect if neither pretrained nor "
                f"pretrained_backbone have been set to True, falling back to {most} so that all "
                "layers are trainable",
                stacklevel=4,
            )
        return most
    wanted = default if wanted is None else wanted
    if not 0 <= wanted <= most:
        raise ValueError(
            f"Trainable backbone layers should be in the range [0,{most}], got {wanted}"
        )
    return wanted


def standing(
    backbone: str, *, classes: int = 91, layers: tuple[int, int] = (3, 5), then: Any = None
) -> Callable[[Callable], Callable[..., Any]]:
    """A model's function of `(start, num_classes, **kwargs)` as one of torchvision's arguments.

    `classes` is the number without weights, `layers` how many of the backbone's learn by default,
    and at most; `then(model)` follows where weights of the whole were loaded.
    """

    def decorate(f: Callable) -> Callable[..., Any]:
        name = f.__name__

        def build(
            *,
            weights: Any = None,
            progress: bool = True,
            num_classes: int | None = None,
            weights_backbone: Any = _UNSET,
            trainable_backbone_layers: int | None = None,
            **kwargs: Any,
        ) -> Any:
            file = _file(name, weights)
            if weights_backbone is _UNSET:
                weights_backbone = None
                if file is None:
                    warnings.warn(
                        f"{name}: published weights are not downloaded, so {backbone} begins at "
                        f'random. Give its file, weights_backbone="/path/{backbone}.pth", or '
                        "weights_backbone=None",
                        stacklevel=3,
                    )
            below = None if file is not None else _file(backbone, weights_backbone)
            trained = file is not None or below is not None
            learns = trainable(trained, trainable_backbone_layers, layers[1], layers[0])
            if file is not None and "aux_loss" in f.__annotations__:
                kwargs.setdefault("aux_loss", True)
            model = f(Start(below, trained, learns), num_classes or classes, **kwargs)
            if file is not None:
                model.load_state_dict(read_state(file))
                if then is not None:
                    then(model)
            return model

        def call(*args: Any, **kwargs: Any) -> Any:
            # by position, as older programs write
            kwargs.update(
                zip(("pretrained", "progress", "num_classes", "pretrained_backbone"), args)
            )
            _old(name, kwargs)
            return build(**kwargs)

        call.__name__, call.__qualname__ = name, name
        call.__doc__, call.__module__ = f.__doc__, f.__module__
        BUILDERS[name] = call
        return call

    return decorate
