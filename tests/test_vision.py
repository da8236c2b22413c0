"""tritorch.vision: transforms, datasets in their published formats, boxes, drawing, models.

Literal values are torchvision's (0.28).
"""

from __future__ import annotations

import gzip
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritorch as torch
from tritorch.vision import datasets, io, models, ops, transforms as T, utils
from tritorch.vision.transforms import InterpolationMode as Mode, functional as F, v2

Image = pytest.importorskip("PIL.Image")
X = (torch.arange(48).reshape(3, 4, 4) * 5).to(torch.uint8)
Y = X.float() / 255


def near(found: torch.Tensor, expected: list[float], tolerance: float = 6e-5) -> None:
    np.testing.assert_allclose(found.double().flatten().tolist(), expected, atol=tolerance)


def picture(h: int = 6, w: int = 8, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (h, w, 3))
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda: F.adjust_hue(Y, 0.25)[:, :1, :2], [0.6275, 0.6471, 0, 0.0196, 0.6275, 0.6471]),
        (lambda: F.adjust_contrast(X, 1.5)[:, 0], [0, 0, 0, 0, 68, 76, 83, 91, 188, 196, 203, 211]),
        (
            lambda: F.adjust_saturation(X, 2.0)[:, 0],
            [0, 0, 0, 0, 95, 100, 105, 110, 255, 255, 255, 255],
        ),
        (lambda: F.adjust_gamma(X, 0.5)[0, :2], [0, 35, 50, 62, 71, 80, 87, 94]),
        (
            lambda: F.gaussian_blur(Y, 3, 0.8)[0, :2],
            [0.0469, 0.0571, 0.0767, 0.0869, 0.0878, 0.098, 0.1176, 0.1279],
        ),
        (lambda: F.rotate(X, 90)[0, :2], [15, 35, 55, 75, 10, 30, 50, 70]),
        (
            lambda: F.rotate(Y, 30, Mode.BILINEAR)[0, :2],
            [0.0084, 0.0339, 0.088, 0.0602, 0.0337, 0.0899, 0.1461, 0.1915],
        ),
        (
            lambda: F.affine(Y, 10, [1, 0], 1.1, [5.0, 2.0], Mode.BILINEAR, fill=[0.5])[0, :2],
            [0.5, 0.1085, 0.0304, 0.0378, 0.4176, 0.0983, 0.1057, 0.1131],
        ),
        (
            lambda: F.perspective(
                Y, [[0, 0], [3, 0], [3, 3], [0, 3]], [[0, 1], [3, 0], [2, 3], [0, 3]]
            )[0, :2],
            [0.0005, 0.0127, 0.0337, 0.0588, 0.0245, 0.0686, 0.1039, 0.0863],
        ),
        (lambda: F.resize(Y, [2, 3])[0], [0.0619, 0.0854, 0.109, 0.1852, 0.2087, 0.2322]),
        (
            lambda: F.resize(Y, [2, 3], antialias=False)[0],
            [0.0425, 0.0686, 0.0948, 0.1993, 0.2255, 0.2516],
        ),
        (
            lambda: F.resize(Y, 6, Mode.BICUBIC)[0, 0],
            [-0.0064, 0.0029, 0.0177, 0.0308, 0.0456, 0.055],
        ),
        (lambda: F.rgb_to_grayscale(X)[0, :2], [65, 70, 75, 80, 85, 90, 95, 100]),
    ],
)
def test_changes_of_tensors(change, expected: list[float]) -> None:
    near(change(), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: F.hflip(x),
        lambda x: F.vflip(x),
        lambda x: F.crop(x, -1, 2, 5, 9),
        lambda x: F.center_crop(x, [4, 12]),
        lambda x: F.pad(x, [1, 2, 3, 1], padding_mode="symmetric"),
        lambda x: F.pad(x, 2, fill=7),
        lambda x: F.pad(x, [2, 1], padding_mode="reflect"),
        lambda x: F.resize(x, [3, 4], Mode.NEAREST_EXACT),
        lambda x: F.invert(x),
        lambda x: F.posterize(x, 2),
        lambda x: F.solarize(x, 100),
        lambda x: F.equalize(x),
    ],
)
def test_tensors_and_pil_images_agree(change) -> None:
    image = picture()
    assert torch.equal(F.pil_to_tensor(change(image)), change(F.pil_to_tensor(image)))


