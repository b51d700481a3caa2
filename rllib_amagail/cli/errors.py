"""What can go wrong on the command line, told in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# In a traceback the indented lines of code are followed by the error: "ValueError: text".
_ERROR_LINE = re.compile(r"^ +\S.*\n([A-Za-z_][\w.]*(?::.*)?)$", re.MULTILINE)
# Errors of this package name their causes, and say more besides: what to do, the last checkpoint.
_OWN_ERROR = re.compile(
    r"^(?:rllib_amagail\.(?:\w+\.)*(?=\w+: )|(?=FloatingPointError: ))(.*)$", re.MULTILINE
)

WRONG_USAGE = 2
RUN_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class CommandError(Exception):
    """The command ends; `main` prints the message as one line and returns the exit code.

    Attributes:
        exit_code: `WRONG_USAGE` for what the user can mend in the command, `RUN_FAILED` for what
            broke while it ran.
    """

    def __init__(self, message: str, exit_code: int = WRONG_USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(error: BaseException) -> str:
    """The error's message without line breaks, with its type where the message needs it."""
    message = " ".join(str(error).split())
    if message and isinstance(error, ValueError | OSError | ImportError | CommandError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def first_error_line(report: str) -> str:
    """The root cause in a report with (chained, remote) tracebacks.

    Python prints causes before consequences, so the first line that names an error is the cause;
    but if this package has raised an error itself, its last one. A report without such a line
    gives its first line.
    """
    if own := _OWN_ERROR.findall(report):
        return str(own[-1])
    found = _ERROR_LINE.search(report)
    return found[1] if found else report.strip().partition("\n")[0]


def suggestion(word: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown word ends: with the closest known word, if any is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else "."
