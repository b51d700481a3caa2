"""Who participates in a round of a wrapped environment: I_t (paper, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib_amagail.envs.wrapped_env import WorldView, WrappedEnv
from rllib_amagail.spaces import ActionLayout, ObservationLayout
from rllib_amagail.turn_sampler import PlayerFunction, TurnSampler, states_and_actions


class Participants:
    """Draws the participants from a player function, or lets the environment name them.

    Agents that the environment does not observe, or for which its infos say `"participates":
    False`, cannot participate. The state that a higher-order
    player function is given is `[1, S]`: the flat observations of all agents, concatenated in
    order, zeros for those that are not there; then the actions of the last round, for one with
    `needs_actions`. That takes actions of one shape.

    Args:
        player_function: None: all who can participate do.
        wrapped: the environment.

    Attributes:
        may_abstain: by agent; False where participation is certain. An attribute of this name of
            the environment tells whom it lets wait, where it has one. If not: in games of turns and
            without a player function, everybody.

    Raises:
        ValueError: if the player function is for another number of agents, or looks at actions of
            different shapes.
    """

    def __init__(self, player_function: PlayerFunction | None, wrapped: WrappedEnv) -> None:
        self._player_function = player_function
        self._wrapped = wrapped
        self._sampler: TurnSampler | None = None
        self._layouts = {
            agent: ObservationLayout.from_space(space)
            for agent, space in wrapped.observation_spaces.items()
        }
        self._action_layouts = {
            agent: ActionLayout.from_space(space) for agent, space in wrapped.action_spaces.items()
        }
        agents = wrapped.possible_agents
        told = getattr(wrapped.env, "may_abstain", None) or {}
        if player_function is None:
            self.may_abstain = {agent: bool(told.get(agent, True)) for agent in agents}
            return
        if player_function.num_agents != len(agents):
            raise ValueError(
                f"the player function is for {player_function.num_agents} agents, expected "
                f"{len(agents)}: {agents}"
            )
        shapes = {agent: layout.shape for agent, layout in self._action_layouts.items()}
        if player_function.needs_actions and len(set(shapes.values())) > 1:
            raise ValueError(
                f"the player function looks at actions, which have shapes {shapes}, expected one "
                "shape for all agents"
            )
        self.may_abstain = {
            agent: absent or bool(told.get(agent, wrapped.is_one_by_one))
            for agent, absent in zip(agents, player_function.may_abstain().tolist(), strict=True)
        }

    def first(self, view: WorldView, rng: np.random.Generator) -> list[str]:
        """Those of round 0 of a new episode, in order, for which `rng` draws."""
        if self._player_function is None:
            return self._named(view)
        self._sampler = TurnSampler(self._player_function, 1, rng)
        return self._drawn(self._sampler.reset(), view)

    def next(self, view: WorldView, executed: Mapping[str, Any]) -> list[str]:
        """Those of the next round of the episode, in order.

        Args:
            view: what the last round gave.
            executed: the actions of that round, by agent.
        """
        if self._sampler is None:
            return self._named(view)
        return self._drawn(self._sampler.step(self._states(view, executed)), view)

    def _named(self, view: WorldView) -> list[str]:
        infos = view.infos
        return [a for a in self._observed(view) if infos.get(a, {}).get("participates", True)]

    def _drawn(self, participation: np.ndarray, view: WorldView) -> list[str]:
        drawn = dict(zip(self._wrapped.possible_agents, participation[0], strict=True))
        return [agent for agent in self._named(view) if drawn[agent]]

    def _observed(self, view: WorldView) -> list[str]:
        return [agent for agent in self._wrapped.live if agent in view.observations]

    def _states(self, view: WorldView, executed: Mapping[str, Any]) -> np.ndarray | None:
        if self._player_function is None or not self._player_function.needs_states:
            return None
        observed = self._observed(view)
        parts = []
        for agent, layout in self._layouts.items():
            if agent in observed:
                parts.append(layout.flatten([view.observations[agent]]))
            else:
                parts.append(np.zeros((1, layout.feature_size + layout.mask_size), np.float32))
        states = np.concatenate(parts, axis=1)
        if not self._player_function.needs_actions or self._sampler is None:
            return states
        actions = [
            layout.encode([executed[agent]])[0] if agent in executed else np.zeros(layout.shape)
            for agent, layout in self._action_layouts.items()
        ]
        return states_and_actions(states, np.stack(actions)[None], self._sampler.participation)
