"""Variational autoencoder: reparameterisation with randn_like, binary cross-entropy with a sum, KL
term, DataLoader with drop_last, sampling.

Exercises what pytorch/examples' vae does; the noise is given by --noise so that runs agree.
"""

import argparse

import numpy as np
import torch
import torch.utils.data
from torch import nn, optim
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--noise", choices=["torch", "numpy"], default="numpy")
args = parser.parse_args()
torch.manual_seed(1)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
rng = np.random.default_rng(0)
blobs = np.exp(-((np.linspace(-3, 3, 64)[None] - rng.uniform(-2, 2, (320, 1))) ** 2))
dataset = torch.utils.data.TensorDataset(torch.tensor(blobs, dtype=torch.float32))
loader = torch.utils.data.DataLoader(dataset, batch_size=args.batch_size, drop_last=True)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 40)
        self.fc21 = nn.Linear(40, 4)
        self.fc22 = nn.Linear(40, 4)
        self.fc3 = nn.Linear(4, 40)
        self.fc4 = nn.Linear(40, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        if args.noise == "torch":
            eps = torch.randn_like(std)
        else:
            eps = torch.from_numpy(rng.standard_normal(tuple(std.shape))).to(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


model = VAE().to(device)
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        model.train()
        train_loss = 0
        for i, (data,) in enumerate(loader):
            data = data.to(device)
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
            print("step {} loss {:.6f}".format(i, loss.item() / len(data)))
        print("====> Epoch: {} Average: {:.4f}".format(epoch, train_loss / len(loader.dataset)))
        with torch.no_grad():
            sample = model.decode(torch.randn(8, 4).to(device)).cpu()
            assert sample.shape == (8, 64) and 0 <= sample.min() and sample.max() <= 1
