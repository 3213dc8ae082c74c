"""Small made-up interpreters and environments, so that most tests need no real Python."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def elf(*, interp: bytes = b"/lib64/ld-linux-x86-64.so.2\0", machine: int = 62) -> bytes:
    """Return a 64-bit little-endian ELF header with one PT_INTERP segment and no more."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    offset = 64 + 56
    program = struct.pack("<IIQQQQQQ", 3, 4, offset, 0, 0, len(interp), len(interp), 1)
    return ident + header + program + interp


@dataclass(frozen=True)
class FakeEnvironment:
    """A made-up environment: its project's folder, its own, and its interpreter's prefix."""

    project: Path
    root: Path
    prefix: Path
    site: Path

    def add(self, name: str, text: str | bytes = "", *, mode: int = 0o644) -> Path:
        """Write a file below the environment's root."""
        return write(self.root / name, text, mode)

    def install(
        self,
        name: str,
        version: str,
        files: Mapping[str, str | bytes],
        *,
        direct_url: Mapping[str, object] | None = None,
        folder: Path | None = None,
    ) -> Path:
        """Install a distribution as uv would; names are relative to site-packages."""
        return install(folder or self.site, name, version, files, direct_url)


def write(path: Path, text: str | bytes = "", mode: int = 0o644) -> Path:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def install(
    site: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    direct_url: Mapping[str, object] | None = None,
) -> Path:
    """Write a distribution's files, metadata and RECORD into `site`; return its dist-info."""
    info = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/INSTALLER": "uv",
    }
    if direct_url is not None:
        everything[f"{info}/direct_url.json"] = json.dumps(direct_url)
    lines = []
    for path, text in everything.items():
        data = text.encode() if isinstance(text, str) else text
        write(site / path, data, 0o755 if "/bin/" in path else 0o644)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        quoted = f'"{path}"' if "," in path else path
        lines.append(f"{quoted},sha256={digest},{len(data)}\n")
    write(site / info / "RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    return site / info


def make_prefix(prefix: Path, version: str = "3.12.1", *, recorded: str | None = None) -> Path:
    """Make a made-up CPython of the shape of python-build-standalone, as uv installs it."""
    minor = version.rpartition(".")[0]
    lib = prefix / "lib" / f"python{minor}"
    where = recorded or str(prefix)
    write(prefix / f"bin/python{minor}", elf(), 0o755)
    for alias in ("python", "python3"):
        (prefix / "bin" / alias).symlink_to(f"python{minor}")
    write(prefix / f"bin/pydoc{minor}", f"#!{where}/bin/python{minor}\nimport pydoc\n", 0o755)
    (prefix / "bin/pydoc3").symlink_to(f"pydoc{minor}")
    write(prefix / f"lib/libpython{minor}.so.1.0", elf() + bytes(100), 0o755)
    (prefix / f"lib/libpython{minor}.so").symlink_to(f"libpython{minor}.so.1.0")
    write(lib / "os.py", "# os\n")
    write(lib / "__pycache__/os.cpython-312.pyc", b"\0")
    write(lib / "EXTERNALLY-MANAGED", "[externally-managed]\n")
    write(
        lib / "_sysconfigdata__linux_x86_64-linux-gnu.py",
        "# system configuration generated and used by the sysconfig module\n"
        f"build_time_vars = {{'prefix': '{where}',\n 'LIBDIR': '{where}/lib',\n"
        " 'INSTALL': '/usr/bin/install -c', 'Py_DEBUG': 0}\n",
    )
    write(lib / f"config-{minor}-x86_64-linux-gnu/Makefile", f"prefix={where}\n")
    write(lib / f"config-{minor}-x86_64-linux-gnu/python.o", b"\x7fELF")
    write(lib / f"config-{minor}-x86_64-linux-gnu/libpython{minor}.a", b"!<arch>\n")
    write(prefix / f"lib/pkgconfig/python-{minor}.pc", f"prefix={where}\nlibdir=${{prefix}}/lib\n")
    write(prefix / f"include/python{minor}/patchlevel.h", f'#define PY_VERSION      "{version}"\n')
    write(prefix / "BUILD", "20240107")
    script = f"#!{where}/bin/python{minor}\nfrom pip import main\n"
    install(lib / "site-packages", "pip", "23.2.1", {"pip.py": "", "../../../bin/pip3": script})
    return prefix


def make_environment(
    folder: Path, *, system_site: bool = False, version: str = "3.12.1", name: str = ".venv"
) -> FakeEnvironment:
    """Make a project folder with a made-up environment, on a made-up managed interpreter."""
    minor = version.rpartition(".")[0]
    pythons = folder / "pythons"
    prefix = pythons / f"cpython-{version}-linux-x86_64-gnu"
    if not prefix.exists():
        make_prefix(prefix, version)
        (pythons / f"cpython-{minor}-linux-x86_64-gnu").symlink_to(prefix)
    home = pythons / f"cpython-{minor}-linux-x86_64-gnu" / "bin"
    project = folder / "project"
    root = project / name
    site = root / f"lib/python{minor}/site-packages"
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to(home / f"python{minor}")
    for alias in ("python3", f"python{minor}"):
        (root / "bin" / alias).symlink_to("python")
    (root / "lib64").symlink_to("lib")
    write(root / "bin/activate", f"VIRTUAL_ENV='{root}'\n")
    write(root / "bin/activate.csh", f"setenv VIRTUAL_ENV '{root}'\n")
    write(root / ".lock")
    write(root / "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
    write(root / ".gitignore", "*")
    write(
        root / "pyvenv.cfg",
        f"home = {home}\nimplementation = CPython\nuv = 0.13.8\nversion_info = {version}\n"
        f"include-system-site-packages = {str(system_site).lower()}\nprompt = a=b\n",
    )
    write(project / "pyproject.toml", '[project]\nname = "My_Shop"\nversion = "1.2"\n')
    return FakeEnvironment(project, root, prefix, site)
