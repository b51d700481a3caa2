"""What every player function must keep to, as a suite of tests to inherit."""

import copy
import json
from collections.abc import Iterator

import numpy as np

from rllib_amagail.turn_sampler import History, PlayerFunction, TurnSampler


class PlayerFunctionContract:
    """Tests of one player function, on histories sampled from itself.

    Inherit it in a test module, and pytest runs all of it:

        class TestMyPlayerFunction(PlayerFunctionContract):
            def make_player_function(self) -> PlayerFunction:
                return MyPlayerFunction(num_agents=3)

    Worlds are reset at different rounds, so their histories differ in length.

    Attributes:
        num_worlds: B of the sampled histories.
        num_rounds: how many rounds are sampled.
        seed: of the sampled histories.
    """

    num_worlds = 5
    num_rounds = 12
    seed = 0

    def make_player_function(self) -> PlayerFunction:
        """Return the player function under test. Override this."""
        raise NotImplementedError("override make_player_function() in your test class")

    def make_states(self, rng: np.random.Generator) -> np.ndarray | None:
        """Return `[num_worlds, S]` joint states. Override this for `needs_states`."""
        return None

    def sampled(self) -> Iterator[tuple[PlayerFunction, History]]:
        """Yield the player function with each history it meets while turns are drawn from it."""
        rng = np.random.default_rng(self.seed)
        player_function = self.make_player_function()
        sampler = TurnSampler(player_function, self.num_worlds, rng)
        sampler.reset()
        for round_ in range(self.num_rounds):
            states = self.make_states(rng)
            yield player_function, sampler.next_history(states)
            sampler.step(states)
            sampler.reset(np.arange(self.num_worlds) == round_)

    def test_initial_probabilities_are_probabilities(self) -> None:
        player_function = self.make_player_function()
        initial = np.asarray(player_function.initial_probabilities())
        _check_probabilities("initial_probabilities()", initial, (player_function.num_agents,))

    def test_probabilities_are_probabilities(self) -> None:
        for player_function, history in self.sampled():
            probabilities = np.asarray(player_function.probabilities(history))
            expected = (self.num_worlds, player_function.num_agents)
            _check_probabilities("probabilities()", probabilities, expected)

    def test_same_history_gives_same_probabilities(self) -> None:
        histories = list(self.sampled())
        first = [np.array(function.probabilities(history)) for function, history in histories]
        # Asked again in another order, so that a hidden counter or generator shows.
        for (function, history), expected in zip(reversed(histories), reversed(first), strict=True):
            np.testing.assert_array_equal(
                function.probabilities(history),
                expected,
                err_msg="probabilities() answers differently to the same history: "
                "it must look at nothing but the history",
            )

    def test_history_is_not_modified(self) -> None:
        for function, history in self.sampled():
            # History is read-only, so plain writes already raise; this sees the others, too.
            before = copy.deepcopy(vars(history))
            function.probabilities(history)
            for name, value in before.items():
                np.testing.assert_array_equal(
                    getattr(history, name), value, err_msg=f"probabilities() modified {name}"
                )

    def test_each_world_depends_on_its_own_history_only(self) -> None:
        for function, history in self.sampled():
            together = np.asarray(function.probabilities(history))
            for world in range(self.num_worlds):
                alone = np.asarray(function.probabilities(_only(world, history, function.memory)))
                np.testing.assert_allclose(
                    alone,
                    together[world : world + 1],
                    rtol=1e-6,
                    err_msg=f"world {world} gets other probabilities alone than beside "
                    f"{self.num_worlds - 1} other worlds: use its own row of the history only, "
                    f"and not the False vectors from before its round 0",
                )

    def test_agents_that_may_not_abstain_are_certain_to_participate(self) -> None:
        for function, history in self.sampled():
            certain = ~self._may_abstain(function)
            lowest = np.minimum(
                np.asarray(function.initial_probabilities()),
                np.asarray(function.probabilities(history)).min(axis=0),
            )
            uncertain = np.flatnonzero(certain & (lowest < 1.0)).tolist()
            assert not uncertain, (
                f"may_abstain() is False for agents {uncertain}, but their probabilities fall to "
                f"{lowest[uncertain]} by round {history.rounds.max()}: return True for them"
            )

    def test_description_is_json(self) -> None:
        description = self.make_player_function().to_dict()
        assert json.loads(json.dumps(description)) == description, (
            f"to_dict() gives {description}, which changes on its way through JSON: "
            f"use only str keys, numbers, strings, lists and dicts"
        )
        assert isinstance(description.get("type"), str), (
            f'to_dict() gives {description}, expected a string under "type"'
        )

    def _may_abstain(self, function: PlayerFunction) -> np.ndarray:
        may_abstain = np.asarray(function.may_abstain())
        expected = (function.num_agents,)
        found = (may_abstain.shape, may_abstain.dtype)
        assert found == (expected, np.bool_), (
            f"may_abstain() is {may_abstain.dtype} of shape {may_abstain.shape}, "
            f"expected bool of shape {expected}"
        )
        return may_abstain


def _check_probabilities(name: str, found: np.ndarray, expected: tuple[int, ...]) -> None:
    assert found.shape == expected, f"{name} has shape {found.shape}, expected {expected}"
    assert np.isfinite(found).all(), f"{name} is {found}, expected finite numbers"
    assert ((found >= 0) & (found <= 1)).all(), f"{name} is {found}, expected numbers in [0, 1]"


def _only(world: int, history: History, memory: int | None) -> History:
    """The history of one world, as a sampler of that world alone would show it."""
    row = slice(world, world + 1)
    keep = int(history.rounds[world]) if memory is None else memory
    length = history.participation.shape[1]
    states = None if history.states is None else history.states[row]
    return History(history.rounds[row], history.participation[row, length - keep :], states)
