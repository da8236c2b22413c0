"""Run a program of `tests/programs` with torch or tritorch, from the same weights.

    python tests/program_runner.py torch|tritorch tests/programs/mnist.py [arguments]

Both libraries have random numbers of their own, so the first optimizer that gets a parameter fills
it from one generator of NumPy's; programs take their data from NumPy already.
"""

from __future__ import annotations

import runpy
import sys
import time
import warnings
from typing import Any

import numpy as np


def same_weights(torch: Any) -> None:
    """Parameters are drawn from NumPy, with the spread of the usual initialisation."""
    rng, known = np.random.default_rng(0), set()
    plain = torch.optim.Optimizer.__init__

    def init(self: Any, params: Any, defaults: Any) -> None:
        plain(self, params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if id(p) not in known:
                    known.add(id(p))
                    fan = max(int(np.prod(p.shape[1:])), 1) if p.dim() > 1 else p.shape[0]
                    drawn = rng.uniform(-1, 1, tuple(p.shape)) / np.sqrt(fan)
                    with torch.no_grad():
                        p.copy_(torch.from_numpy(drawn))

    torch.optim.Optimizer.__init__ = init


def warm(torch: Any) -> None:
    """One step of training: PyTorch imports its compiler at the first, which takes seconds."""
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(net.parameters())
    torch.nn.functional.mse_loss(net(torch.ones(3, 2)), torch.zeros(3, 1)).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def main() -> None:
    name, program, *rest = sys.argv[1:]
    if name == "tritorch":
        import tritorch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tritorch.install_as_torch()
    import torch

    assert torch.__name__ == name
    torch.set_num_threads(1)
    warm(torch)
    same_weights(torch)
    sys.argv = [program, *rest]
    start = time.perf_counter()
    runpy.run_path(program, run_name="__main__")
    print(f"elapsed {time.perf_counter() - start:.3f} s")


if __name__ == "__main__":
    main()
