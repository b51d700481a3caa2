"""The paper's games by name (section 5), and synchronous forms of them.

| name | who participates |
|---|---|
| `deterministic_cooperative_navigation` | all; #1 and #2; only #1; repeated |
| `stochastic_cooperative_navigation` | each agent with 50 % chance |
| `deterministic_cooperative_reaching` | all; #1 and #2; only #1; repeated |
| `stochastic_predator_prey` | the good agent always, each adversary with 50 % chance |
| `synchronous_cooperative_navigation` | everybody |
| `synchronous_cooperative_reaching` | everybody |
| `synchronous_predator_prey` | everybody |
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rllib_amagail.games.game import DEFAULT_HORIZON, ParticleGame
from rllib_amagail.games.navigation import CooperativeNavigation
from rllib_amagail.games.particles import ActionOrder, AgentBody, Integration
from rllib_amagail.games.predator_prey import PredatorPrey
from rllib_amagail.games.reaching import CooperativeReaching
from rllib_amagail.games.scenario import Scenario
from rllib_amagail.player_functions import (
    DeterministicPattern,
    IndependentStochastic,
    PlayerFunction,
    Synchronous,
)

Bodies = tuple[AgentBody, ...]


@dataclass(frozen=True)
class _Game:
    scenario: type[Scenario]
    player_function: Callable[[Bodies], PlayerFunction]


def _everybody(bodies: Bodies) -> PlayerFunction:
    return Synchronous(len(bodies))


def _fewer_every_round(bodies: Bodies) -> PlayerFunction:
    """All N agents, then all but the last, ..., then #1 alone; with N = 3 the paper's pattern."""
    return DeterministicPattern(np.tri(len(bodies), dtype=bool)[::-1])


def _every_second_chance(bodies: Bodies) -> PlayerFunction:
    return IndependentStochastic(np.full(len(bodies), 0.5))


def _good_agents_always(bodies: Bodies) -> PlayerFunction:
    return IndependentStochastic(np.array([0.5 if body.adversary else 1.0 for body in bodies]))


_GAMES = {
    "deterministic_cooperative_navigation": _Game(CooperativeNavigation, _fewer_every_round),
    "stochastic_cooperative_navigation": _Game(CooperativeNavigation, _every_second_chance),
    "deterministic_cooperative_reaching": _Game(CooperativeReaching, _fewer_every_round),
    "stochastic_predator_prey": _Game(PredatorPrey, _good_agents_always),
    "synchronous_cooperative_navigation": _Game(CooperativeNavigation, _everybody),
    "synchronous_cooperative_reaching": _Game(CooperativeReaching, _everybody),
    "synchronous_predator_prey": _Game(PredatorPrey, _everybody),
}

GAME_NAMES = tuple(_GAMES)


def make_game(
    name: str,
    *,
    batch_size: int = 1,
    seed: int | np.random.SeedSequence | np.random.Generator | None = None,
    horizon: int = DEFAULT_HORIZON,
    player_function: PlayerFunction | None = None,
    integration: Integration = "velocity_first",
    action_order: ActionOrder = "positive_first",
    **scenario_options: Any,
) -> ParticleGame:
    """Make B worlds of a registered game.

    Args:
        name: one of `GAME_NAMES`.
        batch_size: B.
        seed: what all randomness comes from. None: fresh entropy, every call another game.
        horizon: rounds of an episode.
        player_function: who participates, instead of the game's own.
        integration, action_order: conventions of the physics, see `particles`.
        scenario_options: fields of the game's scenario, such as `num_agents`.

    Raises:
        ValueError: if the name or a scenario option is unknown, or a value is not possible.
    """
    if name not in _GAMES:
        raise ValueError(f"game {name!r} is unknown{_suggestion(name, GAME_NAMES)}")
    game = _GAMES[name]
    known = tuple(field.name for field in fields(game.scenario))  # type: ignore[arg-type]
    for option in scenario_options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}{_suggestion(option, known)}")
    scenario = game.scenario(**scenario_options)
    if player_function is None:
        player_function = game.player_function(scenario.make_entities()[0])
    return ParticleGame(
        scenario,
        player_function,
        rng=np.random.default_rng(seed),
        batch_size=batch_size,
        horizon=horizon,
        name=name,
        integration=integration,
        action_order=action_order,
    )


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    """The end of an error: the closest known word, if any is close, and all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Choose one of {', '.join(known)}."
