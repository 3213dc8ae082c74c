"""A bundle installs itself where there is no network, no Python, no uv, and goes on by plain uv."""

import hashlib
import json
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab.interpreters import Standalone, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.roots import root
from .lab.sandbox import USER, Sandbox
from .lab.session import Lab
from .packs import envpack

MINOR = "3.12"
INSIDE = "/a place é"
NAME = "orchard-1.0.run"
LOCALES = Path("/usr/lib/locale")


@dataclass(frozen=True)
class Near:
    """This side: the project, its bundle, and uv's variables."""

    project: Path
    bundle: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def near(lab: Lab, work: Path) -> Near:
    """Give the project with every kind of source, and its bundle."""
    folder = work / "bundle"
    python: Standalone = require(standalone, MINOR)
    with served(folder / "served") as url:
        env = uv_environment(lab.managed(MINOR).install_dir, {})
        project = plant(folder / "project", url, env)
        (project / ".env").write_text("TOKEN=secret\n", encoding="utf-8")
        before = sums(project)
        words = ["bundle", "--python", MINOR, "--python-archive", str(python.archive), "--json"]
        media = folder / "media"
        media.mkdir()
        told = json.loads(envpack([*words, "-o", str(media / NAME)], env=env, cwd=project))
        assert told["left_out"] == [{"path": ".env", "why": "it may hold secrets"}]
        assert sums(project) == before
        again = folder / "again.run"
        envpack([*words, "-o", str(again)], env=env, cwd=project)
        assert digest(again) == digest(media / NAME), "not the same bytes"
    return Near(project, media / NAME, env)


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Far:
    """A machine without network, and a folder of it that lasts."""

    def __init__(self, suite: str, kind: str, folder: Path, bundle: Path, uid: int | None) -> None:
        self.sandbox = Sandbox(require(root, suite, kind))
        self.folder = folder
        self.bundle = bundle
        self.uid = uid
        (folder / "home").mkdir()
        folder.chmod(0o755)
        if uid is not None and os.geteuid() == 0:
            for path in (folder, folder / "home"):
                os.chown(path, uid, uid)

    def sh(
        self, script: str, *words: str, locales: str = "/locale"
    ) -> subprocess.CompletedProcess[str]:
        """Run a script there, whose $1 is the bundle."""
        return self.sandbox.run(
            ["sh", "-c", script, "sh", f"/media/{NAME}", *words],
            binds={"/media": self.bundle.parent, "/locale": LOCALES},
            writable={INSIDE: self.folder},
            env={"HOME": f"{INSIDE}/home", "LANG": "C.UTF-8", "LOCPATH": locales},
            uid=self.uid,
            cwd=INSIDE,
            timeout=600,
        )

    def ok(self, script: str, *words: str) -> str:
        """Run a script that must do."""
        done = self.sh(f"set -e; {script}", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


WORKS = """
cd "$2"
uv=$PWD/.envpack/bin/uv
"$uv" run orchard
cd src
"$uv" run --with humanize python -c 'import humanize'
"$uv" run --all-extras pytest -q -p no:cacheprovider ..
cd ..
"$uv" sync -q --locked --all-extras
"$uv" tree -q --frozen > /dev/null
"$uv" lock -q --check
"$uv" build -q --wheel --out-dir /tmp/out
"""


@pytest.mark.parametrize(
    ("suite", "kind", "uid"),
    [("bookworm", "std", USER), ("trixie", "std", None)],
)
def test_one_command_and_plain_uv(
    near: Near, tmp_path: Path, suite: str, kind: str, uid: int | None
) -> None:
    """What the lock names works there; the lock is as it was; after a move, all of it again."""
    far = Far(suite, kind, tmp_path, near.bundle, uid)
    said = far.ok('sh "$1" "p é"')
    assert said.splitlines()[0] == f"Installed orchard in {INSIDE}/p é"
    assert SAYS in far.ok(WORKS, "p é")
    for name in ("pyproject.toml", "uv.lock"):
        assert digest(tmp_path / "p é" / name) == digest(near.project / name)
    assert not (tmp_path / "p é/.env").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "p é"]
    far.ok('mv "p é" moved')
    assert SAYS in far.ok(WORKS, "moved")
    far.ok('rm -rf moved/.venv && sh "$1" moved')
    assert SAYS in far.ok(WORKS, "moved")


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_machine_with_a_c_library_alone(near: Near, tmp_path: Path, suite: str) -> None:
    """What needs no more than that runs: Python, uv, pure packages and members."""
    far = Far(suite, "min", tmp_path, near.bundle, None)
    far.ok('sh "$1" p')
    code = "import cider, crate, docopt, pomace, press; print(press.NAME)"
    script = f"cd p && .envpack/bin/uv run --locked python -W ignore -c '{code}'"
    assert far.ok(script).endswith("press\n")


