"""Files come whole, right and once, whatever the network does, and no login is ever shown."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import json
import logging
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from envpack import part
from envpack.client import Client, Trouble, retry_after
from envpack.errors import FetchFault, ToolFault, UsageError
from envpack.fetch import Fetched, Source, fetch_all, pause_before
from envpack.indexes import Index, Login, Logins
from envpack.network import Network
from envpack.urls import bare, host_of, realm_of, segments, shown
from envpack.uv_config import UvConfig
from tests.index_server import Fault, IndexServer

QUICK = Network(timeout=5, connect_timeout=5, retries=3, backoff=0.001)
NOBODY = Logins((), {"NETRC": "/nowhere"})
BODY = random.Random(1).randbytes(300_000)


def sha256(data: bytes) -> str:
    """Return a digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def source(url: str, path: Path, body: bytes | None = BODY, size: int | None = None) -> Source:
    """Describe a file whose bytes are known, or with no hash at all."""
    return Source(url, str(path), {} if body is None else {"sha256": sha256(body)}, size)


def fetch(
    *sources: Source,
    credentials: Logins = NOBODY,
    network: Network = QUICK,
    jobs: int = 4,
    tick: Callable[[int], None] = lambda _count: None,
) -> dict[str, Fetched]:
    """Call fetch_all with what most tests want."""
    return fetch_all(sources, credentials=credentials, network=network, jobs=jobs, tick=tick)


def failure(*sources: Source, **options: Any) -> str:
    """Return the one sentence of a fetch that fails."""
    with pytest.raises(FetchFault) as caught:
        fetch(*sources, **options)
    assert caught.value.exit_code == 1
    return str(caught.value)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(os.listdir(folder))


def leave_part(wanted: Source, data: bytes) -> Path:
    """Leave what a killed run would have left."""
    path = Path(part.part_path(wanted.path, wanted.hashes, wanted.size))
    path.write_bytes(data)
    return path


@pytest.fixture
def server() -> Iterator[IndexServer]:
    """A server with one file."""
    with IndexServer() as running:
        running.put("/files/a.whl", BODY)
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody else trusts."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side of a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_file_comes_whole_and_once(server: IndexServer, tmp_path: Path) -> None:
    """The bytes are at the path, nothing else is, and a second run asks for nothing."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "new" / "a.whl")
    got = fetch(wanted)
    assert got == {wanted.path: Fetched(sha256(BODY), len(BODY), fetched=True, replaced=False)}
    assert Path(wanted.path).read_bytes() == BODY
    assert names(tmp_path / "new") == ["a.whl"]
    assert fetch(wanted)[wanted.path] == Fetched(sha256(BODY), len(BODY), False, False)
    (request,) = server.requests
    assert request.headers["accept-encoding"] == "identity"


def test_a_wrong_file_is_replaced_and_that_is_said(server: IndexServer, tmp_path: Path) -> None:
    """What is there under the name but with other bytes does not stay."""
    path = tmp_path / "a.whl"
    path.write_bytes(b"old")
    got = fetch(source(f"{server.url}/files/a.whl", path))
    assert got[str(path)] == Fetched(sha256(BODY), len(BODY), fetched=True, replaced=True)
    assert path.read_bytes() == BODY


def test_a_wrong_file_stays_if_the_right_one_cannot_be_had(
    server: IndexServer, tmp_path: Path
) -> None:
    """Nothing is removed before there is something better."""
    path = tmp_path / "a.whl"
    path.write_bytes(b"old")
    failure(source(f"{server.url}/files/b.whl", path))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.whl"]


def test_without_a_hash_nothing_there_is_believed(server: IndexServer, tmp_path: Path) -> None:
    """Nobody can tell whether a file without a hash is right, so it comes again."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl", body=None)
    assert fetch(wanted)[wanted.path].fetched
    assert fetch(wanted)[wanted.path] == Fetched(sha256(BODY), len(BODY), True, False)
    leave_part(wanted, b"another file")
    assert fetch(wanted)[wanted.path].sha256 == sha256(BODY)
    assert names(tmp_path) == ["a.whl"]


def test_connections_are_kept_and_shared(tmp_path: Path) -> None:
    """Forty files by four workers need four connections, and at least two work at once."""
    with IndexServer(latency=0.005) as server:
        wanted = [
            source(server.put(f"/{n}.whl", b"%d" % n), tmp_path / f"{n}.whl", b"%d" % n)
            for n in range(40)
        ]
        got = fetch(*wanted)
        assert list(got) == [each.path for each in wanted]
        assert 2 <= server.connections <= 4


def test_the_empty_file_and_a_body_of_unknown_length_come(
    server: IndexServer, tmp_path: Path
) -> None:
    """Neither a length of zero nor a chunked body is a special case for the reader."""
    server.put("/empty", b"")
    server.faults["/files/a.whl"] = Fault(chunked=True, drip=50_000, pause=0)
    got = fetch(
        source(f"{server.url}/empty", tmp_path / "empty", b"", size=0),
        source(f"{server.url}/files/a.whl", tmp_path / "a.whl"),
    )
    assert [each.size for each in got.values()] == [0, len(BODY)]
    assert names(tmp_path) == ["a.whl", "empty"]


def test_ticks_add_up_to_what_is_in_place(server: IndexServer, tmp_path: Path) -> None:
    """Bytes that were there, that come, and that are thrown away: the sum is what is there."""
    (tmp_path / "there").write_bytes(b"there")
    server.faults["/files/a.whl"] = Fault(body=b"x" * 20_000, cut=10_000, times=1)
    ticks: list[tuple[int, threading.Thread]] = []
    fetch(
        source("http://127.0.0.1:9/there", tmp_path / "there", b"there"),
        source(f"{server.url}/files/a.whl", tmp_path / "a.whl"),
        tick=lambda count: ticks.append((count, threading.current_thread())),
    )
    assert sum(count for count, _ in ticks) == len(BODY) + len(b"there")
    assert min(count for count, _ in ticks) < 0
    assert {thread for _, thread in ticks} == {threading.current_thread()}


