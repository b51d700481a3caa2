"""What is worth searching, in which ranges, and what may change while a policy trains.

Ranges are those in which the paper's games were learned while the package was made; every tuned
config changes some of them for its game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Domain, Float, Integer

# Fields that the next iteration reads anew. The others tell how a run starts (networks, cloning,
# demonstrations, worlds), or what its numbers mean; to change them would not do what it says.
CHANGEABLE = (
    "lr",
    "entropy_coeff",
    "num_epochs",
    "clip_param",
    "vf_loss_coeff",
    "grad_clip",
    "minibatch_size",
    "discriminator_lr",
    "discriminator_steps",
    "discriminator_batch_size",
    "discriminator_input_noise",
    "discriminator_group_lasso",
    "gradient_penalty",
    "bc_anchor",
    "bc_loss_coeff",
    "kfac_kl_clip",
    "kfac_discriminator_kl_clip",
    "kfac_damping",
    "kfac_value_steps",
    "weight_decay",
)


def imitation_search_space(**changes: Domain | None) -> dict[str, Domain]:
    """Ranges around `AMAGAILConfig`'s defaults beside ``generator="ppo"``.

    Args:
        **changes: other ranges and further fields; None leaves a field out.

    Returns:
        Ray Tune's distributions by field, for ``param_space``.
    """
    space: dict[str, Domain | None] = {
        "lr": tune.loguniform(1e-4, 3e-3),
        "entropy_coeff": tune.loguniform(1e-5, 1e-2),
        "discriminator_lr": tune.loguniform(1e-4, 3e-3),
        "discriminator_steps": tune.randint(1, 13),
        # 1 underfits on the cooperative games.
        "gradient_penalty": tune.loguniform(2e-3, 0.5),
        # Without an anchor adversarial steps can do harm.
        "bc_anchor": tune.loguniform(0.1, 10.0),
    }
    space.update(changes)
    return {field: domain for field, domain in space.items() if domain is not None}


def extremes(domain: Domain) -> list[Any]:
    """The values at the ends of a range, or all of a choice.

    Raises:
        ValueError: a distribution without ends.
    """
    if isinstance(domain, Categorical):
        return list(domain.categories)
    lower, upper = _bounds(domain)
    return [lower, upper]


def mutations(space: Mapping[str, Any]) -> dict[str, Domain | list[Any]]:
    """What population based training may change in flight: ``hyperparam_mutations`` for Ray Tune.

    Fields of `space` that are not `CHANGEABLE` are left out: a trial draws them once, and whoever
    goes on from its checkpoint takes them over.
    """
    return {
        field: list(domain.categories) if isinstance(domain, Categorical) else domain
        for field, domain in space.items()
        if field in CHANGEABLE and isinstance(domain, Domain)
    }


def stay_in_range(space: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A ``custom_explore_fn`` for Ray Tune, which by itself multiplies values out of their range.

    Args:
        space: distributions by field.

    Returns:
        Maps a trial's config to the same with the fields of `space` clipped to their ranges.
    """
    bounds = {
        field: _bounds(domain)
        for field, domain in space.items()
        if isinstance(domain, Float | Integer)
    }
    return partial(_clipped, bounds)


def _clipped(bounds: Mapping[str, tuple[float, float]], config: dict[str, Any]) -> dict[str, Any]:
    ranges = {field: ends for field, ends in bounds.items() if field in config}
    return config | {
        field: min(max(config[field], lower), upper) for field, (lower, upper) in ranges.items()
    }


def _bounds(domain: Domain) -> tuple[float, float]:
    if not isinstance(domain, Float | Integer):
        raise ValueError(f"the distribution {domain} has no ends; expected a range or a choice")
    # The end of a range of integers is not in it.
    upper = domain.upper - 1 if isinstance(domain, Integer) else domain.upper
    if not (math.isfinite(domain.lower) and math.isfinite(upper)):
        raise ValueError(f"the distribution {domain} has no ends; expected a range or a choice")
    return domain.lower, upper
