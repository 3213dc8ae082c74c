"""What Windows does otherwise with files: links, read-only ones, and those that others have open.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import stat
import time
from typing import Any, Callable, Dict, Optional

if not __package__:  # on the far side
    from containing import is_inside, leading_out  # type: ignore[import-not-found]
else:
    from envpack.bundled.containing import is_inside, leading_out

WINDOWS = os.name == "nt"
_TRIES = 20
_PAUSE = 0.1
"""Seconds: a scanner of viruses holds what was written for about one."""


def rename(source: str, target: str) -> None:
    """Rename, and on Windows wait for those that hold a file below `source`."""
    for left in range(_TRIES if WINDOWS else 0, -1, -1):
        try:
            os.rename(source, target)
        except PermissionError:
            if not left:
                raise
            time.sleep(_PAUSE)
        else:
            return


def remove(path: str) -> None:
    """Remove a file, a link or a folder, also what is read-only; what cannot go stays."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, onerror=_again)
        return
    with contextlib.suppress(OSError):
        try:
            os.unlink(path)
        except PermissionError:
            _again(os.unlink, path, None)


def _again(call: Callable[[str], Any], path: str, _: Any) -> None:
    """Do once more what failed, on a file that may be written now."""
    with contextlib.suppress(OSError):
        if WINDOWS:
            os.chmod(path, stat.S_IWRITE)
            call(path)


def make_links(folder: str, files: Dict[str, Any]) -> None:
    """Make the links of a manifest, on Windows as copies: there not everybody may make links.

    One that leads out of the folder is not there afterwards.
    """
    left = [name for name in files if "link" in files[name] and is_inside(name)]
    for name in left:  # before any link is made, so that none is made in a folder outside
        os.makedirs(os.path.dirname(os.path.join(folder, *name.split("/"))), exist_ok=True)
    if not WINDOWS:
        try:
            for name in left:
                os.symlink(files[name]["link"], os.path.join(folder, *name.split("/")))
        finally:
            for name in leading_out(folder, left):
                os.unlink(os.path.join(folder, *name.split("/")))
        return
    while left:  # a link may lead to another one
        made = [name for name in left if _copy(folder, name, files[name]["link"])]
        if not made:
            return
        left = [name for name in left if name not in made]


def _copy(folder: str, name: str, text: str) -> bool:
    place = os.path.join(folder, *name.split("/"))
    goal = goal_of(name, text)
    if not is_inside(goal) or goal == ".":
        return False
    source = os.path.join(folder, *goal.split("/"))
    if os.path.isfile(source):
        shutil.copyfile(source, place)
    elif os.path.isdir(source) and not f"{name}/".startswith(f"{goal}/"):
        shutil.copytree(source, place)
    return os.path.lexists(place)


def goal_of(name: str, text: str) -> str:
    """Return where a link at `name` leads to, as a POSIX path."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), text))


def with_copies(files: Dict[str, Any]) -> Dict[str, Any]:
    """Return a manifest's files, on Windows with those of a folder's copy instead of its link."""
    if not WINDOWS:
        return files
    found = {}
    for name, told in files.items():
        if told_of(name, files) is not None:
            found[name] = told
            continue
        goal = name
        for _ in files:  # a link may lead to another one
            if goal in files:
                goal = goal_of(goal, files[goal]["link"])
        for inside in files:
            content = told_of(inside, files) if inside.startswith(f"{goal}/") else None
            if content is not None:
                found[name + inside[len(goal) :]] = content
    return found


def told_of(name: str, files: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Return what a manifest tells of the file that a link ends at, None for a folder."""
    told: Dict[str, Any] = files[name]
    for _ in files:
        if "link" not in told:
            return told
        name = goal_of(name, told["link"])
        if name not in files:
            return None
        told = files[name]
    return None
