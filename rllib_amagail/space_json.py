"""Gymnasium spaces as plain JSON. Reading checks every value and evaluates none."""

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

_FIELDS = {
    "Box": {"shape", "dtype", "low", "high"},
    "Discrete": {"n", "start", "dtype"},
    "MultiDiscrete": {"shape", "nvec", "start", "dtype"},
    "MultiBinary": {"n"},
    "Dict": {"spaces"},
    "Tuple": {"spaces"},
}
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_BOX_DTYPES = {"bool", "float16", "float32", "float64"} | _INTEGERS
# Limits far above real spaces, so that a hostile description cannot exhaust the memory or stack.
_MAX_ELEMENTS = 2**24  # of all arrays of one description
_MAX_DIMENSIONS = 32
_MAX_DEPTH = 16
_MAX_INTEGER = 2**64 - 1


def space_to_dict(space: Space) -> dict[str, Any]:
    """Describe a space as JSON: Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.

    The bounds of a Box are one scalar when uniform, else a flat list; infinities are "inf" and
    "-inf". Raises ValueError for other spaces, and for a Dict whose keys are not strings.
    """
    if isinstance(space, Box):
        low, high = _bound_to_json(space.low), _bound_to_json(space.high)
        shape, dtype = list(space.shape), space.dtype.name
        return {"type": "Box", "shape": shape, "dtype": dtype, "low": low, "high": high}
    if isinstance(space, Discrete):
        n, start = int(space.n), int(space.start)
        return {"type": "Discrete", "n": n, "start": start, "dtype": space.dtype.name}
    if isinstance(space, MultiDiscrete):
        nvec, start = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        body = {"shape": list(space.shape), "nvec": nvec, "start": start}
        return {"type": "MultiDiscrete", **body, "dtype": space.dtype.name}
    if isinstance(space, MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, Dict) and all(isinstance(key, str) for key in space.spaces):
        # Pairs, since the order of the keys is the order of the features.
        parts = [[key, space_to_dict(part)] for key, part in space.spaces.items()]
        return {"type": "Dict", "spaces": parts}
    if isinstance(space, Tuple):
        return {"type": "Tuple", "spaces": [space_to_dict(part) for part in space.spaces]}
    raise ValueError(
        f"found space {space}, expected {', '.join(_FIELDS)}, with strings as keys of a Dict"
    )


def space_from_dict(description: Any) -> Space:
    """Build the space that `space_to_dict` described.

    Raises ValueError, saying what was found and expected, for anything else: unknown types,
    missing or extra fields, wrong values, and sizes or nesting that no real space has.
    """
    return _Reader().read(description, _MAX_DEPTH)


def _bound_to_json(bound: np.ndarray) -> Any:
    values = [str(v) if v in (math.inf, -math.inf) else v for v in bound.ravel().tolist()]
    return values[0] if len(set(values)) == 1 else values


