"""Readers of other people's recordings: what is in a file is what comes out."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.demonstrations.readers import (
    from_dicts,
    from_rows,
    make_asynchronous,
    read,
    read_csv,
    read_npz,
    read_pickle,
    read_table,
)
from rllib_amagail.player_functions import (
    IndependentStochastic,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)
from tests.demonstration_samples import assert_same, assert_same_rows
from tests.reader_samples import PYTHON_2, as_rows, assert_is, narrow, trajectories


def assert_same_records(found: Demonstrations, expected: Demonstrations) -> None:
    assert found.agents == expected.agents
    for agent in expected.agents:
        assert_same_rows(found.records[agent], expected.records[agent])
    assert found.observation_spaces == expected.observation_spaces
    assert found.action_spaces == expected.action_spaces


class TestPickle:
    @pytest.mark.parametrize("protocol", range(6))
    def test_a_file_of_magail_is_read(self, tmp_path: Path, protocol: int) -> None:
        path = tmp_path / "checkpoint20000-3tra.pkl"
        path.write_bytes(pickle.dumps(trajectories(), protocol=protocol))
        found = read_pickle(path)
        assert_is(found, trajectories())
        assert found.agents == ("agent_1", "agent_2")
        assert found.action_spaces == {"agent_1": Discrete(3), "agent_2": Discrete(3)}
        assert found.observation_spaces["agent_2"] == Box(-np.inf, np.inf, (3,))
        source = found.provenance["source"]
        assert (source["format"], source["file"]) == ("pickle", "checkpoint20000-3tra.pkl")
        assert found.provenance["inferred"]["action_spaces"] == ["agent_1", "agent_2"]
        found.save(tmp_path / "saved.parquet")
        assert_same(Demonstrations.load(tmp_path / "saved.parquet"), found)

    def test_what_python_2_wrote_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "old.pkl"
        path.write_bytes(PYTHON_2)
        record = read_pickle(path).records["agent_1"]
        assert record.observation.tolist() == [[0.5], [1.5]]
        assert record.action is not None
        assert record.action.tolist() == [0, 2]
        assert record.reward is not None
        assert record.reward.tolist() == [-1.5, 2.0]

    @pytest.mark.parametrize(("rounds", "width"), [(1, 2), (3, 1), (1, 1)])
    def test_axes_that_numpy_squeezed_away_come_back(
        self, tmp_path: Path, rounds: int, width: int
    ) -> None:
        source = trajectories(num_rounds=rounds, num_agents=1)
        for one in source:
            one["ob"] = [np.squeeze(one["ob"][0][:, :width])]
        path = tmp_path / "squeezed.pkl"
        path.write_bytes(pickle.dumps(source))
        assert_is(read_pickle(path), source)

    def test_the_checksum_is_of_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.pkl"
        path.write_bytes(PYTHON_2)
        first = read_pickle(path).provenance["source"]["sha256"]
        path.write_bytes(PYTHON_2.replace(b"F-1.5", b"F-2.5"))
        second = read_pickle(path).provenance["source"]["sha256"]
        assert len(first) == 64
        assert first != second


class TestDicts:
    def test_episodes_may_name_their_agents(self) -> None:
        source = [
            {
                "observations": {"b": [[1.0], [2.0]], "a": [[3.0, 4.0]]},
                "actions": {"a": [1], "b": [0, 1]},
                "participation": {"a": [1], "b": [True, False]},
                "note": "ignored",
            }
        ]
        found = from_dicts(source, agents=["a", "b"], game="toy")
        assert found.agents == ("a", "b")
        assert found.game == "toy"
        assert found.records["b"].participates.tolist() == [True, False]
        assert found.records["b"].action.tolist() == [0, 0]
        assert found.records["a"].observation.tolist() == [[3.0, 4.0]]
        assert found.records["a"].reward is None

    @pytest.mark.parametrize(
        ("actions", "space"),
        [
            ([0, 1, 4], Discrete(5)),
            ([0.0, 1.0, 4.0], Discrete(5)),
            ([[0], [2], [1]], Discrete(3)),
            ([[0, 1], [1, 0], [0, 1]], Discrete(2)),
            ([[0, 1], [1, 1], [3, 1]], MultiDiscrete([4, 2])),
            ([0.5, 1.0, 2.0], Box(-np.inf, np.inf, (1,))),
            ([[0.5, 1.0], [2.0, 1.0], [0.0, 0.0]], Box(-np.inf, np.inf, (2,))),
        ],
    )
    def test_action_spaces_are_inferred(self, actions: list[Any], space: Any) -> None:
        found = from_dicts([{"observations": [np.zeros((3, 1))], "actions": [actions]}])
        assert found.action_spaces["agent_1"] == space

    def test_actions_of_absent_agents_do_not_count(self) -> None:
        episode = {"observations": [np.zeros((2, 1))], "actions": [[1, 9]]}
        episode["participation"] = [[True, False]]
        assert from_dicts([episode]).action_spaces["agent_1"] == Discrete(2)

    def test_given_spaces_are_kept_and_checked(self) -> None:
        episode = {"observations": [[2, 0]], "actions": [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]}
        spaces = {
            "observation_spaces": {"agent_1": Discrete(3)},
            "action_spaces": {"agent_1": Discrete(3, start=5)},
        }
        found = from_dicts([episode], **spaces)
        assert found.records["agent_1"].observation.tolist() == [[0, 0, 1], [1, 0, 0]]
        assert found.records["agent_1"].action.tolist() == [6, 5]
        assert found.provenance["inferred"] == {}
        with pytest.raises(DemonstrationsError, match=r"agent_1.*found 7"):
            from_dicts(
                [{"observations": [[0]], "actions": [[7]]}],
                action_spaces={"agent_1": Discrete(3)},
            )

    def test_masks_become_part_of_the_observation(self) -> None:
        episode = {
            "observations": [[[1.0], [2.0]]],
            "actions": [[0, 1]],
            "action_masks": [[[1, 0, 1], [0, 1, 1]]],
        }
        found = from_dicts([episode])
        space = found.observation_spaces["agent_1"]
        assert isinstance(space, Dict)
        assert space["action_mask"] == MultiBinary(3)
        assert found.action_spaces["agent_1"] == Discrete(3)
        episode["actions"] = [[1, 1]]
        with pytest.raises(DemonstrationsError, match="found action 1, expected one of the mask"):
            from_dicts([episode])

    def test_observations_alone_need_an_action_space(self) -> None:
        episodes = [{"observations": [np.ones((2, 1))]}]
        found = from_dicts(episodes, action_spaces={"agent_1": Discrete(2)})
        assert not found.has_actions
        with pytest.raises(DemonstrationsError, match="give action_spaces"):
            from_dicts(episodes)

    @pytest.mark.parametrize(
        ("episodes", "match"),
        [
            ([], "no episodes"),
            ({"observations": []}, "dict episodes"),
            ([3], "episode 0: found <class 'int'>"),
            ([{"obs": []}], r"episode 0: found \['obs'\], expected a dict with 'observations'"),
            ([{"observations": 3}], "observations of type int"),
            ([{"observations": [[1.0]], "actions": [[0], [1]]}], "found 2 for 'actions'"),
            ([{"observations": [[[1.0], [1.0]]], "actions": [[0]]}], "expected as many everywhere"),
            ([{"observations": [["x"]], "actions": [[0]]}], "expected numbers"),
            ([{"observations": [[[1.0], [1.0, 2.0]]], "actions": [[0, 0]]}], "different shapes"),
            ([{"observations": [[[np.nan]]], "actions": [[0]]}], "round 0.*found observation nan"),
            ([{"observations": [[[1.0]]], "actions": [[-1]]}], "give action_spaces"),
            ([{"observations": [[[1.0]]], "actions": [[10**6]]}], "give action_spaces"),
            (
                [{"observations": [[[1.0]]], "actions": [[0]], "participation": [[2]]}],
                "expected True and False",
            ),
            (
                [
                    {"observations": [[[1.0]]], "actions": [[0]]},
                    {"observations": [[[1.0, 2.0]]], "actions": [[0]]},
                ],
                "rows of shapes",
            ),
            (
                [
                    {"observations": [[[1.0]]], "actions": [[0]]},
                    {"observations": [[[1.0]]], "actions": [[0]], "rewards": [[1.0]]},
                ],
                "episode 0: found NoneType for 'rewards'",
            ),
        ],
    )
    def test_errors_name_the_place(self, episodes: Any, match: str) -> None:
        with pytest.raises(DemonstrationsError, match=match):
            from_dicts(episodes)

    def test_unknown_names_and_agents_are_refused(self) -> None:
        with pytest.raises(DemonstrationsError, match=r"names for.*'observation'"):
            from_dicts([{"observations": [[[1.0]]]}], names={"observation": "ob"})
        with pytest.raises(DemonstrationsError, match="found 1 agents, expected 2"):
            from_dicts([{"observations": [[[1.0]]]}], agents=["a", "b"])
        with pytest.raises(DemonstrationsError, match="action_spaces of \\['x'\\]"):
            from_dicts([{"observations": [[[1.0]]]}], action_spaces={"x": Discrete(2)})


class TestNpz:
    def test_arrays_with_an_axis_of_agents(self, tmp_path: Path) -> None:
        path = tmp_path / "episodes.npz"
        observations = np.arange(24.0).reshape(2, 3, 2, 2)
        actions = np.arange(12).reshape(2, 3, 2) % 4
        participation = np.ones((2, 3, 2), bool)
        participation[1, 0, 1] = False
        np.savez_compressed(
            path, obs=observations, actions=actions, participation=participation, seed=7
        )
        found = read_npz(path, names={"observations": "obs"}, agents=["x", "y"])
        assert found.records["y"].observation[4].tolist() == [18.0, 19.0]  # episode 1, round 1
        assert found.records["y"].action.tolist() == [1, 3, 1, 0, 1, 3]
        assert found.records["y"].participates.tolist() == [1, 1, 1, 0, 1, 1]
        assert found.records["x"].action.tolist() == [0, 2, 0, 2, 0, 2]

    def test_arrays_of_each_agent_and_lengths(self, tmp_path: Path) -> None:
        path = tmp_path / "episodes.npz"
        arrays = {
            "observations/a": np.asfortranarray(np.arange(6.0).reshape(2, 3, 1)),
            "observations/b": np.arange(12, dtype=">i4").reshape(2, 3, 2),
            "actions/a": np.zeros((2, 3), int),
            "actions/b": np.ones((2, 3), int),
            "steps": np.array([3, 1]),
        }
        np.savez(path, **arrays)
        found = read_npz(path, names={"lengths": "steps"})
        assert found.records["a"].observation.ravel().tolist() == [0, 1, 2, 3]
        assert found.records["b"].observation[3].tolist() == [6, 7]
        assert found.episode_lengths().tolist() == [3, 1]

    def test_it_is_what_the_pickle_holds(self, tmp_path: Path) -> None:
        source = narrow(trajectories())
        path = tmp_path / "episodes.npz"
        np.savez(
            path,
            observations=np.stack([np.stack(one["ob"], axis=1) for one in source]),
            actions=np.stack([np.stack(one["ac"], axis=1) for one in source]),
            rewards=np.stack([np.stack(one["rew"], axis=1) for one in source]),
        )
        assert_is(read_npz(path), source)

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"x": np.zeros((1, 1, 1, 1))}, "found none of the arrays"),
            ({"observations": np.zeros((1, 1, 1))}, "actions"),
            ({"observations": np.zeros((2, 2))}, r"expected \[E, T, N, ...\]"),
            (
                {"observations": np.zeros((2, 3, 1, 1)), "actions": np.zeros((2, 2, 1))},
                r"actions: found shape \(2, 2, 1\)",
            ),
            (
                {"observations": np.zeros((2, 3, 1, 1)), "lengths": np.array([1, 4])},
                "lengths from 1 to 4",
            ),
            (
                {"observations": np.zeros((2, 3, 1, 1)), "lengths": np.array([1])},
                r"expected integers of shape \(2,\)",
            ),
        ],
    )
    def test_errors_name_the_array(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], match: str
    ) -> None:
        path = tmp_path / "bad.npz"
        np.savez(path, **arrays)
        with pytest.raises(DemonstrationsError, match=rf"bad\.npz: .*{match}"):
            read_npz(path)


class TestTables:
    def test_rows_csv_and_parquet_hold_the_same(self, tmp_path: Path) -> None:
        source = trajectories()
        rows = as_rows(source)
        expected = from_rows(rows)
        assert_is(expected, narrow(source))
        pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "rows.parquet")
        assert_same_records(read_table(tmp_path / "rows.parquet"), expected)
        with open(tmp_path / "rows.csv", "w", newline="") as file:
            header = ["ep", "step", "who", "obs_0", "obs_1", "act", "rew"]
            writer = csv.writer(file, delimiter=";")
            writer.writerow(header)
            for row in rows:
                flat = [row["episode"], row["round"], row["agent"], *row["observation"]]
                writer.writerow([*flat, row["action"], row["reward"]])
        names = {"episode": "ep", "round": "step", "agent": "who", "observation": "obs_*"}
        names |= {"action": "act", "reward": "rew"}
        assert_same_records(read_csv(tmp_path / "rows.csv", names=names), expected)

    def test_columns_are_taken_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "wide.csv"
        names = [f"observation_{i}" for i in (10, 2, 1)]
        path.write_text(f"episode,{','.join(names)},action\n0,10,2,1,3\n")
        found = read_csv(path)
        assert found.agents == ("agent",)
        assert found.records["agent"].observation.tolist() == [[1, 2, 10]]

    def test_empty_actions_are_phi(self, tmp_path: Path) -> None:
        path = tmp_path / "phi.csv"
        path.write_text(
            "episode,round,agent,observation,action,reward\n"
            "b,0,x,1,0,5\nb,1,x,2,,\nb,0,y,3,1,6\nb,2,y,4,2,7\na,0,x,5,1,8\n"
        )
        found = read_csv(path)
        x, y = found.records["x"], found.records["y"]
        assert x.participates.tolist() == [True, False, True]
        assert x.reward.tolist() == [5, 0, 8]
        assert x.episode.tolist() == [0, 0, 1]  # b came first
        assert y.round.tolist() == [0, 2]

    def test_a_column_says_who_participates(self) -> None:
        rows = [
            {"episode": 7, "observation": 0.5, "action": 1, "own": True},
            {"episode": 7, "observation": 0.6, "action": 3, "own": False},
            {"episode": 9, "observation": 0.7, "action": 2, "own": True},
        ]
        record = from_rows(rows, names={"participates": "own"}).records["agent"]
        assert record.participates.tolist() == [True, False, True]
        assert record.action.tolist() == [1, 0, 2]
        assert record.round.tolist() == [0, 1, 0]  # counted
        assert record.episode.tolist() == [0, 0, 1]

    def test_lists_masks_and_several_actions(self) -> None:
        rows = [
            {"episode": 0, "round": t, "observation": [t, 1.0], "a": t, "b": 1.0 - t}
            for t in range(2)
        ]
        found = from_rows(rows, names={"action": "b,a"})
        assert found.records["agent"].action.tolist() == [0, 1]  # one-hot: b is choice 0
        masked = [
            {"episode": 0, "observation": [1.0], "action": 2, "action_mask": [True, False, True]}
        ]
        assert from_rows(masked).records["agent"].action_mask.tolist() == [[True, False, True]]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "expected 'episode'"),
            ("episode,observation\n", "found no rows"),
            ("a,b\n1,2\n", "expected 'episode' for the episode"),
            ("episode,observation\n0,x\n", "CSV conversion error to double"),
            ("episode,observation,action\n0,1,2,3\n", "Expected 3 columns, got 4"),
            ("episode,observation,action\n0,,2\n", "row 0: found an empty observation"),
            ("episode,observation,action\n,1,2\n", "column 'episode': found empty"),
            ("episode,round,observation,action\n0,1.5,1,2\n", "CSV conversion error to int64"),
            ("episode,round,observation,action\n0,-1,1,2\n", "found round -1"),
            ("episode,round,observation,action\n0,1,1,2\n0,1,1,2\n", "without duplicates"),
            ("episode,observation,action,episode\n0,1,2,3\n", "several columns"),
            ("episode,observation_1,observation_2,action\n0,1,,2\n", "row 0: found some of"),
            ("episode,observation,action,participates\n0,1,2,maybe\n", "CSV conversion error"),
            (
                "episode,observation,action,participates\n0,1,,true\n",
                "row 0: found an empty action",
            ),
        ],
    )
    def test_errors_name_column_and_row(self, tmp_path: Path, text: str, match: str) -> None:
        path = tmp_path / "bad.csv"
        path.write_text(text)
        with pytest.raises(DemonstrationsError, match=rf"bad\.csv: .*{match}"):
            read_csv(path)

    @pytest.mark.parametrize(
        ("column", "values", "match"),
        [
            ("observation", ["x"], "found string values, expected numbers"),
            ("observation", [[["x"]]], "expected numbers"),
            ("observation", [{"x": 1.0}], "expected numbers"),
            ("observation", [[1.0, None]], "missing values"),
            ("round", [0.5], "expected whole numbers"),
            ("agent", [None], "found .*, expected"),
            ("action", [2**60], "expected"),
        ],
    )
    def test_parquet_of_wrong_types(
        self, tmp_path: Path, column: str, values: list[Any], match: str
    ) -> None:
        row = {"episode": [0], "round": [0], "agent": ["a"], "observation": [1.0], "action": [1]}
        path = tmp_path / "bad.parquet"
        pq.write_table(pa.table(row | {column: values}), path)
        with pytest.raises(DemonstrationsError, match=rf"bad\.parquet: .*{match}"):
            read_table(path)


class TestAsynchronous:
    def test_the_player_function_says_which_rows_are_phi(self) -> None:
        source = trajectories(num_agents=3)
        options = {"names": {"observations": "ob", "actions": "ac", "rewards": "rew"}}
        plain = from_dicts(source, **options)
        found = from_dicts(
            source, player_function=paper_pattern(), rng=np.random.default_rng(0), **options
        )
        pattern = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
        for k, (agent, record) in enumerate(found.records.items()):
            own = np.tile([bool(row[k]) for row in pattern], 3)
            before = plain.records[agent]
            assert record.participates.tolist() == own.tolist()
            np.testing.assert_array_equal(record.observation, before.observation)
            np.testing.assert_array_equal(record.action, np.where(own, before.action, 0))
            np.testing.assert_array_equal(record.reward, np.where(own, before.reward, 0))
        assert found.player_function == paper_pattern().to_dict()

    def test_the_generator_decides(self) -> None:
        source = narrow(trajectories(num_episodes=50, num_agents=2))
        plain = from_rows(as_rows(source))
        half = IndependentStochastic([0.5, 1.0])
        first, again = (make_asynchronous(plain, half, np.random.default_rng(3)) for _ in range(2))
        other = make_asynchronous(plain, half, np.random.default_rng(4))
        assert_same(first, again)
        own = first.records["agent_1"].participates
        assert (own != other.records["agent_1"].participates).any()
        assert 70 < own.sum() < 130  # of 200
        assert first.records["agent_2"].participates.all()

    def test_synchronous_play_changes_nothing(self) -> None:
        plain = from_rows(as_rows(trajectories()))
        found = make_asynchronous(plain, Synchronous(2), np.random.default_rng(0))
        assert_same_records(found, plain)

    def test_what_does_not_fit_is_refused(self) -> None:
        plain = from_rows(as_rows(trajectories()))
        rng = np.random.default_rng(0)
        with pytest.raises(DemonstrationsError, match="of 3 agents, expected of 2"):
            make_asynchronous(plain, Synchronous(3), rng)
        half = make_asynchronous(plain, IndependentStochastic([0.5, 0.5]), rng)
        with pytest.raises(DemonstrationsError, match="rows of 'agent_1' that are phi"):
            make_asynchronous(half, Synchronous(2), rng)
        state = StatePlayerFunction(lambda history: history.participation[:, 0], 2, np.ones(2))
        with pytest.raises(DemonstrationsError, match="looks at states"):
            make_asynchronous(plain, state, rng)
        far = from_rows([{"episode": 0, "round": 10**12, "observation": 1.0, "action": 1}])
        with pytest.raises(DemonstrationsError, match="numbered 0, 1"):
            make_asynchronous(far, Synchronous(1), rng)
        with pytest.raises(DemonstrationsError, match="player_function without rng"):
            from_rows(as_rows(trajectories()), player_function=Synchronous(2))


class TestRead:
    def test_the_end_of_the_name_says_which_reader(self, tmp_path: Path) -> None:
        rows = as_rows(trajectories())
        expected = from_rows(rows)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "plain.parquet")
        (tmp_path / "magail.PKL").write_bytes(pickle.dumps(trajectories()))
        expected.save(tmp_path / "own.parquet")
        assert_same_records(read(tmp_path / "plain.parquet"), expected)
        assert_same(read(tmp_path / "own.parquet"), expected)
        assert_is(read(tmp_path / "magail.PKL"), trajectories())

    def test_own_files_become_asynchronous_too(self, tmp_path: Path) -> None:
        from_rows(as_rows(trajectories())).save(tmp_path / "own.parquet")
        rng = np.random.default_rng(0)
        found = read(tmp_path / "own.parquet", player_function=Synchronous(2), rng=rng)
        assert found.player_function == {"type": "synchronous", "num_agents": 2}
        with pytest.raises(DemonstrationsError, match=r"own\.parquet: found \['agents'\]"):
            read(tmp_path / "own.parquet", agents=["a", "b"])

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("")
        with pytest.raises(DemonstrationsError, match=r"x\.txt: found a name that ends in '.txt'"):
            read(tmp_path / "x.txt")
        for name in ("x.pkl", "x.npz", "x.csv", "x.parquet"):
            with pytest.raises(DemonstrationsError, match=f"{name}: found no such file"):
                read(tmp_path / name)
