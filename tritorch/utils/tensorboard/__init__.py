"""TensorBoard's logs, through the package tensorboardX."""

from .writer import SummaryWriter

__all__ = ["SummaryWriter"]
