"""Train a small convolutional network on handwritten digits: `python -m tritorch.demo`.

The data are the 1,797 digits of 8x8 pixels that come with scikit-learn; a fifth of them is held out
to test on. The program saves the model and two plots, and says which operators took the time. The
same code runs on the CPU and, with `--device cuda`, on a GPU.
"""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false
# (tritorch's functions are attached to it when it is imported)

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import tritorch as torch
from tritorch import nn
from tritorch.nn import functional as F
from tritorch.profiler import profile, record_function
from tritorch.utils.data import DataLoader, Subset, TensorDataset, random_split

BATCH = 64


class Net(nn.Module):
    """Three convolutions with batch normalisation, then a linear layer: (N, 1, 8, 8) to (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 8x8 to 4x4
            nn.Conv2d(64, 64, kernel_size=3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 4x4 to 2x2
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 2 * 2, 10))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x))


class History(NamedTuple):
    """What training leaves: the loss of every step, the accuracy after every epoch."""

    losses: list[float]
    accuracies: list[float]
    seconds: float
    interrupted: bool


def load_digits(device: str) -> tuple[Subset, Subset]:
    """The digits to train on, and a fifth of all to test on; pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target)
    data = TensorDataset(images.to(device), labels.to(device))
    train, test = random_split(data, [0.8, 0.2], generator=torch.Generator().manual_seed(0))
    return train, test


def shifted(images: Any) -> Any:
    """Each image moved by up to one pixel, so that the network sees more than there is."""
    windows = F.pad(images, (1, 1, 1, 1)).unfold(2, 8, 1).unfold(3, 8, 1)  # (N, 1, 3, 3, 8, 8)
    x, y = torch.randint(0, 3, (2, len(images)), device=images.device)
    return windows[torch.arange(len(images), device=images.device), :, y, x]


