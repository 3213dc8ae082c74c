"""A bundle's files on its far side: whether they are what was bundled, and where they go.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
from typing import Any, Dict, Iterator, List, Optional

if not __package__:  # on the far side
    from containing import leading_out, outside  # type: ignore[import-not-found]
    from holding import holding  # type: ignore[import-not-found]
    from windows import (  # type: ignore[import-not-found]
        WINDOWS,
        remove,
        rename,
        told_of,
    )
else:
    from envpack.bundled.containing import leading_out, outside
    from envpack.bundled.holding import holding
    from envpack.bundled.windows import WINDOWS, remove, rename, told_of

SCHEMA = "envpack.bundle/1"
OWN = ".envpack"
MANIFEST = "bundle.json"
KEPT = ("installed.json", "uv.replaced")
"""What a newer bundle takes over from the one before it (see `owned`)."""
_CHUNK = 1 << 20
_LARGEST = 256 << 20
"""Bytes of a manifest: a million files take less."""
_TOLD = 5


class Failed(Exception):
    """It could not be done; `code` is the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@contextlib.contextmanager
def alone_in(folder: str) -> Iterator[bool]:
    """Hold a folder, and tell whether there is one; raises Failed if another run holds it."""
    if not os.path.isdir(folder):
        yield False
        return
    with holding(folder) as free:
        if not free:
            raise _busy(folder)
        yield True


def _busy(folder: str) -> Failed:
    return Failed(f"another run is at work in `{folder}`", "let it end, and try again")


def sha256(path: str) -> str:
    """Return the digest of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_CHUNK), b""):
            total.update(block)
    return total.hexdigest()


def read_json(path: str) -> Any:
    """Return what a file holds; raises OSError, and ValueError for what is no JSON of that size.

    A pipe in its place is not waited for, and depth is damage too.
    """
    wait = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | wait)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError("it is too large")
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is too deep") from None


def read_manifest(folder: str, name: str = "the bundle") -> Dict[str, Any]:
    """Return what a bundle says of itself; raises Failed if it is none, or of a later schema."""
    path = os.path.join(own_folder(folder), MANIFEST)
    try:
        manifest = read_json(path)
        schema = manifest["schema"]
    except FileNotFoundError:
        raise Failed(f"`{folder}` holds no project of a bundle") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"`{path}` is damaged: {error}") from error
    if schema != SCHEMA:
        raise Failed(
            f"{name} was made by another envpack, {manifest.get('envpack', '?')}:"
            f" its schema is `{schema}`, and this one reads `{SCHEMA}`",
            "take the newer of both; a bundle that is a script brings its own: `sh FILE DIR`",
        )
    try:
        wrong = next(outside(manifest), None)
    except (AttributeError, KeyError, TypeError) as error:
        raise Failed(f"`{path}` is damaged: {error!r}") from error
    if wrong is not None:
        raise Failed(f"`{wrong}` cannot be a file of a bundle", code=3)
    return dict(manifest)


def own_folder(folder: str) -> str:
    """Return the bundle's own folder; one that a killed run had put aside comes back."""
    own = os.path.join(folder, OWN)
    aside = f"{own}.old"
    if os.path.isdir(aside) and not os.path.lexists(own):
        rename(aside, own)
    return own


def differing(folder: str, files: Dict[str, Any]) -> List[str]:
    """Return the files below a folder that are gone or not what the manifest says."""
    found = []
    for name, told in sorted(files.items()):
        path = os.path.join(folder, *name.split("/"))
        try:
            if "link" in told and not WINDOWS:
                same = os.readlink(path) == told["link"]
            elif content := told_of(name, files):
                same = os.path.getsize(path) == content["size"]
                same = same and sha256(path) == content["sha256"]
            else:
                same = os.path.isdir(path)
        except OSError:
            same = False
        if not same:
            found.append(name)
    return found


