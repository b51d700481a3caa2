"""What player functions that are values have in common: equality and JSON from their parameters."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from rllib_amagail.turn_sampler import PlayerFunction


@dataclass(frozen=True, eq=False)
class ValuePlayerFunction(PlayerFunction):
    """A player function made of its parameters alone: JSON and equality come from the fields."""

    num_agents: int = field(init=False)
    type_name: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        values = {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.init}
        return {
            "type": self.type_name,
            **{name: np.asarray(value).tolist() for name, value in values.items()},
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValuePlayerFunction):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.type_name, self.num_agents))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