class _Reader:
    """Reads one description, keeping count of the array elements it may still ask for."""

    def __init__(self) -> None:
        self._remaining = _MAX_ELEMENTS

    def read(self, description: Any, depth: int) -> Space:
        if depth == 0:
            raise ValueError(f"found more than {_MAX_DEPTH} nested spaces, expected fewer")
        kind = description.get("type") if isinstance(description, dict) else None
        if not isinstance(kind, str) or kind not in _FIELDS:
            raise ValueError(
                f"found space description {_short(description)}, expected an object whose type is "
                f"one of {', '.join(_FIELDS)}"
            )
        if set(description) != _FIELDS[kind] | {"type"}:
            found = _short(sorted(map(str, description)))
            raise ValueError(
                f"found fields {found} in a {kind} description, expected {sorted(_FIELDS[kind])} "
                f"and type"
            )
        try:
            if kind in ("Dict", "Tuple"):
                return self._container(kind, description["spaces"], depth - 1)
            return self._leaf(kind, description)
        except (AssertionError, TypeError, OverflowError) as error:  # of gymnasium and numpy
            message = f"found {kind} description {_short(description)}, expected a valid space"
            raise ValueError(message) from error

    def _container(self, kind: str, parts: Any, depth: int) -> Space:
        if not isinstance(parts, list):
            raise ValueError(f"found spaces {_short(parts)} in a {kind}, expected a list")
        self._spend(len(parts))
        if kind == "Tuple":
            return Tuple([self.read(part, depth) for part in parts])
        spaces = {}
        for pair in parts:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise ValueError(f"found {_short(pair)} in a Dict, expected [key, description]")
            if pair[0] in spaces:
                raise ValueError(f"found key {pair[0]!r} twice in a Dict, expected it once")
            spaces[pair[0]] = self.read(pair[1], depth)
        return Dict(list(spaces.items()))  # a list: a dict would be sorted

    def _leaf(self, kind: str, description: dict[str, Any]) -> Space:
        if kind == "MultiBinary":
            n = description["n"]
            if isinstance(n, list):
                self._shape(n)
                return MultiBinary(n)
            return MultiBinary(self._shape([n])[0])
        dtype = _dtype(description["dtype"], _BOX_DTYPES if kind == "Box" else _INTEGERS)
        if kind == "Discrete":
            n, start = (_integer(description[name]) for name in ("n", "start"))
            return Discrete(n, start=start, dtype=dtype.type)
        shape = self._shape(description["shape"])
        if kind == "Box":
            low, high = (_bound(description[name], shape, dtype) for name in ("low", "high"))
            if (low > high).any():
                raise ValueError("found a Box with low above high, expected low <= high")
            return Box(low, high, dtype=dtype.type)
        nvec = _integer_array(description["nvec"], shape, dtype)
        starts = _integer_array(description["start"], shape, dtype)
        return MultiDiscrete(nvec, dtype=dtype.type, start=starts)

    def _shape(self, shape: Any) -> list[int]:
        if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
            raise ValueError(
                f"found shape {_short(shape)}, expected a list of at most {_MAX_DIMENSIONS} sizes"
            )
        if min(map(_integer, shape), default=0) < 0:
            raise ValueError(f"found shape {shape}, expected sizes of at least 0")
        self._spend(math.prod(max(size, 1) for size in shape))
        return shape

    def _spend(self, elements: int) -> None:
        self._remaining -= elements
        if self._remaining < 0:
            raise ValueError(f"found spaces of more than {_MAX_ELEMENTS} elements, expected fewer")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) > _MAX_INTEGER:  # bool is an int to isinstance
        raise ValueError(f"found {_short(value)}, expected an integer of 64 bits")
    return value


def _dtype(name: Any, allowed: set[str]) -> np.dtype:
    if not isinstance(name, str) or name not in allowed:
        raise ValueError(f"found data type {_short(name)}, expected one of {sorted(allowed)}")
    return np.dtype(name)


def _integer_array(values: Any, shape: list[int], dtype: np.dtype) -> np.ndarray:
    if not isinstance(values, list) or len(values) != math.prod(shape):
        raise ValueError(f"found {_short(values)}, expected {math.prod(shape)} integers")
    return np.array([_integer(value) for value in values], dtype).reshape(shape)


def _bound(bound: Any, shape: list[int], dtype: np.dtype) -> np.ndarray:
    """A bound of a Box, from one scalar or from one number per element."""
    if not isinstance(bound, list):
        return np.full(shape, _bound([bound], [1], dtype)[0], dtype)
    if dtype.kind in "iu":
        return _integer_array(bound, shape, dtype)
    if len(bound) != math.prod(shape):
        raise ValueError(f"found {len(bound)} bounds, expected 1 or {math.prod(shape)}")
    expected: tuple[type, ...] = (bool,) if dtype.kind == "b" else (int, float)
    numbers = [float(value) if value in ("inf", "-inf") else value for value in bound]
    for number in numbers:
        if type(number) not in expected or math.isnan(number):
            raise ValueError(f"found bound {_short(number)}, expected {dtype}, 'inf' or '-inf'")
    return np.array(numbers, dtype).reshape(shape)