def train_step(model: Net, optimizer: Any, images: Any, labels: Any) -> float:
    """One step down the gradient of the loss of a batch; the loss."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(shifted(images)), labels)
    loss.backward()
    with record_function("optimizer step"):
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def probabilities(model: Net, data: Subset) -> tuple[Any, Any, Any]:
    """The probability of every class for every image, with the images and their labels."""
    model.eval()
    images, labels = next(iter(DataLoader(data, batch_size=len(data))))
    return model(images).softmax(dim=1), images, labels


def accuracy(model: Net, data: Subset) -> float:
    """The part of the images whose most probable class is right."""
    found, _, labels = probabilities(model, data)
    return (found.argmax(dim=1) == labels).float().mean().item()


def train(model: Net, data: Subset, test: Subset, epochs: int, checkpoint: Path) -> History:
    """Train, with a checkpoint after every epoch; Ctrl-C ends it after the last of them."""
    from tqdm import tqdm

    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=6e-3, epochs=epochs, steps_per_epoch=len(loader)
    )
    losses: list[float] = []
    accuracies: list[float] = []
    interrupted = False
    start = time.perf_counter()
    with tqdm(total=epochs * len(loader), desc="training", unit="step") as bar:
        try:
            for epoch in range(1, epochs + 1):
                model.train()
                for images, labels in loader:
                    losses.append(train_step(model, optimizer, images, labels))
                    schedule.step()
                    bar.update()
                accuracies.append(accuracy(model, test))
                bar.set_postfix(epoch=epoch, loss=f"{losses[-1]:.3f}", test=f"{accuracies[-1]:.2%}")
                torch.save(
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "epoch": epoch,
                        "accuracy": accuracies[-1],
                    },
                    checkpoint,
                )
        except KeyboardInterrupt:
            interrupted = True
    return History(losses, accuracies, time.perf_counter() - start, interrupted)


def plot_training(history: History, path: Path) -> None:
    """The loss of every step and its mean over epochs; the accuracy below."""
    from matplotlib.figure import Figure

    epochs = len(history.accuracies)
    per_epoch = len(history.losses) / epochs
    means = [
        sum(part) / len(part)
        for part in (
            history.losses[round(i * per_epoch) : round((i + 1) * per_epoch)] for i in range(epochs)
        )
    ]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    steps = [(i + 1) / per_epoch for i in range(len(history.losses))]
    middles = [i + 0.5 for i in range(epochs)]
    above.plot(steps, history.losses, color="#9ecae1", linewidth=0.8, label="each step")
    above.plot(middles, means, color="#08519c", marker="o", markersize=3, label="mean of an epoch")
    above.set(yscale="log", ylabel="training loss", title="Cross-entropy on handwritten digits")
    above.legend()
    errors = [max(100 * (1 - a), 0.1) for a in history.accuracies]
    below.plot(range(1, epochs + 1), errors, color="#a63603", marker="o", markersize=3)
    last = f"{1 - history.accuracies[-1]:.2%}"
    below.annotate(last, (epochs, errors[-1]), (0, 8), textcoords="offset points", ha="right")
    below.set(yscale="log", xlabel="epoch", ylabel="test error, %", xlim=(0, epochs + 0.5))
    below.xaxis.get_major_locator().set_params(integer=True)
    for axes in (above, below):
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def plot_predictions(model: Net, test: Subset, path: Path, columns: int = 10) -> int:
    """Test images under their predictions, all mistakes first, in red; the number of mistakes."""
    from matplotlib.figure import Figure

    found, images, labels = (t.cpu() for t in probabilities(model, test))
    certain, classes = found.max(dim=1)
    right = (classes == labels).tolist()
    order = sorted(range(len(right)), key=lambda i: (right[i], certain[i].item()))
    mistakes = len(right) - sum(right)
    rows = max(4, -(-mistakes // columns) + 3)
    figure = Figure(figsize=(columns, 1.35 * rows + 0.6), layout="constrained")
    figure.suptitle(
        f"{len(right)} test digits: {mistakes} mistakes (red), then the least certain predictions"
    )
    grid = figure.subplots(rows, columns)
    for axes, i in zip(grid.flat, order):
        axes.imshow(images[i, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        title = f"{classes[i].item()}  {certain[i].item():.0%}"
        if not right[i]:
            title += f"\nis {labels[i].item()}"
        axes.set_title(title, fontsize=9, color="black" if right[i] else "#cb181d")
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set(color="#cccccc" if right[i] else "#cb181d", linewidth=1 if right[i] else 2.5)
    figure.savefig(path, dpi=120)
    return mistakes


def profile_steps(model: Net, data: Subset, steps: int = 10) -> str:
    """A table of the operators that take the time of a few more steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()
    images, labels = next(iter(DataLoader(data, batch_size=BATCH)))
    train_step(model, optimizer, images, labels)
    with profile() as measured:
        for _ in range(steps):
            train_step(model, optimizer, images, labels)
    return f"Where {steps} more steps spent their time:\n{measured.table(rows=8)}"


def run(epochs: int, device: str, out: Path, seed: int) -> int:
    """Train, test, save and plot; the exit status of the program."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    data, test = load_digits(device)
    model = Net().to(device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(data)} digits to train on, {len(test)} to test on, device {device}")
    print(f"a network of {parameters:,} parameters")
    checkpoint = out / "checkpoint.safetensors"
    history = train(model, data, test, epochs, checkpoint)
    if history.interrupted:
        done = len(history.accuracies)
        kept = f"kept the checkpoint of epoch {done}: {checkpoint}" if done else "no epoch was done"
        print(f"\nstopped by Ctrl-C; {kept}")
        return 130
    print(f"trained for {epochs} epochs in {history.seconds:.1f} s")
    torch.save(model.state_dict(), out / "model.safetensors")
    plot_training(history, out / "loss.png")
    mistakes = plot_predictions(model, test, out / "predictions.png")
    print(f"test accuracy {history.accuracies[-1]:.2%}: {mistakes} mistakes in {len(test)} digits")
    for name in ("model.safetensors", "checkpoint.safetensors", "loss.png", "predictions.png"):
        print(f"saved {out / name}")
    print(f"\n{profile_steps(model, data)}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tritorch.demo", description="Train a network on handwritten digits."
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help=f"cpu or cuda (default: {default})")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    options = parser.parse_args(argv)
    try:
        return run(options.epochs, options.device, options.out, options.seed)
    except ModuleNotFoundError as error:
        print(f"The demo needs {error.name}: pip install 'tritorch[demo]'", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
