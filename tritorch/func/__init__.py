"""Functions of functions: derivatives, maps over batches, modules called with other parameters."""

from .derivatives import grad, grad_and_value, jvp, linearize, vjp
from .functional_call import (
    functional_call,
    functionalize,
    replace_all_batch_norm_modules_,
    stack_module_state,
)
from .jacobians import hessian, jacfwd, jacrev
from .vectorize import vmap

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
