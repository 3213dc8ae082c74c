"""What `bundle` takes along, by its options; and what it never takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from envpack.bundled.placing import MANIFEST, OWN
from envpack.bundling import bundle, preview
from envpack.cli import run
from tests.index_server import IndexServer
from tests.judges import git
from tests.plum import plant, uv
from tests.shelf import source

BARE = ["--no-python", "--no-uv"]


def unbundled(run_file: Path, folder: Path, *words: str) -> int:
    """Install a bundle by its own script."""
    done = subprocess.run(["sh", str(run_file), *words, str(folder)], check=False)
    return done.returncode


def below(folder: Path) -> set[str]:
    """Return the files below a folder, without the environment and the bundle's own."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir()
        and path.relative_to(folder).parts[0] not in {OWN, ".venv", ".git", "uv.toml"}
    }


def checkout(folder: Path) -> None:
    """Make a git checkout of a project, with something that is ignored."""
    (folder / ".gitignore").write_text("*.log\n", encoding="utf-8")
    (folder / "docs").mkdir()
    for name in ("docs/page.md", "docs/big.bin", "run.log"):
        (folder / name).write_text(name, encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", ".")


ALWAYS = {"pyproject.toml", "uv.lock"}
TRACKED = {*ALWAYS, ".gitignore", "main.py", "bin/tool", "bin/link", "docs/page.md", "docs/big.bin"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], TRACKED),
        (["git"], TRACKED),
        (["all"], {*TRACKED, "run.log"}),
        (["bin"], {*ALWAYS, "bin/tool", "bin/link"}),
        (["*.py", "docs/*.md"], {*ALWAYS, "main.py", "docs/page.md"}),
        ([":!docs/*.bin"], TRACKED - {"docs/big.bin"}),
        (["git", ":(exclude)docs"], TRACKED - {"docs/big.bin", "docs/page.md"}),
    ],
)
def test_sources(plum: Path, tmp_path: Path, words: list[str], names: set[str]) -> None:
    """git's, all, or what pathspecs choose, and always what uv knows the project by."""
    checkout(plum)
    options = [word for each in words for word in ("--source", each)]
    assert run(["bundle", *BARE, *options, "-q", "-o", str(tmp_path / "p.run")]) == 0
    assert unbundled(tmp_path / "p.run", tmp_path / "there") == 0
    assert below(tmp_path / "there") == names


