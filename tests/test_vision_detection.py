"""Detectors and segmentations of tritorch.vision: torchvision's parameters, losses, detections.

Literal losses, boxes and scores are torchvision's (0.28), with the same weights and images. The
numbers of parameters are those that it publishes, of models whose normalisations are frozen.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import nn
from tritorch.vision import models
from tritorch.vision.models import detection as D, segmentation as S
from tritorch.vision.models._utils import IntermediateLayerGetter
from tritorch.vision.models.detection import _utils as det, keypoint_rcnn, mask_rcnn, rpn, ssd
from tritorch.vision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from tritorch.vision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from tritorch.vision.models.detection.image_list import ImageList
from tritorch.vision.models.detection.retinanet import RetinaNetHead
from tritorch.vision.models.detection.transform import GeneralizedRCNNTransform
from tritorch.vision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d, MultiScaleRoIAlign
from tritorch.vision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7


class Pyramid(nn.Module):
    """Maps of 32 channels, each half as large as the one before."""

    def __init__(self, names: str = "0 1 2 pool", out_channels: Any = 32) -> None:
        super().__init__()
        self.names, self.out_channels = names.split(), out_channels
        self.stem = nn.Conv2d(3, 32, 3, 4, 1)
        self.down = nn.ModuleList([nn.Conv2d(32, 32, 3, 2, 1) for _ in self.names[1:]])

    def forward(self, x: Any) -> OrderedDict:
        x = torch.relu(self.stem(x))
        out = OrderedDict([(self.names[0], x)])
        for name, conv in zip(self.names[1:], self.down, strict=True):
            out[name] = x = torch.relu(conv(x))
        return out


def fill(model: nn.Module) -> Any:
    """The same weights wherever a model has parameters of these names."""
    state = {}
    for name, value in model.state_dict().items():
        r, shape = np.random.default_rng(zlib.crc32(name.encode())), tuple(value.shape)
        if len(shape) == 1 and name.endswith("weight"):
            x = r.uniform(0.3, 0.8, shape)
        elif len(shape) == 1:
            x = r.normal(size=shape) * 0.05
        else:
            x = r.normal(size=shape) * np.sqrt(1.6 / np.prod(shape[1:]))
        if "bbox_pred" in name or "bbox_reg" in name:
            x = x * 0.2
        state[name] = torch.from_numpy(np.asarray(x, np.float32))
    model.load_state_dict(state)
    return model


def pictures() -> list:
    r = np.random.default_rng(0)
    return [torch.from_numpy(r.uniform(size=s).astype(np.float32)) for s in SHAPES]


SHAPES = ((3, 100, 120), (3, 90, 140))


def truths() -> list[dict[str, Any]]:
    masks = torch.zeros(2, 100, 120, dtype=torch.uint8), torch.zeros(1, 90, 140, dtype=torch.uint8)
    masks[0][0, 10:50, 10:60] = masks[0][1, 40:90, 30:100] = masks[1][0, 20:70, 20:100] = 1
    points = np.random.default_rng(3).uniform(12, 48, size=(2, 17, 3))
    points[..., 2], points[1, :, :2] = 1, points[1, :, :2] + 30
    more = np.random.default_rng(4).uniform(22, 68, size=(1, 17, 3))
    more[..., 2] = np.arange(17) % 3 > 0
    boxes = [[10.0, 10, 60, 50], [30, 40, 100, 90]], [[20.0, 20, 100, 70]]
    rows = zip(boxes, ([1, 3], [2]), masks, (points, more), strict=True)
    return [
        {
            "boxes": torch.tensor(b),
            "labels": torch.tensor(n),
            "masks": m,
            "keypoints": torch.from_numpy(p.astype(np.float32)),
        }
        for b, n, m, p in rows
    ]


SIZE: dict[str, Any] = {"min_size": 96, "max_size": 150}
FEW = {"score_thresh": 0.0, "topk_candidates": 30}


def pool(size: int) -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign(["0", "1", "2"], size, 2)


def two_stages(kind: Any, **heads: Any) -> Any:
    """So many anchors and proposals are sampled that all are."""
    return kind(
        Pyramid(),
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 4),
        box_roi_pool=pool(7),
        box_head=TwoMLPHead(32 * 49, 64),
        box_predictor=FastRCNNPredictor(64, 5),
        rpn_batch_size_per_image=10**5,
        box_batch_size_per_image=10**5,
        rpn_pre_nms_top_n_train=60,
        rpn_post_nms_top_n_train=30,
        rpn_pre_nms_top_n_test=60,
        rpn_post_nms_top_n_test=20,
        box_score_thresh=0.0,
        box_detections_per_img=10,
        **SIZE,
        **heads,
    )


def masks() -> Any:
    head, predictor = mask_rcnn.MaskRCNNHeads(32, (32,), 1), mask_rcnn.MaskRCNNPredictor(32, 32, 5)
    parts = {"mask_head": head, "mask_predictor": predictor, "mask_roi_pool": pool(14)}
    return two_stages(D.MaskRCNN, **parts)


def keypoints() -> Any:
    head = keypoint_rcnn.KeypointRCNNHeads(32, (32,))
    predictor = keypoint_rcnn.KeypointRCNNPredictor(32, 17)
    parts = {"keypoint_head": head, "keypoint_predictor": predictor}
    return two_stages(D.KeypointRCNN, **parts, keypoint_roi_pool=pool(14))


def retina(kind: str = "l1") -> Any:
    sizes = tuple((n, int(n * 1.26), int(n * 1.59)) for n in (8, 16, 32, 64))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 4)
    head = RetinaNetHead(32, 9, 5, None if kind == "l1" else partial(nn.GroupNorm, 32))
    head.regression_head._loss_type = kind
    parts = {"anchor_generator": anchors, "head": head}
    return D.RetinaNet(Pyramid("0 1 2 3"), 5, **SIZE, **parts, **FEW)


def single_shot() -> Any:
    boxes = DefaultBoxGenerator([[2], [2, 3], [2], [2]])
    return D.SSD(Pyramid("0 1 2 3", [32] * 4), boxes, (96, 96), 5, **FEW)


TWO = {
    "loss_classifier": 1.836339,
    "loss_box_reg": 0.00984116,
    "loss_objectness": 0.6846828,
    "loss_rpn_box_reg": 0.00039633,
}
DETECTORS: dict[str, tuple[Any, dict[str, float]]] = {
    "faster": (lambda: two_stages(D.FasterRCNN), TWO),
    "mask": (masks, {**TWO, "loss_mask": 0.6680529}),
    "keypoint": (keypoints, {**TWO, "loss_keypoint": 8.031169}),
    "retina": (retina, {"classification": 875.551514, "bbox_regression": 0.7053724}),
    "retina_v2": (
        lambda: retina("giou"),
        {"classification": 934.324524, "bbox_regression": 0.5210615},
    ),
    "fcos": (
        lambda: D.FCOS(Pyramid("0 1 2 3 4"), 5, **SIZE, **FEW),
        {"classification": 16.007278, "bbox_regression": 0.999976, "bbox_ctrness": 0.7353445},
    ),
    "ssd": (single_shot, {"bbox_regression": 2.8718717, "classification": 12.072338}),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_losses_are_torchvisions(name: str) -> None:
    make, expected = DETECTORS[name]
    model = fill(make())
    losses = model(pictures(), truths())
    assert losses.keys() == expected.keys()
    for key, loss in losses.items():
        assert loss.item() == pytest.approx(expected[key], rel=2e-5), key
    total: Any = sum(losses.values())
    total.backward()
    assert all(p.grad is not None for p in model.parameters())


FOUND: dict[str, Any] = {  # how many, boxes of the first image, scores and labels of the second
    "faster": (
        [10, 10],
        [[16.6323, 22.561, 29.605, 40.5504], [77.8674, 1.2546, 89.6943, 20.2795]],
        [0.449338, 0.374818, 0.330509],
        [1, 3, 4],
    ),
    "mask": (
        [10, 10],
        [[16.6323, 22.561, 29.605, 40.5504], [77.8674, 1.2546, 89.6943, 20.2795]],
        [0.449338, 0.374818, 0.330509],
        [1, 3, 4],
    ),
    "keypoint": (
        [10, 10],
        [[16.6323, 22.561, 29.605, 40.5504], [77.8674, 1.2546, 89.6943, 20.2795]],
        [0.449338, 0.374818, 0.330509],
        [1, 3, 4],
    ),
    "retina": (
        [99, 99],
        [[66.2697, 67.2528, 74.9488, 75.1531], [20.9094, 13.5734, 28.4945, 21.6928]],
        [0.826832, 0.815495, 0.809908],
        [1, 1, 1],
    ),
    "retina_v2": (
        [104, 109],
        [[79.9636, 33.7809, 87.7684, 50.1104], [25.413, 10.3353, 45.1521, 27.2401]],
        [0.915834, 0.887846, 0.885836],
        [0, 1, 1],
    ),
    "fcos": (
        [100, 100],
        [[58.4348, 57.5505, 58.4348, 60.4385], [33.3913, 58.1563, 33.3913, 58.3333]],
        [0.751898, 0.731554, 0.712569],
        [2, 2, 2],
    ),
    "ssd": (
        [109, 105],
        [[18.0683, 45.5613, 42.3569, 57.7625], [26.6814, 62.5107, 43.6058, 90.207]],
        [0.911059, 0.896269, 0.885665],
        [1, 4, 4],
    ),
}
MASKS = [1274.398, 1121.052]
POINTS = [[20.125, 24.0601, 1.0], [25.1144, 33.0548, 1.0]]


@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_torchvisions(name: str) -> None:
    model = fill(DETECTORS[name][0]()).eval()
    with torch.no_grad():
        first, second = model(pictures())
    sizes, boxes, scores, labels = FOUND[name]
    assert [len(first["boxes"]), len(second["boxes"])] == sizes
    np.testing.assert_allclose(first["boxes"][:2].numpy(), boxes, atol=2e-3)
    np.testing.assert_allclose(second["scores"][:3].numpy(), scores, atol=1e-5)
    assert second["labels"][:3].tolist() == labels
    for found, (_, h, w) in zip((first, second), SHAPES, strict=True):
        n = len(found["boxes"])
        assert found["boxes"].min() >= 0 and (found["scores"].diff() <= 0).all()
        assert found["boxes"][:, 2].max() <= w + 1e-3 and found["boxes"][:, 3].max() <= h + 1e-3
        if name == "mask":
            assert found["masks"].shape == (n, 1, h, w) and found["masks"].dtype == torch.float32
        if name == "keypoint":
            assert found["keypoints"].shape == (n, 17, 3)
            assert found["keypoints_scores"].shape == (n, 17)
    if name == "mask":
        assert [float(m["masks"].sum()) for m in (first, second)] == pytest.approx(MASKS, rel=1e-4)
    if name == "keypoint":
        np.testing.assert_allclose(first["keypoints"][0, :2].numpy(), POINTS, atol=2e-3)


def test_detectors_learn_from_images_without_boxes() -> None:
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for name in ("faster", "retina", "fcos", "ssd"):
        losses = fill(DETECTORS[name][0]())(pictures(), [nothing, nothing])
        assert all(torch.isfinite(x) for x in losses.values())
        box = next(v for k, v in losses.items() if "reg" in k)
        assert box.item() == 0.0


# -- torchvision's models --------------------------------------------------------------------------

PUBLISHED = {
    "fasterrcnn_resnet50_fpn": 41_755_286,
    "fasterrcnn_mobilenet_v3_large_fpn": 19_386_354,
    "maskrcnn_resnet50_fpn": 44_401_393,
    "keypointrcnn_resnet50_fpn": 59_137_258,
    "retinanet_resnet50_fpn": 34_014_999,
    "fcos_resnet50_fpn": 32_269_600,
    "ssd300_vgg16": 35_641_826,
}
LEARNED = {  # whose normalisations are not frozen
    "fasterrcnn_resnet50_fpn_v2": 43_712_278,
    "maskrcnn_resnet50_fpn_v2": 46_359_409,
    "retinanet_resnet50_fpn_v2": 38_198_935,
    "ssdlite320_mobilenet_v3_large": 3_440_060,
    "lraspp_mobilenet_v3_large": 3_221_538,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
}
AUXILIARY = {
    "fcn_resnet50": 35_322_218,
    "fcn_resnet101": 54_314_346,
    "deeplabv3_resnet50": 42_004_074,
    "deeplabv3_resnet101": 60_996_202,
    "deeplabv3_mobilenet_v3_large": 11_029_328,
}


def count(model: nn.Module, frozen: bool = False) -> int:
    """Of the parameters; those of batch normalisations are buffers where they are frozen."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)] if frozen else []
    less = {id(p) for m in norms for p in m.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in less)