def test_a_local_file_is_copied(tmp_path: Path) -> None:
    """A lock may name a file of this machine; it is checked like any other, also offline."""
    (tmp_path / "é a.whl").write_bytes(BODY)
    url = (tmp_path / "é a.whl").as_uri()
    offline = Network(offline=True)
    assert fetch(source(url, tmp_path / "b.whl"), network=offline)
    assert (tmp_path / "b.whl").read_bytes() == BODY
    assert failure(source("file:///nowhere/c.whl", tmp_path / "c.whl")) == (
        "cannot fetch `c.whl`: No such file or directory"
    )
    assert "its sha256 differs" in failure(source(url, tmp_path / "d.whl", b"other"))
    assert names(tmp_path) == ["b.whl", "é a.whl"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, times=3),
        Fault(status=503, times=2, headers={"Retry-After": "0"}),
        Fault(status=429, times=1),
        Fault(status=408, times=1),
        Fault(status=425, times=1),
        Fault(cut=0, times=3),
        Fault(cut=80_000, times=3),
        Fault(cut=100_000, times=2, range=False),
        Fault(cut=60_000, drip=50_000, pause=0, times=2, chunked=True),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(server: IndexServer, tmp_path: Path, fault: Fault) -> None:
    """Servers that recover and bodies that break off cost tries, not the file."""
    server.faults["/files/a.whl"] = fault
    tries = 1 + (fault.times or 0)
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert (tmp_path / "a.whl").read_bytes() == BODY
    assert len(server.requests) == tries


def test_tries_end(server: IndexServer, tmp_path: Path) -> None:
    """UV_HTTP_RETRIES is how often, and the last answer is the reason."""
    server.faults["/files/a.whl"] = Fault(status=502)
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl")
    network = Network.of(UvConfig(env={"UV_HTTP_RETRIES": "1"}))
    assert network.retries == 1
    host = host_of(server.url)
    assert (
        failure(wanted, network=network) == f"cannot fetch `a.whl` from `{host}`: 502 Bad Gateway"
    )
    assert len(server.requests) == 2


def test_progress_is_no_failure(tmp_path: Path) -> None:
    """A line that breaks off after every megabyte brings a file of five with one retry."""
    body = random.Random(2).randbytes(5 * 1024 * 1024)
    with IndexServer() as server:
        wanted = source(server.put("/big", body), tmp_path / "big", body)
        server.faults["/big"] = Fault(cut=1024 * 1024 + 1)
        fetch(wanted, network=Network(timeout=5, retries=1, backoff=0.001))
        assert len(server.requests) == 5
    assert (tmp_path / "big").read_bytes() == body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_stays_is_not_tried_again(server: IndexServer, tmp_path: Path, status: int) -> None:
    """A refusal is told at once, with file, host and status."""
    server.faults["/files/a.whl"] = Fault(status=status)
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert text.startswith(f"cannot fetch `a.whl` from `{host_of(server.url)}`: {status} ")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_pauses_grow_and_differ() -> None:
    """Each is about twice the last up to half a minute; what the server says counts instead."""
    for tries, most in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30]):
        pauses = [pause_before(tries, None, 0.5) for _ in range(20)]
        assert all(most / 2 <= pause <= most for pause in pauses)
        assert len(set(pauses)) > 1
    assert pause_before(5, 7.0, 0.5) == 7.0
    assert pause_before(5, 0.0, 0.5) == 0.0


def test_a_server_may_say_when_to_come_back(server: IndexServer, tmp_path: Path) -> None:
    """Retry-After comes along with the failure, and that it may pass."""
    server.faults["/files/a.whl"] = Fault(status=503, times=1, headers={"Retry-After": "0"})
    client = Client(QUICK, NOBODY, 1)
    with pytest.raises(Trouble) as caught:
        client.get(f"{server.url}/files/a.whl", {}, encrypted=False)
    client.close()
    assert (caught.value.again, caught.value.wait) == (True, 0.0)


def test_retry_after_is_a_number_or_a_date() -> None:
    """Both forms of RFC 9110 are read; a date that is over means now, and nonsense nothing."""
    assert retry_after("7") == 7
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    later = email.utils.formatdate(time.time() + 1000, usegmt=True)
    assert 900 < (retry_after(later) or 0) <= 1000


WAITS = {
    "\xb2": None,
    "-5": None,
    "9" * 400: 1e9,
    "Mon, 01 Jan 9999999999 00:00:00 GMT": None,
    "Mon, 01 Jan 0001 00:00:00 +9999": None,
    "Mon, 99 Foo": None,
    "": None,
}


@pytest.mark.parametrize("value", WAITS, ids=range(len(WAITS)))
def test_no_wait_is_a_traceback(value: str) -> None:
    """Digits that are none of ASCII's, years beyond any calendar, numbers beyond any float."""
    assert retry_after(value) == WAITS[value]


HEADERS = {
    "Retry-After": ["\xb2", "9" * 400, "Mon, 01 Jan 9999999999 00:00:00 GMT"],
    "Content-Range": ["bytes \xb2-9/10", "bytes " + "9" * 5000 + "-1/2", "bytes -1-2/3", "x"],
    "Location": ["http://[x]/", "http://[::1", "http://a b/", "//", "http://h:99999/"],
}
STATUS = {"Retry-After": 503, "Content-Range": 206, "Location": 302}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in HEADERS.items() for value in values],
    ids=range(sum(map(len, HEADERS.values()))),
)  # fmt: skip
def test_headers_of_strangers(server: IndexServer, tmp_path: Path, name: str, value: str) -> None:
    """A header that makes no sense is a sentence, and other files of that server still come."""
    server.faults["/files/b.whl"] = Fault(status=STATUS[name], headers={name: value})
    other = source(f"{server.url}/files/b.whl", tmp_path / "b.whl")
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), other)
    assert text.startswith(f"cannot fetch `b.whl` from `{host_of(server.url)}`")
    assert names(tmp_path) == ["a.whl"]


