"""A bundle as a zip: what opens it on Windows, and names that Windows cannot hold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from envpack.bundled.placing import OWN
from envpack.errors import ProjectFault
from envpack.sources import Sources

TREE = "bundle"
"""The folder beside the openers."""

_CMD, _POWERSHELL = "install.cmd", "install.ps1"
_UNKNOWN = "0" * 64
_MACHINES = {
    "AMD64": ("x86_64", "i686"),
    "ARM64": ("aarch64", "x86_64", "i686"),
    "x86": ("i686",),
}
"""Windows' names of machines, and whose programs run there, the best first."""

_IMPOSSIBLE = re.compile(
    r"""[\x00-\x1f<>:"|?*\\]|[. ]$|^(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\.|$)""", re.IGNORECASE
)
"""Source: "Naming Files, Paths, and Namespaces" in Windows' documentation."""


def openers(
    name: str, version: str | None, targets: Sequence[dict[str, Any]], manifest: str
) -> dict[str, bytes]:
    """Return the files beside `TREE`, for the manifest's `targets`; `manifest` is its sha256.

    Raises ProjectFault for names that a batch file cannot hold.
    """
    windows = [target for target in targets if target["system"] == "windows"]
    if not windows:
        return {}
    text = _template(_CMD)
    title = f"{name} {version}" if version else name
    filled = {
        "@TITLE@": title,
        "@NAME@": name,
        "@TREE@": TREE,
        "@PLATFORMS@": ", ".join(dict.fromkeys(target["platform"] for target in targets)),
        "@MACHINES@": "\n".join(_machines(windows)),
        "@PYTHONS@": "\n\n".join("\n".join(_pythons(target)) for target in _each(windows)),
        "@MANIFEST@": manifest,
    }
    paths = [target.get("interpreter", {}).get("path", "") for target in windows]
    for value in (title, *map(os.path.basename, paths)):
        if not value.isascii() or re.search(r"[%!^&|<>\"]", value):
            raise ProjectFault(f"a batch file of Windows cannot hold the name `{value}`")
    for mark, value in filled.items():
        text = text.replace(mark, value)
    return {
        _CMD: text.replace("\n", "\r\n").encode(),
        _POWERSHELL: _template(_POWERSHELL).replace("\n", "\r\n").encode(),
    }


def sums_of_openers(
    name: str, version: str | None, targets: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Return the sha256 of each opener whose place for the manifest's holds zeros."""
    files = openers(name, version, targets, _UNKNOWN)
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def lists_of_pythons(targets: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Return uv's lists of downloads for interpreters that uv does not know, by their paths."""
    return {
        f"{OWN}/python/{_listed(target)}": json.dumps(told["downloads"]).encode()
        for target in targets
        if target["system"] == "windows"
        and (told := target.get("interpreter"))
        and "downloads" in told
    }


def without_impossible(sources: Sources) -> Sources:
    """Leave out what no file on Windows can be called, or what another one is called there."""
    left_out = dict(sources.left_out)
    seen: dict[str, str] = {}
    for name in (*sources.files, *(link for link, _ in sources.links)):
        first = seen.setdefault(name.casefold(), name)
        if any(_IMPOSSIBLE.search(part) for part in name.split("/")):
            left_out[name] = "no file on Windows can have this name"
        elif first != name:
            left_out[name] = f"on Windows it is the same name as `{first}`"
    return dataclasses.replace(
        sources,
        files=tuple(name for name in sources.files if name not in left_out),
        links=tuple(link for link in sources.links if link[0] not in left_out),
        left_out=tuple(sorted(left_out.items())),
        secrets=tuple(name for name in sources.secrets if name not in left_out),
    )


def _template(name: str) -> str:
    return resources.files("envpack.bundled").joinpath(name).read_text("utf-8")


def _each(targets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first target of each machine, as its Python installs all."""
    return list({target["machine"]: target for target in reversed(targets)}.values())[::-1]


def _machines(targets: Sequence[dict[str, Any]]) -> list[str]:
    there = {target["machine"] for target in targets}
    return [
        f'if "%_machine%"=="{name}" goto {best}'
        for name, machines in _MACHINES.items()
        if (best := next((machine for machine in machines if machine in there), None))
    ]


def _pythons(target: dict[str, Any]) -> list[str]:
    """Return the lines that name one machine's uv and Python."""
    lines = [f":{target['machine']}", f'set "_version={target["python"]}"', 'set "_uv=uv"']
    if "uv" in target:
        path = target["uv"].removeprefix(f"{OWN}/").replace("/", "\\")
        lines[-1] = f'set "_uv=%_own%\\{path}"'
    if told := target.get("interpreter"):
        name = os.path.basename(told["path"])
        lines.append(f'set "_key={told["key"]}"')
        lines.append(f'set "_archive={name}"')
        lines.append(f'set "_cached={told.get("cached_as", name)}"')
        if "downloads" in told:
            lines.append(f'set "_listed={_listed(target)}"')
    return [*lines, "goto ask"]


def _listed(target: dict[str, Any]) -> str:
    return f"{target['interpreter']['key']}.json"
