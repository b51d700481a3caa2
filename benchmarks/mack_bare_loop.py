"""AMAGAIL with MACK in the shortest loop: games, networks, K-FAC and advantages, no RLlib.

The arithmetic of an iteration is that of `AMAGAILConfig().imitation(generator="mack")` from
scratch: as many rows through networks of the same sizes, as many steps of the same optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import log_softmax

from rllib_amagail import AMAGAILConfig, Demonstrations
from rllib_amagail.advantages import turn_advantages
from rllib_amagail.adversarial import discriminator_loss, reward_from_logits
from rllib_amagail.games import make_game
from rllib_amagail.kfac import (
    KFAC,
    bernoulli_fisher_loss,
    categorical_fisher_loss,
    gaussian_fisher_loss,
)
from rllib_amagail.running_moments import RunningMoments


class _Network:
    """A tanh network and its optimizer."""

    def __init__(self, inputs: int, hiddens: list[int], outputs: int, lr: float, kl_clip: float):
        layers: list[torch.nn.Module] = []
        for width in hiddens:
            layers += [torch.nn.Linear(inputs, width), torch.nn.Tanh()]
            inputs = width
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))
        self.optimizer = KFAC(self.net, lr=lr, kl_clip=kl_clip)

    def descend(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


@dataclass(frozen=True)
class _Turns:
    """One agent's turns of an iteration, world by world."""

    observations: torch.Tensor  # [T, D]
    actions: torch.Tensor  # [T]
    elapsed_rounds: np.ndarray  # [T]
    starts: np.ndarray  # [B + 1]
    finals: torch.Tensor  # [B, D]


