"""Environments in which Y says how an agent participates: which action set it may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from rllib_amagail.action_modes import NO_MODE, ModeFunction, ModeSampler
from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.envs.seeded_wrapper import SeededWrapper
from rllib_amagail.envs.wrapped_env import WorldView, WrappedEnv
from rllib_amagail.spaces import MASK_KEY, ObservationLayout

MODE_KEY = "mode"
OBSERVATION_KEY = "observation"


class ActionSetEnv(SeededWrapper):
    """Shows agents the action sets A_i^m that Y has drawn for a round, as action masks.

    Put it between an environment and `TurnBasedEnv`:

        TurnBasedEnv(ActionSetEnv(env, action_sets, mode_function))

    An observation becomes a Dict of "observation" (flat features), "mode" (the drawn m, one-hot
    over the M sets) and "action_mask". In mode 0, phi, the agent does not participate: it sees an
    all-zero mode and may choose anything, since `TurnBasedEnv` executes its null action.

    Args:
        env: an RLlib MultiAgentEnv or PettingZoo ParallelEnv with Discrete actions from 0 on and
            without action masks of its own.
        action_sets: agent -> `[M, n]` bool, row m - 1 is A_i^m over the agent's n actions.
        mode_function: draws the modes of N agents, in the order of ``env.possible_agents``.
        seed: of the first `reset`, if that is given none.

    Raises:
        ValueError: sets that are missing, empty, of another number or size, or spaces that do not
            fit.
    """

    def __init__(
        self,
        env: Any,
        action_sets: Mapping[str, np.ndarray],
        mode_function: ModeFunction,
        seed: int | None = None,
    ) -> None:
        super().__init__(WrappedEnv(env))
        self._check(action_sets, mode_function)
        self._sets = {a: np.array(action_sets[a], dtype=np.int8) for a in self.possible_agents}
        self._layouts = {
            agent: ObservationLayout.from_space(self._wrapped.observation_spaces[agent])
            for agent in self.possible_agents
        }
        self.action_spaces = dict(self._wrapped.action_spaces)
        num_sets = mode_function.num_modes - 1
        self.observation_spaces = {
            agent: Dict(
                {
                    OBSERVATION_KEY: Box(-np.inf, np.inf, (layout.feature_size,), np.float32),
                    MODE_KEY: MultiBinary(num_sets),
                    MASK_KEY: MultiBinary(self._sets[agent].shape[1]),
                }
            )
            for agent, layout in self._layouts.items()
        }
        certain = mode_function.initial[:, NO_MODE] == 0.0
        assert mode_function.transition is not None
        certain &= (mode_function.transition[:, :, NO_MODE] == 0.0).all(axis=1)
        # The environment may let agents wait, too.
        waits = getattr(self._wrapped.env, "may_abstain", None) or {}
        self.may_abstain = {
            agent: not acts or bool(waits.get(agent, self._wrapped.is_one_by_one))
            for agent, acts in zip(self.possible_agents, certain.tolist(), strict=True)
        }
        self._sampler = ModeSampler(mode_function, np.random.default_rng())
        if seed is not None:
            self._set_seed(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """Begin an episode; observations and infos, by agent."""
        if seed is not None:
            self._set_seed(seed)
        view = self._wrapped.reset(self._env_seed, options)
        self._env_seed = None
        self.agents = list(self._wrapped.live)
        return self._look(view, self._sampler.reset())

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play a round with the actions of all agents observed last."""
        view = self._wrapped.step(action_dict)
        self.agents = list(self._wrapped.live)
        observations, infos = self._look(view, self._sampler.step())
        terminateds = {agent: not cut for agent, cut in view.truncated.items()}
        truncateds = dict(view.truncated)
        over = not self._wrapped.live
        truncateds["__all__"] = over and any(view.truncated.values())
        terminateds["__all__"] = over and not truncateds["__all__"]
        return observations, dict(view.rewards), terminateds, truncateds, infos

    def _seed_stream(self, seed: np.random.SeedSequence) -> None:
        self._sampler = ModeSampler(self._sampler.mode_function, np.random.default_rng(seed))

    def _stream_state(self) -> dict[str, Any]:
        return {"modes": self._sampler.get_state()}

    def _continue_stream(self, state: Mapping[str, Any]) -> None:
        self._sampler.set_state(state["modes"])

    def _look(self, view: WorldView, modes: np.ndarray) -> ResetResult:
        drawn = dict(zip(self.possible_agents, modes.tolist(), strict=True))
        observations, infos = {}, {}
        for agent, seen in view.observations.items():
            sets, mode = self._sets[agent], drawn[agent]
            one_hot = np.zeros(len(sets), np.int8)
            mask = np.ones(sets.shape[1], np.int8)
            if mode != NO_MODE:
                one_hot[mode - 1], mask = 1, sets[mode - 1]
            features = self._layouts[agent].flatten([seen])[0]
            observations[agent] = {OBSERVATION_KEY: features, MODE_KEY: one_hot, MASK_KEY: mask}
            told = {**view.infos.get(agent, {}), "mode": mode}
            participates = told.get("participates", True) and mode != NO_MODE
            infos[agent] = {**told, "participates": participates}
        return observations, infos

    def _check(self, action_sets: Mapping[str, np.ndarray], mode_function: ModeFunction) -> None:
        agents, num_sets = self.possible_agents, mode_function.num_modes - 1
        if set(action_sets) != set(agents) or mode_function.num_agents != len(agents):
            raise ValueError(
                f"found action sets of {sorted(action_sets)} and modes of "
                f"{mode_function.num_agents} agents, expected both for {agents}"
            )
        for agent in agents:
            space = self._wrapped.action_spaces[agent]
            if not isinstance(space, Discrete) or space.start != 0:
                raise ValueError(f"agent {agent!r} acts in {space}, expected Discrete from 0 on")
            if ObservationLayout.from_space(self._wrapped.observation_spaces[agent]).mask_size:
                raise ValueError(
                    f"agent {agent!r} observes an action mask already, expected none: the sets "
                    "become one"
                )
            found = np.asarray(action_sets[agent])
            if found.shape != (num_sets, space.n) or not found.astype(bool).any(axis=-1).all():
                raise ValueError(
                    f"action sets of {agent!r} have shape {found.shape}, expected "
                    f"{(num_sets, int(space.n))}, some action in each row: one row for each of "
                    "the modes 1 to M"
                )
