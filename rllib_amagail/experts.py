"""The experts that come with the package: policies per game, and demonstrations of any number.

`examples/make_experts.py` trained them. They need no Ray to play.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.evaluation import Policy, play_episodes
from rllib_amagail.games import make_game
from rllib_amagail.learned_policy import load_policy

_FOLDER = Path(__file__).parent / "data" / "experts"
# Episodes that are played side by side. A block's random streams come from the seed and the
# block's number, so the first episodes of a recording do not depend on how many follow.
BLOCK = 200


def expert_policies(game: str, folder: Path = _FOLDER) -> dict[str, Policy]:
    """One policy per agent of a game of the paper.

    Args:
        game: of the paper.
        folder: holds ``<game>/policies/``; experts of your own may lie elsewhere.

    Raises:
        ValueError: a game without experts.
        LearnedFileError: a damaged file.
    """
    files = folder / game / "policies"
    if not files.is_dir():
        known = sorted(path.name for path in folder.iterdir())
        raise ValueError(f"found no experts of game {game!r}, expected one of {', '.join(known)}")
    return {agent: load_policy(files / f"{agent}.json") for agent in make_game(game).agents}


def expert_demonstrations(
    game: str, num_episodes: int, *, seed: int = 0, **game_options: Any
) -> Demonstrations:
    """Record episodes of the experts, phi included; 1,000 take about a second.

    With one seed, fewer episodes are the first of more: ``expert_demonstrations(game, 50)`` equals
    ``expert_demonstrations(game, 1000).head(50)``.

    Args:
        game: of the paper.
        num_episodes: E, of 50 rounds each unless ``horizon`` says otherwise.
        seed: of worlds, turns and actions. The bundled files hold the first episodes of seed 0.
        **game_options: of `make_game`. The experts were trained without any.

    Raises:
        ValueError: a game without experts, or fewer than one episode.
    """
    return record_policies(game, expert_policies(game), num_episodes, seed=seed, **game_options)


def record_policies(
    game: str,
    policies: Mapping[str, Policy],
    num_episodes: int,
    *,
    seed: int = 0,
    **game_options: Any,
) -> Demonstrations:
    """`expert_demonstrations` of other policies, one per agent of a particle game."""
    if num_episodes < 1:
        raise ValueError(f"num_episodes is {num_episodes}, expected at least 1")
    world = make_game(game, **game_options)
    blocks = [
        play_episodes(game, policies, BLOCK, [seed, block], **game_options)
        for block in range(-(-num_episodes // BLOCK))
    ]

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[:num_episodes]

    return Demonstrations.from_rounds(
        world.agents,
        world.observation_spaces,
        world.action_spaces,
        observations={
            agent: joined([block.observations[agent] for block in blocks]) for agent in world.agents
        },
        participation=joined([block.participation for block in blocks]),
        actions=joined([block.actions for block in blocks]),
        rewards=joined([block.rewards for block in blocks]),
        game=game,
        player_function=world.player_function.to_dict(),
        provenance={"recorded_by": "rllib_amagail.experts", "seed": seed},
    )
