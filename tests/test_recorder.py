"""The recorder: what it was told is read back, whatever happens to its process."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces import Dict as DictSpace
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail.demonstrations import (
    DemonstrationRecorder,
    Demonstrations,
    DemonstrationsError,
    concatenate,
)
from rllib_amagail.spaces import ActionLayout, ObservationLayout
from tests.demonstration_samples import SPACES, assert_same_rows, example

BOX, CHOICES = Box(-9, 9, (1,)), Discrete(5)


def recorder(folder: Path, agents: str = "a", **options: Any) -> DemonstrationRecorder:
    """Of agents who see a number and choose one of five."""
    spaces = dict.fromkeys(agents, BOX), dict.fromkeys(agents, CHOICES)
    return DemonstrationRecorder(folder, tuple(agents), *spaces, **options)


def record_number(recorder: DemonstrationRecorder, number: int, rounds: int = 1) -> None:
    """An episode of agent "a", whose rewards are `number`."""
    recorder.begin_episode()
    for t in range(rounds):
        recorder.record_round({"a": [t % 9]}, {"a": True}, {"a": 1}, {"a": number})
    recorder.end_episode()


def numbers(folder: Path) -> list[int]:
    """Of all episodes of a folder; every row of an episode has to agree."""
    record = Demonstrations.load(folder).records["a"]
    assert record.reward is not None
    found = [set(record.reward[record.episode == e]) for e in range(record.episode[-1] + 1)]
    assert all(len(values) == 1 for values in found)
    return [int(values.pop()) for values in found]


def parts(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


SPACES_OF_ALL_KINDS = [
    *SPACES,
    (Tuple([Discrete(3, start=-1), MultiBinary([2, 2])]), Discrete(4)),
    (
        DictSpace({"deep": DictSpace({"x": BOX, "y": Tuple([Discrete(2)])}), "z": MultiBinary(3)}),
        MultiDiscrete([3, 2, 2]),
    ),
    (Box(-1, 1, (2, 1, 2), np.float64), Box(-2, 2, (3,), np.float64)),
]


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.sampled_from(SPACES_OF_ALL_KINDS), min_size=1, max_size=3),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    shares=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=3, max_size=3),
    episodes_per_part=st.integers(1, 3),
    rewards=st.booleans(),
    seed=st.integers(0, 999),
)
def test_what_is_recorded_is_read_back(
    pairs: list[tuple[Space, Space]],
    lengths: list[int],
    shares: list[float],
    episodes_per_part: int,
    rewards: bool,
    seed: int,
) -> None:
    """Of agents with no row, with one turn, or very uneven ones; agent "0" sees all rounds."""
    rng = np.random.default_rng(seed)
    agents = [str(i) for i in range(len(pairs))]
    observation_spaces = dict(zip(agents, (observed for observed, _ in pairs), strict=True))
    action_spaces = dict(zip(agents, (acted for _, acted in pairs), strict=True))
    told: dict[str, list[tuple]] = {agent: [] for agent in agents}
    for observed, acted in pairs:
        observed.seed(seed)
        acted.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        with DemonstrationRecorder(
            folder,
            agents,
            observation_spaces,
            action_spaces,
            episodes_per_part=episodes_per_part,
            seconds_per_part=float("inf"),
        ) as recording:
            for episode, length in enumerate(lengths):
                recording.begin_episode()
                for t in range(length):
                    acts = {a: bool(rng.random() < shares[i]) for i, a in enumerate(agents)}
                    seen = {a for a in agents if acts[a] or a == "0" or rng.random() < 0.2}
                    observations = {a: sample(observation_spaces[a]) for a in seen}
                    actions = {a: action_spaces[a].sample() for a in seen}
                    earned = {a: float(np.float32(rng.normal())) for a in seen}
                    recording.record_round(observations, acts, actions, earned if rewards else None)
                    for a in seen:
                        told[a].append(
                            (episode, t, acts[a], observations[a], actions[a], earned[a])
                        )
                recording.end_episode()
        # The first episode has a part of its own.
        assert len(parts(Path(folder))) == 1 + -(-(len(lengths) - 1) // episodes_per_part)
        loaded = Demonstrations.load(folder)
    assert loaded.num_episodes == len(lengths)
    for agent, rows in told.items():
        record = loaded.records[agent]
        found = zip(record.episode, record.round, record.participates, strict=True)
        assert [tuple(row) for row in found] == [row[:3] for row in rows]
        layout = ObservationLayout.from_space(observation_spaces[agent])
        features, mask = layout.split(layout.flatten([row[3] for row in rows]))
        np.testing.assert_array_equal(record.observation, features)
        if layout.mask_size:
            np.testing.assert_array_equal(record.action_mask, mask)
        own = [row[4] for row in rows if row[2]]
        encoded = ActionLayout.from_space(action_spaces[agent]).encode(own)
        np.testing.assert_array_equal(record.action[record.participates], encoded)
        if rewards:
            np.testing.assert_array_equal(record.reward, [row[5] for row in rows])
        else:
            assert record.reward is None


def sample(space: Space) -> Any:
    """Of any space; masks allow everything, so that any action is legal."""
    drawn = space.sample()
    if isinstance(space, DictSpace) and "action_mask" in space.spaces:
        drawn["action_mask"] = np.ones_like(drawn["action_mask"])
    return drawn


class TestParts:
    def test_every_episode_is_written_at_once_if_asked(self, tmp_path: Path) -> None:
        with recorder(tmp_path, seconds_per_part=0) as writer:
            for number in range(3):
                record_number(writer, number)
                assert numbers(tmp_path) == list(range(number + 1))
        assert parts(tmp_path) == [f"part-0000{i}.parquet" for i in range(3)]

    def test_the_first_episode_is_written_at_once_in_any_case(self, tmp_path: Path) -> None:
        with recorder(tmp_path, seconds_per_part=3600) as writer:
            record_number(writer, 0)
            record_number(writer, 1)
            assert numbers(tmp_path) == [0]

    def test_episodes_that_waited_are_written_in_the_middle_of_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = itertools.count(0, 4)  # every look at it costs four seconds
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        with recorder(tmp_path, seconds_per_part=30) as writer:
            record_number(writer, 0)
            record_number(writer, 1)
            assert numbers(tmp_path) == [0]
            writer.begin_episode()
            for _ in range(10):
                writer.record_round({"a": [0]}, {"a": True}, {"a": 1}, {"a": 2})
            assert numbers(tmp_path) == [0, 1]
            writer.end_episode()
        assert numbers(tmp_path) == [0, 1, 2]

    def test_a_second_recorder_goes_on(self, tmp_path: Path) -> None:
        for number in range(3):
            with recorder(tmp_path, provenance={"sitting": number // 2}) as writer:
                record_number(writer, number)
        assert numbers(tmp_path) == [0, 1, 2]
        sittings = {"concatenated": [{"sitting": 0}, {"sitting": 1}]}
        assert Demonstrations.load(tmp_path).provenance == sittings

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"agents": "ab"}, "agents"),
            ({"game": "other"}, "game other"),
            ({"player_function": {"type": "synchronous"}}, "player_function"),
        ],
    )
    def test_other_kinds_are_not_mixed(
        self, tmp_path: Path, other: dict[str, Any], message: str
    ) -> None:
        with recorder(tmp_path) as writer:
            record_number(writer, 0)
        with pytest.raises(DemonstrationsError, match=f"another kind: .*{message}"):
            recorder(tmp_path, **other)
        recorder(tmp_path).close()  # the folder is free again

    def test_other_spaces_are_not_mixed(self, tmp_path: Path) -> None:
        with recorder(tmp_path) as writer:
            record_number(writer, 0)
        with pytest.raises(DemonstrationsError, match=r"'a': found Discrete\(6\)"):
            DemonstrationRecorder(tmp_path, "a", {"a": BOX}, {"a": Discrete(6)})

    def test_rewards_are_always_given_or_never(self, tmp_path: Path) -> None:
        with recorder(tmp_path) as writer:
            record_number(writer, 0)
            writer.begin_episode()
            with pytest.raises(DemonstrationsError, match="found no rewards, expected rewards"):
                writer.record_round({"a": [0]}, {}, {})
        with recorder(tmp_path) as again:
            again.begin_episode()
            with pytest.raises(DemonstrationsError, match="found no rewards, expected rewards"):
                again.record_round({"a": [0]}, {}, {})

    def test_whole_episodes_of_elsewhere_can_be_added(self, tmp_path: Path) -> None:
        kind = example()
        with DemonstrationRecorder(
            tmp_path,
            kind.agents,
            kind.observation_spaces,
            kind.action_spaces,
            game=kind.game,
        ) as writer:
            writer.add(kind)
            writer.add(kind.head(1))
            with pytest.raises(DemonstrationsError, match="has_actions"):
                writer.add(kind.without_actions())
        expected = concatenate([kind, kind.head(1)])
        for agent, record in Demonstrations.load(tmp_path).records.items():
            assert_same_rows(record, expected.records[agent])

    def test_unusable_folders_and_labels(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DemonstrationsError, match="cannot be a folder"):
            recorder(tmp_path / "file")
        with pytest.raises(DemonstrationsError, match="found an address"):
            DemonstrationRecorder("s3://bucket/z", "a", {"a": BOX}, {"a": CHOICES})
        with pytest.raises(DemonstrationsError, match="label"):
            recorder(tmp_path, label="../w")
        with pytest.raises(ValueError, match="episodes_per_part is 0"):
            recorder(tmp_path, episodes_per_part=0)


class TestRounds:
    @pytest.mark.parametrize(
        ("told", "message"),
        [
            (({"a": [0, 1]}, {}, {}), r"'a', round 1: .*found shape \(1, 2\)"),
            (({"x": [0]}, {}, {}), r"round 1: found observations of \['x'\]"),
            (({"a": [0]}, {"a": True}, {}), "round 1: found no action of a participant"),
            (({}, {"a": True}, {"a": 1}), "round 1: found no observation of a participant"),
            (({"a": [0]}, {"a": True}, {"a": 0.5}), "found 0.5, expected integers"),
            (({"a": [0]}, {}, {}, {"a": "much"}), "round 1: could not convert"),
            (({"a": [0]}, {}, {}, {"a": 0}, {"a": [1]}), "found an action mask, expected none"),
        ],
    )
    def test_a_bad_round_is_refused_and_the_episode_goes_on(
        self, tmp_path: Path, told: tuple, message: str
    ) -> None:
        rewards = ({"a": 0.0},) if len(told) == 3 else ()
        with recorder(tmp_path) as writer:
            writer.begin_episode()
            writer.record_round({"a": [0]}, {"a": True}, {"a": 1}, {"a": 0})
            with pytest.raises(DemonstrationsError, match=message):
                writer.record_round(*told, *rewards)
            writer.record_round({"a": [0]}, {"a": True}, {"a": 1}, {"a": 0})
            writer.end_episode()
        assert Demonstrations.load(tmp_path).records["a"].round.tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("observation", "action", "message"),
        [
            (float("nan"), 1, "round 0.: found observation nan"),
            (0, 9, "round 0.: found 9 in action component 0, expected 0 to 4"),
        ],
    )
    def test_a_bad_episode_is_dropped_and_the_others_are_kept(
        self, tmp_path: Path, observation: float, action: int, message: str
    ) -> None:
        with recorder(tmp_path, seconds_per_part=float("inf")) as writer:
            record_number(writer, 0)
            writer.begin_episode()
            writer.record_round({"a": [observation]}, {"a": True}, {"a": action}, {"a": 1})
            with pytest.raises(DemonstrationsError, match=message):
                writer.end_episode()
            record_number(writer, 2)
        assert numbers(tmp_path) == [0, 2]

    def test_an_exception_drops_the_episode_under_way_only(self, tmp_path: Path) -> None:
        def play() -> None:
            with recorder(tmp_path) as writer:
                record_number(writer, 0)
                writer.begin_episode()
                writer.record_round({"a": [0]}, {"a": True}, {"a": 1}, {"a": 1})
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            play()
        assert numbers(tmp_path) == [0]

    def test_calls_out_of_order(self, tmp_path: Path) -> None:
        writer = recorder(tmp_path)
        with pytest.raises(DemonstrationsError, match="expected begin_episode first"):
            writer.end_episode()
        writer.begin_episode()
        with pytest.raises(DemonstrationsError, match="found an episode under way"):
            writer.begin_episode()
        with pytest.raises(DemonstrationsError, match="without any row"):
            writer.end_episode()
        writer.close()
        writer.close()
        with pytest.raises(DemonstrationsError, match="closed"):
            writer.flush()

    def test_masks_are_given_in_or_beside_observations(self, tmp_path: Path) -> None:
        space = DictSpace({"action_mask": MultiBinary(5), "x": BOX})
        with DemonstrationRecorder(tmp_path, "a", {"a": space}, {"a": CHOICES}) as writer:
            writer.begin_episode()
            mask = np.array([0, 1, 0, 1, 0])
            for observation, masks in (
                ({"x": [3], "action_mask": mask}, None),
                ({"x": [3]}, {"a": mask}),
                ([3], {"a": mask}),
            ):
                writer.record_round({"a": observation}, {"a": True}, {"a": 3}, None, masks)
            writer.end_episode()
        record = Demonstrations.load(tmp_path).records["a"]
        assert record.observation.tolist() == [[3]] * 3
        assert record.action_mask.astype(int).tolist() == [mask.tolist()] * 3
