"""git, called as a program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from envpack.errors import ProjectFault, ToolFault
from envpack.process import finished
from envpack.redact import masked

_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
_REPOSITORY = frozenset({"GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"})


def clone(url: str, commit: str, into: str) -> None:
    """Check out `commit` of the git repository `url` at `into`, submodules included.

    All of its history comes along, as build backends read versions from tags. Raises ToolFault.
    """
    steps = (
        ["clone", "--quiet", "--no-checkout", url, into],
        ["-C", into, "checkout", "--quiet", commit],
        ["-C", into, "submodule", "--quiet", "update", "--init", "--recursive"],
    )
    for step in steps:
        code, _, err = finished(["git", *step], _environment(), hint="install git")
        if code != 0:
            reason = _reason(err)
            raise ToolFault(f"git cannot fetch `{commit[:12]}` of `{masked(url)}`: {reason}")


def is_repository(folder: str) -> bool:
    """Say whether a folder belongs to a git checkout; False too where there is no git."""
    if shutil.which("git") is None:
        return False
    code, out, _ = _asked(folder, "rev-parse", "--is-inside-work-tree")
    return code == 0 and out.strip() == b"true"


def files(folder: str, patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what git tracks below a folder and what it would take in, as relative paths.

    `patterns` are pathspecs, relative to the folder. Submodules are a path each, that of their
    folder. Raises ProjectFault.
    """
    args = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--")
    code, out, err = _asked(folder, *args, *(patterns or ["."]))
    if code != 0:
        raise ProjectFault(f"git cannot list `{folder}`: {_reason(err)}")
    names = {name.decode("utf-8", "surrogateescape") for name in out.split(b"\0") if name}
    return tuple(sorted(name.rstrip("/") for name in names))


def bundle(url: str, commit: str, scratch: str, target: str) -> None:
    """Write a git bundle of a repository with all its branches, tags and history to `target`.

    `commit` is in it even if no branch leads there. The same repository gives the same bytes, by
    one version of git. `scratch` is a folder that does not exist. Raises ToolFault.
    """
    packing = ["-c", "pack.threads=1", "-c", "pack.writeBitmaps=false"]
    name = f"refs/heads/envpack-{commit[:12]}"
    inside = ["git", "--git-dir", scratch]
    _run("fetch", url, ["git", "clone", "--quiet", "--bare", url, scratch])
    _, heads, _ = finished(
        [*inside, "for-each-ref", "--contains", commit, "refs/heads", "refs/tags"], _environment()
    )
    if not heads.strip():
        _run("find", url, [*inside, "update-ref", name, commit])
    # Packed anew, or how the server had packed it would show.
    _run("pack", url, [*inside, *packing, "repack", "-q", "-a", "-d", "-F", "--depth=50"])
    refs = ["--branches", "--tags", "HEAD"]
    _run("bundle", url, [*inside, *packing, "bundle", "create", "--quiet", target, *refs])


def _run(what: str, url: str, command: Sequence[str]) -> None:
    code, _, err = finished(command, _environment(), hint="install git")
    if code != 0:
        raise ToolFault(f"git cannot {what} `{masked(url)}`: {_reason(err)}")


def changes(folder: str) -> bool:
    """Say whether a checkout differs from its commit; raises ProjectFault."""
    code, out, err = _asked(folder, "status", "--porcelain")
    if code != 0:
        raise ProjectFault(f"git cannot tell the state of `{folder}`: {_reason(err)}")
    return bool(out.strip())


def _asked(folder: str, *args: str) -> tuple[int, bytes, bytes]:
    # A checkout of somebody else is only read here: git need not distrust it.
    trusted = ["-c", "safe.directory=*", "-c", "core.quotePath=false"]
    return finished(["git", "-C", folder, *trusted, *args], _environment(), hint="install git")


def _environment() -> dict[str, str]:
    """Return the variables of git: those of this process but for what names another repository."""
    own = {name: text for name, text in os.environ.items() if name not in _REPOSITORY}
    return {**own, **_QUIET}


def _reason(err: bytes) -> str:
    lines = [line for line in masked(err.decode("utf-8", "replace")).splitlines() if line]
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    return (told or (lines or ["it gave no reason"])[-1]).partition(": ")[2] or told
