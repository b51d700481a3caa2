"""Contract suites for classes that users write themselves. They need pytest only to be run."""

from rllib_amagail.testing.player_function_contract import PlayerFunctionContract

__all__ = ["PlayerFunctionContract"]
