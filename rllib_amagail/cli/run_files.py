"""Experiments from files: ``rllib train file X.yaml|X.json|X.py``."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_amagail.cli.errors import CommandError, one_line
from rllib_amagail.cli.experiment import Experiment

KINDS = (".yaml", ".yml", ".json", ".py")


class _Loader(yaml.SafeLoader):
    """YAML whose ``1e-3`` is a number, as in JSON; PyYAML reads it as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_experiments(path: str) -> list[Experiment]:
    """The experiments of a file.

    YAML and JSON files hold ``{name: {run, env, stop, config, ...}}``. A Python file is executed;
    it defines ``config``, an AlgorithmConfig, and may define the mappings ``stop`` and
    ``search_space``.

    Raises:
        CommandError: a file that is missing, of another kind, or does not hold such.
    """
    file = Path(path)
    if file.suffix not in KINDS:
        raise CommandError(f"{path}: expected a file that ends in {', '.join(KINDS)}")
    if not file.is_file():
        raise CommandError(f"{path}: no such file")
    if file.suffix == ".py":
        return [_from_python(file)]
    content = _parse(file)
    if not isinstance(content, Mapping) or not content:
        raise CommandError(
            f"{path}: expected experiments as {{name: {{run, env, stop, config}}}}; found "
            f"{'nothing' if not content else type(content).__name__}"
        )
    try:
        return [Experiment.from_description(name, one) for name, one in content.items()]
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error


def _parse(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if file.suffix == ".json" else yaml.load(text, _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{file}: cannot be read: {reason}") from error


def _from_python(file: Path) -> Experiment:
    try:
        names = runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise CommandError(f"{file} failed: {one_line(error)}") from error
    config = names.get("config")
    if not isinstance(config, AlgorithmConfig):
        found = "none" if config is None else f"a {type(config).__name__}"
        raise CommandError(
            f"{file}: expected an AlgorithmConfig of the name 'config'; found {found}"
        )
    try:
        return Experiment(
            base=config,
            stop=names.get("stop") or {},
            search_space=names.get("search_space") or {},
        )
    except CommandError as error:
        raise CommandError(f"{file}: {error}") from error
