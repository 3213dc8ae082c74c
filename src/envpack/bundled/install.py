"""Installs a bundle on its far side, with the bundle's own Python and uv, offline.

    install.py TREE DIR [--check] [--python-dir DIR] [--install-uv] [--sources-to DIR]

TREE is a bundle that was unpacked; DIR is where the project goes. Needs Python 3.9 and nothing
else. Exits 0 when all is done, 1 if it could not, 2 for wrong usage, 3 for a finding: a file that
is not what was bundled, before anything is installed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Optional

SCHEMA = "envpack.bundle/1"
OWN = ".envpack"
MANIFEST = "bundle.json"
INSTALLED = "installed.json"
_CHUNK = 1 << 20
_TOLD = 5


class Failed(Exception):
    """It could not be done; `code` is the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def sha256(path: str) -> str:
    """Return the digest of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_CHUNK), b""):
            total.update(block)
    return total.hexdigest()


def read_manifest(folder: str) -> Dict[str, Any]:
    """Return what a bundle says of itself; raises Failed if it is none, or of a later schema."""
    path = os.path.join(folder, OWN, MANIFEST)
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        schema = manifest["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"`{folder}` holds no bundle: {error}") from error
    if schema != SCHEMA:
        raise Failed(
            f"the bundle has the schema `{schema}`, and this installer reads `{SCHEMA}`",
            "unbundle it with the envpack that made it, or a newer one",
        )
    return dict(manifest)


def differing(folder: str, files: Dict[str, Any]) -> List[str]:
    """Return the files below a folder that are gone or not what the manifest says."""
    found = []
    for name, told in sorted(files.items()):
        path = os.path.join(folder, *name.split("/"))
        try:
            if "link" in told:
                same = os.readlink(path) == told["link"]
            else:
                same = os.path.getsize(path) == told["size"] and sha256(path) == told["sha256"]
        except OSError:
            same = False
        if not same:
            found.append(name)
    return found


def check_tree(folder: str, manifest: Dict[str, Any]) -> None:
    """Refuse a tree in which any file is not what was bundled, or that holds more."""
    wrong = differing(folder, manifest["files"])
    if wrong:
        raise Failed(f"`{wrong[0]}` is not the file that was bundled{_more(wrong)}", code=3)
    known = {*manifest["files"], f"{OWN}/{MANIFEST}"}
    for above, folders, names in os.walk(folder):
        for name in (*names, *(n for n in folders if os.path.islink(os.path.join(above, n)))):
            path = os.path.relpath(os.path.join(above, name), folder).replace(os.sep, "/")
            if path not in known:
                raise Failed(f"`{path}` is in the bundle, and was not bundled", code=3)


def _more(names: List[str]) -> str:
    return f", nor are {len(names) - 1} more" if len(names) > 1 else ""


def place(tree: str, target: str, manifest: Dict[str, Any], sources_to: Optional[str]) -> None:
    """Bring the tree under its name: by one rename, or into what an earlier bundle made."""
    if not os.path.lexists(target) or (os.path.isdir(target) and not os.listdir(target)):
        if os.path.isdir(target):
            os.rmdir(target)
        os.rename(tree, target)
        return
    if not os.path.isfile(os.path.join(target, OWN, MANIFEST)):
        raise Failed(f"`{target}` exists and is no project of a bundle", "name another folder")
    before = read_manifest(target)
    if before["project"] != manifest["project"]:
        raise Failed(f"`{target}` holds the project `{before['project']}`", "name another folder")
    old, new = _sources(before), _sources(manifest)
    edited = set(differing(target, old)) & set(differing(target, {**old, **new}))
    edited -= {name for name in edited if not _there(target, name) and name not in new}
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


def _sources(manifest: Dict[str, Any]) -> Dict[str, Any]:
    files = manifest["files"]
    return {name: files[name] for name in files if not name.startswith(f"{OWN}/")}


def _there(folder: str, name: str) -> bool:
    return os.path.lexists(os.path.join(folder, *name.split("/")))


def _move_sources(tree: str, target: str, names: Dict[str, Any]) -> None:
    for name in sorted(names):
        path = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(path) and not os.path.islink(path):
            raise Failed(f"`{path}` is a folder, and a file in the bundle")
        os.replace(os.path.join(tree, *name.split("/")), path)


def _remove(target: str, name: str) -> None:
    path = os.path.join(target, *name.split("/"))
    if os.path.lexists(path):
        os.unlink(path)
    above = os.path.dirname(path)
    while above != target and not os.listdir(above):
        os.rmdir(above)
        above = os.path.dirname(above)


def _replace_own(tree: str, target: str) -> None:
    """Put the bundle's own folder in the place of the earlier one."""
    own, aside = os.path.join(target, OWN), os.path.join(target, f"{OWN}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if os.path.isdir(own):
        os.rename(own, aside)
    os.rename(os.path.join(tree, OWN), own)
    shutil.rmtree(aside, ignore_errors=True)


class Installer:
    """One project in its place: Python, environment, members."""

    def __init__(self, folder: str, manifest: Dict[str, Any], python_dir: Optional[str]) -> None:
        self.manifest = manifest
        self.own = os.path.join(folder, OWN)
        self.root = os.path.normpath(os.path.join(folder, manifest["root"]))
        self.project = os.path.normpath(os.path.join(folder, manifest["directory"]))
        self.venv = os.path.join(self.root, ".venv")
        self.target = self._target()
        self.uv = os.path.join(self.own, "bin", "uv") if "uv" in self.target else "uv"
        kept = {n: t for n, t in os.environ.items() if not n.startswith(("UV_", "PYTHON"))}
        kept.pop("VIRTUAL_ENV", None)
        if "UV_CACHE_DIR" in os.environ:
            kept["UV_CACHE_DIR"] = os.environ["UV_CACHE_DIR"]
        python_dir = python_dir or os.environ.get("UV_PYTHON_INSTALL_DIR")
        if python_dir:
            kept["UV_PYTHON_INSTALL_DIR"] = os.path.abspath(python_dir)
        self.environ = {**kept, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}

    def _target(self) -> Dict[str, Any]:
        """Return what the bundle has for this machine."""
        system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
        machine = platform.machine()
        machine = {"arm64": "aarch64", "AMD64": "x86_64", "amd64": "x86_64"}.get(machine, machine)
        for target in self.manifest["targets"]:
            if (target["system"], target["machine"]) == (system, machine):
                return dict(target)
        has = ", ".join(sorted({target["platform"] for target in self.manifest["targets"]}))
        raise Failed(f"this bundle is for {has}, and this machine is {system}-{machine}")

    def run(self, what: str, words: List[str], **environ: str) -> str:
        """Run uv; raises Failed with its last words."""
        try:
            done = subprocess.run(
                [self.uv, "--color", "never", *words],
                env={**self.environ, **environ},
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise Failed(f"cannot run `{self.uv}`: {error.strerror}") from error
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise Failed(f"cannot {what}: {' '.join(lines[-3:]) or 'uv gave no reason'}")
        return done.stdout

    def install(self) -> None:
        """Install what is not there yet, from uv to the project's own members."""
        self.bring_uv()
        self.python()
        self.environment()
        lock = os.path.join(self.own, "pylock.toml")
        words = ["pip", "sync", "--quiet", "--offline", "--no-config", "--preview-features"]
        words += ["pylock", "--allow-empty-requirements", "--python", self.venv]
        words += ["--find-links", os.path.join(self.own, "wheels")]
        self.run("install the packages", [*words, lock])
        self.mark()
        words = ["sync", "--quiet", "--frozen", "--offline", "--project", self.project]
        self.run("install the project itself", [*words, *self.manifest["sync"]])
        if self._starts(self.interpreter()) is None:
            version = self.target["python"]
            if not self.root.isascii():
                raise Failed(
                    f"the path `{self.root}` is not ASCII, and this locale is not UTF-8:"
                    f" Python {version} cannot start there",
                    "set LC_ALL=C.UTF-8, or choose another folder",
                )
            raise Failed(f"Python {version} does not start in `{self.venv}`")

    def bring_uv(self) -> None:
        """Give this machine's uv the name by which people call it."""
        if "uv" not in self.target:
            return
        source = os.path.join(os.path.dirname(self.own), *self.target["uv"].split("/"))
        if os.name == "nt":
            self.uv += ".exe"
        os.makedirs(os.path.dirname(self.uv), exist_ok=True)
        part = f"{self.uv}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        try:
            os.link(source, part)
        except OSError:  # not on this file system
            shutil.copy2(source, part)
        os.replace(part, self.uv)

    def python(self) -> None:
        """Let uv install the bundle's Python into its own directory."""
        told = self.target.get("interpreter")
        if told is None:
            return
        words = ["python", "install", "--quiet", "--offline", "--no-bin", told["key"]]
        what, environ = f"install Python {told['version']}", {"UV_PYTHON_DOWNLOADS": "manual"}
        if "downloads" not in told:
            self.run(what, words, UV_PYTHON_CACHE_DIR=os.path.join(self.own, "python"), **environ)
            return
        # uv's own list does not know it, and offline uv takes it from its cache alone.
        with tempfile.TemporaryDirectory(dir=self.own) as scratch:
            archive = os.path.join(os.path.dirname(self.own), *told["path"].split("/"))
            os.symlink(archive, os.path.join(scratch, told["cached_as"]))
            listed = Path(scratch, "downloads.json")
            listed.write_text(json.dumps(told["downloads"]), encoding="utf-8")
            words += ["--python-downloads-json-url", listed.as_uri()]
            self.run(what, words, UV_PYTHON_CACHE_DIR=scratch, **environ)

    def environment(self) -> None:
        """Make the environment, unless there is one that works."""
        wanted = self.target["python"]
        if self._starts(self.interpreter()) == wanted:
            return
        words = ["venv", "--quiet", "--offline", "--relocatable", "--clear", "--python", wanted]
        self.run(f"create `{self.venv}`", [*words, "--project", self.project, self.venv])

    def interpreter(self) -> str:
        """Return the path of the environment's Python."""
        parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return os.path.join(self.venv, *parts)

    def _starts(self, interpreter: str) -> Optional[str]:
        """Return the version of an interpreter that starts, such as "3.12"."""
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        words = [interpreter, "-B", "-c", code]
        try:
            done = subprocess.run(
                words, env=self.environ, capture_output=True, encoding="utf-8", check=False
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def mark(self) -> None:
        """Write the direct_url.json by which uv knows git and URL dependencies (PEP 610)."""
        marks = self.target["marks"]
        site = os.path.join(self.venv, "Lib", "site-packages")
        if os.name != "nt":
            site = os.path.join(self.venv, "lib", f"python{self.target['python']}", "site-packages")
        for name in os.listdir(site):
            stem, suffix = os.path.splitext(name)
            if suffix != ".dist-info":
                continue
            value = marks.get(re.sub(r"[-_.]+", "-", stem.split("-")[0]).lower())
            if value is not None:
                _mark(os.path.join(site, name), name, json.dumps(value))


def _mark(info: str, name: str, text: str) -> None:
    """Write direct_url.json and its line of RECORD, in files of their own: uv's are hard links."""
    data = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    own = f"{name}/direct_url.json,"
    record = os.path.join(info, "RECORD")
    with open(record, encoding="utf-8", newline="") as file:
        kept = [line for line in file.read().splitlines() if not line.startswith(own)]
    lines = "\n".join([*kept, f"{own}sha256={digest},{len(data)}"]) + "\n"
    for path, content in ((record, lines), (os.path.join(info, "direct_url.json"), text)):
        with open(f"{path}.part", "w", encoding="utf-8", newline="") as file:
            file.write(content)
        os.replace(f"{path}.part", path)


def install_uv(source: str, home: str) -> Optional[str]:
    """Copy uv to ~/.local/bin, unless one is there; return its path, None if it was left."""
    folder = os.path.join(home, ".local", "bin")
    path = os.path.join(folder, os.path.basename(source))
    if os.path.lexists(path):
        return None
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(source, f"{path}.part")
    os.chmod(f"{path}.part", 0o755)  # noqa: S103 - a program for everybody
    os.replace(f"{path}.part", path)
    return path


def parsed(words: List[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="the bundle", description="Install this project.")
    add = parser.add_argument
    add("tree", help=argparse.SUPPRESS)
    add("target", metavar="DIR")
    add("--check", action="store_true", help="verify every file, and install nothing")
    add("--python-dir", metavar="DIR", help="where Python goes, instead of uv's own directory")
    add("--install-uv", action="store_true", help="also put uv into ~/.local/bin")
    add("--sources-to", metavar="DIR", help="put the sources there, if DIR holds edited ones")
    return parser.parse_args(words)


def run(words: List[str]) -> None:
    """Check, place, install, and say what to type."""
    chosen = parsed(words)
    target = os.path.abspath(chosen.target)
    manifest = read_manifest(chosen.tree)
    check_tree(chosen.tree, manifest)
    if chosen.check:
        print(f"{len(manifest['files'])} files are what was bundled")
        return
    Installer(target, manifest, None)  # is this machine one that it is for
    place(os.path.abspath(chosen.tree), target, manifest, chosen.sources_to)
    installer = Installer(target, manifest, chosen.python_dir)
    installer.install()
    own = installer.uv
    if chosen.install_uv:
        done = install_uv(own, os.path.expanduser("~"))
        own = done or own
        if done is None:
            print("uv was there, and is left: ~/.local/bin/uv", file=sys.stderr)
    print(f"Installed {manifest['project']} in {target}")
    print(f"  cd {_quoted(installer.project)}")
    print(f"  {_quoted(own)} run …")


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def main() -> NoReturn:
    """Run, and exit."""
    try:
        run(sys.argv[1:])
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        print(f"error: {error.filename or 'the disk'}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
