"""An interpreter's archive unpacked to a tree that uv takes for one it has installed.

uv knows an interpreter by the name of its folder. What the archive says of its own place,
`/install`, is made relative, as `pack` does it, so that the tree is right wherever it lies.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator

from envpack.archive.read import Stored as Member
from envpack.archive.read import members
from envpack.archive.unpack import Unpacker
from envpack.layout_record import Made
from envpack.model import Link, LinkKind, Move
from envpack.reading import spliced
from envpack.relocate import relocator_for

_TOP = re.compile(r"[^/]+/(?:install/)?")
_BUILT_AT = (Move("/install", ""),)
_BINARY = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_HEAD = 4096
_MARKER = "EXTERNALLY-MANAGED"
_MANAGED = """\
[externally-managed]
Error=This Python is shared by many projects. Make an environment: `uv venv`.
"""


def unpack_python(archive: str, into: str) -> dict[str, Made]:
    """Unpack an interpreter into the folder `into`; return what is in it, by relative names.

    Links that lead out of the tree are refused. Raises ArchiveFault for that and for a damaged
    archive, and OutputFault.
    """
    found: dict[str, Made] = {}
    full = any(name.partition("/")[2].startswith("install/") for name in _names(archive))
    with Unpacker(archive, into) as unpacker:
        for member in members(archive):
            if name := _inside(member.name, full=full):
                found[name] = _add(member, name, unpacker, full=full)
        for name in list(found):
            match = re.fullmatch(r"(lib/python3\.\d+t?)/os\.py", name)
            if match and (marker := f"{match[1]}/{_MARKER}") not in found:
                found[marker] = _written(marker, _MANAGED.encode(), unpacker, executable=False)
    return found


def _names(archive: str) -> Iterator[str]:
    for number, member in enumerate(members(archive)):
        if number > 50:  # a `full` archive names its parts at once
            return
        yield member.name


def _inside(name: str, *, full: bool) -> str:
    """Return the name below the prefix, "" for what is not of the installation."""
    match = _TOP.match(name)
    if match is None or (full and not match[0].endswith("install/")):
        return ""
    rest = posixpath.normpath(name[match.end() if full else name.index("/") + 1 :])
    return "" if rest in {".", ".."} or rest.startswith(("../", "/")) else rest


def _add(member: Member, name: str, unpacker: Unpacker, *, full: bool) -> Made:
    if member.link is None:
        data = _relocated(name, member.data.read())
        return _written(name, data, unpacker, executable=bool(member.mode & 0o100))
    if member.link.kind is LinkKind.SYMBOLIC:
        unpacker.link(name, member.link)
        return Made(link=member.link.target)
    source = _inside(member.link.target, full=full)
    return _told(unpacker.link(name, Link(LinkKind.HARD, source)))


def _relocated(name: str, data: bytes) -> bytes:
    if data.startswith(_BINARY):
        return data
    relocator = relocator_for(name, data[:_HEAD])
    edits = list(relocator.edits(name, data, _BUILT_AT)) if relocator else []
    return b"".join(spliced([data], edits)) if edits else data


def _written(name: str, data: bytes, unpacker: Unpacker, *, executable: bool) -> Made:
    unpacker.file(name, [data], executable=executable)
    return Made(hashlib.sha256(data).hexdigest(), len(data), executable)


def _told(path: str) -> Made:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    status = os.stat(path)
    return Made(digest, status.st_size, bool(status.st_mode & 0o100))
