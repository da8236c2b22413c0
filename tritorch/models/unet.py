"""The U-Net, with the names of parameters of its most used implementation, Pytorch-UNet.

Ronneberger, Fischer, Brox 2015, "U-Net: convolutional networks for biomedical image segmentation",
section 2; here with padding and batch normalisation.
"""

from __future__ import annotations

from .. import nn
from ..nn import functional as F
from ..ops.join import cat
from ..tensor import Tensor


class DoubleConv(nn.Module):
    """Twice a convolution of 3 by 3, batch normalisation and ReLU; the size is kept."""

    def __init__(self, inner: int, out: int, middle: int | None = None) -> None:
        super().__init__()
        middle = middle or out
        self.double_conv = nn.Sequential(
            nn.Conv2d(inner, middle, 3, padding=1, bias=False),
            *(nn.BatchNorm2d(middle), nn.ReLU(inplace=True)),
            nn.Conv2d(middle, out, 3, padding=1, bias=False),
            *(nn.BatchNorm2d(out), nn.ReLU(inplace=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Down(nn.Module):
    """Half the size, then `DoubleConv`."""

    def __init__(self, inner: int, out: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inner, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Twice the size, padded to that of `skip` and put beside it, then `DoubleConv`."""

    def __init__(self, inner: int, out: int, bilinear: bool) -> None:
        super().__init__()
        if bilinear:
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(inner, out, inner // 2)
        else:
            self.up = nn.ConvTranspose2d(inner, inner // 2, 2, 2)
            self.conv = DoubleConv(inner, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(cat([skip, x], 1))


class OutConv(nn.Module):
    """A convolution of 1 by 1."""

    def __init__(self, inner: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet(nn.Module):
    """A U-Net: four times down to a sixteenth of the size, and up again beside what was there.

    Args:
        n_channels, n_classes: of the image, and of the result.
        bilinear: enlarge by interpolation instead of transposed convolutions.
        width: the channels at full size; 64 in the paper.

    Shapes: `(N, n_channels, H, W)` to logits `(N, n_classes, H, W)`; H and W at least 16.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import UNet
        >>> UNet(3, 2, width=4)(torch.zeros(1, 3, 36, 40)).shape
        tritorch.Size([1, 2, 36, 40])
    """

    def __init__(
        self, n_channels: int = 3, n_classes: int = 2, bilinear: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        self.n_channels, self.n_classes, self.bilinear = n_channels, n_classes, bilinear
        part = 2 if bilinear else 1  # what is enlarged without weights keeps its channels
        self.inc = DoubleConv(n_channels, width)
        self.down1, self.down2 = Down(width, 2 * width), Down(2 * width, 4 * width)
        self.down3, self.down4 = Down(4 * width, 8 * width), Down(8 * width, 16 * width // part)
        self.up1 = Up(16 * width, 8 * width // part, bilinear)
        self.up2 = Up(8 * width, 4 * width // part, bilinear)
        self.up3 = Up(4 * width, 2 * width // part, bilinear)
        self.up4 = Up(2 * width, width, bilinear)
        self.outc = OutConv(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.n_channels or min(x.shape[2:]) < 16:
            raise ValueError(
                f"UNet: images of shape {tuple(x.shape)} do not fit; expected "
                f"(N, {self.n_channels}, H, W) with H and W at least 16"
            )
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up1(self.down4(x4), x4)
        return self.outc(self.up4(self.up3(self.up2(x, x3), x2), x1))
