"""Interpreters: python-build-standalone's, trees shaped like it, uv-managed ones, own builds.

3.9 is the real build of 2022-05-28; 3.12 and 3.13 are shaped from the own builds that pyenv
keeps on this machine, for no newer real one is to be had from a package registry.
"""

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from .cache import build_once, cache_folder
from .missing import MissingMachine
from .shaped import shape
from .tools import call, clean_environment, downloading, linux_x86_64, tool, uv_program

RECIPE = "1"
MINORS = ("3.9", "3.12", "3.13")
BUILDS = {"3.9": "20220528", "3.12": "20240107", "3.13": "20241016"}
REAL = "3.9.13"
NPM_PACKAGE = "@xspect-build/python-linux-x64@3.9.13-install-only.1"
LINKS = {
    "bin/2to3": "2to3-3.9",
    "bin/idle3": "idle3.9",
    "bin/pydoc3": "pydoc3.9",
    "bin/python": "python3.9",
    "bin/python3": "python3.9",
    "bin/python3-config": "python3.9-config",
    "lib/libpython3.9.so": "libpython3.9.so.1.0",
    "lib/pkgconfig/python3.pc": "python-3.9.pc",
    "lib/pkgconfig/python3-embed.pc": "python-3.9-embed.pc",
    "share/man/man1/python3.1": "python3.9.1",
}
EXECUTABLE = (b"#!", b"\x7fELF")


@dataclass(frozen=True)
class Standalone:
    """A standalone interpreter in the cache: its tree, and the archive that uv installs.

    `tree` is the raw `python/` folder, `archive` an `install_only` tar.gz of it. Nothing may
    write into them.
    """

    version: str
    minor: str
    build: str
    tree: Path
    archive: Path

    @property
    def key(self) -> str:
        """Return uv's key of it."""
        return f"cpython-{self.version}-linux-x86_64-gnu"


@dataclass(frozen=True)
class Managed:
    """An interpreter that uv installed: `prefix` is the patch folder, `link` the minor's link."""

    version: str
    minor: str
    install_dir: Path
    prefix: Path
    link: Path

    @property
    def executable(self) -> Path:
        """Return the real interpreter inside `prefix`."""
        return self.prefix / "bin" / f"python{self.minor}"


@dataclass(frozen=True)
class Own:
    """An own build of Python that pyenv made on this machine."""

    version: str
    minor: str
    prefix: Path

    @property
    def executable(self) -> Path:
        """Return the real interpreter inside `prefix`."""
        return self.prefix / "bin" / f"python{self.minor}"


def pyenv(minor: str) -> Own:
    """Return pyenv's newest build of a minor version; raise `MissingMachine` without one."""
    top = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = {
        tuple(int(part) for part in path.name.split(".")): path
        for path in top.glob(f"{minor}.*")
        if path.name.replace(".", "").isdigit() and (path / f"bin/python{minor}").is_file()
    }
    if not found:
        raise MissingMachine(f"pyenv has no Python {minor} on this machine")
    prefix = found[max(found)]
    return Own(prefix.name, minor, prefix)


def standalone(minor: str) -> Standalone:
    """Return the standalone interpreter of a minor version: 3.9 real, 3.12 and 3.13 shaped."""
    linux_x86_64()
    build = BUILDS[minor]
    version = REAL if minor == "3.9" else pyenv(minor).version
    name = f"cpython-{version}+{build}-x86_64-unknown-linux-gnu-install_only.tar.gz"

    def make(to: Path) -> None:
        if minor == "3.9":
            _real(to / "python")
        else:
            shape(pyenv(minor).prefix, minor, to / "python")
        archive_tree(to / "python", to / name)

    folder = build_once(f"standalone-{version}-{RECIPE}", make)
    return Standalone(version, minor, build, folder / "python", folder / name)


def _real(to: Path) -> None:
    """Put the real 3.9.13 tree in place, with the exec bits and links that npm dropped."""
    with TemporaryDirectory(dir=to.parent) as folder:
        with downloading(f"python-build-standalone {REAL}"):
            call([tool("npm"), "pack", "--silent", NPM_PACKAGE], cwd=Path(folder))
        package = next(Path(folder).glob("*.tgz"))
        call([tool("tar"), "-x", "--no-same-owner", "-f", package, "-C", folder])
        (Path(folder) / "package/python").rename(to)
    for where, _, files in os.walk(to):
        for file in files:
            path = os.path.join(where, file)
            with open(path, "rb") as opened:
                start = opened.read(4)
            os.chmod(path, 0o755 if start.startswith(EXECUTABLE) else 0o644)
    for link, target in LINKS.items():
        (to / link).unlink(missing_ok=True)
        (to / link).symlink_to(target)


def archive_tree(tree: Path, to: Path) -> None:
    """Write a tree as tar.gz with the top folder `python`, sorted, owned by root."""

    def neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with (
        gzip.open(to, "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.add(tree, "python", filter=neutral)


def downloads_json(interpreters: Sequence[Standalone]) -> str:
    """Return uv's list of downloads, with these interpreters' local archives alone."""
    listed = {}
    for one in interpreters:
        major, minor, patch = one.version.split(".")
        with open(one.archive, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        listed[one.key] = {
            "name": "cpython",
            "arch": {"family": "x86_64", "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": int(major),
            "minor": int(minor),
            "patch": int(patch),
            "prerelease": "",
            "url": "file://" + quote(str(one.archive)),
            "sha256": digest,
            "variant": None,
            "build": one.build,
        }
    return json.dumps(listed, indent=1)


def uv_environment(install_dir: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which uv knows the Pythons of one install folder only.

    Its cache is the lab's own, so packages are downloaded once.
    """
    return clean_environment(
        {
            "UV_CACHE_DIR": str(cache_folder() / "uv"),
            "UV_PYTHON_INSTALL_DIR": str(install_dir),
            "UV_PYTHON_INSTALL_BIN": "0",
            "UV_PYTHON_DOWNLOADS": "manual",
            "UV_MANAGED_PYTHON": "1",
            "UV_NO_PROGRESS": "1",
            **(extra or {}),
        }
    )


def managed(install_dir: Path, minors: Sequence[str] = MINORS) -> dict[str, Managed]:
    """Let uv install standalone interpreters into a folder, offline; return them by minor."""
    sources = [standalone(minor) for minor in minors]
    uv = uv_program()
    install_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        downloads = Path(folder) / "downloads.json"
        downloads.write_text(downloads_json(sources), encoding="utf-8")
        env = uv_environment(
            install_dir,
            {"UV_PYTHON_DOWNLOADS_JSON_URL": downloads.as_uri(), "UV_OFFLINE": "1"},
        )
        call([uv, "python", "install", *(one.version for one in sources)], env=env)
    found = {}
    for one in sources:
        link = install_dir / f"cpython-{one.minor}-linux-x86_64-gnu"
        found[one.minor] = Managed(one.version, one.minor, install_dir, install_dir / one.key, link)
    return found
