"""Errors a user can mend: one clear line that names the field or the file.

The command line prints a `UserError` as ``unmask: error: <line>`` and exits with status 2; from Python it is an
ordinary exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and how to mend it; `field` names it for programs."""

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class SaidElsewhere(UserError):
    """The same, in a process that another one of its run speaks for: it ends with the status and without a line."""


def nearest(name: str, options: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest option, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
