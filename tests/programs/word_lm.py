"""Word language model: an LSTM with hidden states carried over and detached, init by uniform_ of
.data, tied weights, gradient clipping, SGD by hand on p.data, annealing of the rate, model files.

Exercises what pytorch/examples' word_language_model does.
"""

import argparse
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F

WORDS = (
    "a rose is a rose is a rose and the rain in spain falls mainly on the plain <eos> " * 30
).split()
parser = argparse.ArgumentParser()
parser.add_argument("--model", default="LSTM", choices=["LSTM", "GRU", "RNN_TANH", "RNN_RELU"])
parser.add_argument("--bptt", type=int, default=10)
parser.add_argument("--lr", type=float, default=2.0)
parser.add_argument("--tied", action="store_true", default=True)
args = parser.parse_args()
torch.manual_seed(1111)
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


class RNNModel(nn.Module):
    def __init__(self, rnn_type, ntoken, ninp, nhid, nlayers, dropout=0.0, tie_weights=False):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        if rnn_type in ["LSTM", "GRU"]:
            self.rnn = getattr(nn, rnn_type)(ninp, nhid, nlayers, dropout=dropout)
        else:
            nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[rnn_type]
            self.rnn = nn.RNN(ninp, nhid, nlayers, nonlinearity=nonlinearity, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            if nhid != ninp:
                raise ValueError("When using the tied flag, nhid must be equal to emsize")
            self.decoder.weight = self.encoder.weight
        self.init_weights()
        self.rnn_type, self.nhid, self.nlayers = rnn_type, nhid, nlayers

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)
        self.decoder.weight.data.uniform_(-initrange, initrange)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        return F.log_softmax(decoded.view(-1, self.ntoken), dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        if self.rnn_type == "LSTM":
            return (
                weight.new_zeros(self.nlayers, bsz, self.nhid),
                weight.new_zeros(self.nlayers, bsz, self.nhid),
            )
        return weight.new_zeros(self.nlayers, bsz, self.nhid)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous().to(device)


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def get_batch(source, i):
    seq_len = min(args.bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


vocabulary = {w: i for i, w in enumerate(dict.fromkeys(WORDS))}
ids = torch.LongTensor([vocabulary[w] for w in WORDS])
train_data = batchify(ids, 4)
model = RNNModel(args.model, len(vocabulary), 32, 32, 2, tie_weights=args.tied).to(device)
given = torch.optim.SGD(model.parameters(), lr=args.lr)  # its groups hold the rate
criterion = nn.NLLLoss()
hidden = model.init_hidden(4)
model.train()
for batch, i in enumerate(range(0, train_data.size(0) - 1, args.bptt)):
    data, targets = get_batch(train_data, i)
    model.zero_grad()
    hidden = repackage_hidden(hidden)
    output, hidden = model(data, hidden)
    loss = criterion(output, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    for p in model.parameters():
        p.data.add_(p.grad, alpha=-given.param_groups[0]["lr"])
    print("step {:3d} loss {:.6f}".format(batch, loss.item()))
path = os.path.join(tempfile.mkdtemp(), "model.pt")
with open(path, "wb") as f:
    torch.save(model.state_dict(), f)
with open(path, "rb") as f:
    model.load_state_dict(torch.load(f))
model.rnn.flatten_parameters()
