"""Scripts that start a Python by an absolute path, or by whatever PATH gives.

The header that replaces the `#!` line is read by both languages: `/bin/sh` runs it up to `exec`,
Python sees one string. It follows links to the script without help from `realpath` or
`readlink -f`, drops a PYTHONHOME that would kill the interpreter, and hands the script on under
the name it was called by. An encoding cookie counts in the first two lines only (PEP 263), so it
stays on the second. A docstring becomes one with the header's string: behind another string it
would be none, and `from __future__` could not follow. Where `readlink` is missing `ls` tells the
target, in a locale in which busybox's does not replace letters by question marks.

Forms read: `#!/path/python [option]`; `#!/usr/bin/env python`; the `/bin/sh` polyglot of long or
spaced paths (distlib, pip, uv); uv's relocatable form; python-build-standalone's `"exec" …`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from envpack.model import Edit, Move, View
from envpack.relocate.paths import ByHead, place_of

_HEAD = 65536
_PYTHON = re.compile(r"pythonw?(\d(\.\d+)?)?$")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+.*$")
_COMMENTS = re.compile(rb"(?:[ \t\f]*(?:#[^\n]*)?\r?\n)*")
_DOCSTRING = re.compile(rb"[rRuU]?[\"']")
_ENV = re.compile(r"(/usr)?/bin/env(\s+-S)?\s+(?P<name>\S+)(\s+(?P<option>\S.*))?$")
_TRIPLE = re.compile(rb"'''exec' (?P<command>.+) \"\$0\" \"\$@\"\n' '''\n")
_QUOTED = re.compile(rb"\"exec\" (?P<command>.+) \"\$0\" \"\$@\"\n")
_OWN = b"''':'\n"
_SHELLS = (b"#!/bin/sh\n", b"#! /bin/sh\n")

FIND_SELF = """\
s=$0
case $s in */*) ;; *) s=./$s ;; esac
while [ -L "$s" ]; do
    l=$(readlink "$s" 2>/dev/null) || { l=$(LC_ALL=C.UTF-8 ls -ld "$s"); l=${l#*"$s -> "}; }
    case $l in /*) s=$l ;; *) s=${s%/*}/$l ;; esac
    d=$(CDPATH= cd -P -- "${s%/*}/" && pwd -P) && s=$d/${s##*/}
done
"""
"""Lines of a shell script that leave its own path, free of links, in `s`."""


class ScriptRelocator(ByHead):
    """Rewrites the head of Python scripts; shell scripts and others keep their interpreter."""

    why = ("script header",)
    BEGINS = b"#!"

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Replace the lines that start Python by ones that find it relative to the script."""
        head = view[0:_HEAD]
        found = python_header(name, head, moves)
        if found is None:
            return
        stop, option = found
        comments = _COMMENTS.match(head, stop)
        assert comments is not None
        docstring = _DOCSTRING.match(head, comments.end()) is not None
        kept = comments[0] if docstring else _cookie(head[stop:])
        to_python = posixpath.relpath("bin/python", posixpath.dirname(name))
        text = header(to_python, option, kept, docstring=docstring)
        yield Edit(0, stop + len(kept), text, self.why[0])


def _cookie(text: bytes) -> bytes:
    """Return the first line if it is an encoding cookie: it must stay in front of the string."""
    line, newline, _ = text.partition(b"\n")
    return line + newline if newline and _COOKIE.match(line) else b""


def header(
    to_python: str, option: str = "", comments: bytes = b"", *, docstring: bool = False
) -> bytes:
    """Return the lines that start `to_python`, a path relative to the script's directory.

    `option` is one argument for Python itself, `comments` whole lines that stay in front of the
    string, an encoding cookie first. With `docstring` the string goes on with the literal that
    must follow.
    """
    words = f"{_quoted(option)} " if option else ""
    return (
        b"#!/bin/sh\n"
        + comments
        + _OWN
        + f"""unset PYTHONHOME
{FIND_SELF}exec "${{s%/*}}/{to_python}" {words}"$0" "$@"
""".encode()
        + (b"''' \\\n" if docstring else b"'''\n")
    )


def _quoted(option: str) -> str:
    return option if re.fullmatch(r"[\w./=:,-]+", option) else '"' + option.replace('"', "") + '"'


def python_header(name: str, head: bytes, moves: tuple[Move, ...]) -> tuple[int, str] | None:
    """Return where the header ends and Python's option, None if nothing is to be rewritten."""
    line, newline, _ = head.partition(b"\n")
    if not newline:
        return None
    rest = head[len(line) + 1 :]
    if line + b"\n" in _SHELLS:
        found = _TRIPLE.match(rest) or _QUOTED.match(rest)
        if found is None or not _is_python(name, found["command"], moves):
            return None
        return len(line) + 1 + found.end(), _option_after(found["command"])
    text = line[2:].decode("utf-8", "surrogateescape").strip()
    if (env := _ENV.match(text)) is not None:
        in_bin = name.startswith("bin/")
        if not in_bin or _PYTHON.fullmatch(env["name"]) is None:
            return None
        return len(line) + 1, env["option"] or ""
    command, option = _split(text, moves)
    if _PYTHON.search(posixpath.basename(command)) is None:
        return None
    if place_of(command, moves) is None and not name.startswith("bin/"):
        return None
    return len(line) + 1, option


def _split(text: str, moves: tuple[Move, ...]) -> tuple[str, str]:
    """Split a `#!` line into the interpreter, which may hold blanks under a move, and its option.

    The kernel splits at the first blank; no working script has a path with one, but written by an
    installer that knew no better it still means this environment.
    """
    for move in moves:
        if text.startswith(move.old + "/") and " " in move.old:
            inner, _, option = text[len(move.old) :].partition(" ")
            return move.old + inner, option.strip()
    command, _, option = text.partition(" ")
    return command, option.strip()


def _is_python(name: str, command: bytes, moves: tuple[Move, ...]) -> bool:
    """Say whether the command of a polyglot is a Python of this environment or relative to it."""
    text = command.decode("utf-8", "surrogateescape")
    word = re.sub(r"^.*/", "", re.sub(r"['\"]", "", text)).partition(" ")[0]
    if _PYTHON.fullmatch(word) is None:
        return False
    path = re.sub(r"['\"]", "", text)
    return name.startswith("bin/") or "$0" in text or place_of(path, moves) is not None


def _option_after(command: bytes) -> str:
    """Return what follows the quoted interpreter in a polyglot's command."""
    text = command.decode("utf-8", "surrogateescape")
    found = re.search(r"python[\d.]*['\"]?\s+(-\S+)$", text)
    return found[1] if found else ""
