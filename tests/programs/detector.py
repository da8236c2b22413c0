"""A small detector: anchors by meshgrid, IoU by broadcasting, box coding, focal and smooth L1 losses,
non-maximum suppression by hand with boolean masks, feature maps flattened and concatenated.

Exercises what kuangliu/pytorch-retinanet and ssd.pytorch do.
"""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.default_rng(0)


def scene():
    x = rng.normal(0, 0.1, (1, 32, 32)).astype(np.float32)
    boxes, labels = [], []
    for kind in range(2):
        cx, cy = rng.uniform(7, 25, 2)
        w = 8.0 if kind else 5.0
        x0, y0 = int(cx - w / 2), int(cy - w / 2)
        x[0, y0 : y0 + int(w), x0 : x0 + int(w)] += 1 + kind
        boxes.append([x0, y0, x0 + w, y0 + w])
        labels.append(kind)
    return torch.from_numpy(x), torch.tensor(boxes), torch.tensor(labels)


def box_iou(a, b):
    lt = torch.max(a[:, None, :2], b[:, :2])
    rb = torch.min(a[:, None, 2:], b[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[:, :, 0] * wh[:, :, 1]
    area = lambda v: (v[:, 2] - v[:, 0]) * (v[:, 3] - v[:, 1])  # noqa: E731
    return inter / (area(a)[:, None] + area(b) - inter)


def anchors(size=32, strides=(4, 8), scales=(5.0, 8.0)):
    out = []
    for stride, scale in zip(strides, scales):
        c = torch.arange(0, size // stride, dtype=torch.float32) * stride + stride / 2
        cy, cx = torch.meshgrid(c, c, indexing="ij")
        centre = torch.stack((cx, cy), dim=-1).reshape(-1, 2)
        out.append(torch.cat((centre - scale / 2, centre + scale / 2), dim=1))
    return torch.cat(out)


def encode(matched, anchors):
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (matched[:, :2] + matched[:, 2:]) / 2 - (anchors[:, :2] + anchors[:, 2:]) / 2
    return torch.cat([centre / size, torch.log((matched[:, 2:] - matched[:, :2]) / size)], 1)


def nms(boxes, scores, threshold=0.5):
    order, keep = scores.sort(descending=True)[1], []
    while order.numel() > 0:
        i = order[0].item()
        keep.append(i)
        iou = box_iou(boxes[i : i + 1], boxes[order[1:]]).squeeze(0)
        order = order[1:][(iou <= threshold).nonzero().view(-1)]
    return torch.LongTensor(keep)


class Detector(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        conv = lambda i, o, s: nn.Sequential(
            nn.Conv2d(i, o, 3, s, 1, bias=False), nn.GroupNorm(4, o), nn.ReLU()
        )  # noqa: E731
        self.c1, self.c2, self.c3 = conv(1, 8, 2), conv(8, 16, 2), conv(16, 16, 2)
        self.lateral = nn.Conv2d(16, 16, 1)
        self.cls, self.reg = nn.Conv2d(16, classes, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)
        nn.init.constant_(self.cls.bias, -math.log((1 - 0.1) / 0.1))

    def forward(self, x):
        c2 = self.c2(self.c1(x))
        c3 = self.c3(c2)
        p2 = self.lateral(c2) + F.interpolate(c3, size=c2.shape[-2:], mode="nearest")
        flat = lambda head, p: (
            head(p).permute(0, 2, 3, 1).contiguous().view(x.size(0), -1, head.out_channels)
        )  # noqa: E731
        return tuple(torch.cat([flat(h, p) for p in (p2, c3)], 1) for h in (self.cls, self.reg))


def focal_loss(x, y, alpha=0.25, gamma=2.0):
    p = x.sigmoid()
    pt = torch.where(y == 1, p, 1 - p)
    w = torch.where(y == 1, torch.full_like(p, alpha), torch.full_like(p, 1 - alpha)) * (
        1 - pt
    ).pow(gamma)
    return F.binary_cross_entropy_with_logits(x, y, w.detach(), reduction="sum")


torch.manual_seed(0)
model, base = Detector(), anchors()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[16], gamma=0.1)
for step in range(20):
    images, targets = [], []
    for _ in range(4):
        image, boxes, labels = scene()
        iou, index = box_iou(base, boxes).max(1)
        positive = iou > 0.4
        y = F.one_hot(labels[index], 2).float() * positive[:, None]
        targets.append((positive, y, encode(boxes[index], base)))
        images.append(image)
    cls, reg = model(torch.stack(images))
    positive, y, wanted = (torch.stack(v) for v in zip(*targets))
    count = positive.sum().clamp(min=1)
    loss = focal_loss(cls, y) / count + F.smooth_l1_loss(
        reg[positive], wanted[positive], reduction="mean", beta=0.1
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    print(f"step {step} loss {loss.item():.6f}")
with torch.no_grad():
    cls, reg = model(torch.stack(images[:1]))
    scores, labels = cls[0].sigmoid().max(1)
    keep = nms(base, scores)
    assert (box_iou(base[keep], base[keep]) - torch.eye(len(keep)) <= 0.5).all()
