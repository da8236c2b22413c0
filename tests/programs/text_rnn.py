"""Text classification: bidirectional LSTM over packed sequences, DataLoader with workers, a seeded
generator and worker_init_fn, random_split, bucketed collate, accuracy.

Exercises what PyTorch's text tutorials and bentrevett's notebooks do.
"""

import random

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Subset


class Sentences(Dataset):
    """Whether a word of the second half of the vocabulary outnumbers the first half's."""

    def __init__(self, count=120):
        rng = np.random.default_rng(0)
        self.rows = [rng.integers(1, 20, rng.integers(3, 12)) for _ in range(count)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        row = self.rows[i]
        return torch.as_tensor(row), int((row > 10).mean() > 0.5)


def collate(batch):
    batch.sort(key=lambda pair: len(pair[0]), reverse=True)
    texts, labels = zip(*batch)
    lengths = torch.tensor([len(t) for t in texts])
    return pad_sequence(texts, batch_first=True), lengths, torch.tensor(labels)


def seed_worker(worker_id):
    np.random.seed(torch.initial_seed() % 2**32)
    random.seed(worker_id)


class Classifier(nn.Module):
    def __init__(self, vocab=20, emb=16, hidden=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab, emb, padding_idx=0)
        self.rnn = nn.LSTM(
            emb, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.0
        )
        self.fc = nn.Linear(hidden * 4, 2)

    def forward(self, text, lengths):
        packed = pack_padded_sequence(self.embedding(text), lengths.cpu(), batch_first=True)
        output, (hidden, cell) = self.rnn(packed)
        output, _ = pad_packed_sequence(output, batch_first=True, padding_value=float("-inf"))
        pooled = output.max(dim=1).values
        return self.fc(torch.cat((hidden[-2, :, :], hidden[-1, :, :], pooled), dim=1))


def main():
    torch.manual_seed(0)
    data = Sentences()
    train, test = Subset(data, range(96)), Subset(data, range(96, 120))
    loader = DataLoader(
        train,
        batch_size=16,
        num_workers=2,
        collate_fn=collate,
        worker_init_fn=seed_worker,
        shuffle=False,
        generator=torch.Generator().manual_seed(0),
        persistent_workers=True,
    )
    model = Classifier()
    optimizer = torch.optim.NAdam(model.parameters(), lr=5e-3)
    for epoch in range(3):
        for step, (text, lengths, labels) in enumerate(loader):
            loss = nn.functional.cross_entropy(model(text, lengths), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"step {step} loss {loss.item():.7f}")
    model.eval()
    with torch.no_grad():
        text, lengths, labels = collate([test[i] for i in range(len(test))])
        print("accuracy", (model(text, lengths).argmax(1) == labels).float().mean().item())


if __name__ == "__main__":
    main()
