"""An editable project as a wheel, built by uv from a temporary copy.

All wheels are installed into one temporary environment, so that console scripts and data files are
where uv puts them. A copy has no version control, so backends that ask it for the version
are told the installed one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from envpack import foreign
from envpack.distributions import distributions_in
from envpack.editable_copy import installed_files
from envpack.editable_hooks import lies_in
from envpack.editable_tree import anchor_of, copy_source
from envpack.environment import Environment
from envpack.errors import EditableFault, SourceFault
from envpack.uv import Uv, UvFault

# Who reads what: setuptools-scm and hatch-vcs, vcs-versioning (setuptools-scm 10), pdm-backend,
# poetry-dynamic-versioning, uv-dynamic-versioning, pbr.
_PINS = (
    "SETUPTOOLS_SCM_PRETEND_VERSION",
    "VCS_VERSIONING_PRETEND_VERSION",
    "PDM_BUILD_SCM_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "UV_DYNAMIC_VERSIONING_BYPASS",
    "PBR_VERSION",
)
_PINS_FOR = ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_", "VCS_VERSIONING_PRETEND_VERSION_FOR_")


class Project(NamedTuple):
    """What is to be built: an installed name and version, and the directory they came from.

    `version` is "" where only a build can tell it, and `metadata` is the installed METADATA file,
    "" if there is none.
    """

    name: str
    version: str
    source: str
    metadata: str = ""


class Installed(NamedTuple):
    """A built project as it lies in the temporary environment: names in the archive, and paths."""

    version: str
    info: str
    backend: str
    files: Mapping[str, str]


def pins(name: str, version: str) -> dict[str, str]:
    """Return the variables by which build backends take a version instead of asking git."""
    if not version:
        return {}
    suffix = re.sub(r"[-_.]+", "_", name).upper()
    return dict.fromkeys((*_PINS, *(prefix + suffix for prefix in _PINS_FOR)), version)


def build_wheel(uv: Uv, project: Project, python: str, scratch: str) -> str:
    """Build `project` from a copy in `scratch`, a directory of its own; return the wheel's path.

    First without network, from uv's cache. Raises EditableFault if its directory is gone, UvFault
    if it cannot be built.
    """
    if not os.path.isdir(project.source):
        raise EditableFault(
            f"`{project.name}` is installed editable from `{project.source}`, which was moved"
            " or deleted",
            hint=f"install it again: `uv sync --reinstall-package {project.name}`",
        )
    env = pins(project.name, project.version)
    try:
        return _build(uv, project, python, os.path.join(scratch, "offline"), env, offline=True)
    except UvFault:
        return _build(uv, project, python, os.path.join(scratch, "online"), env, offline=False)


def _build(
    uv: Uv, project: Project, python: str, folder: str, env: Mapping[str, str], *, offline: bool
) -> str:
    table = _pyproject(project.source)
    whole = _builds_with_sources(table, project.source)
    anchor = anchor_of(project.source)
    if whole:
        anchor = _workspace_of(project.source) or anchor
    copy = copy_source(
        project.source,
        anchor,
        os.path.join(folder, "source"),
        name=f"{project.name}-{project.version}",  # versioneer reads the version from it
        whole=whole and anchor != project.source,
    )
    if not project.version and _is_dynamic(table):
        _bring_history(anchor, os.path.join(folder, "source", f"{project.name}-{project.version}"))
    pkg_info = os.path.join(copy, "PKG-INFO")
    if project.metadata and _is_dynamic(table) and not os.path.lexists(pkg_info):
        # By it a backend knows an unpacked sdist, whose version is not git's to tell.
        shutil.copyfile(project.metadata, pkg_info)
    out = os.path.join(folder, "wheel")
    os.makedirs(out)
    return uv.build_wheel(
        copy, out, python=python, offline=offline, env=env, project=project.source
    )


def _bring_history(anchor: str, top: str) -> None:
    """Copy the repository's own folder to a copied tree, for backends that ask it for a version."""
    history = os.path.join(anchor, ".git")
    if os.path.isdir(history):
        shutil.copytree(history, os.path.join(top, ".git"), symlinks=True)


def install_wheels(
    uv: Uv, wheels: Sequence[str], environment: Environment, venv: str
) -> dict[str, Installed]:
    """Install the wheels into a new environment `venv`; return what each became, by name."""
    interpreter = environment.interpreter
    uv.venv(venv, python=os.path.join(interpreter.prefix, interpreter.executable))
    uv.install(venv, wheels)
    site = interpreter.site_packages
    temporary = Environment(venv, (), interpreter, system_site=False, project=None)
    return {
        found.name: Installed(
            version=found.version,
            info=found.info,
            backend=generator(os.path.join(venv, site, found.info)),
            files=installed_files(temporary, found, ()),
        )
        for found in distributions_in(venv, site)
    }


def generator(info: str) -> str:
    """Return who made a wheel, such as "hatchling 1.27.0", from the WHEEL file in `info`."""
    try:
        with open(os.path.join(info, "WHEEL"), encoding="utf-8", errors="replace") as file:
            found = re.search(r"^Generator:\s*(.+?)\s*$", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return re.sub(r"[()]", "", found[1]) if found else ""


def _pyproject(source: str) -> dict[str, Any]:
    try:
        return foreign.read_toml(os.path.join(source, "pyproject.toml")) or {}
    except SourceFault:
        return {}


def _is_dynamic(table: dict[str, Any]) -> bool:
    project = table.get("project")
    dynamic = foreign.table_in(table, "project").get("dynamic")
    return not isinstance(project, dict) or (isinstance(dynamic, list) and "version" in dynamic)


def _builds_with_sources(table: dict[str, Any], source: str) -> bool:
    """Say whether a build requirement is a member of the workspace or another local source.

    Such a name must never be asked of an index, so the build needs the tree around the project.
    """
    workspace = _workspace_of(source)
    tables = [table, _pyproject(workspace) if workspace else {}]
    sources = {
        canonicalize_name(name)
        for each in tables
        for name in foreign.table_in(each, "tool", "uv", "sources")
    }
    return any(name in sources for name in _build_requires(table))


def _build_requires(table: dict[str, Any]) -> list[str]:
    from packaging.requirements import InvalidRequirement, Requirement  # late: 10 ms

    names: list[str] = []
    requires = foreign.table_in(table, "build-system").get("requires")
    for text in requires if isinstance(requires, list) else ():
        try:
            names.append(canonicalize_name(Requirement(text).name))
        except (InvalidRequirement, TypeError):
            continue
    return names


def _workspace_of(source: str) -> str | None:
    """Return the nearest directory from `source` up that declares a uv workspace."""
    folder = source
    while True:
        if "workspace" in foreign.table_in(_pyproject(folder), "tool", "uv"):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder or not lies_in(source, parent):
            return None
        folder = parent
