"""Automatic differentiation: the tape, its engine, and what users extend it with."""

from .engine import backward as backward
from .engine import grad as grad
from .mode import enable_grad as enable_grad
from .mode import inference_mode as inference_mode
from .mode import no_grad as no_grad
from .mode import set_grad_enabled as set_grad_enabled
