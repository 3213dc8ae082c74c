"""What a layout holds besides distributions and programs: index, wrappers, settings, README.

Everything here follows from the record, so the same record gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from typing import NamedTuple

from packaging.version import Version

from envpack.layout_record import ARCHIVES, PACKAGES, SCRIPTS, SIMPLE, Layout
from envpack.platforms import Platform, platforms_named
from envpack.programs import PYTHON, UV, downloads_beside, uv_triple
from envpack.simple_index import PAGE, Link, project_page, root_page
from envpack.wheelhouse import Stored

SETTINGS = "uv.toml"
README = "README.md"
DOWNLOADS = "python/downloads.json"

_SYSTEMS = {"linux": "Linux", "macos": "Darwin"}
_MACHINES = {("macos", "aarch64"): "arm64"}
_WINDOWS = {"x86_64": "AMD64", "aarch64": "ARM64", "i686": "x86"}


class Text(NamedTuple):
    """One file's content, and whether it can be started."""

    data: str
    executable: bool = False


def texts(layout: Layout) -> dict[str, Text]:
    """Return the texts of a layout by their paths."""
    found = dict(_index(layout))
    found |= _wrappers(layout)
    found[SETTINGS] = Text(_template("uv.toml"))
    found[README] = Text(_readme(layout))
    archives = [file for file in layout.files if file.path.startswith(f"{ARCHIVES}/")]
    if archives:
        found[DOWNLOADS] = Text(downloads_beside(archives))
    return found


def checksums(layout: Layout) -> str:
    """Return what `sha256sum -c` reads, for all files but the record."""
    pairs = {file.path: file.sha256 for file in layout.files}
    pairs |= {path: made.sha256 for path, made in layout.made.items() if not made.link}
    pairs.pop("SHA256SUMS", None)
    return "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(pairs.items()))


def platforms_of(layout: Layout) -> tuple[Platform, ...]:
    """Return the platforms that the layout is complete for."""
    words = dict.fromkeys(platform for platform, _ in layout.about["targets"])
    return tuple(each for word in words for each in platforms_named([word]) or ())


def projects(files: Iterable[Stored]) -> dict[str, list[Stored]]:
    """Return distribution files by the names of their projects, the oldest version first."""
    found: dict[str, list[Stored]] = {}
    for file in files:
        found.setdefault(file.name, []).append(file)
    return {
        name: sorted(found[name], key=lambda file: (Version(file.version), file.path))
        for name in sorted(found)
    }


def _index(layout: Layout) -> Iterator[tuple[str, Text]]:
    named = projects(layout.distributions)
    for name, files in named.items():
        yield f"{SIMPLE}/{name}/{PAGE}", Text(project_page(name, (_link(layout, f) for f in files)))
    yield f"{SIMPLE}/{PAGE}", Text(root_page(named))


def _link(layout: Layout, file: Stored) -> Link:
    facts = layout.facts[file.path]
    path = f"../../{PACKAGES}/{file.file}"
    return Link(path, file.sha256, facts.requires_python, facts.metadata)


def _wrappers(layout: Layout) -> dict[str, Text]:
    """Return the programs of `bin`, for the systems whose uv is there."""
    there = {file.name: file.file for file in layout.files if file.role == UV}
    posix, cmd, ps1 = [], [], []
    for platform in platforms_of(layout):
        program = there.get(f"uv-{uv_triple(platform)}")
        if program is None:
            continue
        if platform.os == "windows":
            machine = _WINDOWS[platform.arch]
            cmd.append(f'if /i "%machine%"=="{machine}" set "program={program}"')
            ps1.append(f"    '{machine}' = '{program}'")
        else:
            machine = _MACHINES.get((platform.os, platform.arch), platform.arch)
            words = f'"{_SYSTEMS[platform.os]} {machine}")'
            posix.append(f"{words} program={program} system={platform.os} ;;")
    found = {}
    for lines, suffix, ending in ((posix, "", ".sh"), (cmd, ".cmd", ".cmd"), (ps1, ".ps1", ".ps1")):
        if not lines:
            continue
        for name in ("uv", "uvx"):
            text = _template(name + ending).replace("@MACHINES@", "\n".join(dict.fromkeys(lines)))
            windows = ending != ".sh"
            text = text.replace("\n", "\r\n") if windows else text
            found[f"{SCRIPTS}/{name}{suffix}"] = Text(text, executable=not windows)
    return found


def _readme(layout: Layout) -> str:
    distributions = layout.distributions
    pythons = [file.version for file in layout.files if file.role == PYTHON]
    programs = [file.version for file in layout.files if file.role == UV]
    words = [str(python) for _, python in layout.about["targets"]]
    filled = {
        "@PLATFORMS@": ", ".join(map(str, platforms_of(layout))),
        "@PYTHONS@": ", ".join(dict.fromkeys(pythons or words)),
        "@UV@": ", ".join(dict.fromkeys(programs)) or "not here",
        "@PACKAGES@": str(len(projects(distributions))),
        "@FILES@": str(len(distributions)),
    }
    text = _template("README.md")
    for mark, value in filled.items():
        text = text.replace(mark, value)
    return text


def _template(name: str) -> str:
    return resources.files("envpack").joinpath("wrappers", name).read_text("utf-8")
