"""What `throughput.py` compares: configs, runners and a bare loop, all of one game and one net."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import ALL_MODULES
from ray.rllib.utils.metrics import LEARNER_RESULTS, NUM_MODULE_STEPS_TRAINED

from rllib_amagail import AMAGAILConfig
from rllib_amagail.algorithm.config import own_policy
from rllib_amagail.games import make_game

GAME = "stochastic_cooperative_navigation"
HIDDENS = [128, 128]
BATCH_SIZE = 3200  # rounds an iteration
ROUNDS_A_CALL = 50  # of every world; an episode of the game

Play = Callable[[], int]  # plays on and returns how many rounds of worlds that were


def imitation_config(num_worlds: int = 64, batch_size: int = BATCH_SIZE) -> AMAGAILConfig:
    """AMAGAIL with its defaults, in the middle of training.

    One step of cloning is enough for the anchor, whose KL then is in the loss as it is by default.
    Without ``value_only_iterations`` every iteration costs what all but the first three do.
    """
    config = AMAGAILConfig().environment(GAME).imitation(bc_steps=1, value_only_iterations=0)
    config.env_runners(num_envs_per_env_runner=num_worlds)
    config.training(train_batch_size_per_learner=batch_size)
    return config.debugging(seed=0, log_level="ERROR")


def many_agents_config(num_agents: int) -> AMAGAILConfig:
    """Navigation with one policy for all agents, on the true reward: nobody recorded such games."""
    config = imitation_config(batch_size=BATCH_SIZE // 2).imitation(reward_source="environment")
    config.environment(GAME, env_config={"num_agents": num_agents})
    return config.multi_agent(policies={"shared"}, policy_mapping_fn=lambda *_, **__: "shared")


def stock_config(num_envs: int = 20) -> PPOConfig:
    """RLlib's PPO on its own runner, with the nets, batch, epochs and step size of AMAGAIL."""
    ours = AMAGAILConfig()
    config = PPOConfig().framework("torch").environment(GAME, disable_env_checking=True)
    config.multi_agent(policies=list(make_game(GAME).agents), policy_mapping_fn=own_policy)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    config.rl_module(model_config=dict(ours.model_config))
    config.training(
        train_batch_size_per_learner=BATCH_SIZE,
        num_epochs=ours.num_epochs,
        minibatch_size=ours.minibatch_size,
        lr=ours.lr,
        gamma=ours.gamma,
        lambda_=ours.lambda_,
    )
    return config.debugging(seed=0, log_level="ERROR")


def runner_play(runner_class: type, config: AlgorithmConfig) -> Play:
    """An env runner as an iteration uses it: episodes and metrics are part of the work."""
    config.validate()
    return play_on(runner_class(config), config.num_envs_per_env_runner)


def play_on(runner: Any, num_worlds: int) -> Play:
    """`ROUNDS_A_CALL` rounds of every world."""
    rounds = ROUNDS_A_CALL * num_worlds

    def play() -> int:
        runner.sample(num_timesteps=rounds)
        runner.get_metrics()
        return rounds

    return play


def bare_play(num_worlds: int) -> Play:
    """The same worlds and nets in the shortest loop: no RLlib, no episodes, no probabilities.

    Like the runner it asks the policies of participants only.
    """
    game = make_game(GAME, batch_size=num_worlds, seed=0)
    rng = np.random.default_rng(0)
    nets = [_net(game.observation_spaces[a].shape[0], game.action_spaces[a].n) for a in game.agents]

    @torch.inference_mode()
    def play() -> int:
        for _ in range(ROUNDS_A_CALL):
            observations, participation = game.observations(), game.participation
            actions = np.zeros(participation.shape, np.int64)
            for index, (agent, net) in enumerate(zip(game.agents, nets, strict=True)):
                worlds = np.flatnonzero(participation[:, index])
                logits = net(torch.from_numpy(observations[agent][worlds])).numpy()
                # Gumbel noise: the largest sum is at k with the probability of k.
                drawn = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)
                actions[worlds, index] = drawn
            played = game.step(actions)
            ended = played.terminated | played.truncated
            if ended.any():
                game.reset(ended)
        return ROUNDS_A_CALL * num_worlds

    return play


def _net(inputs: int, outputs: int) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for width in HIDDENS:
        layers += [torch.nn.Linear(inputs, width), torch.nn.Tanh()]
        inputs = width
    return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))


def rounds_a_second(play: Play, seconds: float) -> float:
    """The rate of calling ``play`` once and then again for at least so many seconds."""
    rounds, elapsed = _repeat(play, seconds)
    return rounds / elapsed


def seconds_an_iteration(algorithm: Algorithm, seconds: float) -> float:
    """Mean duration of ``train()``, called once and then again for at least so many seconds."""

    def iterate() -> int:
        algorithm.train()
        return 1

    iterations, elapsed = _repeat(iterate, seconds)
    return elapsed / iterations


def _repeat(call: Callable[[], int], seconds: float) -> tuple[int, float]:
    """The sum of what the calls return, and the seconds that they took."""
    total = 0
    began = time.perf_counter()
    while True:
        total += call()
        elapsed = time.perf_counter() - began
        if elapsed >= seconds:
            return total, elapsed


def rows_trained(result: dict[str, Any]) -> int:
    """Turns of all agents that an iteration learned from."""
    return int(result[LEARNER_RESULTS][ALL_MODULES][NUM_MODULE_STEPS_TRAINED])
