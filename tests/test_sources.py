"""What travels of a project's folders, and what stays home."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from envpack.errors import ProjectFault
from envpack.sources import collected
from tests.judges import git


def grown(folder: Path, *names: str) -> Path:
    """Make files that hold their names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a checkout with tracked, untracked and ignored files, a link and a secret."""
    folder = grown(tmp_path / "a é", "pyproject.toml", "src/x y.py", ".env", ".env.example")
    grown(folder, "build/out", ".venv/bin/python", "new.txt", "gone.txt")
    (folder / ".gitignore").write_text("build\n.venv\n", encoding="utf-8")
    (folder / "link").symlink_to("src")
    (folder / "away").symlink_to("/etc/passwd")
    git(folder, "init", "-q")
    git(folder, "add", "pyproject.toml", "src", ".env", ".gitignore", "gone.txt", "link")
    git(folder, "commit", "-qm", "all")
    (folder / "gone.txt").unlink()
    return folder


def test_a_checkout(checkout: Path) -> None:
    """Tracked and new files travel; ignored ones, secrets and links to elsewhere do not."""
    found = collected([str(checkout)])
    assert found.root == str(checkout)
    names = (".env.example", ".gitignore", "new.txt", "pyproject.toml", "src/x y.py")
    assert found.files == names
    assert found.links == (("link", "src"),)
    assert found.left_out == (
        (".env", "it may hold secrets"),
        ("away", "it is a link to something that does not travel"),
    )


def test_everything(checkout: Path) -> None:
    """What git ignores travels too, but for the environment and git's own files."""
    found = collected([str(checkout)], everything=True)
    assert "build/out" in found.files
    assert not any(name.startswith((".venv", ".git/")) for name in found.files)


def test_no_checkout(tmp_path: Path) -> None:
    """All but caches and what tools make."""
    folder = grown(tmp_path / "p", "a.py", "sub/b.py", "cache/CACHEDIR.TAG", "cache/c", ".venv/x")
    grown(folder, "sub/__pycache__/b.pyc")
    assert collected([str(folder)]).files == ("a.py", "sub/b.py")


def test_what_envpack_made(checkout: Path) -> None:
    """A bundle or a download that lies in the project does not go into the next bundle."""
    grown(checkout, "dists/wheels/a.whl", ".envpack/bundle.json", "other.run")
    about = {"schema": "envpack.folder/1", "files": []}
    (checkout / "dists/envpack.json").write_text(json.dumps(about), encoding="utf-8")
    (checkout / "p-1.0.run").write_text("#!/bin/sh\n{ #\npayload=0\n", encoding="utf-8")
    found = collected([str(checkout)])
    assert "other.run" in found.files
    assert not [name for name in found.files if name.startswith(("dists", "p-1.0", ".envpack"))]
    left = dict(found.left_out)
    assert left["dists"] == "it is a download of envpack's"
    assert left["p-1.0.run"] == "it is a bundle"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A manifest cannot hold them."""
    folder = grown(tmp_path / "p", "a.py")
    try:
        os.close(os.open(os.fsencode(folder) + b"/b\xff.py", os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    with pytest.raises(ProjectFault, match="is not UTF-8"):
        collected([str(folder)])


def test_folders_beside_each_other(tmp_path: Path) -> None:
    """What they have in common is the root; what lies beside them there stays."""
    grown(tmp_path / "w", "app/pyproject.toml", "app/inner/x", "libs/crate/y", "other/z")
    tops = [str(tmp_path / "w/app"), str(tmp_path / "w/libs/crate"), str(tmp_path / "w/app/inner")]
    found = collected(tops)
    assert found.root == str(tmp_path / "w")
    assert found.files == ("app/inner/x", "app/pyproject.toml", "libs/crate/y")


def test_submodules(checkout: Path, tmp_path: Path) -> None:
    """Their files travel as they were committed; changed or empty ones are refused."""
    library = grown(tmp_path / "library", "lib.py")
    git(library, "init", "-q")
    git(library, "add", ".")
    git(library, "commit", "-qm", "all")
    git(checkout, "submodule", "add", "-q", str(library), "ext/library")
    assert "ext/library/lib.py" in collected([str(checkout)]).files
    grown(checkout, "ext/library/more")
    with pytest.raises(ProjectFault, match="ext/library` was changed since it was committed"):
        collected([str(checkout)])
    git(checkout, "commit", "-qm", "sub")
    git(tmp_path, "clone", "-q", str(checkout), "fresh")
    with pytest.raises(ProjectFault, match="ext/library` is empty"):
        collected([str(tmp_path / "fresh")])


def test_links_that_end_elsewhere(tmp_path: Path) -> None:
    """Where a link ends counts, and not what its text says: the far side refuses others."""
    folder = grown(tmp_path / "p", "a/b/x", "y", "a/y")
    (folder / "deep").symlink_to("a/b")
    (folder / "good").symlink_to("deep/../y")
    (folder / "away").symlink_to("deep/../../../p/../y")
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    (folder / "a/out").symlink_to("../up/../y")
    (folder / "up").symlink_to(".")
    (tmp_path / "y").write_text("not ours", encoding="utf-8")
    found = collected([str(folder)])
    assert [name for name, _ in found.links] == ["deep", "good"]
    why = "it is a link to something that does not travel"
    assert found.left_out == tuple((name, why) for name in ("a/out", "away", "one", "two", "up"))


def test_many_links(tmp_path: Path) -> None:
    """Each of thousands is found to lead to a file, a folder, a link, or nothing that travels."""
    (tmp_path / "d/e").mkdir(parents=True)
    for number in range(4000):
        (tmp_path / f"d/e/f{number}").touch()
        (tmp_path / f"l{number}").symlink_to(f"d/e/f{3999 - number}")
    (tmp_path / "to-folder").symlink_to("d")
    (tmp_path / "to-link").symlink_to("to-folder")
    (tmp_path / "to-none").symlink_to("d/e/f")
    found = collected([str(tmp_path)])
    assert len(found.links) == 4002
    assert found.left_out == (("to-none", "it is a link to something that does not travel"),)
