"""What batched worlds must keep to, as a suite of tests to inherit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space

from rllib_amagail.runners.batched_worlds import BatchedWorlds

Arrays = dict[str, np.ndarray]
Change = Callable[[BatchedWorlds, np.ndarray, np.ndarray], np.ndarray]


class BatchedWorldsContract:
    """Tests of one kind of `BatchedWorlds`, on rounds with random actions.

    Inherit it in a test module, and pytest runs all of it:

        class TestMyWorlds(BatchedWorldsContract):
            def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
                return MyWorlds(batch_size, seed)

    Attributes:
        num_worlds: B.
        num_rounds: how many rounds each test plays; some episode must be over by then.
        seed: of the worlds and the actions.
        resets_in_mid_episode: False for worlds that can only reset ended episodes, or all worlds
            at once. That is all that the runner asks for.
    """

    num_worlds = 3
    num_rounds = 60
    seed = 0
    resets_in_mid_episode = True

    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        """Return the worlds under test. Override this."""
        raise NotImplementedError("override make_worlds() in your test class")

    def draw_actions(self, worlds: BatchedWorlds, rng: np.random.Generator) -> np.ndarray:
        """Return actions `[B, N, *A]`. Override this if not all of the space is legal."""
        columns = []
        for agent in worlds.agents:
            space = batch_space(worlds.action_spaces[agent], worlds.batch_size)
            space.seed(int(rng.integers(2**31)))
            columns.append(space.sample())
        return np.stack(columns, axis=1)

    def begin(self, seed: int) -> BatchedWorlds:
        """Worlds in their first round."""
        worlds = self.make_worlds(self.num_worlds, seed)
        worlds.reset()
        return worlds

    def play(self, worlds: BatchedWorlds, change: Change | None = None) -> list[Arrays]:
        """Play on for `num_rounds`, resetting the worlds that end.

        Args:
            worlds: in the middle of episodes.
            change: from worlds, actions and other actions to those that are played.

        Returns:
            A copy of all arrays of each round; those that begin with "final" are of its end, but
            before any reset.
        """
        rng, other_rng = np.random.default_rng(self.seed).spawn(2)
        played = []
        for _ in range(self.num_rounds):
            now = seen(worlds)
            actions = self.draw_actions(worlds, rng)
            if change is not None:
                actions = change(worlds, actions, self.draw_actions(worlds, other_rng))
            result = worlds.step(actions)
            now |= {name: np.array(getattr(result, name)) for name in ("rewards", *_ENDS)}
            now |= {f"final {name}": array for name, array in seen(worlds).items()}
            played.append(now)
            ended = ended_worlds(now)
            if ended.any():
                worlds.reset(ended)
        return played

    def test_agents_and_spaces(self) -> None:
        worlds = self.make_worlds(self.num_worlds, self.seed)
        assert isinstance(worlds, BatchedWorlds), (
            f"{type(worlds).__name__} lacks some of the names of BatchedWorlds"
        )
        assert worlds.batch_size == self.num_worlds
        assert isinstance(worlds.agents, tuple)
        assert len(set(worlds.agents)) == len(worlds.agents) > 0, (
            f"agents is {worlds.agents}, expected names that differ"
        )
        assert list(worlds.observation_spaces) == list(worlds.agents)
        assert list(worlds.action_spaces) == list(worlds.agents)
        for agent, space in worlds.observation_spaces.items():
            assert isinstance(space, Box), f"{agent!r} observes a {space}, expected a Box"
        shapes = {agent: space.shape for agent, space in worlds.action_spaces.items()}
        assert len(set(shapes.values())) == 1, f"actions have shapes {shapes}, expected one shape"

    def test_observations_fit_their_spaces(self) -> None:
        worlds = self.begin(self.seed)
        for now in self.play(worlds):
            for index, (agent, space) in enumerate(worlds.observation_spaces.items()):
                rows, acts = now[_rows_of(agent)], now["participation"][:, index]
                expected = (self.num_worlds, *space.shape)
                assert (rows.shape, rows.dtype) == (expected, space.dtype), (
                    f"observations of {agent!r} are {rows.dtype} of shape {rows.shape}, expected "
                    f"{space.dtype} of shape {expected}"
                )
                final = now[f"final {_rows_of(agent)}"][ended_worlds(now)]
                # What absent agents see is not used.
                for row in (*rows[acts], *final):
                    assert space.contains(row), f"{agent!r} observes {row}, expected a {space}"

    def test_participation_and_rewards_have_a_column_an_agent(self) -> None:
        worlds = self.begin(self.seed)
        expected = (self.num_worlds, len(worlds.agents))
        for now in self.play(worlds):
            participation, rewards = now["participation"], now["rewards"]
            assert (participation.shape, participation.dtype) == (expected, np.bool_), (
                f"participation is {participation.dtype} of shape {participation.shape}, expected "
                f"bool of shape {expected}"
            )
            assert rewards.shape == expected, f"rewards are {rewards.shape}, expected {expected}"
            assert np.isfinite(rewards).all(), f"rewards are {rewards}, expected finite numbers"

    def test_rounds_count_up(self) -> None:
        worlds = self.begin(self.seed)
        rounds = np.array(worlds.rounds)
        found = (rounds.shape, rounds.dtype.kind)
        assert found == ((self.num_worlds,), "i"), (
            f"rounds are {rounds.dtype} of shape {rounds.shape}, expected integers of shape [B]"
        )
        assert (rounds >= 0).all()
        kept = np.ones(self.num_worlds, dtype=bool)
        for now in self.play(worlds):
            np.testing.assert_array_equal(
                now["rounds"][kept], rounds[kept], err_msg="rounds changed between two steps"
            )
            np.testing.assert_array_equal(
                now["final rounds"],
                now["rounds"] + 1,
                err_msg="rounds must grow by one in a step, also in one that ends an episode",
            )
            rounds, kept = now["final rounds"], ~ended_worlds(now)

    def test_endings_are_flagged_once(self) -> None:
        lengths: list[list[int]] = [[] for _ in range(self.num_worlds)]
        for now in self.play(self.begin(self.seed)):
            for name in _ENDS:
                found = (now[name].shape, now[name].dtype)
                assert found == ((self.num_worlds,), np.bool_), (
                    f"{name} is {found[1]} of shape {found[0]}, expected bool of shape [B]"
                )
            for world in np.flatnonzero(ended_worlds(now)).tolist():
                lengths[world].append(int(now["final rounds"][world]))
        assert any(lengths), f"no episode was over in {self.num_rounds} rounds: raise num_rounds"
        for world, of_world in enumerate(lengths):
            again = of_world[0:1] != [1] and len(of_world) > 3 and set(of_world[1:]) == {1}
            assert not again, (
                f"episodes of world {world} last {of_world} rounds: reset() must clear what flags "
                f"an ending"
            )

    def test_looking_changes_nothing(self) -> None:
        worlds = self.begin(self.seed)
        assert_equal(seen(worlds), seen(worlds), "worlds looked at twice")

    def test_reset_leaves_other_worlds_alone(self) -> None:
        worlds = self.begin(self.seed)
        rng = np.random.default_rng(self.seed)
        begins_again = False
        for _ in range(self.num_rounds):
            result = worlds.step(self.draw_actions(worlds, rng))
            chosen = np.asarray(result.terminated) | np.asarray(result.truncated)
            if self.resets_in_mid_episode:
                chosen = chosen | (rng.random(self.num_worlds) < 0.2)
            before = seen(worlds)
            if chosen.any():
                worlds.reset(chosen)
                after = seen(worlds)
                what = "worlds before and after a reset of others"
                assert_equal(before, after, what, rows=~chosen)
                begins_again |= bool((after["rounds"] < before["rounds"]).any())
        assert begins_again, "rounds never fell: reset() must begin episodes with their first round"

    def test_same_seed_gives_the_same_rounds(self) -> None:
        first, second = (self.play(self.begin(self.seed)) for _ in range(2))
        assert_same_rounds(first, second, "two batches of worlds with the same seed")

    def test_actions_of_absent_agents_are_ignored(self) -> None:
        def of_participants(
            worlds: BatchedWorlds, actions: np.ndarray, others: np.ndarray
        ) -> np.ndarray:
            acts = np.array(worlds.participation)
            return np.where(acts.reshape(*acts.shape, *[1] * (actions.ndim - 2)), actions, others)

        first = self.play(self.begin(self.seed))
        second = self.play(self.begin(self.seed), of_participants)
        assert_same_rounds(first, second, "rounds that differ in actions of absent agents")

    def test_a_world_depends_on_its_own_actions(self) -> None:
        def of_world_0(
            worlds: BatchedWorlds, actions: np.ndarray, others: np.ndarray
        ) -> np.ndarray:
            return np.concatenate([actions[:1], others[1:]])

        first = self.play(self.begin(self.seed))
        second = self.play(self.begin(self.seed), of_world_0)
        for one, other in zip(first, second, strict=True):
            what = "world 0 beside worlds in which others act"
            assert_equal(one, other, what, rows=np.arange(self.num_worlds) == 0)
            if ended_worlds(one).any() or ended_worlds(other).any():
                break  # resets may draw from one stream for all worlds

    def test_state_goes_on_where_it_was_taken(self) -> None:
        original = self.begin(self.seed)
        self.play(original)
        state = original.get_state()
        resumes = getattr(original, "resumes_episodes", True)
        runs = [self.play(original)] if resumes else []
        for other in (1, 2):  # the second shows that playing on has not changed the state
            restored = self.make_worlds(self.num_worlds, self.seed + other)
            restored.set_state(state)
            if not resumes:
                restored.reset()
            runs.append(self.play(restored))
        for run in runs[1:]:
            assert_same_rounds(runs[0], run, "worlds that go on from the same state")


_ENDS = ("terminated", "truncated")


def _rows_of(agent: str) -> str:
    return f"observations of {agent}"


def seen(worlds: BatchedWorlds) -> Arrays:
    """Copies of all that worlds show."""
    arrays = {"rounds": np.array(worlds.rounds), "participation": np.array(worlds.participation)}
    rows = worlds.observations()
    return arrays | {_rows_of(agent): np.array(rows[agent]) for agent in worlds.agents}


def ended_worlds(now: Arrays) -> np.ndarray:
    """`[B]` bool: where a round ended the episode."""
    return now["terminated"] | now["truncated"]


def assert_equal(
    first: Arrays, second: Arrays, what: str, rows: np.ndarray | slice = slice(None)
) -> None:
    """Raise AssertionError unless these rows of the arrays of two rounds are exactly equal."""
    for name, array in first.items():
        message = f"{what} differ in {name}"
        np.testing.assert_array_equal(array[rows], second[name][rows], err_msg=message)


def assert_same_rounds(first: list[Arrays], second: list[Arrays], what: str) -> None:
    """Raise AssertionError unless `first` and `second` were played alike."""
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other, what)
