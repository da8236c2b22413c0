"""Images with what is drawn on them: boxes, masks and labels through the transforms of `v2`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.vision import tv_tensors
from tritorch.vision.transforms import v2
from tritorch.vision.tv_tensors import BoundingBoxes, Image, Mask, Video

F = v2.functional


def boxes(values: Any = ((1, 0, 3, 2), (4, 1, 8, 4)), form: str = "XYXY", **given: Any) -> Any:
    return BoundingBoxes(values, format=form, canvas_size=(4, 10), **given)


# -- the classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [Image(torch.zeros(3, 2, 2)), Mask(torch.zeros(2, 2)), boxes()])
def test_operators_give_plain_tensors_and_copies_the_class(x: Any) -> None:
    for plain in (x + 1, x[0], x.float().mul_(2), x.reshape(-1), x.clone().add_(1), -x):
        assert type(plain) is torch.Tensor
    for same in (x.clone(), x.detach(), x.to(torch.float64), x.to(torch.float32).requires_grad_(),
                 copy.deepcopy(x), copy.copy(x), pickle.loads(pickle.dumps(x))):  # fmt: skip
        assert type(same) is type(x) and same.tolist() == x.tolist()
        if isinstance(x, BoundingBoxes):
            assert same.format == x.format and same.canvas_size == (4, 10)
    assert type(x.as_subclass(torch.Tensor)) is torch.Tensor


def test_shapes_that_a_class_takes() -> None:
    assert Image(np.zeros((2, 3), np.uint8)).shape == (1, 2, 3)
    assert boxes([1, 2, 3, 4]).shape == (1, 4) and boxes([]).shape == (0, 4)
    for wrong in (lambda: Image([1]), lambda: Video(torch.zeros(3, 2, 2)), lambda: boxes([[1, 2]]),
                  lambda: boxes(form="LTRB")):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            wrong()
    data = torch.zeros(1, 2, 2)
    image = Image(data)
    data[0, 0, 0] = 5.0
    assert image[0, 0, 0] == 5.0 and Image(data, dtype=torch.uint8).dtype == torch.uint8


def test_wrap_and_set_return_type() -> None:
    half = tv_tensors.wrap(boxes() * 2, like=boxes(), canvas_size=(8, 20))
    assert half.tolist() == [[2, 0, 6, 4], [8, 2, 16, 8]] and half.canvas_size == (8, 20)
    with tv_tensors.set_return_type("TVTensor"):
        kept = boxes() + 1
        assert type(kept) is BoundingBoxes and kept.canvas_size == (4, 10)
        assert type(v2.ToPureTensor()(boxes())) is torch.Tensor
        assert "canvas_size=(4, 10)" in repr(kept)
    assert type(boxes() + 1) is torch.Tensor
    with pytest.raises(ValueError, match="TVTensor"):
        tv_tensors.set_return_type("image")


# -- boxes -----------------------------------------------------------------------------------------

MOVED = [
    (v2.RandomHorizontalFlip(1.0), [[7, 0, 9, 2], [2, 1, 6, 4]], (4, 10)),
    (v2.RandomVerticalFlip(1.0), [[1, 2, 3, 4], [4, 0, 8, 3]], (4, 10)),
    (v2.Resize((8, 5)), [[0, 0, 1, 4], [2, 2, 4, 8]], (8, 5)),
    (v2.Resize(8), [[2, 0, 6, 4], [8, 2, 16, 8]], (8, 20)),
    (v2.CenterCrop((2, 4)), [[0, 0, 0, 1], [1, 0, 4, 2]], (2, 4)),
    (v2.CenterCrop((6, 12)), [[2, 1, 4, 3], [5, 2, 9, 5]], (6, 12)),
    (v2.Pad((1, 2, 3, 4)), [[2, 2, 4, 4], [5, 3, 9, 6]], (10, 14)),
    (v2.RandomCrop((4, 10)), [[1, 0, 3, 2], [4, 1, 8, 4]], (4, 10)),
    (v2.RandomRotation((180, 180)), [[7, 2, 9, 4], [2, 0, 6, 3]], (4, 10)),
    (v2.RandomRotation((90, 90)), [[3, 4, 5, 4], [4, 0, 7, 3]], (4, 10)),
    (v2.RandomAffine(0, scale=(0.5, 0.5)), [[3, 1, 4, 2], [4, 1, 6, 3]], (4, 10)),
    (v2.RandomPerspective(0.0, p=1.0), [[1, 0, 3, 2], [4, 1, 8, 4]], (4, 10)),
    (v2.ColorJitter(0.5), [[1, 0, 3, 2], [4, 1, 8, 4]], (4, 10)),
]  # fmt: skip


@pytest.mark.parametrize(("change", "corners", "canvas"), MOVED, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_move_with_their_image(change: Any, corners: list, canvas: tuple, form: str) -> None:
    given = F.convert_bounding_box_format(boxes(dtype=torch.float64), new_format=form)
    image, out = change(Image(torch.rand(3, 4, 10)), given)
    assert type(out) is BoundingBoxes and out.format.value == form
    assert out.canvas_size == canvas == tuple(image.shape[-2:])
    back = F.convert_bounding_box_format(out, new_format="XYXY")
    assert (back + 1e-9).trunc().tolist() == corners
    if form == "XYXY":
        assert change(boxes()).tolist() == corners


def test_boxes_are_those_of_the_pixels_of_their_masks() -> None:
    """A rectangle of ones stays where its box says, by one draw for both."""
    mask = torch.zeros(1, 16, 20, dtype=torch.uint8)
    mask[:, 4:10, 6:15] = 1
    box = BoundingBoxes([6, 4, 15, 10], format="XYXY", canvas_size=(16, 20))
    changes = [v2.RandomCrop(12), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(),
               v2.RandomAffine(0, translate=(0.2, 0.2)), v2.Pad(2)]  # fmt: skip
    for seed in range(8):
        torch.manual_seed(seed)
        m, b = v2.Compose(changes)(Mask(mask), box)
        rows, columns = np.nonzero(m[0].numpy())
        left, top, right, bottom = b[0].tolist()
        assert (columns.min(), rows.min()) == (left, top)
        assert (columns.max() + 1, rows.max() + 1) == (right, bottom)


@pytest.mark.parametrize("form", ["XYXY", "CXCYWH"])
def test_turned_and_bent_boxes_surround_their_masks(form: str) -> None:
    mask = torch.zeros(1, 80, 100, dtype=torch.uint8)
    mask[:, 30:50, 40:65] = 1
    box = BoundingBoxes([[40.0, 30.0, 65.0, 50.0]], format="XYXY", canvas_size=(80, 100))
    changes = [v2.RandomRotation(60), v2.RandomRotation((35, 35), expand=True),
               v2.RandomRotation(20, center=[10, 20]), v2.RandomPerspective(0.6, p=1.0),
               v2.RandomAffine(30, translate=(0.1, 0.1), scale=(0.5, 1.2), shear=(5, 20, -9, 9)),
               v2.RandomResizedCrop((64, 96), scale=(0.8, 1.0), ratio=(1.0, 1.2))]  # fmt: skip
    for seed, change in enumerate(changes * 3):
        torch.manual_seed(seed)
        m, b = change(Mask(mask), F.convert_bounding_box_format(box, new_format=form))
        rows, columns = np.nonzero(m[0].numpy())
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert b.canvas_size == tuple(m.shape[-2:])
        found = F.convert_bounding_box_format(b, new_format="XYXY")[0].tolist()
        np.testing.assert_allclose(found, seen, atol=2.0)  # pixels cut off corners


def test_formats_clamping_and_sanitizing() -> None:
    assert v2.ConvertBoundingBoxFormat("CXCYWH")(boxes()).tolist() == [[2, 1, 2, 2], [6, 2, 4, 3]]
    wide = boxes([[-2, 1, 12, 3]])
    assert v2.ClampBoundingBoxes()(wide).tolist() == [[0, 1, 10, 3]]
    assert F.clamp_bounding_boxes(wide + 0, "XYXY", (2, 5)).tolist() == [[0, 1, 5, 2]]
    with pytest.raises(ValueError, match="canvas_size"):
        F.clamp_bounding_boxes(torch.zeros(1, 4))
    sample = {"boxes": boxes([[1, 0, 3, 2], [4, 1, 4, 3], [8, 0, 12, 2], [0, 0, 9, 4]]),
              "labels": torch.arange(4), "masks": Mask(torch.arange(4).reshape(4, 1, 1)),
              "area": torch.arange(4)}  # fmt: skip
    _, out = v2.SanitizeBoundingBoxes(min_size=2)(torch.zeros(3, 4, 10), sample)
    assert out["boxes"].tolist() == [[1, 0, 3, 2], [0, 0, 9, 4]] and out["labels"].tolist() == [
        0,
        3,
    ]
    assert type(out["masks"]) is Mask and out["masks"].flatten().tolist() == [0, 3]
    assert out["area"].shape == (4,) and type(out["boxes"]) is BoundingBoxes
    by = v2.SanitizeBoundingBoxes(min_area=10, labels_getter=lambda s: (s["labels"], s["area"]))
    assert by(sample)["area"].tolist() == [3]
    with pytest.raises(ValueError, match="labels_getter"):
        v2.SanitizeBoundingBoxes()(boxes())
    with pytest.raises(ValueError, match="no BoundingBoxes"):
        v2.SanitizeBoundingBoxes(labels_getter=None)(torch.zeros(3, 4, 4))


@pytest.mark.parametrize("change", [v2.FiveCrop(2), v2.RandAugment(), v2.TrivialAugmentWide()])
def test_what_boxes_cannot_follow_refuses_them(change: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(change).__name__}.*BoundingBoxes"):
        change(Image(torch.zeros(3, 4, 10, dtype=torch.uint8)), boxes())
    with pytest.raises(TypeError, match="invert: boxes have no colours"):
        F.invert(boxes())
    with pytest.raises(ValueError, match="constant"):
        v2.Pad(1, padding_mode="reflect")(boxes())


# -- masks, plain tensors, dtypes ------------------------------------------------------------------


def test_masks_change_by_the_nearest_pixel_and_keep_their_values() -> None:
    mask = Mask([[0, 7], [3, 0]])
    image, out = v2.Resize((4, 4))(Image(torch.rand(3, 2, 2)), mask)
    assert out.tolist() == [[0, 0, 7, 7], [0, 0, 7, 7], [3, 3, 0, 0], [3, 3, 0, 0]]
    assert type(out) is Mask and type(image) is Image
    turned = v2.RandomRotation((30, 30), interpolation=v2.InterpolationMode.BILINEAR)(mask)
    assert set(turned.flatten().tolist()) <= {0, 3, 7}
    assert v2.Resize((3, 5))(Mask(torch.zeros(0, 2, 2))).shape == (0, 3, 5)
    for change in (v2.ColorJitter(0.5), v2.RandomInvert(1.0), v2.GaussianBlur(3),
                   v2.Normalize([0.5], [0.5]), v2.RandomErasing(1.0), v2.Grayscale()):  # fmt: skip
        assert change(Image(torch.rand(3, 4, 4)), mask)[1] is mask


def test_plain_tensors_beside_an_image_stay() -> None:
    flip = v2.RandomHorizontalFlip(1.0)
    a, b = torch.tensor([[1, 2]]), torch.tensor([[3, 4]])
    image, target = flip(Image(a), {"boxes": b, "id": 4, "name": "cat"})
    assert image.tolist() == [[[2, 1]]] and target["boxes"] is b
    assert target["id"] == 4 and target["name"] == "cat"
    first, second = flip(a, b)
    assert first.tolist() == [[2, 1]] and second is b
    label = torch.tensor([1, 2, 3])
    assert flip(label, b)[0] is label and flip(label, b)[1].tolist() == [[4, 3]]
    assert [x.tolist() for x in flip(Mask(a), b)] == [[[2, 1]], [[4, 3]]]


def test_dtypes_by_class() -> None:
    image, mask = Image(torch.full((1, 1, 1), 255, dtype=torch.uint8)), Mask([[1]])
    scaled = v2.ToDtype(torch.float32, scale=True)(image, mask, boxes())
    assert scaled[0].tolist() == [[[1.0]]] and type(scaled[0]) is Image
    assert scaled[1] is mask and scaled[2].dtype == torch.int64
    by = {Image: torch.float64, Mask: torch.uint8, "others": None}
    image, mask, box = v2.ToDtype(by, scale=True)(image, mask, boxes())
    assert image.tolist() == [[[1.0]]] and mask.tolist() == [[1]] and mask.dtype == torch.uint8
    assert image.dtype == torch.float64 and box.dtype == torch.int64
    with pytest.raises(ValueError, match="Mask"):
        v2.ToDtype({Image: torch.float32})(mask)


def test_a_detection_sample_goes_through_the_tutorials_transforms() -> None:
    image = v2.ToImage()(np.arange(8, dtype=np.uint8).reshape(2, 4, 1))
    target = {
        "boxes": BoundingBoxes([[0, 0, 1, 2]], format="XYXY", canvas_size=F.get_size(image)),
        "masks": Mask([[[1, 0, 0, 0], [1, 0, 0, 0]]]),
        "labels": torch.tensor([1]),
        "image_id": 9,
    }
    change = v2.Compose(
        [v2.RandomHorizontalFlip(1.0), v2.ToDtype(torch.float, scale=True), v2.ToPureTensor()]
    )
    image, out = change(image, target)
    assert (image * 255).round().tolist() == [[[3.0, 2.0, 1.0, 0.0], [7.0, 6.0, 5.0, 4.0]]]
    assert out["boxes"].tolist() == [[3, 0, 4, 2]] and out["labels"].tolist() == [1]
    assert out["masks"].tolist() == [[[0, 0, 0, 1], [0, 0, 0, 1]]] and out["image_id"] == 9
    assert {type(x) for x in (image, out["boxes"], out["masks"])} == {torch.Tensor}
