"""git reads checkouts of others, and starts nothing that they name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envpack import git
from envpack.errors import ProjectFault, ToolFault
from envpack.sources import collected
from tests.judges import git as by_hand
from tests.judges import needed
from tests.test_sources import grown

COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def needs_git() -> None:
    """Skip where there is no git."""
    needed("git", "what it starts for a checkout")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Give a program that leaves a mark."""
    path = tmp_path / "planted"
    path.write_text(f'#!/bin/sh\necho "$0 $*" >> "{tmp_path}/mark"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a checkout with a submodule, each with a file whose time changed since."""
    library = grown(tmp_path / "library", "lib.py")
    (library / ".gitattributes").write_text("*.py filter=x diff=x\n", encoding="utf-8")
    by_hand(library, "init", "-q")
    by_hand(library, "add", ".")
    by_hand(library, "commit", "-qm", "all")
    folder = grown(tmp_path / "checkout", "main.py")
    (folder / ".gitattributes").write_text("*.py filter=x diff=x\n", encoding="utf-8")
    by_hand(folder, "init", "-q")
    by_hand(folder, "submodule", "add", "-q", str(library), "sub")
    by_hand(folder, "add", ".")
    by_hand(folder, "commit", "-qm", "all")
    for path in (folder / "main.py", folder / "sub/lib.py"):
        os.utime(path, (1, 1))
    return folder


def read(folder: Path) -> None:
    """Read a checkout in all ways that there are."""
    assert git.is_repository(str(folder))
    assert "main.py" in git.files(str(folder))
    git.changes(str(folder))
    assert "sub/lib.py" in collected([str(folder)]).files


def mark(planted: Path) -> Path:
    """Return what the program leaves."""
    return planted.with_name("mark")


def hooks(folder: Path, planted: Path) -> str:
    """Make a folder of hooks."""
    (folder / ".git/planted").mkdir()
    for name in ("post-index-change", "post-checkout", "pre-commit", "reference-transaction"):
        shutil.copy(planted, folder / ".git/planted" / name)
    return str(folder / ".git/planted")


def included(folder: Path, planted: Path) -> str:
    """Make a file of configuration that another one includes."""
    path = folder / ".git/included"
    path.write_text(f'[filter "x"]\n\tclean = {planted}\n', encoding="utf-8")
    return str(path)


STARTS: list[tuple[str, Callable[[Path, Path], str] | str, str]] = [
    ("core.fsmonitor", "", "status"),
    ("core.hooksPath", hooks, "checkout -q HEAD"),
    ("filter.x.clean", "", "status"),
    ("filter.x.process", "", "status"),
    ("filter.x.smudge", "", "checkout -q HEAD~0 -- main.py"),
    ("include.path", included, "status"),
    ("includeIf.gitdir:**.path", included, "status"),
    ("diff.external", "", "diff HEAD"),
    ("diff.x.command", "", "diff HEAD"),
    ("diff.x.textconv", "", "diff HEAD"),
    ("core.sshCommand", "", "ls-remote ssh://nowhere.invalid/x"),
    ("core.gitProxy", "", "ls-remote git://nowhere.invalid/x"),
    ("remote.origin.uploadpack", "", "ls-remote origin"),
    ("credential.helper", lambda _, planted: f"!{planted}", "credential fill"),
    ("core.askPass", "", "credential fill"),
    ("core.editor", "", "commit --allow-empty"),
    ("alias.planted", lambda _, planted: f"!{planted}", "planted"),
    ("gpg.program", "", "commit -S --allow-empty -qm x"),
    ("submodule.sub.update", lambda _, planted: f"!{planted}", "submodule update --force"),
]
"""Keys of a repository's own configuration by which some command of git starts a program."""


@pytest.mark.parametrize(("key", "value", "control"), STARTS, ids=[key for key, _, _ in STARTS])
def test_nothing_planted_runs(
    checkout: Path,
    planted: Path,
    key: str,
    value: Callable[[Path, Path], str] | str,
    control: str,
) -> None:
    """No key of a checkout's configuration starts a program, and each does for some command."""
    told = value(checkout, planted) if callable(value) else str(planted)
    by_hand(checkout, "config", "remote.origin.url", str(checkout.with_name("library")))
    by_hand(checkout, "config", key, told)
    by_hand(checkout, "-C", "sub", "config", key, told)
    mark(planted).unlink(missing_ok=True)
    read(checkout)
    assert not mark(planted).exists(), mark(planted).read_text("utf-8")
    if "main.py" in control or "diff" in control:
        grown(checkout, "main.py")
        (checkout / "main.py").write_text("changed", encoding="utf-8")
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *control.split()],
        cwd=checkout,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        input=b"protocol=https\nhost=nowhere.invalid\n\n" if "credential" in control else b"",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert mark(planted).exists()


