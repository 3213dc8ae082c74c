"""Wheels made again of what is installed, by RECORD: also of what somebody has patched there.

Sources: the *recording installed projects* and the *binary distribution format* specifications. A
wheel that was made again says so by a build tag, which installers prefer to a file without one:
`0installed`, or `1patched…` where files are not what RECORD says, with a digest of what they are.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import posixpath
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from envpack import foreign
from envpack.core_metadata import fields
from envpack.distributions import Distribution, distributions_in, name_in_prefix
from envpack.environment import Environment, discover
from envpack.errors import EditableFault, OutputFault, SourceFault
from envpack.model import Move
from envpack.relocate.metadata import without_secrets
from envpack.relocate.script import python_header
from envpack.secret_files import HEAD, is_secret

_WHEN = (1980, 1, 1, 0, 0, 0)
_HEAD = 65536
_OWN = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "provenance_url.json", "uv_cache.json"}
)
"""Files of a `.dist-info` that an installer writes."""


class Part(NamedTuple):
    """One file of a wheel: its name there, what it is on disk, and the bytes left out at its begin.

    Where a script's first `skip` bytes start Python, the wheel has `#!python` and `option`.
    """

    name: str
    path: str
    executable: bool
    skip: int = 0
    option: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed distribution as a wheel; `patched` names what is not as RECORD says."""

    name: str
    version: str
    file: str
    parts: tuple[Part, ...]
    patched: tuple[str, ...]
    digest: str

    def write(self, path: str) -> None:
        """Write the wheel, the same bytes for the same files; raises OutputFault."""
        info = next(part.name.partition("/")[0] for part in self.parts if _in_info(part.name))
        rows: list[tuple[str, str, int | str]] = []
        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for part in self.parts:
                    data = _content(part)
                    rows.append((part.name, f"sha256={_urlsafe(data)}", len(data)))
                    _add(archive, part.name, data, executable=part.executable)
                text = io.StringIO(newline="")
                own = (f"{info}/RECORD", "", "")
                csv.writer(text, lineterminator="\n").writerows([*rows, own])
                _add(archive, own[0], text.getvalue().encode())
        except OSError as error:
            raise OutputFault(f"cannot write `{path}`: {error.strerror or error}") from error


def installed_in(path: str) -> tuple[Environment, tuple[Installed, ...]]:
    """Read the environment at `path`, and what is installed there, every file of it.

    Raises EnvironmentFault, EditableFault for editable installs, and SourceFault for what cannot
    be read or has no RECORD.
    """
    environment = discover(path, packed=False)
    found = distributions_in(environment.root, environment.site_packages)
    editable = [dist.name for dist in found if dist.editable]
    if editable:
        names = ", ".join(f"`{name}`" for name in editable)
        raise EditableFault(
            f"{names} {'is' if len(editable) == 1 else 'are'} installed editable in `{path}`:"
            " that is a link to sources, of which no wheel can be made",
            hint="`uv sync --no-editable`, or `uv build --wheel` and `--wheel FILE`",
        )
    tops = Counter(top for dist in found for top in {row.partition("/")[0] for row in _own(dist)})
    alone = {top for top, number in tops.items() if number == 1}
    return environment, tuple(_read(environment, dist, alone) for dist in found)


def _own(dist: Distribution) -> Iterator[str]:
    """Yield the files of a distribution that lie in folders of site-packages, relative to it."""
    prefix = f"{dist.site_packages}/"
    for row in dist.rows():
        if row.name is not None and row.name.startswith(prefix) and "/" in row.name[len(prefix) :]:
            yield row.name[len(prefix) :]


def _read(environment: Environment, dist: Distribution, alone: set[str]) -> Installed:
    if not dist.record:
        raise SourceFault(f"`{dist.name}` has no RECORD, so no wheel can be made of it")
    site = os.path.join(environment.root, dist.site_packages)
    stem = dist.info.removesuffix(".dist-info")
    launchers = _launchers(os.path.join(site, dist.info, "entry_points.txt"))
    moves = (Move(environment.root, ""), *(Move(path, "") for path in environment.spellings))
    parts: dict[str, Part] = {}
    patched = []
    total = hashlib.sha256()
    for name, told in _files(environment.root, site, dist, alone):
        place = _place(name, dist, stem, launchers)
        if not place:
            continue
        path = os.path.join(environment.root, *name.split("/"))
        data = _bytes(path)
        if data is None:
            patched.append(name)
            continue
        if not _is_right(data, told):
            patched.append(name)
            if is_secret(name, partial(bytes, data[:HEAD])):
                continue  # nobody's package has it
        total.update(place.encode() + b"\0" + hashlib.sha256(data).digest())
        executable = bool(os.stat(path).st_mode & 0o100)
        head = python_header(name, data[:_HEAD], moves) if ".data/scripts/" in place else None
        if head is None or head.env or len(head.words) > 1:  # no `#!python` says so much
            parts[place] = Part(place, path, executable)
        else:
            parts[place] = Part(place, path, executable, head.stop, "".join(head.words))
    wheel = fields(_bytes(os.path.join(site, dist.info, "WHEEL")) or b"")
    return Installed(
        name=dist.name,
        version=dist.version,
        file=_file_name(stem, wheel, total.hexdigest()[:8] if patched else ""),
        parts=tuple(parts[place] for place in sorted(parts, key=_order)),
        patched=tuple(name.removeprefix(f"{dist.site_packages}/") for name in patched),
        digest=total.hexdigest(),
    )


