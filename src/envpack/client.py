"""HTTP requests with logins and redirects, and words for what goes wrong.

A Client sends one request and says what came of it. Whether to try again is for those who know
what they want: a Trouble tells them if it may help, and after how long.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import exceptions as wrong

from envpack.errors import FetchFault
from envpack.indexes import Login
from envpack.network import Network, trust
from envpack.urls import Realm, bare, host_of, realm_of
from envpack.version import VERSION

_CHUNK = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_MAYBE_LATER = frozenset({408, 425, 429})
_REFUSALS = frozenset({401, 403, 404})
_LONGEST_WAIT = 60.0
_SLOWEST = 100
"""Bytes a second: a modem of 1990 does twice that, and the largest wheels would take months."""
_PACE_OVER = 60.0
_NEVER = 1e9
_TRUST_HINT = (
    "name the certificate of your own authority in SSL_CERT_FILE, or set UV_SYSTEM_CERTS=1 to"
    " trust what this system trusts"
)
_LOGIN_HINT = (
    "for an index called NAME set UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD, or use netrc"
    " or `uv auth login`"
)


class Trouble(Exception):
    """A request that did not end well, in words that complete "cannot fetch X from HOST: …".

    `again` says whether trying again may help, `wait` after how many seconds the server said;
    `unreachable`, that no other file of this host would fare better. `via` is the host that HOST
    redirected to, if it did.
    """

    def __init__(
        self,
        words: str,
        *,
        again: bool = False,
        wait: float | None = None,
        unreachable: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(words)
        self.again = again
        self.wait = wait
        self.unreachable = unreachable
        self.hint = hint
        self.via: str | None = None


class Credentials(Protocol):
    """Who knows logins: `envpack.indexes.Logins`."""

    def known(self, url: str) -> Login | None:
        """Return the login to send at once."""

    def found(self, url: str) -> Login | None:
        """Return the login to send after a refusal."""

    def accept(self, url: str, login: Login) -> None:
        """Be told that a login was right."""


class _Paced(io.RawIOBase):
    """What comes from a server, watched: a byte now and then would keep a timeout off for ever.

    Only the time that is waited for the server counts, in headers as in bodies.
    """

    def __init__(self, raw: io.RawIOBase, over: float) -> None:
        self._raw = raw
        self._over = over
        self._waited = 0.0
        self._count = 0

    def readable(self) -> bool:
        """Say that this is for reading."""
        return True

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        """Take bytes that came. Raises Trouble if too few did since the last look."""
        begin = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begin
        self._count += count or 0
        if self._waited >= self._over:
            if self._count < _SLOWEST * self._waited:
                words = (
                    f"it sent less than {_SLOWEST} bytes a second for {self._waited:.0f} seconds"
                )
                raise Trouble(words, again=True)
            self._waited, self._count = 0.0, 0
        return count

    def close(self) -> None:
        """Close what it watches."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is watched from its first byte, also a proxy's to CONNECT."""

    def __init__(self, sock: socket.socket, *words: Any, **options: Any) -> None:
        super().__init__(sock, *words, **options)
        over = max(_PACE_OVER, sock.gettimeout() or 0.0)
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), over))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A response with status 200, 206 or 416, and its body, which is read once."""

    status: int
    headers: Mapping[str, str]
    host: str
    timeout: float
    response: urllib3.BaseHTTPResponse

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises Trouble if it breaks off."""
        try:
            while chunk := self.response.read1(_CHUNK, decode_content=False):
                yield chunk
        except (wrong.HTTPError, OSError, ValueError) as error:
            _raise_trouble(error, self.timeout)

    def abort(self) -> None:
        """End the connection, also while another thread waits for its next byte."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended
            self.response.shutdown()

    def close(self) -> None:
        """Give the connection back if the rest of the body is short, else close it."""
        rest = self.response.length_remaining
        if rest is not None and rest <= _CHUNK:
            self.response.drain_conn()
        self.response.close()


class Client:
    """Connections that are kept and shared between threads, `connections` for each host."""

    def __init__(self, network: Network, credentials: Credentials, connections: int) -> None:
        self._network = network
        self._credentials = credentials
        self._connections = connections
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._trust: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str], *, encrypted: bool) -> Reply:
        """Send a GET request and follow where it leads.

        With `encrypted` no redirect may lead from https to http. A login goes to the realm it is
        for, and not along when another host is named. Raises Trouble for all but 200, 206 and 416.
        """
        first = url
        _check_address(url)
        for _ in range(_MOST_REDIRECTS):
            try:
                reply = self._logged_in(url, headers)
                place = reply.headers.get("location")
                if reply.status not in _REDIRECTS or not place:
                    _check(reply)
                    return reply
            except Trouble as trouble:
                trouble.via = host_of(url) if host_of(url) != host_of(first) else None
                raise
            reply.close()
            target = _joined(bare(url).url, place)
            _check_address(target)
            if encrypted and (urlsplit(url).scheme, urlsplit(target).scheme) == ("https", "http"):
                raise Trouble("it redirects to a connection without encryption, and no hash is set")
            url = target
        raise Trouble(f"it redirects more than {_MOST_REDIRECTS} times")

    def close(self) -> None:
        """Close connections that wait for further use."""
        for manager in list(self._managers.values()):
            manager.clear()

    def _logged_in(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Send a request with the login that is known, or look for one if that is refused."""
        login = self._credentials.known(url)
        reply = self._send(url, headers, login)
        if login is None and reply.status in _REFUSALS:
            login = self._credentials.found(url)
            if login is not None:
                reply.close()
                reply = self._send(url, headers, login)
        if login is not None and reply.status < 400:
            self._credentials.accept(url, login)
        return reply

    def _send(self, url: str, headers: Mapping[str, str], login: Login | None) -> Reply:
        network = self._network
        plain = bare(url).url
        # What is hashed are the bytes as they are stored, so nothing is to be compressed.
        sent = {"User-Agent": f"envpack/{VERSION}", "Accept-Encoding": "identity", **headers}
        if login is not None:
            sent["Authorization"] = login.header()
        try:
            response = self._manager(plain).request(
                "GET",
                plain,
                headers=sent,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=network.connect_timeout, read=network.timeout),
            )
        except (wrong.HTTPError, OSError, ValueError) as error:
            _raise_trouble(error, network.timeout)
        fields = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, fields, host_of(url), network.timeout, response)

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the pools for a URL: one set for each proxy, and one for hosts not checked."""
        proxy = self._network.proxy_for(url)
        blind = self._network.trusts_blindly(url)
        with self._lock:
            if (proxy, blind) not in self._managers:
                manager = self._new_manager(proxy, blind=blind)
                manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
                self._managers[proxy, blind] = manager
            return self._managers[proxy, blind]

    def _new_manager(self, proxy: str | None, *, blind: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {"num_pools": 64, "maxsize": self._connections}
        if blind:
            urllib3.disable_warnings(wrong.InsecureRequestWarning)  # it is what was asked for
            options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
        else:
            self._trust = self._trust or trust(self._network)
            options["ssl_context"] = self._trust
        if proxy is None:
            return urllib3.PoolManager(**options)
        plain, user, password = bare(proxy)
        if urlsplit(plain).scheme not in {"http", "https"}:
            raise FetchFault(f"a proxy of the kind `{urlsplit(plain).scheme}` cannot be used")
        if user is not None:
            # Logins of proxies have the form of those of servers, under another name.
            header = Login(user, password or "").header()
            options["proxy_headers"] = {"Proxy-Authorization": header}
        if urlsplit(plain).scheme == "https":
            self._trust = self._trust or trust(self._network)
            options["proxy_ssl_context"] = self._trust
        return urllib3.ProxyManager(plain, **options)


def _joined(url: str, place: str) -> str:
    """Return where a redirect leads. Raises Trouble for what is no address."""
    try:
        return urljoin(url, place)
    except ValueError:
        raise Trouble("it redirects to what is no address") from None


def _check_address(url: str) -> None:
    """Raise Trouble for a URL that no request can be sent to; it may be a stranger's."""
    try:
        realm = realm_of(url)
    except ValueError:
        realm = Realm("", "", None)
    if realm.scheme not in {"http", "https"} or not realm.host:
        raise Trouble("its address is not one of http or https")


