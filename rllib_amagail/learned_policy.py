"""Policies from files: functions of observations that need neither Ray nor torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from rllib_amagail.evaluation import Policy, sample_softmax
from rllib_amagail.learned_files import (
    Description,
    LearnedFileError,
    check_widths,
    linear_shapes,
    read_network,
    read_networks,
    read_weights,
)
from rllib_amagail.learned_modules import LearnedModules
from rllib_amagail.observation_rows import observation_rows
from rllib_amagail.spaces import ActionLayout, ObservationLayout

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda inputs: np.maximum(inputs, 0.0),
    "linear": lambda inputs: inputs,
}
_ENCODER = "encoder.actor_encoder.net.mlp.{}"
_SHARED_ENCODER = "encoder.encoder.net.mlp.{}"
_HEAD = "pi.net.mlp.0"
_FREE_DEVIATION = "pi.log_std"  # where deviations do not depend on the observation
_CONSTANT = "pi.log_std_clip_param_const"  # RLlib's, on all policies; only Gaussians read it


@dataclass(frozen=True)
class PolicyNetwork:
    """The network of one module, checked, in float64.

    In float64, machines that round differently agree on every action but for events of a chance
    around 1e-15, so a recording is the same everywhere.
    """

    name: str
    observations: ObservationLayout
    actions: ActionLayout  # phi, where policies choose it, is the last action
    activation: str
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # weights [in, out], biases [out]
    free_log_deviation: np.ndarray | None  # [d]
    largest_log_deviation: float
    rescales: bool  # RLlib's normalize_actions: Box actions in [-1, 1] become those of the bounds
    clips: bool  # RLlib's clip_actions
    provenance: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the JSON of a policy and the weights beside it.

        Raises:
            LearnedFileError: a file that is missing, too large, damaged, or not what it says.
        """
        return read_network(path, "policy", cls._of)

    @classmethod
    def _of(cls, description: Description) -> Self:
        model = description.model
        observations = ObservationLayout.from_space(description.observation_space)
        actions = ActionLayout.from_space(description.action_space)
        is_free = not actions.sizes and bool(model.get("free_log_std"))
        outputs = sum(actions.sizes) or (actions.low.size * (1 if is_free else 2))
        if observations.mask_size not in (0, sum(actions.sizes)):
            raise ValueError(
                f"found a mask of {observations.mask_size} for {actions.space}, expected "
                f"{sum(actions.sizes)} entries"
            )
        hiddens = check_widths("fcnet_hiddens", model["fcnet_hiddens"])
        if not isinstance(model["fcnet_activation"], str) or (
            model["fcnet_activation"] not in _ACTIVATIONS
        ):
            raise ValueError(
                f"found fcnet_activation {str(model['fcnet_activation'])[:50]!r}, expected one of "
                f"{', '.join(_ACTIVATIONS)}"
            )
        # RLlib numbers layers and activations in one row.
        encoder = _SHARED_ENCODER if model["vf_share_layers"] else _ENCODER
        names = [encoder.format(2 * layer) for layer in range(len(hiddens))] + [_HEAD]
        shapes = linear_shapes(names, [observations.feature_size, *hiddens, outputs])
        if is_free:
            shapes[_FREE_DEVIATION] = (outputs,)
        arrays = read_weights(description, shapes, [_CONSTANT])
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        return cls(
            name=description.path.stem,
            observations=observations,
            actions=actions,
            activation=model["fcnet_activation"],
            layers=tuple((wide[f"{name}.weight"].T, wide[f"{name}.bias"]) for name in names),
            free_log_deviation=wide.get(_FREE_DEVIATION),
            largest_log_deviation=float(wide.get(_CONSTANT, np.array([20.0]))[0]),
            rescales=bool(model.get("normalize_actions", False)),
            clips=bool(model.get("clip_actions", False)),
            provenance=description.provenance,
        )

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """``[B, K]`` parameters of the action distribution, of features ``[B, D]``."""
        activate = _ACTIVATIONS[self.activation]
        outputs = features.astype(np.float64)
        for weight, bias in self.layers[:-1]:
            outputs = activate(outputs @ weight + bias)
        return outputs @ self.layers[-1][0] + self.layers[-1][1]

    def logits(self, features: np.ndarray, mask: np.ndarray | None) -> list[np.ndarray]:
        """``[B, n]`` logits of each component of Discrete or MultiDiscrete actions.

        Raises:
            ValueError: a row of ``mask`` (``[B, M]`` bool) that allows nothing.
        """
        logits = self.outputs(features)
        cuts = np.cumsum(self.actions.sizes)[:-1]
        if mask is not None:
            for part in np.split(mask, cuts, axis=1):
                if not (allows := part.any(axis=1)).all():
                    row = int(np.argmin(allows))
                    raise ValueError(
                        f"the mask of row {row} allows no action, expected one or more"
                    )
            logits = np.where(mask, logits, np.finfo(np.float64).min)
        return np.split(logits, cuts, axis=1)

    def probabilities(self, features: np.ndarray, mask: np.ndarray | None) -> list[np.ndarray]:
        """``[B, n]`` of each component; raises as `logits`."""
        powers = [
            np.exp(part - part.max(axis=1, keepdims=True)) for part in self.logits(features, mask)
        ]
        return [part / part.sum(axis=1, keepdims=True) for part in powers]

    def choose(
        self, features: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator | None
    ) -> np.ndarray:
        """Actions ``[B, ...]`` of the space: drawn with ``rng``, or the likeliest without."""
        if not self.actions.sizes:
            return self._continuous(self.outputs(features), rng)
        parts = [
            part.argmax(axis=1) if rng is None else sample_softmax(part, rng)
            for part in self.logits(features, mask)
        ]
        chosen = np.stack(parts, axis=1) + self.actions.low
        return chosen.reshape(len(chosen), *self.actions.space.shape)

    def _continuous(self, outputs: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Gaussian actions, as RLlib's runners hand them to the environment."""
        means, low, high = outputs, self.actions.low, self.actions.high
        deviations = self.free_log_deviation
        if deviations is None:
            means, deviations = np.split(outputs, 2, axis=1)
        chosen = means
        if rng is not None:
            limit = self.largest_log_deviation
            noise = rng.standard_normal(means.shape)
            chosen = means + np.exp(np.clip(deviations, -limit, limit)) * noise
        if self.rescales and np.isfinite([low, high]).all():
            chosen = low + (chosen + 1.0) * (high - low) / 2.0
        if self.rescales or self.clips:
            chosen = np.clip(chosen, low, high)
        space = self.actions.space
        return chosen.reshape(len(chosen), *(space.shape or ())).astype(space.dtype)


class LearnedPolicy(LearnedModules[PolicyNetwork]):
    """The policies of a folder that `export_learned` wrote, one per agent.

    Example:
        >>> policy = LearnedPolicy.load("imitated")  # doctest: +SKIP
        >>> policy.act("agent_1", observation, rng=np.random.default_rng(0))  # doctest: +SKIP

    Attributes:
        agents: who has a policy.
        observation_spaces, action_spaces: by agent. Policies that choose phi themselves
            (``phi="chosen"``) have one action more than the game: the last means phi.
        provenance: by agent, where its policy comes from.
    """

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read all policies of a folder.

        Raises:
            LearnedFileError: a file that is missing, too large, damaged, or not what it says.
        """
        return cls(read_networks(folder, "policy", PolicyNetwork.load))

    def act(
        self,
        agent: str,
        observation: Any,
        mask: Any = None,
        *,
        rng: np.random.Generator | None = None,
        deterministic: bool = False,
    ) -> Any:
        """An agent's action, or a batch of them.

        Args:
            agent: who acts.
            observation: one or a batch, as the environment gives them or flat (`observation_rows`).
            mask: ``[M]`` or ``[B, M]``, nonzero where an action is legal, beside what the
                observation itself says of it.
            rng: draws the action from the policy.
            deterministic: the likeliest action (Box: the mean) instead; then no ``rng``.

        Returns:
            One action of the action space for one observation, else ``[B, ...]``.

        Raises:
            ValueError: an unknown agent; shapes that do not fit; a mask without a legal action;
                neither or both of ``rng`` and ``deterministic``.
        """
        if deterministic == (rng is not None):
            raise ValueError(
                f"found deterministic={deterministic} and rng={rng}; expected either "
                "rng=np.random.default_rng(seed), to draw actions, or deterministic=True"
            )
        network = self.network(agent)
        features, allowed, is_single = _look(network, observation, mask)
        chosen = network.choose(features, allowed, rng)
        return chosen[0] if is_single else chosen

    def action_probabilities(self, agent: str, observation: Any, mask: Any = None) -> Any:
        """``[A]`` or ``[B, A]`` float64; for MultiDiscrete actions a tuple of one per component.

        Args:
            agent, observation, mask: as of `act`.

        Raises:
            ValueError: as of `act`, and for Box actions, which have densities.
        """
        network = self.network(agent)
        if not network.actions.sizes:
            raise ValueError(
                f"agent {agent!r} acts in {network.actions.space}, which has no probabilities; "
                "act(deterministic=True) gives the mean"
            )
        features, allowed, is_single = _look(network, observation, mask)
        found = network.probabilities(features, allowed)
        parts = tuple(part[0] if is_single else part for part in found)
        return parts if network.actions.shape else parts[0]


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read the policy of one module with Discrete actions, as a plain function.

    Args:
        path: its JSON file; the weights lie beside it.

    Returns:
        A function of flat observations ``[B, F]`` (features, then the mask of actions where the
        space has one) and a generator, which draws actions ``[B]`` from the policy.

    Raises:
        LearnedFileError: a file that is missing, too large, damaged, or not what the JSON says.
    """
    network = PolicyNetwork.load(path)
    if network.actions.shape != () or not network.actions.sizes:
        raise LearnedFileError(
            f"{path}: found actions in {network.actions.space}, expected a Discrete space; "
            "LearnedPolicy takes all"
        )
    layout = network.observations
    width = layout.feature_size + layout.mask_size

    def act(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if observations.ndim != 2 or observations.shape[1] != width:
            raise ValueError(
                f"observations have shape {observations.shape}, expected (B, {width}) of "
                f"{network.name}"
            )
        return network.choose(*layout.split(observations), rng)

    return act


def _look(
    network: PolicyNetwork, observation: Any, mask: Any
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Features ``[B, D]``, legal actions ``[B, M]`` or None, and whether it is a single row."""
    features, allowed, is_single = observation_rows(network.observations, observation)
    if mask is None:
        return features, allowed if network.observations.mask_size else None, is_single
    given = np.atleast_2d(np.asarray(mask)) != 0
    expected = (len(features), sum(network.actions.sizes))
    if given.shape != expected or not network.actions.sizes:
        raise ValueError(
            f"found a mask of shape {np.shape(mask)}, expected {expected} for "
            f"{network.actions.space} (none for a Box)"
        )
    return features, given if allowed is None else given & allowed, is_single
