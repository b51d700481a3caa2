"""How an `AMAGAIL` begins, is reset, saved and restored; what it does is in `amagail`."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cached_property
from typing import Any

from rllib_amagail.algorithm.reconfiguring import set_up_anew
from rllib_amagail.algorithm.runner_states import GroupStates, restore_runners, save_runners
from rllib_amagail.algorithm.sampling import SamplingAhead, impose_policies, policies_of
from rllib_amagail.algorithm.saved_ppo import SavedPPO
from rllib_amagail.learner.shared_demonstrations import demonstrations_by_reference

# What is in the state besides RLlib's components.
REMOTE_RUNNERS = "remote_env_runners"
LATEST_SCORE = "latest_score"


class Lifecycle(SavedPPO):
    """RLlib's PPO whose whole state can be saved, and that can become another one."""

    _latest_score: float = math.nan

    def setup(self, config: Any) -> None:
        """As of RLlib's `Algorithm`; demonstrations in memory reach other nodes once each."""
        source = config.get("demonstrations")
        with demonstrations_by_reference(source) as self._demonstrations_reference:
            super().setup(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become a fresh algorithm of another config; lets Ray Tune reuse actors.

        Args:
            new_config: as Ray Tune gives it to a new trial.

        Returns:
            True: it is done.

        Raises:
            ValueError: settings that a new algorithm would refuse, too.
        """
        set_up_anew(self, new_config)
        return True

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """RLlib's state, and where the remote env runners stand."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._check_component(REMOTE_RUNNERS, components, not_components):
            state[REMOTE_RUNNERS] = save_runners(self._runner_groups(), self.config)
            state[LATEST_SCORE] = self._latest_score
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`; parts that are missing stay as they are."""
        super().set_state(state)
        states: GroupStates = state.get(REMOTE_RUNNERS, {})
        restore_runners(self._runner_groups(), states, self.config)
        self._latest_score = state.get(LATEST_SCORE, self._latest_score)

    def _runner_groups(self) -> dict[str, Any]:
        """Training and evaluation runners, as far as there are any."""
        groups = {"training": self.env_runner_group, "evaluation": self.eval_env_runner_group}
        return {name: group for name, group in groups.items() if group is not None}

    def restore_from_path(self, *args: Any, **kwargs: Any) -> None:
        """As of RLlib's `Algorithm`; the next batch is played by the restored policies.

        Batches that were played ahead, by the policies of before, are dropped.
        """
        super().restore_from_path(*args, **kwargs)
        self._ahead.forget()
        policies = policies_of(self.learner_group, sorted(self.config.policies))
        impose_policies(self.env_runner_group, policies)

    @cached_property
    def _ahead(self) -> SamplingAhead:
        return SamplingAhead(self.env_runner_group, self.bring_back_runners)
