"""Recordings as other people's programs write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_amagail.demonstrations import Demonstrations

# As Python 2 and numpy 1 write one trajectory of one agent with pickle.dump(trajectories, file):
# "ob" is [2, 1], "ac" has two one-hot rows, "rew" a list, "ep_ret" a numpy scalar.
PYTHON_2 = rb"""(lp0
(dp1
S'ac'
p2
(lp3
(lp4
cnumpy.core.multiarray
_reconstruct
p5
(cnumpy
ndarray
p6
(I0
tp7
S'b'
p8
tp9
Rp10
(I1
(I3
tp11
cnumpy
dtype
p12
(S'f8'
p13
I0
I1
tp14
Rp15
(I3
S'<'
p16
NNNI-1
I-1
I0
tp17
bI00
S'\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
p18
tp19
bag5
(g6
(I0
tp20
g8
tp21
Rp22
(I1
(I3
tp23
g15
I00
S'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0?'
p24
tp25
baasS'ob'
p26
(lp27
g5
(g6
(I0
tp28
g8
tp29
Rp30
(I1
(I2
L1L
tp31
g15
I00
S'\x00\x00\x00\x00\x00\x00\xe0?\x00\x00\x00\x00\x00\x00\xf8?'
p32
tp33
basS'rew'
p34
(lp35
(lp36
F-1.5
aI2
aasS'ep_ret'
p37
(lp38
cnumpy.core.multiarray
scalar
p39
(g15
S'\x00\x00\x00\x00\x00\x00\xe0?'
p40
tp41
Rp42
asa."""


def trajectories(
    num_episodes: int = 3, num_rounds: int = 4, num_agents: int = 2
) -> list[dict[str, Any]]:
    """As `render.py` of MAGAIL makes them: agent k sees k + 2 numbers and has 3 actions."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(num_episodes):
        seen = [rng.normal(size=(num_rounds, k + 2)) for k in range(num_agents)]
        chosen = rng.integers(3, size=(num_agents, num_rounds))
        earned = rng.normal(size=(num_agents, num_rounds))
        found.append(
            {
                "ob": seen,
                "ac": [[np.eye(3)[action] for action in own] for own in chosen],
                "rew": [list(own) for own in earned],
                "ep_ret": list(earned.sum(axis=1)),
                "all_ob": np.concatenate(seen, axis=1),
            }
        )
    return found


def assert_is(demonstrations: Demonstrations, expected: list[dict[str, Any]]) -> None:
    """The demonstrations hold what the trajectories do, and everybody acts in every round."""
    assert demonstrations.num_episodes == len(expected)
    for k, record in enumerate(demonstrations.records.values()):
        assert record.participates.all()
        lengths = [len(one["rew"][k]) for one in expected]
        assert record.episode.tolist() == np.repeat(range(len(expected)), lengths).tolist()
        assert record.round.tolist() == [t for length in lengths for t in range(length)]
        seen = np.concatenate(
            [np.reshape(one["ob"][k], (len(one["rew"][k]), -1)) for one in expected]
        )
        np.testing.assert_array_equal(record.observation, seen.astype(np.float32))
        chosen = np.concatenate([np.argmax(one["ac"][k], axis=1) for one in expected])
        np.testing.assert_array_equal(record.action, chosen)
        earned = np.concatenate([one["rew"][k] for one in expected])
        np.testing.assert_array_equal(record.reward, earned.astype(np.float32))


def as_rows(source: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same in long form; both agents get the width of the first."""
    return [
        {
            "episode": e,
            "round": t,
            "agent": f"agent_{k + 1}",
            "observation": one["ob"][k][t][:2].tolist(),
            "action": int(np.argmax(one["ac"][k][t])),
            "reward": float(one["rew"][k][t]),
        }
        for e, one in enumerate(source)
        for k in range(len(one["ob"]))
        for t in range(len(one["rew"][k]))
    ]


def narrow(source: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `as_rows` holds, as trajectories again."""
    return [{**one, "ob": [seen[:, :2] for seen in one["ob"]]} for one in source]
