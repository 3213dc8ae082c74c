"""Which file of a folder stands for a distribution of a lock."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from packaging.pylock import PackageArchive, PackageDirectory, PackageSdist, PackageVcs
from packaging.utils import parse_wheel_filename

from envpack.choice import Choice
from envpack.platforms import Target
from envpack.wheelhouse import Record, Stored


def covering(choice: Choice, record: Record, target: Target) -> Stored | None:
    """Return the file of the folder that a target installs for a choice, None if it has none."""
    source = choice.source
    own = [file for file in record.files if file.name == str(choice.package.name)]
    if isinstance(source, PackageVcs):
        fitting = [file for file in own if file.origin.commit == source.commit_id]
        return _best(fitting, target)
    assert not isinstance(source, PackageDirectory)
    digest = source.hashes.get("sha256", "")
    for file in own:
        if file.built is None and file.sha256 == digest and not _needs_build(source, file):
            return file
    fitting = [
        file for file in own if file.built is not None and file.built.source.split("#")[0] == digest
    ]
    kept = (file for file in own if file.built is None and file.sha256 == digest)
    return _best(fitting, target) or next(kept, None)


def _needs_build(source: object, file: Stored) -> bool:
    return isinstance(source, PackageSdist | PackageArchive) and not file.path.endswith(".whl")


def _best(files: Iterable[Stored], target: Target) -> Stored | None:
    """Return the wheel that fits a target best."""
    ranks = {tag: rank for rank, tag in enumerate(target.tags)}
    found = []
    for file in files:
        tags = parse_wheel_filename(posixpath.basename(file.path))[-1]
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            found.append((rank, file.path, file))
    return min(found)[2] if found else None
