"""What the names that a pickle may use stand for: numpy's dtypes, arrays and scalars.

Nothing here is numpy's own way of unpickling; arrays are made of their bytes.
"""

from typing import Any, Literal

import numpy as np

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.source_file import check_shape

_NUMERIC = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)]
_DTYPES = {name: np.dtype(name) for name in ("b1", *_NUMERIC, "f2", "f4", "f8")}
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_BYTE_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "|": "=", "=": "="}
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(module, "_reconstruct"): "_reconstruct" for module in _MULTIARRAY},
    **{(module, "scalar"): "scalar" for module in _MULTIARRAY},
    ("numpy.core.numeric", "_frombuffer"): "_frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "_frombuffer",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): "bytes",  # and how it writes b""
}
COST = 96  # bytes that a value takes in memory besides its contents, at most
_MAX_DEPTH = 12


class Name:
    """An admitted name, on the stack."""

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning


class DType:
    """A dtype, whose byte order comes later, with its state.

    Raises DemonstrationsError for anything but booleans, integers and floats.
    """

    def __init__(self, name: str | bytes) -> None:
        text = _text(name)
        if text.lstrip("<>=|") not in _DTYPES:
            raise DemonstrationsError(
                f"found an array of dtype {text[:50]!r} in the pickle, expected booleans, integers "
                f"or floats: arrays of objects could run code, so nothing of it was loaded"
            )
        self.dtype = _DTYPES[text.lstrip("<>=|")]

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Take over the byte order. Raises ValueError if there are fields or a subdtype."""
        order = _text(state[1])
        if order not in _BYTE_ORDERS or state[2:5] != (None, None, None):
            raise ValueError("a dtype with fields or without byte order")
        self.dtype = self.dtype.newbyteorder(_BYTE_ORDERS[order])


class Array:
    """An array, which is None until its state comes."""

    array: np.ndarray | None = None


def is_ndarray(value: Any) -> bool:
    """Whether it is the name of numpy's own class of arrays."""
    return type(value) is Name and value.meaning == "ndarray"


def array_of(shape: Any, dtype: Any, raw: Any, order: Any = "C") -> np.ndarray:
    """A read-only array that shares its bytes. Raises ValueError if they do not fit."""
    if type(dtype) is not DType or order not in ("C", "F") or not isinstance(raw, bytes):
        raise ValueError("an array without dtype, order or contents")
    check_shape(shape, dtype.dtype.itemsize, len(raw))
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)


def _text(value: Any) -> str:
    return value.decode("ascii") if type(value) is bytes else str(value)


class Contents:
    """Takes the machine's stand-ins out of a value, and adds up sizes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._seen: dict[int, tuple[Any, int] | None] = {}  # by id; None: not finished

    def plain(self, value: Any, depth: int) -> tuple[Any, int]:
        """The value and its size in bytes, shared parts counted every time."""
        if isinstance(value, Array):
            value = value.array
            if value is None:
                raise ValueError("array without contents")
        if isinstance(value, np.ndarray):
            return value, value.nbytes + COST
        if isinstance(value, Name | DType):
            raise ValueError("a name where data should be")
        if not isinstance(value, list | tuple | dict):
            return value, len(value) + COST if isinstance(value, str | bytes) else COST
        if id(value) not in self._seen:
            self._seen[id(value)] = None
            self._seen[id(value)] = self._container(value, depth)
        found = self._seen[id(value)]
        if found is None:
            raise ValueError("a container within itself")
        return found

    def _container(self, value: list | tuple | dict, depth: int) -> tuple[Any, int]:
        if depth == _MAX_DEPTH:
            raise ValueError(f"containers nested more than {_MAX_DEPTH} deep")
        parts = value.values() if isinstance(value, dict) else value
        pairs = [self.plain(part, depth + 1) for part in parts]
        size = COST + sum(part_size for _, part_size in pairs)
        if size > self._max_bytes:
            raise DemonstrationsError(
                f"found contents of more than {self._max_bytes} bytes by repeated references, "
                f"expected less: raise max_bytes if you trust the file"
            )
        plain = [part for part, _ in pairs]
        if isinstance(value, dict):
            return dict(zip(value, plain, strict=True)), size
        return (plain if isinstance(value, list) else tuple(plain)), size
