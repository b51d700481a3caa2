"""Learn a board game from recorded games of an expert, and see how the learned players play.

    python examples/board_games.py                   # tic-tac-toe, within two minutes
    python examples/board_games.py leduc_poker       # cards, with the exploitability
    python examples/board_games.py connect_four
    python examples/board_games.py tic_tac_toe --record games.parquet    # record and no more

Experts are exact where OpenSpiel's games can be solved: minimax, CFR+, else tree search. The
settings are those of tuned_configs/openspiel_<game>.py.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rllib_amagail import Demonstrations, LearnedPolicy, MultiAgentBCConfig
from rllib_amagail.algorithm.best_clones import best_clones
from rllib_amagail.algorithm.export import learned_policy
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.openspiel.experts import expert_player, record_expert
from rllib_amagail.openspiel.exploitability import mean_exploitability
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.play import Match, play_match
from rllib_amagail.openspiel.players import LearnedPlayer, Player, UniformPlayer

TUNED_CONFIGS = Path(__file__).parent.parent / "tuned_configs"
GAMES = ("tic_tac_toe", "leduc_poker", "connect_four")
EXPLOITED = ("leduc_poker",)  # of a size that a best response is found in seconds
console = Console()


def tuned(game: str) -> ModuleType:
    """The file of settings."""
    path = TUNED_CONFIGS / f"openspiel_{game}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clone(settings: ModuleType, recorded: Demonstrations, seed: int) -> LearnedPolicy:
    """Behaviour cloning, stopped where held-out games are likeliest."""
    config = (
        MultiAgentBCConfig()
        .imitation(demonstrations=recorded)
        .rl_module(model_config=settings.config.model_config)
        .multi_agent(
            policies=settings.config.policies,
            policy_mapping_fn=settings.config.policy_mapping_fn,
        )
        .debugging(seed=seed, log_level="ERROR")
    )
    config.update_from_dict(dict(settings.cloning))
    return best_clones(config, iterations=30)


def imitate(
    settings: ModuleType, recorded: Demonstrations, iterations: int, seed: int
) -> LearnedPolicy:
    """AMAGAIL with the tuned settings."""
    config = settings.config.copy(copy_frozen=False).imitation(demonstrations=recorded)
    algorithm = config.debugging(seed=seed, log_level="ERROR").build_algo()
    for _ in track(range(iterations), "AMAGAIL", console=console):
        algorithm.train()
    learned = learned_policy(algorithm)
    algorithm.stop()
    return learned


def show(
    game: OpenSpielGame,
    players: Mapping[str, Player],
    num_games: int,
    random_moves: int,
    seed: int,
) -> dict[tuple[str, str], Match]:
    """Everybody against everybody else, as a table; the matches by pair."""
    matches, rng = {}, np.random.default_rng(seed)
    exploited = game.name in EXPLOITED
    table = Table(title=f"{game.name}: wins, draws, losses in {num_games} games, half in each seat")
    columns = ["", *(f"against {name}" for name in players), "illegal moves"]
    for name in [*columns, *(["exploitability"] if exploited else [])]:
        table.add_column(name, justify="right" if name else "left")
    for name, player in players.items():
        for other, opponent in players.items():
            if other != name:
                matches[name, other] = play_match(
                    game, player, opponent, num_games, rng, random_moves=random_moves
                )
        own = {other: match for (first, other), match in matches.items() if first == name}
        row = [name]
        row += [
            f"{own[other].wins} {own[other].draws} {own[other].losses}" if other in own else ""
            for other in players
        ]
        row.append(str(sum(match.illegal_moves for match in own.values())))
        if exploited:
            row.append(f"{mean_exploitability(game, [player, player]):.2f}")
        table.add_row(*row)
    console.print(table)
    return matches


def main(arguments: list[str] | None = None) -> dict[tuple[str, str], Match]:
    """Record, clone, imitate, play; returns the matches by pair of players."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", nargs="?", choices=GAMES, default=GAMES[0])
    parser.add_argument("--demonstrations", type=int, help="recorded games; default: as tuned")
    parser.add_argument("--iterations", type=int, help="of AMAGAIL; default: as tuned")
    parser.add_argument("--games", type=int, default=200, help="of each match, even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="write the demonstrations here, and stop")
    chosen = parser.parse_args(arguments)
    settings = tuned(chosen.game)
    observer = settings.config.env_config.get("observer")
    game = OpenSpielGame(chosen.game, observer=observer)
    how = dict(settings.recording)
    if chosen.demonstrations:
        how["num_games"] = chosen.demonstrations
    console.print(f"Recording {how['num_games']} games of the expert ...")
    recorded = record_expert(game, **how)
    if chosen.record:
        recorded.save(chosen.record)
        console.print(f"wrote {chosen.record}")
        return {}
    torch.set_num_threads(1)
    start_local_ray(log_to_driver=False)
    console.print("Cloning them ...")
    cloned = clone(settings, recorded, chosen.seed)
    iterations = chosen.iterations or settings.stop["training_iteration"]
    learned = imitate(settings, recorded, iterations, chosen.seed)
    draws = settings.playing["explores"]
    players = {
        "random": UniformPlayer(game),
        "BC": LearnedPlayer(game, cloned, explore=draws),
        "AMAGAIL": LearnedPlayer(game, learned, explore=draws),
        "expert": expert_player(game, seed=chosen.seed + 10),
    }
    return show(game, players, chosen.games, settings.playing["random_moves"], chosen.seed)


if __name__ == "__main__":
    main()
