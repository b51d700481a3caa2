"""Spaces as JSON: there and back, and nothing malformed gets in."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple
from gymnasium.spaces import Sequence as SequenceSpace
from hypothesis import given
from hypothesis import strategies as st

from rllib_amagail.spaces import space_from_dict, space_to_dict

leaves = st.sampled_from(
    [
        Box(-np.inf, np.inf, ()),
        Box(np.array([-np.inf, 0.1]), np.array([0.3, np.inf]), dtype=np.float64),
        Box(np.float16(-1), np.float16(1), (2, 1, 3), np.float16),
        Box(0, 255, (2, 2), np.uint8),
        Box(0, 1, (2,), np.bool_),
        Box(-np.inf, np.inf, (2,), np.int64),
        Box(0, 1, (0, 3)),
        Discrete(3),
        Discrete(2, start=-4, dtype=np.int32),
        MultiDiscrete([2, 3]),
        MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [-1, 2]], dtype=np.int16),
        MultiBinary(3),
        MultiBinary([2, 2]),
    ]
)
spaces = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(Tuple),
        st.dictionaries(st.text(max_size=3), parts, max_size=3).map(
            lambda named: Dict(OrderedDict(named))
        ),
    ),
    max_leaves=5,
)


@given(spaces)
def test_json_round_trip(space: Space) -> None:
    text = json.dumps(space_to_dict(space), allow_nan=False)
    again = space_from_dict(json.loads(text))
    assert again == space
    assert space_to_dict(again) == space_to_dict(space)  # equal to the order of the keys


def test_uniform_bounds_are_stored_once_and_infinities_as_text() -> None:
    stored = space_to_dict(Box(np.array([-np.inf, 0.5], np.float32), np.float32(np.inf)))
    assert stored == {
        "type": "Box",
        "shape": [2],
        "dtype": "float32",
        "low": ["-inf", 0.5],
        "high": "inf",
    }


def test_integer_limits_survive_json() -> None:
    for dtype in (np.int64, np.uint64):
        space = Box(np.iinfo(dtype).min, np.iinfo(dtype).max, (2,), dtype)
        again = space_from_dict(json.loads(json.dumps(space_to_dict(space))))
        assert again.low.tolist() == space.low.tolist()
        assert again.high.tolist() == space.high.tolist()


@pytest.mark.parametrize(
    "space", [Text(3), Dict({1: Discrete(2)}), Tuple([SequenceSpace(Discrete(2))])]
)
def test_spaces_without_json_are_refused(space: Space) -> None:
    with pytest.raises(ValueError, match="expected Box"):
        space_to_dict(space)


BOX = {"type": "Box", "shape": [2], "dtype": "float32", "low": 0, "high": 1}
DISCRETE = {"type": "Discrete", "n": 2, "start": 0, "dtype": "int64"}
MULTI = {"type": "MultiDiscrete", "shape": [2], "nvec": [2, 2], "start": [0, 0], "dtype": "int64"}


def nested(depth: int) -> dict[str, Any]:
    return {"type": "Tuple", "spaces": [nested(depth - 1)]} if depth else DISCRETE


def test_the_descriptions_below_are_valid_before_they_are_broken() -> None:
    for description in (BOX, DISCRETE, MULTI, nested(5)):
        assert space_to_dict(space_from_dict(description)) == description


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        "Discrete(2)",
        {"type": "__import__('os').system('true')"},
        {"type": ["Box"]},
        {**DISCRETE, "extra": 1},
        {"type": "Discrete", "n": 2},
        {**DISCRETE, "n": 0},
        {**DISCRETE, "n": True},
        {**DISCRETE, "n": 2.0},
        {**DISCRETE, "n": 10**30},
        {**DISCRETE, "n": 300, "dtype": "int8"},
        {**DISCRETE, "dtype": "float32"},
        {**DISCRETE, "dtype": "object"},
        {**MULTI, "nvec": [2]},
        {**MULTI, "nvec": [2, 0]},
        {**MULTI, "nvec": [2, True]},
        {**MULTI, "start": 0},
        {**MULTI, "nvec": [2, 10**30]},
        {**BOX, "dtype": "O"},
        {**BOX, "shape": 2},
        {**BOX, "shape": [-1]},
        {**BOX, "shape": [2**13, 2**13]},
        {**BOX, "shape": [0, 2**40]},
        {**BOX, "shape": [1] * 33},
        {**BOX, "low": 2},
        {**BOX, "low": "nan"},
        {**BOX, "low": float("nan")},
        {**BOX, "low": None},
        {**BOX, "low": [0, 0, 0]},
        {**BOX, "low": [[0, 0]]},
        {**BOX, "low": 10**400},
        {**BOX, "dtype": "uint8", "low": -1},
        {**BOX, "dtype": "uint8", "high": 0.5},
        {**BOX, "dtype": "bool"},
        {"type": "MultiBinary", "n": -1},
        {"type": "MultiBinary", "n": "3"},
        {"type": "MultiBinary", "n": [2**12, 2**13]},
        {"type": "Dict", "spaces": {"a": DISCRETE}},
        {"type": "Dict", "spaces": [["a", DISCRETE], ["a", DISCRETE]]},
        {"type": "Dict", "spaces": [[1, DISCRETE]]},
        {"type": "Dict", "spaces": [["a"]]},
        {"type": "Tuple", "spaces": [BOX, None]},
        {"type": "Tuple", "spaces": [{**BOX, "shape": [2**23]}] * 3},
        nested(40),
    ],
)
def test_malformed_descriptions_are_refused(description: Any) -> None:
    with pytest.raises(ValueError, match=r"found .*, expected"):
        space_from_dict(description)
