"""Question answering by spans: a BERT-like encoder from nn.TransformerEncoder with padding masks, a
pooler, start and end logits clamped and ignored, layer-wise learning rates, a warm-up schedule.

Exercises what huggingface's run_squad does.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import CrossEntropyLoss
from torch.optim.lr_scheduler import LinearLR, SequentialLR

rng = np.random.default_rng(0)


class Embeddings(nn.Module):
    def __init__(self, vocab=24, width=32, length=16):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(length, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.0)
        self.register_buffer("position_ids", torch.arange(length).expand((1, -1)))

    def forward(self, input_ids, token_type_ids):
        places = self.position_ids[:, : input_ids.size(1)]
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x + self.position_embeddings(places)))


class QuestionAnswering(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embeddings = Embeddings(width=width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.qa_outputs = nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask, token_type_ids, start=None, end=None):
        x = self.encoder(
            self.embeddings(input_ids, token_type_ids), src_key_padding_mask=attention_mask == 0
        )
        start_logits, end_logits = self.qa_outputs(x).split(1, dim=-1)
        start_logits, end_logits = (
            start_logits.squeeze(-1).contiguous(),
            end_logits.squeeze(-1).contiguous(),
        )
        if start is None:
            return start_logits, end_logits
        ignored = start_logits.size(1)
        start, end = start.clamp(0, ignored), end.clamp(0, ignored)
        loss_fct = CrossEntropyLoss(ignore_index=ignored)
        return (loss_fct(start_logits, start) + loss_fct(end_logits, end)) / 2


def batch(n=16):
    """A question word q, then a text in which the answer stands between two q's."""
    ids, masks, kinds, starts, ends = [], [], [], [], []
    for _ in range(n):
        q, text = rng.integers(3, 9), rng.integers(9, 24, rng.integers(9, 13))
        a = rng.integers(0, len(text) - 4)
        text[a] = text[a + 3] = q
        row = [1, q, 2, *text.tolist()]
        pad = 16 - len(row)
        ids.append(row + [0] * pad)
        masks.append([1] * len(row) + [0] * pad)
        kinds.append([0] * 3 + [1] * 13)
        starts.append(a + 4)
        ends.append(a + 5)
    return [torch.tensor(v) for v in (ids, masks, kinds, starts, ends)]


torch.manual_seed(0)
model = QuestionAnswering()
no_decay = ["bias", "LayerNorm.weight", "norm1.weight", "norm2.weight"]
groups = [
    {
        "params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],
        "weight_decay": 0.01,
    },
    {
        "params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)],
        "weight_decay": 0.0,
        "lr": 5e-3,
    },
]
optimizer = torch.optim.AdamW(groups, lr=3e-3, eps=1e-8)
warm = LinearLR(optimizer, start_factor=0.1, total_iters=4)
cool = LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=20)
scheduler = SequentialLR(optimizer, [warm, cool], milestones=[4])
model.train()
for step in range(20):
    loss = model(*batch())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    model.zero_grad()
    print(f"step {step} loss {loss.item():.7f}")
model.eval()
ids, masks, kinds, starts, ends = batch(4)
with torch.no_grad():
    s, e = model(ids, masks, kinds)
print("starts", s.argmax(-1).tolist(), "true", starts.tolist())
