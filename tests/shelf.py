"""Small distributions made by hand, for indexes on this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

WHEN = (1980, 1, 1, 0, 0, 0)


def wheel(
    folder: Path,
    name: str,
    version: str,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
) -> Path:
    """Write a wheel with one module, whose `version` it tells."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{module}.py": f"version = {version!r}\ntag = {tag!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: shelf\nRoot-Is-Purelib: true\n"
        f"Tag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, WHEN), text)
    return target


BACKEND = """
import base64, hashlib, os, sys, sysconfig, zipfile

def _build(folder, tag):
    name = f"{NAME}-{VERSION}-{tag}.whl"
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}.py": "built = True\\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }
    record = "".join(
        f"{path},sha256="
        + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        + f",{len(text)}\\n"
        for path, text in files.items()
    )
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\\n"
    with open("made", "w") as file:
        pass
    mode = os.stat("made").st_mode | os.stat("backend.py").st_mode  # as setuptools takes them over
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            member = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            member.external_attr = mode << 16
            archive.writestr(member, text)
    return name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    if FAIL:
        print("compiling the uncompilable", file=sys.stderr)
        raise SystemExit("this sdist cannot be built")
    tag = "py3-none-any"
    if COMPILED:
        minor = "cp%d%d" % sys.version_info[:2]
        tag = f"{minor}-{minor}-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return _build(folder, tag)

build_editable = build_wheel

def build_sdist(folder, config_settings=None):
    raise SystemExit("no sdist")
"""


def source(
    folder: Path, name: str, version: str, *, compiled: bool = False, fail: bool = False
) -> Path:
    """Write a project with a build backend of its own, which needs nothing else."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    head = f"NAME, VERSION = {module!r}, {version!r}\nCOMPILED, FAIL = {compiled}, {fail}\n"
    (folder / "backend.py").write_text(head + BACKEND)
    return folder


def sdist(
    folder: Path, name: str, version: str, *, compiled: bool = False, fail: bool = False
) -> Path:
    """Write an sdist that builds a pure wheel, one for this machine, or none."""
    module = name.replace("-", "_")
    tree = source(folder / ".trees" / name, name, version, compiled=compiled, fail=fail)
    target = folder / f"{module}-{version}.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        info = tarfile.TarInfo(f"{module}-{version}/PKG-INFO")
        info.size = len(metadata)
        archive.addfile(info, io.BytesIO(metadata))
        for path in sorted(tree.iterdir()):
            archive.add(path, f"{module}-{version}/{path.name}")
    return target
