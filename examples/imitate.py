"""The README's example: imitate experts of one of the paper's games, look, save.

python examples/imitate.py
"""

from __future__ import annotations

import argparse

from rllib_amagail import AMAGAILConfig
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.local_ray import start_local_ray


def main(arguments: list[str] | None = None) -> float:
    """Train for a few iterations; returns the normalised true score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", default="stochastic_cooperative_navigation")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--output", default="imitated")
    chosen = parser.parse_args(arguments)
    start_local_ray()

    config = (
        AMAGAILConfig()
        .environment(chosen.game)  # its expert episodes come with the package
        .imitation(num_demonstrations=50, reward_form="gail")
        .debugging(seed=0)
    )
    algo = config.build_algo()
    for _ in range(chosen.iterations):
        result = algo.train()
        print(f"score {result['score']:.1f}, normalised {result['normalised_score']:.3f}")
    for path in export_learned(algo, chosen.output):
        print(f"wrote {path}")
    algo.stop()
    return float(result["normalised_score"])


if __name__ == "__main__":
    main()
