"""Connectionist temporal classification: sums over all alignments of a target with an input.

One program walks the time of one sequence, for all places of its target with blanks between the
labels; a step reads what the one before it has written. The gradient of a class sums the places
that hold it, so no two programs write the same one. Source: Graves et al., 2006.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ..dtypes import float32, float64
from ._dense import FLOATS, accumulator, cdiv, clip, is_wide, pow2
from ._math import exp, log1p
from .copy import copy

NEVER = tl.constexpr(-1e30)  # the logarithm of zero where infinities would give NaN
INF = tl.constexpr(float("inf"))
PLACES = 2048  # that are held in registers at once
GRADIENTS = 2048  # classes times places of a block of the gradient


@triton.jit
def known(x):
    """A logarithm not below NEVER; NaN stays."""
    return tl.where(x < NEVER, NEVER, x)


@triton.jit
def log_sum(a, b):
    """The logarithm of the sum of two numbers from theirs; NaN wins."""
    top = tl.where(a > b, a, b)
    low = tl.where(a > b, b, a)
    return top + log1p(exp(low - top))


@triton.jit
def spelled(p_x, p_label, s, n_places, s_xc, s_lp, ACC: tl.constexpr):
    """The labels of places and their log-probabilities."""
    m = s < n_places
    label = tl.load(p_label + s * s_lp, mask=m, other=0)
    return label, tl.load(p_x + label * s_xc, mask=m, other=0).to(ACC)


@triton.jit
def ctc_forward_kernel(
    p_x,  # (T, N, C)
    p_label,  # (N, places)
    p_inputs, p_targets,  # (N,)
    p_alpha,  # (T, N, places)
    p_loss,  # (N,)
    n_t, n_n, n_places,
    s_xt, s_xn, s_xc, s_ln, s_lp, s_in, s_tn,
    WIDE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """alpha: the log-probability of all beginnings that end at a place; and the loss."""
    i_n = tl.program_id(0)
    if WIDE:
        i_n = i_n.to(tl.int64)
    p_x += i_n * s_xn
    p_label += i_n * s_ln
    q = p_alpha + i_n * n_places
    for start in range(0, n_places, BLOCK):
        s = start + tl.arange(0, BLOCK)
        _, x = spelled(p_x, p_label, s, n_places, s_xc, s_lp, ACC)
        tl.store(q + s, known(tl.where(s < 2, x, NEVER)), mask=s < n_places)
    for _ in range(1, n_t):
        tl.debug_barrier()  # a step reads what other threads have written
        p_x += s_xt
        for start in range(0, n_places, BLOCK):
            s = start + tl.arange(0, BLOCK)
            m = s < n_places
            label, x = spelled(p_x, p_label, s, n_places, s_xc, s_lp, ACC)
            other = tl.load(p_label + (s - 2) * s_lp, mask=m & (s > 2), other=0)
            leap = m & (s > 2) & (s % 2 == 1) & (label != other)
            a = tl.load(q + s, mask=m, other=NEVER)
            a = log_sum(a, tl.load(q + s - 1, mask=m & (s > 0), other=NEVER))
            a = log_sum(a, tl.load(q + s - 2, mask=leap, other=NEVER))
            tl.store(q + n_n * n_places + s, known(a + x), mask=m)
        q += n_n * n_places
    tl.debug_barrier()
    inputs = tl.load(p_inputs + i_n * s_in)
    target = tl.load(p_targets + i_n * s_tn)
    q = p_alpha + (tl.maximum(inputs - 1, 0) * n_n + i_n) * n_places + 2 * target
    loss = -log_sum(tl.load(q), tl.load(q - 1, mask=target > 0, other=NEVER))
    loss = tl.where(loss > -0.5 * NEVER, INF, loss)
    loss = tl.where(inputs == 0, tl.where(target == 0, 0.0, INF), loss)
    tl.store(p_loss + i_n, loss.to(p_loss.dtype.element_ty))


@triton.jit
def ctc_rest_kernel(
    p_x,  # (T, N, C)
    p_label,  # (N, places)
    p_inputs, p_targets,  # (N,)
    p_beta,  # (T, N, places)
    n_t, n_n, n_places,
    s_xt, s_xn, s_xc, s_ln, s_lp, s_in, s_tn,
    WIDE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """beta: the log-probability of what is left of a target from each place and time."""
    i_n = tl.program_id(0)
    t = n_t - 1
    if WIDE:
        i_n = i_n.to(tl.int64)
    p_label += i_n * s_ln
    step = n_n * n_places
    p_x += i_n * s_xn + (i_n * 0 + t) * s_xt
    q = p_beta + ((i_n * 0 + t) * n_n + i_n) * n_places
    inputs = tl.load(p_inputs + i_n * s_in)
    target = tl.load(p_targets + i_n * s_tn)
    for back in range(0, n_t):
        t = n_t - 1 - back
        tl.debug_barrier()  # a step reads what other threads have written
        for start in range(0, n_places, BLOCK):
            s = start + tl.arange(0, BLOCK)
            m = s < n_places
            label, x = spelled(p_x, p_label, s, n_places, s_xc, s_lp, ACC)
            m_leap = m & (s + 2 < n_places) & (s % 2 == 1)
            other = tl.load(p_label + (s + 2) * s_lp, mask=m_leap, other=0)
            after = m & (back > 0)
            b = tl.load(q + step + s, mask=after, other=NEVER)
            b = log_sum(b, tl.load(q + step + s + 1, mask=after & (s + 1 < n_places), other=NEVER))
            leap = after & m_leap & (label != other)
            b = log_sum(b, tl.load(q + step + s + 2, mask=leap, other=NEVER)) + x
            last = (s == 2 * target) | (s == 2 * target - 1)
            b = tl.where(inputs - 1 == t, tl.where(last, x, NEVER), b)
            b = tl.where(t < inputs, b, NEVER)
            tl.store(q + s, known(b), mask=m)
        q -= step
        p_x -= s_xt


@triton.jit
def ctc_backward_kernel(
    p_g, p_loss, p_inputs,  # (N,)
    p_x,  # (T, N, C)
    p_label,  # (N, places)
    p_alpha,  # (T, N, places)
    p_beta,  # (T, N, places)
    p_dx,  # (T, N, C)
    n_n, n_classes, n_places,
    s_gn, s_on, s_in, s_xt, s_xn, s_xc, s_ln, s_lp, s_at, s_an, s_ap,
    WIDE: tl.constexpr, ACC: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """dx = -g * the probability, given the target, of being at a place that holds the class."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_blocks = tl.cdiv(n_classes, BC)
    o_c = i % n_blocks * BC + tl.arange(0, BC)
    i = i // n_blocks
    t = i // n_n
    i_n = i % n_n
    g = tl.load(p_g + i_n * s_gn).to(ACC)
    loss = tl.load(p_loss + i_n * s_on).to(ACC)
    finite = (loss == loss) & (tl.abs(loss) < INF)
    shift = tl.where(finite, loss, 0.0)
    p_x += t * s_xt + i_n * s_xn
    p_alpha += t * s_at + i_n * s_an
    p_beta += i * n_places
    acc = tl.zeros((BC,), ACC)
    for start in range(0, n_places, BS):
        s = start + tl.arange(0, BS)
        m = s < n_places
        label, x = spelled(p_x, p_label + i_n * s_ln, s, n_places, s_xc, s_lp, ACC)
        alpha = known(tl.load(p_alpha + s * s_ap, mask=m, other=0).to(ACC))
        beta = tl.load(p_beta + s, mask=m, other=0)
        weight = tl.where(m & (x != -INF), exp(alpha + beta - x + shift), 0.0)
        acc += tl.sum(tl.where(o_c[:, None] == label[None, :], weight[None, :], 0.0), 1)
    out = acc * -g
    impossible = (finite == 0) & (g != 0) & (t < tl.load(p_inputs + i_n * s_in))
    out = tl.where(impossible, float("nan"), out)
    tl.store(p_dx + i * n_classes + o_c, out.to(p_dx.dtype.element_ty), mask=o_c < n_classes)


