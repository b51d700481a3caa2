"""What a joint critic sees of the other agents, as MAGAIL's does: V_nu(s, a_{-i}).

At a turn of agent i in round t the critic sees i's own observation and, of each other agent, what
`joint_view` says.

With ``phi="chosen"`` or ``"executed"`` phi is an action, and others act every round: then the
action they chose is seen, phi included.

At the final observation of an agent episode nobody has acted yet: participation and actions are
zeros. So is all that a batch does not hold: turns of others before the chunk began or after it was
cut, whose last observation still counts as seen. Batches of whole episodes have no such gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.learner.joint_view import JointView, RoundKeys, Sightings, rows_of_agent
from rllib_amagail.learner.turns import TurnBatch


def add_others(batches: Mapping[str, TurnBatch], view: JointView) -> dict[str, TurnBatch]:
    """Fill ``others`` and ``final_others`` of all modules' turns.

    Args:
        batches: the turns of every module that acted, phi already filtered out where it is to be.
        view: of all agents.

    Returns:
        The same batches with the columns of the module docstring, ``[T, J]`` and ``[S, J]``.
    """
    keys = RoundKeys.of(batches)
    sightings = {
        agent: _sightings(batches[m], m, keys, agent, view)
        for agent, m in view.modules.items()
        if m in batches
    }
    return {
        module_id: _with_others(
            turns,
            np.concatenate([keys.turns[module_id], keys.finals[module_id]]),
            keys.span,
            sightings,
            view,
        )
        for module_id, turns in batches.items()
    }


def _sightings(
    turns: TurnBatch, module_id: str, keys: RoundKeys, agent: str, view: JointView
) -> Sightings | None:
    rows, segments = rows_of_agent(turns, agent)
    return Sightings.of(
        view.encoder(agent),
        keys.turns[module_id][rows],
        turns.observations[rows],
        turns.actions[rows],
        turns.participates[rows],
        finals=(keys.finals[module_id][segments], turns.final_observations[segments]),
    )


def _with_others(
    turns: TurnBatch,
    keys: np.ndarray,
    span: int,
    sightings: Mapping[str, Sightings | None],
    view: JointView,
) -> TurnBatch:
    agents = list(dict.fromkeys(turns.agents))
    others = np.zeros((len(keys), sum(map(view.width, view.others(agents[0])))), np.float32)
    for agent in agents:
        turn_rows, segments = rows_of_agent(turns, agent)
        rows = np.concatenate([turn_rows, len(turns) + segments])
        start = 0
        for other in view.others(agent):
            columns = slice(start, start := start + view.width(other))
            known = sightings.get(other)
            if known is not None:
                others[rows, columns] = known.seen_at(keys[rows], span, rows < len(turns))
    return replace(turns, others=others[: len(turns)], final_others=others[len(turns) :])


class AddOthers(ConnectorV2):
    """Applies `add_others` to every module's turns; the last of the learner's connectors.

    Args:
        modules: agent -> policy module, for all agents.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = dict(modules)

    def __call__(
        self,
        *,
        rl_module: RLModule,
        batch: dict[str, Any],
        episodes: Sequence[EpisodeType],
        explore: bool | None = None,
        shared_data: dict | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if not batch:
            return batch
        policies = {m: rl_module[m] for m in set(self._modules.values())}
        spaces = {m: (p.observation_space, p.action_space) for m, p in policies.items()}
        return add_others(batch, JointView.from_spaces(self._modules, spaces))
