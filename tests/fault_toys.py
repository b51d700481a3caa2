"""Environments and algorithms that fail in a way that is asked for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.games.game import RoundResult
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from tests.batched_toys import ScriptedWorlds

AGENTS = ("left", "right")
HORIZON = 6
ENV_STEPS = 48  # an iteration


class FaultyEnv(MultiAgentEnv):
    """Two agents act in all of `HORIZON` rounds; in round `at` the `fault` of the config happens.

    `once` names a file: the fault happens only while it is not there, and makes it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.possible_agents = self.agents = list(AGENTS)
        self.observation_spaces = dict.fromkeys(AGENTS, Box(-9, 9, (4,), np.float32))
        self.action_spaces = dict.fromkeys(AGENTS, Discrete(3))
        self._round = 0
        on_runner = getattr(config, "worker_index", 0) > 0
        if self.config.get("fault") == "constructor" and on_runner:
            raise FileNotFoundError("the map of the maze is not on this machine")

    def happens(self, fault: str, t: int) -> bool:
        """Whether it is time for it."""
        if self.config.get("fault") != fault or t != self.config.get("at", 0):
            return False
        if "once" not in self.config:
            return True
        try:
            Path(self.config["once"]).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[dict, dict]:
        self._round = 0
        if self.happens("reset raises", 0):
            raise OSError("the engine did not start")
        if self.happens("nobody", 0):
            return {}, {}
        return self._shown(), self._infos()

    def step(self, actions: Any) -> tuple[dict, dict, dict, dict, dict]:
        time.sleep(self.config.get("pause", 0.0))
        if self.happens("step raises", self._round):
            raise OSError("the engine broke")
        if self.happens("hangs", self._round):
            time.sleep(1000)
        rewards = dict.fromkeys(actions, 1.0)
        if self.happens("nan reward", self._round):
            rewards["right"] = np.nan
        self._round += 1
        over = self._round == HORIZON
        observations = self._shown()
        if over and self.config.get("fault") == "no final observation":
            del observations["right"]
        truncateds = {"__all__": over}
        return observations, rewards, {"__all__": False}, truncateds, self._infos()

    def _shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {agent: np.zeros(4, np.float32) for agent in AGENTS}
        if self.happens("nan observation", self._round):
            shown["right"][2] = np.nan
        if self.happens("shape", self._round):
            shown["right"] = np.zeros(5, np.float32)
        if self.happens("unknown agent", self._round):
            shown["ghost"] = np.zeros(4, np.float32)
        return shown

    def _infos(self) -> dict[str, Any]:
        return {agent: {"round": self._round} for agent in AGENTS}


class FaultyWorlds(ScriptedWorlds):
    """The same faults, in world 1 of B."""

    def __init__(self, env: FaultyEnv, batch_size: int) -> None:
        super().__init__(
            _Always(pattern=((True, True),), lengths=(HORIZON,), terminates=(False,)), batch_size
        )
        self.env = env

    def reset(self, worlds: np.ndarray | None = None) -> None:
        if self.env.happens("reset raises", 0):
            raise OSError("the engine did not start")
        super().reset(worlds)

    def observations(self) -> dict[str, np.ndarray]:
        shown = super().observations()
        t = int(self.rounds[1])
        if self.env.happens("nan observation", t):
            shown["right"][1, 2] = np.nan
        if self.env.happens("shape", t):
            shown["right"] = shown["right"][:, :3]
        if self.env.happens("unknown agent", t):
            shown["ghost"] = shown["right"]
        if self.env.happens("nobody", t):
            shown = {}
        return shown

    def step(self, actions: np.ndarray) -> RoundResult:
        t = int(self.rounds[1])
        time.sleep(self.env.config.get("pause", 0.0))
        if self.env.happens("step raises", t):
            raise OSError("the engine broke")
        if self.env.happens("hangs", t):
            time.sleep(1000)
        result = super().step(actions)
        if self.env.happens("nan reward", t):
            result.rewards[1, 1] = np.nan
        return result


class FaultyBatchedEnv(FaultyEnv):
    """Played as arrays of worlds."""

    def batched(self, batch_size: int, seed: int | None) -> FaultyWorlds:
        return FaultyWorlds(self, batch_size)


class _Always:
    """A `Script` in which everybody acts."""

    def __init__(self, **options: Any) -> None:
        vars(self).update(options)

    def acts(self, world: int, t: int) -> tuple[bool, bool]:
        return (True, True)


def faulty_config(env: type[FaultyEnv] = FaultyBatchedEnv, **env_config: Any) -> AMAGAILConfig:
    """Tiny networks that learn from the environment's rewards."""
    return (
        AMAGAILConfig()
        .environment(env, env_config=env_config)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=HORIZON)
        .training(train_batch_size_per_learner=ENV_STEPS, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(reward_source="environment", value_only_iterations=0)
        .debugging(seed=0, log_level="ERROR")
    )


def make_faulty_runner(env: type[FaultyEnv], **env_config: Any) -> Any:
    """A local env runner, `BatchedEnvRunner` or `TurnEnvRunner` as is chosen for `env`."""
    config = faulty_config(env, **env_config)
    config.validate()
    assert (config.env_runner_cls is TurnEnvRunner) == (env is FaultyEnv)
    return config.env_runner_cls(config, worker_index=0)


def runner_pids(algorithm: AMAGAIL) -> list[int]:
    """The processes of the remote env runners."""
    group = algorithm.env_runner_group
    return group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)


def learner_pids(algorithm: AMAGAIL) -> list[int]:
    """The processes of the remote learners."""
    return algorithm.learner_group.results_of(lambda learner: os.getpid())


def kill(*pids: int) -> None:
    """SIGKILL."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@contextmanager
def in_the_middle(action: Callable[[], Any], seconds: float) -> Iterator[None]:
    """Do something so many seconds after the block has begun."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()
