"""Messages of errors: each begins with the operator's name and gives the shapes.

softmax: dim 3 is out of range for shape (2, 4); expected -2 to 1
"""

from __future__ import annotations

from collections.abc import Sequence


def wrap_dim(op: str, dim: int, shape: Sequence[int]) -> int:
    """`dim` counted from the front; IndexError where `shape` has no such dimension."""
    n = len(shape) or 1
    if not -n <= dim < n:
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], "
            f"but got {dim}) for shape {tuple(shape)}"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(op: str, dims: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Each of `dims` counted from the front; RuntimeError where one appears twice."""
    wrapped = tuple(wrap_dim(op, d, shape) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"{op}: dim {wrapped} appears multiple times in the list of dims")
    return wrapped


def shapes(*tensors: object) -> str:
    """The shapes of some tensors for a message: `(2, 3) and (4,)`."""
    return " and ".join(str(tuple(getattr(t, "shape", ()))) for t in tensors)


def broadcast_shapes(op: str, *all_shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all broadcast to; RuntimeError that names the operator where they do not."""
    out: list[int] = [1] * max((len(s) for s in all_shapes), default=0)
    for shape in all_shapes:
        for i in range(1, len(shape) + 1):
            n = shape[-i]
            if out[-i] == 1:
                out[-i] = n
            elif n not in (1, out[-i]):
                listed = " and ".join(str(tuple(s)) for s in all_shapes)
                raise RuntimeError(
                    f"{op}: The size of tensor a ({out[-i]}) must match the size of tensor b ({n}) "
                    f"at non-singleton dimension {len(out) - i}; shapes {listed} do not broadcast"
                )
    return tuple(out)
