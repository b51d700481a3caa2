"""The grammar of ``amagail``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from typing import Any

from rllib_amagail.player_functions import (
    IndependentStochastic,
    PlayerFunction,
    player_function_from_dict,
)

DEFAULT_ROWS = 12
_EXAMPLES = """\
examples:
  amagail demos info experts.parquet
  amagail demos convert magail-1000tra.pkl experts.parquet --game simple_spread
  amagail demos convert log.csv experts.parquet --columns episode=ep 'observation=obs_*' action=act
  amagail demos convert sync.npz async.parquet --player-function 1,0.5,0.5 --seed 0
  amagail demos split experts.parquet --fractions 0.8 0.2 --out train.parquet test.parquet
  amagail demos plot experts.parquet experts.png

A FILE is of any kind that can be read: .parquet (ours, or a plain table), .csv, .tsv, .npz, .pkl;
or a folder of ours. Nothing in a file is executed. docs/your_own_demonstrations.md says more.
"""
_FORMATTER = argparse.RawDescriptionHelpFormatter


def make_parser() -> argparse.ArgumentParser:
    """The parser; the attribute ``command`` of what it parses names the command."""
    parser = argparse.ArgumentParser(
        prog="amagail",
        description="Look at demonstrations, and make some of the recordings that you have.",
        epilog=_EXAMPLES,
        formatter_class=_FORMATTER,
    )
    version = f"rllib_amagail {importlib.metadata.version('rllib_amagail')}"
    parser.add_argument("--version", action="version", version=version)
    groups = parser.add_subparsers(required=True, metavar="demos")
    demos = groups.add_parser(
        "demos",
        help="demonstrations: info, validate, convert, merge, split, head, plot",
        description="Look at demonstrations, and make some of the recordings that you have.",
        epilog=_EXAMPLES,
        formatter_class=_FORMATTER,
    )
    commands = demos.add_subparsers(required=True, metavar="COMMAND")
    _add_looking(commands)
    _add_writing(commands)
    return parser


def _add_looking(commands: Any) -> None:
    info = _command(
        commands, "info", "what is in a file: episodes, turns, returns, actions, origin"
    )
    info.add_argument("--json", action="store_true", help="as JSON")
    head = _command(commands, "head", "the first rows as a table")
    shown = head.add_mutually_exclusive_group()
    shown.add_argument(
        "-n", "--rows", type=_positive, metavar="N", help=f"how many (default {DEFAULT_ROWS})"
    )
    shown.add_argument("--episodes", type=_positive, metavar="N", help="whole episodes instead")
    plot = _command(commands, "plot", "returns, turns, actions and observations as a picture")
    _add_output(plot, "PICTURE.png")
    validate = _command(
        commands, "validate", "check files completely; exit code 1 if one is damaged", many=True
    )
    validate.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")


def _add_writing(commands: Any) -> None:
    _add_output(_command(commands, "convert", "write any recording as our Parquet"), "OUT.parquet")
    merge = _command(commands, "merge", "all episodes of several files as one", many=True)
    merge.add_argument("-o", "--out", required=True, metavar="OUT.parquet", help="file to write")
    split = _command(commands, "split", "shuffle the episodes into several files")
    parts = split.add_mutually_exclusive_group(required=True)
    parts.add_argument(
        "--fractions", type=float, nargs="+", metavar="F", help="such as 0.8 0.2; at most 1 in all"
    )
    parts.add_argument("--counts", type=_positive, nargs="+", metavar="N", help="episodes per file")
    split.add_argument(
        "-o", "--out", required=True, nargs="+", metavar="OUT.parquet", help="as many files"
    )
    for parser in (merge, split):
        parser.add_argument("--force", action="store_true", help="replace files that exist")


def _command(
    commands: Any, name: str, summary: str, *, many: bool = False
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    parser.set_defaults(command=name)
    parser.add_argument("files" if many else "file", nargs="+" if many else None, metavar="FILE")
    add = parser.add_argument_group("how to read other files than ours").add_argument
    add(
        "--columns",
        nargs="+",
        type=_assignment,
        default=[],
        metavar="FIELD=NAME",
        help="what the file calls episode, round, agent, observation, action, reward, "
        "participates, action_mask; several columns as a,b or 'obs_*'",
    )
    add("--participation", metavar="NAME", help="short for --columns participates=NAME")
    add("--agents", nargs="+", metavar="AGENT", help="names of numbered agents, or their order")
    add("--game", metavar="NAME", help="the game's name, to be kept with the data")
    add(
        "--player-function",
        type=_player_function,
        metavar="P",
        help="make a synchronous recording asynchronous: a chance per agent such as 1,0.5,0.5 or a "
        "player function's to_dict() as JSON",
    )
    add("--seed", type=int, default=0, metavar="S", help="of all that is drawn (default 0)")
    add("--max-bytes", type=_positive, metavar="N", help="refuse larger contents (default 8 GiB)")
    return parser


def _add_output(parser: argparse.ArgumentParser, metavar: str) -> None:
    parser.add_argument("out", metavar=metavar, help="file to write")
    parser.add_argument("--force", action="store_true", help="replace it if it exists")


def _assignment(text: str) -> tuple[str, str]:
    field, equals, name = text.partition("=")
    if not (field and equals and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=NAME, such as action=act")
    return field, name


def _player_function(text: str) -> PlayerFunction:
    try:
        if text.lstrip().startswith("{"):
            return player_function_from_dict(json.loads(text))
        return IndependentStochastic([float(part) for part in text.split(",")])  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a chance per agent, such as 1,0.5, nor JSON of a player "
            f"function: {error}"
        ) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)
