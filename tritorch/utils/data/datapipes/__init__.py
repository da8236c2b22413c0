"""Pipes: datasets made of small parts, each of which takes what the one before it gives."""

from . import iter, map

__all__ = ["iter", "map"]
