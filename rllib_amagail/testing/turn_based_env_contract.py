"""What an environment must keep to under `TurnBasedEnv`, as a suite of tests to inherit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.spaces import MASK_KEY


@dataclass
class PlayedEpisode:
    """What `TurnBasedEnv` returned in one episode; the lists run over its steps."""

    observations: list[dict[str, Any]] = field(default_factory=list)  # one more: the reset
    infos: list[dict[str, dict[str, Any]]] = field(default_factory=list)  # one more: the reset
    actions: list[dict[str, Any]] = field(default_factory=list)
    rewards: list[dict[str, float]] = field(default_factory=list)
    terminateds: list[dict[str, bool]] = field(default_factory=list)
    truncateds: list[dict[str, bool]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the last step ended the episode."""
        return any(flags[-1]["__all__"] for flags in (self.terminateds, self.truncateds) if flags)

    def ended(self, steps: int) -> set[str]:
        """The agents that the last of `steps` steps reports as ended; nobody for the reset, 0."""
        if steps == 0:
            return set()
        flags = self.terminateds[steps - 1], self.truncateds[steps - 1]
        told = {agent for each in flags for agent, flag in each.items() if flag}
        if "__all__" in told:
            told |= set(self.observations[steps])
        return told - {"__all__"}


class TurnBasedEnvContract:
    """Tests of one environment, wrapped in `TurnBasedEnv`, on episodes with random legal actions.

    Inherit it in a test module, and pytest runs all of it:

        class TestMyEnv(TurnBasedEnvContract):
            def make_env(self) -> TurnBasedEnv:
                return TurnBasedEnv(MyEnv(), IndependentStochastic(0.5, num_agents=2))

    Attributes:
        num_episodes: how many episodes each test plays.
        max_rounds: an episode must be over by then.
        seed: of the first episode; the next ones have the seeds that follow.
    """

    num_episodes = 5
    max_rounds = 1_000
    seed = 0

    def make_env(self) -> TurnBasedEnv:
        """Return the wrapped environment under test. Override this."""
        raise NotImplementedError("override make_env() in your test class")

    def play(self, env: TurnBasedEnv, seed: int | None, action_seed: int) -> PlayedEpisode:
        """Play one episode."""
        rng = np.random.default_rng(action_seed)
        episode = PlayedEpisode()
        observations, infos = env.reset(seed=seed)
        episode.observations.append(observations)
        episode.infos.append(infos)
        while not episode.over:
            assert len(episode.actions) < self.max_rounds, (
                f"the episode is not over after {self.max_rounds} steps: end it, or raise "
                f"max_rounds"
            )
            # In sorted order, so that equal episodes take equal random numbers.
            actions = {
                agent: random_action(env.action_spaces[agent], observations[agent], rng)
                for agent in sorted(observations)
                if agent not in episode.ended(len(episode.actions))
            }
            observations, rewards, terminateds, truncateds, infos = env.step(actions)
            episode.observations.append(observations)
            episode.infos.append(infos)
            episode.actions.append(actions)
            episode.rewards.append(rewards)
            episode.terminateds.append(terminateds)
            episode.truncateds.append(truncateds)
        return episode

    def episodes(self, env: TurnBasedEnv) -> list[PlayedEpisode]:
        """`num_episodes` episodes, each with a seed of its own."""
        seeds = range(self.seed, self.seed + self.num_episodes)
        return [self.play(env, seed, seed) for seed in seeds]

    def test_agents_and_spaces(self) -> None:
        env = self.make_env()
        assert len(set(env.possible_agents)) == len(env.possible_agents) > 0, (
            f"possible_agents is {env.possible_agents}, expected names that differ"
        )
        for spaces in (env.observation_spaces, env.action_spaces):
            assert list(spaces) == env.possible_agents
            assert all(isinstance(space, Space) for space in spaces.values())

    def test_observations_are_in_their_spaces(self) -> None:
        env = self.make_env()
        for episode in self.episodes(env):
            for step, observations in enumerate(episode.observations):
                for agent, observation in observations.items():
                    assert env.observation_spaces[agent].contains(observation), (
                        f"{agent!r} observes {observation!r} after {step} steps, expected a value "
                        f"of {env.observation_spaces[agent]}: mind the dtype and the bounds"
                    )

    def test_infos_tell_round_and_participation(self) -> None:
        for episode in self.episodes(self.make_env()):
            first = min(info["round"] for info in episode.infos[0].values())
            for steps, (observations, infos) in enumerate(
                zip(episode.observations, episode.infos, strict=True)
            ):
                assert list(infos) == list(observations)
                ended = episode.ended(steps)
                for agent, info in infos.items():
                    # An ending may be reported late, with the round in which it happened.
                    on_time = info["round"] == first + steps
                    assert on_time or (agent in ended and info["round"] < first + steps)
                    assert isinstance(info["participates"], bool)
                    assert not (agent in ended and info["participates"])

    def test_rewards_are_finite_numbers_for_all_that_acted(self) -> None:
        for episode in self.episodes(self.make_env()):
            for step, (actions, rewards) in enumerate(
                zip(episode.actions, episode.rewards, strict=True)
            ):
                assert set(actions) <= set(rewards)
                for agent, reward in rewards.items():
                    assert isinstance(reward, float), f"{agent!r} has {type(reward)} as reward"
                    assert np.isfinite(reward), f"{agent!r} has reward {reward} in step {step}"

    def test_agents_that_acted_end_once_and_are_gone_then(self) -> None:
        for episode in self.episodes(self.make_env()):
            ended: set[str] = set()
            for step, actions in enumerate(episode.actions):
                assert not ended & set(actions)
                assert not ended & set(episode.observations[step + 1]), (
                    f"{sorted(ended)} have ended before step {step}, but it observes "
                    f"{sorted(episode.observations[step + 1])}: an agent's ending is final"
                )
                ended |= episode.ended(step + 1)
            assert ended == {agent for actions in episode.actions for agent in actions}

    def test_same_seed_gives_the_same_episode(self) -> None:
        first, second = (self.play(self.make_env(), self.seed, 0) for _ in range(2))
        env = self.make_env()
        self.play(env, self.seed + 1, 1)
        third = self.play(env, self.seed, 0)
        assert_same(first, second, "two environments with the same seed")
        assert_same(first, third, "an environment that has played before, reset with the same seed")

    def test_state_continues_the_streams(self) -> None:
        env = self.make_env()
        self.play(env, self.seed, 0)
        state = env.get_state()
        expected = self.play(env, None, 1)
        restored = self.make_env()
        if "env" not in state:
            # Nothing is promised about an environment's own stream then.
            restored.set_state(state)
            restored.reset()
            return
        restored.set_state(state)
        assert_same(expected, self.play(restored, None, 1), "an environment and its restored copy")

    def test_rllib_records_the_turns(self) -> None:
        env = self.make_env()
        for played in self.episodes(env):
            recorded = recorded_by_rllib(env, played)
            turns = {agent: 0 for actions in played.actions for agent in actions}
            returns = dict.fromkeys(turns, 0.0)
            for actions, rewards in zip(played.actions, played.rewards, strict=True):
                for agent in actions:
                    turns[agent] += 1
                for agent, reward in rewards.items():
                    if turns.get(agent, 0) > 0:  # before its first action RLlib credits nothing
                        returns[agent] += reward
            found = {agent: len(e) for agent, e in recorded.agent_episodes.items() if len(e) > 0}
            assert found == turns
            for agent, expected in returns.items():
                agent_episode = recorded.agent_episodes[agent]
                np.testing.assert_allclose(agent_episode.get_return(), expected, rtol=1e-5)
                assert agent_episode.is_done


