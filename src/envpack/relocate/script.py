"""Scripts that start a Python by an absolute path, or by whatever PATH gives.

The header that replaces the `#!` line is read by both languages: `/bin/sh` runs it up to `exec`,
Python sees one string. It follows links to the script without help from `realpath` or
`readlink -f`, drops a PYTHONHOME that would kill the interpreter, and hands the script on under
the name it was called by. An encoding cookie counts in the first two lines only (PEP 263), so it
stays on the second. A docstring becomes one with the header's string: behind another string it
would be none, and `from __future__` could not follow. Where `readlink` is missing `ls` tells the
target, in a locale in which busybox's does not replace letters by question marks.

Forms read: `#!/path/python [option]`; `#!/usr/bin/env python`, also with `-S`; the `/bin/sh`
polyglot of long or spaced paths (distlib, pip, uv); uv's relocatable form; that of
python-build-standalone, `"exec" …`.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envpack.model import Edit, Move, View
from envpack.relocate.paths import ByHead, place_of
from envpack.relocate.shebang import Start, started

_HEAD = 65536
_PYTHON = re.compile(r"pythonw?(\d(\.\d+t?)?)?")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+.*$")
_COMMENTS = re.compile(rb"(?:[ \t\f]*(?:#[^\n]*)?\r?\n)*")
_DOCSTRING = re.compile(rb"[rRuU]?[\"']")
_TRIPLE = re.compile(rb"'''exec' (?P<command>.+) \"\$0\" \"\$@\"\n' '''\n")
_QUOTED = re.compile(rb"\"exec\" (?P<command>.+) \"\$0\" \"\$@\"\n")
_HERE = re.compile(
    r'(?P<open>"?)\$\(dirname (?:-- )?"?(?:\$\(realpath (?:-- )?"?\$0"?\)|\$0)"?\)(?P<close>"?)/'
)
"""The folder of the script, as the shell finds it."""
_OWN = b"''':'\n"
_BY_ENV = re.compile(rb"/env[ \t].*?(?<![\w./-])(?P<python>python[\d.]*)(?![\w/-])")
_SHELL = re.compile(rb"/(?:env[ \t]+)?(?:ba|da|k|z)?sh[ \t\r]*$")
_BY_EXEC = re.compile(
    rb"^[ \t'\":]*exec['\"]?[ \t]+(?:/usr/bin/env[ \t]+)?['\"]?(?P<python>python[\d.]*)['\"]?[ \t]"
    rb"[^\n]*\$\{?0",
    re.MULTILINE,
)
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
        comments = _COMMENTS.match(head, found.stop)
        assert comments is not None
        docstring = _DOCSTRING.match(head, comments.end()) is not None
        kept = comments[0] if docstring else _cookie(head[found.stop :])
        to_python = posixpath.relpath("bin/python", posixpath.dirname(name))
        text = header(to_python, found.words, kept, env=found.env, docstring=docstring)
        yield Edit(0, found.stop + len(kept), text, self.why[0])


def _cookie(text: bytes) -> bytes:
    """Return the first line if it is an encoding cookie: it must stay in front of the string."""
    line, newline, _ = text.partition(b"\n")
    return line + newline if newline and _COOKIE.match(line) else b""


class Head(NamedTuple):
    """The lines of a script that start Python: where they stop, with what, and by what env(1)."""

    stop: int
    words: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


def header(
    to_python: str,
    words: Sequence[str] = (),
    comments: bytes = b"",
    *,
    env: Sequence[str] = (),
    docstring: bool = False,
) -> bytes:
    """Return the lines that start `to_python`, a path relative to the script's directory.

    `words` are arguments for Python itself, `env` the beginning of a call of env(1) that starts it,
    `comments` whole lines that stay in front of the string, an encoding cookie first. With
    `docstring` the string goes on with the literal that must follow.
    """
    options = "".join(f"{_quoted(word)} " for word in words)
    by = "".join(f"{_quoted(word)} " for word in env)
    return (
        b"#!/bin/sh\n"
        + comments
        + _OWN
        + f"""unset PYTHONHOME
{FIND_SELF}exec {by}"${{s%/*}}/{to_python}" {options}"$0" "$@"
""".encode("utf-8", "surrogateescape")
        + (b"''' \\\n" if docstring else b"'''\n")
    )


def _quoted(word: str) -> str:
    """Return a word as the shell reads it, between the quotes of a Python string."""
    if re.fullmatch(r"[\w./=:,-]+", word, re.ASCII):
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'


def _can_be_quoted(word: str) -> bool:
    """Say whether the shell and Python both read a word as it is; Python warns of backslashes."""
    return not re.search(r"[\\\n\0]", word) and ("'" not in word or not re.search(r'["$`!]', word))


def python_header(name: str, head: bytes, moves: tuple[Move, ...]) -> Head | None:
    """Return the lines that start Python, None if nothing is to be rewritten."""
    line, newline, _ = head.partition(b"\n")
    if not newline:
        return None
    stop = len(line) + 1
    if line + b"\n" in _SHELLS:
        rest = head[stop:]
        polyglot = _TRIPLE.match(rest) or _QUOTED.match(rest)
        if polyglot is None:
            return None
        stop += polyglot.end()
        start = _of_polyglot(name, polyglot["command"], moves)
    else:
        text = line[2:].decode("utf-8", "surrogateescape").strip()
        start = _with_blanks(text, moves) or started(text)
        if start is None or _PYTHON.fullmatch(posixpath.basename(start.program)) is None:
            return None
        if not name.startswith("bin/") and place_of(start.program, moves) is None:
            return None
    if start is None or not all(map(_can_be_quoted, (*start.words, *start.env))):
        return None
    return Head(stop, start.words, start.env)


def found_by_path(name: str, head: bytes) -> str:
    """Return the name of the Python that a script finds by PATH alone, "" if it does not.

    That is what no header replaces: an option of env(1) that has no place there, or a shell script
    that hands itself to Python. It is right only where the archive is active.
    """
    line = head.partition(b"\n")[0]
    if not name.startswith("bin/") or not line.startswith(b"#!"):
        return ""
    found = _BY_ENV.search(line) or (_SHELL.search(line) and _BY_EXEC.search(head))
    return found["python"].decode() if found else ""


def _with_blanks(text: str, moves: tuple[Move, ...]) -> Start | None:
    """Return what a `#!` line starts whose interpreter is under a move with blanks in its path.

    The kernel splits at the first blank; no working script has a path with one, but written by an
    installer that knew no better it still means this environment.
    """
    for move in moves:
        if text.startswith(move.old + "/") and " " in move.old:
            inner, _, option = text[len(move.old) :].partition(" ")
            return Start(move.old + inner, (option.strip(),) if option.strip() else ())
    return None


def _of_polyglot(name: str, command: bytes, moves: tuple[Move, ...]) -> Start | None:
    """Return what a polyglot starts, if it is a Python of this environment, or one beside it."""
    text = command.decode("utf-8", "surrogateescape")
    here = _HERE.match(text)
    if here is not None:
        text = (here["open"] if not here["close"] else "") + text[here.end() :]
    if re.search(r"[$`;&|<>()\\]", text):
        return None
    try:
        program, *words = shlex.split(text)
    except ValueError:  # nothing, or a quote without its other
        return None
    if _PYTHON.fullmatch(posixpath.basename(program)) is None:
        return None
    known = name.startswith("bin/") or here is not None or place_of(program, moves) is not None
    return Start(program, tuple(words)) if known else None
