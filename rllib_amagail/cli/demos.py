"""The console script ``amagail``: demonstrations from a terminal. It does not start Ray."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from rllib_amagail.cli.demos_parser import DEFAULT_ROWS, make_parser
from rllib_amagail.cli.demos_summary import summary
from rllib_amagail.cli.demos_tables import head_table, info_tables, make_console
from rllib_amagail.cli.errors import INTERRUPTED, RUN_FAILED, CommandError, one_line
from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError, concatenate
from rllib_amagail.demonstrations.readers import read

# Tables have a row for each agent and round; these hold whole episodes, and so do their names.
_EPISODE_SUFFIXES = (".pkl", ".pickle", ".npz")
_OF_EPISODES = {
    "observation": "observations",
    "action": "actions",
    "reward": "rewards",
    "participates": "participation",
    "action_mask": "action_masks",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: words after ``amagail``. None: those of the process.

    Returns:
        Exit code: 0; 1 a file that cannot be used or written; 2 wrong usage; 130 Ctrl-C.
    """
    args = make_parser().parse_args(argv)
    try:
        return _COMMANDS[args.command](args)
    except (CommandError, DemonstrationsError, OSError) as error:
        print(f"amagail: error: {one_line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, CommandError) else RUN_FAILED
    except KeyboardInterrupt:
        print("amagail: interrupted", file=sys.stderr)
        return INTERRUPTED


def _info(args: argparse.Namespace) -> int:
    demonstrations = _read(args.file, args)
    about = summary(demonstrations)
    if args.json:
        print(json.dumps({"file": args.file, **about}, indent=2))
    else:
        make_console().print(info_tables(args.file, about, demonstrations))
    return 0


def _validate(args: argparse.Namespace) -> int:
    code = 0
    for file in args.files:
        try:
            found = _read(file, args)
        except DemonstrationsError as error:
            print(f"amagail: error: {one_line(error)}", file=sys.stderr)
            code = RUN_FAILED
            continue
        if not args.quiet:
            turns = sum(record.num_turns for record in found.records.values())
            print(
                f"{file}: ok, {found.num_episodes} episodes of {len(found.agents)} agents, "
                f"{turns} turns"
            )
    return code


def _convert(args: argparse.Namespace) -> int:
    _check_free([args.out], args.force)
    _save(_read(args.file, args), args.out)
    return 0


def _merge(args: argparse.Namespace) -> int:
    _check_free([args.out], args.force)
    parts = [_read(file, args) for file in args.files]
    _save(concatenate(parts), args.out)
    return 0


def _split(args: argparse.Namespace) -> int:
    _check_free(args.out, args.force)
    shares = args.fractions or args.counts
    if len(shares) != len(args.out):
        raise CommandError(f"found {len(shares)} parts and {len(args.out)} files after --out")
    demonstrations = _read(args.file, args)
    counts = _part_sizes(args, demonstrations.num_episodes)
    order = np.random.default_rng(args.seed).permutation(demonstrations.num_episodes)
    ends = np.cumsum(counts)
    for count, end, path in zip(counts, ends, args.out, strict=True):
        _save(demonstrations.select(order[end - count : end]), path)
    return 0


def _head(args: argparse.Namespace) -> int:
    demonstrations = _read(args.file, args)
    rows = args.rows if args.episodes else args.rows or DEFAULT_ROWS
    make_console().print(head_table(demonstrations, rows, args.episodes))
    return 0


def _plot(args: argparse.Namespace) -> int:
    _check_free([args.out], args.force)
    if os.path.splitext(args.out)[1].lower() != ".png":
        raise CommandError(f"{args.out}: expected a name that ends in .png")
    try:
        from rllib_amagail.cli.demos_plot import draw
    except ImportError as error:
        raise CommandError('plot needs Matplotlib: pip install "rllib_amagail[plot]"') from error
    demonstrations = _read(args.file, args)
    with _working(f"drawing {args.out}"):
        draw(demonstrations, os.path.basename(os.path.normpath(args.file)), args.out)
    print(f"Wrote {args.out}")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "info": _info,
    "validate": _validate,
    "convert": _convert,
    "merge": _merge,
    "split": _split,
    "head": _head,
    "plot": _plot,
}


def _read(path: str, args: argparse.Namespace) -> Demonstrations:
    """Any source, as the options say."""
    names = dict(args.columns)
    if args.participation:
        names["participates"] = args.participation
    if os.path.splitext(path)[1].lower() in _EPISODE_SUFFIXES:
        names = {_OF_EPISODES.get(field, field): name for field, name in names.items()}
    given = {
        "names": names,
        "agents": args.agents,
        "game": args.game,
        "player_function": args.player_function,
        "max_bytes": args.max_bytes,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    if args.player_function is not None:
        options["rng"] = np.random.default_rng(args.seed)
    with _working(f"reading {path}"):
        found = read(path, **options)
    if args.player_function is None:
        return found
    # Without the seed, nobody could draw the same participation again.
    provenance = {**found.provenance, "participation_seed": args.seed}
    return replace(found, provenance=provenance)


def _save(demonstrations: Demonstrations, path: str) -> None:
    with _working(f"writing {path}"):
        demonstrations.save(path)
    print(f"Wrote {path}: {demonstrations.num_episodes} episodes")


def _check_free(paths: Sequence[str], force: bool) -> None:
    if len({os.path.abspath(path) for path in paths}) < len(paths):
        raise CommandError(f"found a file twice among {', '.join(paths)}, expected different ones")
    taken = [path for path in paths if os.path.lexists(path)]
    if taken and not force:
        raise CommandError(f"{taken[0]} exists already; --force replaces it")


def _part_sizes(args: argparse.Namespace, num_episodes: int) -> list[int]:
    """Episodes of each part; fractions that add up to 1 use all episodes."""
    if args.counts:
        counts = args.counts
    else:
        if min(args.fractions) <= 0 or sum(args.fractions) > 1 + 1e-9:
            raise CommandError(
                f"--fractions: found {args.fractions}, expected numbers above 0, at most 1 in all"
            )
        ends = np.rint(np.cumsum(args.fractions) * num_episodes).astype(int)
        counts = np.diff(ends, prepend=0).tolist()
    if min(counts) < 1 or sum(counts) > num_episodes:
        raise CommandError(
            f"found {num_episodes} episodes, expected enough for parts of {counts}, none empty"
        )
    return counts


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Show on a terminal that something takes its time."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        yield