@pytest.mark.parametrize("size", [4, (4,), (3, 9)], ids=str)
def test_resized_shapes(size) -> None:
    image = picture(6, 9)
    expected = (3, 9) if size == (3, 9) else (4, 6)
    assert T.Resize(size)(image).size == expected[::-1]
    assert tuple(T.Resize(size)(F.to_tensor(image)).shape) == (3, *expected)
    assert T.Resize(5, max_size=6)(image).size == (6, 4)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "CMYK", "I", "F", "HSV"])
def test_pil_images_become_tensors_and_come_back(mode: str) -> None:
    image = picture().convert(mode)
    x = T.ToTensor()(image)
    scaled = mode not in ("I", "F")
    assert x.dtype == (torch.float32 if scaled else {"I": torch.int32, "F": torch.float32}[mode])
    raw = np.asarray(image).astype(float) * (255 if mode == "1" else 1)
    raw = raw[..., None] if raw.ndim == 2 else raw
    near(x, (raw.transpose(2, 0, 1) / (255 if scaled else 1)).ravel().tolist(), 1e-6)
    back = F.to_pil_image(x, mode)
    assert back.mode == mode and np.array_equal(np.asarray(back), np.asarray(image))


def test_dtypes_are_converted_by_their_ranges() -> None:
    x = torch.tensor([0, 1, 255], dtype=torch.uint8)
    assert F.convert_image_dtype(x, torch.int16).tolist() == [0, 128, 32640]
    half = torch.tensor([0.0, 0.5, 1.0])
    assert F.convert_image_dtype(half, torch.uint8).tolist() == [0, 127, 255]
    near(F.convert_image_dtype(x), [0, 1 / 255, 1])
    with pytest.raises(RuntimeError, match="cannot be performed safely"):
        F.convert_image_dtype(torch.tensor([0.5]), torch.int64)


RANDOM = [
    T.RandomCrop(4, padding=2),
    T.RandomResizedCrop(5),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.RandomRotation(30),
    T.RandomAffine(20, translate=(0.1, 0.2), scale=(0.8, 1.2), shear=(5, 10, -5, 5)),
    T.RandomPerspective(p=1.0),
    T.ColorJitter(0.4, 0.4, 0.4, 0.2),
    T.RandomGrayscale(0.5),
    T.GaussianBlur(3),
    T.RandomInvert(),
    T.RandomEqualize(1.0),
    T.RandomApply([T.Grayscale(3)], 0.5),
    T.RandomChoice([T.CenterCrop(4), T.Pad(1)]),
    T.RandomOrder([T.CenterCrop(6), T.RandomHorizontalFlip()]),
    T.RandAugment(),
    T.AutoAugment(),
    T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
    T.TrivialAugmentWide(),
]


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_random_transforms_take_both_kinds_and_repeat(transform) -> None:
    import random

    for image in (picture(8, 9), F.pil_to_tensor(picture(8, 9))):
        found = []
        for _ in range(2):
            torch.manual_seed(3)
            random.seed(3)
            found.append(torch.as_tensor(np.array(transform(image))))
        assert torch.equal(*found)


def test_random_transforms_have_their_distributions() -> None:
    torch.manual_seed(0)
    x = torch.arange(6.0).reshape(1, 2, 3)
    flip = T.RandomHorizontalFlip(0.3)
    turned = sum(not torch.equal(flip(x), x) for _ in range(400))
    assert 80 < turned < 160
    places = {T.RandomCrop.get_params(x, (1, 2)) for _ in range(100)}
    assert places == {(i, j, 1, 2) for i in (0, 1) for j in (0, 1)}
    erase = T.RandomErasing(p=1.0, value=7.0)
    image = torch.zeros(3, 20, 20)
    share = [float((erase(image) == 7).float().mean()) for _ in range(50)]
    assert min(share) > 0.01 and max(share) < 0.4 and not image.any()
    rows = [T.RandomRotation.get_params([-10, 10]) for _ in range(200)]
    assert -10 <= min(rows) < -8 and 8 < max(rows) <= 10


def test_sizes_of_the_second_form() -> None:
    image = torch.zeros(3, 5, 7)
    assert v2.functional.get_size(image) == [5, 7] and v2.functional.get_num_channels(image) == 3
    assert v2.functional.get_image_size(image) == [7, 5]


