"""Play whole episodes of a particle game with given policies, batched and without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rllib_amagail.games import NULL_ACTION, NUM_ACTIONS, ParticleGame, make_game

Policy = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Maps observations ``[B, D_i]`` and a generator to actions ``[B]``; any action from
`NUM_ACTIONS` on means phi and becomes the null action."""


@dataclass(frozen=True)
class PlayedEpisodes:
    """E episodes of T rounds and N agents."""

    agents: tuple[str, ...]
    observations: dict[str, np.ndarray]  # agent -> [E, T, D_i] float32
    participation: np.ndarray  # [E, T, N] bool
    actions: np.ndarray  # [E, T, N] int64, chosen by every agent in every round
    rewards: np.ndarray  # [E, T, N] float32, gated by participation

    def returns(self) -> dict[str, np.ndarray]:
        """Agent to ``[E]`` sums of its true rewards."""
        sums = self.rewards.sum(axis=1, dtype=np.float64)
        return {agent: sums[:, i] for i, agent in enumerate(self.agents)}


def sample_softmax(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw actions ``[B]`` from the softmax of ``logits`` ``[B, A]``."""
    # Gumbel's trick: the largest of logits plus Gumbel noise is a sample of the softmax.
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def random_policy(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uniformly random actions."""
    return rng.integers(NUM_ACTIONS, size=len(observations))


def play_episodes(
    game_name: str,
    policies: Mapping[str, Policy],
    num_episodes: int,
    seed: int | Sequence[int],
    **game_options: object,
) -> PlayedEpisodes:
    """Play ``num_episodes`` episodes side by side.

    Every policy is asked in every round; what it says while its agent does not participate has no
    effect, and is what a dense recording fills with phi.

    Args:
        game_name: one of `rllib_amagail.games.GAME_NAMES`.
        policies: one per agent.
        num_episodes: E, worlds at once.
        seed: of worlds, turns and actions.
        **game_options: of `make_game`.

    Raises:
        ValueError: an agent without a policy, or an early ending, which would leave ragged arrays.
    """
    world_seed, action_seed = np.random.SeedSequence(seed).spawn(2)
    game = make_game(game_name, batch_size=num_episodes, seed=world_seed, **game_options)  # type: ignore[arg-type]
    if missing := set(game.agents) - set(policies):
        raise ValueError(f"no policy for {sorted(missing)}; found policies of {sorted(policies)}")
    return _play(game, policies, np.random.default_rng(action_seed))


def _play(
    game: ParticleGame, policies: Mapping[str, Policy], rng: np.random.Generator
) -> PlayedEpisodes:
    observations: dict[str, list[np.ndarray]] = {agent: [] for agent in game.agents}
    participation, actions, rewards = [], [], []
    for _ in range(game.horizon):
        seen = game.observations()
        chosen = np.stack([policies[agent](seen[agent], rng) for agent in game.agents], axis=1)
        for agent in game.agents:
            observations[agent].append(seen[agent])
        participation.append(game.participation)
        actions.append(chosen)
        result = game.step(np.where(chosen < NUM_ACTIONS, chosen, NULL_ACTION))
        rewards.append(result.rewards)
        if result.terminated.any():
            raise ValueError("an episode ended early; play games of fixed length here")
    return PlayedEpisodes(
        agents=game.agents,
        observations={agent: np.stack(rows, axis=1) for agent, rows in observations.items()},
        participation=np.stack(participation, axis=1),
        actions=np.stack(actions, axis=1),
        rewards=np.stack(rewards, axis=1),
    )
