"""git, called as a program.

The checkouts and repositories of others are data here. What their configuration or hooks would have
git start does not start, and no checkout of another user is read that git itself would not read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence

from envpack.errors import ProjectFault, ToolFault
from envpack.process import BUILDS, finished
from envpack.redact import masked

_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
_REPOSITORY = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)

_HARMLESS = (
    "-c",
    "core.fsmonitor=",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "protocol.ext.allow=never",
)
"""Before every command: no hook and no monitor of files, and no URL that is a program."""

_LOCAL = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
"""For what only reads: an object that lacks is not fetched by the programs that a remote names."""

_FILTER = re.compile(r"filter\..+\.(?:clean|smudge|process)", re.DOTALL)
"""Programs by which git sees changed files, under names that a repository chooses."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NONE = b"not a git repository"
_DISTRUST = re.compile(rb"--add safe\.directory (.+)")


def clone(url: str, commit: str, into: str) -> None:
    """Check out `commit` of the git repository `url` at `into`, submodules included.

    All of its history comes along, as build backends read versions from tags. Raises ToolFault.
    """
    _check_commit(url, commit)
    what = f"fetch `{commit[:12]}` of"
    _run(what, url, ["clone", "--quiet", "--no-checkout", "--", url, into])
    _run(what, url, ["-C", into, "checkout", "--quiet", commit])
    _run(what, url, ["-C", into, "submodule", "--quiet", "update", "--init", "--recursive"])


def is_repository(folder: str) -> bool:
    """Say whether a folder belongs to a git checkout; False too where there is no git.

    Raises ProjectFault for a checkout that git does not trust as somebody else owns it; so do all
    that read one.
    """
    if shutil.which("git") is None:
        return False
    code, out, err = _asked(folder, "rev-parse", "--is-inside-work-tree")
    if code != 0 and _NONE not in err:
        raise ProjectFault(f"git cannot read `{folder}`: {_reason(err)}")
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
    _check_commit(url, commit)
    name = f"refs/heads/envpack-{commit[:12]}"
    inside = ["--git-dir", scratch]
    _run("fetch", url, ["clone", "--quiet", "--bare", "--", url, scratch])
    refs = ["for-each-ref", "--contains", commit, "refs/heads", "refs/tags"]
    if not _finished([*inside, *refs])[1].strip():
        _run("find", url, [*inside, "update-ref", name, commit])
    # Packed anew, or how the server had packed it would show.
    _run("pack", url, [*inside, *packing, "repack", "-q", "-a", "-d", "-F", "--depth=50"])
    refs = ["--branches", "--tags", "HEAD"]
    _run("bundle", url, [*inside, *packing, "bundle", "create", "--quiet", target, *refs])


def _check_commit(url: str, commit: str) -> None:
    if not _COMMIT.fullmatch(commit):
        raise ToolFault(f"`{commit}` of `{masked(url)}` is no commit")


def _run(what: str, url: str, words: Sequence[str]) -> None:
    code, _, err = _finished(words)
    if code != 0:
        raise ToolFault(f"git cannot {what} `{masked(url)}`: {_reason(err)}")


def changes(folder: str) -> bool:
    """Say whether a checkout differs from its commit; raises ProjectFault.

    Of a submodule in it only the commit counts: git would look into it by its own configuration.
    """
    asked = ("status", "--porcelain", "--ignore-submodules=dirty")
    code, out, err = _asked(folder, *_without_filters(folder), *asked)
    if code != 0:
        raise ProjectFault(f"git cannot tell the state of `{folder}`: {_reason(err)}")
    return bool(out.strip())


def _asked(folder: str, *args: str) -> tuple[int, bytes, bytes]:
    """Run what reads a checkout, by nothing that its own configuration names."""
    words = ["-C", folder, "-c", "safe.bareRepository=explicit", "-c", "core.quotePath=false"]
    code, out, err = _finished([*words, *args], _LOCAL)
    if code != 0 and (told := _DISTRUST.search(err)):
        top = told[1].decode("utf-8", "replace").strip()
        raise ProjectFault(
            f"git does not trust `{folder}`, as somebody else owns that checkout",
            hint=f"if you do: `git config --global --add safe.directory {top}`",
        )
    return code, out, err


def _without_filters(folder: str) -> list[str]:
    """Return the options by which git uses no filter that a repository itself defines.

    Those of the user, such as git-lfs, are the user's. A git before 2.26 does not tell whose they
    are, so it uses none.
    """
    listed = ("config", "--list", "--name-only", "-z")
    code, out, err = _asked(folder, *listed, "--show-scope")
    told = code == 0
    if not told:
        code, out, err = _asked(folder, *listed)
    if code != 0:
        raise ProjectFault(f"git cannot tell its configuration of `{folder}`: {_reason(err)}")
    keys = out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    if told:
        pairs = zip(keys[::2], keys[1::2], strict=True)
        keys = [key for scope, key in pairs if scope in {"local", "worktree"}]
    options = []
    for key in dict.fromkeys(filter(_FILTER.fullmatch, keys)):
        if "=" in key:  # no option can name it
            raise ProjectFault(f"git's configuration of `{folder}` has a filter named `{key}`")
        options += ["-c", f"{key}=", "-c", f"{key.rpartition('.')[0]}.required=false"]
    return options


def _finished(
    words: Sequence[str], more: Mapping[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    """Run git; what it checks out has the same modes for every user."""
    env = {**_environment(), **(more or {})}
    return finished(["git", *_HARMLESS, *words], env, hint="install git", umask=BUILDS)


def _environment() -> dict[str, str]:
    """Return the variables of git: those of this process but for what names another repository."""
    own = {name: text for name, text in os.environ.items() if name not in _REPOSITORY}
    return {**own, **_QUIET}


def _reason(err: bytes) -> str:
    """Return what git said last, or first of what it calls fatal."""
    lines = [line for line in masked(err.decode("utf-8", "replace")).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    if not told:
        return lines[-1].strip() if lines else "it gave no reason"
    return told.partition(": ")[2] or told
