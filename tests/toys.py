"""A game small enough to be solved in seconds, in every kind of space we support."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv
from ray import tune

from rllib_amagail import Demonstrations, IndependentStochastic, TurnBasedEnv

CHOICES = 3
HORIZON = 8

ACTION_SPACES: dict[str, gym.Space] = {
    "discrete": gym.spaces.Discrete(CHOICES),
    "masked": gym.spaces.Discrete(CHOICES),
    "multidiscrete": gym.spaces.MultiDiscrete([CHOICES, 2]),
    "box": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
}


def expert_action(kind: str, target: int) -> Any:
    """What the expert does when it is shown `target`."""
    if kind == "multidiscrete":
        return np.array([target, target % 2])
    if kind == "box":
        return np.array([target - 1.0, 0.5], np.float32)
    return target


class EchoGame(ParallelEnv):
    """Each agent is shown a number and should echo it; reward 1 if it does, else 0.

    `kind` chooses the spaces: "discrete", "multidiscrete", "box" or "masked" (a Dict with an
    action mask that forbids one wrong answer).
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "echo", "render_modes": []}

    def __init__(self, num_agents: int = 2, kind: str = "discrete") -> None:
        self.kind = kind
        self.possible_agents = [f"agent_{i + 1}" for i in range(num_agents)]
        self.agents: list[str] = []
        shown: gym.Space = gym.spaces.Box(0.0, 1.0, (CHOICES,), np.float32)
        if kind == "masked":
            shown = gym.spaces.Dict(
                {"action_mask": gym.spaces.MultiBinary(CHOICES), "observation": shown}
            )
        self.observation_spaces = dict.fromkeys(self.possible_agents, shown)
        self.action_spaces = dict.fromkeys(self.possible_agents, ACTION_SPACES[kind])
        self._rng = np.random.default_rng()
        self._targets: dict[str, int] = {}
        self._round = 0

    def observation_space(self, agent: str) -> gym.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._round = 0
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        rewards = {}
        for agent, action in actions.items():
            wanted = expert_action(self.kind, self._targets[agent])
            rewards[agent] = float(np.abs(np.asarray(action) - wanted).max() < 0.5)
            if self.kind == "masked":
                assert action != self._forbidden(agent), "a masked action was played"
        self._round += 1
        over = self._round == HORIZON
        result = (
            self._observe(),
            rewards,
            dict.fromkeys(self.agents, False),
            dict.fromkeys(self.agents, over),
            {agent: {} for agent in self.agents},
        )
        if over:
            self.agents = []
        return result

    def get_state(self) -> dict:
        return {"rng": self._rng.bit_generator.state}

    def set_state(self, state: dict) -> None:
        self._rng.bit_generator.state = state["rng"]

    def _forbidden(self, agent: str) -> int:
        return (self._targets[agent] + 1) % CHOICES

    def _observe(self) -> dict[str, Any]:
        self._targets = {a: int(self._rng.integers(CHOICES)) for a in self.possible_agents}
        shown: dict[str, Any] = {
            agent: np.eye(CHOICES, dtype=np.float32)[target]
            for agent, target in self._targets.items()
        }
        if self.kind == "masked":
            for agent, observation in shown.items():
                mask = np.ones(CHOICES, np.int8)
                mask[self._forbidden(agent)] = 0
                shown[agent] = {"action_mask": mask, "observation": observation}
        return shown


def make_echo_env(env_config: dict[str, Any]) -> TurnBasedEnv:
    """The echo game in which every agent participates with chance `participation` (0.6)."""
    options = dict(env_config)
    chance = options.pop("participation", 0.6)
    view = {k: options.pop(k) for k in ("phi_is_action", "show_everyone") if k in options}
    env = EchoGame(**options)
    turns = IndependentStochastic(np.full(len(env.possible_agents), chance))
    return TurnBasedEnv(env, turns, **view)


def register_echo() -> None:
    """Make the environment "echo" known to RLlib."""
    tune.register_env("echo", make_echo_env)


def echo_demonstrations(
    episodes: int = 30, num_agents: int = 2, kind: str = "discrete", participation: float = 0.6
) -> Demonstrations:
    """Episodes of players who always echo."""
    rng = np.random.default_rng(7)
    env = EchoGame(num_agents, kind)
    targets = rng.integers(CHOICES, size=(num_agents, episodes, HORIZON))
    acts = rng.random((episodes, HORIZON, num_agents)) < participation
    played = {
        agent: np.array([[expert_action(kind, t) for t in row] for row in targets[i]])
        for i, agent in enumerate(env.possible_agents)
    }
    masks = None
    if kind == "masked":
        allowed = np.arange(CHOICES) != (targets[..., None] + 1) % CHOICES
        masks = dict(zip(env.possible_agents, allowed, strict=True))
    return Demonstrations.from_rounds(
        env.possible_agents,
        env.observation_spaces,
        env.action_spaces,
        observations={
            agent: np.eye(CHOICES, dtype=np.float32)[targets[i]]
            for i, agent in enumerate(env.possible_agents)
        },
        participation=acts,
        actions=played,
        rewards=acts.astype(np.float32),
        action_masks=masks,
        game="echo",
    )
