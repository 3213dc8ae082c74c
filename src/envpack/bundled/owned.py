"""What a bundle installed outside of DIR, and who else uses it: so that it can be taken back.

`.envpack/installed.json` in DIR has the Python and the uv that are this bundle's. A Python that a
bundle installed has a `.envpack.json` that names the folders of all bundles that use it.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
from typing import Any, Dict, List, Optional, Set, Tuple

if not __package__:  # on the far side
    from holding import waited_for  # type: ignore[import-not-found]
    from placing import KEPT, OWN, read_json, sha256  # type: ignore[import-not-found]
else:
    from envpack.bundled.holding import waited_for
    from envpack.bundled.placing import KEPT, OWN, read_json, sha256

STATE, REPLACED = KEPT
"""The record, and the uv that this bundle's took the place of."""

_SCHEMA = "envpack.installed/1"
_USERS = ".envpack.json"
_USERS_SCHEMA = "envpack.python/1"
_NEEDED = {_SCHEMA: {"id"}, _USERS_SCHEMA: {"users"}}
_TABLES: Dict[str, Set[str]] = {"python": {"dir", "key"}, "uv": {"path", "sha256"}, "users": set()}
"""Tables of texts, and what each must have; `made` is a list of texts, and all else are texts."""


class Owned:
    """What DIR's bundle has outside of DIR."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, OWN, STATE)
        self.told = _read(self.path, _SCHEMA) or {
            "schema": _SCHEMA,
            "id": secrets.token_hex(8),
            "folder": folder,
        }

    def save(self) -> None:
        """Write it down."""
        self.told["folder"] = self.folder
        _write(self.path, self.told)

    # ---- Python ------------------------------------------------------------------------------

    def intend(self, python_dir: str, key: str) -> None:
        """Note that a Python is about to be installed, if it is not there."""
        place = os.path.join(python_dir, key)
        if not os.path.isdir(place):
            self.told["python"] = {"dir": python_dir, "key": key}
        elif self.told.get("python") != {"dir": python_dir, "key": key}:
            if _read(os.path.join(place, _USERS), _USERS_SCHEMA) is None:
                self.told.pop("python", None)  # somebody else's, and never to be removed
            else:
                self.told["python"] = {"dir": python_dir, "key": key}
        self.save()

    def claim(self) -> None:
        """Sign the Python, if it is a bundle's."""
        python = self.told.get("python")
        if python is None:
            return
        path = os.path.join(python["dir"], python["key"], _USERS)
        with waited_for(os.path.dirname(path)):
            users = _read(path, _USERS_SCHEMA) or {"schema": _USERS_SCHEMA, "users": {}}
            users["users"][self.told["id"]] = self.folder
            with contextlib.suppress(OSError):  # one that this user cannot write is not theirs
                _write(path, users)

    def release(self) -> Tuple[Optional[Tuple[str, str]], str]:
        """Take the name off the Python; return (dir, key) if nobody uses it, and what to say."""
        python = self.told.get("python")
        if python is None:
            return None, ""
        place = os.path.join(python["dir"], python["key"])
        with waited_for(place):
            return self._released(python, place)

    def _released(
        self, python: Dict[str, str], place: str
    ) -> Tuple[Optional[Tuple[str, str]], str]:
        path = os.path.join(place, _USERS)
        users = _read(path, _USERS_SCHEMA)
        if users is None:
            return None, ""
        users["users"].pop(self.told["id"], None)
        others = sorted(users["users"].values())
        if not others:
            return (python["dir"], python["key"]), ""
        try:
            _write(path, users)
        except OSError as error:
            return None, f"Python stays, as `{path}` cannot be written: {error.strerror}"
        gone = [folder for folder in others if not os.path.isdir(os.path.join(folder, OWN))]
        if len(gone) == len(others):
            return None, f"Python stays: `{gone[0]}` used it, and may have moved; it is `{place}`"
        left = next(folder for folder in others if folder not in gone)
        return None, f"Python stays, as `{left}` uses it"

    # ---- uv ----------------------------------------------------------------------------------

    def install_uv(self, source: str, home: str, *, replace: bool) -> Tuple[Optional[str], str]:
        """Copy uv to ~/.local/bin; return its path if it is there now, and what to say.

        An older uv is kept aside until the bundle is uninstalled; a newer one, or one that does
        not tell its version, is replaced only with `replace`.
        """
        path = os.path.join(home, ".local", "bin", os.path.basename(source))
        said = f"uv is {path}"
        if os.path.lexists(path):
            own, found = version_of(source), version_of(path)
            if os.path.isfile(path) and sha256(path) == sha256(source):
                return path, ""
            if found == own:
                return path, f"uv {own} was there: {path}"
            if not replace and (not found or _numbers(found) > _numbers(own)):
                what = f"a newer uv {found}" if found else "a uv that does not tell its version"
                return None, f"{path} is {what}, and is left; --replace-uv replaces it by {own}"
            said = f"uv {found or '?'} was {path}, and is {own} now"
            kept = os.path.join(self.folder, OWN, REPLACED)
            mine = self.told.get("uv", {})
            if mine.get("path") != path or mine.get("sha256") != sha256(path):
                _remove(kept)
                shutil.copy2(path, kept, follow_symlinks=True)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.told["uv"] = {"path": path, "sha256": sha256(source)}
        self.save()
        part = f"{path}.part"
        _remove(part)
        shutil.copyfile(source, part)
        os.chmod(part, 0o755)  # noqa: S103 - a program for everybody
        os.replace(part, path)
        return path, said

    def remove_uv(self) -> str:
        """Take uv out of ~/.local/bin, if it is this bundle's; return what to say."""
        uv = self.told.get("uv")
        if uv is None or not os.path.isfile(uv["path"]):
            return ""
        if sha256(uv["path"]) != uv["sha256"]:
            return f"{uv['path']} is another uv by now, and is left"
        kept = os.path.join(self.folder, OWN, REPLACED)
        if os.path.isfile(kept):
            part = f"{uv['path']}.part"
            shutil.copy2(kept, part)
            os.replace(part, uv["path"])
            return f"{uv['path']} is what it was before"
        os.unlink(uv["path"])
        return f"Removed {uv['path']}"


def version_of(uv: str) -> str:
    """Return the version that a uv tells, such as "0.13.8"; "" if it tells none."""
    try:
        done = subprocess.run(
            [uv, "--version"], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError:
        return ""
    words = done.stdout.split()
    good = done.returncode == 0 and len(words) > 1 and words[0] == "uv"
    return words[1] if good and _numbers(words[1]) else ""


def _numbers(version: str) -> List[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _read(path: str, schema: str) -> Optional[Dict[str, Any]]:
    """Return what was written down, None if there is nothing, or what nobody here wrote."""
    try:
        told = read_json(path)
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and _fits(told, schema) else None


def _fits(told: Dict[Any, Any], schema: str) -> bool:
    if told.get("schema") != schema or not _NEEDED[schema] <= told.keys():
        return False
    made = told.get("made", [])
    if not isinstance(made, list):
        return False
    tables = [(value, needed) for name, needed in _TABLES.items() if (value := told.get(name))]
    texts = [value for name, value in told.items() if name not in {"made", *_TABLES}] + made
    for value, needed in tables:
        if not isinstance(value, dict) or not needed <= value.keys():
            return False
        texts += value.values()
    return all(isinstance(text, str) for text in texts)


def _write(path: str, told: Dict[str, Any]) -> None:
    part = f"{path}.part"  # one name, as the folder is held: what a killed run left is written over
    with open(part, "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
    os.replace(part, path)
