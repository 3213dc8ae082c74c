"""The user site as a third source of packages: behind the environment's, before the base's.

An environment with `include-system-site-packages` sees it too, unless PYTHONNOUSERSITE is set:
site.py's `ENABLE_USER_SITE`, venv's documentation. An archive has one folder for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from envpack.distributions import Distribution, distributions_in
from envpack.draft import REST, Draft, Place, place_of
from envpack.entries import disk_at
from envpack.environment import Environment
from envpack.errors import EditableFault
from envpack.merge import fix_urls
from envpack.model import Entry, Package, Reason
from envpack.owners import Owners
from envpack.record_entries import add_records, is_record
from envpack.records import Record
from envpack.walk import Found, FoundDirectoryLink, FoundFolder, walk

ORIGIN = "user site"


def add_user_site(
    draft: Draft,
    records: list[Record],
    environment: Environment,
    dists: tuple[Distribution, ...],
    shadowing: set[str],
    unjudged: Callable[[str], bool],
) -> list[Package]:
    """Enter the packages of the user site that the environment has not under the same name.

    `dists` are those of `user_distributions`. Raises EditableFault for one that is editable.
    """
    site, base = environment.site_packages, environment.user_base
    owners = Owners(site, dists)
    for found in walk(os.path.join(base, site), unjudged=unjudged):
        folder = f"{site}/{found.name}" if found.name else site
        taken = _taken(draft, folder, found, owners, shadowing, site)
        draft.add_found(folder, taken, ORIGIN, root=base)
    used = [dist for dist in dists if dist.name not in shadowing]
    for dist in used:
        if dist.editable:
            raise EditableFault(
                f"`{dist.name}` is installed editable in the user site `{base}`",
                hint="install it in the environment, or set PYTHONNOUSERSITE=1",
            )
        for name in dist.names():
            path = os.path.join(base, name)
            if not name.startswith(f"{site}/") and os.path.isfile(path):
                content, _ = disk_at(path)
                executable = name.startswith("bin/")
                draft.add(Entry(name, content, executable=executable), place_of(dist), ORIGIN)
        fix_urls(draft, base, site, dist)
    add_records(draft, records, site, used, ORIGIN)
    return [Package(dist.name, dist.version) for dist in used]


def user_distributions(environment: Environment) -> tuple[Distribution, ...]:
    """Return the distributions of the user site, if the environment sees one."""
    if not environment.user_base:
        return ()
    return distributions_in(environment.user_base, environment.site_packages)


def told_of(environment: Environment, packages: int) -> str:
    """Say that a folder that is not the environment's goes in."""
    words = "1 package" if packages == 1 else f"{packages} packages"
    return (
        f"the environment sees the user site below `{environment.user_base}`, so {words} of it go"
        " in; PYTHONNOUSERSITE=1 leaves it out"
    )


def _taken(
    draft: Draft,
    folder: str,
    found: FoundFolder,
    owners: Owners,
    shadowing: set[str],
    site: str,
) -> Iterator[tuple[Found, Place]]:
    """Yield the files of a folder that go in, and note the others."""
    for item in found.found():
        name = f"{folder}/{item.name.rpartition('/')[2]}"
        if isinstance(item, FoundDirectoryLink):
            draft.note_outside(name, item.real)
            continue
        owner = owners.of(name)
        item = item._replace(name=name)  # noqa: PLW2901 - below the prefix
        if item.kind != "file":
            reason = Reason.DANGLING if item.kind == "dangling" else Reason.SPECIAL
            draft.leave(item, reason)
        elif "/__pycache__/" in name:
            draft.leave(item, Reason.BYTECODE)
        elif owner is not None and owner.name in shadowing:
            draft.leave(item, Reason.SHADOWED)
        elif owner is None or not is_record(name, site, owner):
            yield item, REST if owner is None else place_of(owner)
