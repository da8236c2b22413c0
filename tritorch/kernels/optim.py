"""Optimizer steps: parameters, gradients and states of many tensors in one launch.

The addresses of all tensors of one set of dtypes go to the device as a table, and each program
finds its tensor by bisection. Arithmetic is in float32 (float64 for float64); settings travel as
the bits of a float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from .. import dtypes
from ._rows import FLOATS, PLANS, Shape, bits, cdiv, merge, scalar

BLOCK = 1024
ALIGNMENT = 16
SETTINGS = (
    "n", "t", "lr", "momentum", "damping", "decay", "beta1", "beta2", "eps", "rate", "root",
    "log_beta1", "log_beta2",
)  # fmt: skip
FACTORS = 3  # of a step that is counted on the device: `decay`, `rate` and `root`, as float64


@triton.jit
def load(p, o, n, FULL: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr):
    q = tl.multiple_of(p + o, 16) if ALIGNED else p + o
    x = tl.load(q) if FULL else tl.load(q, mask=o < n, other=0)
    return x.to(ACC)


@triton.jit
def save(p, o, x, n, FULL: tl.constexpr, ALIGNED: tl.constexpr):
    q = tl.multiple_of(p + o, 16) if ALIGNED else p + o
    x = x.to(p.dtype.element_ty)
    if FULL:
        tl.store(q, x)
    else:
        tl.store(q, x, mask=o < n)


@triton.jit
def value(setting, ACC: tl.constexpr):
    """A setting from its bits."""
    return scalar(setting, True).to(ACC)


@triton.jit
def sgd_update(
    p_x, p_g, p_b, o, n, lr, momentum, damping, decay,
    MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, MAXIMIZE: tl.constexpr, FIRST: tl.constexpr,
    FULL: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """x -= lr * (g + decay * x), or the momentum of it."""
    x = load(p_x, o, n, FULL, ALIGNED, ACC)
    g = load(p_g, o, n, FULL, ALIGNED, ACC)
    if MAXIMIZE:
        g = -g
    g += value(decay, ACC) * x
    if MOMENTUM:
        b = g
        if not FIRST:
            b = value(momentum, ACC) * load(p_b, o, n, FULL, ALIGNED, ACC) + value(damping, ACC) * g
        save(p_b, o, b, n, FULL, ALIGNED)
        g = g + value(momentum, ACC) * b if NESTEROV else b
    save(p_x, o, x - value(lr, ACC) * g, n, FULL, ALIGNED)


@triton.jit
def adam_update(
    p_x, p_g, p_m, p_v, p_top, o, n, decay, beta1, beta2, eps, rate, root,
    DECOUPLED: tl.constexpr, MAXIMIZE: tl.constexpr, AMSGRAD: tl.constexpr, FULL: tl.constexpr,
    ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """x -= rate * m / (sqrt(v) / root + eps), the moments m and v brought up to date first.

    `decay` is 1 - lr * weight_decay where DECOUPLED; beta1 and beta2 weigh what is new.
    """
    x = load(p_x, o, n, FULL, ALIGNED, ACC)
    g = load(p_g, o, n, FULL, ALIGNED, ACC)
    m = load(p_m, o, n, FULL, ALIGNED, ACC)
    v = load(p_v, o, n, FULL, ALIGNED, ACC)
    if MAXIMIZE:
        g = -g
    if DECOUPLED:
        x *= value(decay, ACC)
    else:
        g += value(decay, ACC) * x
    m += (g - m) * value(beta1, ACC)
    v += (g * g - v) * value(beta2, ACC)
    save(p_m, o, m, n, FULL, ALIGNED)
    save(p_v, o, v, n, FULL, ALIGNED)
    if AMSGRAD:
        v = tl.maximum(load(p_top, o, n, FULL, ALIGNED, ACC), v)
        save(p_top, o, v, n, FULL, ALIGNED)
    x -= value(rate, ACC) * m / (tl.sqrt(v) / value(root, ACC) + value(eps, ACC))
    save(p_x, o, x, n, FULL, ALIGNED)


@triton.jit
def find(p_table, t, WIDTH: tl.constexpr, STEPS: tl.constexpr):
    """The row of a table to which this program belongs, and its block there.

    The first column says with which program a row begins, the second how many elements it has.
    """
    i = tl.program_id(0).to(tl.int64)
    low = tl.full((), 0, tl.int32)
    high = low + t
    for _ in tl.static_range(STEPS):
        middle = (low + high) // 2
        right = tl.load(p_table + middle * WIDTH) <= i
        low = tl.where(right, middle, low)
        high = tl.where(right, high, middle)
    p_row = p_table + low * WIDTH
    return p_row, tl.load(p_row + 1), i - tl.load(p_row)


@triton.jit
def address(p_row, COLUMN: tl.constexpr, TYPE: tl.constexpr):
    """The pointer in a column of a row."""
    return tl.load(p_row + COLUMN).to(tl.pointer_type(TYPE))


@triton.jit(do_not_specialize=SETTINGS)
def sgd_kernel(
    p_table,  # (t, 5): first program, elements, addresses of x, g and b
    p_lr,  # (1,): the learning rate; read where LR_ON_DEVICE
    t, lr: tl.int64, momentum: tl.int64, damping: tl.int64, decay: tl.int64,
    LR_ON_DEVICE: tl.constexpr,
    MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, MAXIMIZE: tl.constexpr, FIRST: tl.constexpr,
    X: tl.constexpr, G: tl.constexpr, B: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One step of stochastic gradient descent on t tensors."""
    if LR_ON_DEVICE:
        lr = tl.load(p_lr).to(tl.float64).to(tl.int64, bitcast=True)
    p_row, n, i = find(p_table, t, 5, STEPS)
    p_x = address(p_row, 2, X)
    p_g = address(p_row, 3, G)
    p_b = address(p_row, 4, B)
    o = i * BLOCK + tl.arange(0, BLOCK)
    if (i + 1) * BLOCK <= n:
        sgd_update(p_x, p_g, p_b, o, n, lr, momentum, damping, decay,
                   MOMENTUM, NESTEROV, MAXIMIZE, FIRST, True, ALIGNED, ACC)  # fmt: skip
    else:
        sgd_update(p_x, p_g, p_b, o, n, lr, momentum, damping, decay,
                   MOMENTUM, NESTEROV, MAXIMIZE, FIRST, False, ALIGNED, ACC)  # fmt: skip


