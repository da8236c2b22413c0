"""Winding a pipe forward to where it was when it was saved."""

from __future__ import annotations

from typing import Any

from ...graph_settings import apply_random_seed
from .._hook_iterator import _SnapshotState

__all__ = ["_simple_graph_snapshot_restoration"]


def _simple_graph_snapshot_restoration(datapipe: Any, n_iterations: int, rng: Any = None) -> None:
    """Take `n_iterations` samples of a pipe, so that its next iterator goes on after them.

    `rng`, as it was at the start, seeds what is random. RuntimeError for a pipe that was restored
    and not iterated since, or where it has fewer samples.
    """
    if datapipe._snapshot_state is _SnapshotState.Restored:
        raise RuntimeError(
            "Snapshot restoration cannot be applied: the pipe was restored, and not iterated since"
        )
    datapipe.reset()
    apply_random_seed(datapipe, rng)
    ahead = iter(datapipe)
    for _ in range(n_iterations):
        try:
            next(ahead)
        except StopIteration:
            raise RuntimeError(
                f"Fast-forward {datapipe} by {n_iterations} iterations exceeds the number of "
                "samples available."
            ) from None
    datapipe._fast_forward_iterator = ahead
    datapipe._snapshot_state = _SnapshotState.Restored
