"""Spaces: flat observations are gymnasium's, actions are canonical, JSON goes there and back."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    Sequence,
    Space,
    Text,
    Tuple,
    flatten,
)
from hypothesis import given
from hypothesis import strategies as st

from rllib_amagail.spaces import ActionLayout, ObservationLayout

shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
bounds = st.sampled_from([(-np.inf, np.inf), (-1.5, 2.0), (0.1, np.inf), (-np.inf, 0.0)])
float_boxes = st.builds(
    lambda shape, bound, dtype: Box(*map(dtype, bound), shape, dtype),
    shapes,
    bounds,
    st.sampled_from([np.float32, np.float64]),
)
discretes = st.builds(
    lambda n, start: Discrete(n, start=start), st.integers(1, 5), st.integers(-3, 3)
)
multi_discretes = st.builds(
    lambda shape, size, start: MultiDiscrete(np.full(shape, size), start=np.full(shape, start)),
    shapes.filter(len),
    st.integers(1, 4),
    st.integers(-2, 2),
)
leaves = st.one_of(
    float_boxes,
    shapes.map(lambda shape: Box(0, 255, shape, np.uint8)),
    discretes,
    multi_discretes,
    st.integers(1, 4).map(MultiBinary),
    shapes.filter(len).map(MultiBinary),
)
spaces = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(Tuple),
        st.dictionaries(st.sampled_from("zyxab"), parts, min_size=1, max_size=3).map(
            lambda named: Dict(OrderedDict(named))
        ),
    ),
    max_leaves=5,
)
GAME = Dict({"observation": Box(-1, 1, (2,)), "action_mask": Box(0, 1, (3,), np.int8)})


def batch(space: Space, rows: list[Any]) -> Any:
    """Rows as a batch: a mapping or tuple of arrays."""
    if isinstance(space, Dict):
        return {key: batch(part, [r[key] for r in rows]) for key, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(batch(part, [r[i] for r in rows]) for i, part in enumerate(space.spaces))
    return np.array(rows)


@given(spaces, st.integers(0, 99), st.integers(1, 4))
def test_flatten_is_gymnasiums_flatten_of_every_row(space: Space, seed: int, num_rows: int) -> None:
    space.seed(seed)
    rows = [space.sample() for _ in range(num_rows)]
    expected = np.stack([flatten(space, row) for row in rows]).astype(np.float32)
    layout = ObservationLayout.from_space(space)
    for observations in (rows, batch(space, rows)):
        flat = layout.flatten(observations)
        np.testing.assert_array_equal(flat, expected)
        assert flat.dtype == np.float32
    assert layout.feature_size == expected.shape[1]


def test_the_mask_comes_last_wherever_its_key_stands() -> None:
    space = Dict(
        [("a", Discrete(2, start=5)), ("action_mask", MultiBinary(3)), ("z", Box(-9, 9, (1,)))]
    )
    layout = ObservationLayout.from_space(space)
    assert (layout.feature_size, layout.mask_size) == (3, 3)
    rows = [
        {"a": 6, "action_mask": np.array([1, 0, 1]), "z": np.array([0.5])},
        {"a": 5, "action_mask": np.array([0, 1, 1]), "z": np.array([-2.0])},
    ]
    flat = layout.flatten(rows)
    np.testing.assert_array_equal(flat, [[0, 1, 0.5, 1, 0, 1], [1, 0, -2, 0, 1, 1]])
    np.testing.assert_array_equal(layout.flatten(batch(space, rows)), flat)
    features, mask = layout.split(flat)
    np.testing.assert_array_equal(features, [[0, 1, 0.5], [1, 0, -2]])
    np.testing.assert_array_equal(mask, [[True, False, True], [False, True, True]])
    assert mask.dtype == np.bool_


def test_without_a_mask_split_gives_none() -> None:
    features, mask = ObservationLayout.from_space(Box(0, 1, (2,))).split(np.ones((3, 2)))
    assert features.shape == (3, 2)
    assert mask is None


def test_no_rows_flatten_to_no_rows() -> None:
    layout = ObservationLayout.from_space(GAME)
    empty = {"observation": np.zeros((0, 2)), "action_mask": np.zeros((0, 3))}
    assert layout.flatten([]).shape == layout.flatten(empty).shape == (0, 5)


def test_a_list_of_rows_may_stand_inside_a_batch() -> None:
    space = Dict({"pair": Tuple([Discrete(2), Box(-1, 1, (1,))])})
    observations = {"pair": [(0, np.array([0.25])), (1, np.array([0.5]))]}
    flat = ObservationLayout.from_space(space).flatten(observations)
    np.testing.assert_array_equal(flat, [[1, 0, 0.25], [0, 1, 0.5]])


@pytest.mark.parametrize(
    ("space", "observations", "message"),
    [
        (Box(0, 1, (2,)), np.zeros((4, 3)), r"found shape \(4, 3\), expected \(4, 2\)"),
        (Box(0, 1, (2,)), [np.zeros(2), np.zeros(3)], "rows of different shapes"),
        (Box(0, 1, (2,)), [["a", "b"]], "expected numbers"),
        (Box(0, 1, (2,)), 3.0, "expected a batch"),
        (Discrete(3, start=1), [1, 4], "row 1: found 4"),
        (Discrete(3, start=1), [1, 0], "row 1: found 0"),
        (Discrete(3), [0, 0.5], "row 1: found 0.5"),
        (MultiDiscrete([2, 3]), [[0, 2], [2, 0]], r"row 1: found \[2 0\]"),
        (MultiBinary(2), [[0, 1], [0, 2]], r"row 1: found \[0 2\]"),
        (GAME, [{"observation": [0, 0]}], "no part 'action_mask'"),
        (GAME, {"observation": [[0, 0]], "action_mask": [[1, 0, 0.5]]}, "action_mask, row 0"),
    ],
)
def test_flatten_names_what_is_wrong(space: Space, observations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObservationLayout.from_space(space).flatten(observations)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Text(3), "expected Box, Discrete"),
        (Dict({"a": Tuple([Graph(Box(0, 1), None)])}), "expected Box, Discrete"),
        (Sequence(Discrete(2)), "expected Box, Discrete"),
        (Tuple([]), "expected at least one part"),
        (Dict({"a": Discrete(2), "action_mask": Discrete(2)}), "expected a Box or MultiBinary"),
        (Dict({"a": Discrete(2), "action_mask": MultiBinary([2, 2])}), r"of shape \[M\]"),
        (Dict({"action_mask": MultiBinary(2)}), "found no features"),
    ],
)
def test_unusable_observation_spaces_are_refused(space: Space, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObservationLayout.from_space(space)


def test_split_refuses_other_widths() -> None:
    with pytest.raises(ValueError, match=r"found .* \(1, 4\), expected \[K, 5\]"):
        ObservationLayout.from_space(GAME).split(np.zeros((1, 4)))


@given(st.one_of(discretes, multi_discretes, float_boxes), st.integers(0, 99), st.integers(0, 4))
def test_every_sampled_action_is_canonical_and_allowed(space: Space, seed: int, k: int) -> None:
    space.seed(seed)
    samples = [space.sample() for _ in range(k)]
    layout = ActionLayout.from_space(space)
    actions = layout.encode(samples)
    assert actions.shape == (k, *layout.shape)
    assert actions.dtype == layout.dtype
    layout.check(actions, None, "samples")
    again = actions.reshape(k, *space.shape).astype(space.dtype)
    np.testing.assert_allclose(again, np.array(samples, space.dtype).reshape(again.shape), 1e-6)


def test_canonical_values_are_the_environments_and_indices_start_at_zero() -> None:
    layout = ActionLayout.from_space(Discrete(3, start=5))
    np.testing.assert_array_equal(layout.indices(layout.encode([5, 7])), [0, 2])
    layout = ActionLayout.from_space(MultiDiscrete([2, 3], start=[1, -1]))
    np.testing.assert_array_equal(
        layout.indices(layout.encode([[1, 1], [2, -1]])), [[0, 2], [1, 0]]
    )
    with pytest.raises(ValueError, match="expected Discrete or MultiDiscrete"):
        ActionLayout.from_space(Box(0, 1)).indices(np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (Discrete(3, start=5), [5, 8], "row 1: found 8 in action component 0, expected 5 to 7"),
        (Discrete(3, start=5), [4], "row 0: found 4"),
        (MultiDiscrete([2, 3]), [[1, 2], [0, 3]], "row 1: found 3 in action component 1"),
        (Box(-1, 1, (2,)), [[0, 0], [0, 1.5]], "row 1: found 1.5 in action component 1"),
        (Box(-np.inf, np.inf, (1,)), [[0], [np.nan]], "row 1: found nan"),
        (Box(-np.inf, np.inf, (1,)), [[np.inf]], "row 0: found inf"),
    ],
)
def test_actions_out_of_range_are_named(space: Space, actions: list, message: str) -> None:
    layout = ActionLayout.from_space(space)
    with pytest.raises(ValueError, match=f"moves, {message}"):
        layout.check(layout.encode(actions), None, "moves")


def test_masked_out_actions_are_named() -> None:
    layout = ActionLayout.from_space(Discrete(3, start=1))
    mask = np.array([[True, False, False], [True, False, True]])
    layout.check(np.array([1, 3]), mask, "moves")
    with pytest.raises(ValueError, match=r"row 1: found action 2, expected .* \[0, 2\]"):
        layout.check(np.array([1, 2]), mask, "moves")
    with pytest.raises(ValueError, match=r"expected bool of shape \(2, 3\)"):
        layout.check(np.array([1, 2]), mask[:, :2], "moves")


def test_a_multi_discrete_mask_has_one_block_of_columns_per_component() -> None:
    layout = ActionLayout.from_space(MultiDiscrete([2, 3]))
    assert layout.mask_size == 5
    mask = np.array([[False, True, False, False, True]] * 2)  # 1 | 2
    layout.check(np.array([[1, 2], [1, 2]]), mask, "moves")
    for action in ([0, 2], [1, 1]):
        with pytest.raises(ValueError, match="row 1"):
            layout.check(np.array([[1, 2], action]), mask, "moves")


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (Discrete(3), [0, 0.5], "found 0.5, expected integers"),
        (Discrete(3), [np.nan], "found nan, expected integers"),
        (Discrete(3), [1e300], "expected integers"),
        (Discrete(3), np.array([2**64 - 1], np.uint64), "expected integers"),
        (Discrete(3), [[0]], r"found shape \(1, 1\)"),
        (Discrete(3), 1, r"found shape \(\)"),
        (Box(0, 1, (2,)), [0.5], r"found shape \(1,\)"),
        (Discrete(3), ["left"], "expected numbers"),
    ],
)
def test_encode_refuses_what_is_no_action(space: Space, actions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionLayout.from_space(space).encode(actions)


def test_encode_takes_whole_floats_and_rounds_boxes_within_their_bounds() -> None:
    assert ActionLayout.from_space(Discrete(3)).encode([2.0]).tolist() == [2]
    layout = ActionLayout.from_space(Box(-0.1, 0.1, (1,), np.float64))
    layout.check(layout.encode([[-0.1], [0.1]]), None, "moves")  # float32(0.1) > 0.1


def test_only_canonical_arrays_are_checked() -> None:
    with pytest.raises(ValueError, match=r"expected int64 of shape \(2,\): use encode"):
        ActionLayout.from_space(Discrete(3)).check(np.array([0.0, 1.0]), None, "moves")


@pytest.mark.parametrize(
    "space",
    [MultiBinary(2), Tuple([Discrete(2)]), Box(0, 5, (1,), np.int64), Box(0, 1, (0,))],
)
def test_other_action_spaces_are_refused(space: Space) -> None:
    with pytest.raises(ValueError, match="expected Discrete, MultiDiscrete or Box of floats"):
        ActionLayout.from_space(space)


def test_action_values_must_be_exact_in_float64() -> None:
    with pytest.raises(ValueError, match=r"within ±2\*\*53"):
        ActionLayout.from_space(Discrete(2, start=2**53))
