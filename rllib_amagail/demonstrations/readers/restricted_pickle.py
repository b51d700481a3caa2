"""Arrays and plain containers out of a pickle, by a machine that can call nothing.

A pickle is a program for a stack machine, and Python's own machine calls whatever the program
names. This one knows the instructions of data alone. Five names of numpy and two of Python stand
for something, everything else is refused, and none of them is ever looked up: an array is
made of its bytes, here. So is a string of Python 2, which becomes text by latin-1.
"""

import io
import struct
from collections.abc import Callable
from typing import Any

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.pickle_values import (
    COST,
    NAMES,
    Array,
    Contents,
    DType,
    Name,
    array_of,
    is_ndarray,
)

_COST_OF_TEXT = 4  # bytes that one of the file may take in memory
_LAST_PROTOCOL = 5
_MAX_LINE = 4096  # a number or a name; text and raw arrays have no such limit


def loads(data: bytes, max_bytes: int) -> Any:
    """What a pickle of any protocol holds: None, numbers, text, bytes, list, tuple, dict, arrays.

    Arrays are of booleans, integers or floats and read-only; keys of a dict are text or integers.

    Args:
        data: the pickle.
        max_bytes: limit of what reading may take in memory, and of the size of the contents with
            everything that is repeated by reference counted as often as it occurs.

    Raises DemonstrationsError for a pickle of anything else, and for a damaged one.
    """
    try:
        value = _Machine(data, max_bytes).run()
        return Contents(max_bytes).plain(value, 0)[0]
    except DemonstrationsError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise DemonstrationsError(
            f"found a pickle that is damaged ({type(error).__name__}: {str(error)[:100]}), "
            f"expected one as it was written: get it anew"
        ) from error


