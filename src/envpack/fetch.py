"""Files from the network: many at once, each checked, and none fetched twice.

A file grows beside its destination, as `.NAME.KEY.part`, and is renamed when all its hashes and its
size are right, so a destination is whole or not there. KEY stands for the hashes wanted, so that a
killed run goes on where it was. Nothing is synced to the disk: after a crash of the machine the
next run reads every file again anyway, and fetches those that are wrong.
"""

from __future__ import annotations

import os
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from envpack.client import Client, Credentials, Reply, Trouble
from envpack.errors import FetchFault
from envpack.foreign import opened
from envpack.network import Network
from envpack.parallel import no_threads
from envpack.part import Part, Wrong, digest_of, leave_no_parts
from envpack.urls import host_of

_NAMED_AT_MOST = 5
_PROGRESS = 1024 * 1024
_CHUNK = 256 * 1024
LARGEST = 8 << 30
"""Bytes of a file whose size no lock tells: eighty times PyPI's limit for one, which few projects
had raised. Something has to end a body without an end."""
_LONGEST_PAUSE = 30.0
_LONGEST_END = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """One file to fetch.

    `url` is http, https or file, and may hold a login, which is never shown. `path` is the absolute
    destination. `hashes` has hexadecimal digests by hashlib's names, and `size` bytes if known.
    """

    url: str = field(repr=False)
    path: str
    hashes: Mapping[str, str]
    size: int | None = None

    @property
    def name(self) -> str:
        """Return the name that people know the file by."""
        return os.path.basename(self.path)


class Fetched(NamedTuple):
    """What is at a destination now.

    `fetched` is false if it was there and right; `replaced` says that other bytes were there.
    """

    sha256: str
    size: int
    fetched: bool
    replaced: bool


def fetch_all(
    sources: Sequence[Source],
    *,
    credentials: Credentials,
    network: Network,
    jobs: int,
    tick: Callable[[int], None] = lambda _count: None,
) -> dict[str, Fetched]:
    """Bring every source to its destination, `jobs` at once, and return them by path.

    `tick` is called here with counts of bytes that are in place, also those that were there; the
    count is negative where a part turned out wrong. Whatever it raises ends the run. A source that
    fails does not stop the others, but a full disk does, and a host that cannot be reached is not
    asked for more. Raises FetchFault with the first failure and the names of all that lack; their
    parts are kept for the next run, as after an interrupt.
    """
    distinct = _distinct(sources)
    run = _Run(credentials, network, jobs)
    try:
        done = run.all(distinct, tick)
    finally:
        run.stop()
    lacking = tuple(source for source in distinct if source.path not in done)
    leave_no_parts(done)
    if lacking:
        raise run.fault(lacking)
    return done


def _distinct(sources: Iterable[Source]) -> tuple[Source, ...]:
    """Leave out what is named twice. Raises FetchFault if two files are to have one name."""
    found: dict[str, Source] = {}
    for source in sources:
        first = found.setdefault(source.path, source)
        if first.hashes != source.hashes:
            raise FetchFault(f"two different files are to be called `{source.name}`")
    return tuple(found.values())


class _Stopped(Exception):
    """The run is to end."""


class _Failure(NamedTuple):
    """Why a source lacks: a sentence, the way out, and whether others would fail too."""

    words: str
    hint: str | None


class _Done(NamedTuple):
    """A worker has nothing more to do."""


