"""Three small games, each with a structure of its own, as batched worlds with scripted experts."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space

from rllib_amagail import Demonstrations
from rllib_amagail.envs.vector_env import BatchedGame
from rllib_amagail.equilibrium import TabularGame, solve_spe
from rllib_amagail.equilibrium.library import pursuit
from rllib_amagail.games.game import RoundResult

NUM_MOVES = 3  # left, stay, right


class SmallWorlds(ABC):
    """`BatchedWorlds` of B games that are truncated after `horizon` rounds, if not over before.

    Args:
        batch_size: B.
        seed: of everything random.
    """

    agents: tuple[str, ...]
    observation_spaces: Mapping[str, Space]
    action_spaces: Mapping[str, Space]
    horizon: int

    def __init__(self, batch_size: int, seed: Any) -> None:
        self.batch_size = batch_size
        self.rounds = np.zeros(batch_size, np.int64)
        self.participation = np.zeros((batch_size, len(self.agents)), bool)
        self._rng = np.random.default_rng(seed)

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        chosen = np.ones(self.batch_size, bool) if worlds is None else worlds
        self.rounds[chosen] = 0
        self._begin(chosen)
        drawn = self._participants()
        self.participation = np.where(chosen[:, None], drawn, self.participation)

    def step(self, actions: np.ndarray) -> RoundResult:
        """As of `BatchedWorlds`."""
        rewards = self._play(actions)
        self.rounds = self.rounds + 1
        self.participation = self._participants()
        over = self._over()
        return RoundResult(rewards.astype(np.float32), over, ~over & (self.rounds == self.horizon))

    def get_state(self) -> dict[str, Any]:
        """As of `BatchedWorlds`."""
        return copy.deepcopy(vars(self))

    def set_state(self, state: Mapping[str, Any]) -> None:
        """As of `BatchedWorlds`."""
        vars(self).update(copy.deepcopy(dict(state)))

    @abstractmethod
    def observations(self) -> dict[str, np.ndarray]:
        """As of `BatchedWorlds`."""

    @abstractmethod
    def expert_actions(self, rng: np.random.Generator) -> np.ndarray:
        """`[B, N]` what experts would do now."""

    def _over(self) -> np.ndarray:
        """`[B]` bool: worlds whose games have come to an end of their own."""
        return np.zeros(self.batch_size, bool)

    @abstractmethod
    def _begin(self, worlds: np.ndarray) -> None:
        """New episodes in the chosen worlds, `[B]` bool."""

    @abstractmethod
    def _play(self, actions: np.ndarray) -> np.ndarray:
        """Carry out the participants' `[B, N]` actions; `[B, N]` rewards."""

    @abstractmethod
    def _participants(self) -> np.ndarray:
        """`[B, N]` who acts in the round about to be played, after that of `participation`."""


class SpeakerListener(SmallWorlds):
    """A speaker sees the goal, a listener its own cell of five and what was said last.

    By turns, the speaker first. Both get 1 whenever the listener has moved to the goal or stays
    there. The experts say goal + 1 (modulo 3).
    """

    agents = ("speaker", "listener")
    cells, goals = 5, 3
    horizon = 12
    observation_spaces: Mapping[str, Space] = {
        "speaker": Box(0.0, 1.0, (goals,)),
        "listener": Box(0.0, 1.0, (cells + goals,)),
    }
    action_spaces: Mapping[str, Space] = {"speaker": Discrete(goals), "listener": Discrete(3)}

    def __init__(self, batch_size: int, seed: Any) -> None:
        super().__init__(batch_size, seed)
        self._goal, self._cell, self._said = np.zeros((3, batch_size), np.int64)

    def observations(self) -> dict[str, np.ndarray]:
        """One-hot numbers; before the first word nothing was said."""
        said = _one_hot(self._said, self.goals) * (self.rounds > 0)[:, None]
        heard = np.concatenate([_one_hot(self._cell, self.cells), said], axis=1)
        return {"speaker": _one_hot(self._goal, self.goals), "listener": heard}

    def expert_actions(self, rng: np.random.Generator) -> np.ndarray:
        """The code, and the way to the goal that it means."""
        heard = 2 * ((self._said - 1) % self.goals)
        return np.stack([(self._goal + 1) % self.goals, 1 + np.sign(heard - self._cell)], axis=1)

    def _begin(self, worlds: np.ndarray) -> None:
        self._goal = np.where(worlds, self._rng.integers(self.goals, size=len(worlds)), self._goal)
        self._cell = np.where(worlds, self._rng.integers(self.cells, size=len(worlds)), self._cell)

    def _play(self, actions: np.ndarray) -> np.ndarray:
        speaks, moves = self.participation.T
        self._said = np.where(speaks, actions[:, 0], self._said)
        moved = np.clip(self._cell + actions[:, 1] - 1, 0, self.cells - 1)
        self._cell = np.where(moves, moved, self._cell)
        return np.tile((moves & (self._cell == 2 * self._goal))[:, None], 2)

    def _participants(self) -> np.ndarray:
        speaks = self.rounds % 2 == 0
        return np.stack([speaks, ~speaks], axis=1)


