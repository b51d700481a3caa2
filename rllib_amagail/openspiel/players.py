"""Who plays: exact players where a game can be solved, and learned, random and noisy ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from rllib_amagail.learned_policy import LearnedPolicy
from rllib_amagail.openspiel.game import OBSERVATION_KEY, OpenSpielGame, import_openspiel
from rllib_amagail.spaces import MASK_KEY, ObservationLayout

_TOLERANCE = 1e-9  # between values of equally good moves
_POSITIONS = 100_000  # that a learned player remembers
_EXPLORATION, _SEARCH_MEGABYTES = 2.0, 100  # of tree search


class Player(Protocol):
    """A player of one game, in any of its seats."""

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """`[n]` chances of all actions in OpenSpiel's `state`, zero for illegal ones."""


class UniformPlayer:
    """Every legal action alike."""

    def __init__(self, game: OpenSpielGame) -> None:
        self._game = game

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        mask = self._game.mask(state, player)
        return mask / mask.sum()


class PerfectPlayer:
    """Draws among all moves of the best minimax value, in games of two sides and no secrets.

    Such play is subgame perfect: best after every history, also off the path.

    Raises:
        ValueError: a game with chance, hidden information, simultaneous moves, or other than two
            players whose returns add up to the same.
    """

    def __init__(self, game: OpenSpielGame) -> None:
        pyspiel = import_openspiel()
        kind = game.rules.get_type()
        expected = (
            pyspiel.GameType.ChanceMode.DETERMINISTIC,
            pyspiel.GameType.Information.PERFECT_INFORMATION,
            pyspiel.GameType.Dynamics.SEQUENTIAL,
        )
        found = (kind.chance_mode, kind.information, kind.dynamics)
        sums = (pyspiel.GameType.Utility.ZERO_SUM, pyspiel.GameType.Utility.CONSTANT_SUM)
        if found != expected or len(game.agents) != 2 or kind.utility not in sums:
            raise ValueError(
                f"{game.name!r} has {_names(*found)} and {len(game.agents)} players, expected a "
                "game of two sides without chance and secrets: use EquilibriumPlayer"
            )
        self._game = game
        self._values: dict[str, float] = {}

    def value(self, state: Any) -> float:
        """Return of player 0 if both play perfectly from `state` on."""
        if state.is_terminal():
            return float(state.returns()[0])
        key = str(state)
        if key not in self._values:
            values = [self.value(state.child(action)) for action in state.legal_actions()]
            self._values[key] = max(values) if state.current_player() == 0 else min(values)
        return self._values[key]

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        sign = 1.0 if player == 0 else -1.0
        legal = state.legal_actions(player)
        values = np.array([sign * self.value(state.child(action)) for action in legal])
        chances = np.zeros(self._game.num_actions)
        chances[np.array(legal)[values >= values.max() - _TOLERANCE]] = 1.0
        return chances / chances.sum()


class EquilibriumPlayer:
    """A near-equilibrium of a two-player game with chance and secrets.

    Counterfactual regret minimisation, CFR+ (Tammelin 2014, arXiv:1407.5042), by OpenSpiel.

    Args:
        game: of two players whose returns add up to zero. With others there is no guarantee, and
            `nash_conv` tells how near it came.
        iterations: of CFR+; 100 leave Leduc poker with an exploitability of about .01.
        shown: called after each iteration, for progress.

    Raises:
        ValueError: a game that `OpenSpielGame.check_searchable` refuses.
    """

    def __init__(
        self,
        game: OpenSpielGame,
        iterations: int = 100,
        shown: Callable[[], None] = lambda: None,
    ) -> None:
        game.check_searchable()
        solver = import_openspiel().CFRPlusSolver(game.rules)
        for _ in range(iterations):
            solver.evaluate_and_update_policy()
            shown()
        self._game = game
        # The policy reads the solver's memory, which must live as long.
        self._solver = solver
        self._policy = solver.average_policy()

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        chances = np.zeros(self._game.num_actions)
        told = self._policy.action_probabilities(state.information_state_string(player))
        for action, chance in told.items():
            chances[action] = chance
        return chances / chances.sum()


