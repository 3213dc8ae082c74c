"""envpack's own version, without the cost of reading package metadata."""

from __future__ import annotations

import os

VERSION = "0.2.0.dev0"


def version_and_commit() -> str:
    """Return the version; of an unreleased state that git knew when it was built, its commit too.

    The form is PEP 440's for a local version, as 0.2.0.dev0+g1a2b3c4d5e. The commit stands in a
    file that the build puts beside this one.
    """
    try:
        with open(os.path.join(os.path.dirname(__file__), "commit.txt"), encoding="ascii") as file:
            commit = file.read().strip()
    except OSError:
        return VERSION
    return f"{VERSION}+g{commit[:10]}" if "dev" in VERSION and commit else VERSION
