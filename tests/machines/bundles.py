"""Both sides of a bundle: the project that was bundled here, and a machine without a network."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .lab.missing import require
from .lab.roots import root
from .lab.sandbox import Sandbox

INSIDE = "/a place é"
LOCALES = Path("/usr/lib/locale")


@dataclass(frozen=True)
class Near:
    """This side: the project, its bundle, and uv's variables."""

    project: Path
    bundle: Path
    environment: dict[str, str]


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Far:
    """A machine without network, and a folder of it that lasts.

    It sees the bundle's folder, read-only, as /media; a script's $1 is the bundle.
    """

    def __init__(self, suite: str, kind: str, folder: Path, bundle: Path, uid: int | None) -> None:
        self.sandbox = Sandbox(require(root, suite, kind))
        self.folder = folder
        self.bundle = bundle
        self.uid = uid
        (folder / "home").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if uid is not None and os.geteuid() == 0:
            for path in (folder, folder / "home"):
                os.chown(path, uid, uid)

    def command(self, script: str, *words: str, locales: str = "/locale") -> list[str]:
        """Return the command that runs a script there."""
        return self.sandbox.command(
            ["sh", "-c", script, "sh", f"/media/{self.bundle.name}", *words],
            binds={"/media": self.bundle.parent, "/locale": LOCALES},
            writable={INSIDE: self.folder},
            env={"HOME": f"{INSIDE}/home", "LANG": "C.UTF-8", "LOCPATH": locales},
            uid=self.uid,
            cwd=INSIDE,
        )

    def sh(
        self, script: str, *words: str, locales: str = "/locale"
    ) -> subprocess.CompletedProcess[str]:
        """Run a script there."""
        return subprocess.run(
            self.command(script, *words, locales=locales),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=600,
            check=False,
        )

    def ok(self, script: str, *words: str) -> str:
        """Run a script that must do."""
        done = self.sh(f"set -e; {script}", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def there(self) -> list[str]:
        """Return what is in the folder and in its home, but for uv's cache."""
        found = [path.name for path in self.folder.iterdir() if path.name != "home"]
        for path in (self.folder / "home").rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not name.startswith("home/.cache/"):
                found.append(name)
        return sorted(found)

    def forget(self) -> None:
        """Remove all that is there."""
        for path in self.folder.iterdir():
            if path.name != "home":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (self.folder / "home").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
