"""Programs written for PyTorch: `import torch` answered by tritorch, where that is asked for.

    python -m tritorch train.py --epochs 3      runs a script so
    tritorch.install_as_torch()                 the same in a notebook or one's own program

`torch` and its submodules become tritorch's own modules. A submodule of PyTorch's that tritorch
does not have is an empty one that finds names in the modules around it (`torch.nn.modules.conv.
Conv2d` is `tritorch.nn.Conv2d`); a name that is nowhere can be imported, and says what is missing
when it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import opcode
import re
import sys
import warnings
from collections.abc import Sequence
from multiprocessing import spawn
from types import FrameType, ModuleType
from typing import Any

__all__ = ["TorchVersion", "install_as_torch", "uninstall_as_torch"]

ROOTS = {"torch": "tritorch", "torchvision": "tritorch.vision", "torchtext": "tritorch.text"}
VERSION = "2.13.0+tritorch"  # whose semantics these are
# PyTorch's namespaces: only these are answered, so that other names stay an ImportError.
NAMESPACES = frozenset(
    (
        *("accelerator", "amp", "ao", "autograd", "backends", "compiler", "cpu", "cuda"),
        *("distributed", "distributions", "export", "fft", "func", "functional", "futures", "fx"),
        *("hub", "jit", "library", "linalg", "masked", "monitor", "mps", "mtia"),
        *("multiprocessing", "nested", "nn", "onnx", "optim", "overrides", "package", "profiler"),
        *("quantization", "random", "return_types", "serialization", "signal", "sparse"),
        *("special", "storage", "testing", "torch_version", "types", "utils", "version", "xpu"),
        *("_C", "_dynamo", "_inductor", "_jit_internal", "_tensor", "_utils"),
    )
)
# Submodules that `import torch` alone makes reachable there, and that tritorch does not have.
REACHED = frozenset(("torch.functional", "torch.storage", "torch.types"))
INSTEAD = {
    "distributed": "groups, collective operations and DistributedDataParallel are what there is",
    "fx": "graphs are dynamic: read the tape from grad_fn, or write a transform",
    "onnx": "save the state dict by safetensors",
    "sparse": "strided tensors with scatter, index_add and embedding serve instead",
    "nested": "padded tensors with a mask, or nn.utils.rnn's packed sequences",
    "quantization": "integer tensors with a scale of their own",
    "ao": "integer tensors with a scale of their own",
    "xpu": "devices are cpu and cuda",
    "mps": "devices are cpu and cuda",
    "cuda.MemPool": "tensors are of one pool a device; memory_stats() counts it",
    "cuda.use_mem_pool": "tensors are of one pool a device; memory_stats() counts it",
    "cuda.memory_snapshot": "memory_summary() lists the largest live tensors",
    "cuda.CUDAPluggableAllocator": "memory is the driver's pool's, in the order of streams",
    "cuda.change_current_allocator": "memory is the driver's pool's, in the order of streams",
    "cuda.current_blas_handle": "products are kernels in Triton, without cuBLAS",
    "cuda.current_solver_handle": "decompositions run without cuSOLVER",
    "cuda.jiterator": "an operator of one's own is a record with a kernel in Triton",
    "cuda.tunable": "torch.tune searches the blocks of kernels",
    "complex32": "NumPy has no complex numbers of two float16; complex64 holds them",
    "chalf": "NumPy has no complex numbers of two float16; complex64 holds them",
    "_C": "there is no C++ below tritorch",
    "_dynamo": "torch.compile returns its function as it is",
    "_inductor": "kernels are written by hand in Triton",
}


class TorchVersion(str):
    """A version that compares by its numbers, with strings and tuples too.

    Example:
        >>> from tritorch.compat import TorchVersion
        >>> TorchVersion("2.13.0+x") >= "2.9", TorchVersion("2.13.0") < (3, 0)
        (True, True)
    """

    def _numbers(self, other: Any) -> tuple[tuple, tuple]:
        parts = other if isinstance(other, tuple | list) else numbers(str(other))
        return numbers(self), tuple(int(p) for p in parts)

    def __lt__(self, other: Any) -> bool:
        a, b = self._numbers(other)
        return a < b

    def __gt__(self, other: Any) -> bool:
        a, b = self._numbers(other)
        return a > b

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, str) and not isinstance(other, TorchVersion):
            return str.__eq__(self, other) or numbers(self) == numbers(other)
        return isinstance(other, tuple | list | TorchVersion) and not (self < other or self > other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def numbers(version: str) -> tuple[int, ...]:
    """The release's numbers: `"2.13.0+cpu"` gives `(2, 13, 0)`."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(p) for p in found[0].split(".")) if found else ()


