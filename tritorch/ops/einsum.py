"""Sums of products over named dimensions, computed as matrix products of pairs."""

from __future__ import annotations

import functools
import itertools
import math
import string
from collections.abc import Sequence
from typing import Any

from .. import errors
from ..tensor import Tensor
from .api import public
from .arithmetic import mul
from .matmul import matmul, mismatch, mm

LETTERS = string.ascii_uppercase + string.ascii_lowercase
Term = tuple[Tensor, str]  # a tensor and the label of each of its dimensions


def _sublists(args: tuple) -> tuple[str, list[Tensor]]:
    """`einsum(x, [0, 1], y, [1, 2], [0, 2])` as an equation and its operands."""

    def letters(sublist: Sequence) -> str:
        for i in sublist:
            if i is not Ellipsis and not 0 <= i < len(LETTERS):
                raise RuntimeError(
                    f"einsum(): subscript {i} is not within the valid range [0, {len(LETTERS)})"
                )
        return "".join("..." if i is Ellipsis else LETTERS[i] for i in sublist)

    pairs, last = args[: len(args) // 2 * 2], args[len(args) // 2 * 2 :]
    equation = ",".join(letters(s) for s in pairs[1::2])
    if last:
        equation += "->" + letters(last[0])
    return equation, list(pairs[::2])


@functools.lru_cache(1024)
def _parse(equation: str, dims: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """The labels of operands of so many dimensions, and of the result; an ellipsis becomes digits
    from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(dims):
        fewer = "fewer" if len(terms) > len(dims) else "more"
        raise RuntimeError(
            f"einsum(): {fewer} operands were provided than specified in the equation: "
            f"{len(dims)} for {equation!r}"
        )
    widths = [n - len(t.replace("...", "")) for t, n in zip(terms, dims, strict=True)]
    for t, n, width in zip(terms, dims, widths, strict=True):
        _check_term(t, n, width)
    most = max((w for t, w in zip(terms, widths, strict=True) if "..." in t), default=0)
    rest = [chr(ord("0") + i) for i in range(most)]
    labels = tuple(
        t.replace("...", "".join(rest[most - w :])) for t, w in zip(terms, widths, strict=True)
    )
    if arrow:
        return labels, _check_result(right, rest, labels)
    seen = "".join(labels)
    free = sorted(c for c in set(seen) if c.isalpha() and seen.count(c) == 1)
    return labels, "".join(rest) + "".join(free)


def _check_term(term: str, dims: int, width: int) -> None:
    names = term.replace("...", "", 1)
    if not names.isascii() or not (names.isalpha() or not names):
        bad = next(c for c in names if not (c.isascii() and c.isalpha()))
        raise RuntimeError(
            f"einsum(): invalid subscript given at index {term.index(bad)} in the equation "
            f"string, subscripts must be in [a-zA-Z]; got {term!r}"
        )
    if width < 0 or (width and "..." not in term):
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({len(names)}) "
            f"{'does not match' if '...' not in term else 'is more than'} the number of dimensions "
            f"({dims}) for operand {term!r}"
        )


def _check_result(right: str, rest: list[str], labels: tuple[str, ...]) -> str:
    for c in set(right.replace("...", "", 1)):
        if not (c.isascii() and c.isalpha()):
            raise RuntimeError(f"einsum(): invalid subscript {c!r} in the output {right!r}")
        if right.count(c) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {c} appears more than once in the output"
            )
        if not any(c in term for term in labels):
            raise RuntimeError(
                f"einsum(): output subscript {c} does not appear in the equation for any "
                "input operand"
            )
    return right.replace("...", "".join(rest))


def _diagonals(x: Tensor, labels: str) -> Term:
    """Each repeated label once: the diagonal of its dimensions."""
    if len(set(labels)) == len(labels):
        return x, labels
    for c in dict.fromkeys(labels):
        while labels.count(c) > 1:
            i = labels.index(c)
            j = labels.index(c, i + 1)
            n, m = x._data.shape[i], x._data.shape[j]
            if n != m:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand of shape {tuple(x.shape)} "
                    f"but the sizes don't match, {m} != {n}"
                )
            x = x.diagonal(0, i, j)
            labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + c
    return x, labels


def _sizes(terms: Sequence[Term]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for x, labels in terms:
        for c, n in zip(labels, x._data.shape, strict=True):
            known = sizes.setdefault(c, n)
            if known == 1:
                sizes[c] = n
            elif n not in (1, known):
                shapes = ", ".join(str(tuple(y.shape)) for y, _ in terms)
                raise RuntimeError(
                    f"einsum(): operands do not broadcast with remapped shapes: subscript {c} has "
                    f"size {n} and {known}; shapes {shapes}"
                )
    return sizes


def _summed(term: Term, drop: set[str]) -> Term:
    x, labels = term
    dims = [i for i, c in enumerate(labels) if c in drop]
    if not dims:
        return term
    return x.sum(dims), "".join(c for c in labels if c not in drop)


def _arranged(term: Term, order: str) -> Tensor:
    """The dimensions in `order`, with size 1 where the term has no such label."""
    x, labels = term
    dims = [labels.index(c) for c in order if c in labels]
    if dims != list(range(len(dims))):
        x = x.permute(dims)
    if len(dims) == len(order):
        return x
    shape = iter(x._data.shape)
    return x.reshape([next(shape) if c in labels else 1 for c in order])


def _pair(a: Term, b: Term, keep: set[str]) -> Term:
    """The product of two terms, summed over the labels that nothing else needs."""
    a = _summed(a, {c for c in a[1] if c not in b[1] and c not in keep} | _ones(a, b, keep))
    b = _summed(b, {c for c in b[1] if c not in a[1] and c not in keep} | _ones(b, a, keep))
    inner = "".join(c for c in a[1] if c in b[1] and c not in keep)
    batch = "".join(c for c in a[1] if c in b[1] and c in keep)
    left = "".join(c for c in a[1] if c not in b[1])
    right = "".join(c for c in b[1] if c not in a[1])
    if not inner:
        order = batch + left + right
        return mul(_arranged(a, order), _arranged(b, order)), order
    x, y = _arranged(a, batch + left + inner), _arranged(b, batch + inner + right)
    n, size = len(batch), dict(zip(b[1], b[0]._data.shape, strict=True))
    size.update((c, m) for c, m in zip(a[1], a[0]._data.shape, strict=True) if c in left)
    k = math.prod([size[c] for c in inner])
    rows, columns = (math.prod([size[c] for c in part]) for part in (left, right))
    if len(left) != 1 or len(inner) != 1:
        x = x.reshape((*x._data.shape[:n], rows, k))
    if len(right) != 1 or len(inner) != 1:
        y = y.reshape((*y._data.shape[:n], k, columns))
    out = matmul(x, y)
    if len(left) != 1 or len(right) != 1:
        shape = (*out._data.shape[:n], *(size[c] for c in left), *(size[c] for c in right))
        out = out.reshape(shape)
    return out, batch + left + right


def _ones(a: Term, b: Term, keep: set[str]) -> set[str]:
    """Labels to be summed away in `a`: its size 1 broadcasts against `b`, or b's against it."""
    other = dict(zip(b[1], b[0]._data.shape, strict=True))
    return {
        c
        for c, n in zip(a[1], a[0]._data.shape, strict=True)
        if c in other and other[c] != n and (n == 1 or c not in keep)
    }


def _cheapest(terms: Sequence[Term], out: str) -> tuple[int, int]:
    """The pair of terms whose product takes the fewest multiplications."""
    sizes = _sizes(terms)

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        a, b = (set(terms[i][1]) for i in pair)
        others = set(out).union(*(t[1] for i, t in enumerate(terms) if i not in pair))
        kept = [sizes[c] for c in a | b if c in others]
        return math.prod([sizes[c] for c in a | b]), math.prod(kept)

    return min(itertools.combinations(range(len(terms)), 2), key=cost)


def contract(terms: list[Term], out: str) -> Tensor:
    """The terms multiplied, summed over every label that is not in `out`."""
    sizes = _sizes(terms)
    while len(terms) > 1:
        i, j = (0, 1) if len(terms) == 2 else _cheapest(terms, out)
        b, a = terms.pop(j), terms.pop(i)
        keep = set(out).union(*(labels for _, labels in terms))
        terms.insert(0, _pair(a, b, keep))
    term = _summed(terms[0], set(terms[0][1]) - set(out))
    result = _arranged(term, out)
    shape = tuple(sizes[c] for c in out)
    return result if result._data.shape == shape else result.expand(shape)


def einsum(*args: Any) -> Tensor:
    """The sum of products that an equation in Einstein's notation names.

    `einsum("bij,bjk->bik", x, y)`: labels that are not in the result are summed over, those
    repeated within one operand take its diagonal, `...` stands for dimensions that broadcast.
    Without `->` the result has the labels that occur once, in alphabetical order. The form with
    lists is `einsum(x, [0, 1], y, [1, 2], [0, 2])`. Several operands are multiplied pair by pair,
    the cheapest pair first.

    Example:
        >>> import tritorch as torch
        >>> torch.einsum("ij,ij->i", torch.ones(2, 3), torch.ones(2, 3))
        tensor([3., 3.])
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], str):
        equation, operands = args[0], list(args[1:])
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = list(operands[0])
    else:
        equation, operands = _sublists(args)
    for x in operands:
        if not isinstance(x, Tensor):
            raise TypeError(f"einsum(): operands must be Tensors, got {type(x).__name__}")
    labels, out = _parse(equation, tuple(x._data.ndim for x in operands))
    terms = [_diagonals(x, names) for x, names in zip(operands, labels, strict=True)]
    return contract(terms, out)


public(method=False)(einsum)


@public(method=False, out=True)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over dimensions of `a` and `b`: as many last ones of `a` and first ones
    of `b` as `dims` says, or the two lists of dimensions that it holds."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a._data.ndim, b._data.ndim):
            raise RuntimeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims} for shapes "
                f"{errors.shapes(a, b)}"
            )
        dims = (range(a._data.ndim - dims, a._data.ndim), range(dims))
    over_a, over_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(over_a) != len(over_b):
        raise RuntimeError(
            f"tensordot: both dimension lists should have same length, got {over_a} and {over_b}"
        )
    over_a = list(errors.wrap_dims("tensordot", over_a, a._data.shape)) if over_a else []
    over_b = list(errors.wrap_dims("tensordot", over_b, b._data.shape)) if over_b else []
    for i, j in zip(over_a, over_b, strict=True):
        n, m = a._data.shape[i], b._data.shape[j]
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {n} in dim "
                f"{i} and second has size {m} in dim {j}"
            )
        if n != m:
            a, b = (_total(a, i), b) if n != 1 else (a, _total(b, j))
    return _over(a, b, over_a, over_b)


def _total(x: Any, dim: int) -> Any:
    return x.sum(dim, True, dtype=x.dtype)


def _over(a: Tensor, b: Tensor, over_a: list[int], over_b: list[int]) -> Tensor:
    x, y = a._data.shape, b._data.shape
    free_a = [d for d in range(len(x)) if d not in over_a]
    free_b = [d for d in range(len(y)) if d not in over_b]
    k = math.prod([x[d] for d in over_a])
    left = a.permute(free_a + over_a).reshape(math.prod([x[d] for d in free_a]), k)
    right = b.permute(over_b + free_b).reshape(k, math.prod([y[d] for d in free_b]))
    shape = [x[d] for d in free_a] + [y[d] for d in free_b]
    return mm(left, right).reshape(shape)


@public(out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: `input` with each element replaced by its product with `other`."""
    a, b = input._data.shape, other._data.shape
    n = max(len(a), len(b))
    a, b = (1,) * (n - len(a)) + tuple(a), (1,) * (n - len(b)) + tuple(b)
    x = input.reshape([m for pair in zip(a, (1,) * n, strict=True) for m in pair])
    y = other.reshape([m for pair in zip((1,) * n, b, strict=True) for m in pair])
    return (x * y).reshape([p * q for p, q in zip(a, b, strict=True)])


def chain(matrices: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the order of fewest multiplications."""
    n = len(matrices)
    sizes = [matrices[0]._data.shape[0], *(m._data.shape[1] for m in matrices)]
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def build(i: int, j: int) -> Tensor:
        k = cost[i, j][1]
        return matrices[i] if i == j else mm(build(i, k), build(k + 1, j))

    return build(0, n - 1)


@public(method=False)
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of two or more matrices in the order of fewest multiplications."""
    if not matrices:
        raise RuntimeError("chain_matmul: Expecting at least 1 matrix")
    for i, m in enumerate(matrices):
        if m._data.ndim != 2:
            raise RuntimeError(
                f"chain_matmul: Tensor dimension is {m._data.ndim}, expected 2 instead, "
                f"for matrix {i}"
            )
    for a, b in itertools.pairwise(matrices):
        if a._data.shape[1] != b._data.shape[0]:
            raise mismatch("chain_matmul", a._data.shape, b._data.shape)
    errors.deprecated("chain_matmul", "torch.linalg.multi_dot, which takes a list")
    from .api import write_out

    result = chain(matrices)
    return result if out is None else write_out("chain_matmul", out, result)
