"""Directory trees as flat lists of files, links resolved to what they point to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from envpack.errors import SourceFault

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
    """A link to a directory, reported before the files behind it, which are walked as its own."""

    name: str
    real: str


def walk(root: str, *, skip: frozenset[str] = frozenset()) -> Iterator[Found | FoundDirectoryLink]:
    """Yield every file below `root`: those of a directory by name, then its directories' by name.

    Links to directories are followed, as there are no links in an archive. Names in `skip`,
    relative to the root, are passed over with all that is below them. Raises SourceFault for an
    unreadable directory and for a link that leads back into itself.
    """
    # A stack instead of recursion: each file would pass through as many generators as it is deep.
    waiting: list[tuple[str, str, tuple[_Key, ...]]] = [(root, "", ())]
    while waiting:
        folder, prefix, above = waiting.pop()
        below = []
        for item in _listed(folder):
            name = prefix + item.name
            if name in skip:
                continue
            try:
                if item.is_symlink():
                    found, key = _link(item, name, above)
                    yield found
                    if key is not None:
                        below.append((item.path, name + "/", (*above, key)))
                elif item.is_dir(follow_symlinks=False):
                    below.append((item.path, name + "/", above))
                else:
                    status = item.stat(follow_symlinks=False)
                    kind = "file" if stat.S_ISREG(status.st_mode) else "special"
                    yield _found(name, item.path, status, kind=kind)
            except OSError as error:
                raise SourceFault(f"cannot read `{item.path}`: {error.strerror}") from error
        waiting += reversed(below)


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return sorted(scan, key=attrgetter("name"))
    except OSError as error:
        raise SourceFault(f"cannot list `{folder}`: {error.strerror}") from error


def _link(
    item: os.DirEntry[str], name: str, above: tuple[_Key, ...]
) -> tuple[Found | FoundDirectoryLink, _Key | None]:
    """Return what a link is, and the directory it leads to, if it does."""
    text = os.readlink(item.path)
    try:
        status = os.stat(item.path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceFault(f"`{item.path}` is a link that leads back to itself") from None
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
        raise SourceFault(f"`{item.path}` is a link to a directory above it, `{real}`")
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