def test_a_drip_ends(server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps no connection for ever; what is slow and moves is waited for."""
    monkeypatch.setattr("envpack.client._PACE_OVER", 0.3)
    impatient = Network(timeout=0.3, connect_timeout=5, retries=0)
    server.faults["/files/a.whl"] = Fault(drip=1, pause=0.05)
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), network=impatient)
    assert "it sent less than 100 bytes a second for " in text
    server.faults["/files/a.whl"] = Fault(drip=20_000, pause=0.05)
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), network=impatient)


@pytest.mark.smoke  # http.client's inside too
@pytest.mark.parametrize("chunked", [False, True])
def test_headers_that_drip_end(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, chunked: bool
) -> None:
    """What comes before the body is watched too, and what is between its parts."""
    monkeypatch.setattr("envpack.client._PACE_OVER", 0.3)
    impatient = Network(timeout=0.3, connect_timeout=5, retries=0)
    fault = Fault(
        drip=1, pause=0.1, drip_all=not chunked, chunked=chunked, headers={"X": "x" * 600}
    )
    server.faults["/files/a.whl"] = fault
    begin = time.monotonic()
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), network=impatient)
    assert "it sent less than 100 bytes a second for 0 seconds" in text
    assert time.monotonic() - begin < 10  # all of it takes a minute or more


def test_a_slow_reader_is_no_slow_server(
    server: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done with the bytes between two reads is not the server's time."""
    monkeypatch.setattr("envpack.client._PACE_OVER", 0.05)
    client = Client(Network(timeout=5, connect_timeout=5, retries=0), NOBODY, 1)
    reply = client.get(f"{server.url}/files/a.whl", {}, encrypted=False)
    body = b""
    for chunk in reply.chunks():
        body += chunk
        time.sleep(0.1)
    assert body == BODY
    reply.close()


def test_what_was_not_asked_for_is_not_the_file(server: IndexServer, tmp_path: Path) -> None:
    """Without a hash a compressed body is refused, but for a `.gz` that is stored so."""
    for name in ("a.whl", "a.tar.gz"):
        server.put(f"/files/{name}", BODY)
        server.faults[f"/files/{name}"] = Fault(headers={"Content-Encoding": "gzip"})
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl", body=None))
    assert text.endswith(": it sends the file as `gzip`, which was not asked for")
    fetch(source(f"{server.url}/files/a.tar.gz", tmp_path / "a.tar.gz", body=None))
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert names(tmp_path) == ["a.tar.gz", "a.whl"]


def test_a_body_without_an_end_ends(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no lock says how large a file is, there is a bound, and it is no part afterwards."""
    monkeypatch.setattr("envpack.fetch.LARGEST", 100_000)
    server.faults["/files/a.whl"] = Fault(chunked=True)
    for body in (BODY, None):
        text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl", body=body))
        assert "it is larger than" in text
    assert names(tmp_path) == []
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl", size=len(BODY)))


def test_fewer_threads_do(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one thread all files come; with none it is a sentence, also while it is ended."""
    begin, left = threading.Thread.start, [1]

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("envpack-"):
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    paths = [tmp_path / name for name in "abc"]
    assert len(fetch(*(source(f"{server.url}/files/a.whl", path) for path in paths))) == 3
    with pytest.raises(ToolFault, match="no thread can be started"):
        fetch(source(f"{server.url}/files/a.whl", tmp_path / "d"))


def test_a_server_that_asks_for_too_much_patience_is_left(
    server: IndexServer, tmp_path: Path
) -> None:
    """Retry-After within a minute is waited for, an hour is not."""
    server.faults["/files/a.whl"] = Fault(status=503, headers={"Retry-After": "3600"})
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert text.endswith("503 Service Unavailable, and it asks to come back in 3600 seconds")
    assert len(server.requests) == 1


def test_silence_is_a_reason(server: IndexServer, tmp_path: Path) -> None:
    """A server that sends nothing for the timeout is named with it."""
    server.faults["/files/a.whl"] = Fault(drip=1, pause=60)
    network = Network(timeout=0.2, retries=0)
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), network=network)
    assert text.endswith(": it was silent for 0.2 seconds")


def test_wrong_bytes_are_named_and_do_not_stay(server: IndexServer, tmp_path: Path) -> None:
    """A hash that differs is told with both, and neither file nor part remains."""
    server.faults["/files/a.whl"] = Fault(body=b"evil")
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert text == (
        f"cannot fetch `a.whl` from `{host_of(server.url)}`: its sha256 differs:"
        f" expected {sha256(BODY)}, got {sha256(b'evil')}"
    )
    assert names(tmp_path) == []
    assert len(server.requests) == 1


def test_every_hash_is_checked(server: IndexServer, tmp_path: Path) -> None:
    """One right hash does not excuse another; what hashlib does not know is refused."""
    url = f"{server.url}/files/a.whl"
    right = {"sha256": sha256(BODY).upper(), "blake2b": hashlib.blake2b(BODY).hexdigest()}
    assert fetch(Source(url, str(tmp_path / "a.whl"), right))
    wrong = {**right, "md5": "0" * 32}
    assert "its md5 differs" in failure(Source(url, str(tmp_path / "b.whl"), wrong))
    odd = {"crc32": "0"}
    assert "unknown kind `crc32`" in failure(Source(url, str(tmp_path / "c.whl"), odd))


@pytest.mark.parametrize(("size", "got"), [(len(BODY) - 1, "more"), (len(BODY) + 1, len(BODY))])
def test_the_size_is_checked(
    server: IndexServer, tmp_path: Path, size: int, got: int | str
) -> None:
    """Too much is noticed while it comes, too little at the end."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl", size=size)
    assert failure(wanted).endswith(f": its size differs: expected {size}, got {got}")
    assert names(tmp_path) == []


def test_a_part_is_gone_on_with(server: IndexServer, tmp_path: Path) -> None:
    """Only what lacks is asked for, and the whole is hashed."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl", size=len(BODY))
    leave_part(wanted, BODY[:200_000])
    fetch(wanted)
    assert Path(wanted.path).read_bytes() == BODY
    (request,) = server.requests
    assert (request.headers["range"], request.status) == ("bytes=200000-", 206)
    assert names(tmp_path) == ["a.whl"]


def test_a_part_that_is_whole_needs_no_network(tmp_path: Path) -> None:
    """A run that was killed before the rename had everything."""
    wanted = source("http://127.0.0.1:9/a.whl", tmp_path / "a.whl")
    leave_part(wanted, BODY)
    assert fetch(wanted)[wanted.path].fetched
    assert names(tmp_path) == ["a.whl"]


