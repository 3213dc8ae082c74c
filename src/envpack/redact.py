"""Secrets in URLs: the one place that knows where they begin and end.

A login stands before the host (RFC 3986, 3.2.1), tokens stand in queries and fragments. People also
write passwords with a raw `@` or `/`, which no standard allows and most programs take, so a login
ends at the last `@` behind which something looks like a host. `git` alone is the account that
everybody uses (PEP 610), `${NAME}` is the name of a variable, and a user without a password is a
secret only over HTTP, where it is a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# Strings, which `re` compiles at first use and keeps: every start would pay for them.
_URL = r"(?i)(?:(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*):)?//"
_INNER = r"(?i)[a-z][a-z0-9+.-]*://"
_RUN = re.compile(r"""[^\s"'<>`]*""")
_LONGEST = 8192
_MOST_SIGNS = 64

_AUTHORITY = re.compile(r"[^/?#\\]*")
_HOST = r"(?i)(?:\[[0-9a-f:.%]+\]|localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+(?=:\d))(?::\d*)?"
_PLAIN_HOST = rf"{_HOST}(?=[/?#\\]|$)"
_NO_PORT = r"[^/?#\\:@\[]*:(?!\d*(?:[/?#\\]|$))"
_USER_WITH_SLASH = r"[\w-]+/[^@:/?#]*:[^@/]+@"
_NUMBER_WITH_SLASH = r"[\w-]+:\d+[/?#]"
_VARIABLES = r"\$\{\w+\}(?::\$\{\w+\})?"
_BY_HTTP = r"(?:\w+\+)?https?"

_TELLING = (
    r"(?i)(?:^|[_.-])(?:\w*(?:token|secret|passw(?:or)?d|signature|credential)s?|pass|passphrase|pwd"
    r"|sig|tok|pat|sas|jwt|auth|authorization|api_?keys?|\w*access_?key(?:_?id)?|\w*private_?key"
    r"|keys?|code|session(?:_?id)?|hmac)$"
)
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])"
_LONG = r"(?=[^=]*[a-z])(?=[^=]*[A-Z])(?=[^=]*\d)[\w+/=%.~-]{32,}"
_HIDDEN = "***"


class Span(NamedTuple):
    """Where in a text a secret is; `mark` is what tells people that one was there."""

    start: int
    stop: int
    mark: str


def secrets_in(text: str) -> Iterator[Span]:
    """Yield the secrets of all URLs in a text, in order: logins with their `@`, queries, fragments.

    A query goes as a whole: without its signature the rest is of no use. Scheme-less `//` counts,
    as messages and index pages have it.
    """
    done = stop = 0
    for match in re.finditer(_URL, text) if "//" in text else ():
        start = match.end()
        if match.start() < done:
            continue
        if stop <= start and (run := _RUN.match(text, start)):
            stop = run.end()
        rest = text[start : min(stop, start + _LONGEST)]
        login = _login(rest, (match[1] or "").lower())
        if login:
            yield Span(start, start + login, f"{_HIDDEN}@")
        done = start + login
        inner = re.search(_INNER, rest[login:])  # one URL in another has secrets of its own
        tail = rest[login : login + inner.start() if inner else None]
        url, _, fragment = tail.partition("#")
        path, _, query = url.partition("?")
        if _tells(query):
            yield Span(done + len(path), done + len(url), f"?{_HIDDEN}")
        if _tells(fragment):
            yield Span(done + len(url), done + len(tail), f"#{_HIDDEN}")
        done += len(tail)


def masked(text: str) -> str:
    """Return a text for people, with `***` in place of what lets somebody in."""
    return _replaced(text, marks=True)


def stripped(text: str) -> str:
    """Return a text for programs, whose URLs let nobody in."""
    return _replaced(text, marks=False)


def has_secrets(text: str) -> bool:
    """Say whether a URL in the text lets somebody in."""
    return next(secrets_in(text), None) is not None


def all_stripped(value: Any) -> Any:
    """Return a JSON value with all its strings, names aside, stripped."""
    if isinstance(value, str):
        return stripped(value)
    if isinstance(value, list):
        return [all_stripped(one) for one in value]
    if isinstance(value, dict):
        return {name: all_stripped(one) for name, one in value.items()}
    return value


def is_secret_name(name: str) -> bool:
    """Say whether a variable or parameter of this name holds a secret, as far as names tell."""
    return re.search(_TELLING, re.sub(_CAMEL, "_", name)) is not None


def _replaced(text: str, *, marks: bool) -> str:
    pieces = []
    position = 0
    for start, stop, mark in secrets_in(text):
        pieces += [text[position:start], mark if marks else ""]
        position = stop
    return "".join([*pieces, text[position:]]) if pieces else text


def _login(rest: str, scheme: str) -> int:
    """Return where what comes behind `//` has its host, 0 if there is no secret before it."""
    end = 0
    for _ in range(_MOST_SIGNS):
        at = rest.find("@", end)
        if at < 0:
            break
        authority = _AUTHORITY.match(rest, end)
        outside = authority is None or at >= authority.end()
        if outside and (_is_host if end else _may_be_host)(rest[end:], rest[at + 1 :]):
            break
        end = at + 1
    login = rest[: max(0, end - 1)]
    user, colon, _ = login.partition(":")
    if not login or re.fullmatch(_VARIABLES, login):
        return 0
    alone = not colon and (user == "git" or re.fullmatch(_BY_HTTP, scheme) is None)
    return 0 if alone else end


def _is_host(text: str, _: str) -> bool:
    return re.match(_PLAIN_HOST, text) is not None


def _may_be_host(text: str, behind: str) -> bool:
    """Say whether a URL begins with its host, and not with a login that has a raw `/`.

    `behind` is what comes after its first `@`, which is outside of what should be the host.
    """
    if re.match(_NO_PORT, text):
        return False
    if re.match(_NUMBER_WITH_SLASH, text):
        return re.match(rf"{_HOST}/", behind) is None
    return re.match(_PLAIN_HOST, text) is not None or re.match(_USER_WITH_SLASH, text) is None


def _tells(pairs: str) -> bool:
    """Say whether a query or a fragment has something in it that lets somebody in."""
    for pair in pairs.replace(";", "&").split("&") if pairs else ():
        name, equals, value = pair.partition("=")
        if (value and is_secret_name(name)) or re.fullmatch(_LONG, value if equals else name):
            return True
    return False
