"""What learners do about modules that only some of them have rows of."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rllib_amagail.learner.scarce_rows import deal_scarce_rows, join_turns
from rllib_amagail.learner.turns import TurnBatch


def batch(*lengths: int, game: str = "g") -> TurnBatch:
    """Agent episodes of these lengths; observations tell the row, values the episode."""
    rows, episodes = sum(lengths), len(lengths)
    numbers = np.arange(rows, dtype=np.float32)
    return TurnBatch(
        observations=numbers[:, None],
        actions=numbers.astype(int),
        action_logp=-numbers,
        action_dist_inputs=np.zeros((rows, 2), np.float32),
        rewards=numbers,
        rounds=np.arange(rows),
        participates=np.ones(rows, bool),
        segment_starts=np.concatenate([[0], np.cumsum(lengths, dtype=int)]),
        final_observations=np.array(lengths, np.float32)[:, None],
        final_rounds=np.full(episodes, rows),
        terminated=np.zeros(episodes, bool),
        agents=np.array(["rare"] * episodes, object),
        games=np.array([f"{game}{k}" for k in range(episodes)], object),
    )


def dealt(
    turns: Sequence[Mapping[str, TurnBatch]], modules: Sequence[str]
) -> list[dict[str, TurnBatch]]:
    """What learners with these batches have afterwards; each is a thread, as they wait for all."""
    shared: list[Any] = [None] * len(turns)
    barrier = threading.Barrier(len(turns), timeout=10)

    def learner(rank: int) -> dict[str, TurnBatch]:
        def gather(item: Any) -> list[Any]:
            shared[rank] = item
            barrier.wait()
            found = list(shared)
            barrier.wait()
            return found

        return deal_scarce_rows(turns[rank], modules, rank, gather)

    with ThreadPoolExecutor(len(turns)) as pool:
        return list(pool.map(learner, range(len(turns))))


def test_what_everybody_or_nobody_has_stays_where_it_is() -> None:
    turns = [{"busy": batch(3)}, {"busy": batch(1, 2)}]
    for before, after in zip(turns, dealt(turns, ["busy", "never"]), strict=True):
        assert after.keys() == {"busy"}
        assert after["busy"] is before["busy"]


def test_a_single_agent_episode_is_everybodys() -> None:
    turns = [{"busy": batch(3)}, {"busy": batch(3), "rare": batch(2, game="only")}, {}]
    first, second, third = dealt(turns, ["rare"])
    for found in (first, second, third):
        assert found["rare"].games.tolist() == ["only0"]
        assert found["rare"].observations.tolist() == [[0], [1]]
    assert first["busy"] is turns[0]["busy"]
    assert "busy" not in third


def test_agent_episodes_are_dealt_out_whole() -> None:
    turns = [{"rare": batch(2, 1, game="a")}, {}, {"rare": batch(3, 4, game="c")}]
    found = [learner["rare"] for learner in dealt(turns, ["rare"])]
    assert [rare.games.tolist() for rare in found] == [["a0", "c1"], ["a1"], ["c0"]]
    assert [np.diff(rare.segment_starts).tolist() for rare in found] == [[2, 4], [1], [3]]
    assert found[0].observations[:, 0].tolist() == [0, 1, 3, 4, 5, 6]
    assert found[0].final_observations[:, 0].tolist() == [2, 4]


def test_no_row_is_lost_or_counted_twice_with_many_learners() -> None:
    """A hundred learners, of whom about ten have an episode: ten is too few to share."""
    rng = np.random.default_rng(0)
    few = [{"rare": batch(5, game=f"{k}-")} if rng.random() < 0.1 else {} for k in range(100)]
    expected = sorted(f"{k}-0" for k, turns in enumerate(few) if turns)
    assert all(sorted(t["rare"].games) == expected for t in dealt(few, ["rare"]))
    many = [{"rare": batch(1, 2, 3, game=f"{k}-")} if k % 2 else {} for k in range(10)]
    games = [game for turns in dealt(many, ["rare"]) for game in turns["rare"].games]
    assert sorted(games) == sorted(f"{k}-{j}" for k in range(1, 10, 2) for j in range(3))


def test_joined_turns_are_the_turns_one_after_the_other() -> None:
    whole = join_turns([batch(2, 1), batch(3)])
    assert whole.segment_starts.tolist() == [0, 2, 3, 6]
    assert whole.observations[:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert whole.others is None