class BareLoop:
    """Three agents, each with a policy, a baseline and a discriminator.

    Args:
        game: name of a game whose episodes all end in the same round.
        config: a validated `AMAGAILConfig`, whose sizes and steps are taken.
        demonstrations: Z.
        seed: of everything.
    """

    def __init__(
        self, game: str, config: AMAGAILConfig, demonstrations: Demonstrations, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self._config = config
        self._worlds = config.num_envs_per_env_runner
        self._rounds = config.train_batch_size_per_learner // self._worlds
        self._game = make_game(game, batch_size=self._worlds, seed=seed)
        self._rng = np.random.default_rng(seed)
        self._labels = torch.Generator().manual_seed(seed)
        self.agents = self._game.agents
        self._experts = {a: _expert_rows(demonstrations, a) for a in self.agents}
        self._reward_moments = {a: RunningMoments() for a in self.agents}
        self._value_moments = {a: RunningMoments() for a in self.agents}
        hiddens = list(config.model_config["fcnet_hiddens"])
        self._choices = self._game.action_spaces[self.agents[0]].n
        self.policies, self._values, self._discriminators = {}, {}, {}
        for agent in self.agents:
            seen = self._game.observation_spaces[agent].shape[0]
            lr, clip = config.lr, config.kfac_kl_clip
            self.policies[agent] = _Network(seen, hiddens, self._choices, lr, clip)
            self._values[agent] = _Network(seen, hiddens, 1, lr, clip)
            self._discriminators[agent] = _Network(
                seen + self._choices,
                list(config.discriminator_hiddens),
                1,
                config.discriminator_lr,
                config.kfac_discriminator_kl_clip,
            )

    def iterate(self) -> None:
        """One epoch of Algorithm 1."""
        for agent, turns in self._play().items():
            inputs = self._encode(turns.observations, turns.actions, agent)
            self._judge(agent, inputs)
            with torch.no_grad():
                logits = self._discriminators[agent].net(inputs).squeeze(1)
            rewards = reward_from_logits(logits, "gail").numpy()
            self._reward_moments[agent].update(rewards)
            self._improve(agent, turns, rewards / self._reward_moments[agent].deviation)

    @torch.no_grad()
    def _play(self) -> dict[str, _Turns]:
        """Line 2; whole episodes, from reset to truncation."""
        self._game.reset(np.ones(self._worlds, bool))
        shape = (self._rounds, self._worlds, len(self.agents))
        acting = np.zeros(shape, bool)
        actions = np.zeros(shape, np.int64)
        seen = []
        for t in range(self._rounds):
            seen.append(self._game.observations())
            acting[t] = self._game.participation
            for index, agent in enumerate(self.agents):
                worlds = np.flatnonzero(acting[t, :, index])
                logits = self.policies[agent].net(torch.from_numpy(seen[-1][agent][worlds])).numpy()
                # Gumbel noise: the largest sum is at k with the probability of k.
                drawn = (logits + self._rng.gumbel(size=logits.shape)).argmax(axis=1)
                actions[t, worlds, index] = drawn
            self._game.step(actions[t])
        finals = self._game.observations()
        return {
            agent: self._turns_of(
                np.stack([s[agent] for s in seen], axis=1),
                acting[:, :, index].T,
                actions[:, :, index].T,
                finals[agent],
            )
            for index, agent in enumerate(self.agents)
        }

    def _turns_of(
        self, seen: np.ndarray, acting: np.ndarray, actions: np.ndarray, finals: np.ndarray
    ) -> _Turns:
        """``[B, T, ...]`` arrays to rows."""
        met = acting.any(axis=1)
        worlds, rounds = np.nonzero(acting)
        starts = np.concatenate([[0], np.cumsum(acting.sum(axis=1)[met])])
        next_rounds = np.append(rounds[1:], 0)
        next_rounds[starts[1:] - 1] = self._rounds
        return _Turns(
            torch.from_numpy(seen[worlds, rounds]),
            torch.from_numpy(actions[worlds, rounds]),
            next_rounds - rounds,
            starts,
            torch.from_numpy(finals[met]),
        )

    def _encode(
        self, observations: torch.Tensor, actions: torch.Tensor, agent: str
    ) -> torch.Tensor:
        """``[T, D + A]`` discriminator inputs, features standardised by the demonstrations."""
        hot = torch.nn.functional.one_hot(actions, self._choices)
        _, mean, scale = self._experts[agent]
        return (torch.cat([observations, hot], dim=1) - mean) / scale

    def _judge(self, agent: str, policy_inputs: torch.Tensor) -> None:
        """Line 6."""
        discriminator = self._discriminators[agent]
        expert_inputs, _, _ = self._experts[agent]
        size = self._config.discriminator_batch_size
        for _ in range(self._config.discriminator_steps):
            expert = self._rng.integers(len(expert_inputs), size=size)
            policy = self._rng.integers(len(policy_inputs), size=size)
            rows = torch.cat([expert_inputs[expert], policy_inputs[policy]])
            with discriminator.optimizer.collecting():
                bernoulli_fisher_loss(discriminator.net(rows), self._labels).backward()
            discriminator.descend(discriminator_loss(*discriminator.net(rows).split(size)) / 2)

    def _improve(self, agent: str, turns: _Turns, rewards: np.ndarray) -> None:
        """Lines 9, 11 and 12."""
        policy, value, moments = (
            self.policies[agent],
            self._values[agent],
            self._value_moments[agent],
        )
        rows = turns.observations
        with torch.no_grad():
            outputs = value.net(torch.cat([rows, turns.finals])).squeeze(1).numpy()
        values, finals = np.split(moments.mean + moments.deviation * outputs, [len(rows)])
        advantages = turn_advantages(
            rewards,
            values,
            finals,
            turns.elapsed_rounds,
            turns.starts,
            gamma=self._config.gamma,
            lambda_=self._config.lambda_,
        )
        moments.update(advantages + values)
        targets = torch.from_numpy(moments.standardise(advantages + values))
        for _ in range(self._config.kfac_value_steps):
            with value.optimizer.collecting():
                gaussian_fisher_loss(value.net(rows), self._labels).backward()
            value.descend((value.net(rows).squeeze(1) - targets).square().mean() / 2)
        with policy.optimizer.collecting():
            categorical_fisher_loss(policy.net(rows), self._labels).backward()
        logp = log_softmax(policy.net(rows), dim=1)
        entropy = -(logp.exp() * logp).sum(dim=1).mean()
        scaled = torch.from_numpy((advantages - advantages.mean()) / advantages.std())
        chosen = logp.gather(1, turns.actions[:, None]).squeeze(1)
        policy.descend(-(chosen * scaled).mean() - self._config.entropy_coeff * entropy)


def _expert_rows(
    demonstrations: Demonstrations, agent: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised inputs ``[K, D + A]``, their mean and scale."""
    turns = demonstrations.records[agent].turns()
    hot = np.eye(demonstrations.action_spaces[agent].n, dtype=np.float32)[turns.action]
    inputs = np.concatenate([turns.observation, hot], axis=1)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
    return (
        torch.from_numpy((inputs - mean) / scale),
        torch.from_numpy(mean),
        torch.from_numpy(scale),
    )
