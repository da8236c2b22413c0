"""How a matrix product is carried out: its batch collapsed, its blocks and splits chosen.

Plain arithmetic on shapes and strides, remembered for those that were seen.
"""

from __future__ import annotations

from math import gcd
from typing import Any, NamedTuple

from ._choice import chosen, remembered
from ._dense import INTS, accumulator, cdiv, clip, is_wide, multiples, pow2, stages

SUM_BLOCK = 1024  # elements a program of the second pass adds
POINTERS, DESCRIPTORS = 1, 2  # how blocks are read
DESCRIBED = ("float16", "bfloat16")  # the dtypes of products that descriptors read
LARGEST = (1 << 31) - 256  # of sizes whose blocks begin where descriptors can say


class Tiles(NamedTuple):
    """The blocks of a product and how the compiler is to schedule them."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int


class Form(NamedTuple):
    """The same of a product that pointers or descriptors can read."""

    bm: int
    bn: int
    bk: int
    warps: int
    stages: int
    form: int  # POINTERS or DESCRIPTORS


class View(NamedTuple):
    """What of an array a plan depends on."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    aligned: bool  # whether its address is a multiple of 16

    @staticmethod
    def of(x: Any) -> View:
        return View(x.shape, x.strides, x.ptr % 16 == 0)


class Product(NamedTuple):
    """out = a @ b with the batch collapsed: sizes, and the five strides of each operand."""

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def matrices(self) -> int:
        return self.batch[0] * self.batch[1] * self.batch[2]


@remembered(4096)
def tiles(
    m: int, n: int, batch: int, dtype: str, precision: str, target: Any, aligned: bool = True,
    wide_c: bool = False,
) -> Tiles:  # fmt: skip
    """The blocks of a product: found by a search, or else `first_tiles`."""
    first = first_tiles(m, n, batch, dtype, precision, target, aligned, wide_c)
    if dtype in INTS:
        return first
    kind = f"product {dtype} {precision}{'' if aligned else ' unaligned'}{' wide c' * wide_c}"
    return chosen(target, kind, (m, n, batch), first)


def first_tiles(
    m: int, n: int, batch: int, dtype: str, precision: str, target: Any, aligned: bool = True,
    wide_c: bool = False,
) -> Tiles:  # fmt: skip
    """The analytic choice of blocks for an M x N result; none of them spills registers."""
    if dtype in INTS:
        return Tiles(32, 32, 8, 4, 1)
    hip = target.backend == "hip"
    if dtype == "float64":
        bn = clip(pow2(n), 16, 32 if target.arch == 120 else 64)
        return Tiles(clip(pow2(m), 16, 64), bn, 16, 4, 3)
    itemsize = 2 if dtype.endswith("16") else 4
    bm, bn, bk = 128, 128 if aligned else 64, 128 // itemsize
    if itemsize == 2 and aligned and target.shared_memory > 160 << 10:
        bn = 128 if wide_c else 256
    elif itemsize == 2 and not aligned:
        bk = 32  # elements arrive one by one, through registers
    elif itemsize == 4 and precision != "tf32" and not hip:
        bk = 16  # operands of ieee products, and the parts of tf32x3, live in registers
        if target.arch == 90 and precision == "ieee":
            bm = bn = 64  # measured on an H200: 45 TFLOP/s, 39 with twice as much
    bm, bn = clip(pow2(m), 16, bm), clip(pow2(n), 16, bn)
    while bn > 64 and cdiv(m, bm) * cdiv(n, bn) * batch < target.sms:
        bn //= 2
    while bm > 64 and cdiv(m, bm) * cdiv(n, bn) * batch < target.sms:
        bm //= 2
    wide = bm * bn > 1 << 14
    heavy = itemsize == 4 or not aligned
    small = target.shared_memory < 160 << 10 and bn >= 64
    # a block of c of 32 bits lies beside the sums in registers
    heavy = heavy or wide_c
    many = (heavy and bm * bn > 1 << 12) or (small and bm * bn >= 1 << 12)
    warps = 8 if wide or (many and not hip) else 4
    stage = (bm + bn) * bk * itemsize
    most = 2 if hip else 3 if wide else 4
    return Tiles(bm, bn, bk, warps, stages(target.shared_memory, stage, most))