def test_second_form_changes_images_together() -> None:
    change = v2.Compose(
        [v2.ToImage(), v2.RandomResizedCrop(4), v2.RandomHorizontalFlip(),
         v2.ToDtype(torch.float32, scale=True)]
    )  # fmt: skip
    torch.manual_seed(1)
    for _ in range(5):
        image, both = change(picture(), {"same": picture(), "label": 3})
        assert torch.equal(image, both["same"]) and both["label"] == 3
        assert image.dtype == torch.float32 and tuple(image.shape) == (3, 4, 4)
    images, labels = v2.CutMix(num_classes=3)(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    near(labels.sum(1), [1.0] * 4)
    images, labels = v2.MixUp(alpha=0.5, num_classes=3)(torch.ones(4, 1, 2, 2), torch.arange(4) % 3)
    near(images, [1.0] * 16)


def test_texts_of_transforms() -> None:
    text = repr(T.Compose([T.Resize(4), T.ToTensor(), T.Normalize((0.5,), (0.5,))]))
    assert text == (
        "Compose(\n    Resize(size=4, interpolation=bilinear, max_size=None, antialias=True)\n"
        "    ToTensor()\n    Normalize(mean=(0.5,), std=(0.5,))\n)"
    )


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.to_tensor("x"), TypeError, "PIL Image or ndarray"),
        (lambda: F.hflip([1]), TypeError, "hflip: img should be PIL Image or Tensor"),
        (lambda: F.normalize(X, [0.5], [0.5]), TypeError, "float tensor"),
        (lambda: F.normalize(Y, [0.5], [0.0]), ValueError, "std evaluated to zero"),
        (lambda: T.RandomCrop(9)(X), ValueError, r"\(9, 9\) is larger than input .*\(4, 4\)"),
        (lambda: F.pad(X, 1, padding_mode="wrap"), ValueError, "constant, edge, reflect"),
        (lambda: F.gaussian_blur(X, 2), ValueError, "odd and positive"),
        (lambda: F.adjust_hue(Y, 0.7), ValueError, "not in"),
        (lambda: T.Resize((1, 2, 3)), ValueError, "1 or 2 values"),
        (lambda: ops.nms(torch.zeros(2, 3), torch.zeros(2), 0.5), ValueError, r"\(N, 4\)"),
        (lambda: ops.box_convert(torch.zeros(1, 4), "xyxy", "x"), ValueError, "formats are"),
        (lambda: utils.make_grid(3), TypeError, "list of tensors"),
        (lambda: models.get_model("resnet19"), ValueError, "Unknown model resnet19"),
        (lambda: models.resnet18(weights="DEFAULT"), FileNotFoundError, "not downloaded"),
        (
            lambda: models.vgg11(weights=models.VGG11_Weights.DEFAULT),
            FileNotFoundError,
            "not downloaded",
        ),
    ],
)
def test_bad_input_is_explained(call, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


def test_old_pretrained_asks_for_a_file() -> None:
    with (
        pytest.warns(UserWarning, match="deprecated"),
        pytest.raises(FileNotFoundError, match=r"squeezenet1_1\.pth"),
    ):
        models.squeezenet1_1(pretrained=True)
    with pytest.warns(UserWarning, match="deprecated"):
        models.squeezenet1_1(pretrained=False, num_classes=2)


# -- datasets --------------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray, packed: bool = False) -> None:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    data = head + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)


def letters(root, **kwargs):
    return datasets.EMNIST(root, split="letters", **kwargs)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("make", "folder", "stem"),
    [
        (datasets.MNIST, "MNIST", "t10k"),
        (datasets.FashionMNIST, "FashionMNIST", "t10k"),
        (datasets.KMNIST, "KMNIST", "t10k"),
        (letters, "EMNIST", "emnist-letters-test"),
    ],
)
def test_idx_files(tmp_path: Path, make, folder: str, stem: str, packed: bool) -> None:
    images = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251
    raw, end = tmp_path / folder / "raw", ".gz" if packed else ""
    with pytest.raises(RuntimeError, match=r"Dataset not found.*nothing is downloaded.*idx3-ubyte"):
        make(tmp_path, train=False, download=True)
    write_idx(raw / f"{stem}-images-idx3-ubyte{end}", images, packed)
    write_idx(raw / f"{stem}-labels-idx1-ubyte{end}", np.array([3, 1, 4, 1, 5]), packed)
    data = make(str(tmp_path), train=False, download=True, transform=T.ToTensor())
    assert len(data) == 5 and data.targets.tolist() == [3, 1, 4, 1, 5]
    assert data.targets.dtype == torch.int64
    image, target = data[2]
    assert target == 4 and np.allclose(image[0].numpy(), images[2] / 255)
    assert "Number of datapoints: 5" in repr(data) and "Split: Test" in repr(data)


