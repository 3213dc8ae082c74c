"""Installs a bundle on its far side, with the bundle's own Python and uv, offline.

    install.py TREE DIR [--check] [--uninstall] [--python-dir DIR] [--install-uv] [--replace-uv]
        [--sources-to DIR]

TREE is a bundle that was unpacked; DIR is where the project goes. Needs Python 3.9 and nothing
else. Exits 0 when all is done, 1 if it could not, 2 for wrong usage, 3 for a finding: a file that
is not what was bundled, before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

if not __package__:  # on the far side
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from fitting import (  # type: ignore[import-not-found]
        check_glibc,
        check_runs,
        check_space,
        existing,
    )
    from holding import taken_over  # type: ignore[import-not-found]
    from marking import write_marks  # type: ignore[import-not-found]
    from owned import Owned  # type: ignore[import-not-found]
    from placing import (  # type: ignore[import-not-found]
        OWN,
        Failed,
        alone_in,
        check_script,
        check_tree,
        differing,
        place,
        put_aside,
        read_manifest,
    )
    from removing import files_in, uninstall  # type: ignore[import-not-found]
    from restoring import RESTORE, write_restore  # type: ignore[import-not-found]
    from windows import remove, rename  # type: ignore[import-not-found]
else:
    from envpack.bundled.fitting import check_glibc, check_runs, check_space, existing
    from envpack.bundled.holding import taken_over
    from envpack.bundled.marking import write_marks
    from envpack.bundled.owned import Owned
    from envpack.bundled.placing import (
        OWN,
        Failed,
        alone_in,
        check_script,
        check_tree,
        differing,
        place,
        put_aside,
        read_manifest,
    )
    from envpack.bundled.removing import files_in, uninstall
    from envpack.bundled.restoring import RESTORE, write_restore
    from envpack.bundled.windows import remove, rename

_ALSO = {"x86_64": ("i686",), "aarch64": ("x86_64", "i686")}
"""Machines whose programs run on Windows of another one."""


class Installer:
    """One project in its place: Python, environment, members."""

    def __init__(self, folder: str, manifest: Dict[str, Any], python_dir: Optional[str]) -> None:
        self.manifest = manifest
        self.folder = folder
        self.own = os.path.join(folder, OWN)
        self.root = os.path.normpath(os.path.join(folder, manifest["root"]))
        self.project = os.path.normpath(os.path.join(folder, manifest["directory"]))
        self.venv = os.path.join(self.root, ".venv")
        self.target = self._target()
        told = self.target.get("uv")
        self.uv = os.path.join(folder, *told.split("/")) if told else "uv"
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
        others = _ALSO.get(machine, ()) if system == "windows" else ()
        for fitting in (machine, *others):
            for target in self.manifest["targets"]:
                if (target["system"], target["machine"]) == (system, fitting):
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

    def check(self, target: str) -> None:
        """Raise Failed if the project cannot be installed in `target` on this machine."""
        needs = self.target.get("needs", {})
        check_glibc(needs.get("glibc", ""))
        python_dir, cache = self.asked("python", "dir"), self.asked("cache", "dir")
        check_runs([target, python_dir])
        installed = needs.get("installed", 0)
        wanted = [(cache, installed)]
        if os.stat(existing(cache)).st_dev != os.stat(existing(target)).st_dev:
            wanted.append((target, installed))  # else they are links to the cache
        told = self.target.get("interpreter")
        if told and not os.path.isdir(os.path.join(python_dir, told["key"])):
            wanted.append((python_dir, needs.get("python", 0)))
        check_space(wanted)

    def asked(self, *words: str) -> str:
        """Return a folder that uv tells."""
        return self.run(f"ask uv for its {words[0]}", [*words, "--no-config"]).strip()

    def install(self) -> None:
        """Install what is not there yet, from uv to the project's own members.

        The environment is made beside its place, and goes there when it is whole.
        """
        owned = Owned(self.folder)
        owned.save()
        if told := self.target.get("interpreter"):
            owned.intend(self.asked("python", "dir"), told["key"])
        self.bring_uv()
        self.python()
        owned.claim()
        place, self.venv = self.venv, f"{self.venv}.part"
        before = files_in(self.folder)
        try:
            self.fill()
            _swap(self.venv, place)
        finally:
            remove(self.venv)
            self.venv = place
            made = files_in(self.folder) - before  # by builds, which write beside the sources
            owned.told["made"] = sorted(made.union(owned.told.get("made", [])))
            owned.save()
        self.check_start()
        if os.name != "nt":
            write_restore(self.own, self.target["python"], self.environ)

    def fill(self) -> None:
        """Make the environment, with the packages and the project in it."""
        self.environment()
        os.makedirs(os.path.join(self.own, "wheels"), exist_ok=True)  # no archive holds empty ones
        lock = os.path.join(self.own, "pylock.toml")
        words = ["pip", "sync", "--quiet", "--offline", "--no-config", "--preview-features"]
        words += ["pylock", "--allow-empty-requirements", "--python", self.venv]
        words += ["--find-links", os.path.join(self.own, "wheels")]
        self.run("install the packages", [*words, lock])
        write_marks(self.venv, self.target["python"], self.target["marks"])
        words = ["sync", "--quiet", "--frozen", "--offline", "--project", self.project]
        words += self.manifest["sync"]
        self.run("install the project itself", words, UV_PROJECT_ENVIRONMENT=self.venv)

    def check_start(self) -> None:
        """Raise Failed if the environment's Python does not start."""
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
        source, self.uv = self.uv, os.path.join(self.own, "bin", "uv")
        if os.name == "nt":
            self.uv += ".exe"
        os.makedirs(os.path.dirname(self.uv), exist_ok=True)
        part = f"{self.uv}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        _also_named(source, part)
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
            _also_named(archive, os.path.join(scratch, told["cached_as"]))
            listed = Path(scratch, "downloads.json")
            listed.write_text(json.dumps(told["downloads"]), encoding="utf-8")
            words += ["--python-downloads-json-url", listed.as_uri()]
            self.run(what, words, UV_PYTHON_CACHE_DIR=scratch, **environ)

    def environment(self) -> None:
        """Make the environment anew: of what a killed run left uv clears only what it knows."""
        remove(self.venv)
        words = ["venv", "--quiet", "--offline", "--relocatable", "--python", self.target["python"]]
        words += ["--prompt", self.manifest["project"]]
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


