"""Training of experts: AMAGAIL with the true reward as teacher, in phases.

What an expert of a particle game needs beyond that is in `envs.expert_worlds` (team rewards, a
value function that sees more) and in `Phase`: agents of a side may share one policy at first.
Agents that cannot tell themselves apart have to find roles that depend on where everybody is;
agents with policies of their own settle on fixed ones, which are worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.envs.expert_worlds import ExpertTrainingEnv, num_privileged_features
from rllib_amagail.games import make_game
from rllib_amagail.learner.privileged_critic import PRIVILEGED_FEATURES, PrivilegedCriticModule

Weights = dict[str, dict[str, np.ndarray]]
"""Agent to the arrays of its module, value function included."""

FINAL_LR = 1e-5

Report = Callable[[int, dict[str, float]], None]
"""Told the rounds played so far and the agents' mean training returns, every iteration."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Attributes:
        rounds: to be played.
        shared: all agents of a side have one policy, else each its own.
        trains: the side whose policies learn; None for all.
        lr: of Adam; falls linearly to `FINAL_LR`.
        entropy: weight of the policies' entropy; falls linearly to 0.
        gamma: discount per round.
        shaping: see `ExpertTrainingWorlds`.
        plain: every agent learns from its own rewards, and its value function sees what it sees.
            Else as in `ExpertTrainingWorlds`.

    Raises:
        ValueError: shaping of plain games.
    """

    rounds: int
    shared: bool = False
    trains: str | None = None
    lr: float = 2e-3
    entropy: float = 1e-2
    gamma: float = 0.97
    shaping: float = 0.0
    plain: bool = False

    def __post_init__(self) -> None:
        if self.plain and self.shaping:
            raise ValueError(f"shaping is {self.shaping}, expected 0 in a plain phase")


class ExpertTrainingConfig(AMAGAILConfig):
    """`AMAGAILConfig` whose value functions see privileged features."""

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The policy module of every agent."""
        return RLModuleSpec(module_class=PrivilegedCriticModule)

    def validate(self) -> None:
        """As of `AMAGAILConfig`.

        Raises:
            ValueError: also for ``generator="mack"``, whose natural gradient moves the weights that
                blind the policy.
        """
        if self.generator != "ppo":
            raise ValueError(
                f"generator is {self.generator!r}; expected 'ppo': policies cannot be kept from "
                "seeing privileged features with K-FAC"
            )
        super().validate()


def side_of(agent: str) -> str:
    """ "adversary_2" is of side "adversary"."""
    return agent.rsplit("_", 1)[0]


def phase_config(game: str, phase: Phase, *, seed: int, is_first: bool) -> AMAGAILConfig:
    """The settings of a phase.

    Args:
        game: of `rllib_amagail.games`.
        phase: what is particular to it.
        seed: of everything random.
        is_first: there is no phase before it. Else the value functions learn alone at first.
    """
    agents = make_game(game).agents
    module_of = {agent: side_of(agent) if phase.shared else agent for agent in agents}
    modules = sorted(set(module_of.values()))
    config = AMAGAILConfig().environment(game) if phase.plain else _team_config(game, phase)
    # A plain phase takes over value functions that saw the same.
    value_only = 0 if is_first or phase.plain else 3
    return (
        config.imitation(reward_source="environment", value_only_iterations=value_only)
        .env_runners(num_envs_per_env_runner=256)
        .multi_agent(
            policies=modules,
            policy_mapping_fn=lambda agent, episode=None, **kwargs: module_of[agent],
            policies_to_train=[m for m in modules if phase.trains in (None, side_of(m), m)],
        )
        .training(
            train_batch_size_per_learner=12_800,
            minibatch_size=1600,
            gamma=phase.gamma,
            lr=[[0, phase.lr], [phase.rounds, FINAL_LR]],
            entropy_coeff=[[0, phase.entropy], [phase.rounds, 0.0]],
        )
        .debugging(seed=seed, log_level="ERROR")
    )


def _team_config(game: str, phase: Phase) -> ExpertTrainingConfig:
    """Team rewards, and value functions that see more."""
    config = ExpertTrainingConfig()
    privileged = num_privileged_features(len(make_game(game).agents))
    config.environment(
        ExpertTrainingEnv,
        env_config={"game": game, "shaping": phase.shaping, "gamma": phase.gamma},
    )
    return config.rl_module(model_config={**config.model_config, PRIVILEGED_FEATURES: privileged})


def train_phase(
    game: str, phase: Phase, start: Weights | None, *, seed: int, report: Report
) -> Weights:
    """Play a phase's rounds.

    Args:
        game: of `rllib_amagail.games`.
        phase: settings.
        start: weights to begin with, of this game or of one with the same agents and spaces. A
            shared policy begins with those of its side's first agent.
        seed: of everything random.
        report: is told how it goes.

    Returns:
        The weights at the end.
    """
    algorithm = phase_config(game, phase, seed=seed, is_first=start is None).build_algo()
    assert isinstance(algorithm, AMAGAIL)
    try:
        agents = make_game(game).agents
        module_of = {agent: algorithm.config.policy_mapping_fn(agent, None) for agent in agents}
        if start is not None:
            first = {module: agent for agent, module in reversed(module_of.items())}
            algorithm.learner_group.set_weights({m: start[agent] for m, agent in first.items()})
            algorithm.env_runner_group.sync_weights(
                from_worker_or_learner_group=algorithm.learner_group
            )
        rounds = 0
        while rounds < phase.rounds:
            result = algorithm.train()
            rounds = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
            report(rounds, _returns(result))
        weights = algorithm.learner_group.get_weights()
        return {agent: dict(weights[module]) for agent, module in module_of.items()}
    finally:
        algorithm.stop()


def policy_weights(
    weights: Mapping[str, np.ndarray], num_features: int, temperature: float
) -> dict[str, np.ndarray]:
    """The policy of a module alone, to be saved.

    Args:
        weights: of the module, value function included.
        num_features: D, without the privileged ones that the policy never saw.
        temperature: divides the logits, so below 1 the policy is surer of itself.
    """
    policy = {
        name: array
        for name, array in weights.items()
        if name.startswith(("encoder.actor_encoder.", "pi.net."))
    }
    first, head = "encoder.actor_encoder.net.mlp.0.weight", "pi.net.mlp.0"
    policy[first] = policy[first][:, :num_features]
    for name in (f"{head}.weight", f"{head}.bias"):
        policy[name] = (policy[name] / temperature).astype(np.float32)
    return policy


def _returns(result: dict[str, Any]) -> dict[str, float]:
    found = result["env_runners"].get("agent_episode_returns_mean", {})
    return {agent: float(mean) for agent, mean in sorted(found.items())}
