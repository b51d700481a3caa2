"""Reward functions from files, as Algorithm 1 returns them (line 15); they need no Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from rllib_amagail.adversarial import REWARD_FORMS, RewardForm, reward_from_logits
from rllib_amagail.judge import JOINT, Judge
from rllib_amagail.learned_files import (
    Description,
    LearnedFileError,
    check_widths,
    module_path,
    read_index,
    read_network,
    read_networks,
    read_weights,
)
from rllib_amagail.learned_modules import LearnedModules
from rllib_amagail.observation_rows import observation_rows
from rllib_amagail.row_encoder import DISCRIMINATOR_INPUTS, RowEncoder
from rllib_amagail.spaces import ActionLayout, ObservationLayout

_PHI = ("filtered", "chosen", "executed")


@dataclass(frozen=True, eq=False)
class RewardNetwork:
    """The network of one module's reward, checked."""

    judge: Judge
    encoder: RowEncoder
    observations: ObservationLayout
    actions: ActionLayout
    form: RewardForm
    phi: str
    deviation: float  # of the rewards in training, by which they were divided; 1 if they were not
    provenance: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the JSON of a reward and the weights beside it.

        Raises:
            LearnedFileError: a file that is missing, too large, damaged, or not what it says.
        """
        return read_network(path, "reward", cls._of)

    @classmethod
    def _of(cls, description: Description) -> Self:
        model = description.model
        for name, allowed in (
            ("judged", DISCRIMINATOR_INPUTS),
            ("reward_form", REWARD_FORMS),
            ("phi", _PHI),
        ):
            if model[name] not in allowed:
                found = str(model[name])[:50]
                raise ValueError(f"found {name} {found!r}, expected one of {', '.join(allowed)}")
        discount = model["shaping_discount"]
        if discount is not None and not 0 <= _number("shaping_discount", discount) <= 1:
            raise ValueError(f"found shaping_discount {discount}, expected 0 to 1, or none")
        if not _number("reward_deviation", model["reward_deviation"]) > 0:
            raise ValueError(f"found reward_deviation {model['reward_deviation']}, expected > 0")
        spaces = description.observation_space, description.action_space
        encoder = RowEncoder(*spaces, model["judged"], discount)
        judge = Judge()
        with torch.device("meta"):  # the file says how large; nothing is allocated before it agrees
            judge.build(encoder, check_widths("hiddens", model["hiddens"]))
        shapes = {name: tuple(array.shape) for name, array in judge.state_dict().items()}
        arrays = read_weights(description, shapes)
        if not (arrays["input_scale"] > 0).all():
            raise LearnedFileError(f"{description.weights}: found input_scale <= 0, expected > 0")
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        judge.load_state_dict(weights, assign=True)
        return cls(
            judge=judge.requires_grad_(False),
            encoder=encoder,
            observations=ObservationLayout.from_space(spaces[0]),
            actions=ActionLayout.from_space(spaces[1]),
            form=model["reward_form"],
            phi=model["phi"],
            deviation=float(model["reward_deviation"]),
            provenance=description.provenance,
        )

    def rewards(
        self,
        features: torch.Tensor,
        actions: np.ndarray | None,
        later: torch.Tensor | None,
        discounts: torch.Tensor | None,
    ) -> torch.Tensor:
        """``[B]`` rewards, not divided by the deviation.

        Args:
            features: ``[B, D]``.
            actions: ``[B, ...]`` as `ActionLayout.encode` gives them; for "state_action".
            later: ``[B, D]`` of the next turn; for "state_pair" and shaped rewards.
            discounts: ``[B]`` of the next potential, for shaped rewards; None for g alone.
        """
        parts = [features]
        if self.encoder.judged == "state_action":
            assert actions is not None
            parts.append(torch.from_numpy(self.encoder.action_columns(actions)))
        elif self.encoder.judged == "state_pair":
            assert later is not None
            parts.append(later - features)
        if self.encoder.shaping_discount is not None:
            columns = torch.zeros(len(features), 2)  # discount and log pi(a|s), which is left out
            if discounts is not None:
                columns[:, 0] = discounts
            parts += [features if later is None else later, columns]
        rows = self.judge.standardise(torch.cat(parts, dim=1))
        if discounts is None:
            return reward_from_logits(self.judge.rewards_of_standardised(rows), self.form)
        return reward_from_logits(self.judge.shaped_rewards_of_standardised(rows), self.form)


class LearnedReward(LearnedModules[RewardNetwork]):
    """The reward functions of a folder that `export_learned` wrote, one per agent.

    Example:
        >>> reward = LearnedReward.load("imitated")  # doctest: +SKIP
        >>> reward.reward("agent_1", observations, actions)  # [B]  # doctest: +SKIP

    Attributes:
        agents: who has a reward.
        observation_spaces, action_spaces: by agent. Where phi was an ordinary action
            (``phi="chosen"`` or ``"executed"``) it is the last one.
        form: "gail", "airl" or "magail" (`reward_from_logits`).
        judged: what rewards are of: "state_action", "state" or "state_pair".
        is_shaped: whether there is a shaping term, which `reward` adds on request.
        provenance: by agent, where its reward comes from.
    """

    def __init__(self, networks: Mapping[str, RewardNetwork]) -> None:
        settings = {
            (net.form, net.encoder.judged, net.encoder.shaping_discount is not None)
            for net in networks.values()
        }
        if len(settings) != 1:
            raise ValueError(
                f"found rewards of the kinds {sorted(settings)}, expected one kind for all agents"
            )
        ((self.form, self.judged, self.is_shaped),) = settings
        super().__init__(networks)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read all rewards of a folder.

        Raises:
            LearnedFileError: a file that is missing, too large, damaged, or not what it says.
        """
        if JOINT not in read_index(folder).values() and _joint_path(folder).exists():
            raise LearnedFileError(
                f"{folder}: found one reward of joint rows, of all agents together, expected one "
                "per agent: use LearnedReward.load_joint"
            )
        networks = read_networks(folder, "reward", RewardNetwork.load)
        try:
            return cls(networks)
        except ValueError as error:
            raise LearnedFileError(f"{folder}: {error}") from error

    @classmethod
    def load_joint(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the reward that a discriminator of all agents gives (docs/discriminators.md).

        It is that of an "agent" called ``discriminator``, who observes joint rows ``[B, R]``; whose
        columns are where stands in its `provenance`.

        Raises:
            LearnedFileError: as `load`.
        """
        return cls({JOINT: RewardNetwork.load(_joint_path(folder))})

    def reward(
        self,
        agent: str,
        observation: Any,
        action: Any = None,
        *,
        next_observation: Any = None,
        participates: Any = None,
        shaped: bool = False,
        elapsed_rounds: Any = 1,
        terminated: Any = False,
        normalised: bool = True,
    ) -> Any:
        """The rewards of an agent's turns, as the learner relabelled them in training.

        Args:
            agent: who acted.
            observation: B of them, as the environment gives them or flat (`observation_rows`). A
                tensor, ``[B, F]``, ``[B, D]`` or of the space's shape, makes the rewards a tensor
                that can be differentiated by it.
            action: ``[B, ...]`` of the action space; not needed unless `judged` is "state_action".
            next_observation: what the agent saw at its next turn, or its final observation. For
                "state_pair", and for ``shaped=True``.
            participates: ``[B]`` bool, None for all. A row (s, phi) earns 0 where phi was filtered
                out; with ``phi="executed"`` its action counts as phi, and with ``"chosen"``
                nothing changes.
            shaped: add the shaping term: f instead of g (`Judge`).
            elapsed_rounds: ``[B]`` or one number, rounds to the next turn; for ``shaped=True``.
            terminated: ``[B]`` or one bool, the agent ended with this turn; for ``shaped=True``.
            normalised: divide by the rewards' deviation in training, if the learner did.

        Returns:
            ``[B]`` float32, a number for a single observation. A learner whose rewards are shaped
            adds ``-log pi(a|s)`` to f, which is no part of the reward function.

        Raises:
            ValueError: an unknown agent; shapes that do not fit; actions that are not in the space;
                something needed that is missing.
        """
        network = self.network(agent)
        features, is_single, in_kind = _features(network.observations, observation)
        acts = _flags("participates", participates, len(features))
        actions = self._actions(network, action, acts, len(features))
        later = self._later(network, next_observation, shaped, features)
        discounts = None
        if shaped:
            elapsed = np.broadcast_to(elapsed_rounds, len(features))
            powers = np.power(float(network.encoder.shaping_discount or 0.0), elapsed)
            ends = np.broadcast_to(terminated, len(features))
            discounts = torch.from_numpy(np.where(ends, 0.0, powers).astype(np.float32))
        rewards = network.rewards(features, actions, later, discounts)
        if normalised:
            rewards = rewards / network.deviation
        if network.phi == "filtered":
            rewards = torch.where(torch.from_numpy(acts), rewards, torch.zeros(()))
        rewards = rewards[0] if is_single else rewards
        return in_kind(rewards)

    def _actions(
        self, network: RewardNetwork, action: Any, acts: np.ndarray, rows: int
    ) -> np.ndarray | None:
        if self.judged != "state_action":
            return None
        if action is None:
            raise ValueError("found no action, expected some: these rewards are of (s, a)")
        layout = network.actions
        array = action.detach().cpu().numpy() if isinstance(action, torch.Tensor) else action
        array = np.asarray(array)
        if array.shape in (layout.shape, layout.space.shape):
            array = array[None]
        array = np.array(layout.encode(array))
        if len(array) != rows:
            raise ValueError(
                f"found {len(array)} actions for {rows} observations, expected as many"
            )
        if not layout.sizes:
            array = np.clip(array, layout.low, layout.high)
        if network.phi == "executed":
            array[~acts] = network.encoder.last_choice
        elif network.phi == "filtered":
            array[~acts] = layout.low if layout.shape else layout.low[0]  # whatever phi looked like
        layout.check(array, None, "actions")
        return array

    def _later(
        self, network: RewardNetwork, observation: Any, shaped: bool, features: torch.Tensor
    ) -> torch.Tensor | None:
        if shaped and not self.is_shaped:
            raise ValueError(
                "found shaped=True, but these rewards have no shaping term; expected rewards "
                "learned with reward_form='airl' and reward_shaping=True"
            )
        if not shaped and self.judged != "state_pair":
            return None
        if observation is None:
            raise ValueError("found no next_observation, expected what the agents saw next")
        later, _, _ = _features(network.observations, observation)
        if later.shape != features.shape:
            raise ValueError(
                f"found {len(later)} next observations for {len(features)} observations, expected "
                "as many"
            )
        return later


def _joint_path(folder: str | os.PathLike[str]) -> Path:
    return module_path(folder, "reward", JOINT)


def _features(layout: ObservationLayout, observation: Any) -> tuple[torch.Tensor, bool, Any]:
    """``[B, D]`` on the CPU, whether it is a single row, and what makes rewards of its kind."""
    if not isinstance(observation, torch.Tensor):
        features, _, is_single = observation_rows(layout, observation)
        return torch.from_numpy(features), is_single, lambda rewards: rewards.numpy()[()]
    size, device, shape = layout.feature_size, observation.device, layout.space.shape
    is_shaped = shape is not None and observation.shape in (shape, (len(observation), *shape))
    is_single = observation.ndim == (len(shape) if is_shaped and shape is not None else 1)
    flat = observation.reshape(1 if is_single else len(observation), -1).float().cpu()
    if flat.shape[1] not in (size, size + layout.mask_size):
        raise ValueError(
            f"found an observation tensor of shape {tuple(observation.shape)}, expected "
            f"[B, {size}] features"
        )
    return flat[:, :size], is_single, lambda rewards: rewards.to(device)


def _flags(name: str, flags: Any, rows: int) -> np.ndarray:
    if flags is None:
        return np.ones(rows, bool)
    array = np.atleast_1d(np.asarray(flags, bool))
    if array.shape != (rows,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({rows},)")
    return array


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e30:
        raise ValueError(f"found {name} {str(value)[:50]!r}, expected a number")
    return float(value)
