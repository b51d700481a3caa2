"""Behaviour cloning that keeps the policies which fit held-out episodes best."""

from __future__ import annotations

from rllib_amagail.algorithm.export import learned_policy
from rllib_amagail.algorithm.multi_agent_bc import MultiAgentBCConfig
from rllib_amagail.learned_policy import LearnedPolicy, PolicyNetwork
from rllib_amagail.learner.behaviour_cloning import LOSS


def best_clones(config: MultiAgentBCConfig, iterations: int) -> LearnedPolicy:
    """Clone for some iterations and keep each agent's policy of the best of them.

    Which is the one with the highest likelihood of the held-out episodes. Where these hold no turn
    of an agent, its last policy is kept.

    Args:
        config: of the cloning; its ``validation_share`` is above 0.
        iterations: of ``bc_steps`` gradient steps.

    Raises:
        ValueError: nothing is held out, or no iterations.
    """
    if not config.validation_share or iterations < 1:
        raise ValueError(
            f"found validation_share {config.validation_share} and {iterations} iterations, "
            "expected some episodes held out and at least one iteration"
        )
    algorithm = config.build_algo()
    best: dict[str, tuple[float, PolicyNetwork]] = {}
    for _ in range(iterations):
        learned = algorithm.train()["learners"]
        losses = {
            agent: float(learned[module].get(f"validation_{LOSS}", float("-inf")))
            for agent, module in algorithm.config.modules_of_agents().items()
        }
        improved = [a for a, loss in losses.items() if a not in best or loss <= best[a][0]]
        if improved:
            policies = learned_policy(algorithm)
            best |= {agent: (losses[agent], policies.network(agent)) for agent in improved}
    algorithm.stop()
    return LearnedPolicy({agent: network for agent, (_, network) in best.items()})
