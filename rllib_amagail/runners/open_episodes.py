"""The episodes under way in RLlib's vectorised runner, so that a restored one can go on with them.

Environments save their random streams, but hardly ever a game in the middle. What led there can be
saved for all of them: the streams when the episode began and the actions since. Played again, they
lead to the same place.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

logger = logging.getLogger(__name__)

MAX_ROUNDS = 10_000  # of an episode to be played again; longer ones begin anew
_NOT_TO_SAVE = ("agent_to_module_mapping_fn", "observation_space", "action_space")


def streams_of(env: Any) -> dict[str, Any] | None:
    """What ``get_state`` of an environment gives; None for those without."""
    return env.unwrapped.get_state() if hasattr(env.unwrapped, "get_state") else None


class EpisodeLog(gym.Wrapper):
    """An environment and how its episode came about.

    Args:
        env: an RLlib MultiAgentEnv.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._start: dict[str, Any] | None = None
        self._actions: list[Any] = []
        self._observed: Any = None  # last

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As of the environment."""
        self._start = {"streams": streams_of(self.env), "seed": seed, "options": options}
        self._actions = []
        result = self.env.reset(seed=seed, options=options)
        self._observed = result[0]
        return result

    def step(self, action: Any) -> Any:
        """As of the environment."""
        if len(self._actions) < MAX_ROUNDS:
            self._actions.append(copy.deepcopy(action))
        else:
            self._start = None
        result = self.env.step(action)
        self._observed = result[0]
        return result

    def get_log(self) -> dict[str, Any] | None:
        """All that led here; None without an episode, or if there is no ``get_state``."""
        if self._start is None or self._start["streams"] is None:
            return None
        observed = copy.deepcopy(self._observed)
        return {**self._start, "actions": list(self._actions), "observed": observed}

    def play_again(self, log: Mapping[str, Any]) -> bool:
        """Play what a `get_log` tells; whether that led to what was observed then."""
        self.env.unwrapped.set_state(log["streams"])
        try:
            self.reset(seed=log["seed"], options=log["options"])
            for action in log["actions"]:
                self.step(action)
        except Exception:  # of any environment, whose game took another course
            logger.warning(
                "%s failed when played again", type(self.unwrapped).__name__, exc_info=True
            )
            return False
        return _equal(self._observed, log["observed"])


def get_open_episodes(runner: Any) -> list[dict[str, Any]] | None:
    """What `resume` needs of a MultiAgentEnvRunner between two calls of ``sample``.

    Args:
        runner: whose environments are wrapped in `EpisodeLog`.

    Returns:
        One entry an environment; None when the next ``sample`` begins with new episodes anyway, or
        an environment has no ``get_state``.
    """
    if runner.env is None or runner._needs_initial_reset:
        return None
    entries = []
    over = runner.env._autoreset_envs
    for env, episode, ended in zip(runner.env.envs, runner._ongoing_episodes, over, strict=True):
        log = env.get_log()
        if log is None:
            return None
        chunks = runner._ongoing_episodes_for_metrics.get(episode.id_, ())
        entries.append(
            {
                # The next step of an environment that has ended is a reset.
                "log": None if ended else log,
                "episode": _state(episode),
                "chunks": [_state(chunk) for chunk in chunks],  # that were returned already
            }
        )
    return entries


def resume(
    runner: Any, entries: Sequence[Mapping[str, Any]], streams: Sequence[dict[str, Any]]
) -> bool:
    """Go on with the episodes of a `get_open_episodes`.

    Args:
        runner: of as many environments. Its connectors are run once, to prepare the next round, and
            set back.
        entries: of `get_open_episodes`.
        streams: of the environments at that time; episodes that begin next begin there.

    Returns:
        False if an environment does not get to where it was. The episodes begin anew then.
    """
    runner.env.reset()  # makes the vector of environments ready to step
    for env, entry, stream in zip(runner.env.envs, entries, streams, strict=True):
        if entry["log"] is None:
            env.unwrapped.set_state(stream)
        elif not env.play_again(entry["log"]):
            logger.warning(
                "%s, played again with the streams and actions of the checkpoint, shows other "
                "observations: its get_state() leaves something out. Its episodes begin anew, and "
                "the restored run will have other numbers than the one that was saved",
                type(env.unwrapped).__name__,
            )
            return False
    runner.env._autoreset_envs = np.array([entry["log"] is None for entry in entries])
    runner._ongoing_episodes = [_episode(runner, entry["episode"]) for entry in entries]
    runner._ongoing_episodes_for_metrics.clear()
    for episode, entry in zip(runner._ongoing_episodes, entries, strict=True):
        chunks = [_episode(runner, state) for state in entry["chunks"]]
        if chunks:
            runner._ongoing_episodes_for_metrics[episode.id_] = chunks
    connectors = runner._env_to_module.get_state()
    runner._shared_data = {}
    runner._cached_to_module = runner._env_to_module(
        rl_module=runner.module,
        batch={},
        episodes=runner._ongoing_episodes,
        explore=runner.config.explore,
        shared_data=runner._shared_data,
        metrics=None,
    )
    runner._env_to_module.set_state(connectors)
    runner._needs_initial_reset = False
    return True


def _state(episode: MultiAgentEpisode) -> dict[str, Any]:
    state = {k: v for k, v in episode.get_state().items() if k not in _NOT_TO_SAVE}
    for _, agent in state["agent_episodes"]:
        # RLlib leaves empty buffers as they are, and then cannot read them.
        outputs = agent["extra_model_outputs"] or {}
        agent["extra_model_outputs"] = {
            name: buffer if isinstance(buffer, dict) else buffer.get_state()
            for name, buffer in outputs.items()
        }
    return copy.deepcopy(state)  # it refers to the lists of an episode that goes on


def _episode(runner: Any, state: Mapping[str, Any]) -> MultiAgentEpisode:
    env = runner.env.envs[0].unwrapped
    spaces = (env.get_observation_space, env.get_action_space)
    observation_space, action_space = (
        {agent: space(agent) for agent in env.possible_agents} for space in spaces
    )
    return MultiAgentEpisode.from_state(
        {
            **state,
            "agent_to_module_mapping_fn": runner.config.policy_mapping_fn,
            "observation_space": observation_space,
            "action_space": action_space,
        }
    )


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        return set(found) == set(expected) and all(_equal(found[k], expected[k]) for k in expected)
    return bool(np.array_equal(found, expected, equal_nan=True))
