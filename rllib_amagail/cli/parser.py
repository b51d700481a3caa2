"""The grammar of the command line."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from typing import Any

from rllib_amagail.cli.experiment import (
    DEFAULT_ALGORITHM,
    DEFAULT_CHECKPOINT_FREQ,
    DEFAULT_STORAGE_PATH,
)

DEFAULT_EPISODES = 10

_EXAMPLES = """\
examples:
  rllib list
  rllib train --algo AMAGAIL --env stochastic_cooperative_navigation \\
      --stop '{"training_iteration": 50}' --config '{"num_demonstrations": 200, "seed": 0}'
  rllib train file tuned_configs/stochastic_cooperative_navigation.py
  rllib train file tuned_configs/stochastic_predator_prey.py \\
      --search-alg optuna --scheduler asha --num-samples 20
  rllib evaluate ~/ray_results/RUN/TRIAL/checkpoint_000004 --episodes 100 --out scores.json
"""
_TRUST = "Only use checkpoints that you trust: Ray unpickles them, which can run any code."


def make_parser() -> argparse.ArgumentParser:
    """The parser of ``rllib``; the attribute ``command`` of what it parses names the command.

    Options of ``train`` that are not given are no attributes.
    """
    parser = argparse.ArgumentParser(
        prog="rllib",
        description="Train and evaluate AMAGAIL, and RLlib's own algorithms.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("rllib_amagail", "ray")]
    parser.add_argument("--version", action="version", version=", ".join(versions))
    commands = parser.add_subparsers(required=True, metavar="{train,evaluate,list}")
    _add_train(commands)
    _add_evaluate(commands)
    listing = commands.add_parser("list", help="algorithms and games that work by name")
    listing.set_defaults(command="list")
    return parser


def _add_train(commands: Any) -> None:
    # Options that are not given leave no trace (SUPPRESS), so those before "file" survive and
    # those after it change the file's experiments.
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_experiment_options(options)
    _add_search_options(options)
    _add_run_options(options)
    parser = commands.add_parser(
        "train",
        parents=[options],
        help="train, from options or from a file",
        description="Train through Ray Tune. The config is checked before anything starts.",
    )
    parser.set_defaults(command="train")
    sources = parser.add_subparsers(metavar="[file PATH]")
    file = sources.add_parser(
        "file",
        parents=[options],
        help="train what a file describes",
        description="Train what a file describes. YAML and JSON: {name: {run, env, stop, config, "
        "...}}, one experiment after the other. Python: the file is executed; it defines "
        "'config', an AlgorithmConfig, and may define 'stop' and 'search_space'. Options change "
        "what the file says.",
    )
    file.add_argument("file", metavar="PATH", help="ends in .yaml, .yml, .json or .py")


def _add_experiment_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("experiment").add_argument
    add("-a", "--algo", "--run", dest="run", metavar="NAME", help=f"default {DEFAULT_ALGORITHM}")
    add("-e", "--env", metavar="ENV", help="a game, a registered name, or module:Class")
    add(
        "-c",
        "--config",
        type=_json_object,
        metavar="JSON",
        help='the algorithm\'s settings; {"lr": {"grid_search": [0.001, 0.0003]}} tries several, '
        '{"lr": {"loguniform": [1e-5, 1e-3]}} searches',
    )
    add(
        "-s",
        "--stop",
        type=_json_object,
        metavar="JSON",
        help='when a trial ends, such as {"training_iteration": 50}',
    )
    add("--experiment-name", dest="name", metavar="NAME", help="folder below the storage path")
    add("--storage-path", "--local-dir", metavar="DIR", help=f"default {DEFAULT_STORAGE_PATH}")
    add(
        "--checkpoint-freq",
        type=int,
        metavar="F",
        help=f"iterations between checkpoints (default {DEFAULT_CHECKPOINT_FREQ}; 0: none)",
    )
    add(
        "--checkpoint-at-end",
        action=argparse.BooleanOptionalAction,
        help="save when a trial ends (default: yes)",
    )
    add("--keep-checkpoints-num", type=int, metavar="N", help="default: all")
    add(
        "--checkpoint-score-attr",
        metavar="KEY",
        help='result key that tells which to keep; "min-KEY" for the lowest',
    )
    add(
        "--max-failures",
        type=int,
        metavar="N",
        help="how often a trial that fails goes on from its last checkpoint (default 0)",
    )
    add("--restore", metavar="CHECKPOINT", help=f"start from its weights. {_TRUST}")
    add(
        "--resources-per-trial",
        type=_json_object,
        metavar="JSON",
        help='reserve more for a trial than its config needs, such as {"cpu": 4}',
    )


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("search").add_argument
    add(
        "--num-samples",
        type=int,
        metavar="K",
        help="trials of a search, or runs of every variant of a grid (default 1)",
    )
    add(
        "--search-alg",
        metavar="NAME",
        help="searches the config's distributions, or a Python file's search_space: random, "
        "optuna, or another of Ray Tune",
    )
    add("--scheduler", metavar="NAME", help="of Ray Tune, such as asha or pbt")
    add("--scheduler-config", type=_json_object, metavar="JSON", help="its arguments")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("run").add_argument
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="go on with an interrupted or failed run; without DIR, the one of --experiment-name. "
        + _TRUST,
    )
    add("--ray-address", metavar="ADDRESS", help="of a Ray cluster (default: this machine)")
    add("--ray-num-cpus", type=int, metavar="N", help="cores that Ray counts on this machine")
    add("--ray-num-gpus", type=int, metavar="N", help="GPUs that Ray counts on this machine")
    _add_verbosity(parser)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="play episodes with a checkpoint's policies",
        description="Play episodes with a checkpoint's policies and print the true returns. "
        f"Actions are sampled; --config '{{\"explore\": false}}' takes the likeliest. {_TRUST}",
    )
    parser.set_defaults(command="evaluate")
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a checkpoint folder")
    add("-a", "--algo", "--run", metavar="NAME", help="refuse checkpoints of other algorithms")
    add("-e", "--env", metavar="ENV", help="play this environment instead of the checkpoint's")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--episodes", type=_positive, metavar="N", help=f"how many (default {DEFAULT_EPISODES})"
    )
    length.add_argument(
        "--steps",
        type=_positive,
        metavar="N",
        help="play so many rounds in all; only episodes that end count",
    )
    add(
        "--render",
        nargs="?",
        const="",
        type=_gif,
        metavar="FILE.gif",
        help="write one more episode as a GIF (default name: the environment's)",
    )
    add("--out", metavar="FILE", help="write the results as JSON")
    add("--seed", type=int, metavar="S", help="of environments and actions")
    add("-c", "--config", type=_json_object, default={}, metavar="JSON", help="settings to change")
    _add_verbosity(parser, default=0)


def _add_verbosity(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        dest="verbosity",
        action="count",
        default=default,
        help="-v: tracebacks, Ray's warnings and every result; -vv: the workers' output, too",
    )


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object such as {{"key": 1}}')
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def _gif(text: str) -> str:
    if text and not text.endswith(".gif"):
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in .gif; the checkpoint goes before a bare --render"
        )
    return text