# -- launchers ---------------------------------------------------------------------------------


def _wide(x: Any) -> Any:
    return float64 if x.dtype.name == "float64" else float32


def _serves(x: Any, labels: Any, *lengths: Any) -> bool:
    ints = all(a.dtype.name in ("int32", "int64") for a in (labels, *lengths))
    return x.dtype.name in FLOATS and ints


def _walk(launch: Any, x: Any, labels: Any, table: Any) -> tuple[dict[str, Any], int]:
    """The constants and warps of a program that walks the time of a sequence."""
    block = clip(pow2(labels.shape[1]), 32, PLACES)
    constants = {
        "WIDE": is_wide(x, labels, table),
        "ACC": accumulator(x.dtype.name),
        "BLOCK": block,
    }
    return constants, clip(block // (4 * launch.target.warp_size), 1, 8)


def forward(
    launch: Any, out: tuple[Any, Any], x: Any, labels: Any, inputs: Any, targets: Any
) -> Any:
    """x (T, N, C), labels (N, 2 S + 1), lengths (N,) -> losses (N,), alpha (T, N, 2 S + 1)."""
    loss, alpha = out
    if not _serves(x, labels, inputs, targets):
        return NotImplemented
    table = alpha if alpha.dtype is _wide(x) else launch.empty(alpha.shape, _wide(x))
    constants, warps = _walk(launch, x, labels, table)
    launch(
        ctc_forward_kernel,
        (x.shape[1],),
        [x, labels, inputs, targets, table, loss, *alpha.shape, *x.strides, *labels.strides,
         *inputs.strides, *targets.strides],
        constants,
        num_warps=warps,
    )  # fmt: skip
    if table is not alpha:
        copy(launch, alpha, table)
    return None


def backward(
    launch: Any, dx: Any, g: Any, x: Any, labels: Any, inputs: Any, targets: Any, loss: Any,
    alpha: Any,
) -> Any:  # fmt: skip
    """The gradient of x (T, N, C) from that of the losses (N,)."""
    if not _serves(x, labels, inputs, targets):
        return NotImplemented
    beta = launch.empty(alpha.shape, _wide(x))
    constants, warps = _walk(launch, x, labels, beta)
    launch(
        ctc_rest_kernel,
        (x.shape[1],),
        [x, labels, inputs, targets, beta, *alpha.shape, *x.strides, *labels.strides,
         *inputs.strides, *targets.strides],
        constants,
        num_warps=warps,
    )  # fmt: skip
    (time, n, classes), places = x.shape, labels.shape[1]
    bs = clip(pow2(places), 16, 64)
    bc = clip(pow2(classes), 16, GRADIENTS // bs)
    wide = is_wide(x, dx, alpha) or time * n * cdiv(classes, bc) >= 2**31 - 2**16
    launch(
        ctc_backward_kernel,
        (time * n * cdiv(classes, bc),),
        [g, loss, inputs, x, labels, alpha, beta, dx, n, classes, places,
         *g.strides, *loss.strides, *inputs.strides, *x.strides, *labels.strides, *alpha.strides],
        {"WIDE": wide, "ACC": accumulator(x.dtype.name), "BC": bc, "BS": bs},
    )  # fmt: skip
    return None
