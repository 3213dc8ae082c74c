"""The only module that prints: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from envpack.acquired import Lacking

_UNITS = ("B", "kB", "MB", "GB", "TB")


def failure(message: str, hint: str | None) -> None:
    """Print one sentence about what went wrong, and the way out after it."""
    _labelled("error", "red", message)
    if hint:
        _labelled("hint", "cyan", hint)


def warning(message: str) -> None:
    """Print one sentence about what may surprise."""
    _labelled("warning", "yellow", message)


def _labelled(label: str, colour: str, message: str) -> None:
    """Print a sentence behind its label, in colour on a terminal unless NO_COLOR is set."""
    styled = click.style(label, fg=colour, bold=True)
    click.echo(
        f"{styled}: {message}", err=True, color=False if os.environ.get("NO_COLOR") else None
    )


def lacking(found: Iterable[Lacking]) -> None:
    """Warn of packages that some machines will not find a wheel of."""
    for lack in found:
        told = f"; `{lack.sdist}` is kept" if lack.sdist else ""
        where = ", ".join(f"({target})" for target in lack.targets)
        name = f"`{lack.name}` {lack.version}".strip()
        warning(f"{name} for {where}: {lack.why}{told}")


def talk(lines: Iterable[str]) -> None:
    """Print lines for a person."""
    for line in lines:
        click.echo(line, err=True)


def data(text: str) -> None:
    """Print one line for a program."""
    click.echo(text)


def document(value: dict[str, Any]) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(value, indent=2))


class Report(Protocol):
    """What a command came to."""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        ...


def conclude(
    report: Report,
    lines: Callable[[], Iterable[str]],
    result: str | None,
    *,
    as_json: bool,
    quiet: bool,
    lacks: Iterable[Lacking] = (),
    warnings: Iterable[str] = (),
    after: Iterable[str] = (),
) -> None:
    """Print what a command came to: as JSON alone, or in words and then `result`, what it made.

    `lines` are made only if they are printed.
    """
    if as_json:
        document(report.to_json())
        return
    if not quiet:
        talk(lines())
        lacking(lacks)
        for sentence in warnings:
            warning(sentence)
        talk(after)
    if result is not None:
        data(result)


def give_up_stdout() -> None:
    """Send what is still in stdout's buffer nowhere, or Python fails once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it must be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def human(size: int) -> str:
    """Return a number of bytes in decimal units, as `ls --si` and download pages give it."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


class Progress:
    """A progress bar on a terminal; nothing where stderr is a file or a pipe.

    Also what a pack is told to say while it runs: always with `verbose`, never with `quiet`.
    """

    def __init__(self, *, quiet: bool, verbose: bool, verb: str = "packing") -> None:
        self._verb = verb
        self._quiet = quiet
        self._verbose = verbose
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0

    def say(self, text: str) -> None:
        """Print what is going on, if it may take a while or was asked for."""
        if not self._quiet and (self._verbose or sys.stderr.isatty()):
            click.echo(text, err=True)

    def planned(self, files: int, size: int) -> None:
        """Start the bar."""
        del files
        if self._quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = (TextColumn(self._verb), BarColumn(), DownloadColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._verb, total=size)
        self._bar.start()

    def tick(self, files: int, size: int) -> None:
        """Move the bar, at most ten times a second."""
        del files
        if self._bar is not None and (now := time.monotonic()) >= self._next:
            self._next = now + 0.1
            self._bar.update(self._task, completed=size)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