def digested(text: str) -> str:
    """Return the sha256 of a manifest's text, whose own `digest` counts as zeros."""
    plain = re.sub(r'(?<="digest": ")[0-9a-f]{64}(?=")', "0" * 64, text, count=1)
    return hashlib.sha256(plain.encode()).hexdigest()


def check_files(folder: str, files: Dict[str, Any]) -> None:
    """Refuse a folder in which any of the manifest's files is not what was bundled."""
    wrong = differing(folder, files)
    if wrong:
        raise Failed(f"`{wrong[0]}` is not the file that was bundled{_more(wrong)}", code=3)


def check_tree(folder: str, manifest: Dict[str, Any]) -> None:
    """Refuse a tree in which any file is not what was bundled, or that holds more."""
    path = os.path.join(folder, OWN, MANIFEST)
    with open(path, encoding="utf-8") as file:
        if digested(file.read()) != manifest.get("digest"):
            raise Failed(f"`{OWN}/{MANIFEST}` is not the file that was bundled", code=3)
    check_files(folder, manifest["files"])
    links = [name for name, told in manifest["files"].items() if "link" in told]
    if wrong := leading_out(folder, links):
        raise Failed(f"the link `{wrong[0]}` leads out of the bundle", code=3)
    known = {*manifest["files"], f"{OWN}/{MANIFEST}"}
    for above, folders, names in os.walk(folder):
        for name in (*names, *(n for n in folders if os.path.islink(os.path.join(above, n)))):
            path = _relative(folder, above, name)
            if path not in known:
                raise Failed(f"`{path}` is in the bundle, and was not bundled", code=3)
        folders[:] = [n for n in folders if _relative(folder, above, n) not in known]  # copied link


def _relative(folder: str, above: str, name: str) -> str:
    return os.path.relpath(os.path.join(above, name), folder).replace(os.sep, "/")


def check_script(path: str, manifest: Dict[str, Any]) -> None:
    """Refuse a file whose script or archive is not the one that was written.

    The script names the sha256 of the archive behind it, and the manifest in that archive the
    script's own, for which that name counts as zeros.
    """
    told = manifest["stub"]
    total = hashlib.sha256()
    with open(path, "rb") as file:
        script = file.read(told["size"])
        for block in iter(lambda: file.read(_CHUNK), b""):
            total.update(block)
    found = re.search(rb"^payload=([0-9a-f]{64})$", script, re.MULTILINE)
    named = found.group(1) if found else b"?"
    plain = script.replace(named, b"0" * 64, 1)
    if hashlib.sha256(plain).hexdigest() != told["sha256"] or named.decode() != total.hexdigest():
        raise Failed(f"`{path}` is not the file that was bundled", code=3)


def _more(names: List[str]) -> str:
    return f", nor are {len(names) - 1} more" if len(names) > 1 else ""


