"""Logins for indexes and for the files they lead to, by the rules of uv.

What uv's documentation names, in its order: the URL itself, with the indexes of the configuration
and the variables UV_INDEX_<NAME>_USERNAME and _PASSWORD; netrc; uv's own store; `keyring`. A login
of an index is sent at once to what lies below it, and for PEP 503 also below the folder around
`/simple`. The others are looked for once a server refuses, or at once where a user name without a
password or `authenticate = "always"` says that it will.
"""

from __future__ import annotations

import base64
import enum
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envpack.errors import FetchFault, ToolFault
from envpack.urls import Realm, bare, host_of, realm_of, segments, shown
from envpack.uv import Uv, keyring_login
from envpack.uv_config import UvConfig, home

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)=(?P<url>.*)", re.DOTALL)
_TOKEN_USER = "__token__"  # noqa: S105 - the user name that goes with a token
_LISTS = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; either may be a secret, so neither is in the repr."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    def header(self) -> str:
        """Return the value of an Authorization header (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


class Authenticate(enum.Enum):
    """When an index is sent a login."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Index:
    """One index or find-links page; `url` has no user and no password."""

    url: str
    name: str = ""
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    authenticate: Authenticate = Authenticate.AUTO

    def reach(self, url: str) -> int | None:
        """Return how many segments of its path `url` shares with this index, None if not below.

        A PEP 503 index stands for the folder around its `/simple` too.
        """
        if realm_of(url) != realm_of(self.url):
            return None
        own, theirs = segments(self.url), segments(url)
        if theirs[: len(own)] == own:
            return len(own)
        root = own[:-1] if own and own[-1].lower() in {"simple", "+simple"} else own
        return len(root) if theirs[: len(root)] == root else None


def read_indexes(config: UvConfig) -> tuple[Index, ...]:
    """Return all indexes that uv's variables and files name, the stronger first."""
    env = config.env
    found = [
        _index_of_word(word, env) for name in _LISTS for word in env.get(name, "").split() if word
    ]
    found += [_index_of_word(word, env) for word in env.get("UV_FIND_LINKS", "").split(",")]
    for table in (*config.tables, config.project):
        found += [_index_of_table(each, env) for each in _list(table.get("index"))]
        for key in ("extra-index-url", "index-url", "find-links"):
            found += [_index_of_word(each, env) for each in _list(table.get(key))]
    return tuple(dict.fromkeys(index for index in found if index is not None))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _index_of_word(word: Any, env: Mapping[str, str]) -> Index | None:
    """Read `URL` or `NAME=URL`; local folders are no indexes that anybody logs in to."""
    if not isinstance(word, str):
        return None
    named = _NAMED.fullmatch(word)
    return _index(named["url"], named["name"], env) if named else _index(word, "", env)


def _index_of_table(table: Any, env: Mapping[str, str]) -> Index | None:
    if not isinstance(table, dict) or not isinstance(table.get("url"), str):
        return None
    policies = {policy.value: policy for policy in Authenticate}
    policy = policies.get(str(table.get("authenticate")), Authenticate.AUTO)
    return _index(table["url"], str(table.get("name", "")), env, policy)


def _index(
    text: str, name: str, env: Mapping[str, str], policy: Authenticate = Authenticate.AUTO
) -> Index | None:
    """Make an index; its variables beat the URL's own user and password."""
    try:
        url, user, password = bare(text.strip())
        if realm_of(url).scheme not in {"http", "https"}:
            return None
    except ValueError:
        return None
    if name:
        stem = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        told = env.get(f"{stem}_USERNAME"), env.get(f"{stem}_PASSWORD")
        if told != (None, None):
            user, password = told
    return Index(url, name, user, password, policy)


