"""One forward per policy and round: from observations of many worlds to their agents' actions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector.utils import batch_space
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.core.rl_module.rl_module import RLModule

Decisions = dict[str, np.ndarray]  # actions [n, ...], action_dist_inputs [n, K], action_logp [n]


class BatchedPolicies:
    """The policies of all agents, for one call of `sample`.

    Args:
        module: with a sub-module per policy.
        module_of: agent to the policy's id. Agents that share a policy share its forward.
        device: of the modules.
        rng: draws categorical actions. Other distributions draw from torch's global stream.
        explore: draw actions; else take the likeliest, with ``action_logp`` 0.
        timestep: how far training is when sampling begins, for modules that explore ever less.
        timesteps_per_step: by how much a step of this runner advances it.
    """

    def __init__(
        self,
        module: MultiRLModule,
        module_of: Mapping[str, str],
        device: Any,
        rng: np.random.Generator,
        explore: bool,
        timestep: int,
        timesteps_per_step: int,
    ) -> None:
        self._agents_of: dict[str, list[str]] = defaultdict(list)
        for agent, module_id in module_of.items():
            self._agents_of[module_id].append(agent)
        self._modules: dict[str, RLModule] = {m: module[m] for m in self._agents_of}
        for policy in self._modules.values():
            policy.eval()
        self._distributions = {
            module_id: policy.get_exploration_action_dist_cls()
            if explore
            else policy.get_inference_action_dist_cls()
            for module_id, policy in self._modules.items()
        }
        self._device = device
        self._rng = rng
        self._explore = explore
        self._timestep = timestep
        self._timesteps_per_step = timesteps_per_step

    @torch.inference_mode()
    def decide(self, observations: Mapping[str, np.ndarray], steps: int) -> dict[str, Decisions]:
        """Choose actions.

        Args:
            observations: agent to `[n, ...]`; n may be another for each agent, and 0.
            steps: how many were sampled before.

        Returns:
            Decisions by agent; none of policies that nobody needs. Those of categorical policies
            have no ``action_logp`` yet: see `complete`.
        """
        timestep = self._timestep + steps * self._timesteps_per_step
        decisions: dict[str, Decisions] = {}
        for module_id, agents in self._agents_of.items():
            rows = [observations[agent] for agent in agents]
            joined = rows[0] if len(rows) == 1 else np.concatenate(rows)
            if len(joined) == 0:
                continue
            columns = self._act(module_id, self._forward(module_id, joined, timestep))
            start = 0
            for agent, part in zip(agents, rows, strict=True):
                stop = start + len(part)
                decisions[agent] = {name: column[start:stop] for name, column in columns.items()}
                start = stop
        return decisions

    def _forward(self, module_id: str, observations: np.ndarray, timestep: int) -> torch.Tensor:
        """`[n, K]` inputs of the action distribution, on the CPU."""
        module = self._modules[module_id]
        batch = {Columns.OBS: torch.from_numpy(observations).to(self._device)}
        # Not forward_exploration(): it walks through all layers to switch to evaluation mode and
        # back, which takes longer than the forward of a small network.
        if self._explore:
            outputs = module._forward_exploration(batch, t=timestep)
        else:
            outputs = module._forward_inference(batch)
        return outputs[Columns.ACTION_DIST_INPUTS].detach().cpu()

    def _act(self, module_id: str, inputs: torch.Tensor) -> Decisions:
        columns = {Columns.ACTION_DIST_INPUTS: inputs.numpy()}
        distribution = self._distributions[module_id]
        if distribution is TorchCategorical:
            return columns | {Columns.ACTIONS: self._draw_categorical(inputs.numpy())}
        drawn = distribution.from_logits(inputs)
        if self._explore:
            actions = drawn.sample()
            logp = drawn.logp(actions).numpy()
        else:
            actions = drawn.to_deterministic().sample()
            logp = np.zeros(len(actions), dtype=np.float32)
        return columns | {Columns.ACTIONS: actions.numpy(), Columns.ACTION_LOGP: logp}

    def _draw_categorical(self, logits: np.ndarray) -> np.ndarray:
        """What `TorchCategorical` does, several times faster for the few rows of a round."""
        if self._explore:
            # Gumbel noise: the largest sum is at k with the probability of k.
            logits = logits + self._rng.gumbel(size=logits.shape)
        return logits.argmax(axis=-1)

    def complete(self, decisions: Mapping[str, np.ndarray]) -> Decisions:
        """Add ``action_logp`` where `decide` left it out: for many rounds at once it costs little.

        Args:
            decisions: columns `[n, ...]` of one agent, of any rounds.
        """
        if Columns.ACTION_LOGP in decisions:
            return dict(decisions)
        actions = decisions[Columns.ACTIONS]
        if self._explore:
            logp = categorical_logp(decisions[Columns.ACTION_DIST_INPUTS], actions)
        else:
            logp = np.zeros(len(actions), dtype=np.float32)
        return dict(decisions) | {Columns.ACTION_LOGP: logp}


def categorical_logp(logits: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """`[n]` log probabilities of `actions` (`[n]`) under a softmax of `logits` (`[n, K]`)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = shifted[np.arange(len(actions)), actions]
    return chosen - np.log(np.exp(shifted).sum(axis=-1))


class UniformPolicies:
    """Agents that act at random. Their decisions have no ``action_logp``."""

    def __init__(self, action_spaces: Mapping[str, Space], rng: np.random.Generator) -> None:
        self._action_spaces = action_spaces
        self._rng = rng

    def decide(self, observations: Mapping[str, np.ndarray], steps: int) -> dict[str, Decisions]:
        """As of `BatchedPolicies`."""
        return {
            agent: {Columns.ACTIONS: self._draw(self._action_spaces[agent], len(rows))}
            for agent, rows in observations.items()
            if len(rows)
        }

    def complete(self, decisions: Mapping[str, np.ndarray]) -> Decisions:
        """As of `BatchedPolicies`; nothing is missing."""
        return dict(decisions)

    def _draw(self, space: Space, count: int) -> np.ndarray:
        spaces = batch_space(space, count)
        spaces.seed(int(self._rng.integers(2**31)))
        return spaces.sample()
