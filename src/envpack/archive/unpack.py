"""Foreign archives as files: the one place where members that others named are written.

Nothing outside of the folder can be written, read or led to, whatever the names and links are. No
file is written through a link, as links are made when all files are there, and none is a folder of
another member. Where each link ends is looked at on disk when all of them are made: names alone do
not tell it, as a link may lead through others, and names that differ may be one to the file system.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from envpack.archive.read import ArchiveFault, Stored, members, refused, shown
from envpack.errors import OutputFault
from envpack.model import Link, LinkKind

_WINDOWS = os.name == "nt"
_OTHERWISE = re.compile(r"[\\:]|[. ]$")
"""What makes another name or place of a part of a path on Windows."""

_FOLLOWED = 40
"""Links that Linux follows for one path."""

Parts = tuple[str, ...]


def unpack(archive: str, into: str) -> None:
    """Unpack an archive into `into`, empty or not there; raises ArchiveFault and OutputFault.

    It may hold as much as `read.members` says.
    """
    with Unpacker(archive, into) as unpacker:
        for member in members(archive, folders=True):
            unpacker.add(member)


class Unpacker:
    """Writes an archive's members below `root`, empty or not there, and on leaving its links.

    What it refuses is ArchiveFault, and what cannot be written OutputFault; then the folder is not
    to be used. A member of a name that is there already is refused too.
    """

    def __init__(self, archive: str, root: str) -> None:
        self._archive = os.path.basename(archive)
        self._root = root
        self._folders: set[Parts] = {()}
        self._files: set[Parts] = set()
        self._links: dict[Parts, str] = {}
        self._ends: dict[Parts, Parts] = {}

    def __enter__(self) -> Self:
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._root, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, member: Stored) -> None:
        """Write a member as it is."""
        if member.folder:
            self._folder(self._parts(member.name))
        elif member.link is not None:
            self.link(member.name, member.link)
        else:
            executable = bool(member.mode & 0o100)
            self.file(member.name, member.data.blocks(), executable=executable)

    def file(self, name: str, blocks: Iterable[bytes], *, executable: bool) -> str:
        """Write a file, its mode 0755 or 0644, and return its path."""
        parts = self._parts(name)
        path = self._place(parts)
        try:
            with open(path, "xb") as file:
                os.chmod(path, 0o755 if executable else 0o644)
                file.writelines(blocks)
        except FileExistsError:
            raise self._refused(f"it holds `{shown(name)}` twice") from None
        except OSError as error:
            raise _unwritable(path, error) from error
        self._files.add(parts)
        return path

    def link(self, name: str, link: Link) -> str:
        """Make a hard link at once, a symbolic one later, and return its path."""
        parts = self._parts(name)
        path = self._place(parts)
        if link.kind is LinkKind.SYMBOLIC:
            text = link.target
            odd = _WINDOWS and ("\\" in text or ":" in text)
            if not text or text.startswith("/") or "\0" in text or odd:
                raise self._leads_out(parts)
            if self._links.setdefault(parts, text) != text:
                raise self._refused(f"it holds `{shown(name)}` twice")
            return path
        source = self._parts(link.target)
        origin = os.path.join(self._root, *source)
        if source not in self._files or not stat.S_ISREG(os.lstat(origin).st_mode):
            raise self._refused(f"its hard link `{shown(name)}` leads to no file before it")
        try:
            os.link(origin, path)
        except FileExistsError:
            raise self._refused(f"it holds `{shown(name)}` twice") from None
        except OSError as error:
            raise _unwritable(path, error) from error
        self._files.add(parts)
        return path

    # ---- names -------------------------------------------------------------------------------

    def _parts(self, name: str) -> Parts:
        """Return a member's name in parts; raises ArchiveFault for one that could lead out."""
        parts = tuple(part for part in name.split("/") if part not in {"", "."})
        wrong = name.startswith("/") or ".." in parts or "\0" in name
        if wrong or (_WINDOWS and any(_OTHERWISE.search(part) for part in parts)):
            raise self._refused(f"no file in it may be called `{shown(name)}`")
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            raise self._refused(f"this system has no name such as `{shown(name)}`") from None
        return parts

    def _place(self, parts: Parts) -> str:
        """Return the path of a file or a link, its folder made."""
        if not parts:
            raise self._refused("it holds a file without a name")
        if parts[:-1] not in self._folders:
            self._folder(parts[:-1])
        return os.path.join(self._root, *parts)

    def _folder(self, parts: Parts) -> None:
        """Make a folder and those above it; each is one, and no link to one."""
        for count in range(1, len(parts) + 1):
            above = parts[:count]
            if above in self._folders:
                continue
            path = os.path.join(self._root, *above)
            try:
                os.mkdir(path)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    name = shown("/".join(above))
                    raise self._refused(f"its `{name}` is a folder and something else") from None
            except OSError as error:
                raise _unwritable(path, error) from error
            self._folders.add(above)

    # ---- links -------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Make the links, all in folders that are there; one that leads out takes all away."""
        made: list[str] = []
        try:
            for parts, text in self._links.items():
                path = os.path.join(self._root, *parts)
                try:
                    os.symlink(text, path)
                except FileExistsError:
                    name = shown("/".join(parts))
                    raise self._refused(f"its `{name}` is a link and something else") from None
                except OSError as error:
                    raise _unwritable(path, error) from error
                made.append(path)
            for parts in self._links:
                self._end(parts, parts, 1)
        except BaseException:
            for path in made:
                os.unlink(path)
            raise

    def _end(self, first: Parts, parts: Parts, followed: int) -> Parts:
        """Return where a link on disk ends; raises ArchiveFault if that is outside.

        What is not there is taken for a folder, so that a link may lead to nothing.
        """
        if parts in self._ends:
            return self._ends[parts]
        if followed > _FOLLOWED:
            name = shown("/".join(first))
            raise self._refused(f"its link `{name}` leads in a circle, or through too many")
        text = os.readlink(os.path.join(self._root, *parts))
        if os.path.isabs(text):
            raise self._leads_out(first)
        here = parts[:-1]
        for part in text.split("/"):
            if part == "..":
                if not here:
                    raise self._leads_out(first)
                here = here[:-1]
            elif part not in {"", "."}:
                here = (*here, part)
                try:
                    is_link = stat.S_ISLNK(os.lstat(os.path.join(self._root, *here)).st_mode)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:  # too long to be looked at
                    raise self._leads_out(first) from error
                if is_link:
                    here = self._end(first, here, followed + 1)
        self._ends[parts] = here
        return here

    def _leads_out(self, parts: Parts) -> ArchiveFault:
        return self._refused(f"its link `{shown('/'.join(parts))}` leads out of it")

    def _refused(self, reason: str) -> ArchiveFault:
        return refused(self._archive, reason)


def _unwritable(path: str, error: OSError) -> OutputFault:
    return OutputFault(f"cannot write `{shown(path)}`: {error.strerror or error}")