@triton.jit(do_not_specialize=SETTINGS)
def adam_count_kernel(
    p_table,  # (t,): addresses of the numbers of steps, float32
    p_lr,  # (1,): the learning rate; read where LR_ON_DEVICE
    p_factors,  # (t, FACTORS)
    t, lr: tl.int64, decay: tl.int64, log_beta1: tl.int64, log_beta2: tl.int64,
    LR_ON_DEVICE: tl.constexpr, DECOUPLED: tl.constexpr, FACTORS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count a step of t tensors, and what `adam_update` needs to know of its number."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_o = o < t
    p_step = tl.load(p_table + o, mask=m_o, other=0).to(tl.pointer_type(tl.float32))
    step = tl.load(p_step, mask=m_o, other=0) + 1
    tl.store(p_step, step, mask=m_o)
    step = step.to(tl.float64)
    rate = tl.load(p_lr).to(tl.float64) if LR_ON_DEVICE else scalar(lr, True)
    kept = scalar(decay, True)
    if DECOUPLED:
        kept = 1 - rate * kept
    p_o = p_factors + o * FACTORS
    tl.store(p_o, step * 0 + kept, mask=m_o)
    tl.store(p_o + 1, rate / (1 - tl.exp2(step * scalar(log_beta1, True))), mask=m_o)
    tl.store(p_o + 2, tl.sqrt(1 - tl.exp2(step * scalar(log_beta2, True))), mask=m_o)


@triton.jit
def factor(p_factor, COLUMN: tl.constexpr):
    """The bits of a factor, as settings travel."""
    return tl.load(p_factor + COLUMN).to(tl.int64, bitcast=True)


@triton.jit(do_not_specialize=SETTINGS)
def adam_kernel(
    p_table,  # (t, 8): first program, elements, addresses of x, g, m, v and top, row of factors
    p_factors,  # (any, FACTORS); read where COUNTED in place of decay, rate and root
    t, decay: tl.int64, beta1: tl.int64, beta2: tl.int64, eps: tl.int64, rate: tl.int64,
    root: tl.int64,
    COUNTED: tl.constexpr, DECOUPLED: tl.constexpr, MAXIMIZE: tl.constexpr, AMSGRAD: tl.constexpr,
    X: tl.constexpr, G: tl.constexpr, M: tl.constexpr, V: tl.constexpr, TOP: tl.constexpr,
    ALIGNED: tl.constexpr, ACC: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
    FACTORS: tl.constexpr,
):  # fmt: skip
    """One step of Adam on t tensors."""
    p_row, n, i = find(p_table, t, 8, STEPS)
    if COUNTED:
        p_factor = p_factors + tl.load(p_row + 7) * FACTORS
        decay = factor(p_factor, 0)
        rate = factor(p_factor, 1)
        root = factor(p_factor, 2)
    p_x = address(p_row, 2, X)
    p_g = address(p_row, 3, G)
    p_m = address(p_row, 4, M)
    p_v = address(p_row, 5, V)
    p_top = address(p_row, 6, TOP)
    o = i * BLOCK + tl.arange(0, BLOCK)
    if (i + 1) * BLOCK <= n:
        adam_update(p_x, p_g, p_m, p_v, p_top, o, n, decay, beta1, beta2, eps, rate, root,
                    DECOUPLED, MAXIMIZE, AMSGRAD, True, ALIGNED, ACC)  # fmt: skip
    else:
        adam_update(p_x, p_g, p_m, p_v, p_top, o, n, decay, beta1, beta2, eps, rate, root,
                    DECOUPLED, MAXIMIZE, AMSGRAD, False, ALIGNED, ACC)  # fmt: skip


# -- launchers ---------------------------------------------------------------------------------


def sgd(
    launch: Any, out: None = None, *, params: Sequence[Any], grads: Sequence[Any],
    buffers: Sequence[Any] | None = None, lr: Any, momentum: float = 0.0, dampening: float = 0.0,
    weight_decay: float = 0.0, nesterov: bool = False, maximize: bool = False, first: bool = False,
) -> Any:  # fmt: skip
    """A step of SGD in place; with `first` the momentum buffers are filled, not read.

    `lr` may be an array of one element: what a graph replays follows its changes.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013; PyTorch's form of it.
    """
    given = hasattr(lr, "ptr")
    rate = 0.0 if given else lr
    settings = [bits(v, True) for v in (rate, momentum, 1 - dampening, weight_decay)]
    constants = {
        "LR_ON_DEVICE": given, "MOMENTUM": momentum != 0, "NESTEROV": nesterov,
        "MAXIMIZE": maximize, "FIRST": first,
    }  # fmt: skip
    columns = [params, grads, params if buffers is None else buffers]
    return _step(launch, sgd_kernel, columns, "XGB", settings, constants, lr if given else None)


def adam(
    launch: Any, out: None = None, *, params: Sequence[Any], grads: Sequence[Any],
    exp_avg: Sequence[Any], exp_avg_sq: Sequence[Any], max_exp_avg_sq: Sequence[Any] | None = None,
    step: int | Sequence[Any], lr: Any = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
    eps: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False, maximize: bool = False,
) -> Any:  # fmt: skip
    """A step of Adam, or with `decoupled` of AdamW, in place; `step` counts from 1.

    Where `step` is a list, a float32 array of one element for each parameter, steps are counted
    there, on the device, and `lr` may be an array of one element too: what a graph replays goes on.
    Sources: Kingma and Ba, "Adam", ICLR 2015; Loshchilov and Hutter, "Decoupled weight decay
    regularization", ICLR 2019; Reddi et al., "On the convergence of Adam and beyond", ICLR 2018
    (max_exp_avg_sq).
    """
    amsgrad = max_exp_avg_sq is not None
    counted = not isinstance(step, int)
    constants = {"DECOUPLED": decoupled, "MAXIMIZE": maximize, "AMSGRAD": amsgrad,
                 "COUNTED": counted, "FACTORS": FACTORS}  # fmt: skip
    columns = [params, grads, exp_avg, exp_avg_sq, max_exp_avg_sq if amsgrad else exp_avg_sq]
    if not all(_alike(row) for row in zip(*columns) if row[0].size):
        return NotImplemented
    if counted:
        factors = _count(launch, step, lr, weight_decay, decoupled, (beta1, beta2))
        decay = rate = root = 0.0
    else:
        factors = None
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        rate, root = lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    settings = [bits(v, True) for v in (decay, 1 - beta1, 1 - beta2, eps, rate, root)]
    names = ("X", "G", "M", "V", "TOP")
    return _step(launch, adam_kernel, columns, names, settings, constants, factors)


def _count(
    launch: Any, steps: Sequence[Any], lr: Any, decay: float, decoupled: bool,
    betas: tuple[float, float],
) -> Any:  # fmt: skip
    """The factors of each parameter's next step, which is counted."""
    factors = launch.empty((len(steps), FACTORS), dtypes.float64)
    table = launch.table([x.ptr for x in steps])
    given = hasattr(lr, "ptr")
    logs = [math.log2(b) if b else -math.inf for b in betas]
    settings = [bits(v, True) for v in (0.0 if given else lr, decay, *logs)]
    launch(
        adam_count_kernel,
        (cdiv(len(steps), 128),),
        [table, lr if given else factors, factors, len(steps), *settings],
        {"LR_ON_DEVICE": given, "DECOUPLED": decoupled, "FACTORS": FACTORS, "BLOCK": 128},
    )
    return factors


def adamw(launch: Any, out: None = None, **settings: Any) -> Any:
    """`adam` with decoupled weight decay."""
    return adam(launch, out, **{"decoupled": True, "weight_decay": 1e-2} | settings)


def _step(
    launch: Any, kernel: Any, columns: Sequence[Sequence[Any]], names: Sequence[str],
    settings: list[int], constants: dict[str, Any], beside: Any = None,
) -> Any:  # fmt: skip
    """Launch `kernel` for each set of dtypes, with what it reads beside the table: a learning
    rate, or the factors of Adam's steps, of which the table has the rows."""
    numbered = "COUNTED" in constants
    rows = [(i, row) for i, row in enumerate(zip(*columns)) if row[0].size]
    if not all(_alike(row) for _, row in rows):
        return NotImplemented
    groups: dict[tuple, list] = {}
    for i, row in rows:
        aligned = all(x.ptr % ALIGNMENT == 0 for x in row)
        groups.setdefault((aligned, *(x.dtype.name for x in row)), []).append((i, row))
    for (aligned, *_), group in groups.items():
        cells, programs = _cells(group, numbered)
        first = group[0][1]
        extra = {name: _type(x.dtype) for name, x in zip(names, first)}
        extra |= {"ALIGNED": aligned, "ACC": _accumulation(first), "BLOCK": BLOCK,
                  "STEPS": max(len(group) - 1, 0).bit_length()}  # fmt: skip
        table = launch.table(cells)
        pointers = [table, table if beside is None else beside]
        launch(kernel, (programs,), [*pointers, len(group), *settings], constants | extra)
    return None


def _cells(rows: Sequence[tuple[int, Sequence[Any]]], numbered: bool) -> tuple[list[int], int]:
    """The rows of a table one after the other, and the number of programs they need."""
    cells, programs = [], 0
    for i, row in rows:
        n = row[0].size
        cells += [programs, n, *(x.ptr for x in row)]
        if numbered:
            cells.append(i)
        programs += cdiv(n, BLOCK)
    return cells, programs


def _alike(row: Sequence[Any]) -> bool:
    """Whether the arrays lie in memory densely and in the same order."""
    dense = _dense(row[0].shape, *{x.strides for x in row})
    return dense and all(x.dtype.name in FLOATS for x in row)


@lru_cache(PLANS)
def _dense(shape: Shape, *strides: Shape) -> bool:
    runs = merge(shape, strides)
    return math.prod(shape) == 1 or (len(runs) == 1 and set(runs[0][1]) == {1})


def _accumulation(row: Sequence[Any]) -> tl.dtype:
    return tl.float64 if row[0].dtype.name == "float64" else tl.float32


def _type(dtype: Any) -> tl.dtype:
    return getattr(tl, dtype.name)
