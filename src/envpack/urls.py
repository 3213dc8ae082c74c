"""URLs as they are compared, and as they may be shown: without what lets somebody in."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from envpack.redact import stripped

_PORTS = {"http": 80, "https": 443}


class Realm(NamedTuple):
    """What must be equal for two URLs to share a login: scheme, host, port (RFC 7235, 2.2)."""

    scheme: str
    host: str
    port: int | None


class Bare(NamedTuple):
    """A URL without user and password, and these decoded; None where the URL had none."""

    url: str
    user: str | None
    password: str | None


def realm_of(url: str) -> Realm:
    """Return the realm of a URL, with the scheme's own port if it names none.

    Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    return Realm(parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme))


def bare(url: str) -> Bare:
    """Take user and password out of a URL. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    info, at, host = parts.netloc.rpartition("@")
    user, colon, password = info.partition(":")
    return Bare(
        parts._replace(netloc=host).geturl(),
        unquote(user) if at and (user or colon) else None,
        unquote(password) if colon else None,
    )


def host_of(url: str) -> str:
    """Return host and port as the URL has them, without user and password, for people."""
    return _parts(stripped(url)).netloc.rpartition("@")[2]


def shown(url: str) -> str:
    """Return a URL that may be shown: no user, password, query or fragment.

    Queries go too because signed URLs carry their signature there.
    """
    parts = _parts(stripped(url))
    host = parts.netloc.rpartition("@")[2]
    return SplitResult(parts.scheme, host, parts.path, "", "").geturl()


def segments(url: str) -> tuple[str, ...]:
    """Return the segments of the path, without empty ones."""
    return tuple(part for part in urlsplit(url).path.split("/") if part)


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # nothing of it can be trusted to be harmless
        return SplitResult("", "", "", "", "")