class _Run:
    """The workers of one call.

    They are daemon threads and not those of `parallel.Pool`, which a process waits for at its end:
    nothing ends a name lookup or a handshake before its time, and Ctrl-C should not wait for it.
    """

    def __init__(self, credentials: Credentials, network: Network, jobs: int) -> None:
        self._network = network
        self._jobs = jobs
        self._client = Client(network, credentials, jobs)
        self._stop = threading.Event()
        self._full = threading.Event()
        self._silent: set[str] = set()
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._failures: dict[str, _Failure] = {}
        self._threads: list[threading.Thread] = []
        self._replies: set[Reply] = set()

    def all(self, sources: Sequence[Source], tick: Callable[[int], None]) -> dict[str, Fetched]:
        """Work through the sources and return those that are in place, in their order."""
        waiting: queue.SimpleQueue[Source] = queue.SimpleQueue()
        for source in sources:
            waiting.put(source)
        workers = self._begin(waiting, min(self._jobs, len(sources)))
        done: dict[str, Fetched] = {}
        while workers:
            match self._events.get():
                case int(count):
                    tick(count)
                case (Source() as source, Fetched() as fetched):
                    done[source.path] = fetched
                case (Source() as source, _Failure() as failure):
                    self._failures[source.path] = failure
                case _Done():
                    workers -= 1
                case BaseException() as error:
                    raise error
        return {source.path: done[source.path] for source in sources if source.path in done}

    def _begin(self, waiting: queue.SimpleQueue[Source], most: int) -> int:
        """Start workers, and return how many there are."""
        for number in range(most):
            name = f"envpack-fetch-{number}"
            thread = threading.Thread(target=self._work, args=(waiting,), name=name, daemon=True)
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError as error:  # fewer do the same
                self._threads.remove(thread)  # nobody could wait for it
                if not self._threads:
                    raise no_threads() from error
                return number
        return most

    def stop(self) -> None:
        """Let workers end: those that wait for bytes now, others at their next step."""
        self._stop.set()
        for reply in self._replies.copy():
            reply.abort()
        deadline = time.monotonic() + _LONGEST_END
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._client.close()

    def fault(self, lacking: Sequence[Source]) -> FetchFault:
        """Say what failed first in the order of sources, and what lacks besides."""
        names = tuple(source.name for source in lacking)
        if self._network.offline and not self._failures:
            return FetchFault(
                f"UV_OFFLINE or uv's setting `offline` forbids the network, and {_listed(names)}"
                f" {'is' if len(names) == 1 else 'are'} not there",
                missing=names,
            )
        first = next(source for source in lacking if source.path in self._failures)
        words, hint = self._failures[first.path]
        others = tuple(source.name for source in lacking if source is not first)
        if others:
            files = "1 more file lacks" if len(others) == 1 else f"{len(others)} more files lack"
            words += f"; {files}: {_listed(others)}"
        return FetchFault(words, hint=hint, missing=names)

    def _work(self, waiting: queue.SimpleQueue[Source]) -> None:
        try:
            while not (self._stop.is_set() or self._full.is_set()):
                try:
                    source = waiting.get_nowait()
                except queue.Empty:
                    break
                self._try(source)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread of the caller
            self._events.put(error)
        self._events.put(_Done())

    def _try(self, source: Source) -> None:
        """Bring one source to its place, or enter why not."""
        try:
            fetched = self._bring(source)
        except Trouble as trouble:
            if trouble.unreachable:
                self._silent.add(host_of(source.url))
            via = f", redirected to `{trouble.via}`" if trouble.via else ""
            self._fail(source, f"{trouble}", trouble.hint, via)
        except Wrong as wrong:
            self._fail(source, f"{wrong}")
        except FetchFault as fault:
            self._fail(source, f"{fault}", fault.hint)
        except OSError as error:
            words, fatal = _disk_words(error)
            if fatal:
                self._full.set()
            failure = _Failure(f"cannot write `{source.path}`: {words}", None)
            self._events.put((source, failure))
        else:
            if fetched is not None:
                self._events.put((source, fetched))

    def _fail(self, source: Source, words: str, hint: str | None = None, via: str = "") -> None:
        host = host_of(source.url)
        place = f" from `{host}`{via}" if host else ""
        failure = _Failure(f"cannot fetch `{source.name}`{place}: {words}", hint)
        self._events.put((source, failure))

    def _bring(self, source: Source) -> Fetched | None:
        """Return what is at the destination, None if it is not to be asked for."""
        there = digest_of(source.path, source.hashes)
        if there is not None and there.fits(source.hashes, source.size):
            self._events.put(there.size)
            return Fetched(there.sha256, there.size, fetched=False, replaced=False)
        remote = urlsplit(source.url).scheme != "file"
        if remote and (self._network.offline or host_of(source.url) in self._silent):
            return None
        os.makedirs(os.path.dirname(source.path), exist_ok=True)
        with Part(source.path, source.hashes, source.size, self._events.put) as part:
            self._fill(source, part, remote=remote)
            digest = part.finish()
        replaced = there is not None and there.sha256 != digest.sha256
        return Fetched(digest.sha256, digest.size, fetched=True, replaced=replaced)

    def _fill(self, source: Source, part: Part, *, remote: bool) -> None:
        """Fetch until the part is right. Raises Trouble or Wrong."""
        tries = 0
        farthest = part.size
        again = True
        while True:
            try:
                if not (part.size and part.is_right()):
                    (self._request if remote else self._copy)(source, part)
                part.check()
            except Wrong:
                # Bytes of several responses may be of several files; one from its start is not.
                joined = part.joined
                part.restart()
                if not (joined and again):
                    raise
                again = False
            except Trouble as trouble:
                if part.size >= farthest + _PROGRESS:
                    tries = 0  # a bad line that gets somewhere is better than none
                farthest = max(farthest, part.size)
                if self._stop.is_set():
                    raise _Stopped from None
                if not trouble.again or tries >= self._network.retries:
                    raise
                self._pause(tries, trouble.wait)
                tries += 1
            else:
                return

    def _request(self, source: Source, part: Part) -> None:
        """Send one request for what lacks, and append what comes."""
        headers = {}
        if part.size and (source.hashes or part.etag):
            headers["Range"] = f"bytes={part.size}-"
            if part.etag:
                headers["If-Range"] = part.etag
        reply = self._client.get(source.url, headers, encrypted=not source.hashes)
        self._replies.add(reply)
        try:
            etag = reply.headers.get("etag", "")
            if _begins_at(reply.status, reply.headers.get("content-range", "")) != part.size or (
                reply.status == 206 and part.etag and part.etag != etag
            ):
                part.restart()
                if reply.status != 200:
                    raise Trouble("it sends other bytes than it was asked for", again=True, wait=0)
            if not source.hashes:
                _check_encoding(reply, source.name)
            part.begin(etag if etag.startswith('"') else None)  # W/"…" is a weak one
            for chunk in reply.chunks():
                if self._stop.is_set():
                    raise _Stopped
                part.write(chunk)
                if source.size is None and part.size > LARGEST:
                    raise Wrong(f"it is larger than {LARGEST >> 30} GiB, and nobody said how large")
        finally:
            self._replies.discard(reply)
            reply.close()

    def _copy(self, source: Source, part: Part) -> None:
        """Read a file of this machine."""
        from urllib.request import url2pathname

        part.restart()
        part.begin(None)
        for data in _blocks(url2pathname(urlsplit(source.url).path)):
            if self._stop.is_set():
                raise _Stopped
            part.write(data)

    def _pause(self, tries: int, wait: float | None) -> None:
        if self._stop.wait(pause_before(tries, wait, self._network.backoff)):
            raise _Stopped


