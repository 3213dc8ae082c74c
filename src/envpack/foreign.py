"""The one door for files that others wrote: opened without waiting, read within bounds, parsed.

A file of an environment, a project or a folder may be anything: a pipe that nobody writes to, a
device without an end, JSON of ten thousand brackets, a number of five thousand digits. Parsers
raise what they like for that. Whatever it is, it comes out of here as one sentence with the file's
name, in the class of error that the caller names.
"""

from __future__ import annotations

import csv
import errno
import hashlib
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
"""Bytes of one file of metadata: several times the RECORD of the largest packages."""

LOCKS = 128 << 20
"""Bytes of one lock, which names every file of every package."""

DEEPEST = 64
"""Levels of JSON and TOML: what metadata has is below ten, and our own code may recurse to here."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_BLOCK = 1 << 20
_T = TypeVar("_T")


def opened(path: str, fault: type[EnvpackError] = SourceFault) -> io.FileIO | None:
    """Open a regular file for reading, without a buffer; None if there is no such file.

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
        return io.FileIO(descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        return None
    raise fault(f"`{path}` is no regular file")


def read_bytes(
    path: str, fault: type[EnvpackError] = SourceFault, *, most: int = MOST
) -> bytes | None:
    """Return the bytes of a file, None if there is no such file; `fault` for more than `most`."""
    file = opened(path, fault)
    if file is None:
        return None
    try:
        with file:
            data = _all(file, most + 1)
    except OSError as error:
        raise fault(f"cannot read `{path}`: {error.strerror}") from error
    if len(data) > most:
        raise fault(f"`{path}` is larger than {most >> 20} MiB, which no such file is")
    return data


def head_of(path: str, size: int) -> bytes:
    """Return the first bytes of a file, none of what is no file or cannot be read."""
    try:
        file = opened(path)
        if file is None:
            return b""
        with file:
            return _all(file, size)
    except (EnvpackError, OSError):
        return b""


def sha256_of(path: str, fault: type[EnvpackError] = SourceFault) -> str | None:
    """Return the sha256 of a file, of whatever size, None if there is no such file."""
    file = opened(path, fault)
    if file is None:
        return None
    try:
        with file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise fault(f"cannot read `{path}`: {error.strerror}") from error


def read_text(
    path: str,
    fault: type[EnvpackError] = SourceFault,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    most: int = MOST,
) -> str | None:
    """Return the text of a file with its line ends as they are, None if there is no such file."""
    data = read_bytes(path, fault, most=most)
    if data is None:
        return None
    with described(path, "no text", fault):
        if b"\0" in data:  # no path and no name can hold it, and no parser expects it
            raise ValueError("it has a NUL byte")
        return data.decode(encoding, errors)


def any_text(path: str) -> str:
    """Return what can be read of a file's text, "" if that is nothing."""
    return head_of(path, MOST).decode("utf-8", "replace")


def read_json(path: str, fault: type[EnvpackError] = SourceFault) -> Any:
    """Return the value of a JSON file, None if there is no such file."""
    data = read_bytes(path, fault)
    return None if data is None else parsed_json(data, path, fault)


def parsed_json(text: str | bytes, path: str, fault: type[EnvpackError] = SourceFault) -> Any:
    """Return the value of a JSON text that came from `path`."""
    return _parsed(
        lambda: json.loads(text.decode() if isinstance(text, bytes) else text), path, "JSON", fault
    )


def read_toml(
    path: str, fault: type[EnvpackError] = SourceFault, *, most: int = MOST
) -> dict[str, Any] | None:
    """Return the table of a TOML file, None if there is no such file."""
    data = read_bytes(path, fault, most=most)
    if data is None:
        return None
    table: dict[str, Any] = _parsed(lambda: tomllib.loads(data.decode()), path, "TOML", fault)
    return table


def table_in(value: object, *names: str) -> dict[str, Any]:
    """Return the table that is found by names inside of another, empty where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


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
    except EnvpackError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise fault(f"cannot read `{_shown(path)}`: {error.strerror}") from error
        raise fault(f"`{_shown(path)}` is {what}: {_reason(error)}") from error


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
