"""What tests of operators need: samples, tolerances, comparisons. Public: test your own with it.

A sample is one call of an operator record: arrays, numbers or None as inputs, and parameters. An
operator declares a function of a `Sampler` that yields them; the elementwise family derives
its own from the operator's domain.

    samples=lambda s: [s((3, 4), dim=0), s(s.ints(5, (2, 3)), dim=1)]
"""

from .check import check_operator
from .comparison import assert_allclose, assert_close
from .samples import (
    Sample,
    Sampler,
    gapped,
    make_tensor,
    operators,
    placed,
    samples_of,
    serves,
    transposed,
)

__all__ = [
    "Sample",
    "Sampler",
    "assert_allclose",
    "assert_close",
    "check_operator",
    "gapped",
    "make_tensor",
    "operators",
    "placed",
    "samples_of",
    "serves",
    "transposed",
]