class Logins:
    """Which login goes with which URL. Safe to share between threads.

    `uv` gives the program whose store is asked, None for no store; `keyring` says whether the
    program of that name is asked. `notes` are sentences about what could not be read.
    """

    def __init__(
        self,
        indexes: Iterable[Index],
        env: Mapping[str, str],
        *,
        uv: Callable[[], Uv] | None = None,
        keyring: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self._indexes = tuple(indexes)
        self._env = env
        self._uv = uv
        self._keyring = keyring
        self._lock = threading.Lock()
        self._searched: dict[tuple[object, str | None], Login | None] = {}
        self._accepted: dict[Realm, Login] = {}

    @classmethod
    def of(cls, config: UvConfig, uv: Callable[[], Uv] | None) -> Logins:
        """Make the logins that uv would have with this configuration."""
        provider = config.env.get("UV_KEYRING_PROVIDER") or config.first("keyring-provider")
        return cls(read_indexes(config), config.env, uv=uv, keyring=provider == "subprocess")

    def known(self, url: str) -> Login | None:
        """Return the login to send with the first request to `url`, None for none.

        Raises FetchFault if the index must have one and there is none.
        """
        plain, user, password = bare(url)
        index = self._index_of(plain)
        policy = index.authenticate if index else Authenticate.AUTO
        if policy is Authenticate.NEVER:
            return None
        if user is None and password is None and index is not None:
            user, password = index.user, index.password
        if password is not None:
            return Login(user or "", password)
        accepted = self._accepted.get(realm_of(plain))
        if accepted is not None and user in {None, accepted.user}:
            return accepted
        if user is None and policy is Authenticate.AUTO:
            return None
        login = self._search(plain, index, user)
        if login is None and policy is Authenticate.ALWAYS:
            assert index is not None
            raise FetchFault(
                f"the index `{index.name or shown(index.url)}` must have a login, and none was"
                " found",
                hint="set UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD",
            )
        return login or (Login(user, "") if user is not None else None)

    def found(self, url: str) -> Login | None:
        """Return the login to try after `url` was refused without one, None if there is none."""
        plain, user, _ = bare(url)
        index = self._index_of(plain)
        if index is not None and index.authenticate is Authenticate.NEVER:
            return None
        return self._search(plain, index, user if user is not None or not index else index.user)

    def accept(self, url: str, login: Login) -> None:
        """Remember that a login found by searching was right, so that it is sent at once."""
        self._accepted.setdefault(realm_of(url), login)

    def _index_of(self, url: str) -> Index | None:
        """Return the index with the longest path above `url`; of equal ones the stronger."""
        best: tuple[int, Index] | None = None
        for index in self._indexes:
            reach = index.reach(url)
            if reach is not None and (best is None or reach > best[0]):
                best = reach, index
        return best[1] if best else None

    def _search(self, url: str, index: Index | None, user: str | None) -> Login | None:
        """Ask index logins of the realm, netrc, uv's store and keyring, once for each place."""
        realm = realm_of(url)
        key = (index or realm, user)
        with self._lock:
            if key not in self._searched:
                self._searched[key] = (
                    self._of_realm(realm, user)
                    or self._of_netrc(realm, user)
                    or self._of_store(shown(index.url if index else url), user)
                    or self._of_keyring(url, index, user)
                )
            return self._searched[key]

    def _of_realm(self, realm: Realm, user: str | None) -> Login | None:
        for index in self._indexes:
            if index.password is None or index.authenticate is Authenticate.NEVER:
                continue
            if realm_of(index.url) == realm and user in {None, index.user}:
                return Login(index.user or "", index.password)
        return None

    def _of_netrc(self, realm: Realm, user: str | None) -> Login | None:
        import netrc  # few have one

        path = self._env.get("NETRC") or os.path.join(home(self._env), ".netrc")
        try:
            entry = netrc.netrc(path).authenticators(realm.host)
        except FileNotFoundError:
            return None
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or getattr(error, "msg", "it is no text")
            self.notes.append(f"`{path}` cannot be read: {words}")
            return None
        if entry is None or user not in {None, entry[0]}:
            return None
        return Login(entry[0], entry[2] or "")

    def _of_store(self, url: str, user: str | None) -> Login | None:
        """Ask uv's store; a login with a name is told only to those who know the name."""
        if self._uv is None:
            return None
        try:
            password = self._uv().auth_token(url, user)
        except ToolFault as fault:
            self.notes.append(str(fault))
            return None
        return None if password is None else Login(_TOKEN_USER if user is None else user, password)

    def _of_keyring(self, url: str, index: Index | None, user: str | None) -> Login | None:
        """Ask keyring for the index, or the file, and then for the host.

        It is slow, so it is asked only where a user name or the index says that a login is needed.
        """
        always = index is not None and index.authenticate is Authenticate.ALWAYS
        if not self._keyring or (user is None and not always):
            return None
        for service in (shown(index.url if index else url), host_of(url)):
            try:
                pair = keyring_login(service, user)
            except ToolFault as fault:
                self.notes.append(str(fault))
                return None
            if pair is not None:
                return Login(*pair)
        return None
