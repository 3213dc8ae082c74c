"""What the hooks of an editable install map: read as text, never imported.

Forms: a `.pth` with directories (hatchling, uv_build, flit, poetry, pdm, setuptools on a `src`
layout), setuptools' finder (MAPPING, NAMESPACES), the `editables` redirector. Everything else that
a `.pth` imports (meson-python's and scikit-build-core's loaders) works at import time, on the build
machine, and can only be replaced by a build. Source: site.py's `addpackage`, PEP 660.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from envpack import foreign
from envpack.distributions import Distribution
from envpack.environment import Environment
from envpack.errors import SourceFault

_IMPORTED = re.compile(r"import[ \t]+([A-Za-z_]\w*)")


class Pth(NamedTuple):
    """A `.pth` file: the lines that site.py runs or skips, and the directories it adds."""

    harmless: tuple[str, ...]
    imports: tuple[str, ...]
    paths: tuple[str, ...]


class Hooks(NamedTuple):
    """What an editable install puts in the way of imports.

    `paths` are directories for sys.path; `modules` maps dotted names to a package's directory or
    a module's file, `namespaces` to the directories of a namespace package. `files` are the hooks'
    names relative to the environment. `opaque` names a hook that only a build can replace.
    """

    paths: tuple[str, ...] = ()
    modules: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    opaque: str = ""


def read_pth(path: str) -> Pth:
    """Read a `.pth` file as site.py does; paths come back absolute and normalised."""
    folder = os.path.dirname(path)
    harmless, imports, paths = [], [], []
    for line in read_text(path).splitlines():
        if not line.strip() or line.startswith("#"):
            harmless.append(line)
        elif line.startswith(("import ", "import\t")):
            imports.append(line)
            harmless.append(line)
        else:
            paths.append(os.path.normpath(os.path.join(folder, line.rstrip())))
    return Pth(tuple(harmless), tuple(imports), tuple(paths))


def hooks_of(environment: Environment, distribution: Distribution) -> Hooks:
    """Find the hooks of an editable distribution through its RECORD, and what they map."""
    site = environment.site_packages
    folder = os.path.join(environment.root, site)
    paths: list[str] = []
    modules: dict[str, str] = {}
    namespaces: list[tuple[str, str]] = []
    files: list[str] = []
    opaque = ""
    for row in distribution.rows():
        if row.name is None or os.path.dirname(row.name) != site or not row.name.endswith(".pth"):
            continue
        pth = os.path.join(environment.root, row.name)
        if row.name.endswith("-nspkg.pth") or not os.path.isfile(pth):
            continue
        files.append(row.name)
        read = read_pth(pth)
        paths += read.paths
        for line in read.imports:
            for module in dict.fromkeys(_IMPORTED.findall(line)):
                found = _read_finder(os.path.join(folder, f"{module}.py"))
                if found is None:
                    opaque = opaque or os.path.basename(row.name)
                    continue
                modules |= found[0]
                namespaces += found[1]
                files.append(f"{site}/{module}.py")
    return Hooks(
        paths=tuple(dict.fromkeys(paths)),
        modules=tuple(sorted(modules.items())),
        namespaces=tuple(sorted(set(namespaces))),
        files=tuple(sorted(set(files))),
        opaque=opaque,
    )


def _read_finder(path: str) -> tuple[dict[str, str], list[tuple[str, str]]] | None:
    """Read the mapping of setuptools' finder or of the `editables` redirector, None of others."""
    if not os.path.isfile(path):
        return None
    try:
        with foreign.described(path, "no module"):
            return _mapping(ast.parse(read_text(path)))
    except SourceFault:  # then only a build can replace it
        return None


def _mapping(tree: ast.Module) -> tuple[dict[str, str], list[tuple[str, str]]] | None:
    """Return what the tables of a finder map, and its namespaces; None if it has none."""
    tables: dict[str, object] = {}
    mapped: dict[str, str] = {}
    for node in tree.body:
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id="MAPPING" | "NAMESPACES" as name), value=value)
                | ast.Assign(targets=[ast.Name(id="MAPPING" | "NAMESPACES" as name)], value=value)
            ) if value is not None:
                tables[name] = ast.literal_eval(value)
            case ast.Expr(
                ast.Call(
                    func=ast.Attribute(attr="map_module"),
                    args=[ast.Constant(value=str(module)), ast.Constant(value=str(target))],
                )
            ):
                mapped[module] = target.removesuffix("/__init__.py")
            case _:
                pass
    mapping, spaces = tables.get("MAPPING", mapped), tables.get("NAMESPACES", {})
    if not isinstance(mapping, dict) or not isinstance(spaces, dict) or not (mapping or spaces):
        return None
    pairs = [(str(name), str(place)) for name, places in spaces.items() for place in places]
    return {str(name): str(place) for name, place in mapping.items()}, pairs


def source_of(distribution: Distribution) -> str | None:
    """Return the directory that direct_url.json names (PEP 610), None if it names none."""
    url = (distribution.direct_url or {}).get("url")
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        path = unquote(parts.path)
        os.fsencode(path)
    except ValueError:
        return None
    if parts.scheme != "file" or "\0" in path:
        return None
    inner = (distribution.direct_url or {}).get("subdirectory")
    return os.path.normpath(os.path.join(path, inner) if isinstance(inner, str) else path)


class EggLink(NamedTuple):
    """A `setup.py develop` install: `.egg-link` names the code's directory and the project's."""

    name: str
    version: str
    file: str
    code: str
    source: str


def egg_links(environment: Environment) -> tuple[EggLink, ...]:
    """Read the `.egg-link` files of the environment, sorted by name."""
    folder = os.path.join(environment.root, environment.site_packages)
    found = []
    for entry in sorted(os.listdir(folder)):
        if not entry.endswith(".egg-link"):
            continue
        lines = [line.strip() for line in read_text(os.path.join(folder, entry)).splitlines()]
        code = lines[0] if lines else ""
        source = os.path.normpath(os.path.join(code, lines[1] if len(lines) > 1 else "."))
        stem = entry.removesuffix(".egg-link")
        found.append(
            EggLink(
                name=re.sub(r"[-_.]+", "-", stem).lower(),
                version=_egg_version(code, stem),
                file=f"{environment.site_packages}/{entry}",
                code=os.path.normpath(code),
                source=source,
            )
        )
    return tuple(found)


def _egg_version(code: str, stem: str) -> str:
    """Read the version from the PKG-INFO that `setup.py develop` left beside the code."""
    for spelled in dict.fromkeys((stem, re.sub(r"[-.]+", "_", stem))):
        path = os.path.join(code, f"{spelled}.egg-info", "PKG-INFO")
        if os.path.isfile(path):
            version = re.search(r"^Version:\s*(\S+)", read_text(path), re.MULTILINE)
            return version[1] if version else ""
    return ""


def outside(environment: Environment, paths: Iterable[str]) -> list[str]:
    """Return those of `paths` that lie neither in the environment nor in its interpreter."""
    roots = (environment.root, *environment.spellings, *environment.interpreter.places)
    return [path for path in paths if not any(lies_in(path, root) for root in roots)]


def lies_in(path: str, root: str) -> bool:
    """Say whether the normalised `path` is `root` or lies below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def read_text(path: str) -> str:
    """Read a small text file of the environment; raises SourceFault if that fails."""
    text = foreign.read_text(path, encoding="utf-8-sig", errors="surrogateescape")
    if text is None:
        raise SourceFault(f"cannot read `{path}`: there is no such file")
    return text
