"""Directory trees as flat lists of files, links resolved to what they point to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from envpack.errors import SourceFault


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
    """A link to a directory, reported before the files behind it, which are walked as its own."""

    name: str
    real: str


def walk(root: str, *, skip: frozenset[str] = frozenset()) -> Iterator[Found | FoundDirectoryLink]:
    """Yield every file below `root`, sorted by name within each directory.

    Links to directories are followed, as there are no links in an archive. Names in `skip`,
    relative to the root, are passed over with all that is below them. Raises SourceFault for an
    unreadable directory and for a link that leads back into itself.
    """
    yield from _walk(root, "", (), skip)


def _walk(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...], skip: frozenset[str]
) -> Iterator[Found | FoundDirectoryLink]:
    try:
        with os.scandir(folder) as scan:
            items = sorted(scan, key=lambda item: item.name)
    except OSError as error:
        raise SourceFault(f"cannot list `{folder}`: {error.strerror}") from error
    for item in items:
        name = prefix + item.name
        if name in skip:
            continue
        try:
            if item.is_symlink():
                yield from _link(item, name, above, skip)
            elif item.is_dir(follow_symlinks=False):
                yield from _walk(item.path, name + "/", above, skip)
            else:
                status = item.stat(follow_symlinks=False)
                kind = "file" if stat.S_ISREG(status.st_mode) else "special"
                yield _found(name, item.path, status, kind=kind)
        except OSError as error:
            raise SourceFault(f"cannot read `{item.path}`: {error.strerror}") from error


def _link(
    item: os.DirEntry[str],
    name: str,
    above: tuple[tuple[int, int], ...],
    skip: frozenset[str],
) -> Iterator[Found | FoundDirectoryLink]:
    text = os.readlink(item.path)
    try:
        status = os.stat(item.path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceFault(f"`{item.path}` is a link that leads back to itself") from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        yield Found(name, item.path, 0, 0, False, text, os.path.realpath(item.path), "dangling")
        return
    real = os.path.realpath(item.path)
    if not stat.S_ISDIR(status.st_mode):
        kind = "file" if stat.S_ISREG(status.st_mode) else "special"
        yield _found(name, real, status, text, real, kind)
        return
    key = (status.st_dev, status.st_ino)
    if key in above or (os.path.dirname(item.path) + "/").startswith(real + "/"):
        raise SourceFault(f"`{item.path}` is a link to a directory above it, `{real}`")
    yield FoundDirectoryLink(name, real)
    yield from _walk(item.path, name + "/", (*above, key), skip)


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