@pytest.mark.parametrize(
    "data", [b"x" * 1000, BODY + b"x", b"x" * len(BODY)], ids=["short", "long", "full"]
)
@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_wrong_part_is_thrown_away(
    server: IndexServer, tmp_path: Path, data: bytes, size: int | None
) -> None:
    """Bytes that do not lead to the hash cost one more request, not the file."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl", size=size)
    leave_part(wanted, data)
    fetch(wanted)
    assert Path(wanted.path).read_bytes() == BODY
    assert names(tmp_path) == ["a.whl"]
    assert "range" not in server.requests[-1].headers


def test_a_server_without_ranges_begins_anew(server: IndexServer, tmp_path: Path) -> None:
    """200 for a Range request is the whole file."""
    server.faults["/files/a.whl"] = Fault(range=False)
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl")
    leave_part(wanted, BODY[:1000])
    fetch(wanted)
    assert Path(wanted.path).read_bytes() == BODY
    assert len(server.requests) == 1


@pytest.mark.parametrize("hashed", [True, False])
def test_a_file_that_changes_meanwhile_is_not_mixed(
    server: IndexServer, tmp_path: Path, hashed: bool
) -> None:
    """If-Range asks for the rest of the same file; another entity tag brings the whole other."""
    new = BODY[::-1]
    then = Fault(etag='"new"', body=new)
    server.faults["/files/a.whl"] = Fault(cut=100_000, times=1, etag='"old"', then=then)
    url = f"{server.url}/files/a.whl"
    fetch(source(url, tmp_path / "a.whl", new if hashed else None))
    assert (tmp_path / "a.whl").read_bytes() == new
    assert server.requests[1].headers["if-range"] == '"old"'
    assert [request.status for request in server.requests] == [200, 200]


def test_a_range_of_another_file_is_not_joined(server: IndexServer, tmp_path: Path) -> None:
    """A server that answers If-Range with a part of what changed gives itself away by the tag."""
    new = BODY[::-1]
    then = Fault(if_range=False, body=new)
    server.faults["/files/a.whl"] = Fault(cut=100_000, times=1, then=then)
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl", body=None))
    assert (tmp_path / "a.whl").read_bytes() == new
    assert [request.status for request in server.requests] == [200, 206, 200]


def test_what_is_wrong_twice_is_wrong(server: IndexServer, tmp_path: Path) -> None:
    """Bytes of several responses begin anew once, and not as often as they are joined."""
    new = BODY[::-1]
    fault = Fault(body=new)
    for _ in range(4):
        fault = Fault(cut=100_000, times=1, body=new, then=Fault(body=new, times=1, then=fault))
    server.faults["/files/a.whl"] = fault
    said = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert "its sha256 differs" in said
    assert [request.status for request in server.requests] == [200, 206, 200, 206]
    assert names(tmp_path) == []


def test_without_hash_and_tag_nothing_is_joined(server: IndexServer, tmp_path: Path) -> None:
    """A weak tag names what is alike, not the same bytes; then a broken body begins anew."""
    server.faults["/files/a.whl"] = Fault(cut=1000, times=1, etag='W/"a"')
    fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl", body=None))
    assert (tmp_path / "a.whl").read_bytes() == BODY
    assert "range" not in server.requests[1].headers


def test_a_part_belongs_to_its_hashes(server: IndexServer, tmp_path: Path) -> None:
    """A new lock does not go on with the old one's part, and in the end no part remains."""
    url = f"{server.url}/files/a.whl"
    old = source(url, tmp_path / "a.whl", b"another")
    leave_part(old, b"anot")
    fetch(source(url, tmp_path / "a.whl"))
    assert "range" not in server.requests[0].headers
    assert names(tmp_path) == ["a.whl"]


def test_a_part_that_cannot_be_removed_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one goes when it is left; where that fails, its descriptor and its lock do."""

    def fails(_: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    one = part.Part(str(tmp_path / "x.whl"), {"sha256": "0" * 64}, None, lambda _count: None)
    monkeypatch.setattr(os, "unlink", fails)
    with pytest.raises(PermissionError), one:
        pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(one._file)


def test_two_processes_do_not_write_into_one_part(server: IndexServer, tmp_path: Path) -> None:
    """Who finds the part locked uses one of its own, and leaves the other's alone."""
    wanted = source(f"{server.url}/files/a.whl", tmp_path / "a.whl")
    with part.Part(wanted.path, wanted.hashes, None, lambda _count: None) as other:
        other.write(BODY[:10])
        fetch(wanted)
        assert Path(wanted.path).read_bytes() == BODY
        other.write(BODY[10:])
        other.check()
        other.finish()
    assert names(tmp_path) == ["a.whl"]


def test_one_that_fails_does_not_stop_the_others(server: IndexServer, tmp_path: Path) -> None:
    """All that can be had are there; the first failure is told, and the names of all."""
    wanted = [source(f"{server.url}/files/{name}.whl", tmp_path / f"{name}.whl") for name in "xyza"]
    with pytest.raises(FetchFault) as caught:
        fetch(*wanted, jobs=1)
    assert str(caught.value) == (
        f"cannot fetch `x.whl` from `{host_of(server.url)}`: 404 Not Found;"
        " 2 more files lack: `y.whl` and `z.whl`"
    )
    assert caught.value.missing == ("x.whl", "y.whl", "z.whl")
    assert names(tmp_path) == ["a.whl"]


def test_a_host_that_is_gone_is_not_asked_for_each_file(tmp_path: Path) -> None:
    """Without a network the first reason is told, and which files lack."""
    asked = []

    class Counting(Logins):
        def known(self, url: str) -> Login | None:
            asked.append(url)
            return super().known(url)

    wanted = [source(f"http://127.0.0.1:9/{n}.whl", tmp_path / f"{n}.whl") for n in range(8)]
    text = failure(*wanted, jobs=1, credentials=Counting((), {"NETRC": "/nowhere"}))
    assert asked == [wanted[0].url] * 4
    assert text == (
        "cannot fetch `0.whl` from `127.0.0.1:9`: the connection is refused; 7 more files lack:"
        " `1.whl`, `2.whl`, `3.whl`, `4.whl`, `5.whl` and 2 more"
    )
    assert names(tmp_path) == []


def test_a_name_that_is_none_is_a_reason(tmp_path: Path) -> None:
    """A host that does not resolve is told as that."""
    wanted = source("http://files.invalid/a.whl", tmp_path / "a.whl")
    assert failure(wanted, network=Network(retries=0)) == (
        "cannot fetch `a.whl` from `files.invalid`: its name cannot be resolved"
    )


