"""Functions of functions: modules called with other parameters."""

from .functional_call import functional_call, stack_module_state

__all__ = ["functional_call", "stack_module_state"]
