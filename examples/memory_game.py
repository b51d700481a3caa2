"""A game of memory, learned by policies without a past, with past turns, and with an LSTM.

python examples/memory_game.py
"""

from __future__ import annotations

import argparse
from typing import Any

from rllib_amagail import AMAGAILConfig
from rllib_amagail.envs.first_signal import FirstSignalEnv
from rllib_amagail.games.first_signal import first_signal_demonstrations
from rllib_amagail.local_ray import start_local_ray

POLICIES: dict[str, tuple[int, dict[str, Any]]] = {  # past turns, model
    "sees the present only": (0, {"fcnet_hiddens": [64, 64]}),
    "sees its last 4 turns": (4, {"fcnet_hiddens": [64, 64]}),
    "has an LSTM": (0, {"fcnet_hiddens": [64], "use_lstm": True, "lstm_cell_size": 64}),
}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train; returns the number of right actions an episode, by policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--bc-steps", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=30, help="demonstrations")
    chosen = parser.parse_args(arguments)
    start_local_ray(num_cpus=1)

    experts = first_signal_demonstrations(chosen.episodes)
    print(f"experts: {experts.scores().mean():.2f} right actions an episode")
    scores = {}
    for name, (past_turns, model) in POLICIES.items():
        config = (
            AMAGAILConfig()
            .environment(FirstSignalEnv)
            .imitation(demonstrations=experts, bc_steps=chosen.bc_steps)
            .history(past_turns=past_turns, elapsed_rounds=name != "sees the present only")
            .rl_module(model_config=model)
            .env_runners(num_envs_per_env_runner=16, batch_mode="complete_episodes")
            .training(train_batch_size_per_learner=768, minibatch_size=256)
            .debugging(seed=0)
        )
        algo = config.build_algo()
        for _ in range(chosen.iterations):
            scores[name] = algo.train()["score"]
        algo.stop()
        print(f"{name}: {scores[name]:.2f}")
    return scores


if __name__ == "__main__":
    main()
