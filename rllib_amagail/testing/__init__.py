"""Contract suites to inherit in your own tests."""

from rllib_amagail.testing.batched_worlds_contract import BatchedWorldsContract
from rllib_amagail.testing.player_function_contract import PlayerFunctionContract
from rllib_amagail.testing.turn_based_env_contract import TurnBasedEnvContract

__all__ = ["BatchedWorldsContract", "PlayerFunctionContract", "TurnBasedEnvContract"]