class _Machine:
    """The stack, the memo, and one method for each kind of instruction."""

    def __init__(self, data: bytes, max_bytes: int) -> None:
        self._file = io.BytesIO(data)
        self._left = max_bytes - _COST_OF_TEXT * len(data)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Everything up to STOP."""
        while (code := self._file.read(1)) != b".":
            if not code:
                raise ValueError("the end of the file")
            if code not in _INSTRUCTIONS:
                place = self._file.tell() - 1
                raise DemonstrationsError(
                    f"found instruction {code!r} at byte {place} of the pickle, expected numpy "
                    f"arrays and plain containers only: save the data as such, or as .npz"
                )
            self.spend(COST)
            _INSTRUCTIONS[code](self)
        if len(self._stack) != 1 or self._marks:
            raise ValueError(f"{len(self._stack)} values at the end")
        return self._stack[0]

    def spend(self, size: int) -> None:
        """Count what is going to be in memory."""
        self._left -= size
        if self._left < 0:
            raise DemonstrationsError(
                "found a pickle that takes more memory than max_bytes, expected a smaller one: "
                "raise max_bytes if you trust the file"
            )

    def check_protocol(self, protocol: int) -> None:
        if protocol > _LAST_PROTOCOL:
            raise ValueError(f"protocol {protocol}")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes of the file."""
        if size < 0:
            raise ValueError("a negative size")
        data = self._file.read(size)
        if len(data) != size:
            raise ValueError("the end of the file")
        return data

    def number(self, form: str) -> Any:
        """A number of the file, in the format `form` of `struct`."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def line(self, limit: int = _MAX_LINE) -> bytes:
        """The bytes up to the end of the line."""
        data = self._file.readline(limit)
        if not data.endswith(b"\n"):
            raise ValueError("a line without an end")
        return data[:-1]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if self._marks and self._marks[-1] == len(self._stack):
            raise ValueError("a missing value")
        return self._stack.pop()

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def put(self, key: int | None = None) -> None:
        self._memo[len(self._memo) if key is None else key] = self._stack[-1]

    def get(self, key: int) -> None:
        self.push(self._memo[key])

    def push_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError("items for something else than a list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("items for something else than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # The hash of nested tuples, for one, can take for ever.
            if type(key) not in (str, int):
                raise ValueError(f"a key of type {type(key).__name__}")
            target[key] = value

    def dict_from_mark(self) -> None:
        items = self.pop_to_mark()
        self.push({})
        self.update(items)

    def integer_line(self) -> None:
        text = self.line()
        booleans = {b"00": False, b"01": True}
        self.push(booleans[text] if text in booleans else int(text.rstrip(b"L")))

    def quoted_line(self) -> None:
        """A string of Python 2, as repr gives it."""
        text = self.line(limit=-1)
        if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
            raise ValueError("a string without quotes")
        # What repr escapes are control characters, high bytes, the backslash and the quote.
        unquoted = text[1:-1].decode("unicode_escape")
        unquoted.encode("latin-1")  # fails if it is not of bytes
        self.push(unquoted)

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str or (module, name) not in NAMES:
            raise DemonstrationsError(
                f"found {str(module)[:50]}.{str(name)[:50]} in the pickle, expected numpy arrays "
                f"and plain containers only: it may run code, so nothing of it was loaded"
            )
        self.push(Name(NAMES[module, name]))

    def reduce(self) -> None:
        """What a name and its arguments stand for."""
        arguments, name = self.pop(), self.pop()
        if type(arguments) is not tuple or type(name) is not Name:
            raise ValueError("a call of something else than an admitted name")
        if name.meaning == "bytes" and not arguments:
            self.push(b"")
        elif name.meaning == "encode" and arguments[1:] in (("latin1",), ("latin-1",)):
            self.push(self.raw(arguments[0]))
        elif name.meaning == "dtype":
            self.push(DType(arguments[0]))
        elif name.meaning == "_reconstruct" and is_ndarray(arguments[0]):
            self.push(Array())
        elif name.meaning == "scalar":
            dtype, raw = arguments
            self.push(array_of((), dtype, self.raw(raw)).item())
        elif name.meaning == "_frombuffer":
            raw, dtype, shape, order = arguments
            self.push(array_of(shape, dtype, self.raw(raw), order))
        else:
            raise ValueError(f"{name.meaning} with other arguments than numpy's")

    def build(self) -> None:
        """The contents of a dtype or an array."""
        state, target = self.pop(), self._stack[-1]
        if type(state) is not tuple:
            raise ValueError("a state that is no tuple")
        if type(target) is DType:
            target.set_state(state)
        elif type(target) is Array and target.array is None:
            _, shape, dtype, is_fortran, raw = state
            target.array = array_of(shape, dtype, self.raw(raw), "F" if is_fortran else "C")
        else:
            raise ValueError("a state for something else than a new array")

    def raw(self, data: Any) -> bytes:
        """Bytes, which are latin-1 text if Python 2 wrote them."""
        if type(data) is not str:
            return data
        self.spend(len(data))
        return data.encode("latin-1")


_Instruction = Callable[[_Machine], None]


def _sized(form: str, decode: Callable[[bytes], Any]) -> _Instruction:
    """Data with its size in front."""
    return lambda m: m.push(decode(m.read(m.number(form))))


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _latin1(data: bytes) -> str:
    return data.decode("latin-1")


# The data instructions of protocols 0 to 5, in the order of Python's `pickletools`, which documents
# them. Not among them: INST, OBJ, NEWOBJ, EXT, PERSID and their like, which only objects need.
_INSTRUCTIONS: dict[bytes, _Instruction] = {
    b"I": _Machine.integer_line,
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"L": _Machine.integer_line,
    b"\x8a": _sized("<B", lambda data: int.from_bytes(data, "little", signed=True)),
    b"S": _Machine.quoted_line,
    b"T": _sized("<i", _latin1),
    b"U": _sized("<B", _latin1),
    b"B": _sized("<I", bytes),
    b"C": _sized("<B", bytes),
    b"\x8e": _sized("<Q", bytes),
    b"\x96": _sized("<Q", bytes),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"V": lambda m: m.push(m.line(limit=-1).decode("raw_unicode_escape")),
    b"\x8c": _sized("<B", _utf8),
    b"X": _sized("<I", _utf8),
    b"\x8d": _sized("<Q", _utf8),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(m.number(">d")),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"l": lambda m: m.push(m.pop_to_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.push_tuple(1),
    b"\x86": lambda m: m.push_tuple(2),
    b"\x87": lambda m: m.push_tuple(3),
    b"}": lambda m: m.push({}),
    b"d": _Machine.dict_from_mark,
    b"s": lambda m: m.update([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.update(m.pop_to_mark()),
    b"(": _Machine.mark,
    b"g": lambda m: m.get(int(m.line())),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": _Machine.put,
    b"c": lambda m: m.name(m.line().decode(), m.line().decode()),
    b"\x93": lambda m: m.name(*[m.pop(), m.pop()][::-1]),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"\x80": lambda m: m.check_protocol(m.number("<B")),
    b"\x95": lambda m: m.number("<Q"),  # the size of a frame, for readers that fetch ahead
}
