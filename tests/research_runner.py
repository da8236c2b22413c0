"""Run the programs of `tests/research` with torch or tritorch, and print what they return as JSON.

python tests/research_runner.py torch|tritorch [names]
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "research"


def plain(torch: Any, x: Any) -> Any:
    """What a program returned, in lists and numbers."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
        values = torch.view_as_real(x) if x.is_complex() else x.to(torch.float64)
        return {"dtype": str(x.dtype).split(".")[-1], "values": values.tolist()}
    if isinstance(x, dict):
        return {str(k): plain(torch, v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(torch, v) for v in x]
    if isinstance(x, int | float) or x is None:
        return x
    return str(x).replace("tritorch", "torch")


def main() -> None:
    name, *wanted = sys.argv[1:]
    warnings.simplefilter("ignore")
    if name == "tritorch":
        import tritorch

        tritorch.install_as_torch()
    import torch

    assert torch.__name__ == name
    torch.set_num_threads(1)
    sys.path.insert(0, str(FOLDER))
    for file in sorted(FOLDER.glob("*.py")):
        importlib.import_module(file.stem)
    found = {}
    for key, run in sys.modules["common"].PROGRAMS.items():
        if wanted and key not in wanted:
            continue
        try:
            found[key] = plain(torch, run(torch))
        except Exception:
            found[key] = {"error": traceback.format_exc()}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