def _check(reply: Reply) -> None:
    """Raise Trouble for a status that brings no file."""
    status = reply.status
    if status in {200, 206, 416}:
        return
    reply.close()
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = f"status {status}"
    again = status in _MAYBE_LATER or status >= 500
    wait = retry_after(reply.headers.get("retry-after"))
    if again and wait is not None and wait > _LONGEST_WAIT:
        raise Trouble(f"{words}, and it asks to come back in {wait:.0f} seconds")
    hint = _LOGIN_HINT if status in {401, 403} else None
    raise Trouble(words, again=again, wait=wait, hint=hint)


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]+", text := value.strip()):
        return float(text) if len(text) < 10 else _NEVER
    try:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, seconds)


def _raise_trouble(error: Exception, timeout: float) -> NoReturn:
    """Translate what the library raises; its own texts hold whole URLs."""
    if isinstance(error, wrong.ProxyError):
        inner = error.original_error
        words = str(inner) if type(inner) is OSError else "no connection"
        raise Trouble(f"the proxy: {words}", again=True, unreachable=True) from None
    if isinstance(error, wrong.NameResolutionError):
        raise Trouble("its name cannot be resolved", again=True, unreachable=True) from None
    if isinstance(error, (wrong.ConnectTimeoutError, wrong.NewConnectionError)):
        refused = isinstance(error.__cause__, ConnectionRefusedError)
        words = "the connection is refused" if refused else "there is no connection to it"
        raise Trouble(words, again=True, unreachable=True) from None
    if isinstance(error, (wrong.SSLError, ssl.SSLError)):
        cause = error.args[0] if error.args and isinstance(error, wrong.SSLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = f"its certificate is not trusted: {cause.verify_message}"
            raise Trouble(words, unreachable=True, hint=_TRUST_HINT) from None
        raise Trouble("the encrypted connection failed", again=True) from None
    if isinstance(error, wrong.ReadTimeoutError):
        raise Trouble(f"it was silent for {timeout:g} seconds", again=True) from None
    if isinstance(error, (wrong.LocationValueError, ValueError)):
        raise Trouble("its address is not valid") from None
    raise Trouble("the connection broke off", again=True) from None