class PrivateGoals(SmallWorlds):
    """Four agents, each on a line of its own, with a goal that nobody else sees.

    In every round each acts by chance, and gets 1 if it is then at its goal.
    """

    agents = tuple(f"walker_{i + 1}" for i in range(4))
    cells = 5
    chance = 0.5
    horizon = 12
    observation_spaces: Mapping[str, Space] = dict.fromkeys(agents, Box(0.0, 1.0, (2 * cells,)))
    action_spaces: Mapping[str, Space] = dict.fromkeys(agents, Discrete(NUM_MOVES))

    def __init__(self, batch_size: int, seed: Any) -> None:
        super().__init__(batch_size, seed)
        self._goal, self._cell = np.zeros((2, batch_size, len(self.agents)), np.int64)

    def observations(self) -> dict[str, np.ndarray]:
        """One-hot cell and goal of each."""
        return {
            agent: np.concatenate(
                [_one_hot(self._cell[:, i], self.cells), _one_hot(self._goal[:, i], self.cells)], 1
            )
            for i, agent in enumerate(self.agents)
        }

    def expert_actions(self, rng: np.random.Generator) -> np.ndarray:
        """The way to the goal."""
        return 1 + np.sign(self._goal - self._cell)

    def _begin(self, worlds: np.ndarray) -> None:
        drawn = self._rng.integers(self.cells, size=(2, *self._cell.shape))
        self._goal, self._cell = np.where(worlds[:, None], drawn, (self._goal, self._cell))

    def _play(self, actions: np.ndarray) -> np.ndarray:
        moved = np.clip(self._cell + actions - 1, 0, self.cells - 1)
        self._cell = np.where(self.participation, moved, self._cell)
        return self.participation & (self._cell == self._goal)

    def _participants(self) -> np.ndarray:
        return self._rng.random(self._cell.shape) < self.chance


class Pursuit(SmallWorlds):
    """`equilibrium.library.pursuit`, a game of two sides; experts play an equilibrium of it.

    Both see the state, one-hot.
    """

    agents = ("agent_0", "agent_1")
    game: TabularGame = pursuit()
    horizon = 20
    observation_spaces: Mapping[str, Space] = dict.fromkeys(
        agents, Box(0.0, 1.0, (game.num_states,))
    )
    action_spaces: Mapping[str, Space] = {
        agent: Discrete(count) for agent, count in zip(agents, game.num_actions, strict=True)
    }

    def __init__(self, batch_size: int, seed: Any) -> None:
        super().__init__(batch_size, seed)
        self._state = np.zeros(batch_size, np.int64)

    def observations(self) -> dict[str, np.ndarray]:
        """The state."""
        return dict.fromkeys(self.agents, _one_hot(self._state, self.game.num_states))

    def expert_actions(self, rng: np.random.Generator) -> np.ndarray:
        """Drawn from the equilibrium's policies."""
        chances = (policy[self._state] for policy in pursuit_equilibrium())
        return np.stack([_drawn(rows, rng) for rows in chances], axis=1)

    def _begin(self, worlds: np.ndarray) -> None:
        chances = np.tile(self.game.initial_states, (self.batch_size, 1))
        self._state = np.where(worlds, _drawn(chances, self._rng), self._state)

    def _play(self, actions: np.ndarray) -> np.ndarray:
        joint = np.where(self.participation, actions, self.game.num_actions)  # phi comes last
        where = (self._state, *joint.T)
        rewards = np.stack([own[where] for own in self.game.rewards], axis=1)
        self._state = _drawn(self.game.transitions[where], self._rng)
        return rewards

    def _participants(self) -> np.ndarray:
        vector = self.participation @ 2 ** np.arange(len(self.agents))[::-1]
        history = np.where(self.rounds == 0, 0, 1 + vector)
        chances = self.game.participation[history]
        return self._rng.random(chances.shape) < chances