class NoisyPlayer:
    """Now and then a random legal move instead of the player's own.

    Args:
        player: to disturb.
        noise: chance of a random move, in [0, 1].

    Raises:
        ValueError: another `noise`.
    """

    def __init__(self, game: OpenSpielGame, player: Player, noise: float) -> None:
        if not 0.0 <= noise <= 1.0:
            raise ValueError(f"noise is {noise}, expected a chance from 0 to 1")
        self._player, self._uniform, self._noise = player, UniformPlayer(game), noise

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        own = self._player.probabilities(state, player)
        return (1.0 - self._noise) * own + self._noise * self._uniform.probabilities(state, player)


class SearchPlayer:
    """Monte Carlo tree search with random rollouts, by OpenSpiel (UCT, Kocsis and Szepesvari 2006).

    It plays the move that it visited most. Its searches go on with one random stream, so that it
    plays the same position in other ways now and then; a fresh player of the same seed repeats
    them.

    Args:
        game: without secrets, players moving one after the other.
        simulations: of every search. 50 to 1,000 take .5 to 9 ms for a move of connect four.
        seed: of the stream.

    Raises:
        ValueError: a game with hidden information or simultaneous moves, or no simulations.
    """

    def __init__(self, game: OpenSpielGame, simulations: int = 200, *, seed: int = 0) -> None:
        pyspiel = import_openspiel()
        kind = game.rules.get_type()
        expected = (
            pyspiel.GameType.Information.PERFECT_INFORMATION,
            pyspiel.GameType.Dynamics.SEQUENTIAL,
        )
        if (kind.information, kind.dynamics) != expected:
            raise ValueError(
                f"{game.name!r} has {_names(kind.information, kind.dynamics)}, expected a game of "
                "perfect information in turns: use EquilibriumPlayer"
            )
        if simulations < 1:
            raise ValueError(f"simulations is {simulations}, expected at least 1")
        self._game = game
        self._bot = pyspiel.MCTSBot(
            game.rules,
            pyspiel.RandomRolloutEvaluator(1, seed),
            _EXPLORATION,
            simulations,
            _SEARCH_MEGABYTES,
            True,  # won and lost positions are told from others
            seed,
            False,
        )

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`: all on one action."""
        chances = np.zeros(self._game.num_actions)
        chances[self._bot.step(state)] = 1.0
        return chances


class LearnedPlayer:
    """Policies that were learned, one per seat.

    Positions are remembered, for searches that come back to them.

    Where phi is an action (MAGAIL), whoever chooses it in its turn executes its null action: the
    first legal one.

    Args:
        game: they were learned for.
        policies: see `LearnedPolicy`.
        explore: draw actions as the policies say. False: take the likeliest.

    Raises:
        ValueError: policies that see something else than the game's position, as those with past
            turns do.
    """

    def __init__(
        self, game: OpenSpielGame, policies: LearnedPolicy, *, explore: bool = True
    ) -> None:
        for agent in game.agents:
            found = policies.network(agent).observations.feature_size
            expected = ObservationLayout.from_space(game.observation_spaces[agent]).feature_size
            if found != expected:
                raise ValueError(
                    f"the policy of {agent} reads {found} features and {game.name!r} shows "
                    f"{expected}, expected as many: policies of this game that see the present "
                    "position only, without past turns"
                )
        self._game, self._policies, self._explore = game, policies, explore
        self._known: dict[tuple[int, bytes, bytes], np.ndarray] = {}

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        seen = self._game.observation(state, player)
        key = (player, seen[OBSERVATION_KEY].tobytes(), seen[MASK_KEY].tobytes())
        if key not in self._known:
            if len(self._known) >= _POSITIONS:
                self._known.clear()
            self._known[key] = self._chances(seen, player)
        return self._known[key]

    def _chances(self, seen: dict[str, np.ndarray], player: int) -> np.ndarray:
        agent, size = self._game.agents[player], self._game.num_actions
        knows_phi = self._policies.network(agent).actions.mask_size > size
        if knows_phi:
            seen = {**seen, MASK_KEY: np.append(seen[MASK_KEY], 1).astype(np.int8)}
        chances = np.array(self._policies.action_probabilities(agent, seen))
        if not self._explore:
            chances = np.eye(len(chances))[chances.argmax()]
        chances[int(seen[MASK_KEY].argmax())] += chances[size:].sum()
        return chances[:size] / chances[:size].sum()


def _names(*kinds: Any) -> str:
    """What OpenSpiel calls the kinds of a game."""
    return ", ".join(str(kind).rsplit(".", 1)[-1] for kind in kinds)