def place(
    tree: str, target: str, manifest: Dict[str, Any], sources_to: Optional[str], *, held: bool
) -> None:
    """Bring the tree under its name: by one rename, or into what an earlier bundle made.

    `held` is whether this run has `target`, which was there then.
    One without sources joins those of `target`, if they are what was bundled.
    """
    if manifest.get("joins"):
        _join(tree, target, manifest)
        return
    if not os.path.lexists(target) or (os.path.isdir(target) and not os.listdir(target)):
        try:
            if os.path.isdir(target):
                os.rmdir(target)
            rename(tree, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise _busy(target) from error  # it came, or went, just now
            raise
        return
    if os.path.isdir(target) and not held:
        raise _busy(target)
    if not os.path.isdir(target) or not os.path.isfile(os.path.join(own_folder(target), MANIFEST)):
        raise Failed(f"`{target}` exists and is no project of a bundle", "name another folder")
    before = read_manifest(target, f"`{target}`")
    if before["project"] != manifest["project"]:
        raise Failed(f"`{target}` holds the project `{before['project']}`", "name another folder")
    old, new = sources_of(before), sources_of(manifest)
    edited = set(differing(target, old)) & set(differing(target, {**old, **new}))
    edited -= {name for name in edited if not _there(target, name)}  # what is gone comes back
    edited |= {name for name in new if name not in old and _there(target, name)} & set(
        differing(target, new)
    )
    if edited and not sources_to:
        names = sorted(edited)
        told = ", ".join(f"`{name}`" for name in names[:_TOLD])
        more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
        raise Failed(
            f"in `{target}` these were edited: {told}{more}",
            "--sources-to DIR2 puts the bundle's sources there, and leaves these",
        )
    if sources_to:
        _move_sources(tree, sources_to, new)
    else:
        for name in set(old) - set(new):
            _remove(target, name)
        _move_sources(tree, target, new)
    _replace_own(tree, target)


def _join(tree: str, target: str, manifest: Dict[str, Any]) -> None:
    """Put the bundle's own files beside sources that are there."""
    if not os.path.isdir(target):
        raise Failed(
            "this bundle holds no sources, and DIR must have them",
            f"name a folder with the sources of {manifest['project']}",
        )
    wrong = differing(target, manifest["joins"])
    if wrong:
        raise Failed(
            f"`{os.path.join(target, wrong[0])}` is not what was bundled{_more(wrong)}",
            "this bundle holds no sources: DIR must have those that it was made of",
        )
    new = sources_of(manifest)
    for name in sorted(new, key=len):  # uv.toml, then what it replaces
        path = os.path.join(target, *name.split("/"))
        if not name.endswith("uv.toml") or not os.path.lexists(path):
            continue
        ours = [told for told in (new[name], _earlier(target, name)) if told]
        saved = new.get(f"{name}.before-envpack")
        if saved and not differing(target, {name: saved}):
            os.replace(path, f"{path}.before-envpack")
        elif not any(not differing(target, {name: told}) for told in ours):
            raise Failed(f"`{path}` is not what was bundled", "move it away, or bundle with it")
    _move_sources(tree, target, new)
    _replace_own(tree, target)


def _earlier(target: str, name: str) -> Any:
    """Return what an earlier bundle says of a file."""
    try:
        return read_manifest(target)["files"].get(name)
    except Failed:
        return None


def sources_of(manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Return the files of a manifest that are not in the bundle's own folder."""
    files = manifest["files"]
    return {name: files[name] for name in files if not name.startswith(f"{OWN}/")}


def _there(folder: str, name: str) -> bool:
    return os.path.lexists(os.path.join(folder, *name.split("/")))


def _move_sources(tree: str, target: str, names: Dict[str, Any]) -> None:
    for name in sorted(names):
        path = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(path) and not os.path.islink(path):
            if "link" not in names[name]:
                raise Failed(f"`{path}` is a folder, and a file in the bundle")
            remove(path)  # a link's copy
        os.replace(os.path.join(tree, *name.split("/")), path)


def _remove(target: str, name: str) -> None:
    path = os.path.join(target, *name.split("/"))
    remove(path)
    above = os.path.dirname(path)
    while above != target and not os.listdir(above):
        os.rmdir(above)
        above = os.path.dirname(above)


def _replace_own(tree: str, target: str) -> None:
    """Put the bundle's own folder in the place of the earlier one, and keep what that owns."""
    own, aside = own_folder(target), os.path.join(target, f"{OWN}.old")
    remove(aside)
    if os.path.isdir(own):
        for name in KEPT:
            if os.path.isfile(os.path.join(own, name)):
                shutil.copy2(os.path.join(own, name), os.path.join(tree, OWN, name))
        put_aside(own, aside)
    rename(os.path.join(tree, OWN), own)
    remove(aside)


def put_aside(path: str, aside: str) -> None:
    """Rename what is to be replaced; raises Failed if programs hold it, as they do on Windows."""
    try:
        rename(path, aside)
    except PermissionError as error:
        hint = "end the programs that run from there, and try again"
        raise Failed(f"`{path}` is in use: {error.strerror}", hint) from error