def test_what_lies_outside_the_project(tmp_path: Path) -> None:
    """A path dependency beside the project comes along, under the folder that both are in."""
    around = tmp_path / "around"
    source(around / "beside", "beside", "1.0")
    (around / "unrelated").write_text("", encoding="utf-8")
    more = '[tool.uv.sources]\nbeside = { path = "../beside" }\n'
    app = plant(around / "app", needs='"beside"', more=more)
    bundle(str(tmp_path / "p.run"), project=app, python=False, uv=False)
    assert unbundled(tmp_path / "p.run", tmp_path / "there") == 0
    names = {"app/bin/link", "app/bin/tool", "app/main.py", "app/pyproject.toml", "app/uv.lock"}
    new = ("app/.venv/", "app/uv.toml", "beside/__pycache__/", "beside/made")
    found = {name for name in below(tmp_path / "there") if not name.startswith(new)}
    assert found == {*names, "beside/backend.py", "beside/pyproject.toml"}
    said = uv(tmp_path / "there/app", "run", "--locked", "python", "-c", "import beside")
    assert said == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 1, "error: nothing in `{plum}` is `nowhere`\n"),
        (["all", "bin"], 2, "error: `all` is every source, so nothing goes with it\n"),
    ],
)
def test_no_sources_to_speak_of(
    plum: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    """Pathspecs that match nothing are a mistake."""
    checkout(plum)
    options = [word for each in words for word in ("--source", each)]
    assert run(["bundle", *BARE, *options]) == code
    assert capsys.readouterr().err == said.format(plum=plum)


def test_pathspecs_want_git(plum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere they mean nothing."""
    assert run(["bundle", *BARE, "--source", "bin"]) == 1
    said = f"error: `{plum}` is no git checkout, so pathspecs mean nothing there\n"
    assert capsys.readouterr().err == said
    assert run(["bundle", *BARE, "--source", "bin", "--no-source"]) == 2
    assert capsys.readouterr().err == "error: `--no-source` and `--source` exclude each other\n"


@pytest.fixture
def joined(plum: Path, tmp_path: Path) -> Path:
    """Give a bundle without sources, and a copy of them beside it, `there`."""
    (plum / "uv.toml").write_text('link-mode = "copy"\n', encoding="utf-8")
    bundle(str(tmp_path / "p.run"), python=False, uv=False, source=())
    shutil.copytree(plum, tmp_path / "there", symlinks=True)
    return tmp_path / "p.run"


def test_no_source_joins_those_that_are_there(joined: Path, tmp_path: Path) -> None:
    """Only the bundle's own files, uv.toml and .venv are new; all goes away again."""
    there = tmp_path / "there"
    before = below(there)
    for _ in range(2):
        assert unbundled(joined, there) == 0
        assert below(there) == {*before, "uv.toml.before-envpack"}
        assert "offline = true" in (there / "uv.toml").read_text("utf-8")
        assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert unbundled(joined, there, "--uninstall") == 0
    assert below(there) == before
    assert (there / "uv.toml").read_text("utf-8") == 'link-mode = "copy"\n'
    assert not (there / ".venv").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("uv.lock", "error: `{there}/uv.lock` is not what was bundled\nhint: this bundle holds no"
         " sources: DIR must have those that it was made of\n"),
        ("uv.toml", "error: `{there}/uv.toml` is not what was bundled\nhint: move it away, or"
         " bundle with it\n"),
        ("", "error: this bundle holds no sources, and DIR must have them\nhint: name a folder"
         " with the sources of plum\n"),
    ],
)  # fmt: skip
def test_no_source_and_other_sources(
    joined: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """They are left as they are."""
    there = tmp_path / "there"
    if name:
        (there / name).write_text("# other\n", encoding="utf-8")
    else:
        shutil.rmtree(there)
    before = below(there)
    assert unbundled(joined, there) == 1
    assert capfd.readouterr().err == said.format(there=there)
    assert below(there) == before
    assert not (there / OWN).exists()


def test_dry_run(plum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole answer; nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    assert run(["bundle", "--dry-run", "--no-uv", "--no-python"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    size = {name: (plum / name).stat().st_size for name in ("main.py", "pyproject.toml", "uv.lock")}
    assert f"source   {size['main.py']:>8} B  main.py" in lines
    assert [line.split()[-1] for line in lines] == [
        "bin/tool", "main.py", "pyproject.toml", "uv.lock", "bin/link",
    ]  # fmt: skip
    first, left = said.err.splitlines()
    total = sum(size.values()) + (plum / "bin/tool").stat().st_size
    assert first.endswith(f": 5 files, {total} B")
    assert left == "  left out `.env`: it may hold secrets"
    assert run(["bundle", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "envpack.bundle-preview/1"
    assert (told["size"], told["unknown"]) == (total, 2)
    assert {file["kind"] for file in told["files"]} == {"source", "python", "uv"}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_asks_no_index(
    project: Path, server: IndexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the lock does not tell is unknown."""
    del project
    server.requests.clear()
    assert run(["bundle", "--dry-run", *BARE]) == 0
    assert server.requests == []
    said = capsys.readouterr()
    assert "built             ?  pure 3.0, a wheel that is built" in said.out.splitlines()
    assert "and 3 of unknown size" in said.err


SECRETS = (".env", ".env.local", ".envrc", ".netrc", ".pypirc", "pip.conf", "conf/id_ed25519")


def test_secrets_stay_home(plum: Path, tmp_path: Path) -> None:
    """Named, each of them; and no login of a remote or a netrc is in any file of the bundle."""
    checkout(plum)
    git(plum, "remote", "add", "origin", "https://me:hunter2@example.org/plum.git")
    for name in SECRETS:
        path = plum / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("export TOKEN=hunter2\n", encoding="utf-8")
    (plum / ".env.example").write_text("TOKEN=\n", encoding="utf-8")
    for words in (["git"], ["all"]):
        out = str(tmp_path / "p.tar")
        report = bundle(out, python=False, uv=False, force=True, source=words)
        left = {name for name, why in report.left_out if why == "it may hold secrets"}
        assert left == set(SECRETS)
        assert b"hunter2" not in (tmp_path / "p.tar").read_bytes()
        assert b".env.example" in (tmp_path / "p.tar").read_bytes()


def test_secrets_that_are_wanted(plum: Path, tmp_path: Path) -> None:
    """`--include` takes in those that it names, which is said; the others stay home."""
    checkout(plum)
    (plum / "conf").mkdir()
    for name in (".env", "conf/.env", "conf/id_rsa"):
        (plum / name).write_text("TOKEN=hunter2\n", encoding="utf-8")
    out = tmp_path / "p.tar"
    report = bundle(str(out), python=False, uv=False, include=["conf/*v", "main.py"])
    assert report.warnings == ("`conf/.env` may hold secrets, and goes in as --include says",)
    left = {name for name, why in report.left_out if why == "it may hold secrets"}
    assert left == {".env", "conf/id_rsa"}
    with tarfile.open(out) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names & {".env", "conf/.env", "conf/id_rsa"} == {"conf/.env"}


def test_logins_that_travel_are_told(plum: Path, tmp_path: Path) -> None:
    """Files whose bytes must not change are named, if they hold any."""
    checkout(plum)
    text = '[submodule "x"]\n\turl = https://me:hunter2@example.org/x.git\n'
    (plum / ".gitmodules").write_text(text, encoding="utf-8")
    index = '[[tool.uv.index]]\nname = "own"\nurl = "https://me:hunter2@example.org/simple"\n'
    toml = plum / "pyproject.toml"
    toml.write_text(toml.read_text("utf-8") + index, encoding="utf-8")
    report = bundle(str(tmp_path / "p.run"), python=False, uv=False)
    assert report.warnings == (
        ".gitmodules travels with the logins in its URLs",
        "pyproject.toml travels with the logins in its URLs",
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a git repository of a package, with a tag and a branch."""
    folder = source(tmp_path / "origin/pip é", "pip-of-apple", "1.0")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    return folder


def test_with_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There uv locks again from the bundle, offline, and plain uv needs no variable."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    more = f'[tool.uv.sources]\npip-of-apple = {{ git = "{repository.as_uri()}", tag = "v1" }}\n'
    plum = plant(tmp_path / "plum", needs='"pip-of-apple"', more=more)
    for name in ("p.run", "again.run"):
        bundle(str(tmp_path / name), project=plum, python=False, uv=False, with_git=True)
    assert (tmp_path / "again.run").read_bytes() == (tmp_path / "p.run").read_bytes()
    told = preview(project=plum, with_git=True).rows
    assert [row.name for row in told if row.kind == "git"] == [
        f"{repository.as_uri()}, its repository"
    ]
    repository.rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "cache")
    there = tmp_path / "there é"
    assert unbundled(tmp_path / "p.run", there) == 0
    names = [path.name for path in (there / OWN / "git").iterdir()]
    assert len(names) == 1
    assert names[0].startswith("pip-of-apple-")
    assert uv(there, "run", "--locked", "python", "-c", "import pip_of_apple") == ""
    moved = tmp_path / "moved"
    there.rename(moved)
    before = (moved / "uv.lock").read_text("utf-8")
    (moved / "uv.lock").unlink()
    with_git = str(moved / OWN / "bin/with-git")
    program = shutil.which("uv", path=os.environ["PATH"]) or os.environ.get("UV", "uv")
    done = subprocess.run(
        [with_git, program, "lock"], cwd=moved, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (moved / "uv.lock").read_text("utf-8") == before
    manifest = json.loads((moved / OWN / MANIFEST).read_text("utf-8"))
    assert f"{OWN}/bin/with-git" in manifest["files"]
