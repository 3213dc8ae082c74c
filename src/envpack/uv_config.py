"""uv's configuration files and the variables that stand above them: which count, and in what order.

The keys and files are those of uv's documentation: its pages on configuration files, indexes,
authentication and certificates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from envpack.errors import SourceFault, UsageError
from envpack.foreign import read_toml, table_in

Table = Mapping[str, Any]

_YES = frozenset({"1", "on", "t", "true", "y", "yes"})
_NO = frozenset({"", "0", "f", "false", "n", "no", "off"})


@dataclass(frozen=True, slots=True)
class UvConfig:
    """Tables of settings, the stronger first, and the variables `env` that beat them all.

    `project` is the `[tool.uv]` of the project itself, whose indexes uv knows even where its other
    settings do not count. Indexes hold passwords, so nothing of this is in its repr.
    """

    tables: tuple[Table, ...] = field(default=(), repr=False)
    project: Table = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def first(self, *keys: str) -> Any:
        """Return the strongest value of a setting that has several names, None if nobody set it."""
        found = (table[key] for table in self.tables for key in keys if key in table)
        return next(found, None)

    def every(self, key: str) -> Iterator[Any]:
        """Yield the items of a list that all files add to, in order."""
        for table in self.tables:
            value = table.get(key)
            yield from value if isinstance(value, list) else ()

    def flag(self, variables: tuple[str, ...], keys: tuple[str, ...]) -> bool:
        """Say whether a switch is on. Raises UsageError for a variable that says neither."""
        for variable in variables:
            if variable in self.env:
                return is_yes(self.env, variable)
        return self.first(*keys) is True


def is_yes(env: Mapping[str, str], variable: str) -> bool:
    """Say whether a variable is set to something that means yes."""
    value = env.get(variable, "").strip().lower()
    if value not in _YES | _NO:
        raise UsageError(f"`{variable}` is `{env[variable]}`, which is neither true nor false")
    return value in _YES


def read_config(root: str, env: Mapping[str, str]) -> UvConfig:
    """Read uv's settings for the project or workspace at the folder `root`.

    Raises SourceFault for a file that cannot be read or is no TOML.
    """
    project = _tool_table(os.path.join(root, "pyproject.toml")) or {}
    if told := env.get("UV_CONFIG_FILE"):
        table = _table(told)
        if table is None:
            raise SourceFault(f"`{told}`, named by UV_CONFIG_FILE, is not there")
        return UvConfig((table,), project, env)
    if is_yes(env, "UV_NO_CONFIG"):
        return UvConfig((), project, env)
    found = (_nearest(root), _table(_user_file(env)), _system_table(env))
    return UvConfig(tuple(table for table in found if table is not None), project, env)


def home(env: Mapping[str, str]) -> str:
    """Return the user's home folder."""
    return env.get("HOME") or os.path.expanduser("~")


def _nearest(folder: str) -> Table | None:
    """Return the settings of the first folder from here upwards that has any; uv.toml wins."""
    folder = os.path.abspath(folder)
    while True:
        own = _table(os.path.join(folder, "uv.toml"))
        if own is None:
            own = _tool_table(os.path.join(folder, "pyproject.toml"))
        parent = os.path.dirname(folder)
        if own is not None or parent == folder:
            return own
        folder = parent


def _user_file(env: Mapping[str, str]) -> str:
    base = env.get("XDG_CONFIG_HOME") or os.path.join(home(env), ".config")
    return os.path.join(base, "uv", "uv.toml")


def _system_table(env: Mapping[str, str]) -> Table | None:
    folders = [folder for folder in env.get("XDG_CONFIG_DIRS", "").split(":") if folder]
    for folder in [*(folders or ["/etc/xdg"]), "/etc"]:
        table = _table(os.path.join(folder, "uv", "uv.toml"))
        if table is not None:
            return table
    return None


def _tool_table(path: str) -> Table | None:
    tool = table_in(_table(path), "tool")
    return table_in(tool, "uv") if "uv" in tool else None


def _table(path: str) -> Table | None:
    """Return a TOML file's table, None if there is no such file."""
    return read_toml(path)