@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
def test_cifar_batches(tmp_path: Path, kind: type) -> None:
    base = tmp_path / kind.base_folder
    with pytest.raises(RuntimeError, match=r"cs\.toronto\.edu"):
        kind(tmp_path, download=True)
    base.mkdir()
    rng, ten = np.random.default_rng(0), kind is datasets.CIFAR10
    everything = []
    for name in kind.train_list:
        rows = rng.integers(0, 256, (4, 3072)).astype(np.uint8)
        everything.append(rows)
        found = {"data": rows, "labels" if ten else "fine_labels": [0, 1, 2, 1]}
        (base / name).write_bytes(pickle.dumps(found))
    (base / kind.meta).write_bytes(pickle.dumps({kind.names: ["plane", "car", "bird"]}))
    data = kind(tmp_path, train=True)
    expected = np.concatenate(everything).reshape(-1, 3, 32, 32)
    assert len(data) == len(expected) and data.targets[:4] == [0, 1, 2, 1]
    assert data.data.shape == (len(expected), 32, 32, 3) and data.class_to_idx["bird"] == 2
    image, target = data[1]
    assert target == 1 and np.array_equal(np.asarray(image), expected[1].transpose(1, 2, 0))
    (base / kind.train_list[0]).write_bytes(pickle.dumps(subprocess.run))
    with pytest.raises(pickle.UnpicklingError, match=r"holds no subprocess\.run"):
        kind(tmp_path)


def test_images_in_folders(tmp_path: Path) -> None:
    for k, name in enumerate(("cats", "dogs", "dogs/deep")):
        (tmp_path / name).mkdir()
        picture(seed=k).save(tmp_path / name / f"{k}.png")
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    data = datasets.ImageFolder(str(tmp_path), transform=T.ToTensor())
    assert data.classes == ["cats", "dogs"] and data.targets == [0, 1, 1]
    x, y = next(iter(torch.utils.data.DataLoader(data, batch_size=3)))
    assert tuple(x.shape) == (3, 3, 6, 8) and y.tolist() == [0, 1, 1]
    assert torch.equal(x[2], F.to_tensor(picture(seed=2)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no valid file for the classes empty"):
        datasets.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="any class folder"):
        datasets.ImageFolder(tmp_path / "empty")


def test_fake_data_is_the_same_each_time() -> None:
    data = datasets.FakeData(4, (3, 8, 8), 5, transform=T.ToTensor())
    assert torch.equal(data[2][0], data[2][0]) and not torch.equal(data[2][0], data[1][0])
    assert all(0 <= data[k][1] < 5 for k in range(4))
    with pytest.raises(IndexError):
        data[4]


# -- boxes -----------------------------------------------------------------------------------------

A = torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 5], [6, 6, 7, 8]])
B = torch.tensor([[1.0, 0, 4, 4], [6, 5, 7, 8]])
ALIGNED = [32.7577, 42.6029, 103.9498, 118.3036, 38.3497, 54.8488, 54.2217, 72.6179]
ADAPTIVE = [51.49, 62.7794, 130.1289, 145.5203, 56.6617, 74.9534, 74.6976, 94.634]


