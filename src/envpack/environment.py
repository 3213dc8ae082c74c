"""A virtual environment as it lies on disk: discovered, never executed.

Sources: PEP 405 (`pyvenv.cfg`, `home`), and what uv and venv write into `bin/activate`.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from envpack import foreign
from envpack.errors import EnvironmentFault, SourceFault, UnsupportedBase
from envpack.interpreter import SHARED, Interpreter, interpreter_at
from envpack.target import target_of

_SCRIPT = 1 << 20
_ANEW = "make it anew: `uv venv --clear` and `uv sync`"
_ACTIVATE_ROOT = re.compile(rb"""^VIRTUAL_ENV=(['"]?)(/[^\n]*?)\1\s*$""", re.MULTILINE)


class Project(NamedTuple):
    """The project an environment was synced for; `version` is None if it is dynamic."""

    root: str
    name: str
    version: str | None


class Environment(NamedTuple):
    """A virtual environment and the interpreter it stands on.

    `root` is absolute and free of links; `spellings` are the other absolute paths by which its
    files may name it. `former` are the paths of the prefix it was made on, where the interpreter is
    another. `user_base` is the prefix of the user site that it sees, "" if it sees none.
    """

    root: str
    spellings: tuple[str, ...]
    interpreter: Interpreter
    system_site: bool
    project: Project | None
    former: tuple[str, ...] = ()
    user_base: str = ""

    @property
    def site_packages(self) -> str:
        """The site-packages directory, relative to the root."""
        return self.interpreter.site_packages


def discover(path: str, python: str | None = None, *, packed: bool = True) -> Environment:
    """Describe the environment at `path`.

    `python` is the real path of an executable to take in place of the one it was made on, which
    may be gone. `packed` says that the interpreter is to be packed too: without, it may be one that
    shares its prefix with others, such as the system's. Raises EnvironmentFault if there is no
    environment, or if it was moved or lost its interpreter, and UnsupportedBase if its interpreter
    is of a kind that is not supported.
    """
    root = os.path.realpath(path)
    if not os.path.isdir(root):
        if os.path.lexists(root):
            raise EnvironmentFault(f"`{path}` is not a directory")
        raise EnvironmentFault(
            f"no environment at `{path}`", hint="run `uv sync` first, or name the environment"
        )
    config = _read_config(root, path)
    implementation = config.get("implementation", "CPython")
    if implementation != "CPython":
        raise UnsupportedBase(
            f"`{path}` is an environment of {implementation}; only CPython is packed",
            hint="make it anew on CPython: `uv sync --managed-python --python cpython`",
        )
    home = config.get("home", "")
    if not home:
        raise EnvironmentFault(
            f"the pyvenv.cfg of `{path}` names no `home`: it is no virtual environment",
            hint="if envpack wrote this folder, copy it or archive it as it is",
        )
    if os.path.isfile(os.path.join(root, "Scripts", "python.exe")) or "\\" in home:
        raise UnsupportedBase(f"`{path}` is a Windows environment; only Linux is packed")
    recorded = _recorded_root(root)
    if recorded is not None and not _same_directory(recorded, root):
        raise EnvironmentFault(f"`{path}` was made at `{recorded}` and then moved", hint=_ANEW)
    version_info = config.get("version_info", config.get("version", ""))
    former: tuple[str, ...] = ()
    if python is None:
        executable = _base_executable(root, home, path)
        interpreter = _interpreter(executable, home, version_info, packed=packed)
    else:
        interpreter = _interpreter(python, os.path.dirname(python), "", packed=packed)
        former = _former(root, home, interpreter)
        _check_replacement(root, home, version_info, interpreter, path)
        if any(os.path.realpath(prefix) != interpreter.prefix for prefix in former):
            interpreter = interpreter._replace(replaces=version_info or "another")
    if not os.path.isdir(os.path.join(root, interpreter.site_packages)):
        raise EnvironmentFault(
            f"`{path}` has no `{interpreter.site_packages}`, though its interpreter is"
            f" Python {interpreter.version}",
            hint=_ANEW,
        )
    spelled = {os.path.abspath(path), recorded or root}
    system_site = config.get("include-system-site-packages", "false").lower() == "true"
    return Environment(
        root=root,
        spellings=tuple(sorted(spelled - {root})),
        interpreter=interpreter,
        system_site=system_site,
        project=_project_of(os.path.dirname(os.path.abspath(path))),
        former=former,
        user_base=_user_base(interpreter) if system_site else "",
    )


def _user_base(interpreter: Interpreter) -> str:
    """Return the prefix of the user site, "" if there is none or Python was told not to look.

    As site.py has it: PYTHONUSERBASE, else `~/.local`; PYTHONNOUSERSITE.
    """
    base = os.path.realpath(os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local"))
    there = os.path.isdir(os.path.join(base, interpreter.site_packages))
    return base if there and not os.environ.get("PYTHONNOUSERSITE") else ""


def _interpreter(executable: str, home: str, version_info: str, *, packed: bool) -> Interpreter:
    try:
        return interpreter_at(executable, home, version_info, packed=packed)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot read the interpreter `{executable}`: {error.strerror}"
        ) from error


def _former(root: str, home: str, interpreter: Interpreter) -> tuple[str, ...]:
    """Return every path of the prefix the environment was made on, be it gone or not."""
    real = os.path.realpath(os.path.join(root, "bin", "python"))
    folders = {home, os.path.realpath(home)}
    if os.path.dirname(real) != os.path.join(root, "bin"):
        folders.add(os.path.dirname(real))
    prefixes = {os.path.dirname(each) if each.endswith("/bin") else each for each in folders}
    return tuple(sorted(prefixes - {interpreter.prefix, *interpreter.spellings} - SHARED))


def _check_replacement(
    root: str, home: str, version_info: str, interpreter: Interpreter, path: str
) -> None:
    """Refuse an interpreter that the environment's modules do not fit."""
    minor = ".".join(version_info.split(".")[:2])
    if minor and minor != interpreter.minor:
        raise EnvironmentFault(
            f"`{path}` was made for Python {minor}, and `{interpreter.prefix}` is Python"
            f" {interpreter.version}",
            hint=f"name another Python {minor}, or make the environment anew on that one",
        )
    try:
        own = target_of(_base_executable(root, home, path))
    except (EnvironmentFault, OSError):  # it is gone, which may be why another is named
        return
    if own is not None and own != interpreter.target:
        raise EnvironmentFault(
            f"`{path}` was made for {own}, and `{interpreter.prefix}` is a Python for"
            f" {interpreter.target}"
        )


def _read_config(root: str, path: str) -> dict[str, str]:
    text = foreign.read_text(os.path.join(root, "pyvenv.cfg"), EnvironmentFault)
    if text is None:
        raise EnvironmentFault(
            f"`{path}` is not a virtual environment: it has no pyvenv.cfg",
            hint="name the environment's folder, such as `.venv`",
        )
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _recorded_root(root: str) -> str | None:
    """Return the place `bin/activate` says the environment was made at, None if it says none."""
    found = _ACTIVATE_ROOT.search(foreign.head_of(os.path.join(root, "bin", "activate"), _SCRIPT))
    if found is None or b"$" in found[2]:
        return None
    return os.fsdecode(found[2].replace(b"'\"'\"'", b"'").replace(b"'\\''", b"'"))


def _same_directory(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def _base_executable(root: str, home: str, path: str) -> str:
    """Return the real path of the interpreter's executable.

    `bin/python` is a chain of links in a POSIX environment; where it is a copy, `home` leads on.
    """
    link = os.path.join(root, "bin", "python")
    real = os.path.realpath(link)
    if os.path.isfile(real) and os.path.dirname(real) != os.path.join(root, "bin"):
        return real
    if os.path.isfile(real):
        for name in ("python3", "python"):
            if os.path.isfile(candidate := os.path.join(home, name)):
                return os.path.realpath(candidate)
    gone = home if home and not os.path.isdir(home) else real
    raise EnvironmentFault(
        f"the interpreter of `{path}` is gone: `{gone}` does not exist", hint=_ANEW
    )


def _project_of(folder: str) -> Project | None:
    try:
        whole = foreign.read_toml(os.path.join(folder, "pyproject.toml"))
    except SourceFault:
        return None
    table = foreign.table_in(whole, "project")
    if not isinstance(table.get("name"), str):
        return None
    version = table.get("version")
    return Project(folder, table["name"], version if isinstance(version, str) else None)
