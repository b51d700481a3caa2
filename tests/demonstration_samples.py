"""Small demonstrations for tests, and how to compare them."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from rllib_amagail.demonstrations import AgentRecord, Demonstrations
from rllib_amagail.spaces import ActionLayout, ObservationLayout, space_to_dict

UNBOUNDED = Box(-np.inf, np.inf, (2,))
SPACES = [  # observation space, action space
    (UNBOUNDED, Discrete(3)),
    (Discrete(4), Discrete(2, start=-3)),
    (Box(0, 255, (1, 2), np.uint8), MultiDiscrete([2, 3], start=[1, 0])),
    (Dict({"a": MultiDiscrete([2, 2]), "b": UNBOUNDED}), Box(-1, 1, (2, 1))),
    (Dict({"features": UNBOUNDED, "action_mask": MultiBinary(3)}), Discrete(3, start=1)),
    (Dict({"features": Discrete(2), "action_mask": MultiBinary(5)}), MultiDiscrete([2, 3])),
]


def example(rewards: bool = True) -> Demonstrations:
    """Agents a and b, episodes of 3 and 2 rounds; 99 stands for what nobody may read."""
    earned = [np.array([[1, 0], [0, 2], [3, 4]]), np.array([[-1, 0], [0, -2]])]
    return Demonstrations.from_rounds(
        ("a", "b"),
        {"a": Box(-9, 9, (1,)), "b": Box(-9, 9, (1,))},
        {"a": Discrete(5), "b": Discrete(5)},
        observations={
            "a": [np.array([[0.0], [1], [2]]), np.array([[3.0], [4]])],
            "b": [np.array([[5.0], [6], [7]]), np.array([[8.0], [9]])],
        },
        participation=[np.array([[1, 0], [0, 1], [1, 1]], bool), np.array([[1, 0], [0, 1]], bool)],
        actions=[np.array([[1, 99], [99, 1], [2, 2]]), np.array([[3, 99], [99, 3]])],
        rewards=earned if rewards else None,
        game="toy",
    )


def play(
    spaces: list[tuple[Space, Space]],
    lengths: list[int],
    share: float,
    seed: int,
    rewards: bool = True,
) -> Demonstrations:
    """Random dense demonstrations of agents "0", "1", ..., that participate with prob. `share`."""
    rng = np.random.default_rng(seed)
    agents = [str(i) for i in range(len(spaces))]
    observations, masks, actions = {}, {}, {}
    for agent, (observation_space, action_space) in zip(agents, spaces, strict=True):
        layout = ObservationLayout.from_space(observation_space)
        act = ActionLayout.from_space(action_space)
        action_space.seed(seed)
        drawn = [[action_space.sample() for _ in range(t)] for t in lengths]
        actions[agent] = [act.encode(episode) for episode in drawn]
        observations[agent] = [rng.normal(size=(t, layout.feature_size)) for t in lengths]
        if layout.mask_size:
            masks[agent] = [np.ones((t, layout.mask_size), bool) for t in lengths]
    return Demonstrations.from_rounds(
        agents,
        {agent: pair[0] for agent, pair in zip(agents, spaces, strict=True)},
        {agent: pair[1] for agent, pair in zip(agents, spaces, strict=True)},
        observations=observations,
        participation=[rng.random((t, len(spaces))) < share for t in lengths],
        actions=actions,
        rewards=[rng.normal(size=(t, len(spaces))) for t in lengths] if rewards else None,
        action_masks=masks,
        game="toy",
        player_function={"type": "synchronous", "num_agents": len(spaces)},
        provenance={"seed": seed, "note": "φ"},
    )


def assert_same_rows(found: AgentRecord, expected: AgentRecord) -> None:
    columns = found.columns(slice(None))
    for name, array in expected.columns(slice(None)).items():
        if array is None:
            assert columns[name] is None, name
        else:
            np.testing.assert_array_equal(columns[name], array, name)
            assert columns[name].dtype == array.dtype, name


def assert_same(found: Demonstrations, expected: Demonstrations) -> None:
    for name in ("agents", "game", "player_function", "provenance", "num_episodes"):
        assert getattr(found, name) == getattr(expected, name), name
    for agent in expected.agents:
        assert_same_rows(found.records[agent], expected.records[agent])
        for name in ("observation_spaces", "action_spaces"):
            spaces = getattr(found, name)[agent], getattr(expected, name)[agent]
            assert space_to_dict(spaces[0]) == space_to_dict(spaces[1])
