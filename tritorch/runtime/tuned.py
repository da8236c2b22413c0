"""Blocks that searches found, kept on disk: one file a device, under `TRITORCH_CACHE`.

A file that cannot be read, or is of another device or format, is ignored with a warning.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
Choices = dict[str, tuple[int, ...]]


def folder() -> Path:
    """Where files are kept: `$TRITORCH_CACHE`, else `tritorch` in the user's folder for caches."""
    own = os.environ.get("TRITORCH_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(caches) / "tritorch"


def path_of(device: str) -> Path:
    """The file of a device of this name."""
    return folder() / "tuned" / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def load(device: str) -> Choices:
    """What was found for a device: key to blocks."""
    path = path_of(device)
    try:
        return _checked(json.loads(path.read_text()), device)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        warnings.warn(
            f"tune: {path} is ignored, {error}; delete it, or run tritorch.tune again", stacklevel=2
        )
        return {}


def _checked(found: Any, device: str) -> Choices:
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    if found.get("device") != device:
        raise ValueError(f"it was made on {found.get('device')!r}, not on {device!r}")
    choices = found.get("choices")
    if not isinstance(choices, dict):
        raise ValueError("it has no choices")
    for key, blocks in choices.items():
        if not isinstance(blocks, list) or not all(type(n) is int and n > 0 for n in blocks):
            raise ValueError(f"the blocks of {key!r} are {blocks!r}")
    return {key: tuple(blocks) for key, blocks in choices.items()}


def save(device: str, choices: Mapping[str, tuple[int, ...]]) -> Path:
    """Write what was found, beside what the file has already; a crash leaves the old one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be read is replaced
        known = load(device)
    path = path_of(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = {k: list(v) for k, v in sorted({**known, **choices}.items())}
    text = json.dumps({"format": FORMAT, "device": device, "choices": merged}, indent=1)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(text + "\n")
    draft.replace(path)
    return path
