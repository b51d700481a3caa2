"""The paper's baselines: `AMAGAIL`'s code under other settings, with names of their own."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.algorithm.env_check import GameDescription
from rllib_amagail.envs.vector_env import GymnasiumGame


class MAGAILConfig(AMAGAILConfig):
    """Configuration of `MAGAIL`: `AMAGAILConfig` with ``phi="chosen"``.

    The paper (section 5) compares with MAGAIL, for which phi is an ordinary action, and does not
    say which action the discriminator judges. Both readings are one setting away:
    ``.imitation(phi="chosen")`` judges what the policy chose, ``phi="executed"`` what the game
    carried out. Nothing else differs from AMAGAIL.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class or MAGAIL)
        self.phi = "chosen"

    def validate(self) -> None:
        """As of `AMAGAILConfig`.

        Raises:
            ValueError: also for ``phi="filtered"``.
        """
        if self.phi == "filtered":
            raise ValueError(
                "phi is 'filtered'; expected 'chosen' or 'executed'. With phi filtered out it is "
                "AMAGAIL, not MAGAIL"
            )
        super().validate()


class MAGAIL(AMAGAIL):
    """Multi-agent generative adversarial imitation learning: phi is an action like any other."""

    @classmethod
    def get_default_config(cls) -> MAGAILConfig:
        """AMAGAIL's settings with phi as an action."""
        return MAGAILConfig()


class GAILConfig(AMAGAILConfig):
    """Configuration of `GAIL`: `AMAGAILConfig` for one agent.

    The environment may be a game with one agent, or anything with Gymnasium's interface: a name
    Gymnasium or Ray Tune knows, or a class. Of such an environment `GymnasiumGame` makes a game
    whose agent is called "agent", as the demonstrations must call it, too.

    Example:
        >>> config = GAILConfig().environment("CartPole-v1", env_config={"max_episode_steps": 50})
    """

    env: Any

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class or GAIL)

    def validate(self) -> None:
        """As of `AMAGAILConfig`; a single-agent environment becomes a `GymnasiumGame`."""
        if self.env is not None and self.env is not GymnasiumGame and _is_single_agent(self):
            self.env_config = {**self.env_config, GymnasiumGame.ENV: self.env}
            self.env = GymnasiumGame
        super().validate()

    def check_game(self, game: GameDescription) -> None:
        """Raise ValueError for a game of several agents."""
        if len(game.agents) != 1:
            raise ValueError(
                f"environment {self.env!r} has the agents {game.agents}, but GAIL is for one. Use "
                "AMAGAIL, or MAGAIL where phi is to be an ordinary action"
            )


class GAIL(AMAGAIL):
    """Generative adversarial imitation learning (Ho and Ermon 2016): AMAGAIL with N = 1."""

    @classmethod
    def get_default_config(cls) -> GAILConfig:
        """AMAGAIL's settings for one agent."""
        return GAILConfig()


class MACKConfig(AMAGAILConfig):
    """Configuration of `MACK`: ``generator="mack"`` on the environment's true reward.

    Needs no demonstrations, and trains experts. ``.imitation(critic="joint")`` lets the baseline
    see all agents.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class or MACK)
        self.imitation(generator="mack", reward_source="environment")
        self.value_only_iterations = 0  # there is no cloned policy to be careful with

    def validate(self) -> None:
        """As of `AMAGAILConfig`.

        Raises:
            ValueError: also for another generator or source of rewards.
        """
        for name, expected in (("generator", "mack"), ("reward_source", "environment")):
            if getattr(self, name) != expected:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; expected {expected!r} for MACK. Use "
                    "AMAGAIL, whose settings include both"
                )
        super().validate()


class MACK(AMAGAIL):
    """Multi-agent actor-critic with Kronecker factors, from the true reward (Song et al. 2018)."""

    @classmethod
    def get_default_config(cls) -> MACKConfig:
        """The paper's generator, without imitation."""
        return MACKConfig()


def _is_single_agent(config: AMAGAILConfig) -> bool:
    _, create = Algorithm._get_env_id_and_creator(config.env, config)
    env: Any = create(EnvContext(config.env_config, worker_index=0))
    try:
        return not isinstance(env.unwrapped, MultiAgentEnv)
    finally:
        env.close()
