"""Pickles as data: a machine for pickle's opcodes that imports nothing and calls nothing by itself.

What a pickle names, `find(module, name)` must know. A `Builder` among that may be called by the
pickle; all else it can only pass on. Time and memory are bounded by the length of the pickle.
The opcodes are those of protocols 1 to 5, as documented in the standard library's `pickletools`.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterator
from typing import Any

_OPS = {op.name: op.code.encode("latin-1")[0] for op in pickletools.opcodes}
_WORK = 4  # elements that builders may handle, for each byte of a pickle
_LONGEST_INT, _LONGEST_KEY, _DEEPEST = 1024, 64, 1000
_NUMBERS = {  # opcodes whose argument is a number
    "BININT": "<i",
    "BININT1": "<B",
    "BININT2": "<H",
    "BINFLOAT": ">d",
    "BINPUT": "<B",
    "LONG_BINPUT": "<I",
    "BINGET": "<B",
    "LONG_BINGET": "<I",
    "PROTO": "<B",
    "FRAME": "<Q",
}
_LENGTHS = {  # opcodes whose argument begins with its length
    "LONG1": "<B",
    "LONG4": "<i",
    "SHORT_BINSTRING": "<B",
    "BINSTRING": "<i",
    "SHORT_BINBYTES": "<B",
    "BINBYTES": "<I",
    "BINBYTES8": "<Q",
    "BYTEARRAY8": "<Q",
    "SHORT_BINUNICODE": "<B",
    "BINUNICODE": "<I",
    "BINUNICODE8": "<Q",
}
_NUMBER = {_OPS[k]: struct.Struct(v) for k, v in _NUMBERS.items()}
_LENGTH = {_OPS[k]: struct.Struct(v) for k, v in _LENGTHS.items()}
_NAME = {code: name for name, code in _OPS.items()}
_STOP, _GLOBAL = _OPS["STOP"], _OPS["GLOBAL"]


class UnpickleError(ValueError):
    """A pickle that is damaged, or that asks for more than data."""


class Builder:
    """What a pickle may call: `fn` of its arguments, after `cost(*args)` elements are paid for.

    `new` makes an object of a class without calling the class.
    """

    __slots__ = ("cost", "fn", "new")

    def __init__(
        self,
        fn: Callable,
        cost: Callable[..., int] = lambda *args: 1,
        new: Callable | None = None,
    ) -> None:
        self.fn, self.cost, self.new = fn, cost, new or fn


def opcodes(data: bytes, at: int = 0) -> Iterator[tuple[int, Any, int]]:
    """(opcode, argument, where the next begins) up to STOP; nothing is done with them."""
    while True:
        if at >= len(data):
            raise UnpickleError("the pickle is cut off")
        code = data[at]
        at += 1
        arg: Any = None
        if code in _NUMBER:
            part = _NUMBER[code]
            arg = part.unpack(_piece(data, at, part.size))[0]
            at += part.size
        elif code in _LENGTH:
            part = _LENGTH[code]
            n = part.unpack(_piece(data, at, part.size))[0]
            at += part.size
            arg = _piece(data, at, n)
            at += n
        elif code == _GLOBAL:
            lines = []
            for _ in range(2):
                end = data.find(b"\n", at, at + 4096)
                if end < 0:
                    raise UnpickleError("a name in the pickle does not end")
                lines.append(data[at:end].decode())
                at = end + 1
            arg = tuple(lines)
        yield code, arg, at
        if code == _STOP:
            return


def _piece(data: bytes, at: int, n: int) -> bytes:
    if n < 0 or at + n > len(data):
        raise UnpickleError("the pickle is cut off")
    return data[at : at + n]


def end_of(data: bytes, at: int = 0) -> int:
    """Where the pickle that begins at `at` ends."""
    for _, _, end in opcodes(data, at):
        at = end
    return at


def unpickle(
    data: bytes,
    find: Callable[[str, str], Any],
    persistent: Callable[[Any], Any],
    restore: Callable[[Any, Any], int],
    at: int = 0,
) -> Any:
    """The object of the pickle at `at`.

    `find` gives what it names, `persistent` what it names by an id; `restore(object, state)` sets
    the state of an object and returns how many elements that took.

    Raises:
        UnpickleError: opcodes of another kind, or arguments that they do not take.
    """
    machine = _Machine(find, persistent, restore, _WORK * (len(data) - at) + 65536)
    for code, arg, _ in opcodes(data, at):
        step = _STEPS.get(code)
        if step is None:
            raise UnpickleError(f"the opcode {_NAME.get(code, code)} makes no data")
        step(machine, arg)
    if len(machine.stack) != 1 or machine.marks:
        raise UnpickleError("the pickle ends with objects left over")
    return machine.stack[0]


class _Machine:
    def __init__(self, find: Callable, persistent: Callable, restore: Callable, work: int) -> None:
        self.find, self.persistent, self.restore, self.work = find, persistent, restore, work
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise UnpickleError("an opcode has no operand")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise UnpickleError("an opcode has no operand")
        if not isinstance(self.stack[-1], kind):
            raise UnpickleError(f"an opcode wants a {kind.__name__}")
        return self.stack[-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        if len(self.marks) >= _DEEPEST:
            raise UnpickleError(f"its objects are nested more than {_DEEPEST} deep")
        self.marks.append(len(self.stack))

    def marked(self) -> list[Any]:
        if not self.marks:
            raise UnpickleError("an opcode has no mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pay(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise UnpickleError("it makes far more objects than it has bytes")

    def number(self, raw: bytes) -> None:
        if len(raw) > _LONGEST_INT:
            raise UnpickleError(f"an integer of {len(raw)} bytes")
        self.push(int.from_bytes(raw, "little", signed=True))

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            raise UnpickleError("a key has no value")
        for key, value in zip(items[::2], items[1::2]):
            target[hashable(key)] = value

    def reduce(self, new: bool = False) -> None:
        args, fn = self.pop(), self.pop()
        if not isinstance(fn, Builder) or not isinstance(args, tuple):
            raise UnpickleError(f"it calls {type(fn).__name__}, which is no function")
        self.pay(fn.cost(*args))
        self.push((fn.new if new else fn.fn)(*args))

    def build(self) -> None:
        """What comes after an object's making."""
        state, target = self.pop(), self.top(object)
        self.pay(self.restore(target, state))

    def get(self, n: int) -> None:
        if n not in self.memo:
            raise UnpickleError(f"it takes object {n} from its memo, which has none")
        self.push(self.memo[n])

    def put(self, n: int) -> None:
        self.memo[n] = self.top(object)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnpickleError("a name is no string")
        self.push(self.find(module, name))

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def add(self, items: list[Any]) -> None:
        self.top(set).update(hashable(x) for x in items)

    def last(self, n: int) -> list[Any]:
        return [self.pop() for _ in range(n)][::-1]


