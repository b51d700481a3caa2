"""What a discriminator that sees all agents asks of the other settings and of the game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_amagail.judge import JOINT
from rllib_amagail.learner.joint_rows import judges_jointly

_BESIDE_JOINT_ROWS: Mapping[str, tuple[Any, ...]] = {
    # A chunk of an episode does not hold what agents saw before it, and would tell on the policy.
    "batch_mode": ("complete_episodes",),
    "discriminator_inputs": ("state_action", "state"),
    "reward_shaping": (False,),
}
# What is paid to one side is taken from the other, so a reward needs a sign.
_BESIDE_ZERO_SUM: Mapping[str, tuple[Any, ...]] = {"reward_form": ("airl", "magail")}


def check_structure(config: Any) -> None:
    """Check the settings beside ``discriminator_structure``.

    Raises:
        ValueError: one that does not go with it.
    """
    if not judges_jointly(config):
        return
    structure = config.discriminator_structure
    needed = dict(_BESIDE_JOINT_ROWS)
    if structure == "zero_sum":
        needed |= _BESIDE_ZERO_SUM
    for name, allowed in needed.items():
        found = getattr(config, name)
        if found not in allowed:
            raise ValueError(
                f"discriminator_structure is {structure!r} and {name} is {found!r}; expected "
                f"{name} {' or '.join(map(repr, allowed))}, or "
                "discriminator_structure='decentralised'"
            )
    if JOINT in config.policies:
        raise ValueError(
            f"found a policy {JOINT!r}; expected another name, because discriminator_structure is "
            f"{structure!r} and its discriminator has this one"
        )


def check_game_structure(config: Any, agents: Sequence[str]) -> None:
    """Check the agents of the game.

    Raises:
        ValueError: not two of them, although what the one earns the other is to lose.
    """
    has_sides = judges_jointly(config) and config.discriminator_structure == "zero_sum"
    if has_sides and len(agents) != 2:
        raise ValueError(
            f"discriminator_structure is 'zero_sum' and the agents are {', '.join(agents)}; "
            "expected two agents. Set 'centralised' or 'decentralised'"
        )
