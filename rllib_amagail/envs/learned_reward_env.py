"""An environment whose rewards are learned ones, for any RLlib algorithm to train on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.late_rewards import LATE_REWARDS
from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.learned_reward import LearnedReward

TRUE_SCORE = "true_score"


class LearnedRewardEnv(MultiAgentEnv):
    """Plays `env`, but whoever acts earns the learned reward of what it saw and did.

    A non-participant (``"participates": False`` in the infos of its observation) earns nothing.
    Rewards of pairs (s, s') are due when the agent sees s', which is when RLlib expects them at
    the latest: it credits rewards to the agent's last action.

    With every observation come ``infos[agent]["true_reward"]``, what `env` gave the agent since its
    observation before, and ``["true_return"]``, what it gave in the episode so far. `TrueScore`
    makes a metric of the returns.

    Args:
        env: an RLlib MultiAgentEnv, for instance a `TurnBasedEnv`.
        reward: or the folder that `export_learned` wrote.

    Attributes:
        true_returns: agent to the sum of the true rewards of the episode, the last one until
            `reset`.

    Raises:
        ValueError: an agent without a learned reward, or with other spaces than it was learned in.
        LearnedFileError: a folder that cannot be used.
    """

    def __init__(self, env: MultiAgentEnv, reward: LearnedReward | str | os.PathLike[str]) -> None:
        super().__init__()
        self.env = env
        self.reward = (
            LearnedReward.load(reward) if isinstance(reward, str | os.PathLike) else reward
        )
        self.possible_agents = list(env.possible_agents)
        self.agents = list(self.possible_agents)
        self.observation_spaces = dict(env.observation_spaces)
        self.action_spaces = dict(env.action_spaces)
        self.metadata = dict(getattr(env, "metadata", {}))
        self.render_mode = getattr(env, "render_mode", None)
        self._check_spaces()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """As of `env`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self.env.agents)
        self.true_returns = dict.fromkeys(self.possible_agents, 0.0)
        self._told = dict(self.true_returns)  # of them, in infos
        self._seen: dict[str, Any] = {}  # by agents that may act on it
        self._acted: dict[str, tuple[Any, Any]] = {}  # observation and action of the latest turns
        return observations, self._notice(observations, infos)

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """As of `env`, with learned rewards.

        Raises:
            ValueError: actions that the learned reward does not know.
        """
        acting = [agent for agent in action_dict if agent in self._seen]
        for agent in acting:
            self._acted[agent] = self._seen.pop(agent), action_dict[agent]
        observations, true, terminateds, truncateds, infos = self.env.step(action_dict)
        self.agents = list(self.env.agents)
        for agent, reward in true.items():
            self.true_returns[agent] += float(reward)
        judged = self.reward.judged == "state_pair"
        due = [a for a in self._acted if a in observations] if judged else acting
        rewards = dict.fromkeys([*true, *action_dict], 0.0)
        rewards.update({agent: self._earned(agent, observations) for agent in due})
        return observations, rewards, terminateds, truncateds, self._notice(observations, infos)

    def get_state(self) -> dict[str, Any]:
        """Of `env`, if it has any."""
        return self.env.get_state() if hasattr(self.env, "get_state") else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `get_state`; `reset` comes next."""
        if hasattr(self.env, "set_state"):
            self.env.set_state(state)

    def render(self) -> Any:
        """What `env` renders."""
        return self.env.render()

    def close(self) -> None:
        """Close `env`."""
        self.env.close()

    def _earned(self, agent: str, observations: Mapping[str, Any]) -> float:
        seen, action = self._acted.pop(agent)
        later = observations[agent] if self.reward.judged == "state_pair" else None
        return float(self.reward.reward(agent, seen, action, next_observation=later))

    def _notice(
        self, observations: Mapping[str, Any], infos: Mapping[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Remember who sees what, and say what the true rewards were."""
        told = {agent: dict(info) for agent, info in infos.items()}
        for info in told.values():
            info.pop(LATE_REWARDS, None)  # of `env`: learners would discount them into learned ones
        for agent, observation in observations.items():
            info = told.setdefault(agent, {})
            if info.get("participates", True):
                self._seen[agent] = observation
            else:
                self._seen.pop(agent, None)
            true = self.true_returns[agent]
            info["true_reward"], info["true_return"] = true - self._told[agent], true
            self._told[agent] = true
        return told

    def _check_spaces(self) -> None:
        for agent in self.possible_agents:
            if agent not in self.reward.agents:
                raise ValueError(
                    f"found no learned reward of agent {agent!r}, expected one of every agent; "
                    f"there are rewards of {', '.join(self.reward.agents)}"
                )
            learned = self.reward.observation_spaces[agent], self.reward.action_spaces[agent]
            found = self.observation_spaces[agent], self.action_spaces[agent]
            if learned != found:
                raise ValueError(
                    f"agent {agent!r} has the spaces {found}, but its reward was learned with "
                    f"{learned}; expected the same. phi_is_action must be as it was then"
                )


class TrueScore(RLlibCallback):
    """Logs the true reward of episodes: ``true_score``, its mean over agents, in the env runners'
    results, and ``true_returns/<agent>``. For RLlib's own runners.
    """

    def on_episode_end(
        self, *, episode: Any, metrics_logger: Any, env: Any, env_index: int, **kwargs: Any
    ) -> None:
        """Look at the `LearnedRewardEnv` whose episode has ended."""
        returns = env.envs[env_index].unwrapped.true_returns
        window = 100
        metrics_logger.log_value(TRUE_SCORE, sum(returns.values()) / len(returns), window=window)
        for agent, true in returns.items():
            metrics_logger.log_value(("true_returns", agent), true, window=window)
