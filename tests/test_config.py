"""Settings that cannot work are refused in one clear sentence, before anything starts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from ray import tune
from ray.rllib.algorithms.ppo import PPO

from rllib_amagail import AMAGAIL, AMAGAILConfig, DemonstrationsError, TurnBasedEnv, register
from rllib_amagail.demonstrations import AgentRecord, Demonstrations
from rllib_amagail.games import GAME_NAMES
from tests.test_algorithm import small_config
from tests.toys import EchoGame, echo_demonstrations


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"reward_form": "wgan"}, "expected one of gail, airl, magail"),
        ({"reward_source": "human"}, "expected one of discriminator, environment, zero"),
        ({"phi": "ignored"}, "expected one of filtered, chosen, executed"),
        ({"discriminator_steps": 0}, "discriminator_steps is 0; expected >= 1"),
        ({"gradient_penalty": -1.0}, "gradient_penalty is -1.0; expected >= 0"),
        ({"bc_anchor": float("nan")}, "bc_anchor is nan"),
        ({"bc_loss_coeff": -0.1}, "bc_loss_coeff is -0.1; expected >= 0"),
        ({"bc_loss_coeff": 0.1, "reward_source": "environment"}, "without demonstrations"),
        ({"discriminator_input_noise": -1.0}, "input_noise is -1.0; expected >= 0"),
        ({"discriminator_group_lasso": -1.0}, "group_lasso is -1.0; expected >= 0"),
        ({"discriminator_inputs": "sas"}, "expected one of state_action, state, state_pair"),
        ({"discriminator_hiddens": []}, "expected positive widths"),
        ({"num_demonstrations": 0}, "num_demonstrations is 0; expected >= 1"),
        ({"num_demonstrations": 31}, "have 30 episodes"),
        ({"demonstrations": "nowhere.parquet"}, r"nowhere\.parquet"),
    ],
)
def test_fields_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_config().imitation(**setting).validate()


def test_minus_one_is_refused_when_an_algorithm_is_built(ray_session: None) -> None:
    """RLlib, which copies configs by dicts, takes -1 for a setting that it no longer has."""
    config = small_config().imitation(gradient_penalty=-1.0)
    with pytest.raises(ValueError, match=r"gradient_penalty is -1\.0; expected >= 0"):
        config.build_algo()
    with pytest.raises(ValueError, match="past_turns is -1; expected >= 0"):
        small_config().history(past_turns=-1).build_algo()


def test_unknown_keys_are_errors_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"'reward_from'.*'reward_form'"):
        AMAGAILConfig().update_from_dict({"reward_from": "airl"})
    with pytest.raises(TypeError, match="reward_from"):
        AMAGAILConfig().imitation(reward_from="airl")


def test_known_keys_of_both_kinds_are_taken() -> None:
    config = AMAGAILConfig().update_from_dict(
        {"reward_form": "airl", "lr": 0.5, "model_config": {"fcnet_hiddens": [7]}}
    )
    assert (config.reward_form, config.lr) == ("airl", 0.5)
    assert config.model_config["fcnet_hiddens"] == [7]
    assert config.model_config["fcnet_activation"] == "tanh"


def test_every_imitation_argument_sets_its_field() -> None:
    import inspect

    arguments = list(inspect.signature(AMAGAILConfig.imitation).parameters)[1:]
    values = {name: object() for name in arguments}
    config = AMAGAILConfig().imitation(**values)
    assert {name: getattr(config, name) for name in arguments} == values


def test_policies_default_to_one_per_agent() -> None:
    config = small_config(num_agents=3)
    config.imitation(demonstrations=echo_demonstrations(num_agents=3)).validate()
    assert set(config.policies) == {"agent_1", "agent_2", "agent_3"}
    assert config.policy_mapping_fn("agent_2", None) == "agent_2"


def test_an_environment_without_bundled_demonstrations_needs_some() -> None:
    with pytest.raises(ValueError, match="no demonstrations"):
        small_config().imitation(demonstrations=None).validate()


def test_demonstrations_of_other_agents_are_refused() -> None:
    config = small_config().imitation(demonstrations=echo_demonstrations(num_agents=3))
    with pytest.raises(DemonstrationsError, match="agent_3"):
        config.validate()


def test_demonstrations_of_other_spaces_are_refused() -> None:
    config = small_config().imitation(demonstrations=echo_demonstrations(kind="box"))
    with pytest.raises(DemonstrationsError, match=r"found Box.*expected Discrete"):
        config.validate()


def test_an_agent_without_a_turn_is_named() -> None:
    whole = echo_demonstrations()
    record = whole.records["agent_2"]
    silent = AgentRecord(
        agent="agent_2",
        episode=record.episode,
        round=record.round,
        participates=np.zeros(len(record), bool),
        observation=record.observation,
        action=np.zeros_like(record.action),
        reward=record.reward,
    )
    demonstrations = Demonstrations(
        agents=whole.agents,
        records={**whole.records, "agent_2": silent},
        observation_spaces=whole.observation_spaces,
        action_spaces=whole.action_spaces,
    )
    with pytest.raises(DemonstrationsError, match="agent_2"):
        small_config().imitation(demonstrations=demonstrations).validate()


def test_the_environments_own_error_comes_first() -> None:
    def broken(env_config: dict[str, Any]) -> TurnBasedEnv:
        raise RuntimeError("no licence found for the simulator")

    tune.register_env("broken", broken)
    with pytest.raises(RuntimeError, match="no licence"):
        AMAGAILConfig().environment("broken").validate()


def test_a_single_agent_environment_is_refused() -> None:
    tune.register_env("cartpole", lambda env_config: gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="expected an RLlib MultiAgentEnv"):
        AMAGAILConfig().environment("cartpole").validate()


def test_phi_as_an_action_needs_an_environment_that_offers_it() -> None:
    tune.register_env("deaf", lambda env_config: TurnBasedEnv(EchoGame()))
    config = small_config().environment("deaf").imitation(phi="chosen")
    with pytest.raises(ValueError, match="phi_is_action"):
        config.validate()


def test_actions_that_do_not_start_at_zero_are_refused() -> None:
    class Shifted(EchoGame):
        def __init__(self) -> None:
            super().__init__()
            self.action_spaces = dict.fromkeys(
                self.possible_agents, gym.spaces.Discrete(3, start=1)
            )

    tune.register_env("shifted", lambda env_config: TurnBasedEnv(Shifted()))
    config = small_config().environment("shifted", env_config={})
    with pytest.raises(ValueError, match="from 0 on"):
        config.validate()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator", "mack"),
        ("critic", "joint"),
        ("reward_shaping", True),
        ("batch_mode", "truncate_episodes"),
    ],
)
def test_what_recurrent_policies_cannot_be_combined_with(name: str, value: Any) -> None:
    config = small_config().rl_module(model_config={"use_lstm": True})
    config.env_runners(batch_mode="complete_episodes")
    config.imitation(reward_form="airl").update_from_dict({name: value})
    with pytest.raises(ValueError, match=f"use_lstm is True and {name} is {value!r}"):
        config.validate()


def test_importing_registers_names_and_starts_no_ray() -> None:
    import subprocess
    import sys

    code = (
        "import rllib_amagail, ray; from ray.tune.registry import _global_registry as r;"
        "assert not ray.is_initialized();"
        f"assert all(r.contains('env_creator', n) for n in {GAME_NAMES!r});"
        "assert r.contains('trainable_class', 'AMAGAIL')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_twice_does_no_harm() -> None:
    register()
    register()


def test_amagail_is_a_ppo_with_its_own_defaults() -> None:
    assert issubclass(AMAGAIL, PPO)
    assert isinstance(AMAGAIL.get_default_config(), AMAGAILConfig)
    assert AMAGAILConfig().algo_class is AMAGAIL


def test_one_turn_is_too_few_to_learn_from() -> None:
    whole = echo_demonstrations(episodes=1)
    record = whole.records["agent_2"]
    first = int(np.flatnonzero(record.participates)[0])
    demonstrations = Demonstrations(
        agents=whole.agents,
        records={
            **whole.records,
            "agent_2": AgentRecord(**record.columns(slice(first, first + 1)), agent="agent_2"),
        },
        observation_spaces=whole.observation_spaces,
        action_spaces=whole.action_spaces,
    )
    with pytest.raises(DemonstrationsError, match=r"'agent_2': 1.*expected at least 2"):
        small_config().imitation(demonstrations=demonstrations).validate()
