"""A package index on this machine, with every fault that a network has.

`IndexServer(folder)` serves the wheels and sdists of a folder as a simple index (PEP 503, and
PEP 691 for those who accept it), and whatever else is given to `put`. Each path can have a Fault.
It is a proxy too: requests with a whole URL are answered as its own, CONNECT is a tunnel.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import io
import json
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<rest>\d.*)\.(?:whl|tar\.gz|zip)")


class Request(NamedTuple):
    """One request as it came, with the status it was answered with; `path` has no query."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass(slots=True)
class Fault:
    """What goes wrong with a path, `times` times, always if that is None; afterwards `then` does.

    `status` is sent instead of the file; `cut` ends the connection after so many bytes of the body;
    `drip` sends so many bytes at once with `pause` seconds between, and `drip_all` does so from the
    first header on; `body` and `etag` are sent in
    place of the file's; `range` False ignores Range, `if_range` False answers it although the file
    is another; `redirect` is where to send people; `login` is the user and password wanted;
    `chunked` sends the body without saying how long it is.
    """

    status: int | None = None
    times: int | None = None
    then: Fault | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    drip: int | None = None
    drip_all: bool = False
    pause: float = 0.01
    body: bytes | None = None
    etag: str | None = None
    range: bool = True
    if_range: bool = True
    redirect: str | None = None
    login: tuple[str, str] | None = None
    chunked: bool = False


class IndexServer:
    """A server on a free port of 127.0.0.1, while its context lasts.

    `latency` is waited before each answer. `login` is asked of every path. `tls` makes it HTTPS.
    `requests` is the log, `connections` counts those that were opened, `tunnels` what CONNECT was
    asked for. `faults` by path may be changed at any time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        latency: float = 0.0,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.latency = latency
        self.login = login
        self.requests: list[Request] = []
        self.connections = 0
        self.tunnels: list[str] = []
        self.faults: dict[str, Fault] = {}
        self.closing = threading.Event()
        self._bodies: dict[str, bytes] = {}
        handler = type("Handler", (_Handler,), {"index": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.simple = f"{self.url}/simple/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, body: bytes) -> str:
        """Serve bytes at a path that begins with a slash; return the URL."""
        self._bodies[path] = body
        return self.url + quote(path)

    def file_url(self, name: str) -> str:
        """Return the URL of a file of the folder."""
        return f"{self.url}/files/{quote(name)}"

    def paths(self) -> list[str]:
        """Return the paths asked for, in order."""
        return [request.path for request in self.requests]

    def body(self, path: str) -> bytes | None:
        """Return what is at a path, None for nothing."""
        if path in self._bodies:
            return self._bodies[path]
        head, _, name = path.rpartition("/")
        if self.folder is None or head != "/files" or not (self.folder / name).is_file():
            return None
        return (self.folder / name).read_bytes()

    def page(self, path: str, *, as_json: bool) -> tuple[str, bytes] | None:
        """Return type and bytes of a page of the simple index, None if there is none."""
        parts = path.strip("/").split("/")
        if self.folder is None or parts[0] != "simple" or len(parts) > 2:
            return None
        projects: dict[str, list[Path]] = {}
        for file in sorted(self.folder.iterdir()):
            if match := _DISTRIBUTION.fullmatch(file.name):
                name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                projects.setdefault(name, []).append(file)
        if len(parts) == 1:
            return _root_page(list(projects), as_json=as_json)
        if parts[1] not in projects:
            return None
        return _project_page(parts[1], projects[parts[1]], as_json=as_json)


def _root_page(names: list[str], *, as_json: bool) -> tuple[str, bytes]:
    if as_json:
        table = {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
        return "application/vnd.pypi.simple.v1+json", json.dumps(table).encode()
    links = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in names)
    return "text/html", f"<!DOCTYPE html><body>\n{links}</body>\n".encode()


def _project_page(name: str, files: list[Path], *, as_json: bool) -> tuple[str, bytes]:
    rows = [
        (file.name, f"../../files/{quote(file.name)}", file.read_bytes(), file.stat().st_size)
        for file in files
    ]
    if as_json:
        table: dict[str, Any] = {"meta": {"api-version": "1.0"}, "name": name}
        table["files"] = [
            {
                "filename": file,
                "url": url,
                "size": size,
                "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
            }
            for file, url, data, size in rows
        ]
        return "application/vnd.pypi.simple.v1+json", json.dumps(table).encode()
    links = "".join(
        f'<a href="{url}#sha256={hashlib.sha256(data).hexdigest()}">{html.escape(file)}</a><br>\n'
        for file, url, data, _ in rows
    )
    return "text/html", f"<!DOCTYPE html><body>\n{links}</body>\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that are killed or distrust the certificate are part of the test."""


