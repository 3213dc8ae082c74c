"""An interpreter's archive unpacked to a tree that uv takes for one it has installed.

uv knows an interpreter by the name of its folder. What the archive says of its own place,
`/install`, is made relative, as `pack` does it, so that the tree is right wherever it lies.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from envpack.archive.read import Stored as Member
from envpack.archive.read import members
from envpack.errors import OutputFault, ProjectFault
from envpack.layout_record import Made
from envpack.model import LinkKind, Move
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

    Links that lead out of the tree are refused. Raises ProjectFault for a damaged archive, and
    OutputFault.
    """
    from zstandard import ZstdError  # late: 17 ms that few need

    damaged = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, ZstdError)
    found: dict[str, Made] = {}
    try:
        full = any(name.partition("/")[2].startswith("install/") for name in _names(archive))
        for member in members(archive):
            name = _inside(member.name, full=full)
            if name:
                found[name] = _add(member, name, into, full=full)
        for name in list(found):
            if match := re.fullmatch(r"(lib/python3\.\d+t?)/os\.py", name):
                marker = f"{match[1]}/{_MARKER}"
                found[marker] = _written(os.path.join(into, marker), _MANAGED.encode(), 0o644)
    except damaged as error:
        raise ProjectFault(f"`{os.path.basename(archive)}` is damaged: {error}") from error
    except OSError as error:
        raise OutputFault(f"cannot write `{into}`: {error.strerror or error}") from error
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


def _add(member: Member, name: str, into: str, *, full: bool) -> Made:
    path = os.path.join(into, *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if member.link is None:
        data = _relocated(name, member.data.read())
        return _written(path, data, 0o755 if member.mode & 0o100 else 0o644)
    if member.link.kind is LinkKind.SYMBOLIC:
        leads = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.link.target))
        if member.link.target.startswith("/") or leads.startswith("../"):
            raise ProjectFault(f"the archive's link `{name}` leads out of it")
        os.symlink(member.link.target, path)
        return Made(link=member.link.target)
    source = os.path.join(into, *_inside(member.link.target, full=full).split("/"))
    os.link(source, path, follow_symlinks=False)
    return _told(path)


def _relocated(name: str, data: bytes) -> bytes:
    if data.startswith(_BINARY):
        return data
    relocator = relocator_for(name, data[:_HEAD])
    edits = list(relocator.edits(name, data, _BUILT_AT)) if relocator else []
    return b"".join(spliced([data], edits)) if edits else data


def _written(path: str, data: bytes, mode: int) -> Made:
    with open(path, "xb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    return Made(hashlib.sha256(data).hexdigest(), len(data), mode == 0o755)


def _told(path: str) -> Made:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    status = os.stat(path)
    return Made(digest, status.st_size, bool(status.st_mode & 0o100))
