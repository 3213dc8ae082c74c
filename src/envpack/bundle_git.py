"""Git dependencies in a bundle: their repositories, and how git finds them on the far side.

A git bundle is one file that git fetches from as from a server. `with-git` starts a program for
which git takes these files for the URLs that the lock names (`url.<base>.insteadOf` of git-config,
by variables alone), so uv can lock again. Without it nothing changes: what is locked is installed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.pylock import Package

from envpack import git
from envpack.bundled.placing import OWN
from envpack.urls import shown

FOLDER = f"{OWN}/git"
PROGRAM = f"{OWN}/bin/with-git"

_SCRIPT = """\
#!/bin/sh
# Starts a program for which git has the repositories of this project here, without a network:
#   sh .envpack/bin/with-git uv lock
here=$(cd -- "${0%/*}/../git" && pwd) || exit
number=${GIT_CONFIG_COUNT:-0}
add() {
    export "GIT_CONFIG_KEY_$number=url.$here/$1.insteadOf" "GIT_CONFIG_VALUE_$number=$2"
    number=$((number + 1))
}
@ADD@
export GIT_CONFIG_COUNT="$number"
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository at `url` that is in the bundle as `name`, a file at `path` here."""

    url: str
    name: str
    path: str


def repositories(packages: Iterable[Package], scratch: str) -> tuple[Repository, ...]:
    """Make git bundles of what a lock takes from git, in the folder `scratch`. Raises ToolFault."""
    found: dict[str, Repository] = {}
    os.makedirs(scratch)
    for package in packages:
        vcs = package.vcs
        if vcs is None or vcs.url is None or vcs.url in found:
            continue
        name = f"{package.name}-{vcs.commit_id[:12]}.bundle"
        path = os.path.join(scratch, name)
        git.bundle(vcs.url, vcs.commit_id, f"{path}.git", path)
        found[vcs.url] = Repository(vcs.url, name, path)
    return tuple(found.values())


def with_git(found: Iterable[Repository]) -> str:
    """Return the script `with-git`, which knows no login."""
    lines = []
    for one in found:
        bare = one.url if one.url.startswith("ssh:") else shown(one.url)
        lines.append(f"add {shlex.quote(one.name)} {shlex.quote(bare)}")
    return _SCRIPT.replace("@ADD@", "\n".join(lines))
