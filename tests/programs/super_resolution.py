"""Super resolution: orthogonal initialisation with gains, PixelShuffle, PSNR by log10, checkpoints of
whole modules by state, MSELoss.

Exercises what pytorch/examples' super_resolution does.
"""

from __future__ import print_function

from math import log10

import numpy as np
import torch
import torch.nn as nn
import torch.nn.init as init
import torch.optim as optim
from torch.utils.data import DataLoader


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super(Net, self).__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 16, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(16, 16, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(16, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.pixel_shuffle(self.conv3(x))

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight)


rng = np.random.default_rng(0)
waves = [
    np.outer(np.sin(np.arange(32) * a), np.cos(np.arange(32) * b))
    for a, b in rng.uniform(0.05, 0.4, (40, 2))
]
high = torch.tensor(np.stack(waves), dtype=torch.float32).unsqueeze(1)
low = nn.functional.interpolate(
    high, scale_factor=0.5, mode="bicubic", align_corners=False, antialias=False
)
pairs = list(zip(low, high))
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(123)
model = Net(upscale_factor=2).to(device)
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 4):
    epoch_loss = 0
    for iteration, (input, target) in enumerate(DataLoader(pairs[:32], batch_size=8), 1):
        input, target = input.to(device), target.to(device)
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        epoch_loss += loss.item()
        loss.backward()
        optimizer.step()
        print("step {} loss {:.7f}".format(iteration, loss.item()))
    avg_psnr = 0
    with torch.no_grad():
        for batch in DataLoader(pairs[32:], batch_size=4):
            input, target = batch[0].to(device), batch[1].to(device)
            mse = criterion(model(input), target)
            avg_psnr += 10 * log10(1 / mse.item())
    print("===> Avg. PSNR: {:.4f} dB".format(avg_psnr / 2))
