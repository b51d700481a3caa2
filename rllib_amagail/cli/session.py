"""A Ray session for one command."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from rllib_amagail.cli.errors import CommandError, one_line
from rllib_amagail.local_ray import join_ray, start_local_ray

# Ray reports a failed trial as a traceback and warns on every run; `train` says in one line what
# matters. The levels are for no -v, -v and -vv.
_CHATTY = {
    "ray.rllib": (logging.ERROR, logging.WARNING, logging.INFO),
    "ray.tune": (logging.CRITICAL, logging.ERROR, logging.INFO),
    "optuna": (logging.WARNING, logging.INFO, logging.INFO),
}


def set_verbosity(verbosity: int) -> None:
    """Quiet Ray's loggers unless the user asked for more (1: failures and warnings, 2: all)."""
    for name, levels in _CHATTY.items():
        logging.getLogger(name).setLevel(levels[min(verbosity, 2)])
    if not verbosity:  # RLlib registers its environment anew for every runner, and so on
        warnings.filterwarnings("ignore", module="gymnasium")


@contextmanager
def ray_session(
    *,
    address: str | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    verbosity: int = 0,
) -> Iterator[None]:
    """Use the session that runs, or start one and stop it afterwards.

    Args:
        address: of a cluster to connect to. None: a session on this machine.
        num_cpus, num_gpus: what the session on this machine may use. None: what is there.
        verbosity: 1 and more shows Ray's own log, 2 that of its workers, too.

    Raises:
        CommandError: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    try:
        options: dict[str, Any] = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "log_to_driver": verbosity > 1,
            "logging_level": logging.WARNING if verbosity else logging.ERROR,
        }
        if address:
            join_ray(address, **options)
        else:
            start_local_ray(**options)
    except Exception as error:
        raise CommandError(f"Ray does not start: {one_line(error)}") from error
    set_verbosity(verbosity)  # ray.init sets up loggers, too
    try:
        yield
    finally:
        ray.shutdown()