QUICK = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "deeplabv3_resnet50")
EACH = [
    n if "mobilenet" in n or n in QUICK else pytest.param(n, marks=pytest.mark.slow)
    for n in (*PUBLISHED, *LEARNED, *AUXILIARY)
]


@pytest.mark.parametrize("name", EACH)
def test_models_have_the_published_number_of_parameters(name: str) -> None:
    kwargs: dict[str, Any] = {"aux_loss": True} if name in AUXILIARY else {}
    if not name.startswith("mobilenet"):
        kwargs["weights_backbone"] = None
    model = models.get_model(name, weights=None, **kwargs)
    assert count(model, name in PUBLISHED) == {**PUBLISHED, **LEARNED, **AUXILIARY}[name]


def test_names_of_parameters() -> None:
    names = set(D.fasterrcnn_resnet50_fpn(weights_backbone=None, num_classes=2).state_dict())
    assert {
        "backbone.body.conv1.weight",
        "backbone.body.layer4.2.bn3.running_var",
        "backbone.fpn.inner_blocks.3.0.weight",
        "backbone.fpn.layer_blocks.0.0.bias",
        "rpn.head.conv.0.0.weight",
        "rpn.head.bbox_pred.bias",
        "roi_heads.box_head.fc7.weight",
        "roi_heads.box_predictor.cls_score.bias",
    } <= names
    assert len(names) == 348


