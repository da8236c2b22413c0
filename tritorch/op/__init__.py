"""The spine: the operator record, how one is declared, and what happens when it is called.

An operator is declared once. Its NumPy function, or for a fused operator its composition `ref`,
is the body of a decorated function: positional parameters are tensors, keyword ones are not.

    @primitive(meta=..., triton="index.gather", vjp=(lambda g, x_shape, index, dim: ..., None))
    def gather(x, index, *, dim):
        return np.take_along_axis(x, index, dim)

Read `record.py` first: the record, a call, the same in place. Then `device.py` (kernels),
`views.py`, `declare.py` (the decorators) and `derivative.py` (of a composition).
"""

from __future__ import annotations

from ..autograd.rules import joint
from .declare import fused, method, primitive, view
from .derivative import through_ref
from .device import FALLBACKS, check_devices, chosen, imported, users_level
from .images import Images, in_order
from .record import REGISTRY, InPlace, Op, check_writable, copy_data, edges_of, same_as
from .views import ViewOp, alias, share

__all__ = [
    "FALLBACKS",
    "REGISTRY",
    "Images",
    "InPlace",
    "Op",
    "ViewOp",
    "alias",
    "check_devices",
    "check_writable",
    "chosen",
    "copy_data",
    "edges_of",
    "fused",
    "imported",
    "in_order",
    "joint",
    "method",
    "primitive",
    "same_as",
    "share",
    "through_ref",
    "users_level",
    "view",
]
