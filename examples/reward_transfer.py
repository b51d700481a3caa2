"""Learn a reward from demonstrations, then train stock PPO from scratch on that reward alone.

python examples/reward_transfer.py --quick
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_amagail import AMAGAILConfig, LearnedReward, LearnedRewardEnv, TrueScore
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.envs.game_envs import GameEnv
from rllib_amagail.games.reference_scores import ReferenceScores, reference_scores
from rllib_amagail.local_ray import start_local_ray


def learn_reward(game: str, iterations: int, folder: Path, seed: int) -> None:
    """Imitate the experts of a game and write what was learned."""
    config = AMAGAILConfig().environment(game).debugging(seed=seed, log_level="ERROR")
    # Without a cloned start the discriminators meet bad play, too, and learn what it is worth.
    config.imitation(bc_steps=0, value_only_iterations=0)
    algorithm = config.build_algo()
    for _ in range(iterations):
        result = algorithm.train()
    print(f"AMAGAIL: normalised true score {result['normalised_score']:.3f}")
    for agent, found in result["correlation_with_true_reward"].items():
        print(
            f"  reward of {agent}: Pearson {found['pearson']:.2f}, Spearman {found['spearman']:.2f}"
        )
    export_learned(algorithm, folder)
    algorithm.stop()


def make_env(game: str, folder: str, env_config: dict[str, Any]) -> LearnedRewardEnv:
    """The game, paying the rewards of a folder."""
    return LearnedRewardEnv(GameEnv(game, env_config), folder)


def train_from_scratch(
    game: str, folder: Path, scale: ReferenceScores, iterations: int, rounds: int, seed: int
) -> list[float]:
    """Normalised true scores of RLlib's own PPO, which never sees the true reward."""
    tune.register_env("learned_reward", partial(make_env, game, str(folder)))
    agents = LearnedReward.load(folder).agents
    config = (
        PPOConfig()
        .environment("learned_reward")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .training(
            train_batch_size=rounds,
            minibatch_size=rounds // 8,
            num_epochs=8,
            lr=1e-3,
            gamma=0.95,
            lambda_=0.95,
        )
        .rl_module(model_config={"fcnet_hiddens": [128, 128], "vf_share_layers": False})
        .multi_agent(policies=set(agents), policy_mapping_fn=lambda agent, episode, **kwargs: agent)
        .callbacks(TrueScore)
        .debugging(seed=seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    scores = []
    for iteration in range(iterations):
        began = time.monotonic()
        result = algorithm.train()["env_runners"]
        scores.append(scale.normalised(scale.score(result["true_returns"])))
        print(
            f"PPO {iteration + 1:>3}: learned return {result['episode_return_mean']:8.1f}, "
            f"normalised true score {scores[-1]:6.3f}  ({time.monotonic() - began:.0f} s)"
        )
    algorithm.stop()
    return scores


def main(arguments: list[str] | None = None) -> list[float]:
    """Returns the normalised true scores of PPO, one an iteration: 0 is random play, 1 expert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", default="stochastic_cooperative_navigation")
    parser.add_argument("--reward", type=Path, help="a folder of export_learned; else learned now")
    parser.add_argument("--imitation-iterations", type=int, default=60)
    parser.add_argument("--ppo-iterations", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3200, help="of PPO, an iteration")
    parser.add_argument("--output", type=Path, default=Path("reward_transfer"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a look in about a minute")
    chosen = parser.parse_args(arguments)
    scale = reference_scores(chosen.game)
    if scale is None:
        parser.error(f"game {chosen.game!r} has no measured scale")
    if chosen.quick:
        chosen.imitation_iterations, chosen.ppo_iterations = 10, 3
    start_local_ray()

    folder = chosen.reward or chosen.output
    if chosen.reward is None:
        learn_reward(chosen.game, chosen.imitation_iterations, folder, chosen.seed)
    return train_from_scratch(
        chosen.game, folder, scale, chosen.ppo_iterations, chosen.rounds, chosen.seed
    )


if __name__ == "__main__":
    main()
