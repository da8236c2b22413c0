"""U-Net segmentation: double convolutions, skips by cat, upsampling with align_corners, padding of odd
sizes by F.pad, Dice loss, gradient accumulation, ReduceLROnPlateau, RMSprop.

Exercises what milesial/Pytorch-UNet does.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, optim


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels, mid_channels=None):
        super().__init__()
        mid_channels = mid_channels or out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, bilinear=True):
        super().__init__()
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diffY = x2.size()[2] - x1.size()[2]
        diffX = x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels=1, n_classes=2, bilinear=True):
        super().__init__()
        self.inc = DoubleConv(n_channels, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 16 if bilinear else 32))
        self.up1 = Up(32, 8 if bilinear else 16, bilinear)
        self.up2 = Up(16, 8, bilinear)
        self.outc = nn.Conv2d(8, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up2(self.up1(x3, x2), x1))


def dice_coeff(input: Tensor, target: Tensor, epsilon: float = 1e-6):
    inter = 2 * (input * target).sum(dim=(-1, -2, -3))
    sets_sum = input.sum(dim=(-1, -2, -3)) + target.sum(dim=(-1, -2, -3))
    sets_sum = torch.where(sets_sum == 0, inter, sets_sum)
    return ((inter + epsilon) / (sets_sum + epsilon)).mean()


rng = np.random.default_rng(0)
ys, xs = np.mgrid[:22, :26]
centres = rng.uniform(6, 18, (16, 2))
masks = np.stack([(ys - a) ** 2 + (xs - b) ** 2 < 25 for a, b in centres])
images = masks + rng.normal(0, 0.3, masks.shape)
images = torch.as_tensor(images, dtype=torch.float32)[:, None].contiguous(
    memory_format=torch.channels_last
)
masks = torch.as_tensor(masks.astype("int64"))
torch.manual_seed(0)
for bilinear in (True, False):
    model = UNet(bilinear=bilinear).to(memory_format=torch.channels_last)
    optimizer = optim.RMSprop(
        model.parameters(), lr=1e-4, weight_decay=1e-8, momentum=0.9, foreach=True
    )
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=1)
    criterion = nn.CrossEntropyLoss()
    for step in range(4):
        optimizer.zero_grad(set_to_none=True)
        for part in range(2):
            x, true = images[part * 8 : part * 8 + 8], masks[part * 8 : part * 8 + 8]
            pred = model(x)
            loss = criterion(pred, true)
            one_hot = F.one_hot(true, 2).permute(0, 3, 1, 2).float()
            loss = loss + 1 - dice_coeff(F.softmax(pred, dim=1).float(), one_hot)
            (loss / 2).backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step(-loss.item())
        print(f"step {step} loss {loss.item():.7f}")