@cache
def pursuit_equilibrium() -> list[np.ndarray]:
    """What the experts of `Pursuit` play, `[S, A_i]` of each."""
    return solve_spe(Pursuit.game)


class EndingPursuit(Pursuit):
    """The same, but a capture ends the episode."""

    def _over(self) -> np.ndarray:
        return self.game.absorbing[self._state]


WORLDS: Mapping[str, type[SmallWorlds]] = {
    "speaker and listener": SpeakerListener,
    "pursuit": Pursuit,
    "pursuit to the capture": EndingPursuit,
    "private goals": PrivateGoals,
}


def make_small_game(env_config: Mapping[str, Any]) -> BatchedGame:
    """The environment of `WORLDS[env_config["game"]]`."""
    worlds = WORLDS[env_config["game"]]
    return BatchedGame(lambda batch_size, seed: worlds(batch_size, seed))


def experts_play(
    name: str, episodes: int, seed: int, experts: Collection[str] | None = None
) -> tuple[Demonstrations, float]:
    """Episodes of the experts, and the return that an agent had on average.

    Args:
        name: one of `WORLDS`.
        episodes: to play.
        seed: of everything.
        experts: who plays as an expert; all others do anything. None: all.
    """
    world_seed, action_seed = np.random.SeedSequence(seed).spawn(2)
    worlds = WORLDS[name](episodes, world_seed)
    rng = np.random.default_rng(action_seed)
    worlds.reset()
    seen: dict[str, list[np.ndarray]] = {agent: [] for agent in worlds.agents}
    participation, actions, rewards = [], [], []
    lengths = np.full(episodes, worlds.horizon)
    for t in range(worlds.horizon):
        for agent, rows in worlds.observations().items():
            seen[agent].append(rows)
        participation.append(worlds.participation.copy())
        actions.append(worlds.expert_actions(rng))
        for i, agent in enumerate(worlds.agents):
            if experts is not None and agent not in experts:
                actions[-1][:, i] = rng.integers(worlds.action_spaces[agent].n, size=episodes)
        result = worlds.step(actions[-1])
        rewards.append(result.rewards)
        lengths[result.terminated] = np.minimum(lengths[result.terminated], t + 1)

    def by_episode(rounds: list[np.ndarray]) -> list[np.ndarray]:
        played = np.stack(rounds, axis=1)
        return [episode[:length] for episode, length in zip(played, lengths, strict=True)]

    demonstrations = Demonstrations.from_rounds(
        worlds.agents,
        worlds.observation_spaces,
        worlds.action_spaces,
        observations={agent: by_episode(rows) for agent, rows in seen.items()},
        participation=by_episode(participation),
        actions=by_episode(actions),
        game=name,
    )
    return demonstrations, float(np.stack(rewards, axis=1).sum(axis=1).mean())


def _one_hot(numbers: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[numbers]


def _drawn(chances: np.ndarray | Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """One index per row of `[B, K]`."""
    cumulated = np.cumsum(chances, axis=1)
    return (rng.random((len(cumulated), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1)