@remembered(4096)
def form(
    m: int, n: int, batch: int, dtype: str, target: Any, wide_c: bool = False,
    matrix_c: bool = False,
) -> Form:  # fmt: skip
    """The blocks of a product of 16-bit floats that descriptors can read, and whether they do:
    found by a search, or else where each multiprocessor has two tiles."""
    t = persistent_tiles(m, n, target, wide_c, matrix_c)
    if cdiv(m, t.bm) * cdiv(n, t.bn) * batch >= 2 * target.sms:
        first = Form(*t, DESCRIPTORS)
    else:
        first = Form(*first_tiles(m, n, batch, dtype, "ieee", target, True, wide_c), POINTERS)
    kind = f"product {dtype} described{' wide c' * wide_c}{' matrix c' * matrix_c}"
    return chosen(target, kind, (m, n, batch), first)


def persistent_tiles(
    m: int, n: int, target: Any, wide_c: bool = False, matrix_c: bool = False
) -> Tiles:
    """The blocks with which descriptors read; none of them spills registers."""
    small = _is_small(target)
    bm = clip(pow2(m), 64, 128)
    narrow = small or (wide_c and (matrix_c or bm < 128))
    bn = clip(pow2(n), 64, 128 if narrow else 256)
    wide = bm * bn > 1 << 14
    warps = 8 if wide or ((small or wide_c) and bm == bn == 128) else 4
    if small and matrix_c:  # which passes through shared memory
        return Tiles(bm, bn, 32, warps, 4)
    few = wide or small or (wide_c and matrix_c)  # the block of c passes through shared memory too
    return Tiles(bm, bn, 64, warps, 3 if few else 4)


def _is_small(target: Any) -> bool:
    """Whether a program has less shared memory than on devices for data centres."""
    return target.shared_memory < 160 << 10


