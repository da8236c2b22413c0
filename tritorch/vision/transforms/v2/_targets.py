"""Transforms of boxes: their format, their place inside the image, and which are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....nn.module import Module
from ....tensor import Tensor
from ...tv_tensors import BoundingBoxes, BoundingBoxFormat, Mask, TVTensor, wrap
from . import functional as F
from ._kinds import changed, leaves, one, rebuilt


def is_boxes(x: Any) -> bool:
    return isinstance(x, BoundingBoxes)


class ConvertBoundingBoxFormat(Module):
    """Boxes in another format: XYXY, XYWH or CXCYWH.

    Example:
        >>> from tritorch.vision import tv_tensors
        >>> from tritorch.vision.transforms import v2
        >>> boxes = tv_tensors.BoundingBoxes([1, 2, 4, 6], format="XYXY", canvas_size=(8, 8))
        >>> v2.ConvertBoundingBoxFormat("XYWH")(boxes).tolist()
        [[1, 2, 3, 4]]
    """

    def __init__(self, format: BoundingBoxFormat | str) -> None:
        super().__init__()
        self.format = BoundingBoxFormat.of(format)

    def forward(self, *inputs: Any) -> Any:
        def convert(x: Any) -> Any:
            return F.convert_bounding_box_format(x, new_format=self.format)

        return changed(convert, inputs, is_boxes)


class ClampBoundingBoxes(Module):
    """The boxes' parts inside their image."""

    def forward(self, *inputs: Any) -> Any:
        return changed(F.clamp_bounding_boxes, inputs, is_boxes)


def labels_in(inputs: tuple) -> Tensor | None:
    """The labels of a sample: under "labels" in a dict, or under the first name like it."""
    found = next((x for x in (*inputs, *_inside(inputs)) if isinstance(x, Mapping)), {})
    name = "labels" if "labels" in found else next((k for k in found if "label" in str(k)), None)
    if name is None:
        raise ValueError(
            "SanitizeBoundingBoxes: no labels in the sample: name them 'labels' in a dict, pass a "
            "function of the sample as labels_getter, or None where there are none"
        )
    return found[name]


def _inside(inputs: tuple) -> list[Any]:
    return [v for x in inputs if isinstance(x, tuple | list) for v in x]


class SanitizeBoundingBoxes(Module):
    """Removes boxes that are too small or not wholly inside, with their labels and masks.

    Kept are boxes of sides of at least `min_size` and of `min_area`. `labels_getter` is
    "default" (the entry "labels" of a dict in the sample), a function of the sample that gives a
    tensor or several, or None. ValueError for a sample without boxes.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision import tv_tensors
        >>> from tritorch.vision.transforms import v2
        >>> boxes = tv_tensors.BoundingBoxes(
        ...     [[0, 0, 4, 4], [2, 2, 2, 6]], format="XYXY", canvas_size=(8, 8)
        ... )
        >>> out = v2.SanitizeBoundingBoxes()({"boxes": boxes, "labels": torch.tensor([5, 6])})
        >>> out["boxes"].tolist(), out["labels"].tolist()
        ([[0, 0, 4, 4]], [5])
    """

    def __init__(
        self,
        min_size: float = 1.0,
        min_area: float = 1.0,
        labels_getter: Callable | str | None = "default",
    ) -> None:
        super().__init__()
        if min_size < 1 or min_area < 1:
            raise ValueError(f"min_size and min_area should be >= 1, got {min_size}, {min_area}")
        if not (labels_getter in ("default", None) or callable(labels_getter)):
            raise ValueError(
                f"labels_getter should be 'default', a function or None, got {labels_getter!r}"
            )
        self.min_size, self.min_area = min_size, min_area
        self.labels_getter = labels_in if labels_getter == "default" else labels_getter

    def forward(self, *inputs: Any) -> Any:
        values = leaves(inputs)
        boxes = next((x for x in values if is_boxes(x)), None)
        if boxes is None:
            raise ValueError("SanitizeBoundingBoxes: no BoundingBoxes in the sample")
        sample = inputs if self.labels_getter is labels_in else one(inputs)
        labels = None if self.labels_getter is None else self.labels_getter(sample)  # type: ignore[operator]
        labels = labels if isinstance(labels, tuple | list) else [labels]
        _, valid = F.sanitize_bounding_boxes(boxes, min_size=self.min_size, min_area=self.min_area)
        for label in labels:
            if label is not None and (
                not isinstance(label, Tensor) or label.shape[:1] != valid.shape
            ):
                raise ValueError(
                    f"SanitizeBoundingBoxes: expected labels ({valid.shape[0]}, ...), one a box, "
                    f"got {tuple(label.shape) if isinstance(label, Tensor) else type(label)}"
                )

        def kept(x: Any) -> bool:
            per_object = isinstance(x, Mask) and x.ndim == 3 and x.shape[0] == valid.shape[0]
            return x is boxes or per_object or any(x is y for y in labels if y is not None)

        return one(rebuilt(inputs, iter([_rows(x, valid) if kept(x) else x for x in values])))


def _rows(x: Any, valid: Tensor) -> Any:
    return wrap(x[valid], like=x) if isinstance(x, TVTensor) else x[valid]