def test_offline_names_what_lacks(server: IndexServer, tmp_path: Path) -> None:
    """UV_OFFLINE asks nobody, and is content with what is there."""
    network = Network.of(UvConfig(env={"UV_OFFLINE": "1"}))
    (tmp_path / "a.whl").write_bytes(BODY)
    there = source(f"{server.url}/files/a.whl", tmp_path / "a.whl")
    assert not fetch(there, network=network)[there.path].fetched
    lacking = source(f"{server.url}/files/a.whl", tmp_path / "b.whl")
    assert failure(there, lacking, network=network) == (
        "UV_OFFLINE or uv's setting `offline` forbids the network, and `b.whl` is not there"
    )
    assert server.requests == []


def test_a_full_disk_is_a_reason_and_stops_the_rest(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space for one is no space for the next, and the part is kept."""
    written = os.write
    room = [100_000]

    def write(file: int, data: Any) -> int:
        if file > 2 and len(data) > 1000:
            if not room[0]:
                raise OSError(28, "No space left on device")
            data = data[: room[0]]
            room[0] -= len(data)
        return written(file, data)

    monkeypatch.setattr(os, "write", write)
    wanted = [source(f"{server.url}/files/a.whl", tmp_path / f"{n}.whl") for n in range(3)]
    text = failure(*wanted, jobs=1)
    assert text == (
        f"cannot write `{tmp_path}/0.whl`: no space is left on the disk;"
        " 2 more files lack: `1.whl` and `2.whl`"
    )
    assert len(server.requests) == 1
    assert [len((tmp_path / name).read_bytes()) for name in names(tmp_path)] == [100_000]
    monkeypatch.undo()
    fetch(*wanted)
    assert "bytes=100000-" in [request.headers.get("range") for request in server.requests]


def test_a_destination_that_cannot_be_written_is_a_reason(
    server: IndexServer, tmp_path: Path
) -> None:
    """A folder in the place of the file is told by its path."""
    (tmp_path / "a.whl").mkdir()
    text = failure(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"))
    assert text == f"cannot write `{tmp_path}/a.whl`: Is a directory"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """The same file twice is fetched once; two different ones would overwrite each other."""
    with pytest.raises(FetchFault, match=r"two different files are to be called `a\.whl`"):
        fetch(
            source("http://127.0.0.1:9/a", tmp_path / "a.whl", b"a"),
            source("http://127.0.0.1:9/b", tmp_path / "a.whl", b"b"),
        )


@pytest.mark.parametrize("url", ["ftp://host/a", "http://host:abc/a", "http:///a", "a", ""])
def test_what_is_no_address_is_a_reason(tmp_path: Path, url: str) -> None:
    """A lock may hold anything; it gets a sentence too."""
    assert "its address is not one of http or https" in failure(source(url, tmp_path / "a.whl"))


def test_an_error_in_tick_ends_the_run(tmp_path: Path) -> None:
    """Whoever listens may stop; what came is a part to go on with."""
    with IndexServer() as server:
        server.faults["/a"] = Fault(drip=1000, pause=0.01)
        wanted = source(server.put("/a", BODY), tmp_path / "a")

        def stop(_count: int) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            fetch(wanted, tick=stop)
        server.faults.clear()
        fetch(wanted)
        assert "range" in server.requests[-1].headers


def test_nobody_stays_behind(server: IndexServer, tmp_path: Path) -> None:
    """A worker that waits for the next byte of a silent server ends with the run."""
    server.faults["/files/a.whl"] = Fault(drip=1000, pause=600)

    def stop(_count: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fetch(source(f"{server.url}/files/a.whl", tmp_path / "a.whl"), tick=stop)
    assert not [each for each in threading.enumerate() if each.name.startswith("envpack-fetch")]


# --- logins -------------------------------------------------------------------------------------

SECRET = "s3cr3t!"  # noqa: S105
USER = "us3r"
ENCODED = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()


def with_login(url: str) -> str:
    """Put a login into a URL."""
    return url.replace("://", f"://{USER}:{SECRET.replace('!', '%21')}@")


def assert_harmless(texts: Sequence[str]) -> None:
    """Fail if a secret is in any text."""
    for text in texts:
        for secret in (SECRET, SECRET.replace("!", "%21"), USER, ENCODED, "sign4ture"):
            assert secret not in text


def test_the_login_of_the_url_is_sent(tmp_path: Path) -> None:
    """It goes along decoded, and no further request is needed."""
    with IndexServer(login=(USER, SECRET)) as server:
        url = with_login(server.put("/a", BODY))
        fetch(source(url, tmp_path / "a"))
        assert [request.status for request in server.requests] == [200]


def test_a_login_is_looked_for_after_a_refusal(tmp_path: Path) -> None:
    """Anonymous first, then netrc; what was right is sent at once from then on."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {SECRET}\n")
    with IndexServer(login=(USER, SECRET)) as server:
        wanted = [source(server.put(f"/{n}", BODY), tmp_path / f"{n}") for n in range(4)]
        fetch(*wanted, credentials=Logins((), {"NETRC": str(netrc)}), jobs=1)
        assert [request.status for request in server.requests] == [401, 200, 200, 200, 200]


def test_a_login_stays_on_its_host(server: IndexServer, tmp_path: Path) -> None:
    """A redirect to another host does not take Authorization along; one to the same host does."""
    with IndexServer(login=(USER, SECRET)) as index:
        index.put("/same", BODY)
        index.faults["/a"] = Fault(redirect="/same")
        index.faults["/b"] = Fault(redirect=f"{server.url}/files/a.whl")
        logins = Logins([Index(index.url, user=USER, password=SECRET)], {"NETRC": "/nowhere"})
        fetch(source(f"{index.url}/a", tmp_path / "a"), credentials=logins)
        fetch(source(f"{index.url}/b", tmp_path / "b"), credentials=logins)
        fetch(source(with_login(f"{index.url}/b"), tmp_path / "c"))
        assert index.paths() == ["/a", "/same", "/b", "/b"]
    assert len(server.requests) == 2
    assert all("authorization" not in request.headers for request in server.requests)


