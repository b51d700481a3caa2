"""Errors of Ray's actors: that they arrive, and what they say in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError

Result = TypeVar("Result")

_PROCESS = re.compile(r"\bpid: (\d+)\s")
_NODE = re.compile(r"\bip: (\S+)")
_GUESSES = re.compile(r"There are some potential|Some common causes")


class TellsErrors:
    """An RLlib actor whose exceptions reach the caller.

    RLlib's own `apply` logs an exception where it happened, sleeps for
    ``delay_between_env_runner_restarts_s`` and ends the process: the caller only hears that an
    actor has died.
    """

    def apply(self, func: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """``func(self, *args, **kwargs)``; what it raises comes through."""
        return func(self, *args, **kwargs)


def cause_of(error: BaseException) -> BaseException:
    """What was raised in the actor, in a method or its constructor; else Ray's own error."""
    if isinstance(error, RayActorError) and error.actor_init_failed:
        error = error.args[0]
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    return error


def in_one_line(error: BaseException) -> str:
    """What was raised in an actor, or why its process is gone as far as Ray knows."""
    error = cause_of(error)
    text = str(error)
    if not isinstance(error, RayActorError):
        message = " ".join(text.split())
        return f"{type(error).__name__}: {message}" if message else type(error).__name__
    process, node = _PROCESS.search(text), _NODE.search(text)
    where = f" (pid {process[1]}{f' on {node[1]}' if node else ''})" if process else ""
    _, _, detail = text.rpartition("Worker exit detail: ")
    detail = _GUESSES.split(detail.strip().rpartition("\n")[2])[0]
    return f"its process{where} died: {detail.strip().rstrip('.')}"
