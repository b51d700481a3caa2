"""The demonstrations Z beside a learner: expert rows of one policy module (Algorithm 1, line 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns

from rllib_amagail.demonstrations import AgentRecord, Demonstrations, DemonstrationsError
from rllib_amagail.learner.sequences import SEQUENCE_STARTS, rows_of_sequences
from rllib_amagail.row_encoder import DiscriminatorInputs, RowEncoder

Phi = Literal["filtered", "chosen", "executed"]
PHI_MODES: tuple[str, ...] = get_args(Phi)
_HELD = "_held_on_device"


@dataclass(frozen=True)
class ExpertRows:
    """K expert rows that one module learns from, of all agents mapped to it."""

    observations: np.ndarray  # [K, F] float32, features then action mask
    actions: np.ndarray | None  # [K, ...] in the module's action space; None: not recorded
    inputs: np.ndarray  # [K', R] discriminator rows; K' < K if they need s'
    is_judged: np.ndarray  # [K] bool, from which of the K rows they are
    starts: np.ndarray | None = None  # [K] bool, the first row of an agent in an episode

    def __len__(self) -> int:
        return len(self.observations)

    def draw(
        self,
        size: int,
        rng: np.random.Generator,
        device: torch.device,
        whole_episodes: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Columns of ``size`` rows, drawn at random and with replacement; see `take`.

        Args:
            size: rows. Of whole episodes as many as have so many rows on average.
            rng: draws them.
            device: where they are wanted.
            whole_episodes: draw episodes of an agent, with all their rows in order.
        """
        if not whole_episodes:
            return self.take(rng.integers(len(self), size=size), device)
        assert self.starts is not None
        first_rows = np.flatnonzero(self.starts)
        count = max(1, round(size * len(first_rows) / len(self)))
        drawn = rows_of_sequences(first_rows, len(self), rng.integers(len(first_rows), size=count))
        return self.take(drawn, device, as_sequences=True)

    def take(
        self, rows: np.ndarray, device: torch.device, as_sequences: bool = False
    ) -> dict[str, torch.Tensor]:
        """Observations and actions of some rows, on ``device``.

        Another device than the CPU gets all rows at the first call and picks among them itself.

        Args:
            rows: their indices.
            device: where they are wanted.
            as_sequences: also tell where episodes begin, for recurrent policies.
        """
        assert self.actions is not None
        names = (Columns.OBS, Columns.ACTIONS)
        columns: dict[str, torch.Tensor]
        if device.type == "cpu":
            arrays = (self.observations, self.actions)
            columns = {n: torch.from_numpy(a[rows]) for n, a in zip(names, arrays, strict=True)}
        else:
            held = vars(self).get(_HELD)
            if held is None or held[0].device != device:
                held = [torch.tensor(c, device=device) for c in (self.observations, self.actions)]
                object.__setattr__(self, _HELD, held)
            picked = torch.tensor(rows, device=device)
            columns = {name: column[picked] for name, column in zip(names, held, strict=True)}
        if as_sequences:
            assert self.starts is not None
            columns[SEQUENCE_STARTS] = torch.tensor(self.starts[rows], device=device)
        return columns

    @classmethod
    def collect(
        cls,
        demonstrations: Demonstrations,
        agents: Sequence[str],
        observation_space: gym.Space,
        action_space: gym.Space,
        phi: Phi,
        judged: DiscriminatorInputs = "state_action",
        shaping_discount: float | None = None,
    ) -> ExpertRows:
        """The rows of ``agents`` for a module with these spaces.

        With ``phi="filtered"`` rows (s, phi) are dropped (line 5). Otherwise phi is an ordinary
        action, the last one of a space that has one action more than the demonstrations'.

        Pairs (s, s') and shaping terms join an agent's successive turns (rows, if phi is an
        action). The last row of an episode has no partner: the observation after it is not
        recorded. Shaped rows have log probabilities of 0, to be filled in.

        Raises:
            DemonstrationsError: the agents have no turn; phi is to be an action, but the
                demonstrations hold turns only, or the module's space has no action for it; actions
                or pairs are to be judged, but there are none.
        """
        how = (observation_space, action_space, phi, judged, shaping_discount)
        rows = cls.gather(demonstrations, agents, *how)
        return cls._checked(rows, agents, demonstrations.num_episodes)

    @classmethod
    def gather(
        cls,
        demonstrations: Demonstrations,
        agents: Sequence[str],
        observation_space: gym.Space,
        action_space: gym.Space,
        phi: Phi,
        judged: DiscriminatorInputs = "state_action",
        shaping_discount: float | None = None,
    ) -> ExpertRows | None:
        """As `collect`, but agents without a turn give None, and there may be nothing to judge."""
        check_judged(demonstrations, judged, shaping_discount is not None)
        encoder = RowEncoder(observation_space, action_space, judged, shaping_discount)
        parts = []
        for agent in agents:
            record, observations, actions = agent_rows(demonstrations, agent, action_space, phi)
            if len(observations) == 0:
                continue
            inputs, is_judged = _judged(encoder, record, observations, actions)
            starts = np.diff(record.episode, prepend=-1) != 0
            parts.append(cls(observations, actions, inputs, is_judged, starts))
        return cls._concatenate(parts) if parts else None

    @classmethod
    def join(
        cls, parts: Sequence[ExpertRows], agents: Sequence[str], num_episodes: int
    ) -> ExpertRows:
        """The rows of ``parts``, one after the other.

        Args:
            parts: rows of the same agents.
            agents, num_episodes: where the rows are from, for errors.

        Raises:
            DemonstrationsError: no rows, or nothing to judge.
        """
        return cls._checked(cls._concatenate(parts) if parts else None, agents, num_episodes)

    @classmethod
    def _checked(
        cls, rows: ExpertRows | None, agents: Sequence[str], num_episodes: int
    ) -> ExpertRows:
        if rows is None:
            raise DemonstrationsError(
                f"agents {list(agents)} have no turn in {num_episodes} episodes; "
                "expected one or more. Use more episodes, here and for every learner"
            )
        if len(rows.inputs) == 0:
            raise DemonstrationsError(
                f"agents {list(agents)} have no two turns in one episode; expected some, because "
                "discriminator_inputs is 'state_pair' or reward_shaping is True. Record longer "
                "episodes, or set 'state' and reward_shaping=False"
            )
        return rows

    @classmethod
    def _concatenate(cls, parts: Sequence[ExpertRows]) -> ExpertRows:
        return cls(*(_join([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def check_judged(
    demonstrations: Demonstrations, judged: DiscriminatorInputs, shaped: bool = False
) -> None:
    """Raise DemonstrationsError unless the demonstrations hold what is to be judged."""
    if shaped and not demonstrations.has_actions:
        raise DemonstrationsError(
            "the demonstrations have no actions, but reward_shaping is True, which needs their "
            "probabilities; set reward_shaping=False"
        )
    if shaped and demonstrations.turns_kept_every > 1:
        raise DemonstrationsError(
            f"one turn in {demonstrations.turns_kept_every} was kept, so what an agent saw next is "
            "not known, but reward_shaping is True; set it to False, or use whole episodes"
        )
    if judged == "state_action" and not demonstrations.has_actions:
        raise DemonstrationsError(
            "the demonstrations have no actions, but discriminator_inputs is 'state_action'; "
            "set 'state' or 'state_pair' to imitate from observation alone"
        )
    if judged == "state_pair" and demonstrations.turns_kept_every > 1:
        raise DemonstrationsError(
            f"one turn in {demonstrations.turns_kept_every} was kept, so what an agent saw next is "
            "not known, but discriminator_inputs is 'state_pair'; set 'state_action' or 'state', "
            "or use whole episodes"
        )


def _judged(
    encoder: RowEncoder, record: AgentRecord, observations: np.ndarray, actions: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Discriminator rows ``[K', R]`` of K rows, and ``[K]`` bool: which they are."""
    later = np.roll(observations, -1, axis=0)
    inputs = encoder.encode(observations, actions, later)
    keep = np.ones(len(inputs), bool)
    if encoder.joins_turns:
        keep[:-1] = record.episode[1:] == record.episode[:-1]
        keep[-1] = False
    if encoder.shaping_discount is not None:
        elapsed = np.where(keep, np.roll(record.round, -1) - record.round, 1)
        never, unknown = np.zeros((2, len(inputs)))
        inputs = encoder.append_shaping(inputs, later, elapsed, never.astype(bool), unknown)
    return inputs[keep], keep


def _join(parts: Sequence[np.ndarray | None]) -> Any:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def agent_rows(
    demonstrations: Demonstrations, agent: str, action_space: gym.Space, phi: Phi
) -> tuple[AgentRecord, np.ndarray, np.ndarray | None]:
    """The rows of an agent that are learned from.

    Returns:
        Their record; ``[K, F]`` observations, features and then the mask; ``[K, ...]`` actions of
        ``action_space``, or None if they were not recorded.

    Raises:
        DemonstrationsError: phi is to be an action; see `ExpertRows.collect`.
    """
    record = demonstrations.records[agent]
    if phi == "filtered":
        record = record.turns()
        return record, *_rows(record)
    return record, *_rows_with_phi(agent, record, demonstrations, action_space)


def _rows(record: AgentRecord) -> tuple[np.ndarray, np.ndarray | None]:
    mask = record.action_mask
    observations = record.observation
    if mask is not None:
        observations = np.concatenate([observations, mask.astype(np.float32)], axis=1)
    return observations, record.action


def _rows_with_phi(
    agent: str, record: AgentRecord, demonstrations: Demonstrations, action_space: gym.Space
) -> tuple[np.ndarray, np.ndarray | None]:
    observations, actions = _rows(record)
    recorded = demonstrations.action_spaces[agent]
    if action_space == recorded:  # the environment says that this agent never abstains
        if not record.participates.all():
            raise DemonstrationsError(
                f"agent {agent!r} has {int((~record.participates).sum())} rows (s, phi), but its "
                f"action space {action_space} has no phi; expected an environment with "
                "phi_is_action=True, or demonstrations of the same player function"
            )
        return observations, actions
    if record.participates.all():
        raise DemonstrationsError(
            f"agent {agent!r} has no rows (s, phi) in the demonstrations, but phi is to be an "
            "ordinary action; expected a dense recording. Record every round, or set "
            "phi='filtered'"
        )
    if record.action_mask is not None:  # phi is always allowed
        allowed = np.ones((len(observations), 1), np.float32)
        observations = np.concatenate([observations, allowed], axis=1)
    if actions is None:
        return observations, None
    return observations, np.where(record.participates, actions, action_space.n - 1)