def test_overlaps_of_boxes() -> None:
    near(ops.generalized_box_iou(A, B), [0.75, -0.6607, 0.3619, -0.7381, -0.7083, 0.6667])
    near(ops.distance_box_iou(A, B), [0.7422, -0.3584, 0.3918, -0.3824, -0.41, 0.6417])
    near(ops.complete_box_iou(A, B), [0.7419, -0.3654, 0.3915, -0.3824, -0.4102, 0.6415])
    near(ops.complete_box_iou_loss(A[:2], B), [0.2581, 1.3824])
    near(ops.generalized_box_iou_loss(A[:2], B), [0.25, 1.7381])
    for kind in ("xywh", "cxcywh"):
        assert torch.equal(ops.box_convert(ops.box_convert(A, "xyxy", kind), kind, "xyxy"), A)
    assert ops.clip_boxes_to_image(A - 2, (3, 4)).tolist()[0] == [0, 0, 2, 2]
    assert ops.remove_small_boxes(A, 1.5).tolist() == [0, 1]
    masks = torch.zeros(2, 5, 6, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    assert ops.masks_to_boxes(masks).tolist() == [[2, 1, 5, 2], [0, 0, 0, 0]]


def test_suppression_keeps_what_the_definition_keeps() -> None:
    rng = np.random.default_rng(0)
    corner = rng.random((60, 2)) * 20
    boxes = torch.tensor(np.hstack([corner, corner + 1 + rng.random((60, 2)) * 8]))
    scores, groups = torch.tensor(rng.random(60)), torch.tensor(rng.integers(0, 3, 60))
    iou = ops.box_iou(boxes, boxes)
    for together in (True, False):
        kept: list[int] = []
        for k in scores.argsort(descending=True).tolist():
            rivals = [j for j in kept if together or groups[j] == groups[k]]
            if all(iou[k, j] <= 0.3 for j in rivals):
                kept.append(k)
        found = ops.batched_nms(boxes, scores, groups * (not together), 0.3)
        assert found.tolist() == kept and 5 < len(kept) < 60
    assert torch.equal(ops.nms(boxes, scores, 0.3), ops.batched_nms(boxes, scores, groups * 0, 0.3))
    assert ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_regions_are_aligned() -> None:
    x = (torch.arange(36.0).reshape(1, 1, 6, 6) ** 1.5).requires_grad_()
    boxes = torch.tensor([[0, 0.5, 1, 4.5, 5], [0, -0.5, 2, 5.9, 3]])
    near(ops.roi_align(x, boxes, 2, 1.0, 2, True), ALIGNED, 2e-4)
    near(ops.roi_align(x, [boxes[:, 1:]], 2), ADAPTIVE, 2e-4)
    module = ops.RoIAlign((2, 3), 0.5, 2)
    y = torch.rand(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[1.0, 0, 0, 6, 7], [0, 2, 2, 20, 20]])
    assert torch.autograd.gradcheck(lambda v: module(v, rois), (y,))
    assert tuple(module(y, torch.zeros(0, 5)).shape) == (0, 3, 2, 3)


def test_regions_are_pooled() -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    found = ops.roi_pool(x, torch.tensor([[1.0, 1, 2, 6, 5], [0, 6, 6, 30, 30]]), (2, 3))
    assert torch.equal(found[0, :, 0, 0], x[1, :, 2:4, 1:3].amax((1, 2)))
    assert torch.equal(found[0, :, 1, 2], x[1, :, 4:6, 5:7].amax((1, 2)))
    assert tuple(found.shape) == (2, 3, 2, 3) and found[1, 0, 1, 2] == 0
    found.sum().backward()
    assert x.grad.sum() > 0


def test_focal_loss() -> None:
    z, t = torch.tensor([-2.0, 0, 1.5, 3]), torch.tensor([0.0, 1, 1, 0])
    near(ops.sigmoid_focal_loss(z, t), [0.0014, 0.0433, 0.0017, 2.0747])
    near(ops.sigmoid_focal_loss(z, t, -1, 1.0, "sum"), [3.302452])
    with pytest.raises(ValueError, match="reduction"):
        ops.sigmoid_focal_loss(z, t, reduction="x")


def test_layers_of_vision_models() -> None:
    torch.manual_seed(0)
    x = torch.ones(500, 2, 1, 1)
    rows = ops.stochastic_depth(x, 0.25, "row")
    assert {round(v, 4) for v in rows.flatten().tolist()} == {0.0, 1.3333}
    assert 0.65 < float((rows[:, 0] != 0).float().mean()) < 0.85
    assert ops.StochasticDepth(0.5, "batch").eval()(x) is x
    frozen, norm = ops.FrozenBatchNorm2d(3), torch.nn.BatchNorm2d(3).eval()
    norm.running_mean += torch.rand(3)
    norm.running_var *= 2
    frozen.load_state_dict(norm.state_dict())
    y = torch.rand(2, 3, 4, 4)
    assert torch.allclose(frozen(y), norm(y), atol=1e-6) and not list(frozen.parameters())
    maps = {"a": torch.rand(1, 3, 8, 8), "b": torch.rand(1, 4, 4, 4)}
    out = ops.FeaturePyramidNetwork([3, 4], 5)(maps)
    assert [tuple(v.shape) for v in out.values()] == [(1, 5, 8, 8), (1, 5, 4, 4)]
    assert tuple(ops.MLP(3, [4, 2])(torch.zeros(5, 3)).shape) == (5, 2)
    assert tuple(ops.SqueezeExcitation(4, 2)(torch.ones(1, 4, 3, 3)).shape) == (1, 4, 3, 3)


