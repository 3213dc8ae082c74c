"""`#!` lines: the program that is started, what it is told, and what env(1) does before.

The kernel gives all that follows the interpreter as one argument, without the blanks around it
(execve(2)). `env -S` splits it as GNU's env(1) does: at white space, with quotes and escapes, up to
a `#` at the beginning of a word.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLANK = " \t"
_WHITE = " \t\n\v\f\r"
_SAME = "\"#$'\\"
_ESCAPED = {"f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ENV = re.compile(r"(?P<env>(?:/usr)?/bin/env)[ \t]+(?P<rest>.+)", re.DOTALL)
_SPLIT = re.compile(
    r"(?:-(?P<flags>[iv0]*)S[ \t]*|--split-string(?:=|[ \t]+))(?P<text>.*)", re.DOTALL
)
_ASSIGNED = re.compile(r"[^=]+=.*", re.DOTALL)


class Start(NamedTuple):
    """What a `#!` line starts: `program` with `words`, by a call of `env` if that is not empty."""

    program: str
    words: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


def started(text: str) -> Start | None:
    """Return what the text after `#!` starts, None for what cannot be told."""
    text = text.strip(_WHITE)
    found = _ENV.fullmatch(text)
    if found is None:
        program, *option = re.split(f"[{_BLANK}]+", text, maxsplit=1)
        return Start(program, tuple(option)) if program else None
    split = _SPLIT.fullmatch(found["rest"])
    if split is None:
        if found["rest"].startswith("-") or _ASSIGNED.fullmatch(found["rest"]):
            return None
        # Where the kernel does not split, env looks for a program with blanks in its name.
        program, *words = found["rest"].split()
        return Start(program, tuple(words))
    words = split_as_env(split["text"])
    if words is None:
        return None
    flags = [f"-{flag}" for flag in split["flags"] or ""]
    return _by_env(found["env"], [*flags, *words])


def _by_env(env: str, words: list[str]) -> Start | None:
    """Return what env starts if it is given words."""
    own: list[str] = []
    left = list(words)
    while left and left[0].startswith("-"):
        word = left.pop(0)
        if word in {"-i", "-", "--ignore-environment"}:
            own.append("-i")
        elif word == "--":
            break
        elif word in {"-u", "--unset"} and left:
            own += ["-u", left.pop(0)]
        elif found := re.fullmatch(r"(?:-u|--unset=)([^=]+)", word):
            own += ["-u", found[1]]
        elif word not in {"-v", "--debug"}:
            return None  # a folder, a signal, another program's name
    while left and _ASSIGNED.fullmatch(left[0]):
        own.append(left.pop(0))
    if not left:
        return None
    program, *rest = left
    return Start(program, tuple(rest), (env, *own) if own else ())


def split_as_env(text: str) -> list[str] | None:
    """Return the words of `env -S`, None for variables and for what env refuses."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char == "\\" and not (quote == "'" and text[index : index + 1] not in {"\\", "'"}):
            escaped = text[index : index + 1]
            index += 1
            if escaped == "c" and quote != '"':
                break
            if escaped == "_" and not quote:
                words, word = _ended(words, word), None
                continue
            char = " " if escaped == "_" else _ESCAPED.get(escaped, escaped)
            if not escaped or escaped not in {*_SAME, *_ESCAPED, "_"}:
                return None
        elif char == "$" and quote != "'":
            return None
        elif char == quote:
            quote = ""
            continue
        elif char in "'\"" and not quote:
            quote, word = char, word or ""
            continue
        elif char in _WHITE and not quote:
            words, word = _ended(words, word), None
            continue
        elif char == "#" and word is None:
            break
        word = (word or "") + char
    return None if quote else _ended(words, word)


def _ended(words: list[str], word: str | None) -> list[str]:
    """Return words and the one that ends here, if one has begun."""
    return words if word is None else [*words, word]