def test_weights_come_from_files(tmp_path: Path) -> None:
    make = D.ssdlite320_mobilenet_v3_large
    first = make(weights_backbone=None, num_classes=3)
    file = str(tmp_path / "ssdlite.pth")
    torch.save({"model": first.state_dict(), "epoch": 3}, file)
    second = make(weights=file, num_classes=3)
    for (name, x), y in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(x, y), name
    body = str(tmp_path / "mobilenet.pth")
    torch.save(models.mobilenet_v3_large().state_dict(), body)
    net = D.fasterrcnn_mobilenet_v3_large_fpn(weights_backbone=body, num_classes=2)
    assert any(isinstance(m, FrozenBatchNorm2d) for m in net.modules())
    assert not net.backbone.body["0"][0].weight.requires_grad
    assert net.backbone.body["16"][0].weight.requires_grad
    with pytest.raises(FileNotFoundError, match="fasterrcnn_resnet50_fpn: published weights"):
        D.fasterrcnn_resnet50_fpn(weights="DEFAULT")
    with pytest.raises(FileNotFoundError, match="resnet50: published weights"):
        S.fcn_resnet50(weights_backbone=models.ResNet50_Weights.DEFAULT)
    with pytest.warns(UserWarning, match="mobilenet_v3_large begins at random"):
        S.lraspp_mobilenet_v3_large(num_classes=2)
    with pytest.raises(ValueError, match=r"range \[0,6\], got 7"):
        D.fasterrcnn_mobilenet_v3_large_fpn(weights_backbone=body, trainable_backbone_layers=7)


