"""Worlds in which everything is known in advance, and helpers to look at what was sampled.

Observations tell what they are of: (world, episode, round, agent). Agent i gets (t + 1) (i + 1) in
round t, participating or not.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail import AMAGAILConfig
from rllib_amagail.games import ParticleGame, make_game
from rllib_amagail.games.game import RoundResult
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner

AGENTS = ("left", "right")
PHI = 3
GAME = "stochastic_cooperative_navigation"


@dataclass(frozen=True)
class Script:
    """World w plays pattern row (t + w) % P in round t, and episodes of `lengths[w]` rounds."""

    pattern: Sequence[Sequence[bool]] = ((True, False), (False, True), (True, True))
    lengths: Sequence[int] = (3, 5)
    terminates: Sequence[bool] = (True, False)  # by world; else it is truncated

    def acts(self, world: int, t: int) -> Sequence[bool]:
        return self.pattern[(t + world) % len(self.pattern)]


class ScriptedWorlds:
    """`BatchedWorlds` of a script."""

    agents = AGENTS

    def __init__(self, script: Script, batch_size: int, box: bool = False) -> None:
        self.script, self.batch_size = script, batch_size
        space = Box(-0.01, 0.01, (2,), np.float32) if box else Discrete(PHI)
        self.action_spaces = dict.fromkeys(AGENTS, space)
        self.observation_spaces = dict.fromkeys(AGENTS, Box(-np.inf, np.inf, (4,), np.float32))
        self.rounds = np.zeros(batch_size, np.int64)
        self.episodes = np.full(batch_size, -1)
        self.seen_actions: list[np.ndarray] = []
        self.fails_in: int | None = None  # so many steps from now

    @property
    def participation(self) -> np.ndarray:
        rows = [self.script.acts(w, int(t)) for w, t in enumerate(self.rounds)]
        return np.array(rows, bool)

    def reset(self, worlds: np.ndarray | None = None) -> None:
        chosen = slice(None) if worlds is None else worlds
        self.rounds[chosen] = 0
        self.episodes[chosen] += 1

    def observations(self) -> dict[str, np.ndarray]:
        worlds = np.arange(self.batch_size)
        return {
            agent: np.stack(
                [worlds, self.episodes, self.rounds, np.full_like(worlds, i)], 1
            ).astype(np.float32)
            for i, agent in enumerate(AGENTS)
        }

    def step(self, actions: np.ndarray) -> RoundResult:
        if self.fails_in is not None:
            self.fails_in -= 1
            if self.fails_in < 0:
                raise OSError("the world is broken")
        self.seen_actions.append(actions.copy())
        rewards = (self.rounds[:, None] + 1.0) * [1, 2]
        self.rounds += 1
        ended = self.rounds == np.resize(self.script.lengths, self.batch_size)
        terminates = np.resize(self.script.terminates, self.batch_size)
        return RoundResult(rewards, ended & terminates, ended & ~terminates)

    def get_state(self) -> dict[str, Any]:
        return {"rounds": self.rounds.copy(), "episodes": self.episodes.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.rounds, self.episodes = state["rounds"].copy(), state["episodes"].copy()


class ScriptedEnv(MultiAgentEnv):
    """The environment whose ``batched`` gives `ScriptedWorlds`; its config holds the options."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._script = config.get("script", Script())
        self._box = config.get("box", False)
        self.phi_is_action = config.get("phi_is_action", False)
        self.show_everyone = config.get("show_everyone", False)
        self.seeds: list[int | None] = []
        worlds = ScriptedWorlds(self._script, 1, self._box)
        self.possible_agents = self.agents = list(AGENTS)
        self.observation_spaces = worlds.observation_spaces
        self.action_spaces = dict(worlds.action_spaces)
        if self.phi_is_action:
            self.action_spaces["right"] = Discrete(PHI + 1)

    def phi_action(self, agent: str) -> int | None:
        return PHI if agent == "right" else None

    def batched(self, batch_size: int, seed: int | None) -> ScriptedWorlds:
        self.seeds.append(seed)
        return ScriptedWorlds(self._script, batch_size, self._box)


def make_config(env: Any = ScriptedEnv, *, batch_size: int = 2, **env_config: Any) -> AMAGAILConfig:
    """The configuration of a runner with tiny policies, one an agent."""
    config = AMAGAILConfig().environment(env, env_config=env_config)
    config.imitation(
        reward_source="environment",
        phi="chosen" if env_config.get("phi_is_action") else "filtered",
    )
    config.env_runners(num_envs_per_env_runner=batch_size)
    config.rl_module(model_config={"fcnet_hiddens": [8]}).debugging(seed=0)
    config.validate()
    return config


def make_runner(env: Any = ScriptedEnv, **options: Any) -> BatchedEnvRunner:
    """A runner as `make_config` configures it."""
    return BatchedEnvRunner(make_config(env, **options))


class GameStub(MultiAgentEnv):
    """A particle game that remembers the seeds of its worlds."""

    phi_is_action = show_everyone = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        game = make_game(GAME, horizon=9)
        self.possible_agents = self.agents = list(game.agents)
        self.observation_spaces = game.observation_spaces
        self.action_spaces = game.action_spaces
        self.seeds: list[int | None] = []

    def batched(self, batch_size: int, seed: int | None) -> ParticleGame:
        self.seeds.append(seed)
        return make_game(GAME, horizon=9, batch_size=batch_size, seed=seed)


def ending(episode: SingleAgentEpisode) -> str:
    if episode.is_terminated:
        return "terminated"
    return "truncated" if episode.is_truncated else "cut"


def segments(samples: Sequence[SingleAgentEpisode]) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Chunks joined again, by number of the episode and agent."""
    parts: dict[tuple[str, str], list[SingleAgentEpisode]] = defaultdict(list)
    for episode in samples:
        number = episode.multi_agent_episode_id.split("_")[1]
        parts[number, episode.agent_id].append(episode)
    joined = {}
    for key, chunks in parts.items():
        for before, after in itertools.pairwise(chunks):
            assert after.t_started == before.t_started + len(before)
            assert (after.get_observations(0) == before.get_observations(-1)).all()
        last = chunks[-1]
        joined[key] = {
            "actions": np.concatenate([c.get_actions() for c in chunks]),
            "rewards": np.concatenate([c.get_rewards() for c in chunks]),
            "logp": np.concatenate([c.get_extra_model_outputs("action_logp") for c in chunks]),
            "observations": np.concatenate([c.get_observations(slice(0, len(c))) for c in chunks]),
            "rounds": np.concatenate([c.custom_data["rounds"][:-1] for c in chunks]),
            "final": np.append(last.get_observations(-1), last.custom_data["rounds"][-1]),
        }
    return joined


def assert_equal(left: Sequence[SingleAgentEpisode], right: Sequence[SingleAgentEpisode]) -> None:
    """Two samples hold the same episodes, however they were cut."""
    first, second = segments(left), segments(right)
    assert first.keys() == second.keys()
    assert len(first) > 0
    for key, columns in first.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(values, second[key][name], err_msg=f"{key} {name}")
