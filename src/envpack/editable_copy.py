"""An editable distribution as real files without a build: the files its hooks map, as they are.

Around them stay what its RECORD names in the environment: metadata, scripts, compiled modules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from envpack.distributions import Distribution
from envpack.editable_hooks import Hooks
from envpack.editable_tree import PROJECT_FILES, files_below, has_modules, is_cache
from envpack.environment import Environment
from envpack.errors import EditableFault
from envpack.foreign import any_text

UNWANTED_INFO = frozenset({"RECORD", "direct_url.json", "uv_build.json", "uv_cache.json"})

# What lies in a project's root beside its packages, and is imported by none of them.
_NOT_SHIPPED = frozenset(
    {
        "benchmark", "benchmarks", "bin", "build", "ci", "conftest", "dist", "doc", "docs",
        "dodo", "example", "examples", "fabfile", "hatch_build", "htmlcov", "noxfile", "scripts",
        "setup", "tasks", "test", "tests", "tools", "toxfile",
    }
)  # fmt: skip
_MODULE = re.compile(r"([A-Za-z_]\w*)(?:\.py|(?:\.[\w-]+)*\.so)")
_PACKAGE = re.compile(r"[A-Za-z_]\w*")
_ENTRY = re.compile(r"^[^#\[=\n]+=\s*([A-Za-z_]\w*)", re.MULTILINE)


def copied_files(
    environment: Environment, distribution: Distribution, hooks: Hooks
) -> dict[str, str]:
    """Return the files of an editable distribution by their names in the archive.

    Raises EditableFault if a directory that a hook maps is gone, SourceFault if one is unreadable.
    """
    files = installed_files(environment, distribution, hooks.files)
    names = known_names(environment, distribution)
    for name, path in mapped_files(environment, hooks, names, distribution.name).items():
        files.setdefault(name, path)
    return files


def installed_files(
    environment: Environment, distribution: Distribution, hooks: Iterable[str]
) -> dict[str, str]:
    """Return what the environment itself holds of a distribution, without `hooks` and RECORD."""
    site, root = environment.site_packages, environment.root
    names = {row.name for row in distribution.rows() if row.name is not None}
    folder = f"{site}/{distribution.info}"
    if os.path.isdir(os.path.join(root, folder)):
        names |= {f"{folder}/{below}" for below, _ in files_below(os.path.join(root, folder))}
    unwanted = {f"{folder}/{name}" for name in UNWANTED_INFO}.union(hooks)
    return {
        name: os.path.join(root, name)
        for name in sorted(names - unwanted)
        if os.path.isfile(os.path.join(root, name)) and "__pycache__" not in name.split("/")
    }


def known_names(environment: Environment, distribution: Distribution) -> tuple[bool, set[str]]:
    """Return the top-level names of a distribution, and whether they are all of them.

    They are all if its metadata has a top_level.txt (setuptools); otherwise they are guessed from
    its name and its entry points.
    """
    info = os.path.join(environment.root, environment.site_packages, distribution.info)
    top_level = any_text(os.path.join(info, "top_level.txt")).split()
    if top_level:
        return True, set(top_level)
    entries = _ENTRY.findall(any_text(os.path.join(info, "entry_points.txt")))
    return False, {re.sub(r"[-.]+", "_", distribution.name), *entries}


def mapped_files(
    environment: Environment, hooks: Hooks, names: tuple[bool, set[str]], owner: str
) -> dict[str, str]:
    """Return the files that the hooks make importable, by their names in the archive.

    `owner` is the distribution's name, for the message of the EditableFault if they are gone.
    """
    site = environment.site_packages
    files: dict[str, str] = {}
    for path in (*hooks.paths, *(path for _, path in (*hooks.modules, *hooks.namespaces))):
        if not path.strip("/"):
            raise EditableFault(
                f"`{owner}` puts `/` on the path, and not all of the disk can be packed",
                hint="take that line out of its `.pth`",
            )
    for module, path in hooks.modules:
        place = f"{site}/{module.replace('.', '/')}"
        _add(files, place, _module_at(path, owner))
    for module, path in hooks.namespaces:
        if os.path.isdir(path):
            _add(files, f"{site}/{module.replace('.', '/')}", path)
    for folder in hooks.paths:
        if not os.path.isdir(folder):
            raise EditableFault(
                f"`{owner}` is installed editable from `{folder}`, which was moved or deleted",
                hint="install it again: `uv sync --reinstall-package " + owner + "`",
            )
        for name, path in importable(folder, names).items():
            _add(files, f"{site}/{name}", path)
    return files


def _module_at(path: str, owner: str) -> str:
    """Return the directory or file of a mapped module, which may be named without its suffix."""
    if os.path.exists(path):
        return path
    if os.path.isfile(path + ".py"):
        return path + ".py"
    folder, stem = os.path.split(path)
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            if name.startswith(stem + ".") and name.endswith(".so"):
                return os.path.join(folder, name)
    raise EditableFault(
        f"`{owner}` is installed editable from `{path}`, which was moved or deleted",
        hint="install it again: `uv sync --reinstall-package " + owner + "`",
    )


def _add(files: dict[str, str], place: str, path: str) -> None:
    """Add a package's directory, or a module's file under the suffix it has on disk."""
    if os.path.isdir(path):
        for below, file in files_below(path):
            files.setdefault(f"{place}/{below}", file)
        return
    file_name = os.path.basename(path)
    folder, stem = os.path.split(place)
    if not stem.endswith((".py", ".so")):
        stem += file_name[file_name.index(".") :]
    files.setdefault(f"{folder}/{stem}", path)


def importable(folder: str, names: tuple[bool, set[str]]) -> Mapping[str, str]:
    """Return what of a directory on sys.path belongs into site-packages: name and path.

    With a top_level.txt that is what it names. Otherwise it is every package and module; where the
    directory is also the project's root, without what only the project's own work needs.
    """
    complete, wanted = names
    at_root = any(os.path.isfile(os.path.join(folder, name)) for name in PROJECT_FILES)
    found: dict[str, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            stem = entry.name if _PACKAGE.fullmatch(entry.name) else ""
            if is_cache(entry.path):
                continue
        else:
            match = _MODULE.fullmatch(entry.name)
            stem = match[1] if match and entry.is_file() else ""
        if not stem or (complete and stem not in wanted):
            continue
        if stem not in wanted:
            if at_root and stem in _NOT_SHIPPED:
                continue
            regular = os.path.isfile(os.path.join(entry.path, "__init__.py"))
            if entry.is_dir() and not regular and (at_root or not has_modules(entry.path)):
                continue
        found[entry.name] = entry.path
    return found