def test_old_names_of_parameters_load() -> None:
    def older(module: nn.Module, names: dict[str, str]) -> dict[str, Any]:
        state: dict[str, Any] = {k: v.clone() for k, v in module.state_dict().items()}
        for new, old in names.items():
            for kind in ("weight", "bias"):
                state[f"{old}.{kind}"] = state.pop(f"{new}.{kind}")
        return state

    pyramid = FeaturePyramidNetwork([4, 8], 5)
    blocks = {f"{b}.{k}.0": f"{b}.{k}" for b in ("inner_blocks", "layer_blocks") for k in (0, 1)}
    tower = {
        f"classification_head.conv.{k}.0": f"classification_head.conv.{2 * k}" for k in range(4)
    }
    for module, names in (
        (pyramid, blocks),
        (rpn.RPNHead(4, 3), {"conv.0.0": "conv"}),
        (mask_rcnn.MaskRCNNHeads(4, (4, 6), 1), {"0.0": "mask_fcn1", "1.0": "mask_fcn2"}),
        (RetinaNetHead(4, 3, 2), dict(reversed(tower.items()))),
    ):
        state = older(module, names)
        values = [v.clone() for v in module.state_dict().values()]
        for p in module.parameters():
            nn.init.zeros_(p)
        module.load_state_dict(state)
        found = module.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(values, found, strict=True))


def test_segmentations_give_maps_in_the_size_of_the_image() -> None:
    net = S.deeplabv3_mobilenet_v3_large(weights_backbone=None, num_classes=3, aux_loss=True)
    out = net(torch.rand(2, 3, 48, 64))
    assert list(out) == ["out", "aux"]
    assert out["out"].shape == out["aux"].shape == (2, 3, 48, 64)
    (out["out"].mean() + 0.5 * out["aux"].mean()).backward()
    body = nn.Sequential(OrderedDict(layer=nn.Conv2d(3, 2, 1)))
    net = S.FCN(IntermediateLayerGetter(body, {"layer": "out"}), nn.Identity())
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(net(x)["out"], body(x)) and list(net(x)) == ["out"]


