"""What a kernel's parameters are, and how its arguments become Triton's signature."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .array import Array
from .cubin import usage
from .memory import Target

MAX_X, MAX_YZ = (1 << 31) - 1, 65535  # programs in the first dimension of a grid, in the others
MOST_REGISTERS, THREADS = 255, 2048  # registers of a thread; 2048 of them times warps fill the file
LOCAL = "__local_depot"  # what PTX calls an array on the stack, where no register spills
ROOM = 1.125, 1.5, 2  # times the registers with which the assembler spilled, one after the other


class Parameters(NamedTuple):
    """The names of a kernel's parameters: all, those given at run time, the constexpr ones."""

    names: tuple[str, ...]
    runtime: tuple[str, ...]
    constexpr: frozenset[str]
    required: frozenset[str]  # constexpr without a default

    def check(self, kernel: Any, args: Sequence, constants: dict) -> None:
        """TypeError where a launch does not give what the kernel takes."""
        if len(args) != len(self.runtime):
            raise TypeError(
                f"kernel {kernel.__name__} takes {len(self.runtime)} arguments "
                f"({', '.join(self.runtime)}), {len(args)} were given"
            )
        unknown = constants.keys() - self.constexpr
        missing = self.required - constants.keys()
        if unknown or missing:
            wrong = [f"{n} is missing" for n in sorted(missing)]
            wrong += [f"{n} is unknown" for n in sorted(unknown)]
            raise TypeError(
                f"kernel {kernel.__name__} takes the constants "
                f"({', '.join(sorted(self.constexpr))}): {', '.join(wrong)}"
            )


_parameters: dict[int, tuple[Any, Parameters]] = {}


def parameters(kernel: Any) -> Parameters:
    """The parameters of a `@triton.jit` function, compiled or interpreted."""
    known = _parameters.get(id(kernel))  # hash(kernel) would hash its source
    if known is None:
        known = _parameters[id(kernel)] = (kernel, _inspect(kernel))
    return known[1]


def _inspect(kernel: Any) -> Parameters:
    import inspect

    signature = inspect.signature(kernel.fn).parameters
    constexpr = {n for n, p in signature.items() if "constexpr" in str(p.annotation)}
    return Parameters(
        tuple(signature),
        tuple(n for n in signature if n not in constexpr),
        frozenset(constexpr),
        frozenset(n for n in constexpr if signature[n].default is inspect.Parameter.empty),
    )


class Specialized(NamedTuple):
    """A kernel's signature, constants and attributes in the form that `ASTSource` takes."""

    signature: dict[str, str]
    constants: dict[tuple[int], Any]
    attributes: dict[tuple[int], list]


def specialize(
    kernel: Any, args: Sequence, constants: dict, pointer_range: bool = False
) -> Specialized:
    """Triton's specialisation: 1 is a constant, multiples of 16 are marked as such.

    A float is single precision, a `np.float64` double. `pointer_range` marks pointers to less than
    2 GiB, which AMD's backend addresses by buffer instructions.
    """
    if not hasattr(kernel, "params"):
        raise RuntimeError("an interpreted kernel cannot be compiled; unset TRITON_INTERPRET")
    p = parameters(kernel)
    p.check(kernel, args, constants)
    given = iter(args)
    out = Specialized({}, {}, {})
    for i, param in enumerate(kernel.params):
        name = param.name
        if name in p.constexpr:
            out.signature[name] = "constexpr"
            out.constants[(i,)] = constants.get(name, param.default)
            continue
        arg = next(given)
        kind, aligned = _kind(arg)
        special = not param.do_not_specialize
        one = kind in ("i32", "i64") and arg == 1 and special and not param.annotation_type
        if kind is None or one:
            out.signature[name], out.constants[(i,)] = "constexpr", arg
            continue
        out.signature[name] = param.annotation_type or kind
        marks = [["tt.divisibility", 16]] if aligned and special else []
        if pointer_range and isinstance(arg, Array) and arg.nbytes < 1 << 31:
            marks.append(["tt.pointer_range", 32])
        if marks:
            out.attributes[(i,)] = marks
    return out


def _kind(arg: Any) -> tuple[str | None, bool]:
    """The type of an argument in a signature, and whether it is a multiple of 16."""
    if isinstance(arg, Array):
        return "*" + arg.dtype.triton, arg.ptr % 16 == 0
    if arg is None:
        return None, False
    if isinstance(arg, (bool, np.bool_)):
        return "u1", False
    if isinstance(arg, (int, np.integer)):
        if -(1 << 31) <= arg < 1 << 31:
            return "i32", arg % 16 == 0
        return ("i64" if arg < 1 << 63 else "u64"), arg % 16 == 0
    if isinstance(arg, np.float64):
        return "fp64", False
    if isinstance(arg, (float, np.floating)):
        return "fp32", False
    raise TypeError(f"a kernel takes an Array, an int, a float, a bool or None, not {type(arg)}")


def compile_kernel(
    kernel: Any, special: Specialized, target: Target, warps: int, stages: int
) -> Any:
    """Triton's CompiledKernel for a target, which need not be present. Triton keeps it on disk.

    NVIDIA's assembler spills a few registers where one more program then fits a multiprocessor;
    such a kernel is compiled again with more of them.
    """
    # The driver's object sets it too, for users' own launches; Triton's cache has it in its key.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    import triton
    from triton.backends.compiler import GPUTarget  # type: ignore
    from triton.compiler import ASTSource  # type: ignore

    options = {
        "num_warps": min(warps, 1024 // target.warp_size),
        "num_stages": stages,
        "enable_fp_fusion": True,  # Triton 3.10 flips the default
    }
    source = ASTSource(kernel, *special)
    gpu = GPUTarget(target.backend, target.arch, target.warp_size)
    compiled = triton.compile(source, target=gpu, options=options)
    if target.backend != "cuda" or LOCAL in compiled.asm["ptx"]:
        return compiled
    most = min(MOST_REGISTERS, THREADS // options["num_warps"])
    used = usage(compiled.asm["cubin"])
    for room in ROOM:
        if not used.stack or used.registers == most:
            break
        options["maxnreg"] = min(most, 8 * math.ceil(used.registers * room / 8))
        roomier = triton.compile(source, target=gpu, options=options)
        if usage(roomier.asm["cubin"]).stack < used.stack:
            compiled, used = roomier, usage(roomier.asm["cubin"])
    return compiled


def check_grid(grid: Any) -> None:
    """TypeError unless a grid is one to three ints, ValueError where a device cannot have it."""
    whole = isinstance(grid, tuple) and all(isinstance(n, (int, np.integer)) for n in grid)
    if not whole or not 1 <= len(grid) <= 3:
        raise TypeError(f"a grid is a tuple of one to three ints, not {grid!r}")
    if not all(0 < n <= limit for n, limit in zip(grid, (MAX_X, MAX_YZ, MAX_YZ))):
        raise ValueError(
            f"grid {grid} is out of range: at most {MAX_X} programs in the first dimension, "
            f"{MAX_YZ} in the others"
        )