def test_redirects_end(server: IndexServer, tmp_path: Path) -> None:
    """A circle is left, and the host redirected to is named if that is where it fails."""
    server.faults["/a"] = Fault(redirect="/a")
    assert failure(source(f"{server.url}/a", tmp_path / "a")).endswith(
        ": it redirects more than 10 times"
    )
    server.faults["/a"] = Fault(redirect="http://127.0.0.1:9/b")
    text = failure(source(f"{server.url}/a", tmp_path / "a"), network=Network(retries=0))
    assert text == (
        f"cannot fetch `a` from `{host_of(server.url)}`, redirected to `127.0.0.1:9`:"
        " the connection is refused"
    )
    server.faults["/a"] = Fault(redirect="file:///etc/passwd")
    assert "its address is not one of http or https" in failure(
        source(f"{server.url}/a", tmp_path / "a")
    )


FAULTS = {
    "404": Fault(status=404),
    "500": Fault(status=500),
    "broken": Fault(cut=10, range=False),
    "wrong": Fault(body=b"wrong"),
    "loop": Fault(redirect="/a"),
    "elsewhere": Fault(redirect="http://us3r:s3cr3t%21@127.0.0.1:9/x?sig=sign4ture"),
    "odd": Fault(redirect="gopher://us3r:s3cr3t%21@h"),
}