# -- what is not there -----------------------------------------------------------------------------


def explain(name: str) -> str:
    """What to say of a name of PyTorch's that tritorch does not have."""
    parts = name.split(".")[1:]
    hint = INSTEAD.get(".".join(parts[:2])) or INSTEAD.get(".".join(parts[:1]), "")
    return f"{name}: tritorch does not have it{': ' + hint if hint else ''}"


class Absent:
    """Stands for an imported name that is not there; any use but a type check is an error."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = explain(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(explain(self.__name__))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(explain(f"{self.__name__}.{name}"))

    def __mro_entries__(self, bases: tuple) -> tuple:
        """A class may be derived from it; an instance cannot be made."""
        name = self.__name__

        def refuse(cls: type, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(explain(name))

        return (type(name.rpartition(".")[2], (), {"__new__": refuse}),)

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    def __subclasscheck__(self, cls: type) -> bool:
        return False

    def __or__(self, other: Any) -> Any:
        return Any

    __ror__ = __or__

    def __getitem__(self, item: Any) -> Any:
        return Any

    def __repr__(self) -> str:
        return f"<{explain(self.__name__)}>"


def importing(frame: FrameType) -> bool:
    """Whether the frame is at a `from ... import ...`."""
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"


class Around(Absent, ModuleType):
    """A submodule of PyTorch's whose names are found in the modules around it.

    `from torch.x import y` makes one of y too, as importlib takes y for a submodule: so it answers
    like any absent name.
    """

    def __init__(self, name: str) -> None:
        ModuleType.__init__(self, name, explain(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        parts = self.__name__.split(".")
        for end in range(len(parts) - 1, min(len(parts) - 2, 1), -1):  # torch alone for torch.x
            module = sys.modules.get(".".join(parts[:end]))
            if module is not None and not isinstance(module, Around) and hasattr(module, name):
                return getattr(module, name)
        return missing(self.__name__, name, sys._getframe(1))


def missing(module: str, name: str, frame: FrameType) -> Any:
    """A stand-in where the name is imported; an AttributeError where it is looked up."""
    if importing(frame):
        return Absent(f"{module}.{name}")
    raise AttributeError(explain(f"{module}.{name}"))


# -- the hook --------------------------------------------------------------------------------------


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers imports of `torch` and what is under it.

    `hooked` are the modules of ours that got a `__getattr__` and the one that they had, `made` what
    importlib put on them.
    """

    def __init__(self) -> None:
        self.hooked: list[tuple[ModuleType, Any]] = []
        self.made: list[tuple[ModuleType, str]] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, rest = fullname.partition(".")
        if root not in ROOTS or not exists(ROOTS[root]):
            return None
        first = rest.partition(".")[0]
        if rest and root == "torch" and first not in NAMESPACES and own(fullname) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return Around(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Puts our module in the place of the new one, which importlib takes from there."""
        name = module.__name__
        ours = own(name)
        if ours is not None:
            sys.modules[name] = ours
            self.hook(ours, name)
            self.hook_parts(ours, name)
            return
        parent = sys.modules[name.rpartition(".")[0]]
        if not isinstance(parent, Around):
            self.made.append((parent, name.rpartition(".")[2]))

    def hook(self, module: ModuleType, name: str) -> None:
        """Names that the module does not have are explained."""
        if any(module is m for m, _ in self.hooked):
            return
        lazy = vars(module).get("__getattr__")

        def look(attribute: str) -> Any:
            if lazy is not None:
                with contextlib.suppress(AttributeError):
                    found = lazy(attribute)
                    if isinstance(found, ModuleType):  # a part that is imported at its first use
                        self.hook_parts(module, name)
                    return found
            if f"{name}.{attribute}" in REACHED:
                return importlib.import_module(f"{name}.{attribute}")
            return missing(name, attribute, sys._getframe(1))

        module.__getattr__ = look  # type: ignore[method-assign]
        self.hooked.append((module, lazy))
        if not hasattr(module, "__path__"):  # what is a package there may be one module here
            module.__path__ = []
            self.made.append((module, "__path__"))

    def hook_parts(self, module: ModuleType, name: str) -> None:
        """So are names of its loaded parts, which a program reaches without importing them."""
        for part, loaded in list(sys.modules.items()):
            above, _, rest = part.partition(f"{module.__name__}.")
            if rest and not above and (name != "torch" or rest.split(".")[0] in NAMESPACES):
                self.hook(loaded, f"{name}.{rest}")

    def undo(self) -> None:
        for module, lazy in self.hooked:
            del module.__getattr__
            if lazy is not None:
                module.__getattr__ = lazy  # type: ignore[method-assign]
        for module, name in self.made:
            vars(module).pop(name, None)


def exists(name: str) -> bool:
    """Whether there is a module of that name, without importing it; its packages are imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # one of its packages is missing, or is a module
        return False


def own(name: str) -> ModuleType | None:
    """tritorch's module of that name of PyTorch's."""
    root, _, rest = name.partition(".")
    ours = ROOTS[root] + "." * bool(rest) + rest
    if exists(ours):
        return importlib.import_module(ours)
    parent = sys.modules.get(ours.rpartition(".")[0])
    found = vars(parent).get(rest.rpartition(".")[2]) if parent else None
    return found if isinstance(found, ModuleType) and not isinstance(found, Around) else None


class _Again:
    """Pickled to a process that is started anew, it installs the hook there."""

    def __reduce__(self) -> tuple:
        return _in_child, ()


def _in_child() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parent has said it
        install_as_torch()


def _prepared(data: dict[str, Any]) -> dict[str, Any]:
    """What multiprocessing tells a new process before that imports the script again."""
    return {"tritorch": _Again(), **data} if _active else data


def _follow_processes() -> None:
    """Lets processes by "spawn" and "forkserver" have the hook too; without it nothing changes."""
    plain = spawn.get_preparation_data
    if not hasattr(plain, "plain"):

        def get(name: str) -> dict[str, Any]:
            return _prepared(plain(name))

        get.plain = plain  # type: ignore[attr-defined]
        spawn.get_preparation_data = get  # type: ignore[assignment]


_active: list[tuple[Finder, str]] = []


def install_as_torch() -> None:
    """From now on `import torch` is tritorch, in this process, and `torch.__version__` a 2.x.

    Processes that this one starts have it too. An installed torch is hidden, with a warning.
    RuntimeError where torch was imported before: objects of both would meet.

    Example:
        >>> import tritorch
        >>> tritorch.install_as_torch()
        >>> import torch
        >>> torch is tritorch
        True
        >>> tritorch.uninstall_as_torch()
    """
    import tritorch

    if _active:
        return
    loaded = sys.modules.get("torch")
    if loaded is not None and loaded is not tritorch:
        raise RuntimeError(
            "install_as_torch: torch was imported before. Call it first, in a fresh process"
        )
    if importlib.util.find_spec("torch") is not None:
        warnings.warn("install_as_torch: hides the torch that is installed here", stacklevel=2)
    finder = Finder()
    sys.meta_path.insert(0, finder)
    _active.append((finder, tritorch.__version__))
    _follow_processes()
    tritorch.__version__ = TorchVersion(VERSION)


def uninstall_as_torch() -> None:
    """Undoes `install_as_torch`: modules named torch are forgotten, all else is as before."""
    import tritorch

    spawn.get_preparation_data = getattr(
        spawn.get_preparation_data, "plain", spawn.get_preparation_data
    )
    while _active:
        finder, version = _active.pop()
        sys.meta_path.remove(finder)
        finder.undo()
        tritorch.__version__ = version
        for name in [n for n in sys.modules if n.partition(".")[0] in ROOTS]:
            del sys.modules[name]
