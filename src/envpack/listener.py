"""Who is told how far a run has come."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Is told how far a run has come, from whatever thread; may raise to stop it."""

    def say(self, text: str) -> None:
        """Take one line about what is going on."""

    def planned(self, files: int, size: int) -> None:
        """Take the number of files and the bytes that are to be handled."""

    def tick(self, files: int, size: int) -> None:
        """Take the files, if they are counted, and bytes done so far."""


class Silent:
    """A Listener that keeps quiet."""

    def say(self, text: str) -> None:
        """Ignore the line."""

    def planned(self, files: int, size: int) -> None:
        """Ignore the totals."""

    def tick(self, files: int, size: int) -> None:
        """Ignore the progress."""
