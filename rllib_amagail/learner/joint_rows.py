"""Rows of a discriminator that sees all agents, and what its rewards are to each of them.

A structure (MAGAIL, arXiv:1807.09936, section 4.2) divides the agents into sides. Every round in
which somebody of a side acts is a row of that side: of all agents what `joint_view` says, but
whoever is on another side counts as absent. Its reward is credited to all agents, with a sign::

    r_i(k) = sum over rows (t, side) with t_k <= t < t_{k+1} of
             gamma^(t - t_k) * sign(i, side) * f(logit(row))

where t_k is the round of agent i's turn k. What came while it waited goes to its turn before, as
with rewards of the environment; what came before its first turn is credited to nobody.

| structure | sides | sign(i, side) |
|---|---|---|
| centralised | one, of everybody | 1 |
| zero-sum | two | 1 on its own side's rows, -1 on the other's |

Decentralised, every agent has a discriminator of its own, which sees that agent only.

Agents that are not imitated are not in the rows, and no row is of their side alone: nobody knows
what their experts would do. They are credited like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import gymnasium as gym
import numpy as np

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.learner.expert_rows import ExpertRows, Phi, agent_rows, check_judged
from rllib_amagail.learner.joint_view import JointView, RoundKeys, Sightings, rows_of_agent
from rllib_amagail.learner.phi_filter import judged_actions
from rllib_amagail.learner.turns import TurnBatch

Structure = Literal["decentralised", "centralised", "zero_sum"]
STRUCTURES: tuple[str, ...] = get_args(Structure)


def judges_jointly(config: Any) -> bool:
    """Whether an `AMAGAILConfig` wants a discriminator of joint rows."""
    is_joint = config.discriminator_structure != "decentralised"
    return is_joint and config.reward_source == "discriminator"


@dataclass(frozen=True)
class JointStructure:
    """Who is on which side, and how joint rows look. Plain data."""

    view: JointView
    sides: Mapping[str, int]  # agent -> its side, counted from 0
    phi: Phi

    @classmethod
    def from_config(
        cls, config: Any, spaces: Mapping[str, tuple[gym.Space, gym.Space]]
    ) -> Self | None:
        """Of an `AMAGAILConfig`; None where no discriminator sees joint rows.

        Args:
            config: validated, so that it knows the agents.
            spaces: module -> its spaces of observations and actions.
        """
        if not judges_jointly(config):
            return None
        modules = config.modules_of_agents()
        sides = dict.fromkeys(modules, 0)
        if config.discriminator_structure == "zero_sum":
            both = config.sides or [[agent] for agent in modules]
            sides = {agent: side for side, agents in enumerate(both) for agent in agents}
        seen = {agent: module for agent, module in modules.items() if config.imitates(agent)}
        view = JointView.from_spaces(seen, spaces, config.discriminator_inputs)
        return cls(view, sides, config.phi)

    @property
    def columns(self) -> dict[str, tuple[int, int]]:
        """Agent to the first of its columns in a joint row, and the first behind them."""
        ends = np.cumsum([self.view.width(agent) for agent in self.view.order]).tolist()
        return dict(zip(self.view.order, zip([0, *ends[:-1]], ends, strict=True), strict=True))

    @property
    def row_size(self) -> int:
        """R."""
        return max(end for _, end in self.columns.values())

    @property
    def row_space(self) -> gym.spaces.Box:
        """Of joint rows, ``[R]``."""
        return gym.spaces.Box(-np.inf, np.inf, (self.row_size,), np.float32)

    def sign(self, agent: str, sides: np.ndarray) -> np.ndarray:
        """``[Q]`` what a reward of rows of these ``sides`` (``[Q]``) is multiplied with."""
        return np.where(sides == self.sides[agent], 1.0, -1.0)


@dataclass(frozen=True)
class JointRows:
    """Q rows by rising round of rising games; of one round, by side."""

    inputs: np.ndarray  # [Q, R] float32
    keys: np.ndarray  # [Q] game * span + round
    sides: np.ndarray  # [Q]
    span: int

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of_turns(cls, structure: JointStructure, turns: Mapping[str, TurnBatch]) -> JointRows:
        """Of rollouts, batches by module; whole episodes, or what was seen before is missing."""
        if not turns:
            return cls._joined(structure, {}, 1)
        keys, sightings = RoundKeys.of(turns), {}
        for agent, module_id in structure.view.modules.items():
            if module_id not in turns:
                continue
            batch, encoder = turns[module_id], structure.view.encoder(agent)
            rows, _ = rows_of_agent(batch, agent)
            sightings[agent] = Sightings.of(
                encoder,
                keys.turns[module_id][rows],
                batch.observations[rows],
                judged_actions(encoder, batch, structure.phi)[rows],
                batch.participates[rows],
            )
        return cls._joined(structure, sightings, keys.span)

    @classmethod
    def of_demonstrations(
        cls,
        structure: JointStructure,
        demonstrations: Demonstrations,
        action_spaces: Mapping[str, gym.Space],
    ) -> JointRows:
        """Of Z.

        Args:
            structure: of the agents of Z.
            demonstrations: whole episodes.
            action_spaces: by module; phi is their last action, where it is one.

        Raises:
            DemonstrationsError: single turns only; actions are to be judged, but there are none;
                phi is to be an action, but Z holds turns only.
        """
        check_judged_jointly(demonstrations)
        view, sightings = structure.view, {}
        span = 1 + int(demonstrations.episode_lengths().max())
        for agent, module_id in view.modules.items():
            check_judged(demonstrations, view.encoder(agent).judged)
            record, observations, actions = agent_rows(
                demonstrations, agent, action_spaces[module_id], structure.phi
            )
            keys = record.episode * span + record.round
            sightings[agent] = Sightings.of(
                view.encoder(agent), keys, observations, actions, record.participates
            )
        return cls._joined(structure, sightings, span)

    @classmethod
    def _joined(
        cls, structure: JointStructure, sightings: Mapping[str, Sightings | None], span: int
    ) -> JointRows:
        known = {agent: seen for agent, seen in sightings.items() if seen is not None}
        found = [
            np.stack([seen.keys, np.full(len(seen.keys), structure.sides[agent])], axis=1)
            for agent, seen in known.items()
        ]
        rounds = np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)
        keys, sides = rounds.T
        inputs = np.zeros((len(keys), structure.row_size), np.float32)
        for agent, (start, end) in structure.columns.items():
            if agent in known:
                on_its_side = sides == structure.sides[agent]
                inputs[:, start:end] = known[agent].seen_at(keys, span, on_its_side)
        return cls(inputs, keys, sides, span)

    def expert_rows(self) -> ExpertRows:
        """As rows to learn from; nothing else is known of them than what is judged."""
        return ExpertRows(self.inputs, None, self.inputs, np.ones(len(self), bool))

    def credit(
        self,
        structure: JointStructure,
        turns: Mapping[str, TurnBatch],
        rewards: np.ndarray,
        gammas: Mapping[str, float],
    ) -> dict[str, np.ndarray]:
        """What the rows' rewards are to every turn, the equation of the module docstring.

        Args:
            structure: of all agents.
            turns: the batches that the rows were made of.
            rewards: ``[Q]`` f of the rows' logits.
            gammas: discount of a round, by module.

        Returns:
            Module -> ``[T]`` float32.
        """
        if not turns:
            return {}
        keys, credited = RoundKeys.of(turns), {}
        for module_id, batch in turns.items():
            earned = np.zeros(len(batch))
            ends = np.repeat(keys.finals[module_id], np.diff(batch.segment_starts))
            for agent in dict.fromkeys(batch.agents):
                rows, _ = rows_of_agent(batch, agent)
                rows = rows[np.argsort(keys.turns[module_id][rows])]
                own = keys.turns[module_id][rows]
                latest = np.searchsorted(own, self.keys, side="right") - 1
                # A row before the first turn of a game lies behind the end of the game before it.
                due = (latest >= 0) & (self.keys < ends[rows[latest]])
                to = latest[due]
                waited = self.keys[due] - own[to]
                signed = structure.sign(agent, self.sides[due]) * rewards[due]
                np.add.at(earned, rows[to], gammas[module_id] ** waited * signed)
            credited[module_id] = earned.astype(np.float32)
        return credited


def check_judged_jointly(demonstrations: Demonstrations) -> None:
    """Raise DemonstrationsError unless it is known what every agent saw before."""
    if demonstrations.turns_kept_every > 1:
        raise DemonstrationsError(
            f"one turn in {demonstrations.turns_kept_every} was kept, so what agents saw and did "
            "together is not known, but the discriminator sees all of them; set "
            "discriminator_structure='decentralised', or use whole episodes"
        )
