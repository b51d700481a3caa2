"""From RLlib episodes to arrays of turns: the first learner connector (Algorithm 1, line 2).

A *turn* is one row of one agent. What is known of a row besides RLlib's columns, its ``round`` (t)
and whether the agent ``participates`` (I_{i,t}), stands in the infos, where `TurnBasedEnv` writes
it, or as arrays ``rounds`` and ``participates`` in the agent episode's ``custom_data``, where
`BatchedEnvRunner` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.envs.late_rewards import LATE_REWARDS, discounted_difference
from rllib_amagail.learner.sequences import recorded_states, state_size
from rllib_amagail.spaces import ObservationLayout


@dataclass(frozen=True)
class TurnBatch:
    """The rows of one module: T turns in S agent episodes, one after the other.

    F is the width of a flat observation: features, then the action mask.
    """

    observations: np.ndarray  # [T, F] float32
    actions: np.ndarray  # [T, ...] as the policy chose them
    action_logp: np.ndarray  # [T]
    action_dist_inputs: np.ndarray  # [T, K]
    rewards: np.ndarray  # [T] the environment's, until the next turn
    rounds: np.ndarray  # [T] t
    participates: np.ndarray  # [T] I_{i,t}
    segment_starts: np.ndarray  # [S + 1] row offsets of the agent episodes
    final_observations: np.ndarray  # [S, F]
    final_rounds: np.ndarray  # [S]
    terminated: np.ndarray  # [S]; elsewhere the value of the final observation bootstraps
    agents: np.ndarray  # [S] whose episode it is
    games: np.ndarray  # [S] id of the multi-agent episode; its chunks have the same
    others: np.ndarray | None = None  # [T, J] what a joint critic sees of the other agents
    final_others: np.ndarray | None = None  # [S, J]
    learned_rewards: np.ndarray | None = None  # [T] where a joint discriminator has judged
    states: np.ndarray | None = None  # [T, ...] with which a recurrent policy's turns begin
    final_states: np.ndarray | None = None  # [S, ...] after the latest ones

    ROW_FIELDS = (
        "observations",
        "actions",
        "action_logp",
        "action_dist_inputs",
        "rewards",
        "rounds",
        "participates",
        "others",
        "learned_rewards",
        "states",
    )

    def __post_init__(self) -> None:
        rows, episodes = len(self), len(self.segment_starts) - 1
        for field in fields(self):
            expected = rows if field.name in self.ROW_FIELDS else episodes
            expected += field.name == "segment_starts"
            column = getattr(self, field.name)
            found = expected if column is None else len(column)
            if found != expected:
                raise ValueError(f"TurnBatch.{field.name} has {found} rows, expected {expected}")

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def elapsed_rounds(self) -> np.ndarray:
        """``[T]`` rounds to the agent's next turn, or to its final observation."""
        next_rounds = np.append(self.rounds[1:], 0)
        next_rounds[self.segment_starts[1:] - 1] = self.final_rounds
        return next_rounds - self.rounds

    @property
    def next_observations(self) -> np.ndarray:
        """``[T, F]`` what the agent sees at its next turn, or its final observation."""
        shifted = np.roll(self.observations, -1, axis=0)
        shifted[self.segment_starts[1:] - 1] = self.final_observations
        return shifted

    @property
    def has_next_turn(self) -> np.ndarray:
        """``[T]`` whether another turn of the same agent episode follows."""
        follows = np.ones(len(self), bool)
        follows[self.segment_starts[1:] - 1] = False
        return follows

    @property
    def phi_share(self) -> float:
        """Share of the agent's rounds, from its first row on, in which it did not participate."""
        return 1.0 - float(self.participates.sum() / self.elapsed_rounds.sum())

    def select(self, episodes: slice) -> TurnBatch:
        """The batch of some of the S agent episodes, with all their rows."""
        chosen = np.zeros(len(self.segment_starts) - 1, bool)
        chosen[episodes] = True
        lengths = np.diff(self.segment_starts)
        rows = np.repeat(chosen, lengths)
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            kept = rows if field.name in self.ROW_FIELDS else chosen
            if field.name == "segment_starts":
                columns[field.name] = np.concatenate([[0], np.cumsum(lengths[chosen])])
            else:
                columns[field.name] = None if column is None else column[kept]
        return TurnBatch(**columns)

    def keep_rows(self, keep: np.ndarray, rewards: np.ndarray) -> TurnBatch:
        """A batch of the rows where ``keep`` (``[T]`` bool), with ``rewards`` (``[T]``) instead.

        Agent episodes that lose all their rows are dropped, and what depends on all rows: what a
        joint critic sees and a joint discriminator found.

        Raises:
            ValueError: rows of a recurrent policy, whose states depend on all rows.
        """
        if self.states is not None:
            raise ValueError(
                f"found {int((~keep).sum())} of {len(keep)} rows to drop in which agents "
                f"{sorted(set(self.agents))} did not participate, but their recurrent policy has "
                "stepped in them, too; expected an environment that shows agents their own turns "
                "only: TurnBasedEnv with show_everyone=False"
            )
        kept = {
            name: getattr(self, name)[keep]
            for name in self.ROW_FIELDS
            if name not in ("rewards", "others", "learned_rewards", "states")
        }
        starts = np.concatenate([[0], np.cumsum(keep)])[self.segment_starts]
        alive = np.diff(starts) > 0
        return replace(
            self,
            **kept,
            rewards=rewards[keep],
            segment_starts=np.append(starts[:-1][alive], starts[-1]),
            final_observations=self.final_observations[alive],
            final_rounds=self.final_rounds[alive],
            terminated=self.terminated[alive],
            agents=self.agents[alive],
            games=self.games[alive],
            others=None,
            final_others=None,
            learned_rewards=None,
        )


