"""Distributions of a search, written as grids are: ``{"lr": {"loguniform": [1e-5, 1e-3]}}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Domain

from rllib_amagail.cli.errors import CommandError, one_line
from rllib_amagail.search_spaces import extremes

GRID = "grid_search"

_CHOICE = "choice"
# Ray Tune's functions by name, and what their list holds.
_RANGES: Mapping[str, tuple[Callable[..., Domain], tuple[str, ...]]] = {
    "uniform": (tune.uniform, ("lower", "upper")),
    "quniform": (tune.quniform, ("lower", "upper", "step")),
    "loguniform": (tune.loguniform, ("lower", "upper")),
    "qloguniform": (tune.qloguniform, ("lower", "upper", "step")),
    "randint": (tune.randint, ("lower", "upper")),
    "qrandint": (tune.qrandint, ("lower", "upper", "step")),
    "lograndint": (tune.lograndint, ("lower", "upper")),
}
DISTRIBUTIONS = (*_RANGES, _CHOICE)


def with_distributions(value: Any, key: str = "config") -> Any:
    """A copy in which descriptions of distributions are Ray Tune's.

    Args:
        value: settings, or a part of them.
        key: what the part is called, for errors.

    Raises:
        CommandError: a description with other numbers than its distribution takes.
    """
    if not isinstance(value, Mapping):
        return value
    name = str(next(iter(value))) if len(value) == 1 else ""
    if name == _CHOICE:
        values = value[name]
        if not isinstance(values, list) or not values:
            raise CommandError(f"{key}: choice is {values!r}; expected a list of values")
        return tune.choice(values)
    if name in _RANGES:
        return _range(name, value[name], key)
    return {inner: with_distributions(part, str(inner)) for inner, part in value.items()}


def _range(name: str, numbers: Any, key: str) -> Domain:
    make, expected = _RANGES[name]
    is_numbers = isinstance(numbers, list) and all(
        isinstance(n, int | float) and not isinstance(n, bool) for n in numbers
    )
    found = f"{key}: {name} is {numbers!r}"
    if not is_numbers or len(numbers) != len(expected):
        raise CommandError(f"{found}; expected numbers [{', '.join(expected)}]")
    if not numbers[0] < numbers[1]:
        raise CommandError(f"{found}; expected lower < upper")
    if "randint" in name and not all(isinstance(n, int) for n in numbers):
        raise CommandError(f"{found}; expected whole numbers")
    try:
        return make(*numbers)
    except ValueError as error:  # such as the logarithm of 0
        raise CommandError(f"{found}: {one_line(error)}") from error


def is_grid(value: Any) -> bool:
    """Whether this is ``{"grid_search": [...]}``."""
    return isinstance(value, Mapping) and set(value) == {GRID}


def map_values(change: Callable[[Any], Any], value: Any) -> Any:
    """`change` of a value, or of every value of a grid or a choice."""
    if is_grid(value):
        return {GRID: [change(one) for one in value[GRID]]}
    if isinstance(value, Categorical):
        return tune.choice([change(one) for one in value.categories])
    return change(value)


def grids(value: Any) -> list[list[Any]]:
    """The values of every grid in settings.

    Raises:
        CommandError: a grid that is no list, or empty.
    """
    if is_grid(value):
        if not isinstance(value[GRID], list) or not value[GRID]:
            raise CommandError(f"grid_search is {value[GRID]!r}; expected a list of values")
        return [value[GRID]]
    if not isinstance(value, Mapping):
        return []
    return [values for inner in value.values() for values in grids(inner)]


def domains(value: Any) -> list[Domain]:
    """Every distribution in settings."""
    if isinstance(value, Domain):
        return [value]
    if not isinstance(value, Mapping):
        return []
    return [domain for inner in value.values() for domain in domains(inner)]


def variants(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings without grids and distributions.

    Few, but every value of every grid and choice and both ends of every range are in one.

    Raises:
        CommandError: a bad grid, or a distribution without ends.
    """
    tried = [*grids(settings), *(_ends(domain) for domain in domains(settings))]
    return [_pick(settings, index) for index in range(max([1, *map(len, tried)]))]


def _pick(value: Any, index: int) -> Any:
    if is_grid(value):
        return value[GRID][index % len(value[GRID])]
    if isinstance(value, Domain):
        ends = _ends(value)
        return ends[index % len(ends)]
    if isinstance(value, Mapping):
        return {key: _pick(inner, index) for key, inner in value.items()}
    return value


def _ends(domain: Domain) -> list[Any]:
    try:
        return extremes(domain)
    except ValueError as error:
        raise CommandError(one_line(error)) from error
