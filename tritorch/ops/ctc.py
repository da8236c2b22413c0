"""ctc_loss, fused: minus the log-probability that a sequence spells a target, blanks left out.

Sums over all alignments run through the target with blanks between its labels, (N, 2 S + 1); the
loop is over time alone. Source: Graves et al., "Connectionist temporal classification", 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import state
from ..op import fused, joint, through_ref
from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import where
from .autocast import listed
from .create import as_tensor, tensor
from .cross_entropy import reduction_name, reduction_of
from .join import cat, stack

NEVER = -1e30  # the logarithm of zero where infinities would give NaN

# -- on NumPy arrays ------------------------------------------------------------------------------


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of two numbers from theirs; NumPy's own has no vectors."""
    top = np.maximum(a, b)
    low = np.minimum(a, b) - np.where(np.isneginf(top), top.dtype.type(0), top)
    return np.log1p(np.exp(low, out=low), out=low) + top


def _shifted(x: np.ndarray, by: int) -> np.ndarray:
    """The columns moved by `by`, with log 0 for those without a neighbour."""
    out = np.full_like(x, -np.inf)
    if by > 0:
        out[:, by:] = x[:, : max(x.shape[1] - by, 0)]
    else:
        out[:, :by] = x[:, -by:]
    return out


def _skips(labels: np.ndarray) -> np.ndarray:
    """Where an alignment may come from two places before: to a label other than the last one."""
    out = np.zeros(labels.shape, np.bool_)
    out[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    return out


def _spelled(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log-probability of each place of the target at each time: (T, N, 2 S + 1)."""
    at = np.broadcast_to(labels, (log_probs.shape[0], *labels.shape))
    return np.take_along_axis(log_probs, at, 2)


def _ends(x: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> tuple:
    """The last two places of each target, at its last time; log 0 where there is no such place."""
    rows = np.arange(inputs.size)
    last = x[np.maximum(inputs - 1, 0), rows]
    blank, label = last[rows, 2 * targets], last[rows, np.maximum(2 * targets - 1, 0)]
    return blank, np.where(targets > 0, label, -np.inf)


def _ctc(
    log_probs: np.ndarray, labels: np.ndarray, inputs: np.ndarray, targets: np.ndarray
) -> tuple:
    spelled, skip = _spelled(log_probs, labels), _skips(labels)
    alpha = np.full_like(spelled, -np.inf)
    alpha[0, :, :2] = spelled[0, :, :2]
    for t in range(1, alpha.shape[0]):
        before = alpha[t - 1]
        both = _add(before, _shifted(before, 1))
        leap = np.where(skip, _shifted(before, 2), -np.inf)
        np.add(_add(both, leap), spelled[t], out=alpha[t])
    loss = -_add(*_ends(alpha, inputs, targets))
    nothing = np.where(targets == 0, loss.dtype.type(0), loss.dtype.type(np.inf))
    np.maximum(alpha, NEVER, out=alpha)
    return np.where(inputs == 0, nothing, loss).astype(log_probs.dtype), alpha


def _beta(
    spelled: np.ndarray, skip: np.ndarray, inputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """The log-probability of what is left of a target from each place and time."""
    beta = np.full_like(spelled, -np.inf)
    rows, places = np.arange(inputs.size), np.arange(spelled.shape[2])
    end = (places == 2 * targets[:, None]) | (places == 2 * targets[:, None] - 1)
    for t in reversed(range(spelled.shape[0])):
        last = np.where(end, spelled[t], -np.inf)
        if t + 1 < spelled.shape[0]:
            after = beta[t + 1]
            both = _add(after, _shifted(after, -1))
            leap = _shifted(np.where(skip, after, -np.inf), -2)
            last = np.where((inputs - 1 == t)[:, None], last, _add(both, leap) + spelled[t])
        beta[t] = np.where((t < inputs)[rows, None], last, -np.inf)
    return beta


def _ctc_backward(
    grad: np.ndarray,
    log_probs: np.ndarray,
    labels: np.ndarray,
    inputs: np.ndarray,
    targets: np.ndarray,
    loss: np.ndarray,
    alpha: np.ndarray,
) -> np.ndarray:
    spelled, (time, n, classes) = _spelled(log_probs, labels), log_probs.shape
    beta = _beta(spelled, _skips(labels), inputs, targets)
    finite = np.isfinite(loss)
    known = alpha + beta
    known -= spelled
    known += np.where(finite, loss, 0)[:, None]
    known[np.isneginf(spelled)] = -np.inf
    weights = np.exp(known)
    at = (np.arange(time * n) * classes).reshape(time, n, 1) + labels
    total = np.bincount(at.reshape(-1), weights.reshape(-1), time * n * classes)
    out = total.reshape(time, n, classes) * -grad[:, None]
    during = np.arange(time)[:, None, None] < inputs[:, None]
    out = np.where(during & (~finite & (grad != 0))[:, None], np.nan, out)
    return out.astype(log_probs.dtype)


# -- records --------------------------------------------------------------------------------------


def _meta(log_probs: Tensor, labels: Tensor, inputs: Tensor, targets: Tensor) -> list:
    n, places = labels._data.shape
    return [((n,), log_probs.dtype), ((log_probs._data.shape[0], n, places), log_probs.dtype)]


def _samples(s: Any) -> list:
    first = np.array([[0, 1, 0, 2, 0], [0, 1, 0, 1, 0]])
    blank = np.array([[2, 0, 2], [2, 1, 2]])
    return [
        s((3, 2, 3), first, np.array([3, 3]), np.array([2, 2]), smooth=True),
        s((4, 2, 3), first, np.array([4, 2]), np.array([1, 0])),
        s((3, 2, 3), blank, np.array([3, 1]), np.array([1, 1])),
        s((2, 1, 2), np.array([[0]]), np.array([2]), np.array([0])),
        s((9, 2, 5), first, np.array([9, 7]), np.array([2, 1])),
    ]


def _backward_samples(s: Any) -> list:
    found = []
    for x in _samples(s):
        loss, alpha = _ctc(*x.inputs)
        found.append(s(loss.shape, *x.inputs, loss, alpha, smooth=False))
    return found


@fused(
    meta=lambda grad, log_probs, *rest: (tuple(log_probs._data.shape), log_probs.dtype),
    cpu=_ctc_backward,
    triton="ctc.backward",
    samples=_backward_samples,
)
def ctc_backward(
    grad: Any, log_probs: Any, labels: Any, inputs: Any, targets: Any, loss: Any, alpha: Any
) -> Any:
    """The gradient of the log-probabilities."""
    rule = through_ref(ctc_op)
    needs = (True, False, False, False)
    return rule(grad, None, log_probs, labels, inputs, targets, needs)[0]


def _vjp(
    g: Any,
    g_alpha: Any,
    log_probs: Any,
    labels: Any,
    inputs: Any,
    targets: Any,
    out: Any,
    alpha: Any,
    needs: Any,
) -> Any:
    if g is None or g_alpha is not None:
        return through_ref(ctc_op)(g, g_alpha, log_probs, labels, inputs, targets, needs)
    saved = out.detach(), alpha.detach()
    return [ctc_backward(g, log_probs, labels, inputs, targets, *saved), None, None, None]


@fused(
    name="ctc",
    outputs=("out", "alpha"),
    meta=_meta,
    cpu=_ctc,
    triton="ctc.forward",
    vjp=joint(_vjp),
    samples=_samples,
)
def ctc_op(log_probs: Any, labels: Any, inputs: Any, targets: Any) -> Any:
    """The losses (N,) and the log-probabilities of all beginnings (T, N, 2 S + 1).

    `log_probs` (T, N, C), `labels` (N, 2 S + 1) with blanks at even places, both lengths (N,).
    """
    time, n, places = log_probs.shape[0], *labels.shape
    spelled = log_probs.gather(2, labels.expand(time, n, places))
    skip = labels.new_zeros((n, places)) != 0
    if places > 3:
        here = labels[:, 2:] != labels[:, :-2]
        odd = labels.new_tensor(np.arange(2, places) % 2, dtype=dtypes.int64) != 0
        skip = cat([skip[:, :2], here & odd], 1)

    def moved(x: Any, by: int) -> Any:
        never = x.new_full((n, min(by, places)), NEVER)
        return cat([never, x[:, : max(places - by, 0)]], 1)

    steps = [where(labels.new_tensor(np.arange(places), dtype=dtypes.int64) < 2, spelled[0], NEVER)]
    for t in range(1, time):
        before = steps[-1]
        both = before.logaddexp(moved(before, 1))
        leap = where(skip, moved(before, 2), NEVER)
        steps.append(both.logaddexp(leap) + spelled[t])
    alpha = stack(steps)
    last = alpha.gather(0, (inputs - 1).clamp(min=0).reshape(1, n, 1).expand(1, n, places))[0]
    blank = last.gather(1, 2 * targets.reshape(n, 1))[:, 0]
    label = last.gather(1, (2 * targets - 1).clamp(min=0).reshape(n, 1))[:, 0]
    loss = -blank.logaddexp(where(targets > 0, label, NEVER))
    loss = where(loss > -NEVER / 2, float("inf"), loss)
    nothing = where(targets == 0, 0.0, float("inf")).to(loss.dtype)
    return where(inputs == 0, nothing, loss), where(alpha < NEVER / 2, NEVER, alpha)


# -- public ---------------------------------------------------------------------------------------


def _lengths(what: str, value: Any, n: int, most: int, device: Any) -> np.ndarray:
    lengths = as_tensor(value)
    if lengths.dtype.category != 1:
        raise RuntimeError(f"ctc_loss: {what} must be integral, got {lengths.dtype}")
    found = np.asarray(lengths.cpu()._data).astype(np.int64).reshape(-1)  # type: ignore[attr-defined]
    if found.size != n:
        raise RuntimeError(f"ctc_loss: {what} must be of size batch_size {n}, got {found.size}")
    if found.size and found.min() < 0:
        raise RuntimeError(
            f"ctc_loss: Expected {what} to have value at least 0, but got value {found.min()}"
        )
    if found.size and found.max() > most:
        raise RuntimeError(
            f"ctc_loss: Expected {what} to have value at most {most}, but got value {found.max()}"
        )
    return found


def _rows(targets: Tensor, lengths: np.ndarray, n: int) -> np.ndarray:
    """The targets as rows, from rows or from one after the other."""
    data = np.asarray(targets.cpu()._data).astype(np.int64)  # type: ignore[attr-defined]
    longest = int(lengths.max(initial=0))
    if data.ndim == 2:
        if data.shape[0] != n or data.shape[1] < longest:
            raise RuntimeError(
                f"ctc_loss: Expected targets of shape ({n}, at least {longest}), but got "
                f"{tuple(data.shape)}"
            )
        return data[:, :longest]
    if data.ndim != 1 or data.size != lengths.sum():
        raise RuntimeError(
            f"ctc_loss: Expected concatenated targets to have size {lengths.sum()}, but got "
            f"shape {tuple(data.shape)}"
        )
    out = np.zeros((n, longest), np.int64)
    out[np.arange(longest) < lengths[:, None]] = data
    return out


def _with_blanks(rows: np.ndarray, lengths: np.ndarray, blank: int, classes: int) -> np.ndarray:
    valid = np.arange(rows.shape[1]) < lengths[:, None]
    bad = rows[valid & ((rows < 0) | (rows >= classes))]
    if bad.size:
        raise RuntimeError(f"ctc_loss: target {bad[0]} is out of range for {classes} classes")
    labels = np.full((rows.shape[0], 2 * rows.shape[1] + 1), blank, np.int64)
    labels[:, 1::2] = np.where(valid, rows, blank)
    return labels


def _check(log_probs: Tensor, blank: int) -> None:
    if not isinstance(log_probs, Tensor):
        raise TypeError(
            f"ctc_loss(): argument 'log_probs' must be Tensor, not {type(log_probs).__name__}"
        )
    if log_probs.ndim not in (2, 3) or not log_probs._data.size:
        raise RuntimeError(
            "ctc_loss: log_probs tensor must not be empty, of shape (T, N, C) or (T, C), got "
            f"{tuple(log_probs.shape)}"
        )
    if log_probs.dtype.name not in ("float32", "float64"):
        raise NotImplementedError(f'"ctc_loss" not implemented for {log_probs.dtype.name} tensors')
    if not 0 <= blank < log_probs.shape[-1]:
        raise RuntimeError(
            f"ctc_loss: blank must be in label range [0, {log_probs.shape[-1]}), got {blank}"
        )


@listed
def ctc_loss(
    log_probs: Any,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of all alignments of `targets` with `log_probs` (T, N, C).

    `targets` is (N, S), or all targets one after the other; lengths are (N,). "mean" divides each
    loss by the length of its target first. Losses are infinite where an input is too short; with
    `zero_infinity` they, and their gradients, are zero. The gradient supposes, as PyTorch's, that
    `log_probs` come from `log_softmax`. Source: Graves et al., 2006.

    Example:
        >>> import tritorch as torch
        >>> log_probs = torch.full((4, 1, 2), 0.5).log()
        >>> targets = torch.tensor([[1, 1]])
        >>> torch.nn.functional.ctc_loss(log_probs, targets, [4], [2], reduction="sum")
        tensor(1.1632)
    """
    reduction = reduction_of("ctc_loss", reduction)
    _check(log_probs, blank)
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    time, n, classes = x.shape
    inputs = _lengths("input_lengths", input_lengths, n, time, x.device)
    lengths = _lengths("target_lengths", target_lengths, n, 1 << 62, x.device)
    targets = targets.unsqueeze(0) if single and targets.ndim == 1 else targets  # type: ignore[attr-defined]
    labels = _with_blanks(_rows(targets, lengths, n), lengths, blank, classes)
    known = [tensor(a, device=x.device) for a in (labels, inputs, lengths)]
    loss: Any = ctc_op(x, *known)[0]
    if state.grad and x.requires_grad:
        loss = loss + _normalised(x, known[1])
    if zero_infinity:
        loss = where(loss == float("inf"), 0.0, loss)
    if reduction == "mean":
        return (loss / known[2].clamp(min=1).to(loss.dtype)).mean()  # type: ignore[attr-defined]
    if reduction == "sum":
        return loss.sum()
    return loss[0] if single else loss


def _normalised(x: Any, inputs: Any) -> Any:
    """Zero, with the gradient that normalisation adds: PyTorch's is that of `log_softmax`'s input,
    which the backward of `log_softmax` leaves as it is."""
    during = x.new_tensor(np.arange(x.shape[0]), dtype=dtypes.int64).reshape(-1, 1) < inputs
    total = (x.exp().sum(2) * during.to(x.dtype)).sum(0)
    return total - total.detach()


def _ctc_public(
    log_probs: Any,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """`nn.functional.ctc_loss` with its reduction as a number: 1 for mean, 2 for sum, 0, the
    default, for none."""
    name = reduction_name("ctc_loss", reduction)
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, name, zero_infinity)


_ctc_public.__name__ = _ctc_public.__qualname__ = "ctc_loss"
FUNCTIONAL["ctc_loss"] = ctc_loss
PUBLIC["ctc_loss"] = _ctc_public
