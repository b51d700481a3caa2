"""Algorithms and environments by name."""

from __future__ import annotations

import importlib

import gymnasium as gym
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.registry import ALGORITHMS
from ray.tune.registry import ENV_CREATOR, _global_registry

from rllib_amagail.cli.errors import CommandError, one_line, suggestion
from rllib_amagail.envs.board_games import BOARD_GAME_NAMES, OPENSPIEL, PETTINGZOO_GAMES
from rllib_amagail.games import GAME_NAMES
from rllib_amagail.games.reference_scores import reference_scores
from rllib_amagail.registration import ALGORITHM_NAMES

# RLlib's algorithms that could be taken for one of this package's.
NAMESAKES = {
    "BC": "BC is RLlib's algorithm, for one agent and RLlib's offline data; behaviour cloning of "
    "demonstrations, for any number of agents, is --algo MultiAgentBC"
}


def algorithm_names() -> list[str]:
    """This package's algorithms, then RLlib's."""
    return [*ALGORITHM_NAMES, *ALGORITHMS]


def find_algorithm(name: str) -> type[Algorithm]:
    """The algorithm's class.

    Raises:
        CommandError: the name is unknown, or the algorithm cannot be imported because a package
            that it needs is missing.
    """
    if name in ALGORITHM_NAMES:
        return ALGORITHM_NAMES[name]
    if name not in ALGORITHMS:
        known = algorithm_names()
        raise CommandError(
            f"unknown algorithm {name!r}{suggestion(name, known)} Choose one of {', '.join(known)}"
        )
    try:
        algorithm, _ = ALGORITHMS[name]()
    except ImportError as error:
        raise CommandError(f"algorithm {name} cannot be imported: {one_line(error)}") from error
    return algorithm


def find_environment(name: str) -> str | type:
    """What to pass to RLlib as ``env``: the registered name, or the class of an import path.

    Args:
        name: a game, a name registered with Ray Tune or gymnasium, or ``module:Class``
            (``module.Class``), whose class takes RLlib's env_config as its only argument.

    Raises:
        CommandError: nothing of that name.
    """
    if _global_registry.contains(ENV_CREATOR, name) or name in gym.registry:
        return name
    separator = ":" if ":" in name else "."
    module_name, _, attribute = name.rpartition(separator)
    if module_name:
        return _imported(name, module_name, attribute)
    known = (*GAME_NAMES, *BOARD_GAME_NAMES)
    raise CommandError(
        f"unknown environment {name!r}{suggestion(name, [*known, *gym.registry])} "
        f"Choose one of the games {', '.join(known)}, a name registered with gymnasium or Ray "
        "Tune, or module:Class"
    )


def _imported(name: str, module_name: str, attribute: str) -> str | type:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise CommandError(f"environment {name!r}: {one_line(error)}") from error
    if attribute in gym.registry:  # gymnasium's own "module:EnvId-v0"
        return name
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        raise CommandError(
            f"environment {name!r}: {module_name} has no class {attribute!r}; expected "
            "module:Class with an environment class"
        )
    return found


def list_names() -> str:
    """What works by name, for ``rllib list``."""
    lines = ["Algorithms (--algo)"]
    lines += [f"  {name}" for name in algorithm_names()]
    lines += ["Games (--env)"]
    for name in GAME_NAMES:
        reference = reference_scores(name)
        scale = ""
        if reference is not None:
            scale = f"  score: random {reference.random:.2f}, expert {reference.expert:.2f}"
        lines.append(f"  {name}{scale}")
    lines += [f"  {name}" for name in PETTINGZOO_GAMES]
    lines.append(f'  {OPENSPIEL}  with --config \'{{"env_config": {{"game": "leduc_poker"}}}}\'')
    lines.append("Environments of gymnasium work by name, others as module:Class.")
    return "\n".join(lines)
