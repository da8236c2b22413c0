"""Writes `docs/compatibility.md`: the programs of `tests/programs`, by tritorch and by torch.

.venv-oracle/bin/python tests/compatibility.py       needs an environment with torch
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
HEAD = """# Programs written for PyTorch, run unchanged

Written by `tests/compatibility.py`: each program of `tests/programs` ran under
`python -m tritorch`'s hook and with torch {torch}, both on one thread of the CPU from the same
weights and data ({processor}, Python {python}, {date}). *Losses* is the largest relative difference
of any loss that the program prints, of all its steps. *Time* is tritorch's over torch's after a
first step of training, at which PyTorch imports much; these are small models, where the time of a
call counts for most.

| program | what it exercises | steps | losses | time |
| --- | --- | ---: | ---: | ---: |
"""

FOOT = """
The programs are written for these tests, and use what well-known public ones use:

- pytorch/examples: mnist, vae, dcgan, word_language_model, time_sequence_prediction, gat,
  super_resolution, siamese_network, fast_neural_style, reinforcement_learning
- karpathy/nanoGPT and minGPT (char_gpt), lucidrains/denoising-diffusion-pytorch (diffusion),
  milesial/Pytorch-UNet (unet), harvardnlp/annotated-transformer (translation), openai/CLIP (clip),
  vwxyzjn/cleanrl (dqn, actor_critic), lucidrains/vit-pytorch (vit), cbfinn/maml (maml),
  fastai/fastai (callbacks), pytorch/opacus (private_sgd), karpathy/pytorch-normalizing-flows (flow)

What asks for `torchvision` or `torchtext` gets `tritorch.vision` and `tritorch.text`; their
programs stand in `tests/test_vision.py`, `tests/test_vision_detection.py` and `tests/test_text.py`.
"""


class Run(NamedTuple):
    losses: list[float]
    seconds: float
    error: str


def run(lib: str, program: Path) -> Run:
    command = [sys.executable, str(ROOT / "tests" / "program_runner.py"), lib, str(program)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    found = [float(x) for x in re.findall(r"loss ([-\d.e+]+)", done.stdout)]
    seconds = re.search(r"elapsed ([\d.]+) s", done.stdout)
    lines = done.stderr.strip().splitlines()
    error = lines[-1] if done.returncode and lines else ""
    return Run(found, float(seconds[1]) if seconds else float("nan"), error)


def row(program: Path) -> str:
    """A line of the table. What a program exercises is its docstring's first paragraph."""
    text = ast.get_docstring(ast.parse(program.read_text())) or ""
    about = " ".join(text.split("\n\n")[0].split()).rstrip(".")
    ours, theirs = run("tritorch", program), run("torch", program)
    link = f"[{program.stem}](../tests/programs/{program.name})"
    if ours.error or len(ours.losses) != len(theirs.losses):
        return f"| {link} | {about} | {len(ours.losses)} | {ours.error or 'differ'} | |"
    a, b = np.array(ours.losses), np.array(theirs.losses)
    off = float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-6)))
    ratio = ours.seconds / theirs.seconds
    return f"| {link} | {about} | {len(a)} | {off:.0e} | {ratio:.2f} |"


def main() -> None:
    import torch

    sys.path.insert(0, str(ROOT))
    from tritorch.perf.results import processor

    rows = []
    for program in sorted((ROOT / "tests" / "programs").glob("*.py")):
        rows.append(row(program))
        print(rows[-1], flush=True)
    head = HEAD.format(
        torch=torch.__version__,
        processor=processor(),
        python=platform.python_version(),
        date=time.strftime("%Y-%m-%d"),
    )
    PAGE.write_text(head + "\n".join(rows) + "\n" + FOOT)


if __name__ == "__main__":
    main()
