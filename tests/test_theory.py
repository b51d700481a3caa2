"""The paper's theory on games small enough to be computed exactly.

Theorem 1 and Lemma 1, Theorem 2's limit, Corollary 2.1, Definition 1, and Theorem 3's matching.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from rllib_amagail.equilibrium import (
    GAMES,
    TabularGame,
    agent_view,
    best_response_values,
    clone,
    gains,
    imitate,
    objective,
    occupancy_measures,
    own_action_rewards,
    returns,
    sample_episodes,
    solve_spe,
    values,
)
from rllib_amagail.equilibrium.library import turns
from rllib_amagail.player_functions import (
    IndependentStochastic,
    MarkovParticipation,
    PlayerFunction,
    Synchronous,
)
from tests.tabular_samples import (
    mixed,
    random_game,
    random_policies,
    solvable_game,
    uniform_policies,
)

KINDS = ("turns", "chance")
SEEDS = (0, 1, 2)
MARKOV = MarkovParticipation(np.array([0.3, 0.9]), np.array([0.8, 0.5]), np.array([1.0, 0.0]))


def several_steps(
    game: TabularGame, policies: Sequence[np.ndarray], agent: int, steps: int
) -> np.ndarray:
    """`[S, H]`: the most that `agent` gets by deviating for `steps` rounds and then returning."""
    view = agent_view(game, policies, agent)
    worth = values(game, policies)[agent]
    for _ in range(steps):
        worth = view.action_values(worth).max(axis=2)
    return worth


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_theorem_1_constraints_of_any_length_hold_at_an_spe_only(kind: str, seed: int) -> None:
    game = solvable_game(seed, kind)
    spe = solve_spe(game)
    perturbed = mixed(spe, uniform_policies(game), 0.2)
    for steps in (1, 2, 5):
        for policies, holds in ((spe, True), (perturbed, False)):
            excess = [
                (several_steps(game, policies, i, steps) - values(game, policies)[i])[game.subgames]
                for i in range(game.num_agents)
            ]
            assert (np.max(excess) < 1e-9) == holds


def test_theorem_1_cannot_be_read_state_by_state() -> None:
    """Equation 10 holds in expectation over states: a lucky state beats v̂ without a deviation."""
    transitions = np.full((2, 2, 2), 0.5)  # one agent, one action and φ, a fair coin
    rewards = own_action_rewards(transitions.shape, np.array([[[0.0], [1.0]]]))
    game = TabularGame(transitions, rewards, Synchronous(1), np.array([1.0, 0.0]), 0.5)
    only = [np.ones((2, 1))]
    assert gains(game, only).max() == pytest.approx(0.0)  # there is nothing else to do
    # v̂(0) = γ (v̂(0) + v̂(1)) / 2 and v̂(1) = 1 + v̂(0), so v̂(0) = 1/2 and v̂(1) = 3/2.
    assert values(game, only)[0, :, 0] == pytest.approx([0.5, 1.5])
    q_after_heads = 0.5 * 1.5  # Q^(1) of the states 0, 1: γ q̂(1)
    assert q_after_heads > 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_lemma_1_f_r_is_zero_with_a_policys_own_values(kind: str, seed: int) -> None:
    game = solvable_game(seed, kind)
    for policies in (solve_spe(game), random_policies(game, seed)):
        assert objective(game, policies, values(game, policies)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_lemma_1_among_feasible_values_f_r_is_zero_at_an_spe_only(kind: str, seed: int) -> None:
    """One agent errs at one state with probability p: f_r = p Σ_h (v̂ - q̂ of the error)."""
    game = solvable_game(seed, kind)
    spe = solve_spe(game)
    feasible = best_response_values(game, spe)
    assert objective(game, spe, feasible) == pytest.approx(0.0, abs=1e-8)

    state = int(np.flatnonzero(game.subgames.any(axis=1))[-1])
    agent = int(np.argmax(game.participation[game.subgames[state]].max(axis=0)))
    error = int(np.argmin(spe[agent][state]))
    p = 1e-3
    perturbed = [policy.copy() for policy in spe]
    perturbed[agent][state] = (1 - p) * spe[agent][state]
    perturbed[agent][state, error] += p
    own = values(game, spe)[agent]
    lost = own[state] - agent_view(game, spe, agent).action_values(own)[state, :, error]
    expected = p * lost[game.subgames[state]].sum()
    # The others' best answers stay what they were, because p is small and preferences are strict.
    found = objective(game, perturbed, best_response_values(game, perturbed))
    assert expected > 1e-6
    assert found == pytest.approx(expected, rel=1e-4)


def dual(
    game: TabularGame, star: list[np.ndarray], other: list[np.ndarray], own: np.ndarray, steps: int
) -> float:
    """L_r^(t+1)(π*, λ*_π) of Theorem 2 for two agents, trajectory by trajectory; t is `steps`."""
    total = 0.0
    own_values = values(game, star)
    for i in range(2):
        view = agent_view(game, star, i)
        q = view.action_values(own_values[i])

        def paths(
            s: int, h: int, j: int, weight: float, reward: float, i: int = i, q: np.ndarray = q
        ) -> float:
            """Σ λ* Q over all that can follow."""
            if j == steps:
                shares = other[i][s]
                return weight * float(shares @ (reward + game.discount**j * q[s, h]))
            found = 0.0
            for v, acts in enumerate(game.vectors):
                options = [range(2) if each else [2] for each in acts]  # action 2 is φ
                for a, s_next in itertools.product(options[i], range(game.num_states)):
                    chance = game.vector_chances[h, v] * (other[i][s, a] if acts[i] else 1.0)
                    reached = 0.0
                    for b in options[1 - i]:
                        joint = (a, b) if i == 0 else (b, a)
                        share = star[1 - i][s, b] if acts[1 - i] else 1.0
                        reached += share * game.transitions[(s, *joint, s_next)]
                    got = reward + (game.discount**j * own[i, s, a] if acts[i] else 0.0)
                    found += paths(s_next, 1 + v, j + 1, weight * chance * reached, got)
            return found

        for s, weight in enumerate(game.initial_states):
            total += paths(s, 0, 0, weight, 0.0) - weight * own_values[i, s, 0]
    return total


@pytest.mark.parametrize("expert", ["random", "equilibrium"])
def test_theorem_2_the_dual_tends_to_the_difference_of_returns(expert: str) -> None:
    chances = IndependentStochastic(np.array([0.6, 0.8]))
    game = random_game(3, chances, num_states=2, discount=0.3)
    own = np.stack([game.rewards[0][:, :2, -1], game.rewards[1][:, -1, :2]])
    # A reward of one's own action alone, and actions with small effects: greedy play is an SPE.
    star = solve_spe(game) if expert == "equilibrium" else random_policies(game, 4)
    other = random_policies(game, 5)
    limit = sum(
        returns(game, [other[j] if j == i else star[j] for j in range(2)])[i]
        - returns(game, star)[i]
        for i in range(2)
    )
    for steps in (0, 1, 2, 3):
        # From round t + 1 on one counts π* instead of π: rewards in [0, 1] of two agents.
        bound = 2 * 0.3 ** (steps + 1) / (1 - 0.3)
        assert abs(dual(game, star, other, own, steps) - limit) < bound
    assert abs(limit) > bound
    assert limit < 0.0 or expert == "random"


@pytest.mark.parametrize("num_agents", [1, 2])
def test_corollary_2_1_all_rounds_taken_gives_the_synchronous_equations(num_agents: int) -> None:
    """MAGAIL's values and measures, and GAIL's for one agent, solved here without Y and h."""
    game = random_game(0, Synchronous(num_agents))
    policies = random_policies(game, 1)
    subscripts = {1: "sa,sat->st", 2: "sa,sb,sabt->st"}[num_agents]
    taken = (slice(None), *[slice(2)] * num_agents)
    step = np.einsum(subscripts, *policies, game.transitions[taken])
    resolvent = np.linalg.inv(np.eye(3) - 0.8 * step)
    occupancies = occupancy_measures(game, policies)
    for i in range(num_agents):
        table = np.moveaxis(game.rewards[i][taken], i + 1, 1).reshape(3, 2, -1)[:, :, 0]
        expected = resolvent @ (policies[i] * table).sum(axis=1)
        synchronous = -1  # the history in which all participated
        assert values(game, policies)[i][:, 0] == pytest.approx(expected)
        assert values(game, policies)[i][:, synchronous] == pytest.approx(expected)
        visits = game.initial_states @ resolvent
        assert occupancies[i][:, :2] == pytest.approx(policies[i] * visits[:, None])
        assert not occupancies[i][:, 2].any()


@pytest.mark.parametrize("num_agents", [1, 2])
def test_corollary_2_1_amagail_is_magail_number_by_number(num_agents: int) -> None:
    game = random_game(0, Synchronous(num_agents))
    experts = random_policies(game, 1)
    episodes = sample_episodes(game, experts, 5, 20, np.random.default_rng(2))
    for learn in (clone, imitate):
        filtered, chosen = (learn(game, episodes, phi) for phi in ("filtered", "chosen"))
        assert np.array_equal(filtered.distances, chosen.distances)
        for ours, theirs in zip(filtered.policies, chosen.policies, strict=True):
            assert np.array_equal(ours, theirs)
    asynchronous = random_game(0, IndependentStochastic(np.full(num_agents, 0.5)))
    episodes = sample_episodes(asynchronous, experts, 5, 20, np.random.default_rng(2))
    ours, theirs = (imitate(asynchronous, episodes, phi) for phi in ("filtered", "chosen"))
    assert not np.allclose(ours.policies[0], theirs.policies[0])


@pytest.mark.parametrize("player_function", [turns(0.6), MARKOV, Synchronous(2)], ids=repr)
def test_definition_1_measures_sum_to_the_rounds_and_turns(player_function: PlayerFunction) -> None:
    game = random_game(0, player_function)
    chance, expected = game.vector_chances[0], np.zeros(2)
    for t in range(200):  # Σ_t γ^t Pr(I_{i,t} = 1), by following I_t alone
        expected += 0.8**t * chance @ game.vectors
        chance = chance @ game.vector_chances[1:]
    for i, measure in enumerate(occupancy_measures(game, random_policies(game, 1))):
        assert measure.sum() == pytest.approx(1 / (1 - 0.8))
        assert measure[:, :-1].sum() == pytest.approx(expected[i])


def test_definition_1_independent_turns_take_their_share() -> None:
    chances = IndependentStochastic(np.array([0.25, 1.0]), np.array([1.0, 0.0]))
    game = random_game(0, chances)
    first, second = occupancy_measures(game, random_policies(game, 1))
    # All rounds are worth 5, round 0 is worth 1.
    assert first[:, :-1].sum() == pytest.approx(1.0 * 1 + 0.25 * 4)
    assert second[:, :-1].sum() == pytest.approx(0.0 * 1 + 1.0 * 4)
    assert second[:, -1] == pytest.approx(game.initial_states)  # it misses round 0 and no other


@pytest.mark.parametrize("player_function", [turns(0.6), MARKOV], ids=repr)
def test_definition_1_measures_match_sampled_ones(player_function: PlayerFunction) -> None:
    game = random_game(1, player_function)
    policies = random_policies(game, 2)
    episodes, rounds = 20_000, 40
    sampled = sample_episodes(game, policies, episodes, rounds, np.random.default_rng(0))
    # Hoeffding: an episode gives each of the 18 cells something in [0, 5]. All cells are within
    # the bound with probability 0.999; rounds from 40 on hold γ^40 / (1 - γ) in all.
    bound = 5 * np.sqrt(np.log(2 * 18 / 0.001) / (2 * episodes)) + 0.8**rounds * 5
    assert bound < 0.09
    for exact, counted in zip(
        occupancy_measures(game, policies), sampled.measures(game.discount), strict=True
    ):
        assert abs(exact - counted).max() < bound


def test_measures_obey_the_flow_of_appendix_a_4() -> None:
    """Σ_a ρ(s', a) = η(s') + γ Σ P(s' | s, a) π_-i(a_-i | s) ρ(s, a_i), φ among the actions."""
    chances = np.array([0.25, 0.6])
    game = random_game(2, IndependentStochastic(chances))
    policies = random_policies(game, 3)
    with_phi = [
        np.concatenate([chance * policy, np.full((3, 1), 1 - chance)], axis=1)
        for chance, policy in zip(chances, policies, strict=True)
    ]
    measures = occupancy_measures(game, policies)
    for i, other in ((0, "sb"), (1, "sa")):
        mine = "sa" if i == 0 else "sb"
        inflow = np.einsum(
            f"{mine},{other},sabt->t", measures[i], with_phi[1 - i], game.transitions
        )
        assert measures[i].sum(axis=1) == pytest.approx(game.initial_states + 0.8 * inflow)


@pytest.mark.parametrize("name", ["coordination", "pursuit"])
def test_theorem_3_the_learned_measure_comes_to_match_the_experts(name: str) -> None:
    game = GAMES[name]()
    spe = solve_spe(game)
    episodes = sample_episodes(game, spe, 300, 60, np.random.default_rng(0))
    distances = imitate(game, episodes, "filtered", iterations=30).distances
    assert (distances[0] > 0.3).all()  # of at most log 2 = 0.69
    for earlier, later in itertools.pairwise((0, 2, 8, 30)):
        assert (distances[later] < distances[earlier]).all()
    assert (distances[-1] < 0.02).all()
