"""Your own environment, player function and demonstrations, from nothing to learned policies.

Two couriers walk a street towards their own doors. Each round, chance decides who may walk.

    python examples/your_own_game.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv
from ray import tune

from rllib_amagail import AMAGAILConfig, Demonstrations, IndependentStochastic, TurnBasedEnv
from rllib_amagail.local_ray import start_local_ray

STREET = 10  # positions 0 to 10
ROUNDS = 20
LEFT, STAY, RIGHT = 0, 1, 2


class Couriers(ParallelEnv):
    """Reward 1 for every round that ends at one's door; an ordinary PettingZoo environment."""

    metadata: ClassVar[dict[str, Any]] = {"name": "couriers", "render_modes": []}
    possible_agents: ClassVar[list[str]] = ["ann", "bob"]

    def __init__(self) -> None:
        self.agents: list[str] = []
        self._rng = np.random.default_rng()

    def observation_space(self, agent: str) -> gym.Space:
        """Own position and door, as shares of the street."""
        return gym.spaces.Box(0.0, 1.0, (2,), np.float32)

    def action_space(self, agent: str) -> gym.Space:
        """Left, stay, right."""
        return gym.spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """New positions and doors."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._round = 0
        self._at = {agent: int(self._rng.integers(STREET + 1)) for agent in self.agents}
        self._door = {agent: int(self._rng.integers(STREET + 1)) for agent in self.agents}
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """Everybody walks as told."""
        for agent, action in actions.items():
            self._at[agent] = int(np.clip(self._at[agent] + action - STAY, 0, STREET))
        self._round += 1
        rewards = {agent: float(self._at[agent] == self._door[agent]) for agent in self.agents}
        over = self._round == ROUNDS
        told = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, over)
        result = self._observe(), rewards, *told, {agent: {} for agent in self.agents}
        if over:
            self.agents = []
        return result

    def _observe(self) -> dict[str, np.ndarray]:
        return {
            agent: np.array([self._at[agent], self._door[agent]], np.float32) / STREET
            for agent in self.agents
        }


def make_env(env_config: dict[str, Any]) -> TurnBasedEnv:
    """Couriers in turns; STAY is what an absent courier does."""
    turns = IndependentStochastic(np.array([0.7, 0.4]))
    return TurnBasedEnv(Couriers(), turns, null_action={"ann": STAY, "bob": STAY}, **env_config)


def expert_episodes(count: int, seed: int) -> Demonstrations:
    """A scripted expert walks to the door and stays there; every round is recorded."""
    env = make_env({"show_everyone": True})
    shape = (count, ROUNDS)
    seen = {agent: np.zeros((*shape, 2), np.float32) for agent in env.possible_agents}
    done = {agent: np.zeros(shape, np.int64) for agent in env.possible_agents}
    acts, rewards = np.zeros((*shape, 2), bool), np.zeros((*shape, 2), np.float32)
    for episode in range(count):
        observations, infos = env.reset(seed=seed + episode)
        for t in range(ROUNDS):
            actions = {}
            for i, agent in enumerate(env.possible_agents):
                at, door = np.round(observations[agent] * STREET)
                actions[agent] = done[agent][episode, t] = STAY + np.sign(door - at)
                seen[agent][episode, t] = observations[agent]
                acts[episode, t, i] = infos[agent]["participates"]
            observations, paid, _, _, infos = env.step(actions)
            rewards[episode, t] = [paid.get(agent, 0.0) for agent in env.possible_agents]
    return Demonstrations.from_rounds(
        env.possible_agents,
        env.observation_spaces,
        env.action_spaces,
        observations=seen,
        participation=acts,
        actions=done,
        rewards=rewards,
        provenance={"expert": "scripted", "seed": seed},
    )


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Record, train, compare; returns the learned and the expert's score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("couriers.parquet"))
    chosen = parser.parse_args(arguments)
    start_local_ray()

    experts = expert_episodes(chosen.episodes, seed=0)
    experts.save(chosen.output)
    tune.register_env("couriers", make_env)
    config = (
        AMAGAILConfig()
        .environment("couriers")
        .env_runners(num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=16 * ROUNDS, minibatch_size=64)
        .rl_module(model_config={"fcnet_hiddens": [32, 32], "fcnet_activation": "tanh"})
        .imitation(demonstrations=chosen.output)
        .debugging(seed=0)
    )
    algo = config.build_algo()
    for _ in range(chosen.iterations):
        result = algo.train()
        print(f"score {result['score']:.2f}, the experts' {experts.scores().mean():.2f}")
    algo.stop()
    return float(result["score"]), float(experts.scores().mean())


if __name__ == "__main__":
    main()
