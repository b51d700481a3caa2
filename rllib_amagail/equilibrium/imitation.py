"""AMAGAIL, MAGAIL and behaviour cloning as tables: Algorithm 1 without estimates.

Policies are softmax tables, the discriminator is the best one for the tables of (s, a) at hand, and
values and visits are exact, so what is left is the method itself and how much was demonstrated.
`phi` says what becomes of φ, as in `imitation(phi=...)` of the algorithm: "filtered" is AMAGAIL and
filtered cloning; "chosen" makes φ one more action, chosen and judged in every round: MAGAIL and the
paper's cloning. A participant that chooses φ does its null action. With a synchronous player
function nobody may abstain, and both are the same computation (Corollary 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rllib_amagail.equilibrium.episodes import TabularEpisodes
from rllib_amagail.equilibrium.game import TabularGame
from rllib_amagail.equilibrium.occupancy import jensen_shannon
from rllib_amagail.equilibrium.values import Chain, agent_view

Phi = Literal["filtered", "chosen"]
LARGEST_LOGIT = 30.0  # keeps every action possible, and with it every subgame


@dataclass(frozen=True, eq=False)
class Imitated:
    """What was learned.

    Attributes:
        policies: `[S, A_i]` of each agent, as played.
        distances: `[K + 1, N]` Jensen-Shannon divergence between each agent's judged rows and the
            experts', before every step and after the last. Empty after cloning.
    """

    policies: list[np.ndarray]
    distances: np.ndarray


def clone(game: TabularGame, episodes: TabularEpisodes, phi: Phi) -> Imitated:
    """Behaviour cloning: the shares of actions seen at a state, all alike where it was not seen.

    Raises:
        ValueError: if the episodes are of another game, or `phi` is another word.
    """
    choices = []
    for rows in _expert_rows(game, episodes, phi, discount=1.0):
        seen = rows.sum(axis=1, keepdims=True)
        choices.append(np.where(seen > 0.0, rows / np.maximum(seen, 1e-300), 1.0 / rows.shape[1]))
    return Imitated(_played(game, choices), np.zeros((0, game.num_agents)))


def imitate(
    game: TabularGame,
    episodes: TabularEpisodes,
    phi: Phi,
    *,
    iterations: int = 60,
    step_size: float = 1.0,
    smoothing: float = 1e-4,
) -> Imitated:
    """Adversarial imitation: AMAGAIL or MAGAIL (Algorithm 1), from uniform policies.

    Each iteration takes the discriminator that maximises equation 14 for the experts' rows and the
    exact measure of the policies, D_w = ρ_π / (ρ_π + ρ_E), both scaled to sum to 1, and one natural
    gradient step on every softmax policy: its parameters move along the advantages of -log D_w.

    Args:
        game: played as a black box by the algorithm; here only its chain is computed.
        episodes: of the experts.
        phi: what becomes of φ.
        iterations: natural gradient steps.
        step_size: of the steps, times the advantage.
        smoothing: added to both measures in D_w.

    Raises:
        ValueError: if the episodes are of another game or lack the turns of an agent, or `phi` is
            another word.
    """
    counted = _expert_rows(game, episodes, phi, game.discount)
    absent = [agent for agent, rows in enumerate(counted) if not rows.any()]
    if absent:
        raise ValueError(
            f"agents {absent} never act in the episodes, expected a turn of every agent: record "
            f"more or longer episodes"
        )
    experts = [rows / rows.sum() for rows in counted]
    logits = [np.zeros(rows.shape) for rows in experts]
    play = _Play.of(game, logits, phi)
    distances = [play.distances(experts)]
    for _ in range(iterations):
        for agent, expert in enumerate(experts):
            # -log D_w of the best discriminator
            rewards = np.log1p((expert + smoothing) / (play.judged[agent] + smoothing))
            stepped = logits[agent] + step_size * play.advantages(agent, rewards)
            logits[agent] = np.clip(stepped, -LARGEST_LOGIT, LARGEST_LOGIT)
        play = _Play.of(game, logits, phi)
        distances.append(play.distances(experts))
    return Imitated(play.policies, np.array(distances))


@dataclass(frozen=True, eq=False)
class _Play:
    """What present choices come to; C_i is A_i, or A_i + 1 where φ is one of them.

    Attributes:
        choices: `[S, C_i]` of each agent.
        policies: `[S, A_i]`, as played.
        chain: of the policies.
        visits: `[S, H]`, discounted.
        shares: `[N, H]`, how likely a round after h gives a row of the agent.
        judged: `[S, C_i]`, the rows of each agent as a measure that sums to 1.
    """

    game: TabularGame
    choices: list[np.ndarray]
    policies: list[np.ndarray]
    chain: Chain
    visits: np.ndarray
    shares: np.ndarray
    judged: list[np.ndarray]

    @classmethod
    def of(cls, game: TabularGame, logits: Sequence[np.ndarray], phi: Phi) -> _Play:
        choices = [_softmax(each) for each in logits]
        policies = _played(game, choices)
        chain = Chain(game, policies)
        visits = chain.visits()
        shares = np.where(_with_phi(game, phi), 1.0, game.participation).T
        rows = [
            choice * (visits @ share)[:, None]
            for choice, share in zip(choices, shares, strict=True)
        ]
        judged = [each / each.sum() for each in rows]
        return cls(game, choices, policies, chain, visits, shares, judged)

    def distances(self, experts: Sequence[np.ndarray]) -> list[float]:
        """Jensen-Shannon divergence from the experts' rows, by agent."""
        return [jensen_shannon(*each) for each in zip(self.judged, experts, strict=True)]

    def advantages(self, agent: int, rewards: np.ndarray) -> np.ndarray:
        """Advantages of an agent's choices, averaged over the h before its rows at a state.

        Args:
            rewards: of its rows, `[S, C_i]`.

        Returns:
            `[S, C_i]`: the natural gradient of a softmax table.
        """
        share, choice = self.shares[agent], self.choices[agent]
        own = np.einsum("h,sc,sc->sh", share, choice, rewards)
        worth = self.chain.discounted_sums(own[None])[0]
        follow = agent_view(self.game, self.policies, agent).next_values(worth)
        if choice.shape[1] > follow.shape[2]:  # φ is followed by what its null action is
            null_action = self.game.null_actions[agent]
            follow = np.concatenate([follow, follow[:, :, [null_action]]], axis=2)
        gained = share[:, None] * rewards[:, None] + self.game.discount * follow
        gained -= worth[:, :, None]
        rows = (self.visits @ share)[:, None]
        return np.einsum("sh,shc->sc", self.visits, gained) / np.where(rows > 0.0, rows, np.inf)


