"""The classic example: a convolutional network class, argparse with --no-cuda, DataLoader over a
Dataset class with a transform, StepLR, log_softmax and nll_loss, a test loop, saving at the end.

Exercises what pytorch/examples' mnist does.
"""

import argparse
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset


class Shapes(Dataset):
    """Bars that lie, stand or cross."""

    def __init__(self, count, seed, transform=None):
        rng = np.random.default_rng(seed)
        self.targets = rng.integers(0, 3, count)
        self.images = np.zeros((count, 28, 28), np.float32)
        for image, target, place in zip(self.images, self.targets, rng.integers(6, 22, count)):
            if target in (0, 2):
                image[place - 2 : place + 2] = 1.0
            if target in (1, 2):
                image[:, place - 2 : place + 2] = 1.0
        self.images += rng.normal(0, 0.2, self.images.shape).astype(np.float32)
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).unsqueeze(0)
        if self.transform is not None:
            image = self.transform(image)
        return image, int(self.targets[index])


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 16, 3, 1)
        self.dropout1 = nn.Dropout(0.0)
        self.dropout2 = nn.Dropout2d(0.0)
        self.fc1 = nn.Linear(2304, 32)
        self.fc2 = nn.Linear(32, 3)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout2(x)
        x = torch.flatten(x, 1)
        x = self.dropout1(F.relu(self.fc1(x)))
        output = F.log_softmax(self.fc2(x), dim=1)
        return output


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        print(
            "step {} ({}/{}) loss {:.7f}".format(
                epoch, batch_idx * len(data), len(train_loader.dataset), loss.item()
            )
        )
        if args.dry_run:
            break


def test(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    total = len(test_loader.dataset)
    print(f"Test set: average {test_loss / total:.4f}, accuracy {100.0 * correct / total:.0f}%")
    return correct / total


def main():
    parser = argparse.ArgumentParser(description="Shapes Example")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--no-cuda", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-model", action="store_true", default=True)
    args = parser.parse_args()
    use_cuda = not args.no_cuda and torch.cuda.is_available()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if use_cuda else "cpu")
    train_kwargs = {"batch_size": args.batch_size}
    if use_cuda:
        train_kwargs.update({"num_workers": 1, "pin_memory": True, "shuffle": False})

    def normalize(x):
        return (x - 0.15) / 0.4

    train_loader = DataLoader(Shapes(320, 0, normalize), **train_kwargs)
    test_loader = DataLoader(Shapes(128, 1, normalize), batch_size=64)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        accuracy = test(model, device, test_loader)
        scheduler.step()
    assert accuracy > 0.9 or args.dry_run
    if args.save_model:
        path = os.path.join(tempfile.mkdtemp(), "shapes_cnn.pt")
        torch.save(model.state_dict(), path)
        other = Net()
        other.load_state_dict(torch.load(path, map_location="cpu"))
        assert all(torch.equal(a, b.cpu()) for a, b in zip(other.parameters(), model.parameters()))


if __name__ == "__main__":
    main()