def splits_of(programs: int, wanted: int, k: int, bk: int) -> tuple[int, int]:
    """How many splits of K, and how many elements of K each (a multiple of `bk`)."""
    splits = clip(wanted // max(programs, 1), 1, max(k // (4 * bk), 1))
    k_split = max(cdiv(cdiv(k, bk), splits), 1) * bk
    return max(cdiv(k, k_split), 1), k_split


class Plan(NamedTuple):
    """The launches of a product: integer arguments and constants of one or two kernels."""

    kind: str  # of the first kernel: "tiles", "persistent" or "vector"
    swap: bool  # whether a and b change places
    programs: int
    arguments: tuple[int, ...]
    constants: dict[str, Any]
    warps: int
    stages: int
    partial: tuple[int, ...] | None = None  # the shape of partial sums, where K is split
    last_programs: int = 0
    last_arguments: tuple[int, ...] = ()
    last_constants: dict[str, Any] | None = None


@remembered(4096)
def plan(
    out: View, a: View, b: View, c: View | None, dtype: str, precision: str, scaled: bool,
    target: Any, wide_c: bool = False, activation: str = "",
) -> Plan | None:  # fmt: skip
    """The plan of out = activation(a @ b + c); None where over three batch dimensions remain.
    `wide_c`: the elements of c are wider than those of a."""
    p = collapse(out, a, b, c)
    if p is None:
        return None
    flags = {
        "WIDE": is_wide(a, b, c, out),
        "HAS_C": c is not None,
        "SCALED": scaled,
        "ACC": accumulator(dtype),
        "ACT": activation,
    }
    if p.m == 1 or p.n == 1:
        return _gemv(p, flags, target)
    # an activation of a block of c, and the error function of gelu, take the registers that wide
    # elements of c take
    wide_c = ((wide_c or activation != "") and p.c[3] != 0) or activation == "gelu"
    if dtype in DESCRIBED and target.descriptors and a.aligned and b.aligned and out.aligned:
        operands = described(p)
        if operands is not None:
            t = form(p.m, p.n, p.matrices, dtype, target, wide_c, p.c[3] != 0)
            if t.form == DESCRIPTORS:
                return _persistent(p, operands, t, flags, target)
            return _gemm(p, flags, dtype, precision, target, Tiles(*t[:5]))
    vec = _vec(dtype)
    turned = (*p.b[:3], p.b[4], p.b[3])
    aligned = a.aligned and b.aligned and is_aligned(p.m, p.a, vec) and is_aligned(p.n, turned, vec)
    t = tiles(p.m, p.n, p.matrices, dtype, precision, target, aligned, wide_c)
    return _gemm(p, flags, dtype, precision, target, t)


def _broadcast(x: View, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides with which `x` reads as `shape`."""
    lead = len(shape) - len(x.shape)
    own = [0 if size == 1 else stride for size, stride in zip(x.shape, x.strides)]
    return (0,) * lead + tuple(own)


def collapse(out: View, a: View, b: View, c: View | None) -> Product | None:
    """The product with mergeable dimensions merged; None where over three batch dims stay."""
    lead = out.shape[:-2]
    m, n, k = out.shape[-2], out.shape[-1], a.shape[-1]
    sa, sb = _broadcast(a, (*lead, m, k)), _broadcast(b, (*lead, k, n))
    sc = (0,) * len(out.shape) if c is None else _broadcast(c, out.shape)
    dims: list[tuple[int, ...]] = []  # (size, strides of a, b, c, out)
    for dim in zip(lead, sa, sb, sc, out.strides):
        if dim[0] == 1:
            continue
        if dims and all(s == t * dim[0] for s, t in zip(dims[-1][1:], dim[1:])):
            dims[-1] = (dims[-1][0] * dim[0], *dim[1:])
        else:
            dims.append(dim)
    rows = (sa[-2], sc[-2], out.strides[-2])
    while dims and dims[-1][2] == 0:  # one b for all of them: they are rows of a
        size, s_a, _, s_c, s_out = dims[-1]
        batch = (s_a, s_c, s_out)
        if m == 1:
            rows = batch
        elif any(s != m * r for s, r in zip(batch, rows)):
            break
        m *= size
        dims.pop()
    if len(dims) > 3:
        return None
    dims = [(1, 0, 0, 0, 0)] * (3 - len(dims)) + dims
    size, ba, bb, bc, bo = zip(*dims)
    return Product(
        size, m, n, k, (*ba, rows[0], sa[-1]), (*bb, *sb[-2:]), (*bc, rows[1], sc[-1]),
        (*bo, rows[2], out.strides[-1]),
    )  # fmt: skip


def _vec(dtype: str) -> int:
    """Elements that a load of 16 bytes has."""
    return 8 if dtype.endswith("16") else 2 if dtype.endswith("64") else 4


def _gemm(p: Product, flags: dict, dtype: str, precision: str, target: Any, t: Tiles) -> Plan:
    vec = _vec(dtype)
    programs = cdiv(p.m, t.bm) * cdiv(p.n, t.bn) * p.matrices
    wanted = target.sms * (2 if t.bm < 64 else 1)
    splits, k_split = splits_of(programs, wanted, p.k, t.bk)
    last, strides, s_split, flags = _split(p, splits, flags)
    constants = flags | {
        "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8,
        "BATCHED": p.matrices > 1, "EVEN_K": p.k % t.bk == 0, "DOT": dtype not in INTS,
        "C_IS_ROW": flags["HAS_C"] and p.c[3] == 0,
        "PRECISION": precision if dtype == "float32" else "ieee",
        "UPCAST": target.interpreted and vec == 8, "VEC": vec,
        "MULTIPLES": multiples(
            vec, p.m, p.n, p.k, *p.a[3:], *p.b[3:], *strides[3:],
            gcd(*p.a[:3]), gcd(*p.b[:3]), gcd(*strides[:3]),
        ),
    }  # fmt: skip
    arguments = (
        p.m, p.n, p.k, *p.batch[1:], splits, k_split, *p.a, *p.b, *p.c, *strides, s_split
    )  # fmt: skip
    return Plan("tiles", False, programs * splits, arguments, constants, t.warps, t.stages, **last)


class Matrices(NamedTuple):
    """An operand as a descriptor sees it: `count` matrices, each of rows one after the other."""

    turned: bool  # whether what are its rows here are the columns of the product's operand
    count: int  # 1 where all products have the same
    stride: int  # between matrices, 0 of a single product
    row: int  # between rows


def described(p: Product) -> tuple[Matrices, Matrices, Matrices] | None:
    """a, b and out; None where descriptors cannot see one of them.

    They want rows without gaps that begin at multiples of 16 bytes, and one dimension of batch.
    """
    if p.batch[:2] != (1, 1) or not 0 < p.k <= LARGEST or max(p.m, p.n) > LARGEST:
        return None
    a, b, out = (_matrices(s, p.batch[2]) for s in (p.a, p.b, p.out))
    return None if a is None or b is None or out is None or out.turned else (a, b, out)


def _matrices(strides: tuple[int, ...], count: int) -> Matrices | None:
    *_, batch, row, column = strides
    turned = column != 1
    row, column = (column, row) if turned else (row, column)
    if column != 1 or row <= 0 or batch < 0 or row % 8 or batch % 8:
        return None
    if count == 1:
        return Matrices(turned, 1, 0, row)
    return Matrices(turned, count if batch else 1, batch or row, row)


def _persistent(
    p: Product, operands: tuple[Matrices, Matrices, Matrices], t: Form, flags: dict, target: Any
) -> Plan:
    a, b, out = operands
    constants = {k: v for k, v in flags.items() if k != "ACC"} | {
        "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8, "BATCHED": p.matrices > 1,
        "TURN_A": a.turned, "TURN_B": b.turned,
        "HALVES": t.bn > 128 or _is_small(target),
        "C_IS_ROW": flags["HAS_C"] and p.c[3] == 0, "UPCAST": target.interpreted,
    }  # fmt: skip
    arguments = (
        p.m, p.n, p.k, p.matrices, a.count, b.count, a.stride, a.row, b.stride, b.row, *p.c[2:],
        out.stride, out.row,
    )  # fmt: skip
    tiles = cdiv(p.m, t.bm) * cdiv(p.n, t.bn) * p.matrices
    programs = min(tiles, target.sms)
    return Plan("persistent", False, programs, arguments, constants, t.warps, t.stages)


def is_aligned(rows: int, strides: tuple[int, ...], vec: int) -> bool:
    """Whether 16-byte loads serve an operand of strides (*batch, row, k)."""
    *batch, row, k = strides
    other, wrap = (row, 0) if k == 1 else (k, rows)
    return 1 in (row, k) and gcd(*batch, other, wrap) % vec == 0


def _gemv(p: Product, flags: dict, target: Any) -> Plan:
    swap = p.n > 1
    if swap:  # a row times a matrix: transpose everything
        p = Product(p.batch, p.n, 1, p.k, *((*s[:3], s[4], s[3]) for s in (p.b, p.a, p.c, p.out)))
    bm, bk = (4, 512) if p.a[4] == 1 else (64, 32)
    programs = cdiv(p.m, bm) * p.matrices
    splits, k_split = splits_of(programs, 4 * target.sms, p.k, bk)
    last, strides, s_split, flags = _split(p, splits, flags)
    constants = flags | {"BM": bm, "BK": bk, "EVEN_K": p.k % bk == 0}
    arguments = (
        p.m, p.k, *p.batch[1:], splits, k_split,
        *p.a, *p.b[:4], *p.c[:4], *strides[:4], s_split,
    )  # fmt: skip
    return Plan("vector", swap, programs * splits, arguments, constants, 4, 3, **last)


def _split(
    p: Product, splits: int, flags: dict
) -> tuple[dict[str, Any], tuple[int, ...], int, dict]:
    """The second pass, and where and with which flags the first one then writes."""
    if splits == 1:
        return {}, p.out, 0, flags
    total = p.matrices * p.m * p.n
    flags = flags | {"WIDE": flags["WIDE"] or splits * total >= 2**31 - 1}
    last = {
        "partial": (splits, *p.batch, p.m, p.n),
        "last_programs": cdiv(total, SUM_BLOCK),
        "last_arguments": (total, p.m, p.n, *p.batch[1:], splits, *p.c, *p.out),
        "last_constants": flags | {"BLOCK": SUM_BLOCK},
    }
    plane = p.m * p.n
    own = (p.batch[1] * p.batch[2] * plane, p.batch[2] * plane, plane, p.n, 1)
    return last, own, total, flags | {"HAS_C": False, "SCALED": False, "ACT": ""}