# -- the parts -------------------------------------------------------------------------------------


def test_anchors() -> None:
    assert rpn.AnchorGenerator is AnchorGenerator  # as programs import it
    anchors = AnchorGenerator(((32,), (64,)), ((0.5, 1.0), (1.0,)))
    batch = ImageList(torch.zeros(2, 3, 64, 32), [(64, 32), (60, 30)])
    first, second = anchors(batch, [torch.zeros(2, 1, 2, 1), torch.zeros(2, 1, 1, 1)])
    assert torch.equal(first, second)
    assert first.tolist() == [
        [-23, -11, 23, 11],
        [-16, -16, 16, 16],
        [-23, 21, 23, 43],
        [-16, 16, 16, 48],
        [-32, -32, 32, 32],
    ]
    assert anchors.num_anchors_per_location() == [2, 1]
    with pytest.raises(ValueError, match="made for 2 maps, got 1"):
        anchors(batch, [torch.zeros(2, 1, 2, 1)])
    boxes = DefaultBoxGenerator([[2]], 0.2, 0.8, clip=True)
    (found,) = boxes(ImageList(torch.zeros(1, 3, 10, 20), [(10, 20)]), [torch.zeros(1, 1, 1, 1)])
    root = 0.2 * 2**0.5
    sides = [(0.2, 0.2), (0.4, 0.4), (root, root / 2), (root / 2, root)]
    expected = [[10 - 10 * w, 5 - 5 * h, 10 + 10 * w, 5 + 5 * h] for w, h in sides]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_matching_and_coding() -> None:
    overlaps = torch.tensor([[0.9, 0.45, 0.1, 0.2], [0.1, 0.3, 0.35, 0.2]])
    assert det.Matcher(0.5, 0.4)(overlaps).tolist() == [0, -2, -1, -1]
    assert det.Matcher(0.5, 0.4, True)(overlaps).tolist() == [0, -2, 1, -1]
    assert det.SSDMatcher(0.5)(overlaps).tolist() == [0, -1, 1, -1]
    with pytest.raises(ValueError, match="No ground-truth boxes available"):
        det.Matcher(0.5, 0.4)(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="low_threshold should be <= high_threshold"):
        det.Matcher(0.3, 0.4)
    coder = det.BoxCoder((10.0, 10.0, 5.0, 5.0))
    start, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]])
    codes = coder.encode_single(box, start)
    np.testing.assert_allclose(codes.numpy(), [[10.0, 0.0, 5 * np.log(2), 0.0]], rtol=1e-6)
    np.testing.assert_allclose(coder.decode(codes, [start])[:, 0].numpy(), box.numpy(), atol=1e-5)
    assert coder.decode(torch.zeros(0, 8), [torch.zeros(0, 4)]).shape[0] == 0
    linear = det.BoxLinearCoder()
    assert linear.encode(start, box).tolist() == [[0.0, 0.5, 2.0, 0.5]]
    assert linear.decode(linear.encode(start, box), start).tolist() == box.tolist()
    labels = torch.tensor([1, 1, 0, 0, 0, -1, 2])
    (positive,), (negative,) = det.BalancedPositiveNegativeSampler(4, 0.5)([labels])
    assert int(positive.sum()) == 2 == int(negative.sum())
    assert (labels[positive.bool()] > 0).all() and (labels[negative.bool()] == 0).all()


def test_large_boxes_are_read_from_small_maps() -> None:
    pooled = MultiScaleRoIAlign(["a", "b"], 1, 2)
    maps = {"a": torch.full((1, 1, 64, 64), 1.0), "b": torch.full((1, 1, 32, 32), 2.0), "c": None}
    side = torch.tensor([300.0, 100.0, 223.0, 225.0])
    boxes = torch.stack([torch.zeros(4), torch.zeros(4), side, side], 1)
    found = pooled(maps, [boxes], [(512, 500)])
    assert pooled.scales == [1 / 8, 1 / 16]
    assert found.flatten().tolist() == [2.0, 1.0, 1.0, 2.0]
    assert pooled(maps, [boxes[:0]], [(512, 512)]).shape == (0, 1, 1, 1)


