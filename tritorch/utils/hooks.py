"""What hooks are removed by, under the name of PyTorch's file."""

from ..autograd.node import RemovableHandle as RemovableHandle

__all__ = ["RemovableHandle"]