def test_no_locale_for_the_path(near: Near, tmp_path: Path) -> None:
    """Python 3.12 reads .pth files as the locale says: what to do is said at once."""
    far = Far("bookworm", "std", tmp_path, near.bundle, None)
    done = far.sh('sh "$1" p', locales="/none")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        f"error: the path `{INSIDE}/p` is not ASCII, and this locale is not UTF-8: Python 3.12"
        " cannot start there",
        "hint: set LC_ALL=C.UTF-8, or choose another folder",
    ]


def test_two_beside_each_other(near: Near, tmp_path: Path) -> None:
    """One Python serves both; --check installs nothing."""
    far = Far("bookworm", "std", tmp_path, near.bundle, USER)
    assert "are what was bundled" in far.ok('sh "$1" --check one')
    assert not (tmp_path / "one").exists()
    far.ok('sh "$1" one && sh "$1" two --install-uv')
    assert far.ok('cd two && "$HOME/.local/bin/uv" run orchard') == SAYS
    assert far.ok("cd one && .envpack/bin/uv run orchard") == SAYS


def test_edited_sources_stay(near: Near, tmp_path: Path) -> None:
    """A bundle does not overwrite them; what was removed comes back with the next run."""
    far = Far("bookworm", "std", tmp_path, near.bundle, None)
    far.ok('sh "$1" p')
    module = tmp_path / "p/src/orchard/__init__.py"
    module.write_text(module.read_text("utf-8") + "EDITED = 1\n", encoding="utf-8")
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == f"error: in `{INSIDE}/p` these were edited: `src/orchard/__init__.py`"
    assert hint == "hint: --sources-to DIR2 puts the bundle's sources there, and leaves these"
    far.ok('sh "$1" p --sources-to fresh')
    assert "EDITED" in module.read_text("utf-8")
    assert "EDITED" not in (tmp_path / "fresh/src/orchard/__init__.py").read_text("utf-8")


def test_damage_is_refused_before_anything_changes(near: Near, tmp_path: Path) -> None:
    """One byte anywhere, or an end that is missing."""
    data = near.bundle.read_bytes()
    chosen = random.Random(7)
    (tmp_path / "media").mkdir()
    broken = tmp_path / "media" / NAME
    (tmp_path / "far").mkdir()
    far = Far("bookworm", "std", tmp_path / "far", broken, None)
    cases = [(chosen.randrange(len(data)), True) for _ in range(10)]
    cases += [(chosen.randrange(len(data)), False) for _ in range(3)]
    for position, flip in cases:
        flipped = bytes([data[position] ^ 1 << chosen.randrange(8)]) + data[position + 1 :]
        broken.write_bytes(data[:position] + (flipped if flip else b""))
        done = far.sh('sh "$1" p')
        assert done.returncode in {1, 2, 3}, (position, done.stdout)
        assert done.stderr.startswith("error: "), done.stderr
        assert [path.name for path in far.folder.iterdir()] == ["home"]
        assert not any((far.folder / "home").iterdir())


def test_another_machine(near: Near, tmp_path: Path) -> None:
    """Said before anything is unpacked."""
    (tmp_path / "media").mkdir()
    other = tmp_path / "media" / NAME
    other.write_bytes(near.bundle.read_bytes().replace(b"'Linux x86_64'", b"'Linux mips64'"))
    (tmp_path / "far").mkdir()
    far = Far("bookworm", "std", tmp_path / "far", other, None)
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    assert done.stderr == (
        "error: this bundle is for x86_64-manylinux_2_36, and this machine is Linux x86_64\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "media"]
    assert [path.name for path in far.folder.iterdir()] == ["home"]
