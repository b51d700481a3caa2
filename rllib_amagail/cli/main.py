"""The console script ``rllib``: dispatch, errors and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import rllib_amagail
from rllib_amagail.cli.errors import INTERRUPTED, CommandError, one_line
from rllib_amagail.cli.evaluate import EvaluateOptions, evaluate
from rllib_amagail.cli.experiment import Experiment
from rllib_amagail.cli.names import list_names
from rllib_amagail.cli.parser import DEFAULT_EPISODES, make_parser
from rllib_amagail.cli.session import set_verbosity
from rllib_amagail.cli.train import TrainOptions, train


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: words after ``rllib``. None: those of the process.

    Returns:
        Exit code: 0; 1 a run failed; 2 wrong usage; 130 Ctrl-C.
    """
    args = make_parser().parse_args(argv)
    verbosity = getattr(args, "verbosity", 0)
    set_verbosity(verbosity)
    if os.getcwd() not in sys.path:  # a console script does not find modules here on its own
        sys.path.append(os.getcwd())
    rllib_amagail.register()
    try:
        return _COMMANDS[args.command](args)
    except CommandError as error:
        if verbosity:
            traceback.print_exc()
        print(f"rllib: error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("rllib: interrupted", file=sys.stderr)
        return INTERRUPTED


def _train(args: argparse.Namespace) -> int:
    given = vars(args)
    fields = Experiment.__dataclass_fields__
    return train(
        TrainOptions(
            file=given.get("file"),
            experiment={name: value for name, value in given.items() if name in fields},
            resume=given.get("resume"),
            ray_address=given.get("ray_address"),
            ray_num_cpus=given.get("ray_num_cpus"),
            ray_num_gpus=given.get("ray_num_gpus"),
            verbosity=given.get("verbosity", 0),
        )
    )


def _evaluate(args: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(args).items() if name != "command"}
    if given["episodes"] is None and given["steps"] is None:
        given["episodes"] = DEFAULT_EPISODES
    return evaluate(EvaluateOptions(**given))


def _list(args: argparse.Namespace) -> int:
    print(list_names())
    return 0


_COMMANDS = {"train": _train, "evaluate": _evaluate, "list": _list}