def _also_named(source: str, path: str) -> None:
    """Give a file another name, by a hard link if there are any on this file system."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copy2(source, path)


def _swap(part: str, place: str) -> None:
    """Put a whole environment in the place of one that may be there."""
    aside = f"{place}.old"
    remove(aside)
    if os.path.lexists(place):
        put_aside(place, aside)
    rename(part, place)
    remove(aside)


def parsed(words: List[str]) -> argparse.Namespace:
    """Return the options."""
    about = "Install this project."
    parser = argparse.ArgumentParser(prog="the bundle", description=about, allow_abbrev=False)
    add = parser.add_argument
    add("tree", help=argparse.SUPPRESS)
    add("target", metavar="DIR", nargs="?")
    add("--run", help=argparse.SUPPRESS)
    add("--check", action="store_true", help="verify every file, and install nothing")
    add("--uninstall", action="store_true", help="remove what was installed")
    add("--restore", action="store_true", help=argparse.SUPPRESS)
    add("--python-dir", metavar="DIR", help="where Python goes, instead of uv's own directory")
    add("--install-uv", action="store_true", help="also put uv into ~/.local/bin")
    add("--replace-uv", action="store_true", help="the same, even if a newer one is there")
    add("--sources-to", metavar="DIR", help="put the sources there, if DIR holds edited ones")
    chosen = parser.parse_intermixed_args(words)  # the other one takes no DIR after options
    if chosen.target is None and not chosen.check:
        parser.error("name the DIR in which to install")
    return chosen


def run(chosen: argparse.Namespace) -> List[str]:
    """Check, place, install, and return what to say; raises Failed."""
    target, tree = os.path.abspath(chosen.target or "bundle"), os.path.abspath(chosen.tree)
    manifest = read_manifest(tree)
    if getattr(chosen, "restore", False):
        with alone_in(target):
            return _restored(target, manifest)
    check_tree(tree, manifest)
    if chosen.run:
        check_script(chosen.run, manifest)
    if chosen.check:
        return [f"{len(manifest['files'])} files are what was bundled"]
    before = Installer(tree, manifest, chosen.python_dir)  # is this machine one that it is for
    if not chosen.uninstall and {"\n", "\r"} & set(target):
        raise Failed("the path of DIR has a line break, which no `.pth` can hold", "choose another")
    # The tree will be DIR, if that is not there yet, and is held for whoever comes then.
    part = taken_over(os.path.dirname(tree), *os.path.split(target))
    with part, alone_in(tree), alone_in(target) as held:
        if chosen.uninstall:
            return _uninstalled(before, target)
        before.check(target)
        place(tree, target, manifest, chosen.sources_to, held=held)
        return _installed(chosen, target, manifest)


def _installed(chosen: argparse.Namespace, target: str, manifest: Dict[str, Any]) -> List[str]:
    """Install what is in its place, and return what to say."""
    installer = Installer(target, manifest, chosen.python_dir)
    try:
        installer.install()
    except Failed as failed:
        raise Failed(f"{failed}; what is in `{target}` stays", failed.hint, failed.code) from failed
    lines, program = [], installer.uv
    if (chosen.install_uv or chosen.replace_uv) and "uv" in installer.target:
        owned, home = Owned(target), os.path.expanduser("~")
        path, said = owned.install_uv(installer.uv, home, replace=chosen.replace_uv)
        program = path or program
        lines += [said] if said else []
    lines.append(f"Installed {manifest['project']} in {target}")
    return [*lines, *_typed(installer, program)]


def _restored(target: str, manifest: Dict[str, Any]) -> List[str]:
    """Make the environment again from what DIR has."""
    own = {n: told for n, told in manifest["files"].items() if n.startswith(f"{OWN}/")}
    wrong = differing(target, own)
    if wrong:
        raise Failed(f"`{wrong[0]}` is not the file that was bundled", "run the bundle again", 3)
    Installer(target, manifest, None).install()
    return [f"Restored {manifest['project']} in {target}"]


def _uninstalled(installer: Installer, target: str) -> List[str]:
    """Remove what is in `target`, and return what to say."""
    there = read_manifest(target)
    if there["project"] != installer.manifest["project"]:
        raise Failed(f"`{target}` holds the project `{there['project']}`")

    def drop(python: Tuple[str, str]) -> None:
        words = ["python", "uninstall", "--quiet", "--no-config", python[1]]
        installer.run("uninstall Python", words, UV_PYTHON_INSTALL_DIR=python[0])

    return list(uninstall(target, there, drop))


def _typed(installer: Installer, uv: str) -> List[str]:
    """Return what to type to go on."""
    project = installer.project
    if os.name != "nt":
        restore = os.path.relpath(os.path.join(installer.own, RESTORE), project)
        return [
            f"  cd {shlex.quote(project)}",
            f"  {shlex.quote(uv)} run …",
            f"  sh {shlex.quote(restore)}   # makes .venv again",
        ]
    if uv == installer.uv:
        with contextlib.suppress(ValueError):  # on another drive
            uv = os.path.relpath(uv, project)
    return [f'  cd /d "{project}"', f'  "{uv}" run …' if " " in uv else f"  {uv} run …"]


def finish(work: Callable[[], List[str]]) -> NoReturn:
    """Do the work, say what it returns, and exit."""
    try:
        for line in work():
            print(line)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: {error.filename or 'the disk'}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    finish(lambda: run(parsed(sys.argv[1:])))
