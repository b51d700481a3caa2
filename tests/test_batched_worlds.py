"""The protocol of batched worlds, and what environments and settings the runner refuses."""

from __future__ import annotations

import doctest
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from ray.rllib.connectors.module_to_env import GetActions
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule, MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env import INPUT_ENV_SPACES

from rllib_amagail.games import make_game
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.runners import batched_worlds
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_worlds import BatchedWorlds
from tests.batched_toys import AGENTS, GAME, ScriptedEnv, ScriptedWorlds, make_config, make_runner


def test_example_of_the_protocol_runs() -> None:
    results = doctest.testmod(batched_worlds)
    assert results.attempted > 0
    assert results.failed == 0


def test_particle_games_are_batched_worlds() -> None:
    assert isinstance(make_game(GAME), BatchedWorlds)


def test_spaces_are_those_of_rllibs_runner() -> None:
    found = make_runner(phi_is_action=True).get_spaces()
    assert set(found) == {INPUT_ENV_SPACES, "__env_single__", *AGENTS}
    assert found["right"][1] == found[INPUT_ENV_SPACES][1]["right"] == Discrete(4)
    assert found["left"] == (found[INPUT_ENV_SPACES][0]["left"], Discrete(3))


def test_a_runner_without_environment_takes_the_given_spaces() -> None:
    spaces = make_runner().get_spaces()
    config = make_config().env_runners(num_env_runners=1)
    runner = BatchedEnvRunner(config, worker_index=0, spaces=spaces)
    assert runner.env is None
    assert runner.get_spaces() == spaces
    assert runner.module["left"].observation_space == spaces["left"][0]
    with pytest.raises(ValueError, match="no environment"):
        runner.sample()
    with pytest.raises(AssertionError):
        runner.assert_healthy()


class Unbatched(ScriptedEnv):
    batched = None


class Misshapen(ScriptedEnv):
    """Worlds that are not what they should be, as `flaw` says."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.flaw = config["flaw"]

    def batched(self, batch_size: int, seed: int | None) -> Any:
        flaw = self.flaw
        worlds = ScriptedWorlds(self._script, batch_size + (flaw == "batch size"), self._box)
        if flaw == "agents":
            worlds.agents = ("right", "left")
        if flaw == "discrete observations":
            worlds.observation_spaces = dict.fromkeys(AGENTS, Discrete(3))
        if flaw == "wide observations":
            worlds.observation_spaces = dict.fromkeys(AGENTS, Box(0, 1, (9,), np.float32))
        if flaw == "mixed actions":
            worlds.action_spaces["left"] = Box(0, 1, (2,), np.float32)
        if flaw == "flat rewards":
            step = worlds.step
            worlds.step = lambda actions: replace(
                (result := step(actions)), rewards=result.rewards[:, 0]
            )
        return object() if flaw == "kind" else worlds


@pytest.mark.parametrize(
    ("flaw", "error", "message"),
    [
        ("kind", TypeError, "returned a object"),
        ("agents", ValueError, r"\['right', 'left'\], 2\), expected \(\['left', 'right'\], 2"),
        ("batch size", ValueError, r"'right'\], 3\), expected \(\['left', 'right'\], 2"),
        ("discrete observations", ValueError, r"'left' observes a Discrete\(3\), expected a Box"),
        (
            "wide observations",
            RuntimeError,
            r"of shape \(2, 4\), expected float32 of shape \(2, 9\)",
        ),
        ("mixed actions", ValueError, r"'left': \(2,\), 'right': \(\)"),
    ],
)
def test_worlds_that_do_not_fit(flaw: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_runner(Misshapen, flaw=flaw).sample(num_timesteps=2)


def test_rounds_that_do_not_fit() -> None:
    with pytest.raises(RuntimeError) as error:
        make_runner(Misshapen, flaw="flat rewards").sample(num_timesteps=2)
    expected = "shapes ((2,), (2,)), expected ((2, 2), (2,))"
    assert expected in str(error.value.__cause__)


def test_settings_that_are_not_supported() -> None:
    with pytest.raises(TypeError, match="Unbatched has no method batched"):
        make_runner(Unbatched)
    connected = make_config().env_runners(module_to_env_connector=lambda env, spaces: GetActions())
    with pytest.raises(ValueError, match=r"module_to_env_connector is set.*TurnEnvRunner"):
        BatchedEnvRunner(connected)
    shared = make_config(phi_is_action=True)
    shared.multi_agent(policies={"both"}, policy_mapping_fn=lambda agent, episode: "both")
    with pytest.raises(ValueError, match=r"'right' has spaces .*Discrete\(4\)"):
        BatchedEnvRunner(shared)
    with pytest.raises(ValueError, match="one of them at most"):
        make_runner().sample(num_timesteps=1, num_episodes=1)


class OneForAll(MultiRLModule):
    """Policies with a common part, so that they cannot be asked one by one."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        return {module_id: self[module_id].forward_exploration(rows) for module_id, rows in batch}


def test_policies_that_are_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    together = make_config().rl_module(
        rl_module_spec=MultiRLModuleSpec(
            multi_rl_module_class=OneForAll,
            rl_module_specs=dict.fromkeys(AGENTS, RLModuleSpec(module_class=AgentModule)),
        )
    )
    with pytest.raises(ValueError, match="OneForAll has its own forward"):
        BatchedEnvRunner(together)
    monkeypatch.setattr(AgentModule, "get_initial_state", lambda self: {"h": np.zeros(1)})
    with pytest.raises(ValueError, match=r"it is recurrent.*TurnEnvRunner"):
        make_runner()
