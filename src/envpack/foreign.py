"""The one door for files that others wrote: opened without waiting, read within bounds, parsed.

A file of an environment, a project or a folder may be anything: a pipe that nobody writes to, a
device without an end, JSON of ten thousand brackets, a number of five thousand digits. Parsers
raise what they like for that. Whatever it is, it comes out of here as one sentence with the file's
name, in the class of error that the caller names.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from envpack.errors import EnvpackError, SourceFault

MOST = 16 << 20
"""Bytes of one file of metadata: a hundred times the RECORD of the largest packages."""

DEEPEST = 64
"""Levels of JSON and TOML: what metadata has is below ten, and our own code may recurse to here."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_BLOCK = 1 << 20
_T = TypeVar("_T")


def opened(path: str, fault: type[EnvpackError] = SourceFault) -> int | None:
    """Open a regular file for reading and return its descriptor, None if there is no such file.

    Raises `fault` for what cannot be opened and for what is no file, without waiting for anybody.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        if error.errno == errno.ENXIO:  # a socket
            raise fault(f"`{path}` is no regular file") from None
        raise fault(f"cannot read `{path}`: {error.strerror}") from error
    except ValueError:
        raise fault(f"cannot read `{_shown(path)}`: its name is none of a file") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        return None
    raise fault(f"`{path}` is no regular file")


def read_bytes(
    path: str, fault: type[EnvpackError] = SourceFault, *, most: int = MOST
) -> bytes | None:
    """Return the bytes of a file, None if there is no such file; `fault` for more than `most`."""
    descriptor = opened(path, fault)
    if descriptor is None:
        return None
    try:
        with open(descriptor, "rb", buffering=0) as file:
            data = _all(file, most + 1)
    except OSError as error:
        raise fault(f"cannot read `{path}`: {error.strerror}") from error
    if len(data) > most:
        raise fault(f"`{path}` is larger than {most >> 20} MiB, which no such file is")
    return data


def head_of(path: str, size: int) -> bytes:
    """Return the first bytes of a file, none of what is no file or cannot be read."""
    try:
        descriptor = opened(path)
        if descriptor is None:
            return b""
        with open(descriptor, "rb", buffering=0) as file:
            return _all(file, size)
    except (EnvpackError, OSError):
        return b""


def read_text(
    path: str,
    fault: type[EnvpackError] = SourceFault,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
) -> str | None:
    """Return the text of a file with its line ends as they are, None if there is no such file."""
    data = read_bytes(path, fault)
    if data is None:
        return None
    with described(path, "no text", fault):
        return data.decode(encoding, errors)


def read_json(path: str, fault: type[EnvpackError] = SourceFault) -> Any:
    """Return the value of a JSON file, None if there is no such file."""
    text = read_text(path, fault)
    return None if text is None else parsed_json(text, path, fault)


def parsed_json(text: str | bytes, path: str, fault: type[EnvpackError] = SourceFault) -> Any:
    """Return the value of a JSON text that came from `path`."""
    return _parsed(lambda: json.loads(text), path, "JSON", fault)


def read_toml(path: str, fault: type[EnvpackError] = SourceFault) -> dict[str, Any] | None:
    """Return the table of a TOML file, None if there is no such file."""
    text = read_text(path, fault)
    return None if text is None else parsed_toml(text, path, fault)


def parsed_toml(text: str, path: str, fault: type[EnvpackError] = SourceFault) -> dict[str, Any]:
    """Return the table of a TOML text that came from `path`."""
    text = text.replace("\r\n", "\n")
    table: dict[str, Any] = _parsed(lambda: tomllib.loads(text), path, "TOML", fault)
    return table


def parsed_csv(
    text: str, path: str, fault: type[EnvpackError] = SourceFault
) -> Iterator[list[str]]:
    """Yield the rows of csv that are not empty."""
    with described(path, "no csv", fault):
        for row in csv.reader(io.StringIO(text, newline="")):
            if row:
                yield row


@contextmanager
def described(path: str, what: str, fault: type[EnvpackError] = SourceFault) -> Iterator[None]:
    """Turn whatever is raised inside into a `fault` that says that `path` is `what`.

    For code that takes apart what a stranger wrote: it fails where the shape is not the one it
    looks for, and which exception that is depends on the shape.
    """
    try:
        yield
    except (EnvpackError, OSError):
        raise
    except Exception as error:
        words = f"`{_shown(path)}` is {what}: {_reason(error)}"
        raise fault(words) from error


def _parsed(make: Callable[[], _T], path: str, kind: str, fault: type[EnvpackError]) -> _T:
    with described(path, f"no {kind}", fault):
        value = make()
        if _is_deep(value):
            raise ValueError(f"it is nested more than {DEEPEST} times")
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each if isinstance(each, list) else each.values())
        ]
        if not level:
            return False
    return True


def _reason(error: Exception) -> str:
    """Say in a few words what a parser had against a text."""
    if isinstance(error, RecursionError):
        return f"it is nested more than {DEEPEST} times"
    if isinstance(error, MemoryError):
        return "it wants more memory than there is"
    if isinstance(error, KeyError):
        return f"it has no `{error.args[0]}`"
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


def _all(file: io.FileIO, most: int) -> bytes:
    pieces = []
    while most and (piece := file.read(min(most, _BLOCK))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _shown(path: str) -> str:
    return path.replace("\0", "\\0")
