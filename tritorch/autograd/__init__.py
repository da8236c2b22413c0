"""Automatic differentiation: the tape, its engine, and what users extend it with."""

from .engine import backward as backward, grad as grad
from .function import Function as Function
from .gradcheck import (
    GradcheckError as GradcheckError,
    gradcheck as gradcheck,
    gradgradcheck as gradgradcheck,
)
from .mode import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