def hashable(key: Any) -> Any:
    """`key`, if hashing it takes a bounded time: no tuples of tuples of tuples."""
    if isinstance(key, tuple):
        if len(key) > _LONGEST_KEY or any(isinstance(x, tuple | frozenset) for x in key):
            raise UnpickleError("a key is a tuple that is long or nested")
    elif isinstance(key, frozenset):
        raise UnpickleError("a key is a set")
    hash(key)
    return key


_M = _Machine
_BY_NAME: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, x: None,
    "FRAME": lambda m, x: None,
    "STOP": lambda m, x: None,
    "NONE": lambda m, x: m.push(None),
    "NEWTRUE": lambda m, x: m.push(True),
    "NEWFALSE": lambda m, x: m.push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT"), _M.push),
    **dict.fromkeys(("LONG1", "LONG4"), _M.number),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _M.push),
    "BYTEARRAY8": lambda m, x: m.push(bytearray(x)),
    **dict.fromkeys(("SHORT_BINSTRING", "BINSTRING"), lambda m, x: m.push(x.decode())),
    **dict.fromkeys(
        ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        lambda m, x: m.push(x.decode("utf-8", "surrogatepass")),
    ),
    "EMPTY_LIST": lambda m, x: m.push([]),
    "EMPTY_DICT": lambda m, x: m.push({}),
    "EMPTY_TUPLE": lambda m, x: m.push(()),
    "EMPTY_SET": lambda m, x: m.push(set()),
    "MARK": lambda m, x: m.mark(),
    "POP": lambda m, x: m.pop(),
    "POP_MARK": lambda m, x: m.marked(),
    "DUP": lambda m, x: m.push(m.top(object)),
    "TUPLE": lambda m, x: m.push(tuple(m.marked())),
    "TUPLE1": lambda m, x: m.push(tuple(m.last(1))),
    "TUPLE2": lambda m, x: m.push(tuple(m.last(2))),
    "TUPLE3": lambda m, x: m.push(tuple(m.last(3))),
    "LIST": lambda m, x: m.push(m.marked()),
    "DICT": lambda m, x: (items := m.marked(), m.push({}), m.set_items(items)),
    "FROZENSET": lambda m, x: m.push(frozenset(hashable(v) for v in m.marked())),
    "APPEND": lambda m, x: m.extend(m.last(1)),
    "APPENDS": lambda m, x: m.extend(m.marked()),
    "SETITEM": lambda m, x: m.set_items(m.last(2)),
    "SETITEMS": lambda m, x: m.set_items(m.marked()),
    "ADDITEMS": lambda m, x: m.add(m.marked()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _M.put),
    "MEMOIZE": lambda m, x: m.put(len(m.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _M.get),
    "GLOBAL": lambda m, x: m.push(m.find(*x)),
    "STACK_GLOBAL": lambda m, x: m.stack_global(),
    "REDUCE": lambda m, x: m.reduce(),
    "NEWOBJ": lambda m, x: m.reduce(new=True),
    "BUILD": lambda m, x: m.build(),
    "BINPERSID": lambda m, x: m.push(m.persistent(m.pop())),
}
_STEPS = {_OPS[name]: step for name, step in _BY_NAME.items()}
