"""Any multi-agent environment with a player function, as an RLlib environment of turns.

Paper, sections 2.1 and 4.2. In each round some agents participate. `TurnBasedEnv` draws them, or
learns from the environment who they are, shows observations to them only, and lets the others
apply null actions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.late_rewards import LATE_REWARDS, LateRewards
from rllib_amagail.envs.null_actions import (
    NullActionRule,
    NullActions,
    action_space_with_phi,
    observation_space_with_phi,
    observation_with_phi,
)
from rllib_amagail.envs.participants import Participants
from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.envs.seeded_wrapper import SeededWrapper
from rllib_amagail.envs.wrapped_env import WorldView, WrappedEnv
from rllib_amagail.turn_sampler import PlayerFunction

if TYPE_CHECKING:
    from pettingzoo import AECEnv, ParallelEnv

MAX_IDLE_ROUNDS = 10_000  # without any participant, before reset() gives up


@dataclass(frozen=True)
class _Ending:
    """The last that an agent hears of an episode."""

    observation: Any | None  # None: the environment gave none
    info: dict[str, Any]
    truncated: bool  # False: terminated


class TurnBasedEnv(SeededWrapper):
    """Plays a multi-agent environment in rounds in which only some agents act.

    A round steps `env` with an action of every live agent that it observes: a participant's own,
    a null action for the others. Only participants are shown observations, so RLlib asks only
    them to act. An agent that has acted gets its final observation when it or the episode ends.
    One that ends before its first turn leaves no trace.

    With every observation comes `infos[agent]["round"]`, the round about to be played (in a final
    observation: the number of rounds played), and `infos[agent]["participates"]`. What it earned
    while it waited stands in `infos[agent]["late_rewards"]`, by rounds after its turn, so that
    learners can discount it.

    A round without participants is a step with empty dicts. Not so before anybody's first turn:
    RLlib takes an empty reset for an episode that has not begun, and loses its steps and its end.
    `reset` plays those rounds itself. They precede every action, so no reward of theirs is due.

    Args:
        env: an RLlib MultiAgentEnv or a PettingZoo ParallelEnv or AECEnv (see `AECRounds`).
        player_function: draws the participants of each round, among the agents that `env` observes
            without `"participates": False` in their infos. None: all of these. Details:
            `Participants`.
        null_action: what absent agents do, see `NullActions`.
        reward_absent: report the rewards of absent agents, too; RLlib credits them to the agent's
            last action. False: they get none (paper, section 5). None: True for an AECEnv, because
            games of turns reward agents between their turns; else False.
        phi_is_action: phi is an ordinary action (MAGAIL, paper section 5): all agents are shown
            every round, and the Discrete space of each that may abstain gets phi as its last
            action. Whoever chooses it, or does not participate, applies its null action.
        show_everyone: show every live agent in every round; what absent agents choose is ignored.
        seed: of the first `reset`, if that is given none.

    Attributes:
        possible_agents: all agents, in order.
        agents: the live ones and, until the next step, those that ended in this one, because
            RLlib's environment check looks up the keys of a step here.
        observation_spaces, action_spaces: by agent, in order, with phi if it is an action.
        base_observation_spaces, base_action_spaces: the same without phi, as `env` has them.
        may_abstain: by agent; False where participation is certain.

    Raises:
        TypeError: if `env` is neither kind of environment.
        ValueError: if it lacks agents or spaces, the player function is for another number of
            agents, phi cannot extend an action space, or from `NullActions`.
    """

    def __init__(
        self,
        env: MultiAgentEnv | ParallelEnv | AECEnv,
        player_function: PlayerFunction | None = None,
        *,
        null_action: NullActionRule = "zero",
        reward_absent: bool | None = None,
        phi_is_action: bool = False,
        show_everyone: bool = False,
        seed: int | None = None,
    ) -> None:
        self.phi_is_action = phi_is_action
        self.show_everyone = show_everyone or phi_is_action
        self._expects_everyone = self.show_everyone
        super().__init__(WrappedEnv(env, show_everyone=self.show_everyone))
        self.observation_spaces = dict(self._wrapped.observation_spaces)
        self.action_spaces = dict(self._wrapped.action_spaces)
        self.base_observation_spaces = dict(self._wrapped.observation_spaces)
        self.base_action_spaces = dict(self._wrapped.action_spaces)
        self.player_function = player_function
        self._turns = Participants(player_function, self._wrapped)
        self.may_abstain = self._turns.may_abstain
        self.reward_absent = self._wrapped.is_one_by_one if reward_absent is None else reward_absent
        absentees = [agent for agent in self.possible_agents if self.may_abstain[agent]]
        self._late_rewards = LateRewards()
        self._null_actions = NullActions(
            null_action, self._wrapped.observation_spaces, self._wrapped.action_spaces, absentees
        )
        self._phi: dict[str, int] = {}
        for agent in absentees if phi_is_action else []:
            self._add_phi(agent)
        self._rng = np.random.default_rng()
        if seed is not None:
            self._set_seed(seed)

    def show_observed(self) -> None:
        """Show all whom `env` observes, from the next reset on, as recordings want it.

        `show_everyone` expects it of `env` that these are all live agents.
        """
        self.show_everyone = True
        self._wrapped.show_everyone()

    def phi_action(self, agent: str) -> int | None:
        """The action of `agent` that means phi; None where it has no such action."""
        return self._phi.get(agent)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """Begin an episode and play to the first round in which somebody participates.

        Args:
            seed: starts the streams of `env` and of the player function afresh, as two children of
                one SeedSequence. None: the streams continue.
            options: for `env`.

        Returns:
            Observations and infos, by agent.

        Raises:
            RuntimeError: if nobody participates in `MAX_IDLE_ROUNDS` rounds, of any episodes.
        """
        if seed is not None:
            self._set_seed(seed)
        self._begin(options)
        for _ in range(MAX_IDLE_ROUNDS):
            if self._shown:
                return self._show()
            if self._wrapped.live:
                self._play({})
            else:
                self._begin(options)
        raise RuntimeError(
            f"nobody participated in {MAX_IDLE_ROUNDS} rounds, expected some agent to have a turn: "
            f"check the player function"
        )

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play a round: observations, rewards, terminateds, truncateds and infos, by agent.

        `action_dict` holds the actions of all participants; those of other agents are ignored.

        Raises:
            RuntimeError: if no episode is running.
            ValueError: if an agent is unknown, a participant's action is missing, or `env` gives
                no observation where one is needed.
        """
        self._check_actions(action_dict)
        rewards = dict.fromkeys(self._shown, 0.0)
        earning = self._wrapped.live if self.reward_absent else self._participants
        shown, played = self._shown, self._round
        view = self._play(action_dict)
        rewards.update({agent: float(view.rewards.get(agent, 0.0)) for agent in earning})
        for agent in earning:
            if agent not in shown:
                self._late_rewards.paid(agent, played, rewards[agent])
        over = not self._wrapped.live
        reported = self._report(view)
        observations, infos = self._show()
        for agent, ending in reported.items():
            if ending.observation is not None:
                observations[agent], infos[agent] = ending.observation, ending.info
        # Once all its agents have flags of their own, even if these are all truncations, RLlib's
        # `MultiAgentEpisode.add_env_step` calls the episode, and with it every agent, terminated.
        # So "__all__" alone tells the truncations of the last round. It also truncates the agents
        # that terminate in this round, but these stay terminated, and that decides for learners.
        truncated = over and any(ending.truncated for ending in reported.values())
        terminateds = {agent: True for agent, ending in reported.items() if not ending.truncated}
        truncateds = {agent: True for agent in reported if not over and agent not in terminateds}
        terminateds["__all__"], truncateds["__all__"] = over and not truncated, truncated
        present = {*self._wrapped.live, *view.truncated, *reported}
        self.agents = [agent for agent in self.possible_agents if agent in present]
        return observations, rewards, terminateds, truncateds, infos

    def _seed_stream(self, seed: np.random.SeedSequence) -> None:
        self._rng = np.random.default_rng(seed)

    def _stream_state(self) -> dict[str, Any]:
        return {"generator": copy.deepcopy(self._rng.bit_generator.state)}

    def _continue_stream(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])

    def _begin(self, options: dict[str, Any] | None) -> None:
        view = self._wrapped.reset(self._env_seed, options)
        self._env_seed = None
        self._round = 0
        self._null_actions.reset()
        self._late_rewards.reset()
        self._met: set[str] = set()  # those who were shown something, and no ending yet
        self._untold: dict[str, _Ending] = {}
        self._observe(view, self._turns.first(view, self._rng))

    def _play(self, actions: Mapping[str, Any]) -> WorldView:
        executed = {
            agent: self._executed(agent, actions)
            for agent in self._wrapped.live
            if agent in self._view.observations
        }
        view = self._wrapped.step(executed)
        self._round += 1
        self._observe(view, self._turns.next(view, executed) if self._wrapped.live else [])
        return view

    def _executed(self, agent: str, actions: Mapping[str, Any]) -> Any:
        action = actions[agent] if agent in self._participants else None
        if action is None or (agent in self._phi and int(action) == self._phi[agent]):
            action = self._null_actions.of(agent, self._view.observations[agent])
        self._null_actions.executed(agent, action)
        return action

    def _observe(self, view: WorldView, participants: list[str]) -> None:
        """Turn to the round about to be played: who acts in it, and who is shown it."""
        self._view = view
        self._participants = participants
        live = self._wrapped.live
        observed = [agent for agent in live if agent in view.observations]
        self._shown = observed if self.show_everyone else participants
        self.agents = list(live)
        hidden = [agent for agent in live if agent in self._met and agent not in observed]
        if self._expects_everyone and hidden:
            raise ValueError(
                f"{hidden} are alive but not observed in round {self._round}, expected all for "
                f"show_everyone or phi_is_action: tell turns by infos[agent]['participates']"
            )

    def _show(self) -> ResetResult:
        observations = {agent: self._observation(agent) for agent in self._shown}
        infos = {agent: self._info(agent, agent in self._participants) for agent in self._shown}
        self._met.update(self._shown)
        for agent in self._shown:
            self._late_rewards.acted(agent, self._round)
        return observations, infos

    def _report(self, view: WorldView) -> dict[str, _Ending]:
        """The endings that RLlib is told in this step."""
        for agent, truncated in view.truncated.items():
            if agent not in self._met:
                continue
            observation = self._observation(agent) if agent in view.observations else None
            if truncated and observation is None:
                raise ValueError(
                    f"agent {agent!r} was truncated after round {self._round - 1} without a final "
                    f"observation, expected one of every agent that has acted: let env give it"
                )
            self._untold[agent] = _Ending(observation, self._info(agent, False), truncated)
        told = dict(self._untold)
        # `MultiAgentEpisode.add_env_step` also calls an episode terminated when all agents that it
        # has met have ended, even if others have yet to appear. So one of them waits until RLlib
        # has met another agent.
        if self._wrapped.live and len(told) == len(self._met):
            told.popitem()
        for agent in told:
            del self._untold[agent]
            self._met.remove(agent)
        return told

    def _observation(self, agent: str) -> Any:
        observation = self._view.observations[agent]
        return observation_with_phi(observation) if agent in self._phi else observation

    def _info(self, agent: str, participates: bool) -> dict[str, Any]:
        info = self._view.infos.get(agent, {})
        told = {**info, "round": self._round, "participates": participates}
        late = self._late_rewards.of(agent)
        return {**told, LATE_REWARDS: late} if late else told

    def _add_phi(self, agent: str) -> None:
        extended = action_space_with_phi(agent, self.action_spaces[agent])
        self.action_spaces[agent] = extended
        self.observation_spaces[agent] = observation_space_with_phi(self.observation_spaces[agent])
        self._phi[agent] = int(extended.start + extended.n - 1)

    def _check_actions(self, actions: Mapping[str, Any]) -> None:
        if not self._wrapped.live:
            raise RuntimeError("no episode is running: call reset() before step()")
        unknown = [agent for agent in actions if agent not in self.possible_agents]
        missing = [agent for agent in self._participants if agent not in actions]
        if unknown or missing:
            raise ValueError(
                f"actions are for {list(actions)}, expected at least the participants "
                f"{self._participants} and nobody besides {self.possible_agents}"
            )
