"""The `unbundle` command: what a bundle's own script does, for a machine that has envpack."""

from __future__ import annotations

import argparse
import os
import zipfile

from envpack.archive.read import ArchiveFault, members
from envpack.archive.unpack import Unpacker
from envpack.bundle_tree import END
from envpack.bundled import install
from envpack.bundled.holding import sweep
from envpack.bundled.placing import MANIFEST, OWN, Failed, read_manifest
from envpack.bundled.windows import make_links
from envpack.errors import EnvironmentFault, FindingError, OutputFault, ProjectFault
from envpack.held import beside

_HEAD = 64 * 1024


class DamagedError(FindingError):
    """A bundle is not what was bundled."""


def unbundle(
    bundle: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    check: bool = False,
    python_dir: str | None = None,
    install_uv: bool = False,
    replace_uv: bool = False,
    sources_to: str | None = None,
    uninstall: bool = False,
) -> tuple[str, ...]:
    """Install the project of a bundle in `folder`, offline, and return what to say.

    `check` verifies every file and installs nothing, and `uninstall` removes what was installed.
    `install_uv` puts uv into ~/.local/bin, in the place of a newer one only with `replace_uv`.
    `python_dir` is where Python goes instead of uv's own directory, `sources_to` where the sources
    go if `folder` holds edited ones. Raises DamagedError for a file that is not what was bundled,
    before anything is installed.
    """
    path, target = os.fspath(bundle), os.path.abspath(os.fspath(folder or "bundle"))
    above, name = os.path.split(target)
    if not os.path.isdir(above):
        raise OutputFault(f"the folder `{above}` does not exist", hint="make it first")
    start = _start(path)
    sweep(above, name)
    try:
        with beside(target) as part:
            os.mkdir(part)
            tree = _unpacked(path, start, os.path.join(part, "tree"), check=check)
            if zipfile.is_zipfile(path):
                make_links(tree, read_manifest(tree)["files"])
            words = argparse.Namespace(
                tree=tree,
                target=target,
                run=path if start else None,
                check=check,
                python_dir=python_dir,
                install_uv=install_uv,
                replace_uv=replace_uv,
                uninstall=uninstall,
                sources_to=sources_to,
            )
            return tuple(install.run(words))
    except Failed as failed:
        kind = DamagedError if failed.code == FindingError.exit_code else EnvironmentFault
        raise kind(str(failed), hint=failed.hint or None) from failed
    except OSError as error:
        where = error.filename or target
        raise OutputFault(f"cannot write `{where}`: {error.strerror or error}") from error


def _start(path: str) -> int:
    """Return where the archive begins in a bundle."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ProjectFault(f"cannot read `{path}`: {error.strerror}") from error
    if not head.startswith(b"#!"):
        return 0
    mark = f"\n{END}\n".encode()
    found = head.find(mark)
    if found < 0:
        raise ProjectFault(f"`{path}` is no bundle")
    return found + len(mark)


def _unpacked(path: str, start: int, tree: str, *, check: bool) -> str:
    """Unpack a bundle's archive, and return the folder that holds its manifest.

    That comes first: it says whether this machine is one that the bundle is for.
    """
    root, own = tree, f"/{OWN}/"
    try:
        with Unpacker(path, tree) as unpacker:
            for member in members(path, start):
                unpacker.add(member)
                if root == tree and not member.name.startswith(own[1:]) and own in member.name:
                    root = os.path.join(tree, *member.name.partition(own)[0].split("/"))
                place = os.path.join(tree, *member.name.split("/"))
                if place == os.path.join(root, OWN, MANIFEST) and not check:
                    install.Installer(root, read_manifest(root), None)
    except ArchiveFault as fault:
        raise DamagedError(str(fault), hint=fault.hint) from fault
    return root
