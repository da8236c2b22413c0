"""What the programs of this folder share: same weights and data in every library."""

from __future__ import annotations

import math

import numpy as np

PROGRAMS = {}


def program(f):
    """Registers a function of the library that returns what all libraries must agree on."""
    PROGRAMS[f.__name__] = f
    return f


def fill(torch, module, seed=0):
    """Weights from one generator, of the spread of the usual initialisation."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for _, p in sorted(module.named_parameters()):
            fan = max(int(np.prod(p.shape[1:])), 1) if p.dim() > 1 else 4
            p.copy_(torch.from_numpy(rng.uniform(-1, 1, tuple(p.shape)) / math.sqrt(fan)))
    return module


def data(torch, *shape, seed=1, dtype=np.float32):
    """Normal numbers."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))