@pytest.mark.parametrize("kind", [*FAULTS, "refused", "name", "port", "proxy"])
def test_no_failure_shows_a_login(
    server: IndexServer, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither message, hint, traceback, repr, log nor name of a file has a login or a query."""
    caplog.set_level(logging.INFO)
    url = with_login(f"{server.url}/a") + "?sig=sign4ture"
    network = Network(retries=1, backoff=0.001)
    if kind in FAULTS:
        server.faults["/a"] = FAULTS[kind]
    elif kind == "proxy":
        network = Network(retries=0, proxies={"http": with_login("http://127.0.0.1:9")})
    else:
        netloc = {"refused": "127.0.0.1:9", "name": "h.invalid", "port": "h:abc"}[kind]
        url = with_login(f"http://{netloc}/a?sig=sign4ture")
    wanted = source(url, tmp_path / "a")
    with pytest.raises(FetchFault) as caught:
        fetch(wanted, network=network)
    error = caught.value
    assert_harmless(
        [
            str(error),
            str(error.hint),
            "".join(traceback.format_exception(error)),
            repr(wanted),
            repr(network),
            caplog.text,
            *names(tmp_path),
        ]
    )


# --- proxies and certificates -------------------------------------------------------------------


def test_proxies_are_used(tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext) -> None:
    """HTTP_PROXY carries http, HTTPS_PROXY tunnels https, NO_PROXY goes straight."""
    cert = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(cert))
    with IndexServer() as proxy, IndexServer(tls=tls) as secure, IndexServer() as direct:
        proxy.put("/a", BODY)
        env = {
            "HTTP_PROXY": with_login(proxy.url),
            "HTTPS_PROXY": host_of(proxy.url),
            "NO_PROXY": f"other.test,127.0.0.1:{direct.port}",
            "SSL_CERT_FILE": str(cert),
        }
        network = Network.of(UvConfig(env=env))
        fetch(source("http://files.test/a", tmp_path / "a"), network=network)
        fetch(source(secure.put("/b", BODY), tmp_path / "b"), network=network)
        fetch(source(direct.put("/c", BODY), tmp_path / "c"), network=network)
        assert [request.path for request in proxy.requests] == ["/a"]
        assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {ENCODED}"
        assert "authorization" not in proxy.requests[0].headers
        assert proxy.tunnels == [host_of(secure.url)]
        assert [request.path for request in direct.requests] == ["/c"]


def proxy_of(env: dict[str, str], url: str) -> str | None:
    """Return the proxy that variables mean for a URL."""
    return Network.of(UvConfig(env=env)).proxy_for(url)


def test_proxies_are_chosen_by_scheme() -> None:
    """ALL_PROXY is for those without their own; small letters win; uv's settings come last."""
    assert proxy_of({"ALL_PROXY": "http://p:1"}, "https://h/") == "http://p:1"
    assert proxy_of({"ALL_PROXY": "p:1", "HTTPS_PROXY": "q:2"}, "https://h/") == "http://q:2"
    assert proxy_of({"https_proxy": "q:1", "HTTPS_PROXY": "q:2"}, "https://h/") == "http://q:1"
    assert proxy_of({"HTTPS_PROXY": "q:2"}, "http://h/") is None
    assert proxy_of({"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, "http://h/") is None
    config = UvConfig(({"https-proxy": "p:3", "no-proxy": ["x.test"]},))
    assert Network.of(config).proxy_for("https://h.test/") == "http://p:3"
    assert Network.of(config).proxy_for("https://x.test/") is None


@pytest.mark.parametrize(
    ("entry", "url", "straight"),
    [
        ("*", "http://any.test/", True),
        ("h.test", "http://h.test/", True),
        ("h.test", "http://sub.h.test/", True),
        ("h.test", "http://evilh.test/", False),
        (".h.test", "http://sub.h.test/", True),
        ("*.h.test", "http://sub.h.test/", True),
        ("H.test", "http://h.TEST/", True),
        ("h.test:8080", "http://h.test:8080/", True),
        ("h.test:8080", "http://h.test/", False),
        ("h.test:80", "http://h.test/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("127.0.0.1", "http://127.0.0.1:5/", True),
        ("::1", "http://[::1]:5/", True),
        ("[::1]:5", "http://[::1]:5/", True),
        ("[::1]:6", "http://[::1]:5/", False),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("other.test, h.test", "http://h.test/", True),
        ("", "http://h.test/", False),
    ],
)
def test_no_proxy(entry: str, url: str, straight: bool) -> None:
    """Domains with what is below, addresses, networks, and each with a port."""
    env = {"ALL_PROXY": "http://p:1", "NO_PROXY": entry}
    assert (proxy_of(env, url) is None) == straight


def test_a_kind_of_proxy_that_is_not_known_is_a_reason(tmp_path: Path) -> None:
    """SOCKS would need another library."""
    network = Network(proxies={"all": "socks5://127.0.0.1:9"})
    text = failure(source("http://h.test/a", tmp_path / "a"), network=network)
    assert text.endswith(": a proxy of the kind `socks5` cannot be used")


def test_a_stranger_is_not_trusted(tmp_path: Path, tls: ssl.SSLContext) -> None:
    """A certificate that nobody vouches for ends it at once, with the way out."""
    with IndexServer(tls=tls) as server:
        wanted = source(server.put("/a", BODY), tmp_path / "a")
        for network in (Network(), Network(system_certs=True)):
            with pytest.raises(FetchFault) as caught:
                fetch(wanted, network=network)
            assert ": its certificate is not trusted: " in str(caught.value)
            assert "SSL_CERT_FILE" in str(caught.value.hint)
        assert server.requests == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_own_authorities(
    tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext, variable: str
) -> None:
    """A file, or any file of a folder, whatever its name; what is no certificate is skipped."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "README").write_text("none\n")
    authority.cert_pem.write_to_path(str(folder / "own"))
    (folder / "link").symlink_to("own")
    (folder / "dangling").symlink_to("nowhere")
    value = f"/nowhere:{folder}" if variable == "SSL_CERT_DIR" else str(folder / "own")
    with IndexServer(tls=tls) as server:
        network = Network.of(UvConfig(env={variable: value}))
        fetch(source(server.put("/a", BODY), tmp_path / "a"), network=network)


def test_own_authorities_replace_all_others(tmp_path: Path, tls: ssl.SSLContext) -> None:
    """With SSL_CERT_FILE nobody else is trusted, and REQUESTS_CA_BUNDLE is not looked at."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    env = {"SSL_CERT_FILE": str(other), "REQUESTS_CA_BUNDLE": "/x", "UV_SYSTEM_CERTS": "1"}
    network = Network.of(UvConfig(env=env))
    assert network.cert_files == (str(other),)
    with IndexServer(tls=tls) as server:
        text = failure(source(server.put("/a", BODY), tmp_path / "a"), network=network)
    assert "its certificate is not trusted" in text


def test_certificates_that_are_none_are_named(tmp_path: Path) -> None:
    """Who names certificates does not want Mozilla's instead, so a wrong path is told, as by uv."""
    (tmp_path / "empty").write_text("")
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        for path in ("/nowhere", f"{tmp_path}/empty"):
            network = Network.of(UvConfig(env={variable: path}))
            text = failure(source("https://127.0.0.1:9/a", tmp_path / "a"), network=network)
            assert text.endswith(f": there is no certificate in `{path}`")


def test_the_system_s_authorities(
    tmp_path: Path,
    authority: trustme.CA,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """UV_SYSTEM_CERTS trusts what OpenSSL of this machine trusts; its variable stands for that."""
    cert = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(cert))
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))  # for OpenSSL, not in the Network
    network = Network.of(UvConfig(env={"UV_SYSTEM_CERTS": "true"}))
    with IndexServer(tls=tls) as server:
        fetch(source(server.put("/a", BODY), tmp_path / "a"), network=network)


@pytest.mark.parametrize("port", [True, False])
def test_insecure_hosts(tmp_path: Path, tls: ssl.SSLContext, port: bool) -> None:
    """UV_INSECURE_HOST names hosts, with or without a port, whose certificate nobody checks."""
    with IndexServer(tls=tls) as server:
        name = host_of(server.url) if port else "127.0.0.1"
        network = Network.of(UvConfig(env={"UV_INSECURE_HOST": f"x.test {name}"}))
        fetch(source(server.put("/a", BODY), tmp_path / "a"), network=network)
        network = Network.of(UvConfig(({"allow-insecure-host": [name]},)))
        fetch(source(server.put("/a", BODY), tmp_path / "b"), network=network)


def test_a_client_s_certificate_is_shown(
    tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    """SSL_CLIENT_CERT is certificate and key in one file."""
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    authority.issue_cert("me@h.test").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "me")
    )
    env = {"SSL_CERT_FILE": str(tmp_path / "ca")}
    with IndexServer(tls=tls) as server:
        wanted = source(server.put("/a", BODY), tmp_path / "a")
        failure(wanted, network=Network.of(UvConfig(env={**env, "UV_HTTP_RETRIES": "0"})))
        env["SSL_CLIENT_CERT"] = str(tmp_path / "me")
        fetch(wanted, network=Network.of(UvConfig(env=env)))


def test_without_a_hash_encryption_is_kept(
    server: IndexServer, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    """From https to http only with a hash, which is then what vouches for the bytes."""
    with IndexServer(tls=tls) as secure:
        secure.faults["/a"] = Fault(redirect=f"{server.url}/files/a.whl")
        network = Network(insecure=frozenset({"127.0.0.1"}))
        fetch(source(f"{secure.url}/a", tmp_path / "a"), network=network)
        text = failure(source(f"{secure.url}/a", tmp_path / "b", body=None), network=network)
    assert "without encryption" in text


# --- settings -----------------------------------------------------------------------------------


def test_settings_are_those_of_uv() -> None:
    """Timeouts by each of their names, retries, and switches of variables or files."""
    assert Network.of(UvConfig()) == Network()
    for name in ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"):
        assert Network.of(UvConfig(env={name: "7"})).timeout == 7
    assert Network.of(UvConfig(env={"UV_HTTP_CONNECT_TIMEOUT": "4"})).connect_timeout == 4
    assert Network.of(UvConfig(({"offline": True, "native-tls": True},))).offline
    assert Network.of(UvConfig(({"native-tls": True},))).system_certs
    assert Network.of(UvConfig(({"system-certs": True},))).system_certs
    assert not Network.of(UvConfig(({"offline": True},), env={"UV_OFFLINE": "0"})).offline


@pytest.mark.parametrize(
    "env", [{"UV_HTTP_RETRIES": "x"}, {"UV_HTTP_TIMEOUT": "0"}, {"UV_OFFLINE": "maybe"}]
)
def test_a_setting_that_is_none_is_refused(env: dict[str, str]) -> None:
    """The variable and its value are named."""
    with pytest.raises(UsageError) as caught:
        Network.of(UvConfig(env=env))
    assert all(f"`{word}`" in str(caught.value) for word in env.popitem())


# --- URLs ---------------------------------------------------------------------------------------

PLAIN = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
INFO = st.text(st.characters(codec="utf-8", exclude_characters="/?#[]\\"), max_size=12)


@given(host=PLAIN, user=INFO, password=INFO, path=PLAIN, query=PLAIN)
def test_what_is_shown_has_no_login(
    host: str, user: str, password: str, path: str, query: str
) -> None:
    """Whatever stands before the host, even `@` and `:` unquoted, only host and path are shown."""
    url = f"https://{user}:{password}@{host}.test/{path}?{query}#{query}"
    clean = {f"https://{host}.test/{path}", ""}
    assert shown(url) in clean
    assert host_of(url) in {f"{host}.test", ""}


@given(user=PLAIN, password=INFO)
def test_logins_are_taken_out_of_urls(user: str, password: str) -> None:
    """What is quoted into a URL comes out again, and the URL without it is the same as before."""
    from urllib.parse import quote

    url = f"https://{user}:{quote(password, safe='')}@h.test:8443/a%20b?c=d"
    assert bare(url) == ("https://h.test:8443/a%20b?c=d", user, password)
    assert bare("https://h.test/") == ("https://h.test/", None, None)
    assert bare(f"https://{user}@h.test/") == ("https://h.test/", user, None)


@given(
    own=st.lists(PLAIN, max_size=4),
    more=st.lists(PLAIN, max_size=3),
    others=st.lists(st.lists(PLAIN, max_size=4), max_size=4),
)
def test_the_longest_prefix_wins(own: list[str], more: list[str], others: list[list[str]]) -> None:
    """A URL gets the login of the index that shares most whole segments of its path with it."""
    url = "https://h.test/" + "/".join([*own, *more])
    paths = list(dict.fromkeys(map(tuple, [own, *others])))
    indexes = [
        Index("https://h.test/" + "/".join(path), user="u", password="/".join(path))
        for path in paths
    ]
    login = Logins(indexes, {}).known(url)
    wanted = (*own, *more)

    def reach(path: tuple[str, ...]) -> int:
        root = path[:-1] if path and path[-1].lower() == "simple" else path
        full = wanted[: len(path)] == path
        return len(path) if full else len(root) if wanted[: len(root)] == root else -1

    best = max(paths, key=reach)
    assert login is not None
    assert reach(tuple(segments("https://h/" + login.password))) == reach(best)


def test_realms_are_compared_with_their_ports() -> None:
    """The scheme's own port may be left away; case of the host does not count."""
    assert realm_of("https://H.test/a") == realm_of("https://u:p@h.test:443/b")
    assert realm_of("https://h.test/") != realm_of("http://h.test/")
    assert realm_of("https://h.test/") != realm_of("https://h.test:8443/")


def test_a_login_has_no_repr() -> None:
    """A traceback that shows locals shows neither user nor password."""
    login = Login(USER, SECRET)
    assert_harmless([repr(login), repr(Index("https://h.test", user=USER, password=SECRET))])
    assert login.header() == f"Basic {ENCODED}"


# --- killed -------------------------------------------------------------------------------------

CHILD = """\
import json, sys
from envpack.fetch import Source, fetch_all
from envpack.indexes import Logins
from envpack.network import Network
sources = [Source(*words) for words in json.loads(sys.argv[1])]
print("begun", flush=True)
try:
    fetch_all(sources, credentials=Logins((), {"NETRC": "/nowhere"}), network=Network(), jobs=3)
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextmanager
def child(wanted: Sequence[Source]) -> Iterator[subprocess.Popen[str]]:
    """Start a process that fetches, and wait until it begins."""
    words = [(each.url, each.path, dict(each.hashes), each.size) for each in wanted]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(words)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def slow() -> Iterator[IndexServer]:
    """A server that takes about half a second for each of six files."""
    with IndexServer() as running:
        for n in range(6):
            running.put(f"/{n}.whl", BODY[n:])
            running.faults[f"/{n}.whl"] = Fault(drip=6000, pause=0.01)
        yield running


def slow_sources(server: IndexServer, folder: Path) -> list[Source]:
    """Describe the files of the slow server."""
    return [
        source(f"{server.url}/{n}.whl", folder / f"{n}.whl", BODY[n:], len(BODY) - n)
        for n in range(6)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_run_goes_on(slow: IndexServer, tmp_path: Path, seed: int) -> None:
    """After SIGKILL at any moment the next run completes, and fetches less than everything."""
    wanted = slow_sources(slow, tmp_path)
    with child(wanted) as process:
        time.sleep(random.Random(seed).uniform(0.05, 0.9))
        process.kill()
    parts = [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    resumable = sum(path.stat().st_size > 0 for path in parts)
    for path in tmp_path.iterdir():
        assert path.name.endswith((".part", ".whl"))
        if path.name.endswith(".whl"):
            assert path.read_bytes() == BODY[int(path.stem) :]
    slow.faults.clear()
    before = len(slow.requests)
    came: list[int] = []
    fetch(*wanted, tick=came.append)
    assert names(tmp_path) == [f"{n}.whl" for n in range(6)]
    for n in range(6):
        assert (tmp_path / f"{n}.whl").read_bytes() == BODY[n:]
    resumed = [request for request in slow.requests[before:] if "range" in request.headers]
    assert len(resumed) == resumable
    assert sum(came) == sum(len(BODY) - n for n in range(6))


def test_an_interrupt_leaves_only_parts(slow: IndexServer, tmp_path: Path) -> None:
    """Ctrl-C ends it though servers are slow; whole files and parts are there, nothing else."""
    wanted = slow_sources(slow, tmp_path)
    slow.faults["/1.whl"] = Fault(drip=6000, pause=60)
    with child(wanted) as process:
        while not list(tmp_path.glob(".1.whl.*.part")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert all(name.endswith((".part", ".whl")) for name in names(tmp_path))
    slow.faults.clear()
    fetch(*wanted)
    assert names(tmp_path) == [f"{n}.whl" for n in range(6)]


def test_an_interrupt_does_not_wait_for_the_silent(tmp_path: Path) -> None:
    """A server that has not said a word cannot hold up Ctrl-C until the timeout."""
    with IndexServer(latency=600) as server:
        wanted = [source(server.put(f"/{n}", BODY), tmp_path / f"{n}") for n in range(3)]
        with child(wanted) as process:
            while server.connections < 3:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=25) == 130
    assert all(name.endswith(".part") for name in names(tmp_path))
