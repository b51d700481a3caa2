"""Both sides of a pursuit, learned from recordings of the pursuer alone.

The pursuer was recorded catching evaders that move at random. A zero-sum discriminator rewards the
pursuer for what looks recorded, and takes as much from the evader, which thereby learns to flee.

    python examples/one_side.py
"""

from __future__ import annotations

import argparse

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray import tune

from rllib_amagail import AMAGAIL, AMAGAILConfig, Demonstrations, TurnBasedEnv
from rllib_amagail.algorithm.export import learned_policy
from rllib_amagail.equilibrium import TabularGame, returns, sample_episodes, solve_spe
from rllib_amagail.equilibrium.library import pursuit
from rllib_amagail.equilibrium.parallel_env import TabularParallelEnv
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

GAME: TabularGame = pursuit()  # two by three cells, by turns; the evader misses some of its turns
PURSUER, EVADER = "agent_0", "agent_1"
ROUNDS, WORLDS = 20, 32


def recorded(pursuer: np.ndarray, evader: np.ndarray, episodes: int) -> Demonstrations:
    """What the pursuer saw and did; nothing is kept of the evader."""
    played = sample_episodes(GAME, [pursuer, evader], episodes, ROUNDS, np.random.default_rng(0))
    acts = played.actions[..., :1] < GAME.num_actions[0]
    return Demonstrations.from_rounds(
        [PURSUER],
        {PURSUER: Box(0.0, 1.0, (GAME.num_states,))},
        {PURSUER: Discrete(GAME.num_actions[0])},
        observations={PURSUER: np.eye(GAME.num_states, dtype=np.float32)[played.states]},
        participation=acts,
        actions=np.where(acts, played.actions[..., :1], 0),
    )


def trained(demonstrations: Demonstrations, iterations: int) -> AMAGAIL:
    """Both policies from scratch."""
    tune.register_env("pursuit", lambda _: TurnBasedEnv(TabularParallelEnv(GAME, ROUNDS)))
    rounds = WORLDS * ROUNDS
    config = (
        AMAGAILConfig()
        .environment("pursuit")
        .imitation(
            demonstrations=demonstrations,
            discriminator_structure="zero_sum",
            reward_form="airl",
            bc_steps=0,
            value_only_iterations=0,
            discriminator_hiddens=[64],
            discriminator_lr=3e-3,
        )
        .roles(imitated_agents=[PURSUER])
        .env_runners(
            env_runner_cls=PooledEnvRunner,
            num_envs_per_env_runner=WORLDS,
            batch_mode="complete_episodes",
        )
        .training(train_batch_size_per_learner=rounds, minibatch_size=256, lr=3e-3, gamma=0.9)
        .rl_module(model_config={"fcnet_hiddens": [64], "fcnet_activation": "tanh"})
        .debugging(seed=0)
    )
    algo = config.build_algo()
    for iteration in range(1, iterations + 1):
        algo.train()
        if iteration % 10 == 0:
            print(f"iteration {iteration} of {iterations}")
    return algo


def table(algo: AMAGAIL, agent: str) -> np.ndarray:
    """`[S, A]` chances of a learned policy's actions, by state."""
    (logits,) = learned_policy(algo).network(agent).logits(np.eye(GAME.num_states), None)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    return chances / chances.sum(axis=1, keepdims=True)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train; returns what the pursuer earns in six pairs, exactly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--episodes", type=int, default=20, help="recorded")
    chosen = parser.parse_args(arguments)
    start_local_ray(num_cpus=1)

    pursuer, evader = solve_spe(GAME)
    aimless = [np.full_like(policy, 1 / policy.shape[1]) for policy in (pursuer, evader)]
    algo = trained(recorded(pursuer, aimless[1], chosen.episodes), chosen.iterations)
    learned = [table(algo, agent) for agent in (PURSUER, EVADER)]
    algo.stop()

    def earned(pair: list[np.ndarray]) -> float:
        return float(returns(GAME, pair)[0])  # what the one earns the other pays

    results = {
        "learned pursuer, perfect evader": earned([learned[0], evader]),
        "perfect pursuer, perfect evader": earned([pursuer, evader]),
        "aimless pursuer, perfect evader": earned([aimless[0], evader]),
        "perfect pursuer, learned evader": earned([pursuer, learned[1]]),
        "perfect pursuer, aimless evader": earned([pursuer, aimless[1]]),
        "learned pursuer, learned evader": earned(learned),
    }
    print("\nWhat the pursuer earns, 1 for a capture at once:")
    for pair, value in results.items():
        print(f"{pair}: {value:.3f}")
    return results


if __name__ == "__main__":
    main()
