"""Recommender: EmbeddingBag with offsets, feature crosses by bmm and triu_indices, sparse-style
adagrad, evaluation by topk and AUC, state dict surgery (renames, strict=False, partial loads).

Exercises what facebookresearch/dlrm and neural collaborative filtering do.
"""

from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn

rng = np.random.default_rng(0)
torch.manual_seed(0)


class DLRM(nn.Module):
    def __init__(self, counts=(20, 30), dim=8):
        super().__init__()
        self.emb_l = nn.ModuleList([nn.EmbeddingBag(n, dim, mode="sum") for n in counts])
        self.bot_l = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, dim), nn.ReLU())
        pairs = (len(counts) + 1) * len(counts) // 2
        self.top_l = nn.Sequential(
            OrderedDict(
                [("fc1", nn.Linear(dim + pairs, 16)), ("act", nn.ReLU()), ("fc2", nn.Linear(16, 1))]
            )
        )

    def interact(self, x, ly):
        batch, d = x.shape
        T = torch.cat([x] + ly, dim=1).view((batch, -1, d))
        Z = torch.bmm(T, torch.transpose(T, 1, 2))
        _, ni, nj = Z.shape
        li, lj = torch.tril_indices(ni, nj, offset=-1)
        return torch.cat([x, Z[:, li, lj]], dim=1)

    def forward(self, dense, offsets, indices):
        x = self.bot_l(dense)
        ly = [emb(i, o) for emb, i, o in zip(self.emb_l, indices, offsets)]
        return torch.sigmoid(self.top_l(self.interact(x, ly)))


def batch(n=32):
    dense = torch.from_numpy(rng.standard_normal((n, 4)).astype(np.float32))
    lengths = [rng.integers(1, 4, n) for _ in range(2)]
    offsets = [torch.tensor(np.r_[0, np.cumsum(c)[:-1]]) for c in lengths]
    indices = [torch.tensor(rng.integers(0, m, c.sum())) for m, c in zip((20, 30), lengths)]
    wanted = (dense[:, 0] + dense[:, 1] * dense[:, 2] > 0).float().unsqueeze(1)
    return dense, offsets, indices, wanted


model = DLRM()
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
loss_fn = nn.BCELoss(reduction="mean")
for step in range(15):
    dense, offsets, indices, wanted = batch()
    loss = loss_fn(model(dense, offsets, indices), wanted)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step} loss {loss.item():.7f}")
state = OrderedDict(
    (k.replace("top_l.", "head."), v.clone()) for k, v in model.state_dict().items()
)
other = DLRM()
result = other.load_state_dict(state, strict=False)
assert result.missing_keys == [k for k in other.state_dict() if k.startswith("top_l.")]
assert result.unexpected_keys == [k for k in state if k.startswith("head.")]
own = other.state_dict()
own.update({k: v for k, v in model.state_dict().items() if k in own and v.shape == own[k].shape})
other.load_state_dict(own)
with torch.no_grad():
    dense, offsets, indices, wanted = batch(64)
    scores = other(dense, offsets, indices).squeeze()
    assert torch.allclose(scores, model(dense, offsets, indices).squeeze())
    best = scores.topk(10).indices
    ranks = scores.argsort().argsort().float() + 1
    pos = wanted.squeeze().bool()
    auc = (ranks[pos].sum() - pos.sum() * (pos.sum() + 1) / 2) / (pos.sum() * (~pos).sum())
    print(f"AUC {auc.item():.4f}, precision at ten {pos[best].float().mean():.2f}")
