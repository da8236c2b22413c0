"""Siamese network with triplet margin loss: shared weights, two inputs, BCEWithLogitsLoss with
pos_weight, cosine similarity, a custom collate_fn and a Sampler class.

Exercises what pytorch/examples' siamese_network does.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Sampler


class Pairs(Dataset):
    def __init__(self, count=120):
        rng = np.random.default_rng(0)
        self.kinds = rng.integers(0, 3, (count, 2))
        self.x = (self.kinds[..., None] + rng.normal(0, 0.3, (count, 2, 12))).astype("float32")

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.x[i, 0], self.x[i, 1], float(self.kinds[i, 0] == self.kinds[i, 1])


class Backwards(Sampler):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(range(len(self.data) - 1, -1, -1))

    def __len__(self):
        return len(self.data)


def collate(batch):
    a, b, same = zip(*batch)
    return torch.from_numpy(np.stack(a)), torch.from_numpy(np.stack(b)), torch.tensor(same)


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.ReLU(inplace=True), nn.Linear(24, 8))
        self.fc = nn.Sequential(nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Linear(16, 1))
        self.body.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward_once(self, x):
        return self.body(x).view(x.size()[0], -1)

    def forward(self, a, b):
        a, b = self.forward_once(a), self.forward_once(b)
        return self.fc(torch.cat((a, b), 1)), a, b


data = Pairs()
loader = DataLoader(data, batch_size=24, sampler=Backwards(data), collate_fn=collate)
model = SiameseNetwork()
optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3, momentum=0.5)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
triplet = nn.TripletMarginLoss(margin=0.5)
for epoch in range(4):
    for i, (a, b, same) in enumerate(loader):
        optimizer.zero_grad()
        logits, ea, eb = model(a, b)
        loss = criterion(logits.squeeze(-1), same)
        loss = loss + 0.1 * triplet(ea, eb, eb.roll(1, 0))
        loss = loss + 0.1 * F.cosine_embedding_loss(ea, eb, same * 2 - 1, margin=0.2)
        loss.backward()
        optimizer.step()
        print(f"step {epoch * len(loader) + i} loss {loss.item():.7f}")