# -- grids, drawing, models ------------------------------------------------------------------------


def test_grids_are_saved(tmp_path: Path) -> None:
    images = torch.arange(5.0).reshape(5, 1, 1, 1).expand(5, 1, 2, 3)
    grid = utils.make_grid(images, nrow=3, padding=1, normalize=True, pad_value=0.5)
    assert tuple(grid.shape) == (3, 7, 13)
    assert grid[0, 4].tolist() == [0.5, *[0.75] * 3, 0.5, *[1.0] * 3, 0.5, *[0.5] * 4]
    utils.save_image(images / 4, tmp_path / "grid.png", nrow=3, padding=1)
    saved = io.read_image(tmp_path / "grid.png")
    assert saved[0, 1].tolist() == [0, 0, 0, 0, 0, 64, 64, 64, 0, 128, 128, 128, 0]
    assert torch.equal(io.decode_image(io.encode_png(saved)), saved)


def test_boxes_and_masks_are_drawn() -> None:
    image = torch.zeros(3, 12, 12, dtype=torch.uint8)
    boxes = torch.tensor([[1, 2, 8, 9]])
    out = utils.draw_bounding_boxes(image, boxes, labels=["a"], colors="red")
    assert out[:, 2, 1].tolist() == [255, 0, 0] and out[:, 9, 8].tolist() == [255, 0, 0]
    assert not image.any() and out[:, 11, 11].tolist() == [0, 0, 0]
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[3] = True
    out = utils.draw_segmentation_masks(image, mask, alpha=0.5, colors=["blue"])
    assert out[:, 3, 5].tolist() == [0, 0, 127] and out[:, 4, 5].tolist() == [0, 0, 0]


# The number of parameters, of torchvision's models.
SMALL = {
    "alexnet": 61100840,
    "squeezenet1_0": 1248424,
    "squeezenet1_1": 1235496,
    "mobilenet_v2": 3504872,
    "densenet121": 7978856,
    "resnet101": 44549160,
    "resnext50_32x4d": 25028904,
    "wide_resnet50_2": 68883240,
    "vgg16_bn": 138365992,
    "vit_b_16": 86567656,
}


@pytest.mark.parametrize(("name", "count"), SMALL.items())
def test_models_have_as_many_parameters(name: str, count: int) -> None:
    with torch.device("meta"):
        model = models.get_model(name)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "googlenet"])
def test_models_run_and_learn(name: str, tmp_path: Path) -> None:
    settings = {"init_weights": False} if name == "googlenet" else {}
    model = models.get_model(name, num_classes=3, **settings)
    out = model(torch.rand(2, 3, 32, 32))
    logits = out.logits if name == "googlenet" else out
    assert tuple(logits.shape) == (2, 3)
    sum(o.sum() for o in out).backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    again = models.get_model(name, weights=tmp_path / "weights.pth", num_classes=3, **settings)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model.eval()(x), again.eval()(x))


PROGRAM = """
import torch
import torchvision
from torchvision import datasets, models, transforms
from torchvision.models import resnet18, ResNet18_Weights
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import functional as TF
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.ops import SomethingElse
import torchvision.transforms.v2 as T2

assert torchvision.__version__ >= "0.2" and ".png" in IMG_EXTENSIONS
data = datasets.FakeData(4, (3, 8, 8), 3, transform=transforms.ToTensor())
x, y = next(iter(torch.utils.data.DataLoader(data, batch_size=4)))
print(torchvision.utils.make_grid(x).shape, type(x) is torch.Tensor)
try:
    SomethingElse()
except NotImplementedError as error:
    print(error)
"""


def test_programs_import_it_as_torchvision(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tritorch", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Size([3, 12, 42]) True" in done.stdout
    assert "torchvision.ops.SomethingElse: tritorch does not have it" in done.stdout


def test_without_pillow_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"pip install 'tritorch\[vision\]'"):
        F.to_pil_image(X)
    assert importlib.import_module("tritorch.vision").get_image_backend() == "PIL"