def _files(
    root: str, site: str, dist: Distribution, alone: set[str]
) -> Iterator[tuple[str, str | None]]:
    """Yield the names below the prefix of what belongs to a distribution, with RECORD's hashes.

    What was added to a folder that is the distribution's alone has None.
    """
    known = set()
    text = foreign.read_text(dist.record) or ""
    for row in foreign.parsed_csv(text, dist.record):
        name = name_in_prefix(dist.site_packages, row[0])
        if name is not None:
            known.add(name)
            yield name, row[1] if len(row) > 1 else ""
    tops = {path.partition("/")[0] for path in _own(dist)} & alone
    for top in sorted(tops - {dist.info}):
        for folder, folders, names in os.walk(os.path.join(site, top)):
            folders[:] = sorted(set(folders) - {".git", ".hg", ".svn"})
            below = os.path.relpath(folder, root).replace(os.sep, "/")
            for name in sorted(names):
                if f"{below}/{name}" not in known:
                    yield f"{below}/{name}", None


def _place(name: str, dist: Distribution, stem: str, launchers: set[str]) -> str:
    """Return the name in the wheel, "" for what an installer or Python makes again."""
    if name.endswith(".pyc") or "/__pycache__/" in name:
        return ""
    inner = name.removeprefix(f"{dist.site_packages}/")
    if inner != name:
        folder, _, file = inner.partition("/")
        return "" if folder == dist.info and file in _OWN else inner
    top, _, rest = name.partition("/")
    if top == "bin":
        return "" if rest in launchers else f"{stem}.data/scripts/{rest}"
    if match := re.fullmatch(r"include/site/python[^/]+/[^/]+/(.+)", name):
        return f"{stem}.data/headers/{match[1]}"
    return f"{stem}.data/data/{name}"


def _launchers(path: str) -> set[str]:
    """Return the scripts that an installer makes of entry points."""
    parser = ConfigParser(delimiters=("=",), strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    data = _bytes(path)
    try:
        parser.read_string((data or b"").decode("utf-8", "replace"))
    except Error:
        return set()
    groups = ("console_scripts", "gui_scripts")
    return {name for group in groups if parser.has_section(group) for name in parser[group]}


def _file_name(stem: str, wheel: Sequence[tuple[str, str]], patched: str) -> str:
    """Return a wheel's name: its tags are those of WHEEL, and its build tag is one of ours."""
    tags = [value.split("-") for key, value in wheel if key == "Tag" and value.count("-") == 2]
    columns = zip(*(tags or [["py3", "none", "any"]]), strict=True)
    tag = "-".join(".".join(dict.fromkeys(column)) for column in columns)
    build = next((value for key, value in wheel if key == "Build"), "")
    number = re.match(r"\d*", build)
    count = int(number[0] or 0) if number else 0
    own = f"{count + 1}patched{patched}" if patched else f"{count}installed"
    return f"{stem}-{own}-{tag}.whl"


def _is_right(data: bytes, told: str | None) -> bool:
    if not told:
        return told is not None
    algorithm, _, value = told.partition("=")
    try:
        digest = hashlib.new(algorithm, data).digest()
    except ValueError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == value.rstrip("=")


def _bytes(path: str) -> bytes | None:
    return foreign.read_bytes(path, most=sys.maxsize)


def _content(part: Part) -> bytes:
    data = _bytes(part.path)
    if data is None:
        raise SourceFault(f"`{part.path}` has vanished")
    if not part.skip:
        is_metadata = _in_info(part.name) and part.name.endswith("/METADATA")
        return without_secrets(data) if is_metadata else data
    option = f" {part.option}" if part.option else ""
    return f"#!python{option}\n".encode() + data[part.skip :]


def _order(name: str) -> tuple[bool, str]:
    """Return what sorts the metadata to the end, as the specification recommends."""
    return _in_info(name), name


def _in_info(name: str) -> bool:
    return posixpath.dirname(name).partition("/")[0].endswith(".dist-info")


def _add(archive: zipfile.ZipFile, name: str, data: bytes, *, executable: bool = False) -> None:
    info = zipfile.ZipInfo(name, _WHEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    archive.writestr(info, data)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
