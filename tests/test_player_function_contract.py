"""The contract suite passes for the package's player functions and fails for broken ones."""

import itertools

import numpy as np
import pytest

from rllib_amagail.player_functions import (
    HistoryPlayerFunction,
    IndependentStochastic,
    JointMarkovParticipation,
    LogisticParticipation,
    MarkovParticipation,
    PlayerFunction,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)
from rllib_amagail.testing import PlayerFunctionContract


@pytest.mark.parametrize(
    "player_function",
    [
        Synchronous(3),
        paper_pattern(),
        IndependentStochastic([0.5, 0.25, 1.0], initial=[0.0, 0.0, 1.0]),
        MarkovParticipation([0.1, 1.0], [0.9, 0.5], initial=[0.5, 1.0]),
        JointMarkovParticipation(np.full((4, 2), 0.5), initial=[0.0, 1.0]),
    ],
    ids=lambda f: type(f).__name__,
)
class TestContractOfValueFunctions(PlayerFunctionContract):
    @pytest.fixture(autouse=True)
    def _choose(self, player_function):
        self.player_function = player_function

    def make_player_function(self):
        return self.player_function


def overdue(history):
    """The fewer turns an agent had, the likelier it acts: needs the whole history."""
    return 1.0 - history.participation.sum(axis=1) / (history.rounds[:, None] + 1.0)


class TestContractOfHistoryPlayerFunction(PlayerFunctionContract):
    def make_player_function(self):
        return HistoryPlayerFunction(overdue, 2, [1.0, 0.0])


def near_origin(history):
    return (np.abs(history.states) < 1.0).astype(float)


class TestContractOfStatePlayerFunction(PlayerFunctionContract):
    def make_player_function(self):
        return StatePlayerFunction(near_origin, 2, [1.0, 1.0], memory=0)

    def make_states(self, rng):
        return rng.normal(size=(self.num_worlds, 2))


class TestContractOfLogisticParticipation(PlayerFunctionContract):
    def make_player_function(self):
        return LogisticParticipation(
            bias=[0.5, 40.0],
            turn_weights=[[-1.0, 2.0], [0.0, 0.0]],
            state_weights=[[1.0, 0.0, -3.0], [0.0, 0.0, 0.0]],
            initial=[0.5, 1.0],
            products=[[0, 1], [2, 2]],
            product_weights=[[-2.0, 1.0], [0.0, 0.0]],
        )

    def make_states(self, rng):
        return rng.normal(size=(self.num_worlds, 3))


class Broken(PlayerFunction):
    """A correct player function of two agents, to be broken in one place."""

    num_agents = 2
    memory = None

    def __init__(self, probabilities=None, initial=(0.5, 0.5), may_abstain=None, description=None):
        self._probabilities = probabilities or (lambda h: np.full((len(h.rounds), 2), 0.5))
        self._initial = np.asarray(initial)
        self._may_abstain = np.ones(2, dtype=bool) if may_abstain is None else may_abstain
        self._description = description or {"type": "broken"}

    def initial_probabilities(self):
        return self._initial

    def probabilities(self, history):
        return self._probabilities(history)

    def may_abstain(self):
        return np.asarray(self._may_abstain)

    def to_dict(self):
        return self._description


def never_the_same():
    counter = itertools.count(1)
    return lambda history: np.full((len(history.rounds), 2), 1.0 / next(counter))


def overwrite_history(history):
    """Gets around the read-only views, as careless in-place code on the base array would."""
    history.participation.base[:] = True
    return np.full((len(history.rounds), 2), 0.5)


def look_at_other_worlds(history):
    return np.full((len(history.rounds), 2), 1.0 / len(history.rounds))


def count_rounds_before_the_first(history):
    return np.full((len(history.rounds), 2), 1.0 / (1 + history.participation.shape[1]))


@pytest.mark.parametrize(
    ("broken", "test", "message"),
    [
        (Broken(initial=(0.5, 1.5)), "initial_probabilities_are_probabilities", "1.5"),
        (Broken(initial=(0.5,)), "initial_probabilities_are_probabilities", r"\(1,\)"),
        (Broken(never_the_same()), "same_history_gives_same_probabilities", "differently"),
        (Broken(overwrite_history), "history_is_not_modified", "modified participation"),
        (
            Broken(look_at_other_worlds),
            "each_world_depends_on_its_own_history_only",
            "alone",
        ),
        (
            Broken(count_rounds_before_the_first),
            "each_world_depends_on_its_own_history_only",
            "alone",
        ),
        (
            Broken(may_abstain=[True, False]),
            "agents_that_may_not_abstain_are_certain_to_participate",
            r"agents \[1\]",
        ),
        (
            Broken(may_abstain=[True]),
            "agents_that_may_not_abstain_are_certain_to_participate",
            r"\(1,\)",
        ),
        (Broken(description={"type": "x", "n": (1, 2)}), "description_is_json", "JSON"),
        (Broken(description={"types": "x"}), "description_is_json", "type"),
    ],
)
def test_contract_fails_for_a_broken_player_function(broken, test, message):
    contract = PlayerFunctionContract()
    contract.make_player_function = lambda: broken
    # A wrong zeta is refused by the sampler, too: only the named test is of interest here.
    with pytest.raises(AssertionError, match=message):
        getattr(contract, f"test_{test}")()


@pytest.mark.parametrize("value", [1.5, np.nan, -0.5])
def test_contract_fails_for_probabilities_out_of_range(value):
    contract = PlayerFunctionContract()
    contract.make_player_function = lambda: Broken(lambda h: np.full((len(h.rounds), 2), value))
    with pytest.raises(AssertionError, match="expected"):
        contract.test_probabilities_are_probabilities()
