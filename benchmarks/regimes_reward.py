"""How much the learned reward says about the true one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ray.rllib.core import COMPONENT_RL_MODULE

from rllib_amagail import AMAGAIL, Demonstrations
from rllib_amagail.correlations import reward_correlations
from rllib_amagail.evaluation import Policy, random_policy
from rllib_amagail.experts import expert_policies, record_policies
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.relabelling import discriminator_rewards


def reward_correlation(
    algorithm: AMAGAIL, game: str, learned: Mapping[str, Policy], episodes: int, seed: int
) -> dict[str, float]:
    """Correlation of the learned with the true reward on turns that nothing was trained on.

    The turns are of ``episodes`` episodes each of random players, experts and the learned
    policies. Correlations are computed per agent and averaged over agents.

    Args:
        algorithm: whose discriminators judge (s, a) or s.
        game: played.
        learned: the policies.
        episodes: of each kind of players.
        seed: of worlds, turns and actions.
    """
    players: list[Mapping[str, Policy]] = [
        dict.fromkeys(learned, random_policy),
        expert_policies(game),
        learned,
    ]
    options = dict(algorithm.config.env_config)
    played = [
        record_policies(game, policies, episodes, seed=len(players) * seed + kind, **options)
        for kind, policies in enumerate(players)
    ]
    found = [_of_agent(algorithm, agent, played) for agent in learned]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _of_agent(algorithm: AMAGAIL, agent: str, played: list[Demonstrations]) -> dict[str, float]:
    config, name = algorithm.config, discriminator_id(agent)
    spec = config.get_multi_rl_module_spec(spaces=algorithm.spaces).rl_module_specs[name]
    discriminator = spec.build()
    state: dict[str, Any] = algorithm.learner_group.get_state()["learner"][COMPONENT_RL_MODULE]
    discriminator.set_state(state[name])
    judged, true = [], []
    for part in played:
        spaces = part.observation_spaces[agent], part.action_spaces[agent]
        inputs = ExpertRows.collect(
            part, [agent], *spaces, config.phi, config.discriminator_inputs
        ).inputs
        judged.append(
            discriminator_rewards(discriminator, torch.from_numpy(inputs), config.reward_form)
        )
        true.append(part.records[agent].turns().reward)
    return reward_correlations({agent: np.concatenate(judged)}, {agent: np.concatenate(true)})[
        agent
    ]
