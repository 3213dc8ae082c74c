"""Installs a bundle that somebody unpacked from a zip; `install.cmd` beside it starts this.

    unzipped.py OPENER SHA256 DIR [OPTIONS of install.py]

OPENER is the path of what started it, SHA256 the manifest's. The folder is the user's, and stays as
it is. The files that the manifest names are copied to a folder beside DIR, where `install.py` goes
on. They get modes and links there, which programs that unpack zips keep, lose or turn into text.
Needs Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import secrets
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

if not __package__:  # on the far side
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import install  # type: ignore[import-not-found]
    from holding import holding, sweep  # type: ignore[import-not-found]
    from placing import (  # type: ignore[import-not-found]
        MANIFEST,
        OWN,
        Failed,
        check_files,
        read_manifest,
    )
    from windows import make_links, remove  # type: ignore[import-not-found]
else:
    from envpack.bundled import install
    from envpack.bundled.holding import holding, sweep
    from envpack.bundled.placing import MANIFEST, OWN, Failed, check_files, read_manifest
    from envpack.bundled.windows import make_links, remove

LONGEST = 259
"""Characters of a path on a Windows where nobody allowed longer ones."""


def check_manifest(digest: str, tree: str) -> None:
    """Refuse a manifest that is not the one its opener names; nothing is parsed before."""
    name = f"{OWN}/{MANIFEST}"
    try:
        told = hashlib.sha256(Path(tree, name).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise Failed(f"`{name}` is missing", "unpack all of the zip", code=3) from error
    if told != digest:
        raise Failed(f"`{name}` is not the file that was bundled", code=3)


def check_opener(opener: str, digest: str, manifest: Dict[str, Any]) -> None:
    """Refuse an opener that was changed.

    The manifest has the opener's sha256, for which the place of the manifest's own counts as zeros.
    """
    name = os.path.basename(opener)
    plain = Path(opener).read_bytes().replace(digest.encode(), b"0" * 64, 1)
    if hashlib.sha256(plain).hexdigest() != manifest["openers"].get(name):
        raise Failed(f"`{name}` is not the file that was bundled", code=3)


def copy_files(tree: str, into: str, manifest: Dict[str, Any]) -> None:
    """Copy what the manifest names, with modes and links as they were bundled."""
    for name, told in manifest["files"].items():
        if "link" in told:
            continue
        place = os.path.join(into, *name.split("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            shutil.copyfile(os.path.join(tree, *name.split("/")), place)
        except FileNotFoundError as error:
            raise Failed(f"`{name}` is missing", "unpack all of the zip", code=3) from error
        os.chmod(place, 0o755 if told.get("executable") else 0o644)
    shutil.copyfile(os.path.join(tree, OWN, MANIFEST), os.path.join(into, OWN, MANIFEST))
    make_links(into, manifest["files"])


def longest_path(tree: str, target: str, manifest: Dict[str, Any]) -> str:
    """Return the longest path that there will be below DIR, packages included."""
    names: List[str] = list(manifest["files"])
    site = f"{manifest['root']}/.venv/Lib/site-packages/".replace("./", "", 1)
    for name in list(names):
        if name.startswith(f"{OWN}/wheels/") and name.endswith(".whl"):
            # One that is damaged is refused later.
            with contextlib.suppress(OSError, RuntimeError, ValueError, zipfile.BadZipFile):
                with zipfile.ZipFile(os.path.join(tree, *name.split("/"))) as wheel:
                    names += [site + inside for inside in wheel.namelist()]
    return os.path.join(target, *max(names, key=len).split("/"))


def long_paths_allowed() -> bool:
    """Say whether this Windows was told to allow long paths."""
    if sys.platform == "win32":
        import winreg

        path = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
                return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        except OSError:
            return False
    return True


def warn_of_long_paths(tree: str, target: str, manifest: Dict[str, Any]) -> None:
    """Say on stderr if a path will be longer than Windows takes."""
    if long_paths_allowed():
        return
    path = longest_path(tree, target, manifest)
    if len(path) > LONGEST:
        print(
            f"warning: `{path}` has {len(path)} characters, and this Windows takes {LONGEST}"
            "\nhint: choose a shorter DIR, or allow long paths (LongPathsEnabled)",
            file=sys.stderr,
        )


@contextlib.contextmanager
def beside(target: str) -> Iterator[str]:
    """Give an empty folder beside DIR, removed in the end."""
    above, name = os.path.split(target)
    if not os.path.isdir(above):
        raise Failed(f"the folder `{above}` does not exist", "make it first")
    sweep(above, name)
    part, held = "", False
    try:
        while not held:  # else it was swept as soon as it was made
            part = os.path.join(above, f".{name}.{secrets.token_hex(8)}.part")
            try:
                os.mkdir(part)
            except OSError as error:
                raise Failed(f"the folder `{above}` is not writable: {error.strerror}") from error
            with holding(part) as held:
                if held:
                    yield part
    finally:
        remove(part)


def run(opener: str, digest: str, chosen: argparse.Namespace) -> List[str]:
    """Check what was unpacked, and install it; raises Failed."""
    check_manifest(digest, chosen.tree)
    manifest = read_manifest(chosen.tree)
    check_opener(opener, digest, manifest)
    if chosen.check:
        files = {name: told for name, told in manifest["files"].items() if "link" not in told}
        check_files(chosen.tree, files)
        return [f"{len(manifest['files'])} files are what was bundled"]
    # In a console of Windows, a backslash before the quote makes the quote a part of the path.
    chosen.target = target = os.path.abspath(chosen.target.rstrip('"'))
    install.Installer(target, manifest, None)  # is this machine one that it is for
    if not chosen.uninstall:
        warn_of_long_paths(chosen.tree, target, manifest)
    with beside(target) as part:
        tree = os.path.join(part, "tree")
        copy_files(chosen.tree, tree, manifest)
        chosen.tree = tree
        said: List[str] = install.run(chosen)
        return said


def main(words: Optional[List[str]] = None) -> None:
    """Run what the command line says, and exit."""
    opener, digest, *rest = sys.argv[1:] if words is None else words
    tree = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    chosen = install.parsed([tree, *rest])
    install.finish(lambda: run(opener, digest, chosen))


if __name__ == "__main__":
    main()
