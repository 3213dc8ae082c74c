"""Installed distributions: what is in site-packages and which files belong to whom.

Sources: the *recording installed projects* specification (RECORD), PEP 610 (direct_url.json),
setuptools' egg-info.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from envpack import foreign
from envpack.errors import SourceFault

_UNCLEAN = ("", ".", "/")
"""How a relative path begins that may have to be normalised."""


class RecordRow(NamedTuple):
    """One line of RECORD: the path as written there, and the name it has below the prefix.

    `name` is None for a path that leaves the prefix.
    """

    path: str
    name: str | None


class Distribution(NamedTuple):
    """One `.dist-info` or `.egg-info` of a site-packages directory.

    `info` is the metadata entry's name in `site_packages`; `record` is the path of its RECORD, ""
    without one. `editable` follows direct_url.json's `dir_info`, or an `.egg-link` of the same
    name.
    """

    name: str
    version: str
    info: str
    site_packages: str
    record: str
    direct_url: dict[str, Any] | None
    editable: bool

    def rows(self) -> Iterator[RecordRow]:
        """Read RECORD, as often as it is asked for: the rows of all would fill the memory."""
        paths = self._paths()
        return map(RecordRow, paths, names_in_prefix(self.site_packages, paths))

    def names(self) -> list[str]:
        """Read RECORD for the names below the prefix alone."""
        names = names_in_prefix(self.site_packages, self._paths())
        return [name for name in names if name is not None]

    def _paths(self) -> list[str]:
        return _first_fields(self.record) if self.record else []


def distributions_in(prefix: str, site_packages: str) -> tuple[Distribution, ...]:
    """Read the distributions below `prefix/site_packages`, sorted by name, then by `info`.

    `site_packages` is relative to `prefix`. Raises SourceFault if metadata cannot be read.
    """
    folder = os.path.join(prefix, site_packages)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise SourceFault(f"cannot list `{folder}`: {error.strerror}") from error
    links = {n.removesuffix(".egg-link").lower() for n in names if n.endswith(".egg-link")}
    found = [
        _read(folder, site_packages, info, links)
        for info in names
        if info.endswith((".dist-info", ".egg-info"))
    ]
    return tuple(sorted(found, key=lambda dist: (dist.name, dist.info)))


def _read(folder: str, site_packages: str, info: str, links: set[str]) -> Distribution:
    stem = info.rsplit(".", 1)[0]
    name, _, version = stem.partition("-")
    version = re.sub(r"-py\d+(\.\d+)?(-.*)?$", "", version)
    if not version:
        name, version = _from_metadata(os.path.join(folder, info), stem)
    value = foreign.read_json(os.path.join(folder, info, "direct_url.json"))
    direct_url = value if isinstance(value, dict) else None
    record = os.path.join(folder, info, "RECORD")
    return Distribution(
        name=canonicalize_name(name),
        version=version,
        info=info,
        site_packages=site_packages,
        record=record if os.path.isfile(record) else "",
        direct_url=direct_url,
        editable=_is_editable(direct_url) or name.lower() in links,
    )


def _from_metadata(path: str, stem: str) -> tuple[str, str]:
    """Read Name and Version from the core metadata of an info directory without a version."""
    for candidate in ("METADATA", "PKG-INFO", ""):
        text = _text(os.path.join(path, candidate) if candidate else path)
        if text is not None:
            fields = dict(re.findall(r"^(Name|Version):\s*(\S+)", text, re.MULTILINE))
            return fields.get("Name", stem), fields.get("Version", "")
    return stem, ""


def _text(path: str) -> str | None:
    return foreign.read_text(path, errors="surrogateescape")


def _first_fields(path: str) -> list[str]:
    """Return the first field of each line of csv; where nothing is quoted, what a comma ends."""
    text = _text(path) or ""
    if '"' in text or "\r" in text:
        return [row[0] for row in foreign.parsed_csv(text, path)]
    return [line.partition(",")[0] for line in text.split("\n") if line]


def _is_editable(direct_url: dict[str, Any] | None) -> bool:
    about = (direct_url or {}).get("dir_info")
    return isinstance(about, dict) and about.get("editable") is True


def names_in_prefix(site_packages: str, paths: Iterable[str]) -> list[str | None]:
    """Return where each of RECORD's `paths` lies below the prefix, None if it lies outside."""
    prefix = site_packages + "/"
    return [
        prefix + path
        if path[:1] not in _UNCLEAN and "/." not in path and "//" not in path and path[-1] != "/"
        else name_in_prefix(site_packages, path)
        for path in paths
    ]


def name_in_prefix(site_packages: str, path: str) -> str | None:
    """Return where RECORD's `path` lies below the prefix, None if it lies outside."""
    if path.startswith("/"):
        return None
    name = posixpath.normpath(posixpath.join(site_packages, path))
    return None if name.startswith("../") else name
