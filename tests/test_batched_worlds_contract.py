"""The contract of batched worlds: what keeps to it, and what breaks it."""

from __future__ import annotations

import copy
import doctest
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rllib_amagail.games import make_game
from rllib_amagail.games.game import RoundResult
from rllib_amagail.runners.batched_worlds import BatchedWorlds
from rllib_amagail.testing import BatchedWorldsContract


def documented_example() -> type:
    """The class in the docstring of `BatchedWorlds`."""
    (test,) = doctest.DocTestFinder(recurse=False).find(
        BatchedWorlds, globs={"BatchedWorlds": BatchedWorlds}
    )
    doctest.DocTestRunner().run(test, clear_globs=False)
    return test.globs["Counters"]


class TestTheDocumentedExample(BatchedWorldsContract):
    num_rounds = 25

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return documented_example()(batch_size)


class TestReaching(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        name = "deterministic_cooperative_reaching"
        return make_game(name, batch_size=batch_size, seed=seed, horizon=9)


class TestPredatorPrey(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        name = "stochastic_predator_prey"
        return make_game(name, batch_size=batch_size, seed=seed, horizon=9)


class Walkers:
    """Two agents walk at random; the second one rests in every third round.

    `flaw` says what is wrong with them.
    """

    agents = ("x", "y")

    def __init__(self, batch_size: int, seed: int, flaw: str = "") -> None:
        self.batch_size, self.flaw = batch_size, flaw
        self.observation_spaces = dict.fromkeys(self.agents, Box(-np.inf, np.inf, (1,), np.float32))
        self.action_spaces = dict.fromkeys(self.agents, Discrete(3))
        self.rng = np.random.default_rng(None if flaw == "seed" else seed)
        self.rounds, self.lengths = np.zeros((2, batch_size), np.int64)
        self.places = np.zeros((batch_size, 2))
        self.over = np.zeros(batch_size, bool)

    @property
    def participation(self) -> np.ndarray:
        acts = np.stack([self.rounds >= 0, self.rounds % 3 != 2], axis=1)
        return acts.astype(int) if self.flaw == "participation" else acts

    def reset(self, worlds: np.ndarray | None = None) -> None:
        everywhere = worlds is None or self.flaw == "reset"
        chosen = np.ones(self.batch_size, bool) if everywhere else worlds
        self.rounds = np.where(chosen, 0, self.rounds)
        self.lengths = np.where(chosen, self.rng.integers(4, 8, self.batch_size), self.lengths)
        starts = self.rng.normal(size=self.places.shape)
        self.places = np.where(chosen[:, None], starts, self.places)
        self.over = self.over & (~chosen | (self.flaw == "ended"))

    def observations(self) -> dict[str, np.ndarray]:
        if self.flaw == "looking":
            self.places = self.places + 1
        shown = self.places if self.flaw == "dtype" else self.places.astype(np.float32)
        return {"x": shown[:, :1], "y": shown[:, 1:]}

    def step(self, actions: np.ndarray) -> RoundResult:
        acts = self.participation.astype(bool)
        moves = actions if self.flaw == "absent" else np.where(acts, actions, 0)
        self.places = self.places + moves
        if self.flaw == "neighbours":
            self.places += moves.mean()
        self.over = self.over | ((self.rounds + 1 == self.lengths) & (self.flaw != "never"))
        self.rounds = self.rounds + (self.flaw != "rounds")
        rewards = np.full(acts.shape, np.nan if self.flaw == "rewards" else 1.0)
        return RoundResult(rewards, self.over, np.zeros(self.batch_size, bool))

    def get_state(self) -> dict[str, Any]:
        return {name: copy.deepcopy(getattr(self, name)) for name in self.saved}

    def set_state(self, state: Mapping[str, Any]) -> None:
        vars(self).update({name: copy.deepcopy(state[name]) for name in self.saved})

    @property
    def saved(self) -> list[str]:
        return ["rounds", "lengths", "places", "over", *(["rng"] if self.flaw != "state" else [])]


class WalkersContract(BatchedWorldsContract):
    __test__ = False
    flaw = ""

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return Walkers(batch_size, seed, self.flaw)


class TestWalkers(WalkersContract):
    __test__ = True


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("participation", "participation_and_rewards_have_a_column_an_agent"),
        ("rewards", "participation_and_rewards_have_a_column_an_agent"),
        ("dtype", "observations_fit_their_spaces"),
        ("rounds", "rounds_count_up"),
        ("never", "endings_are_flagged_once"),
        ("ended", "endings_are_flagged_once"),
        ("looking", "looking_changes_nothing"),
        ("reset", "reset_leaves_other_worlds_alone"),
        ("seed", "same_seed_gives_the_same_rounds"),
        ("absent", "actions_of_absent_agents_are_ignored"),
        ("neighbours", "a_world_depends_on_its_own_actions"),
        ("state", "state_goes_on_where_it_was_taken"),
    ],
)
def test_flaws_are_found(flaw: str, test: str) -> None:
    contract = WalkersContract()
    contract.flaw = flaw
    with pytest.raises(AssertionError):
        getattr(contract, f"test_{test}")()
