"""A plain directory, with the modes and times an archive would have given."""

from __future__ import annotations

import os
from collections.abc import Iterable

from envpack.archive.blocks import DIRECTORY, contents, members_of, mode_of
from envpack.model import Item, LinkKind, Member
from envpack.parallel import Pool


class DirectoryFormat:
    """Files below `target`: modes are 0755 and 0644 whatever the umask, times are the plan's."""

    name = "dir"
    suffixes: tuple[str, ...] = ()
    hardlinks = True
    symlinks = True
    levels = False
    folder = True

    def engine(self, level: int | None) -> str:
        """Say that runs are not kept."""
        del level
        return ""

    def renderer(self, *, level: int | None, mtime: int) -> None:
        """Say that members are taken singly."""
        del level, mtime

    def write(
        self,
        items: Iterable[Item],
        target: str,
        *,
        level: int | None,
        mtime: int,
        pool: Pool,
    ) -> None:
        """Create the directory `target` from `items`; see `envpack.model.Format.write`."""
        del level, pool
        tree = _Tree(target, mtime)
        for member in members_of(items):
            tree.add(member)
        tree.close()


class _Tree:
    """A directory being filled; knows which directories it made."""

    def __init__(self, root: str, mtime: int) -> None:
        self._root = root
        self._times = (mtime, mtime)
        self._made: list[str] = []
        self._known: set[str] = set()
        self._make("")

    def _make(self, name: str) -> None:
        """Create the directory `name`, "" for the root, and those above it."""
        if name in self._known:
            return
        if name:
            self._make(name.rpartition("/")[0])
        path = os.path.join(self._root, name) if name else self._root
        os.mkdir(path)
        os.chmod(path, DIRECTORY)
        self._known.add(name)
        self._made.append(path)

    def add(self, member: Member) -> None:
        """Create one member and the directories above it."""
        self._make(member.name.rpartition("/")[0])
        path = os.path.join(self._root, member.name)
        if member.link is None:
            with open(path, "xb") as file:
                os.fchmod(file.fileno(), mode_of(member))
                file.writelines(contents(member))
        elif member.link.kind is LinkKind.HARD:
            source = os.path.join(self._root, member.link.target)
            os.link(source, path, follow_symlinks=False)
        else:
            os.symlink(member.link.target, path)
        os.utime(path, self._times, follow_symlinks=False)

    def close(self) -> None:
        """Set the directories' times, now that nothing is created in them any more."""
        for path in self._made:
            os.utime(path, self._times)
