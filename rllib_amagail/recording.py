"""Record demonstrations from anything RLlib has trained.

A recording is dense where the environment can show it: `TurnBasedEnv` shows every agent in every
round, and an agent that does not participate is recorded with phi. Other environments are recorded
as they are, turns only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.demonstrations import AgentRecord, Demonstrations, DemonstrationsError
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.learner.turns import agent_episodes, observation_rounds, participation
from rllib_amagail.player_functions import PlayerFunction
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from rllib_amagail.spaces import ActionLayout, ObservationLayout


def record(
    source: Algorithm | str | Path,
    num_episodes: int,
    *,
    seed: int = 0,
    explore: bool = True,
) -> Demonstrations:
    """Play whole episodes with trained policies and keep them as demonstrations.

    Args:
        source: a multi-agent algorithm, or the folder of its checkpoint. RLlib unpickles
            checkpoints: record only from those you trust.
        num_episodes: E, played one after the other.
        seed: of environment and actions.
        explore: draw actions from the policies; False for their most likely ones.

    Raises:
        DemonstrationsError: policies that choose phi themselves, or a cut episode.
        ValueError: fewer than one episode.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes is {num_episodes}; expected >= 1")
    algorithm = source if isinstance(source, Algorithm) else Algorithm.from_checkpoint(str(source))
    try:
        runner = _recording_runner(algorithm, seed)
        env = runner.env.envs[0].unwrapped
        if getattr(env, "phi_is_action", False):
            raise DemonstrationsError(
                "these policies choose phi themselves (phi_is_action); a recording holds phi only "
                "for agents that did not participate. Record policies trained with phi='filtered'."
            )
        if isinstance(env, TurnBasedEnv):
            env.show_everyone = True
        episodes = runner.sample(num_episodes=num_episodes, explore=explore)
        return episodes_to_demonstrations(
            episodes,
            env.possible_agents,
            env.observation_spaces,
            env.action_spaces,
            game=algorithm.config.env if isinstance(algorithm.config.env, str) else None,
            player_function=_description(getattr(env, "player_function", None)),
            provenance={
                "algorithm": type(algorithm).__name__,
                "iterations": algorithm.iteration,
                "rounds_trained": _rounds_trained(algorithm),
                "seed": seed,
                "explore": explore,
                "ray": ray.__version__,
            },
        )
    finally:
        if algorithm is not source:
            algorithm.stop()


def episodes_to_demonstrations(
    episodes: Sequence[EpisodeType],
    agents: Sequence[str],
    observation_spaces: Mapping[str, gym.Space],
    action_spaces: Mapping[str, gym.Space],
    *,
    game: str | None = None,
    player_function: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Demonstrations:
    """Whole RLlib episodes as demonstrations; the actions of Box spaces are clipped to them.

    Raises:
        DemonstrationsError: an episode that is a chunk of a longer one.
        ValueError: rounds that cannot be told (see `observation_rounds`).
    """
    parts: dict[str, list[tuple[int, SingleAgentEpisode, np.ndarray]]] = defaultdict(list)
    for index, episode in enumerate(episodes):
        if not episode.is_done:
            raise DemonstrationsError(
                f"episode {index} is a chunk of {len(episode)} steps; expected whole episodes. "
                "Sample with num_episodes=... or batch_mode='complete_episodes'."
            )
        for part in agent_episodes(episode):
            parts[part.agent_id].append((index, part, observation_rounds(part, episode)[:-1]))
    return Demonstrations(
        agents=tuple(agents),
        records={
            agent: _record_of(agent, parts[agent], observation_spaces[agent], action_spaces[agent])
            for agent in agents
        },
        observation_spaces=observation_spaces,
        action_spaces=action_spaces,
        game=game,
        player_function=player_function,
        provenance=provenance or {},
    )


def _record_of(
    agent: str,
    parts: Sequence[tuple[int, SingleAgentEpisode, np.ndarray]],
    observation_space: gym.Space,
    action_space: gym.Space,
) -> AgentRecord:
    layout = ObservationLayout.from_space(observation_space)
    actions = ActionLayout.from_space(action_space)
    flat = [layout.flatten(part.get_observations())[:-1] for _, part, _ in parts]
    rows = np.concatenate([np.zeros((0, layout.feature_size + layout.mask_size)), *flat])
    features, mask = layout.split(rows.astype(np.float32))
    played = actions.encode(
        np.concatenate(
            [np.zeros((0, *actions.shape), actions.dtype), *(p.get_actions() for _, p, _ in parts)]
        )
    )
    if isinstance(action_space, gym.spaces.Box):
        played = np.clip(played, actions.low, actions.high)
    acted = np.concatenate([np.zeros(0, bool), *(participation(part) for _, part, _ in parts)])
    return AgentRecord(
        agent=agent,
        episode=np.repeat([i for i, _, _ in parts], [len(p) for _, p, _ in parts]).astype(np.int64),
        round=np.concatenate([np.zeros(0, np.int64), *(rounds for _, _, rounds in parts)]),
        participates=acted,
        observation=features,
        action=np.where(acted.reshape(-1, *[1] * (played.ndim - 1)), played, 0),
        action_mask=mask,
        reward=np.concatenate([np.zeros(0), *(p.get_rewards() for _, p, _ in parts)]),
    )


def _recording_runner(algorithm: Algorithm, seed: int) -> TurnEnvRunner:
    """A local runner of one environment, so that short episodes are not preferred."""
    config = algorithm.config.copy(copy_frozen=False)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1)
    config.debugging(seed=seed)
    runner = TurnEnvRunner(config=config)
    state = algorithm.learner_group.get_state(inference_only=True)["learner"][COMPONENT_RL_MODULE]
    runner.module.set_state({mid: state[mid] for mid in runner.module.keys()})  # noqa: SIM118
    return runner


def _description(player_function: PlayerFunction | None) -> dict[str, Any] | None:
    return None if player_function is None else player_function.to_dict()


def _rounds_trained(algorithm: Algorithm) -> int:
    key = ("env_runners", "num_env_steps_sampled_lifetime")
    return int(algorithm.metrics.peek(key, default=0))
