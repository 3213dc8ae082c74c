"""The only module that prints: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import click

from envpack.redact import masked

if TYPE_CHECKING:
    from envpack.acquired import Lacking

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Unprintable(Exception):
    """stdout takes no more; the text says why, and what was made all the same."""


def failure(message: str, hint: str | None) -> None:
    """Print one sentence about what went wrong, and the way out after it."""
    _labelled("error", "red", message)
    if hint:
        _labelled("hint", "cyan", hint)


def fault(error: Exception, version: str, variable: str) -> None:
    """Print that envpack itself is at fault, where, and what shows more."""
    import traceback  # late: on Python 3.14 it takes as long as all else

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    place = own[-1] if own else frames[-1]
    where = f"{os.path.relpath(place.filename, _PACKAGE) if own else place.filename}:{place.lineno}"
    what = " ".join(masked(f"{type(error).__name__}: {error}").split())
    failure(
        f"this is a fault of envpack: {what} ({where}, envpack {version})",
        f"please report it, with what you typed; {variable}=1 shows the traceback",
    )


def trace(error: Exception) -> None:
    """Print a traceback."""
    import traceback  # late, as above

    talk(masked("".join(traceback.format_exception(error))).splitlines())


def warning(message: str) -> None:
    """Print one sentence about what may surprise."""
    _labelled("warning", "yellow", message)


def _labelled(label: str, colour: str, message: str) -> None:
    """Print a sentence behind its label, in colour on a terminal unless NO_COLOR is set."""
    styled = click.style(label, fg=colour, bold=True)
    _tell(f"{styled}: {masked(message)}", color=False if os.environ.get("NO_COLOR") else None)


def _tell(text: str, *, color: bool | None = None) -> None:
    """Print to stderr; who reads it no more misses it, and nothing else changes."""
    try:
        click.echo(text, err=True, color=color)
    except OSError:
        _give_up(sys.stderr)


def _print(text: str, made: str | None = None) -> None:
    """Print to stdout; `made` is what is there if that fails.

    A reader that went away wanted no more, as with `| head`: that is no failure.
    """
    also = f"; `{made}` is finished and stays" if made else ""
    if sys.stdout is None:
        raise Unprintable(f"cannot print the result: stdout is closed{also}")
    try:
        click.echo(text)
    except BrokenPipeError:
        _give_up(sys.stdout)
    except OSError as error:
        _give_up(sys.stdout)
        raise Unprintable(f"cannot print the result: {error.strerror or error}{also}") from error


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
        _tell(line)


def data(text: str, made: str | None = None) -> None:
    """Print one line for a program; raises Unprintable, which tells of what was `made`."""
    _print(text, made)


def document(value: dict[str, Any], made: str | None = None) -> None:
    """Print a JSON document; raises Unprintable, which tells of what was `made`."""
    _print(json.dumps(value, indent=2), made)


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
        document(report.to_json(), result)
        return
    if not quiet:
        talk(lines())
        lacking(lacks)
        for sentence in warnings:
            warning(sentence)
        talk(after)
    if result is not None:
        data(result, result)


def _give_up(stream: TextIO | None) -> None:
    """Send what a stream still has nowhere, or Python fails once more when it exits."""
    if stream is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def is_of_click(error: OSError) -> bool:
    """Say whether click could not print something itself, such as help; stdout is given up then."""
    import traceback  # late, as above

    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not frames[-1].filename.startswith(os.path.dirname(click.__file__)):
        return False
    _give_up(sys.stdout)
    return True


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
    """How far a command has come: one live display on a terminal, plain lines elsewhere.

    The display has a bar while bytes are counted, and what goes on is said above it. `quiet` keeps
    all of it away.
    """

    def __init__(self, *, quiet: bool, verb: str = "packing") -> None:
        self._verb = verb
        self._quiet = quiet
        self._live: Any = None
        self._task: Any = None
        self._next = 0.0
        shown = sys.stderr is not None and sys.stderr.isatty()
        self._terminal = shown and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Print what is going on, above the bar, which rests until bytes are counted again."""
        if self._quiet:
            return
        if self._live is None:
            _tell(text)
            return
        self._live.update(self._task, visible=False)
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def planned(self, files: int, size: int) -> None:
        """Begin to count bytes: of `files` files with `size` bytes in sum."""
        if self._quiet or not size:
            return
        if not self._terminal:
            _tell(f"{self._verb} {counted(files, 'file')}, {human(size)}")
            return
        if self._live is None:
            display = _display(self._verb)
            self._task = display.add_task(self._verb, total=size)
            try:
                display.start()
            except RuntimeError:  # no thread can be started that would draw it
                self._terminal = False
                return
            self._live = display
        self._live.reset(self._task, total=size, visible=True)

    def tick(self, files: int, size: int) -> None:
        """Move the bar, at most ten times a second."""
        del files
        if self._live is not None and (now := time.monotonic()) >= self._next:
            self._next = now + 0.1
            self._live.update(self._task, completed=size, visible=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _display(verb: str) -> Any:
    """Return the live display of a terminal, which rich draws."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(verb),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
