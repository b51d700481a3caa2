"""Which rows of the demonstrations belong to which policy module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.demonstrations.past_turns import with_history
from rllib_amagail.judge import JOINT
from rllib_amagail.learner.expert_rows import ExpertRows, Phi
from rllib_amagail.learner.joint_rows import JointRows, JointStructure
from rllib_amagail.past_turns import History
from rllib_amagail.row_encoder import DiscriminatorInputs


@dataclass(frozen=True)
class RowSorter:
    """Sorts rows by module. Plain data, so that it can travel to where a file is read.

    Attributes:
        agents: module -> its agents, in the order of the demonstrations; none without agents.
        spaces: module -> its spaces of observations and actions.
        phi: what becomes of phi.
        judged: what the discriminators see of a turn.
        shaping_discounts: module -> gamma of the shaping term in its rewards; None without one.
        history: what the rows are to show of the agents' past.
        structure: of joint rows, which are sorted under `JOINT`; None without them.
    """

    agents: Mapping[str, tuple[str, ...]]
    spaces: Mapping[str, tuple[gym.Space, gym.Space]]
    phi: Phi
    judged: DiscriminatorInputs
    shaping_discounts: Mapping[str, float | None]
    history: History
    structure: JointStructure | None = None

    @classmethod
    def from_config(
        cls, config: Any, modules: Mapping[str, Any], agents: tuple[str, ...]
    ) -> RowSorter:
        """The sorter of an `AMAGAILConfig`.

        Args:
            config: maps agents to modules and says what becomes of phi.
            modules: the learner's modules, for their spaces.
            agents: of the demonstrations.
        """
        agents_of: dict[str, list[str]] = {module_id: [] for module_id in sorted(config.policies)}
        for agent in agents:
            if config.imitates(agent):
                agents_of[config.policy_mapping_fn(agent, None)].append(agent)
        taught = {module_id: tuple(names) for module_id, names in agents_of.items() if names}
        spaces = {m: (modules[m].observation_space, modules[m].action_space) for m in taught}
        discounts = {module_id: config.shaping_discount(module_id) for module_id in taught}
        judged, past = config.discriminator_inputs, config.shown_past
        structure = JointStructure.from_config(config, spaces)
        return cls(taught, spaces, config.phi, judged, discounts, past, structure)

    def sort(self, demonstrations: Demonstrations) -> dict[str, ExpertRows]:
        """The rows of every module.

        Raises:
            DemonstrationsError: see `ExpertRows.collect` and `with_past_turns`.
        """
        demonstrations = with_history(demonstrations, self.history)
        found = {
            module_id: ExpertRows.collect(demonstrations, agents, *self._how(module_id))
            for module_id, agents in self.agents.items()
        }
        return found | self._joint(demonstrations)

    def sort_part(self, demonstrations: Demonstrations) -> dict[str, ExpertRows]:
        """The rows of the modules that have some: a part need not have a turn of every agent.

        Raises:
            DemonstrationsError: as `sort`; not for missing turns.
        """
        demonstrations = with_history(demonstrations, self.history)
        found = {
            module_id: ExpertRows.gather(demonstrations, agents, *self._how(module_id))
            for module_id, agents in self.agents.items()
        }
        some = {module_id: rows for module_id, rows in found.items() if rows is not None}
        return some | self._joint(demonstrations)

    def join(self, parts: list[dict[str, ExpertRows]], num_episodes: int) -> dict[str, ExpertRows]:
        """The rows of every module in several parts, which `sort_part` sorted.

        Raises:
            DemonstrationsError: a module has nothing to learn from in ``num_episodes`` episodes.
        """
        joined = {}
        everybody = {JOINT: tuple(self.structure.view.order)} if self.structure else {}
        for module_id, agents in {**self.agents, **everybody}.items():
            rows = [part[module_id] for part in parts if module_id in part]
            joined[module_id] = ExpertRows.join(rows, agents, num_episodes)
        return joined

    def _joint(self, demonstrations: Demonstrations) -> dict[str, ExpertRows]:
        if self.structure is None:
            return {}
        action_spaces = {module_id: spaces[1] for module_id, spaces in self.spaces.items()}
        rows = JointRows.of_demonstrations(self.structure, demonstrations, action_spaces)
        return {JOINT: rows.expert_rows()}

    def _how(
        self, module_id: str
    ) -> tuple[gym.Space, gym.Space, Phi, DiscriminatorInputs, float | None]:
        discount = self.shaping_discounts[module_id]
        return (*self.spaces[module_id], self.phi, self.judged, discount)