def _expert_rows(
    game: TabularGame, episodes: TabularEpisodes, phi: Phi, discount: float
) -> list[np.ndarray]:
    """`[S, C_i]` of each agent: its choices, with φ last if it counts as one."""
    if phi not in get_args(Phi):
        raise ValueError(f"phi is {phi!r}, expected one of {get_args(Phi)}")
    found = (episodes.num_states, episodes.num_actions)
    if found != (game.num_states, game.num_actions):
        raise ValueError(
            f"episodes have (states, actions) {found}, the game has "
            f"{(game.num_states, game.num_actions)}: expected episodes of this game"
        )
    with_phi = _with_phi(game, phi)
    return [
        rows if with_phi[agent] else rows[:, :-1]
        for agent, rows in enumerate(episodes.measures(discount))
    ]


def _with_phi(game: TabularGame, phi: Phi) -> np.ndarray:
    """`[N]` bool: agents for which φ is one more action."""
    return game.player_function.may_abstain() & (phi == "chosen")


def _played(game: TabularGame, choices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Policies `[S, A_i]`: a participant that chooses φ does its null action."""
    policies = []
    for choice, count, null_action in zip(
        choices, game.num_actions, game.null_actions, strict=True
    ):
        policy = choice[:, :count].copy()
        policy[:, null_action] += choice[:, count:].sum(axis=1)
        policies.append(policy)
    return policies


def _softmax(logits: np.ndarray) -> np.ndarray:
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
