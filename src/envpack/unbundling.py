"""The `unbundle` command: what a bundle's own script does, for a machine that has envpack."""

from __future__ import annotations

import argparse
import os
import shutil
import tarfile
import zipfile
import zlib
from contextlib import suppress

from envpack.archive.read import Stored, members
from envpack.bundle_tree import END
from envpack.bundled import install
from envpack.bundled.placing import MANIFEST, OWN, Failed, read_manifest
from envpack.bundled.windows import make_links
from envpack.errors import EnvironmentFault, FindingError, OutputFault, ProjectFault
from envpack.model import LinkKind

_HEAD = 64 * 1024
_CHUNK = 1 << 20


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
    _sweep(above, name)
    part = os.path.join(above, f".{name}.{os.getpid()}.part")
    try:
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
        where = error.filename or part
        raise OutputFault(f"cannot write `{where}`: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep(above: str, name: str) -> None:
    """Remove what runs that were killed have left."""
    if os.name == "nt":  # where asking for a process ends it
        return
    for found in os.listdir(above):
        middle = found.removeprefix(f".{name}.").removesuffix(".part")
        if found != f".{name}.{middle}.part" or not middle.isdigit():
            continue
        try:
            if int(middle) != os.getpid():  # one of this number was another's, in a container
                os.kill(int(middle), 0)
                continue
            shutil.rmtree(os.path.join(above, found), ignore_errors=True)
        except (ProcessLookupError, OverflowError):
            shutil.rmtree(os.path.join(above, found), ignore_errors=True)
        except OSError:  # somebody's
            continue


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
    from zstandard import ZstdError  # late: 17 ms that only this needs

    os.mkdir(tree)
    links: list[tuple[str, str]] = []
    root = tree
    try:
        for member in members(path, start):
            own = f"/{OWN}/"
            if root == tree and not member.name.startswith(own[1:]) and own in member.name:
                root = os.path.join(tree, member.name.partition(own)[0])
            place = _place(tree, member)
            if member.link is not None:
                links.append((place, member.link.target))
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "xb") as file:
                shutil.copyfileobj(member.data, file, _CHUNK)
            os.chmod(place, 0o755 if member.mode & 0o100 else 0o644)
            if place == os.path.join(root, OWN, MANIFEST) and not check:
                install.Installer(root, read_manifest(root), None)
    except (
        EOFError,
        RuntimeError,  # an encrypted zip, or one of an unknown method
        ValueError,  # a name that none can have
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        ZstdError,
    ) as error:
        raise DamagedError(f"`{path}` is damaged: {error}") from error
    except OSError as error:
        if error.errno is None:  # gzip's own
            raise DamagedError(f"`{path}` is damaged: {error}") from error
        raise
    for place, text in links:  # after all files, so that none is written through one
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with suppress(FileExistsError):
            os.symlink(text, place)
    return root


def _place(tree: str, member: Stored) -> str:
    parts = member.name.split("/")
    hard = member.link is not None and member.link.kind is LinkKind.HARD
    if member.name.startswith("/") or ".." in parts or "\\" in member.name or hard:
        raise DamagedError(f"`{member.name}` cannot be a file of a bundle")
    return os.path.join(tree, *parts)