class EpisodesToTurns(ConnectorV2):
    """Fills the batch with one `TurnBatch` per module that acted, in sorted order of the modules.

    Sorted, because every learner process must iterate over the modules in the same order.

    Args:
        gammas: discount of a round by module, for rewards that came between turns. Modules that
            are left out are credited with the plain sum.
    """

    def __init__(
        self, *args: Any, gammas: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._gammas = dict(gammas or {})

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
        segments: dict[str, list[SingleAgentEpisode]] = defaultdict(list)
        rounds: dict[int, np.ndarray] = {}
        for episode in episodes:
            for agent_episode in agent_episodes(episode):
                if len(agent_episode) > 0:
                    segments[agent_episode.module_id].append(agent_episode)
                    rounds[id(agent_episode)] = observation_rounds(agent_episode, episode)
        for module_id in sorted(segments):
            module = rl_module[module_id]
            layout = ObservationLayout.from_space(module.observation_space)
            gamma = self._gammas.get(module_id, 1.0)
            turns = _stack(segments[module_id], rounds, layout, gamma)
            if module.is_stateful():
                size = state_size(module.get_initial_state())
                states, final_states = recorded_states(segments[module_id], size)
                turns = replace(turns, states=states, final_states=final_states)
            batch[module_id] = turns
        return batch


def agent_episodes(episode: EpisodeType) -> list[SingleAgentEpisode]:
    """The agents' episodes in a fixed order; RLlib's own is that of a set."""
    if isinstance(episode, MultiAgentEpisode):
        return [episode.agent_episodes[agent] for agent in sorted(episode.agent_episodes)]
    return [episode]


def observation_rounds(agent_episode: SingleAgentEpisode, episode: EpisodeType) -> np.ndarray:
    """``[L + 1]`` round of each observation, the final one included."""
    if "rounds" in agent_episode.custom_data:
        return agent_episode.custom_data["rounds"]
    infos = agent_episode.get_infos()
    if all("round" in info for info in infos):
        return np.array([info["round"] for info in infos], np.int64)
    if isinstance(episode, MultiAgentEpisode) and episode.env_t_started == 0:
        # A turn-based environment of RLlib's own kind: its step count is the round.
        steps = episode.env_t_to_agent_t[agent_episode.agent_id].data
        rounds = [t for t, k in enumerate(steps) if k != MultiAgentEpisode.SKIP_ENV_TS_TAG]
        if len(rounds) == len(agent_episode) + 1:
            return np.array(rounds, np.int64)
    raise ValueError(
        f"the rounds of agent {agent_episode.agent_id!r} cannot be told: its infos have no "
        "'round', and its episode was cut. Wrap the environment in rllib_amagail.TurnBasedEnv, "
        "which records them, or sample with batch_mode='complete_episodes'."
    )


def participation(agent_episode: SingleAgentEpisode) -> np.ndarray:
    """``[L]`` whether the agent's action was carried out."""
    if "participates" in agent_episode.custom_data:
        return agent_episode.custom_data["participates"]
    return np.array([info.get("participates", True) for info in agent_episode.get_infos()[:-1]])


def credited_rewards(agent_episode: SingleAgentEpisode, gamma: float) -> np.ndarray:
    """``[L]`` what each turn earned until the next one: ``sum_k gamma^k r_{t+k}``.

    RLlib's own sum is plain; the infos of `TurnBasedEnv` tell which rewards came late, and batched
    runners what discounting changes.
    """
    rewards, told = agent_episode.get_rewards(), agent_episode.custom_data
    if gamma == 1.0:
        return rewards
    if "rounds" in told:
        return rewards + told["discounts"] if "discounts" in told else rewards
    rewards = np.array(rewards, dtype=np.float64)
    infos = agent_episode.get_infos()[1:]  # of the observations that follow the turns
    late = {k: info[LATE_REWARDS] for k, info in enumerate(infos) if LATE_REWARDS in info}
    for turn, earned in late.items():
        rewards[turn] += discounted_difference(earned, gamma)
    return rewards


def _stack(
    agent_episodes: Sequence[SingleAgentEpisode],
    rounds: Mapping[int, np.ndarray],
    layout: ObservationLayout,
    gamma: float,
) -> TurnBatch:
    lengths = np.array([len(e) for e in agent_episodes])
    observations = flat_rows(layout, _concatenate([e.get_observations() for e in agent_episodes]))
    observation_rounds = np.concatenate([rounds[id(e)] for e in agent_episodes])
    is_final = np.zeros(len(observations), bool)
    is_final[np.cumsum(lengths + 1) - 1] = True

    def column(name: str) -> np.ndarray:
        return np.concatenate([e.get_extra_model_outputs(name) for e in agent_episodes])

    return TurnBatch(
        observations=observations[~is_final],
        actions=np.concatenate([e.get_actions() for e in agent_episodes]),
        action_logp=column(Columns.ACTION_LOGP).astype(np.float32),
        action_dist_inputs=column(Columns.ACTION_DIST_INPUTS).astype(np.float32),
        rewards=np.concatenate([credited_rewards(e, gamma) for e in agent_episodes]).astype(
            np.float32
        ),
        rounds=observation_rounds[~is_final],
        participates=np.concatenate([participation(e) for e in agent_episodes]),
        segment_starts=np.concatenate([[0], np.cumsum(lengths)]),
        final_observations=observations[is_final],
        final_rounds=observation_rounds[is_final],
        terminated=np.array([e.is_terminated for e in agent_episodes]),
        agents=np.array([e.agent_id for e in agent_episodes], object),
        games=np.array([e.multi_agent_episode_id or e.id_ for e in agent_episodes], object),
    )


def flat_rows(layout: ObservationLayout, observations: Any) -> np.ndarray:
    """``[K, F]`` rows; those of `PooledWorlds` are flat already, whatever the space."""
    width = layout.feature_size + layout.mask_size
    if isinstance(observations, np.ndarray) and observations.shape[1:] == (width,):
        return observations.astype(np.float32)
    return layout.flatten(observations)


def _concatenate(batches: Sequence[Any]) -> Any:
    """Concatenate batched observations along the rows, whatever their nesting."""
    first = batches[0]
    if isinstance(first, Mapping):
        return {key: _concatenate([b[key] for b in batches]) for key in first}
    if isinstance(first, tuple):
        return tuple(_concatenate(parts) for parts in zip(*batches, strict=True))
    return np.concatenate(batches)
