"""Sequence to sequence with nn.Transformer: masks, padding by pad_sequence, greedy decoding, a Noam
schedule, xavier initialisation over parameters, ignore_index.

Exercises what PyTorch's translation tutorial does.
"""

import math
from typing import Iterable, List

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor
from torch.nn import Transformer
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, BOS, EOS = 0, 1, 2
rng = np.random.default_rng(0)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class PositionalEncoding(nn.Module):
    def __init__(self, emb_size: int, maxlen: int = 50):
        super().__init__()
        den = torch.exp(-torch.arange(0, emb_size, 2) * math.log(10000) / emb_size)
        pos = torch.arange(0, maxlen).reshape(maxlen, 1)
        table = torch.zeros((maxlen, emb_size))
        table[:, 0::2] = torch.sin(pos * den)
        table[:, 1::2] = torch.cos(pos * den)
        self.register_buffer("pos_embedding", table.unsqueeze(-2))

    def forward(self, token_embedding: Tensor):
        return token_embedding + self.pos_embedding[: token_embedding.size(0), :]


class Seq2Seq(nn.Module):
    def __init__(self, vocab: int, emb: int = 32):
        super().__init__()
        self.transformer = Transformer(
            d_model=emb,
            nhead=4,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dim_feedforward=64,
            dropout=0.0,
        )
        self.generator = nn.Linear(emb, vocab)
        self.tok = nn.Embedding(vocab, emb)
        self.scale, self.positional = math.sqrt(emb), PositionalEncoding(emb)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.positional(self.tok(tokens.long()) * self.scale)

    def forward(self, src, trg, src_mask, tgt_mask, src_pad, tgt_pad, mem_pad):
        outs = self.transformer(
            self.embed(src), self.embed(trg), src_mask, tgt_mask, None, src_pad, tgt_pad, mem_pad
        )
        return self.generator(outs)

    def encode(self, src, mask):
        return self.transformer.encoder(self.embed(src), mask)

    def decode(self, tgt, memory, mask):
        return self.transformer.decoder(self.embed(tgt), memory, mask)


def subsequent(size):
    mask = (torch.triu(torch.ones((size, size), device=DEVICE)) == 1).transpose(0, 1)
    return mask.float().masked_fill(mask == 0, float("-inf")).masked_fill(mask == 1, float(0.0))


def create_mask(src, tgt):
    tgt_mask = subsequent(tgt.shape[0])
    src_mask = torch.zeros((src.shape[0], src.shape[0]), device=DEVICE)
    return (
        src_mask,
        tgt_mask,
        (src == PAD).transpose(0, 1).float() * -1e9,
        (tgt == PAD).transpose(0, 1).float() * -1e9,
    )


def wrap(ids: Iterable[int]) -> Tensor:
    return torch.cat((torch.tensor([BOS]), torch.tensor(list(ids)), torch.tensor([EOS])))


def collate(batch: List):
    src, tgt = zip(*batch)
    return pad_sequence([wrap(s) for s in src], padding_value=PAD), pad_sequence(
        [wrap(t) for t in tgt], padding_value=PAD
    )


pairs = [
    (w, w[::-1]) for w in (rng.integers(3, 12, rng.integers(2, 7)).tolist() for _ in range(96))
]
torch.manual_seed(0)
model = Seq2Seq(12).to(DEVICE)
for p in model.parameters():
    if p.dim() > 1:
        nn.init.xavier_uniform_(p)
loss_fn = torch.nn.CrossEntropyLoss(ignore_index=PAD)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9)
noam = lambda s: min((s + 1) ** -0.5, (s + 1) * 8**-1.5)  # noqa: E731
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, noam)
model.train()
for epoch in range(2):
    for step, (src, tgt) in enumerate(DataLoader(pairs, batch_size=16, collate_fn=collate)):
        src, tgt = src.to(DEVICE), tgt.to(DEVICE)
        tgt_input, tgt_out = tgt[:-1, :], tgt[1:, :]
        src_mask, tgt_mask, src_pad, tgt_pad = create_mask(src, tgt_input)
        logits = model(src, tgt_input, src_mask, tgt_mask, src_pad, tgt_pad, src_pad)
        optimizer.zero_grad()
        loss = loss_fn(logits.reshape(-1, logits.shape[-1]), tgt_out.reshape(-1))
        loss.backward()
        optimizer.step()
        schedule.step()
        print(f"step {step} loss {loss.item():.7f}")
model.eval()
with torch.no_grad():
    src = wrap([3, 4, 5]).view(-1, 1).to(DEVICE)
    memory = model.encode(src, torch.zeros(5, 5, device=DEVICE).type(torch.bool))
    ys = torch.ones(1, 1).fill_(BOS).type(torch.long).to(DEVICE)
    for _ in range(6):
        out = model.decode(ys, memory, subsequent(ys.size(0)).to(DEVICE)).transpose(0, 1)
        _, word = torch.max(model.generator(out[:, -1]), dim=1)
        ys = torch.cat([ys, torch.ones(1, 1).type_as(src.data).fill_(word.item())], dim=0)
    print(ys.flatten().tolist())
