"""Every failure envpack reports, one class each, one sentence each.

EnvpackError               exit 1: could not
├── UsageError             exit 2: the words of the call are off
├── FindingError           exit 3: done, but a check found something
├── EnvironmentFault       ENV is missing, broken, moved, or no environment
├── UnsupportedBase        the interpreter under ENV is of a kind that is not packed
├── SourceFault            a file of ENV or its interpreter cannot be read, or changed meanwhile
├── EditableFault          an editable install cannot be made into real files
├── ProjectFault           the project or its lock is missing, stale, or of another shape
├── OutputFault            OUT cannot be written
├── FetchFault             a file cannot be had from the network
└── ToolFault              uv is missing or failed (`uv.UvFault` adds what it printed)

Messages: no full stop, back-ticks round names, what happened. The way out, if there is one, is the
`hint`.
"""

from __future__ import annotations

from typing import ClassVar

from envpack.redact import masked


class EnvpackError(Exception):
    """Root of all expected failures; `str(error)` is one sentence for a person.

    Whatever URL a sentence quotes, its secrets are masked here.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(masked(message))
        self.hint = hint and masked(hint)


class UsageError(EnvpackError):
    """The options contradict each other or name something that does not exist."""

    exit_code = 2


class FindingError(EnvpackError):
    """A check asked for by the caller found something; nothing was left behind."""

    exit_code = 3


class EnvironmentFault(EnvpackError):
    """ENV is missing, is no virtual environment, or no longer fits its interpreter."""


class UnsupportedBase(EnvpackError):
    """The base interpreter is of a kind that cannot be packed."""


class SourceFault(EnvpackError):
    """A source file is unreadable, vanished, or changed while it was packed."""


class EditableFault(EnvpackError):
    """An editable distribution cannot become real files."""


class ProjectFault(EnvpackError):
    """The project or its lock file is missing, stale, or does not cover what is asked for."""


class OutputFault(EnvpackError):
    """The archive cannot be written where it should go."""


class FetchFault(EnvpackError):
    """Files cannot be had from where they are; `missing` are the names of all that lack."""

    def __init__(
        self, message: str, *, hint: str | None = None, missing: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class ToolFault(EnvpackError):
    """An outside program is missing or failed."""
