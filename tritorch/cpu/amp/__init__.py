"""`tritorch.amp` for "cpu", under PyTorch's older names."""

from .autocast_mode import autocast
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast"]
