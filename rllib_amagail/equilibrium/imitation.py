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
from typing import Literal

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
        ValueError: if the episodes are of another game.
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
        ValueError: if the episodes are of another game.
    """
    experts = [rows / rows.sum() for rows in _expert_rows(game, episodes, phi, game.discount)]
    logits = [np.zeros(rows.shape) for rows in experts]
    distances = []
    for _ in range(iterations):
        choices = [_softmax(each) for each in logits]
        policies = _played(game, choices)
        chain = Chain(game, policies)
        visits = chain.visits()
        judged = [choice * _judged(game, visits, i, phi) for i, choice in enumerate(choices)]
        distances.append([jensen_shannon(*each) for each in zip(judged, experts, strict=True)])
        for agent, choice in enumerate(choices):
            rewards = _rewards(judged[agent] / judged[agent].sum(), experts[agent], smoothing)
            advantages = _advantages(game, chain, visits, policies, agent, choice, rewards, phi)
            logits[agent] = np.clip(
                logits[agent] + step_size * advantages, -LARGEST_LOGIT, LARGEST_LOGIT
            )
    choices = [_softmax(each) for each in logits]
    policies = _played(game, choices)
    visits = Chain(game, policies).visits()
    distances.append(
        [
            jensen_shannon(choice * _judged(game, visits, i, phi), experts[i])
            for i, choice in enumerate(choices)
        ]
    )
    return Imitated(policies, np.array(distances))


def _expert_rows(
    game: TabularGame, episodes: TabularEpisodes, phi: Phi, discount: float
) -> list[np.ndarray]:
    """`[S, C_i]` of each agent: its choices, with φ last if it counts as one."""
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


def _judged_share(game: TabularGame, agent: int, phi: Phi) -> np.ndarray:
    """`[H]`: how likely a round after h gives a row of the agent."""
    if _with_phi(game, phi)[agent]:
        return np.ones(len(game.participation))
    return game.participation[:, agent]


def _judged(game: TabularGame, visits: np.ndarray, agent: int, phi: Phi) -> np.ndarray:
    """`[S, 1]`: discounted number of the agent's rows at each state."""
    return (visits @ _judged_share(game, agent, phi))[:, None]


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


def _rewards(judged: np.ndarray, expert: np.ndarray, smoothing: float) -> np.ndarray:
    """-log D_w of the best discriminator, `[S, C_i]`."""
    return np.log1p((expert + smoothing) / (judged + smoothing))


def _advantages(
    game: TabularGame,
    chain: Chain,
    visits: np.ndarray,
    policies: Sequence[np.ndarray],
    agent: int,
    choice: np.ndarray,
    rewards: np.ndarray,
    phi: Phi,
) -> np.ndarray:
    """Advantages of choices at a state, averaged over the h before it, `[S, C_i]`."""
    share = _judged_share(game, agent, phi)
    own = np.einsum("h,sc,sc->sh", share, choice, rewards)
    worth = chain.discounted_sums(own[None])[0]
    follow = agent_view(game, policies, agent).next_values(worth)
    if choice.shape[1] > follow.shape[2]:
        null_action = game.null_actions[agent]
        follow = np.concatenate([follow, follow[:, :, [null_action]]], axis=2)
    gained = share[:, None] * rewards[:, None] + game.discount * follow - worth[:, :, None]
    turns = (visits @ share)[:, None]
    return np.einsum("sh,shc->sc", visits, gained) / np.where(turns > 0.0, turns, np.inf)


def _softmax(logits: np.ndarray) -> np.ndarray:
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