def pause_before(tries: int, wait: float | None, backoff: float) -> float:
    """Return the seconds before another try: what the server said, or longer each time.

    Workers that failed together do not come back together.
    """
    if wait is not None:
        return wait
    return min(backoff * 2.0**tries, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311


def _begins_at(status: int, content_range: str) -> int | None:
    """Return where in the file a body begins, None if nobody knows (RFC 9110, 14.4)."""
    if status == 200:
        return 0
    begin = re.match(r"bytes ([0-9]{1,18})-", content_range)
    return int(begin[1]) if begin else None


def _check_encoding(reply: Reply, name: str) -> None:
    """Raise Trouble for a body that is compressed, though that was not asked for (RFC 9110, 8.4).

    With a hash it is known what the file is. Servers that call a stored `.gz` so mean the file.
    """
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    stored = name.endswith((".gz", ".tgz")) and encoding in {"gzip", "x-gzip"}
    if encoding not in {"", "identity"} and not stored:
        raise Trouble(f"it sends the file as `{encoding[:40]}`, which was not asked for")


def _blocks(path: str) -> Iterator[bytes]:
    """Yield the bytes of a file of this machine. Raises Trouble if it cannot be read."""
    try:
        file = opened(path, FetchFault)
        if file is None:
            raise Trouble("No such file or directory")
        with file:
            while data := file.read(_CHUNK):
                yield data
    except OSError as error:
        raise Trouble(f"{error.strerror}") from None


def _disk_words(error: OSError) -> tuple[str, bool]:
    """Return why a file cannot be written, and whether no other can either."""
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "no space is left on the disk", True
    return error.strerror or str(error), error.errno == errno.EROFS


def _listed(names: Sequence[str]) -> str:
    """Return some names as a sentence has them."""
    quoted = [f"`{name}`" for name in names[:_NAMED_AT_MOST]]
    if rest := len(names) - len(quoted):
        return ", ".join(quoted) + f" and {rest} more"
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
