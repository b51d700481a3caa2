"""Synchronous recordings made asynchronous: a player function says afterwards who participated."""

from dataclasses import replace

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.player_functions import PlayerFunction
from rllib_amagail.turn_sampler import TurnSampler

_MAX_DRAWS = 2**28  # worlds times rounds
_MAX_GAPS = 100  # rounds per row; a synchronous recording has one


def make_asynchronous(
    demonstrations: Demonstrations, player_function: PlayerFunction, rng: np.random.Generator
) -> Demonstrations:
    """Draw I_t of every episode; rows of agents that do not participate become phi (section 3.3).

    Those rows keep their observation, lose their action, and have reward 0, since an agent is paid
    for its turns only (section 5). What an agent did in a round that is phi now can still be seen
    in the observations that follow: for experts who really waited, record them asynchronously.

    Args:
        demonstrations: E episodes in which everybody acts in every round.
        player_function: of the N agents, in their order.
        rng: decides who participates.

    Raises DemonstrationsError for demonstrations that have phi already, a player function of
    another number of agents or one that looks at states, and round numbers with huge gaps.
    """
    agents = demonstrations.agents
    if player_function.num_agents != len(agents):
        raise DemonstrationsError(
            f"found a player function of {player_function.num_agents} agents, expected of "
            f"{len(agents)}: {list(agents)}"
        )
    if player_function.needs_states:
        raise DemonstrationsError(
            "found a player function that looks at states, expected one of participation alone: "
            "recordings have observations only"
        )
    for agent, record in demonstrations.records.items():
        if record.num_turns < len(record):
            raise DemonstrationsError(
                f"found {len(record) - record.num_turns} rows of {agent!r} that are phi, expected "
                f"a synchronous recording: leave the player function out"
            )
    participation = _draw(demonstrations, player_function, rng)
    records = {}
    for index, (agent, record) in enumerate(demonstrations.records.items()):
        own = participation[record.round, record.episode, index]
        action = None if record.action is None else record.action.copy()
        if action is not None:
            action[~own] = 0
        reward = None if record.reward is None else np.where(own, record.reward, 0)
        records[agent] = replace(record, participates=own, action=action, reward=reward)
    return replace(demonstrations, records=records, player_function=player_function.to_dict())


def _draw(
    demonstrations: Demonstrations, player_function: PlayerFunction, rng: np.random.Generator
) -> np.ndarray:
    """[T, E, N] bool of the longest episode's T; shorter episodes use their first rounds."""
    lengths = demonstrations.episode_lengths()
    rows = sum(map(len, demonstrations.records.values()))
    num_rounds = int(lengths.max())
    if lengths.sum() > _MAX_GAPS * rows or num_rounds * len(lengths) > _MAX_DRAWS:
        raise DemonstrationsError(
            f"found {rows} rows in rounds up to {num_rounds - 1}, expected the rounds of an "
            f"episode to be numbered 0, 1, ...: number them so"
        )
    sampler = TurnSampler(player_function, len(lengths), rng)
    drawn = [sampler.reset().copy()]
    drawn += [sampler.step().copy() for _ in range(num_rounds - 1)]
    return np.stack(drawn)
