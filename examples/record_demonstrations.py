"""Record a scripted expert in an ordinary PettingZoo loop, and clone what was recorded.

python examples/record_demonstrations.py
"""

from __future__ import annotations

import argparse

import numpy as np

from rllib_amagail import Demonstrations, MultiAgentBCConfig
from rllib_amagail.demonstrations.recorded_envs import record_parallel
from rllib_amagail.games.pettingzoo import ParallelGame
from rllib_amagail.local_ray import start_local_ray

GAME = "stochastic_cooperative_navigation"


def fly_to_own_landmark(agent: str, observation: np.ndarray) -> int:
    """Accelerate along the axis on which the landmark is farther than the agent will drift."""
    landmark = 2 * int(agent.removeprefix("agent_"))
    velocity, displacement = observation[:2], observation[landmark : landmark + 2]
    wanted = displacement - 0.5 * velocity
    axis = int(np.abs(wanted).argmax())
    if abs(wanted[axis]) < 0.05:
        return 0
    return 1 + 2 * axis + int(wanted[axis] < 0)  # +x, -x, +y, -y


def record_expert(folder: str, num_episodes: int) -> None:
    """A loop like any other; only `record_parallel` is new in it."""
    with record_parallel(ParallelGame(GAME), folder, game=GAME) as env:
        for seed in range(num_episodes):
            observations, _ = env.reset(seed=seed)
            while env.agents:
                actions = {a: fly_to_own_landmark(a, observations[a]) for a in env.agents}
                observations, *_ = env.step(actions)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Record and clone; returns the expert's mean score and the accuracy of its clones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--output", default="recorded")
    chosen = parser.parse_args(arguments)

    record_expert(chosen.output, chosen.episodes)
    demonstrations = Demonstrations.load(chosen.output)
    score = float(demonstrations.scores().mean())
    print(f"{demonstrations.num_episodes} episodes in {chosen.output}, mean score {score:.1f}")

    start_local_ray()
    # AMAGAILConfig().environment(GAME).imitation(demonstrations=chosen.output) goes beyond cloning.
    config = MultiAgentBCConfig().imitation(
        demonstrations=chosen.output, validation_share=0.1, bc_steps=300
    )
    algo = config.debugging(seed=0).build_algo()
    for _ in range(chosen.iterations):
        learned = algo.train()["learners"]
    algo.stop()
    accuracy = min(learned[agent]["validation_accuracy"] for agent in demonstrations.agents)
    print(f"accuracy of the clones on held-out episodes {accuracy:.2f}")
    return score, accuracy


if __name__ == "__main__":
    main()
