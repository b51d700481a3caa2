"""What the environment executes for an agent that does not participate, and phi as a choice.

Paper, section 2.1: the transition function takes A_i ∪ {φ}. Environments know no φ, so an absent
agent applies a null action of its own space. Phi as an action that policies see and choose is
what the MAGAIL baseline of section 5 does.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space

from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout

NullActionRule = Literal["zero", "previous"] | Mapping[str, Any]


class NullActions:
    """The null action of every agent.

    Args:
        rule: "zero" is the first action, or zeros clipped into a Box; an action mask in the
            observation decides: the first allowed action then. "previous" is the agent's own last
            executed action while the mask allows it, else as "zero". A mapping gives one fixed
            action per agent, whatever the mask.
        observation_spaces: by agent.
        action_spaces: by agent; Discrete, MultiDiscrete or Box of floats.
        needed_by: the agents that may need one; a mapping must hold an action for each.

    Raises:
        ValueError: for another rule, a mapping with missing or unknown agents or actions that are
            not in their space, an unsupported space, or a mask that does not fit the actions.
    """

    def __init__(
        self,
        rule: NullActionRule,
        observation_spaces: Mapping[str, Space],
        action_spaces: Mapping[str, Space],
        needed_by: list[str],
    ) -> None:
        self._spaces = action_spaces
        self._layouts = {agent: ActionLayout.from_space(s) for agent, s in action_spaces.items()}
        for agent, layout in self._layouts.items():
            found = ObservationLayout.from_space(observation_spaces[agent]).mask_size
            if found not in (0, layout.mask_size):
                raise ValueError(
                    f"agent {agent!r} observes an action mask of {found} entries, expected "
                    f"{layout.mask_size} for {layout.space}"
                )
        self._repeats = rule == "previous"
        self._fixed: Mapping[str, Any] = {}
        self._previous: dict[str, Any] = {}
        if isinstance(rule, Mapping):
            self._check_fixed(rule, needed_by)
            self._fixed = dict(rule)
        elif rule not in ("zero", "previous"):
            raise ValueError(
                f"null_action is {rule!r}, expected 'zero', 'previous' or a mapping from agent to "
                f"action"
            )

    def reset(self) -> None:
        """Forget the executed actions: an episode begins."""
        self._previous.clear()

    def executed(self, agent: str, action: Any) -> None:
        """Remember the action that the environment has executed for `agent`."""
        self._previous[agent] = action

    def of(self, agent: str, observation: Any) -> Any:
        """The null action of `agent`, who observes `observation`."""
        if agent in self._fixed:
            return self._fixed[agent]
        mask = _action_mask(observation)
        if self._repeats and agent in self._previous:
            previous = self._previous[agent]
            row = self._layouts[agent].encode([previous])
            allowed = None if mask is None else mask[None]
            if self._layouts[agent].first_invalid(row, allowed) is None:
                return previous
        return self._zero(agent, mask)

    def _zero(self, agent: str, mask: np.ndarray | None) -> Any:
        space, layout = self._spaces[agent], self._layouts[agent]
        if isinstance(space, Box):
            zeros = np.clip(np.zeros_like(space.low), space.low, space.high)
            return zeros.astype(space.dtype)
        first = layout.low.copy()
        if mask is not None:
            # argmax is the first True; 0 where nothing is allowed, for want of anything better.
            components = np.split(mask, np.cumsum(layout.sizes)[:-1])
            first += [int(component.argmax()) for component in components]
        action = first.reshape(space.shape).astype(space.dtype)
        return action[()] if isinstance(space, Discrete) else action

    def _check_fixed(self, rule: Mapping[str, Any], needed_by: list[str]) -> None:
        unknown, missing = set(rule) - set(self._spaces), set(needed_by) - set(rule)
        if unknown or missing:
            raise ValueError(
                f"null_action has actions for {sorted(rule)}, expected one for each of "
                f"{needed_by} and for nobody besides {list(self._spaces)}"
            )
        for agent, action in rule.items():
            layout = self._layouts[agent]
            what = f"null_action of agent {agent!r}"
            layout.check(layout.encode([action], what), None, what)


def action_space_with_phi(agent: str, space: Space) -> Discrete:
    """Discrete(n) extended by phi, its last action."""
    if not isinstance(space, Discrete):
        raise ValueError(
            f"agent {agent!r} has action space {space}, expected Discrete, the only one that phi "
            f"can extend: discretise its actions, or leave phi_is_action off"
        )
    return Discrete(int(space.n) + 1, start=int(space.start))


def observation_space_with_phi(space: Space) -> Space:
    """The same space with one more entry in its action mask, if it has one."""
    if not isinstance(space, Dict) or MASK_KEY not in space.spaces:
        return space
    mask = space.spaces[MASK_KEY]
    if isinstance(mask, MultiBinary):
        extended: Space = MultiBinary(mask.shape[0] + 1)
    else:
        low, high = np.append(mask.low, 0), np.append(mask.high, 1)
        extended = Box(low.astype(mask.dtype), high.astype(mask.dtype), dtype=mask.dtype)
    # A list of pairs, because Dict sorts the keys of a mapping.
    parts = [(key, extended if key == MASK_KEY else part) for key, part in space.spaces.items()]
    return Dict(parts)


def observation_with_phi(observation: Any) -> Any:
    """The same observation with phi allowed by its action mask, if it has one."""
    if _action_mask(observation) is None:
        return observation
    mask = np.asarray(observation[MASK_KEY])
    return {**observation, MASK_KEY: np.append(mask, 1).astype(mask.dtype)}


def _action_mask(observation: Any) -> np.ndarray | None:
    if isinstance(observation, Mapping) and MASK_KEY in observation:
        return np.asarray(observation[MASK_KEY], dtype=bool)
    return None
