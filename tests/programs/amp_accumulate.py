"""Mixed precision guarded by torch.cuda.is_available(): autocast, GradScaler with enabled, accumulation
over micro-batches, no_sync-like closures, resuming from a checkpoint of model, optimizer, scheduler,
scaler and random state.

Exercises what training scripts of many repositories do.
"""

import contextlib
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn

use_amp = torch.cuda.is_available()
device = "cuda" if use_amp else "cpu"
scaler = torch.amp.GradScaler(device, enabled=use_amp)
autocast = (
    torch.autocast(device_type=device, dtype=torch.float16) if use_amp else contextlib.nullcontext()
)
torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = True
rng = np.random.default_rng(0)
x = torch.from_numpy(rng.standard_normal((64, 16))).float().to(device)
y = torch.from_numpy(rng.standard_normal((16, 4))).float().to(device)
y = x @ y
model = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.LayerNorm(64), nn.Linear(64, 4)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=2)
micro = 4
path = os.path.join(tempfile.mkdtemp(), "checkpoint.pt")


def save(step):
    torch.save(
        {
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "scaler": scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "args": {"micro": micro, "name": "run"},
        },
        path,
    )


def run(first, last):
    losses = []
    for step in range(first, last):
        total = 0.0
        for part in range(micro):
            xs, ys = x[part::micro], y[part::micro]
            with autocast:
                loss = nn.functional.huber_loss(model(xs), ys) / micro
            scaler.scale(loss).backward()
            total += loss.item()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=False)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        losses.append(total)
        print(f"step {step} loss {total:.7f}")
    return losses


run(0, 8)
save(8)
once = run(8, 14)
checkpoint = torch.load(path, map_location=device, weights_only=True)
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
scheduler.load_state_dict(checkpoint["scheduler"])
scaler.load_state_dict(checkpoint["scaler"])
torch.set_rng_state(checkpoint["rng"].cpu())
again = run(checkpoint["step"], 14)
assert np.allclose(once, again, rtol=1e-6), (once, again)