class _Cut(Exception):
    """The connection is to end now."""


class _Handler(BaseHTTPRequestHandler):
    index: IndexServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.index.connections += 1
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the log in `requests` only."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.index.closing.wait(self.index.latency)
        fault = self._fault(path)
        try:
            self._answer(path, fault)
        except _Cut:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client has gone
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_CONNECT(self) -> None:
        """Carry bytes both ways until one side ends."""
        self.index.tunnels.append(self.path)
        host, _, port = self.path.partition(":")
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with socket.create_connection((host, int(port))) as other:
            pair = {self.connection: other, other: self.connection}
            while not self.index.closing.is_set():
                for ready in select.select([*pair], [], [], 0.05)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    pair[ready].sendall(data)

    def _fault(self, path: str) -> Fault:
        """Return what is to go wrong now, and count it."""
        fault = self.index.faults.get(path)
        while fault is not None and fault.times == 0:
            fault = fault.then
        if fault is not None and fault.times is not None:
            fault.times -= 1
        return fault or Fault()

    def _answer(self, path: str, fault: Fault) -> None:
        login = fault.login or self.index.login
        if login is not None and self._login() != login:
            self._send(401, b"who?\n", fault, {"WWW-Authenticate": "Basic"})
            return
        if fault.redirect is not None:
            self._send(302, b"there\n", fault, {"Location": fault.redirect})
            return
        if fault.status is not None:
            self._send(fault.status, b"no\n", fault, {})
            return
        as_json = "vnd.pypi.simple.v1+json" in self.headers.get("Accept", "")
        if page := self.index.page(path, as_json=as_json):
            self._send(200, page[1], fault, {"Content-Type": page[0]})
            return
        body = self.index.body(path) if fault.body is None else fault.body
        if body is None:
            self._send(404, b"nothing\n", fault, {})
            return
        self._file(body, fault)

    def _file(self, body: bytes, fault: Fault) -> None:
        etag = fault.etag or f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fresh = fault.if_range and self.headers.get("If-Range", etag) != etag
        if wanted is None or fresh or not fault.range:
            self._send(200, body, fault, headers)
            return
        start = int(wanted[1])
        if start >= len(body):
            self._send(416, b"", fault, {"Content-Range": f"bytes */{len(body)}"})
            return
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._send(206, body[start:], fault, headers)

    def _send(self, status: int, body: bytes, fault: Fault, headers: dict[str, str]) -> None:
        sent = {name.lower(): value for name, value in self.headers.items()}
        path = unquote(urlsplit(self.path).path)
        self.index.requests.append(Request(self.command, path, sent, status))
        self.send_response(status)
        length = {"Transfer-Encoding": "chunked"} if fault.chunked else {}
        length = length or {"Content-Length": str(len(body))}
        for name, value in {**length, **headers, **fault.headers}.items():
            self.send_header(name, value)
        if fault.drip_all:
            self._drip(fault)
        self.end_headers()
        if self.command == "HEAD":
            return
        for data in _pieces(body if fault.cut is None else body[: fault.cut], fault.drip):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if fault.chunked else data)
            if fault.drip is not None and self.index.closing.wait(fault.pause):
                raise _Cut
        if fault.cut is not None:
            raise _Cut
        if fault.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _drip(self, fault: Fault) -> None:
        """Send the headers slowly."""
        whole, self.wfile = self.wfile, io.BytesIO()
        self.flush_headers()
        headers, self.wfile = self.wfile.getvalue(), whole
        for data in _pieces(headers, fault.drip):
            self.wfile.write(data)
            if self.index.closing.wait(fault.pause):
                raise _Cut

    def _login(self) -> tuple[str, str] | None:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return None
        user, _, password = base64.b64decode(text).decode().partition(":")
        return user, password


def _pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    step = size or max(1, len(data))
    for start in range(0, len(data), step):
        yield data[start : start + step]
