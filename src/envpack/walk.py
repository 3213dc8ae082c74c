"""Directory trees, directory by directory, links resolved to what they point to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from envpack.entries import prefix_of
from envpack.errors import SourceFault
from envpack.rows import Row

OR_LEAVE_OUT = "mend or remove it, or leave it out with --exclude"

_Key: TypeAlias = tuple[int, int]
"""A device and an inode."""


class Found(NamedTuple):
    """One file below a root.

    `name` is its POSIX path relative to the root, `path` where its bytes are read. `link` is the
    text of a symbolic link, None for a file reached without one, and `real` the link's final
    target. `kind` is "file", "dangling" or "special"; sizes are bytes. `identity` is as in `Disk`.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    executable: bool
    link: str | None = None
    real: str = ""
    kind: str = "file"
    identity: tuple[int, ...] = ()


class FoundDirectoryLink(NamedTuple):
    """A link to a directory, told before the files behind it, which are walked as its own."""

    name: str
    real: str


class FoundFolder(NamedTuple):
    """One directory below a root: what is in it, but for other directories, each by name.

    `name` is its POSIX path relative to the root, "" for the root itself, and `path` where it is.
    `files` are its regular files, as rows of a `Piece` are; links and all else are in `others`.
    """

    name: str
    path: str
    files: list[Row]
    others: list[Found | FoundDirectoryLink]

    def found(self) -> Iterator[Found | FoundDirectoryLink]:
        """Yield all of it, files first."""
        prefix = prefix_of(self.name)
        for base, executable, size, mtime_ns, _, *identity in self.files:
            yield Found(
                prefix + base,
                f"{self.path}/{base}",
                size,
                mtime_ns,
                executable,
                identity=tuple(identity),
            )
        yield from self.others


def walk(
    root: str, *, skip: Iterable[str] = (), unjudged: Callable[[str], bool] = lambda _name: False
) -> Iterator[FoundFolder]:
    """Yield `root` and every directory below it, each before those that are in it, by name.

    Links to directories are followed, as there are no links in an archive. Names in `skip`,
    relative to the root, are passed over with all that is below them. Raises SourceFault for an
    unreadable directory and for a link that leads back into itself; where `unjudged` says yes to
    the name, with a slash behind a directory's, it is told as dangling instead.
    """
    passed: dict[str, set[str]] = {}
    for name in skip:
        folder, _, base = name.rpartition("/")
        passed.setdefault(folder, set()).add(base)
    # A stack instead of recursion: each file would pass through as many generators as it is deep.
    waiting: list[tuple[str, str, tuple[_Key, ...]]] = [(root, "", ())]
    while waiting:
        path, name, above = waiting.pop()
        try:
            listed = _listed(path)
        except SourceFault:
            if not unjudged(f"{name}/"):
                raise
            at, _, _ = name.rpartition("/")
            closed = Found(name, path, 0, 0, False, kind="dangling")
            yield FoundFolder(at, os.path.dirname(path), [], [closed])
            continue
        found, below = _entered(path, name, above, listed, passed.get(name, frozenset()), unjudged)
        yield found
        waiting += reversed(below)


def _entered(
    path: str,
    name: str,
    above: tuple[_Key, ...],
    listed: Iterable[os.DirEntry[str]],
    passed: Collection[str],
    unjudged: Callable[[str], bool],
) -> tuple[FoundFolder, list[tuple[str, str, tuple[_Key, ...]]]]:
    """Return what is in a directory, and the directories to walk after it."""
    files: list[Row] = []
    others: list[Found | FoundDirectoryLink] = []
    below: list[tuple[str, str, tuple[_Key, ...]]] = []
    prefix = prefix_of(name)
    for item in listed:
        base = item.name
        if base in passed:
            continue
        try:
            if item.is_file(follow_symlinks=False):
                files.append(_row(base, item.stat(follow_symlinks=False)))
            elif item.is_dir(follow_symlinks=False):
                below.append((item.path, prefix + base, above))
            elif item.is_symlink():
                try:
                    found, key = _link(item, prefix + base, above)
                except SourceFault:
                    if not (unjudged(prefix + base) or unjudged(f"{prefix}{base}/")):
                        raise
                    text = os.readlink(item.path)
                    found = Found(prefix + base, item.path, 0, 0, False, text, "", "dangling")
                    key = None
                others.append(found)
                if key is not None:
                    below.append((item.path, prefix + base, (*above, key)))
            else:
                status = item.stat(follow_symlinks=False)
                others.append(_found(prefix + base, item.path, status, kind="special"))
        except OSError as error:
            raise SourceFault(f"cannot read `{item.path}`: {error.strerror}") from error
    return FoundFolder(name, path, files, others), below


def _row(base: str, status: os.stat_result) -> Row:
    return (
        base,
        bool(status.st_mode & stat.S_IXUSR),
        status.st_size,
        status.st_mtime_ns,
        None,
        status.st_dev,
        status.st_ino,
        status.st_ctime_ns,
    )


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return sorted(scan, key=attrgetter("name"))
    except OSError as error:
        raise SourceFault(f"cannot list `{folder}`: {error.strerror}", hint=OR_LEAVE_OUT) from error


def _link(
    item: os.DirEntry[str], name: str, above: tuple[_Key, ...]
) -> tuple[Found | FoundDirectoryLink, _Key | None]:
    """Return what a link is, and the directory it leads to, if it does."""
    text = os.readlink(item.path)
    try:
        status = os.stat(item.path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            words = f"`{item.path}` is a link that leads back to itself"
            raise SourceFault(words, hint=OR_LEAVE_OUT) from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        real = os.path.realpath(item.path)
        return Found(name, item.path, 0, 0, False, text, real, "dangling"), None
    real = os.path.realpath(item.path)
    if not stat.S_ISDIR(status.st_mode):
        kind = "file" if stat.S_ISREG(status.st_mode) else "special"
        return _found(name, real, status, text, real, kind), None
    key = (status.st_dev, status.st_ino)
    if key in above or (os.path.dirname(item.path) + "/").startswith(real + "/"):
        words = f"`{item.path}` is a link to a directory above it, `{real}`"
        raise SourceFault(words, hint=OR_LEAVE_OUT)
    return FoundDirectoryLink(name, real), key


def _found(
    name: str,
    path: str,
    status: os.stat_result,
    link: str | None = None,
    real: str = "",
    kind: str = "file",
) -> Found:
    executable = bool(status.st_mode & stat.S_IXUSR)
    size, identity = status.st_size, (status.st_dev, status.st_ino, status.st_ctime_ns)
    return Found(name, path, size, status.st_mtime_ns, executable, link, real, kind, identity)
