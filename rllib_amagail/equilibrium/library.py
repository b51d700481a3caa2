"""Small games with known equilibria, and ways to change a game.

| game | who acts | ends |
|---|---|---|
| `bargaining` | by turns | after an agreement or the last round |
| `centipede` | by turns | when somebody takes, or after the last round |
| `pursuit` | by turns; the evader misses some | at the capture |
| `coordination` | each by its own chance, also both | never |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame, own_action_rewards
from rllib_amagail.player_functions import IndependentStochastic, JointMarkovParticipation

MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # of `pursuit`; the first is the null action


def turns(second_acts: float = 1.0) -> JointMarkovParticipation:
    """Two agents by turns, the first in round 0.

    Args:
        second_acts: probability that the second takes its turn; else the first acts again after
            an idle round.
    """
    table = [[1.0, 0.0], [1.0, 0.0], [0.0, second_acts], [1.0, 0.0]]
    return JointMarkovParticipation(np.array(table), np.array([1.0, 0.0]))


def bargaining(pie: int = 4, rounds: int = 4, discount: float = 0.9) -> TabularGame:
    """Alternating offers (Rubinstein 1982) with `pie` units to share and a last round.

    State t * (pie + 1) + k: round t, in which the agent on turn is offered k units; k = 0 in round
    0. Action 0 accepts, action 1 + k offers the other k units instead. Offering nothing is the null
    action. Whoever refuses in the last round ends the game with nothing for both.
    """
    count, end = pie + 1, rounds * (pie + 1)
    transitions, rewards = _standing_still(end + 1, (1 + count, 1 + count))
    for t, offered in itertools.product(range(rounds), range(count)):
        state = t * count + offered
        for action in range(1 + count):
            last = action == 0 or t == rounds - 1
            target = end if last else (t + 1) * count + action - 1
            for mover in range(2):
                where = (state, *_alone(mover, action, 1 + count))
                transitions[where] = np.eye(end + 1)[target]
                if action == 0:
                    rewards[(mover, *where)] = offered
                    rewards[(1 - mover, *where)] = pie - offered
    start = np.eye(end + 1)[0]
    return TabularGame(transitions, rewards, turns(), start, discount, null_actions=(1, 1))


def centipede(rounds: int = 6, discount: float = 0.95) -> TabularGame:
    """Rosenthal's centipede (1981): who takes in round t gets t + 2, the other t.

    State t is round t. Action 0 leaves the growing pot to the other and is the null action, action
    1 takes. After `rounds` nothing is left. The only equilibrium takes at once.
    """
    transitions, rewards = _standing_still(rounds + 1, (2, 2))
    for t, action, mover in itertools.product(range(rounds), range(2), range(2)):
        where = (t, *_alone(mover, action, 2))
        transitions[where] = np.eye(rounds + 1)[rounds if action else t + 1]
        if action:
            rewards[(mover, *where)] = t + 2
            rewards[(1 - mover, *where)] = t
    return TabularGame(transitions, rewards, turns(), np.eye(rounds + 1)[0], discount)


def pursuit(
    height: int = 2, width: int = 3, evader_acts: float = 0.8, discount: float = 0.9
) -> TabularGame:
    """A pursuer (agent 0) and an evader on a grid, by turns; a capture pays 1 and costs 1.

    State cell_0 * cells + cell_1, cells row by row; the last state follows the capture. Actions
    are `MOVES`; walls stop. Play begins at any two different cells. The state does not show whose
    turn it is.
    """
    cells = list(itertools.product(range(height), range(width)))
    end = len(cells) ** 2
    transitions, rewards = _standing_still(end + 1, (len(MOVES), len(MOVES)))
    for places in itertools.product(range(len(cells)), repeat=2):
        state = places[0] * len(cells) + places[1]
        for (action, move), mover in itertools.product(enumerate(MOVES), range(2)):
            row, column = np.add(cells[places[mover]], move)
            moved = list(places)
            moved[mover] = np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)
            caught = moved[0] == moved[1]
            target = end if caught else moved[0] * len(cells) + moved[1]
            where = (state, *_alone(mover, action, len(MOVES)))
            transitions[where] = np.eye(end + 1)[target]
            if caught:
                rewards[(0, *where)], rewards[(1, *where)] = 1.0, -1.0
    start = np.append(1.0 - np.eye(len(cells)).ravel(), 0.0)
    return TabularGame(transitions, rewards, turns(evader_acts), start / start.sum(), discount)


def coordination(chances: tuple[float, float] = (0.7, 0.5), discount: float = 0.9) -> TabularGame:
    """Two agents that meet again and again and would wear the same colour.

    State 2 * c_0 + c_1: the colours they wear. Action 0 keeps one's colour and is the null action,
    1 + c puts on colour c. An agent on its turn gets 1 + c if it then wears the colour c that the
    other wore when the round began, else 0: the paper's r_i(s, a_i). Play begins anywhere.
    """
    transitions = np.zeros((4, 4, 4, 4))
    rewards = np.zeros((2, 4, 3))
    for state in range(4):
        worn = divmod(state, 2)
        after = [(worn[agent], 0, 1, worn[agent]) for agent in range(2)]  # by action, φ last
        for actions in itertools.product(range(4), repeat=2):
            target = 2 * after[0][actions[0]] + after[1][actions[1]]
            transitions[(state, *actions, target)] = 1.0
        for agent, action in itertools.product(range(2), range(3)):
            colour = after[agent][action]
            rewards[agent, state, action] = (1 + colour) * (colour == worn[1 - agent])
    return TabularGame(
        transitions,
        own_action_rewards(transitions.shape, rewards),
        IndependentStochastic(np.array(chances)),
        np.full(4, 0.25),
        discount,
    )


GAMES: dict[str, Callable[[], TabularGame]] = {
    "bargaining": bargaining,
    "centipede": centipede,
    "pursuit": pursuit,
    "coordination": coordination,
}


def with_trembles(game: TabularGame, chance: float) -> TabularGame:
    """The game in which hands tremble (Selten 1975): it is the world that trembles, not policies.

    With probability `chance` a participant's action is replaced by one drawn evenly from its
    actions, before it has effect. Recorded is what the agent meant to do. Every subgame is reached
    whatever the policies are.

    Raises:
        ValueError: if `chance` is no probability.
    """
    if not 0.0 <= chance <= 1.0:
        raise ValueError(f"chance is {chance}, expected a probability in [0, 1]")
    transitions, rewards = game.transitions, game.rewards
    for agent, count in enumerate(game.num_actions):
        mixing = np.eye(count + 1)  # intended to executed; φ stays φ
        mixing[:count, :count] *= 1.0 - chance
        mixing[:count, :count] += chance / count
        transitions = np.moveaxis(np.tensordot(mixing, transitions, (1, agent + 1)), 0, agent + 1)
        rewards = np.moveaxis(np.tensordot(mixing, rewards, (1, agent + 2)), 0, agent + 2)
    return TabularGame(
        transitions,
        rewards,
        game.player_function,
        game.initial_states,
        game.discount,
        game.null_actions,
    )


def with_horizon(game: TabularGame, rounds: int) -> TabularGame:
    """The game over `rounds` rounds: state t * S + s, and one in which everything is over.

    Raises:
        ValueError: if there is no round to play.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, expected at least 1")
    size = game.num_states
    counts = game.num_actions
    transitions, rewards = _standing_still(rounds * size + 1, counts)
    for t in range(rounds):
        present = slice(t * size, (t + 1) * size)
        rewards[:, present] = game.rewards
        transitions[present] = 0.0
        if t == rounds - 1:
            transitions[present, ..., -1] = 1.0
        else:
            transitions[present, ..., (t + 1) * size : (t + 2) * size] = game.transitions
    start = np.zeros(rounds * size + 1)
    start[:size] = game.initial_states
    return TabularGame(
        transitions, rewards, game.player_function, start, game.discount, game.null_actions
    )


def _standing_still(num_states: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Transitions that stay and rewards of nothing, to be filled in."""
    joint = tuple(count + 1 for count in counts)
    transitions = np.zeros((num_states, *joint, num_states))
    transitions[np.arange(num_states), ..., np.arange(num_states)] = 1.0
    return transitions, np.zeros((len(counts), num_states, *joint))


def _alone(mover: int, action: int, phi: int) -> tuple[int, int]:
    """The joint action of two agents in which only `mover` acts."""
    return (action, phi) if mover == 0 else (phi, action)