def random_action(space: Space, observation: Any, rng: np.random.Generator) -> Any:
    """A random action of `space`, legal where `observation` has an action mask."""
    space.seed(int(rng.integers(2**31)))
    if not isinstance(observation, dict) or MASK_KEY not in observation:
        return space.sample()
    mask = np.asarray(observation[MASK_KEY], np.int8)
    assert mask.any(), "an agent that is asked to act has no legal action: allow at least one"
    if isinstance(space, MultiDiscrete):
        return space.sample(mask=tuple(np.split(mask, np.cumsum(space.nvec)[:-1])))
    return space.sample(mask=mask)


def recorded_by_rllib(env: TurnBasedEnv, played: PlayedEpisode) -> MultiAgentEpisode:
    """The episode as RLlib's env runner records it."""
    episode = MultiAgentEpisode(
        observation_space=env.observation_spaces,
        action_space=env.action_spaces,
        agent_to_module_mapping_fn=lambda agent, *args, **kwargs: agent,
    )
    episode.add_env_reset(observations=played.observations[0], infos=played.infos[0])
    for step, actions in enumerate(played.actions):
        assert not episode.is_done, f"RLlib holds the episode to be over before step {step}"
        assert set(actions) == set(episode.get_agents_to_act())
        episode.add_env_step(
            played.observations[step + 1],
            actions,
            played.rewards[step],
            played.infos[step + 1],
            terminateds=played.terminateds[step],
            truncateds=played.truncateds[step],
        )
    assert episode.is_done
    return episode


def assert_same(first: Any, second: Any, what: str) -> None:
    """Raise AssertionError unless two episodes, or parts of them, are exactly equal."""
    if isinstance(first, PlayedEpisode):
        first, second = vars(first), vars(second)
    if isinstance(first, dict):
        assert list(first) == list(second), f"{what} differ: {list(first)} and {list(second)}"
        for key, value in first.items():
            assert_same(value, second[key], f"{what}, {key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), f"{what} differ in length: {len(first)}, {len(second)}"
        for position, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{what}, {position}")
    else:
        np.testing.assert_array_equal(first, second, err_msg=f"{what} differ")
