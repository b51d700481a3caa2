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


def check_agents(config: Any, agents: Sequence[str]) -> None:
    """Check the agents of the game, and who of them is imitated.

    Args:
        config: an `AMAGAILConfig`, with its policies.
        agents: of the game.

    Raises:
        ValueError: they are not on two sides, although what the one earns the other is to lose;
            nobody, or somebody else, is imitated; a policy would learn from nothing.
    """
    if judges_jointly(config) and config.discriminator_structure == "zero_sum":
        _check_sides(config.sides, agents)
    if config.imitated_agents is None or not config.uses_demonstrations:
        return
    found = config.imitated_agents
    if isinstance(found, str) or not found or not set(found) <= set(agents):
        raise ValueError(
            f"imitated_agents is {found!r}; expected None or a list of some of the agents "
            f"{', '.join(agents)}"
        )
    untaught = set(config.policies) - set(config.taught_modules())
    idle = [module for module in sorted(untaught) if _is_trained(config, module)]
    if idle and not judges_jointly(config):
        raise ValueError(
            f"imitated_agents is {list(found)}, so policies {', '.join(idle)} have nobody to "
            "learn from; expected discriminator_structure 'centralised' or 'zero_sum', which "
            "reward everybody, or .multi_agent(policies_to_train=[...]) without these policies"
        )


def _check_sides(sides: Any, agents: Sequence[str]) -> None:
    found = f"discriminator_structure is 'zero_sum', sides are {sides!r} and the agents are "
    if sides is None and len(agents) != 2:
        raise ValueError(
            f"{found}{', '.join(agents)}; expected two agents, or .roles(sides=[[...], [...]]), or "
            "discriminator_structure 'centralised' or 'decentralised'"
        )
    named = [] if sides is None else [agent for side in sides for agent in side]
    if sides is not None and (len(sides) != 2 or sorted(named) != sorted(agents) or not all(sides)):
        raise ValueError(
            f"{found}{', '.join(agents)}; expected two lists that name every agent once"
        )


def _is_trained(config: Any, module_id: str) -> bool:
    trained = config.policies_to_train
    if trained is None:
        return True
    return bool(trained(module_id, None)) if callable(trained) else module_id in trained
