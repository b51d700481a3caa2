"""Clone the experts of a demonstrations file without an environment, then see how they play.

python examples/behaviour_cloning.py
"""

from __future__ import annotations

import argparse

from rllib_amagail import MultiAgentBCConfig
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.demonstrations import bundled_path
from rllib_amagail.evaluation import play_episodes
from rllib_amagail.local_ray import start_local_ray


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Clone; returns the accuracy on held-out episodes and the mean return of the agents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", default="stochastic_cooperative_navigation")
    parser.add_argument("--iterations", type=int, default=10)
    chosen = parser.parse_args(arguments)
    start_local_ray()

    config = (
        MultiAgentBCConfig()
        .imitation(demonstrations=bundled_path(chosen.game), validation_share=0.1)
        .training(lr=[[0, 1e-3], [1000, 1e-4]])
        .debugging(seed=0)
    )
    algo = config.build_algo()
    for _ in range(chosen.iterations):
        learned = algo.train()["learners"]
        accuracies = [
            learned[agent]["validation_accuracy"] for agent in sorted(algo.config.policies)
        ]
        print("accuracy on held-out episodes", *(f"{accuracy:.3f}" for accuracy in accuracies))
    returns = play_episodes(chosen.game, policies_of(algo), num_episodes=100, seed=1).returns()
    algo.stop()
    mean_return = sum(float(values.mean()) for values in returns.values()) / len(returns)
    print(f"mean return {mean_return:.1f}")
    return float(min(accuracies)), mean_return


if __name__ == "__main__":
    main()