def test_a_submodule_of_a_submodule(checkout: Path, planted: Path) -> None:
    """git would look into it by its own configuration; its changes are told all the same."""
    by_hand(
        checkout, "-C", "sub", "submodule", "add", "-q", str(checkout.with_name("library")), "in"
    )
    by_hand(checkout, "-C", "sub", "commit", "-qm", "sub")
    by_hand(checkout, "-C", "sub/in", "config", "filter.x.clean", str(planted))
    os.utime(checkout / "sub/in/lib.py", (1, 1))
    assert {"sub/lib.py", "sub/in/lib.py"} <= set(collected([str(checkout)]).files)
    assert not mark(planted).exists()
    grown(checkout, "sub/in/more")
    with pytest.raises(ProjectFault, match="sub/in` was changed since it was committed"):
        collected([str(checkout)])
    by_hand(checkout, "-C", "sub/in", "add", ".")
    by_hand(checkout, "-C", "sub/in", "commit", "-qm", "more")
    with pytest.raises(ProjectFault, match="sub` was changed since it was committed"):
        collected([str(checkout)])


def test_an_object_that_lacks(checkout: Path, planted: Path) -> None:
    """It is not fetched: a remote's configuration names the program that would bring it."""
    tree = subprocess.run(
        ["git", "rev-parse", "HEAD^{tree}"],
        cwd=checkout,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    (checkout / ".git/objects" / tree[:2] / tree[2:]).unlink()
    by_hand(checkout, "config", "remote.origin.url", str(checkout.with_name("library")))
    by_hand(checkout, "config", "remote.origin.uploadpack", str(planted))
    by_hand(checkout, "config", "remote.origin.promisor", "true")
    by_hand(checkout, "config", "core.repositoryFormatVersion", "1")
    by_hand(checkout, "config", "extensions.partialClone", "origin")
    with pytest.raises(ProjectFault, match="git cannot tell the state of"):
        git.changes(str(checkout))
    assert not mark(planted).exists()
    subprocess.run(["git", "status"], cwd=checkout, capture_output=True, check=False)
    assert mark(planted).exists()


def test_a_folder_that_is_a_repository(tmp_path: Path, planted: Path) -> None:
    """A bare repository may lie in any tree, so git does not take a folder for one."""
    folder = grown(tmp_path / "bare", "work/main.py")
    by_hand(folder, "init", "-q", "--bare", ".")
    by_hand(folder, "config", "core.bare", "false")
    by_hand(folder, "config", "core.worktree", str(folder / "work"))
    by_hand(folder, "config", "core.fsmonitor", str(planted))
    for inside in (folder, folder / "work"):
        with pytest.raises(ProjectFault, match=r"git cannot read .*: cannot use bare repository"):
            git.is_repository(str(inside))
    assert not mark(planted).exists()


def test_a_filter_that_no_option_can_name(checkout: Path) -> None:
    """Such a checkout is refused."""
    by_hand(checkout, "config", "filter.a=b.clean", "true")
    with pytest.raises(ProjectFault, match=r"has a filter named `filter\.a=b\.clean`"):
        git.changes(str(checkout))


def test_a_filter_of_the_user(
    checkout: Path, planted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the user's own configuration names, such as git-lfs, works as everywhere."""
    (tmp_path / "own").write_text(f'[filter "x"]\n\tclean = "{planted}; cat"\n', encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "own"))
    assert not git.changes(str(checkout / "sub"))
    assert mark(planted).exists()


def test_a_checkout_of_somebody_else(
    checkout: Path, planted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is refused with the way out, unless the user trusts it, and then starts nothing either."""
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    by_hand(checkout, "config", "core.fsmonitor", str(planted))
    mark(planted).unlink(missing_ok=True)
    for path in (checkout, checkout / ".git"):
        os.chown(path, 4321, 4321)
    for ask in (git.is_repository, git.files, git.changes, lambda folder: collected([folder])):
        with pytest.raises(ProjectFault) as caught:
            ask(str(checkout))
        assert str(caught.value) == (
            f"git does not trust `{checkout}`, as somebody else owns that checkout"
        )
        hint = f"if you do: `git config --global --add safe.directory {checkout}`"
        assert caught.value.hint == hint
    (tmp_path / "own").write_text(f"[safe]\n\tdirectory = {checkout}\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "own"))
    read(checkout)
    assert not mark(planted).exists()


# ---- what is brought -------------------------------------------------------------------------


def head(folder: Path) -> str:
    """Return the commit of a checkout."""
    words = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("what", ["clone", "bundle"])
def test_where_it_is_called_does_not_matter(
    checkout: Path, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A project's own configuration has no say in how its dependencies are fetched."""
    for key in ("core.sshCommand", "core.gitProxy", "core.fsmonitor", "filter.x.smudge"):
        by_hand(checkout, "config", key, str(planted))
    by_hand(checkout, "config", "core.hooksPath", hooks(checkout, planted))
    by_hand(checkout, "config", f"url.ssh://{tmp_path}/nowhere.insteadOf", str(tmp_path))
    mark(planted).unlink(missing_ok=True)
    monkeypatch.chdir(checkout)
    library = checkout.with_name("library")
    if what == "clone":
        git.clone(str(library), head(library), str(tmp_path / "got"))
        assert (tmp_path / "got/lib.py").read_text() == "lib.py"
    else:
        out = str(tmp_path / "out")
        git.bundle(str(library), head(library), str(tmp_path / "scratch"), out)
        assert os.path.getsize(out)
    assert not mark(planted).exists()


def test_a_template_of_hooks(
    checkout: Path, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hook runs in what was cloned."""
    (tmp_path / "template/hooks").mkdir(parents=True)
    shutil.copy(planted, tmp_path / "template/hooks/post-checkout")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    library = checkout.with_name("library")
    git.clone(str(library), head(library), str(tmp_path / "got"))
    assert not mark(planted).exists()


def test_a_url_that_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts nothing, whatever the user allows git elsewhere."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.ext.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    url = f"ext::touch {tmp_path}/mark"
    with pytest.raises(ToolFault, match="transport 'ext' not allowed"):
        git.clone(url, COMMIT, str(tmp_path / "got"))
    with pytest.raises(ToolFault, match="transport 'ext' not allowed"):
        git.bundle(url, COMMIT, str(tmp_path / "scratch"), str(tmp_path / "out"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("commit", ["--detach", "HEAD", "", "0" * 39, "0" * 41, f"{COMMIT}\n"])
def test_a_commit_is_a_hash(checkout: Path, tmp_path: Path, commit: str) -> None:
    """Nothing else of a lock becomes a word of git's."""
    url = str(checkout.with_name("library"))
    with pytest.raises(ToolFault, match="is no commit"):
        git.clone(url, commit, str(tmp_path / "got"))
    with pytest.raises(ToolFault, match="is no commit"):
        git.bundle(url, commit, str(tmp_path / "scratch"), str(tmp_path / "out"))
    with pytest.raises(ToolFault, match="repository '--bare' does not exist"):
        git.clone("--bare", COMMIT, str(tmp_path / "got"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "it gave no reason"),
        (b"\n \n", "it gave no reason"),
        (b"it went wrong\n", "it went wrong"),
        (b"warning: a\nfatal: b: c\nhint: d\n", "b: c"),
        (
            b"fatal: cannot read https://me:secret@x.example/y\n",
            "cannot read https://***@x.example/y",
        ),
    ],
)
def test_the_reason(said: bytes, reason: str) -> None:
    """What git calls fatal, or else its last words, or that there were none."""
    assert git._reason(said) == reason