def test_levels_beyond_a_pyramid() -> None:
    maps = {"0": torch.rand(1, 4, 8, 8), "1": torch.rand(1, 8, 4, 4)}
    out = FeaturePyramidNetwork([4, 8], 5, LastLevelMaxPool())(maps)
    assert list(out) == ["0", "1", "pool"] and torch.equal(out["pool"], out["1"][..., ::2, ::2])
    more = FeaturePyramidNetwork([4, 8], 5, LastLevelP6P7(8, 5))
    assert [tuple(m.shape) for m in more(maps).values()][2:] == [(1, 5, 2, 2), (1, 5, 1, 1)]
    assert isinstance(more.extra_blocks, LastLevelP6P7) and not more.extra_blocks.use_P5
    with pytest.raises(TypeError, match="should be of type ExtraFPNBlock not ReLU"):
        FeaturePyramidNetwork([4], 5, nn.ReLU())  # type: ignore[arg-type]


def test_images_are_brought_to_one_size_and_back() -> None:
    change = GeneralizedRCNNTransform(40, 60, [0.5] * 3, [0.25] * 3).eval()
    images = [torch.full((3, 20, 30), 0.75), torch.full((3, 20, 80), 0.75)]
    box = torch.tensor([[3.0, 4.0, 15.0, 20.0]])
    mask = torch.ones(1, 20, 30, dtype=torch.uint8)
    point = torch.tensor([[[3.0, 4.0, 1.0]]])
    targets = [{"boxes": box, "masks": mask, "keypoints": point}, {"boxes": box}]
    batch, found = change(images, targets)
    assert batch.tensors.shape == (2, 3, 64, 64) and batch.image_sizes == [(40, 60), (15, 60)]
    assert batch.tensors[0, :, :40, :60].unique().tolist() == [1.0]
    assert float(batch.tensors[0].sum()) == 3 * 40 * 60
    assert found[0]["boxes"].tolist() == [[6.0, 8.0, 30.0, 40.0]]
    assert found[0]["masks"].shape == (1, 40, 60) and found[0]["masks"].dtype == torch.uint8
    assert found[0]["keypoints"].tolist() == [[[6.0, 8.0, 1.0]]]
    assert found[1]["boxes"].tolist() == [[2.25, 3.0, 11.25, 15.0]]
    assert targets[0]["boxes"] is box and box.tolist() == [[3.0, 4.0, 15.0, 20.0]]
    square = {"boxes": torch.tensor([[0.0, 0, 3, 3]]), "masks": torch.ones(1, 1, 4, 4)}
    (back,) = change.postprocess([square], [(40, 60)], [(20, 30)])
    assert back["boxes"].tolist() == [[0.0, 0.0, 1.5, 1.5]]
    assert back["masks"].shape == (1, 1, 20, 30) and float(back["masks"][..., 5:].sum()) == 0
    with pytest.raises(TypeError, match=r"floating type \(in range \[0, 1\]\).*uint8"):
        change([torch.zeros(3, 4, 4, dtype=torch.uint8)])
    with pytest.raises(ValueError, match=r"shape \[C, H, W\], got \(4, 4\)"):
        change([torch.zeros(4, 4)])


def test_bad_targets_are_refused() -> None:
    net, images = two_stages(D.FasterRCNN), pictures()
    good = truths()
    with pytest.raises(ValueError, match="targets should not be none when in training mode"):
        net(images)
    with pytest.raises(ValueError, match=r"tensor of shape \[N, 4\], got \(4,\)"):
        net(images, [{**good[0], "boxes": torch.zeros(4)}, good[1]])
    with pytest.raises(ValueError, match=r"Found invalid box .* for target at index 1"):
        net(images, [good[0], {**good[1], "boxes": torch.tensor([[9.0, 9, 9, 20]])}])
    with pytest.raises(TypeError, match=r"labels must be of int64 type, got tritorch\.float32"):
        net(images, [good[0], {**good[1], "labels": torch.ones(1)}])
    with pytest.raises(ValueError, match="should have a masks key"):
        masks()(images, [{k: t[k] for k in ("boxes", "labels")} for t in good])
    with pytest.raises(ValueError, match="out_channels"):
        D.FasterRCNN(nn.Identity(), 2)
    with pytest.raises(ValueError, match="num_classes should not be None when no box_predictor"):
        D.FasterRCNN(Pyramid())
    with pytest.raises(ValueError, match="the backbone has 4 maps, anchor_generator 1"):
        ssd.SSD(Pyramid("0 1 2 3", [32] * 4), DefaultBoxGenerator([[2]]), (96, 96), 2)  # type: ignore
