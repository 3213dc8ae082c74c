"""The sources of a project: what travels of its folders, and what stays home."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from envpack import git
from envpack.errors import ProjectFault
from envpack.foreign import head_of
from envpack.secret_files import HEAD, is_secret
from envpack.select import Filter, excluded
from envpack.wheelhouse import RECORD, read_record

# Folders that tools make, and can make again, or that hold more than the sources.
_TOOLS = frozenset({".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", ".envpack"})
_TAG = "CACHEDIR.TAG"
"""Marks folders of caches, https://bford.info/cachedir/"""

_UVS = frozenset({"pyproject.toml", "uv.lock", "uv.toml"})
"""Without these uv does not know the project; what logins they have is looked at elsewhere."""

_HEAD = 1024


@dataclass(frozen=True, slots=True)
class Sources:
    """Files and links below `root`, as sorted relative POSIX paths, and what was left out, and why.

    `left_out` has a sentence's end for each path, such as "may hold secrets". `secrets` are the
    paths that travel although they may hold some.
    """

    root: str
    files: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each of `secrets`."""
        return tuple(f"`{x}` may hold secrets, and goes in as --include says" for x in self.secrets)


def collected(
    folders: Sequence[str],
    *,
    everything: bool = False,
    patterns: Sequence[str] = (),
    always: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Sources:
    """Collect the sources below absolute folders, relative to what they have in common.

    In a git checkout that is what git tracks, and what it would take in; elsewhere, and with
    `everything`, all but the folders of tools and caches. `patterns` are git's pathspecs, relative
    to the first folder, that narrow what git has there; files named `always` travel all the same.
    What may hold secrets stays home unless one of the globs of `include` has its name, below what
    the folders have in common. Links stay links if they lead to something that travels too. Raises
    ProjectFault for submodules that are empty or were changed, and for pathspecs without git, or
    that match nothing.
    """
    first = os.path.realpath(folders[0])
    if patterns and not git.is_repository(first):
        raise ProjectFault(f"`{first}` is no git checkout, so pathspecs mean nothing there")
    tops = _outermost(folders)
    root = common_root(folders)
    files: dict[str, None] = {}
    links: dict[str, str] = {}
    left_out: dict[str, str] = {}
    filters = [Filter(False, glob) for glob in include]
    secret: set[str] = set()
    for top in tops:
        walked = everything or not git.is_repository(top)
        chosen = _chosen(top, patterns, always) if top == first and patterns else None
        for path in chosen or (_walked(top) if walked else _tracked(top)):
            name = os.path.relpath(path, root).replace(os.sep, "/")
            known = os.path.basename(path) in _UVS
            if not known and is_secret(name, partial(head_of, path, HEAD)):
                if excluded(name, filters, out=True):
                    left_out[name] = "it may hold secrets"
                    continue
                secret.add(name)
            if os.path.islink(path):
                links[name] = os.readlink(path)
            elif os.path.isfile(path):
                files[name] = None
            elif os.path.lexists(path):
                left_out[name] = "it is neither a file nor a link"
    _check_names([*files, *links])
    ours = _ours(root, files)
    left_out.update(ours)
    made = tuple(f"{name}/" for name in ours)
    files = {name: None for name in files if not f"{name}/".startswith(made)}
    kept = {}
    travels = _with_folders([*files, *links])
    for name, text in links.items():
        goal = os.path.normpath(os.path.join(os.path.dirname(name), text)).replace(os.sep, "/")
        if os.path.isabs(text) or goal not in travels or not _stays(root, name):
            left_out[name] = "it is a link to something that does not travel"
        else:
            kept[name] = text
    return Sources(
        root=root,
        files=tuple(sorted(files)),
        links=tuple(sorted(kept.items())),
        left_out=tuple(sorted(left_out.items())),
        secrets=tuple(sorted(secret & {*files, *kept})),
    )


def _stays(root: str, name: str) -> bool:
    """Say whether a link ends below `root`, through whatever links it leads."""
    top = os.path.realpath(root)
    try:
        return f"{os.path.realpath(os.path.join(top, name), strict=True)}/".startswith(f"{top}/")
    except OSError:  # it leads to nothing, or in a circle
        return False


def _with_folders(names: Iterable[str]) -> set[str]:
    """Return names, and those of all folders above them."""
    found: set[str] = set()
    for name in names:
        above = name
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            told = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise ProjectFault(f"the name of `{told}` is not UTF-8", hint="rename it") from None


def _ours(root: str, names: Iterable[str]) -> dict[str, str]:
    """Return what envpack made: bundles, and folders of downloads; and that it is so."""
    found = {}
    for name in names:
        above, base = os.path.split(name)
        if base == RECORD and above and _is_download(os.path.join(root, above)):
            found[above] = "it is a download of envpack's"
        elif _is_bundle(os.path.join(root, name)):
            found[name] = "it is a bundle"
    return found


def _is_download(folder: str) -> bool:
    try:
        return read_record(folder) is not None
    except ProjectFault:
        return False


def _is_bundle(path: str) -> bool:
    if not path.endswith(".run"):
        return False
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    return head.startswith(b"#!/bin/sh\n") and b"\npayload=" in head


def common_root(folders: Sequence[str]) -> str:
    """Return the folder that folders have in common."""
    return os.path.commonpath([os.path.realpath(folder) for folder in folders])


def _outermost(folders: Sequence[str]) -> list[str]:
    tops: list[str] = []
    for folder in sorted({os.path.realpath(folder) for folder in folders}, key=len):
        if not any(os.path.commonpath([top, folder]) == top for top in tops):
            tops.append(folder)
    return sorted(tops)


def _chosen(top: str, patterns: Sequence[str], always: Sequence[str]) -> list[str]:
    """Return what pathspecs choose of a checkout, and what must travel."""
    found = list(_tracked(top, patterns))
    if not any(os.path.lexists(path) for path in found):
        words = " ".join(f"`{pattern}`" for pattern in patterns)
        raise ProjectFault(f"nothing in `{top}` is {words}")
    return [*found, *(path for path in always if os.path.isfile(path))]


def _tracked(top: str, patterns: Sequence[str] = ()) -> Iterator[str]:
    """Yield what git knows below a folder, and what it knows of submodules."""
    for name in git.files(top, patterns):
        if ".envpack" in name.split("/"):
            continue  # an earlier bundle's
        path = os.path.join(top, *name.split("/"))
        if os.path.islink(path) or not os.path.isdir(path):
            yield path  # one that was removed and not committed is no file, and passed over
        elif not os.path.lexists(os.path.join(path, ".git")):
            if os.listdir(path):
                yield from _walked(path)
            else:
                raise ProjectFault(
                    f"the submodule `{path}` is empty", hint="run `git submodule update --init`"
                )
        elif git.changes(path):
            raise ProjectFault(
                f"the submodule `{path}` was changed since it was committed",
                hint="commit or undo that",
            )
        else:
            yield from _tracked(path)


def _walked(top: str) -> Iterator[str]:
    """Yield all below a folder but what tools and caches keep there."""
    for above, folders, names in os.walk(top):
        if above != top and _TAG in names:
            folders.clear()
            continue
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        folders[:] = sorted(name for name in folders if name not in _TOOLS and name not in links)
        for name in sorted((*names, *links)):
            yield os.path.join(above, name)
