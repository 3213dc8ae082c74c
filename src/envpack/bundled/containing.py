"""What a manifest names lies in its folder: no name and no link leads out of it.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any, Dict, Iterable, Iterator, List

WINDOWS = os.name == "nt"
_OTHERWISE = re.compile(r"[\\:]|[. ]$")
"""What makes another name or place of a part of a path on Windows."""

_FOLLOWED = 40
"""Links that Linux follows for one path."""


def is_inside(name: object) -> bool:
    """Say whether this is a relative path without a way up, as this system reads it."""
    if not isinstance(name, str) or not name or name.startswith("/") or "\0" in name:
        return False
    parts = name.split("/")
    if ".." in parts:
        return False
    return not WINDOWS or not any(_OTHERWISE.search(part) for part in parts if part != ".")


def outside(manifest: Dict[str, Any]) -> Iterator[str]:
    """Yield the names in a manifest that no file of a bundle can have."""
    files = manifest.get("files", {})
    links = {name for name, told in files.items() if "link" in told}
    for name in files:
        parts = name.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))} if links else set()
        text = files[name]["link"] if name in links else "."
        is_text = isinstance(text, str) and text and "\0" not in text
        if not is_inside(name) or not links.isdisjoint(above) or not is_text:
            yield name
    named = [manifest.get("root", "."), manifest.get("directory", "."), *manifest.get("joins", ())]
    for target in manifest.get("targets", ()):
        named += [target["uv"]] if "uv" in target else []
        named += [target["interpreter"]["key"]] if target.get("interpreter") else []
    yield from (str(name) for name in named if not is_inside(name))


def leading_out(folder: str, names: Iterable[str]) -> List[str]:
    """Return the links that lead out of a folder, or in a circle, by what is there on disk."""
    return [name for name in names if not _stays(folder, name.split("/"))]


def _stays(folder: str, parts: List[str]) -> bool:
    """Follow a link part by part, and those it leads through; what is not there is a folder."""
    here: List[str] = []
    left, followed = parts[::-1], 0
    while left:
        part = left.pop()
        if part == "..":
            if not here:
                return False
            here.pop()
        elif part not in {"", "."}:
            path = os.path.join(folder, *here, part)
            try:
                is_link = stat.S_ISLNK(os.lstat(path).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                is_link = False
            except OSError:  # too long to be looked at
                return False
            if not is_link:
                here.append(part)
                continue
            text, followed = os.readlink(path), followed + 1
            if os.path.isabs(text) or followed > _FOLLOWED:
                return False
            left += text.split("/")[::-1]
    return True
