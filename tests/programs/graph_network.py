"""Graph convolutions and attention: normalised adjacency by scatter_add and index_add, softmax by
segments, ELU, concatenated heads, dropout, early stopping with a copied state.

Exercises what tkipf/pygcn and Diego999/pyGAT do, without sparse tensors.
"""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parameter import Parameter

rng = np.random.default_rng(0)
n = 40
kinds = np.arange(n) % 3
edges = [
    (a, b)
    for a in range(n)
    for b in range(n)
    if a != b and rng.random() < (0.25 if kinds[a] == kinds[b] else 0.03)
]
edge_index = torch.tensor(edges, dtype=torch.long).t().contiguous()
features = torch.tensor(np.eye(3)[kinds] + rng.normal(0, 1.0, (n, 3)), dtype=torch.float)
labels = torch.tensor(kinds)
idx_train, idx_val = torch.arange(0, 24), torch.arange(24, 40)


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features, bias=True):
        super(GraphConvolution, self).__init__()
        self.weight = Parameter(torch.FloatTensor(in_features, out_features))
        if bias:
            self.bias = Parameter(torch.FloatTensor(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / np.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        if self.bias is not None:
            self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, edge_index):
        src, dst = edge_index
        support = torch.mm(x, self.weight)
        degree = torch.ones(x.size(0)).scatter_add_(0, dst, torch.ones(dst.numel()))
        norm = (degree[src] * degree[dst]).pow(-0.5).unsqueeze(-1)
        output = (support / degree.unsqueeze(-1)).index_add(0, dst, support[src] * norm)
        return output + self.bias if self.bias is not None else output


class GraphAttention(nn.Module):
    def __init__(self, i, o, heads=2, alpha=0.2):
        super().__init__()
        self.W = nn.Parameter(torch.empty(size=(heads, i, o)))
        self.a = nn.Parameter(torch.empty(size=(heads, 2 * o)))
        nn.init.xavier_uniform_(self.W.data, gain=1.414)
        nn.init.xavier_uniform_(self.a.data, gain=1.414)
        self.leakyrelu = nn.LeakyReLU(alpha)

    def forward(self, x, edge_index):
        src, dst = edge_index[0], edge_index[1]
        h = torch.einsum("ni,hio->nho", x, self.W)
        e = self.leakyrelu((torch.cat([h[src], h[dst]], -1) * self.a).sum(-1))
        top = torch.full((x.size(0), e.size(1)), float("-inf"))
        top = top.scatter_reduce(0, dst[:, None].expand_as(e), e, reduce="amax").detach()
        w = torch.exp(e - top[dst])
        total = torch.zeros(x.size(0), e.size(1)).index_add_(0, dst, w)
        w = w / (total[dst] + 1e-16)
        out = torch.zeros_like(h).index_add_(0, dst, w.unsqueeze(-1) * h[src])
        return F.elu(out.flatten(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1, self.gat, self.gc2 = (
            GraphConvolution(3, 16),
            GraphAttention(16, 8),
            GraphConvolution(16, 3),
        )

    def forward(self, x, edge_index):
        x = F.relu(self.gc1(x, edge_index))
        x = F.dropout(x, 0.0, training=self.training)
        x = self.gat(x, edge_index)
        return F.log_softmax(self.gc2(x, edge_index), dim=1)


torch.manual_seed(42)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
best, state = float("inf"), None
for epoch in range(20):
    model.train()
    optimizer.zero_grad()
    output = model(features, edge_index)
    loss = F.nll_loss(output[idx_train], labels[idx_train])
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        output = model(features, edge_index)
        val = F.nll_loss(output[idx_val], labels[idx_val]).item()
        correct = output[idx_val].max(1)[1].type_as(labels).eq(labels[idx_val]).double().sum()
    if val < best:
        best, state = val, copy.deepcopy(model.state_dict())
    print(
        "step {:04d} loss {:.6f} val {:.4f} acc {:.3f}".format(
            epoch, loss.item(), val, correct / len(idx_val)
        )
    )
model.load_state_dict(state)
