"""Run a program written for PyTorch: `python -m tritorch script.py args...`, or `-m module`."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

from .compat import install_as_torch

USAGE = (
    "usage: python -m tritorch script.py [args ...]\n       python -m tritorch -m module [args ...]"
)


def main() -> None:
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(__doc__, USAGE, sep="\n\n", file=sys.stdout if args else sys.stderr)
        sys.exit(0 if args else 2)
    with warnings.catch_warnings(record=True) as hidden:
        warnings.simplefilter("always")
        install_as_torch()
    if hidden:
        print(
            "tritorch: answers `import torch`; the torch installed here is hidden", file=sys.stderr
        )
    if args[0] == "-m":
        if len(args) < 2:
            sys.exit(USAGE)
        sys.argv = args[1:]
        sys.path.insert(0, "")
        runpy.run_module(args[1], run_name="__main__", alter_sys=True)
        return
    if not Path(args[0]).exists():
        sys.exit(f"python -m tritorch: no such file: {args[0]}")
    sys.argv = args
    sys.path.insert(0, str(Path(args[0]).resolve().parent))
    runpy.run_path(args[0], run_name="__main__")


if __name__ == "__main__":
    main()
